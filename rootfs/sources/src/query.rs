//! What is looked for, and what was found so far.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use kedge_packages::Package;
use kedge_progress::Progress;
use kedge_sysroot::Sysroot;

use crate::version::{self, Nearness};
use crate::{Candidate, Error, Found, Options};

/// How many other versions of a package are kept.
const MOST_OTHERS: usize = 50;

/// Looks for packages in one installed system.
pub(crate) struct Query<'a> {
    pub(crate) root: &'a Sysroot,
    pub(crate) wanted: &'a [Package],
    pub(crate) options: Options,
    /// Seconds since 1970.
    pub(crate) now: u64,
    progress: &'a mut Progress,
    /// By name, the indices in `wanted`.
    by_name: HashMap<&'a str, Vec<usize>>,
    exact: Vec<Vec<Candidate>>,
    others: Vec<Vec<Candidate>>,
    said: Vec<String>,
}

impl<'a> Query<'a> {
    /// Nothing is found yet.
    pub(crate) fn new(
        root: &'a Sysroot,
        wanted: &'a [Package],
        options: Options,
        progress: &'a mut Progress,
    ) -> Query<'a> {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, package) in wanted.iter().enumerate() {
            by_name.entry(&package.name).or_default().push(index);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Query {
            root,
            wanted,
            options,
            now: now.map_or(0, |now| now.as_secs()),
            progress,
            by_name,
            exact: vec![Vec::new(); wanted.len()],
            others: vec![Vec::new(); wanted.len()],
            said: Vec::new(),
        }
    }

    /// The names that are looked for.
    pub(crate) fn names(&self) -> HashSet<String> {
        self.by_name.keys().map(|&name| name.to_owned()).collect()
    }

    /// Whether there is a package of this family that was not found in its very version.
    pub(crate) fn lacks(&self, family: kedge_packages::Family) -> bool {
        let both = self.wanted.iter().zip(&self.exact);
        both.filter(|(wanted, _)| wanted.family == family)
            .any(|(_, exact)| exact.is_empty())
    }

    /// The packages of this family that were not found in their very version.
    pub(crate) fn lacking(
        &self,
        family: kedge_packages::Family,
    ) -> impl Iterator<Item = &'a Package> {
        let both = self.wanted.iter().zip(&self.exact);
        both.filter(move |(wanted, exact)| wanted.family == family && exact.is_empty())
            .map(|(wanted, _)| wanted)
    }

    /// Says what is being asked.
    pub(crate) fn note(&mut self, text: &str) {
        self.progress.note(text);
    }

    /// For a bar while something is fetched.
    pub(crate) fn progress(&mut self) -> &mut Progress {
        self.progress
    }

    /// Something that was asked could not help, and why.
    pub(crate) fn failed(&mut self, why: String) {
        self.progress.note(&why);
        if !self.said.contains(&why) {
            self.said.push(why);
        }
    }

    /// Takes over a package that can be had, if it is one of those that are looked for.
    pub(crate) fn offer(&mut self, candidate: &Candidate) {
        let Some(indices) = self.by_name.get(&*candidate.package.name) else {
            return;
        };
        for &index in indices {
            let wanted = &self.wanted[index];
            if !same_kind(wanted, &candidate.package) {
                continue;
            }
            let to = if version::same(wanted, &candidate.package) {
                &mut self.exact[index]
            } else {
                &mut self.others[index]
            };
            let known = to.iter().any(|have| have.place == candidate.place);
            if !known && to.len() < MOST_OTHERS {
                to.push(candidate.clone());
            }
        }
    }

    /// What was found for each package, in their order.
    pub(crate) fn finish(self) -> Vec<Result<Found, Error>> {
        let said = self.said;
        let all = self.wanted.iter().zip(self.exact).zip(self.others);
        all.map(|((wanted, mut exact), mut others)| {
            if !exact.is_empty() {
                // What lies on a disk costs nothing; what something vouches for comes before what nothing does.
                exact.sort_by_key(|c| (c.trust.is_empty(), c.place.is_remote()));
                return Ok(Found::Exact(exact));
            }
            if others.is_empty() {
                return Err(Error::Nowhere(said.clone()));
            }
            others.sort_by_cached_key(|c| Nearness::of(wanted, &c.package));
            Ok(Found::Others(others))
        })
        .collect()
    }
}

/// Whether it is the same package in perhaps another version.
fn same_kind(wanted: &Package, offered: &Package) -> bool {
    let (a, b) = (&wanted.architecture, &offered.architecture);
    wanted.family == offered.family
        && wanted.name == offered.name
        && (a == b || a.is_empty() || b.is_empty())
}

/// For the end of a message: ": a; b".
pub(crate) fn list(said: &[String]) -> String {
    if said.is_empty() {
        return String::new();
    }
    format!(": {}", said.join("; "))
}
