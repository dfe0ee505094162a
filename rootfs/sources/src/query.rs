//! What is looked for, and what was found so far.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use kedge_packages::Package;
use kedge_progress::Progress;
use kedge_sysroot::Sysroot;

use crate::proof;
use crate::transport::Place;
use crate::version::{self, Nearness};
use crate::{Candidate, Error, Found, Options};

/// How many other versions of a package are kept.
const MOST_OTHERS: usize = 50;
/// How many files of a folder of configuration are read.
const MOST_FILES: usize = 1000;

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
        Query {
            root,
            wanted,
            options,
            now: crate::date::now(),
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

    /// A file of the system's configuration; None when it is not there, or cannot be read, which is said.
    pub(crate) fn text(&self, path: &Path, most: u64) -> Option<String> {
        let bytes = self.root.read(path, most).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The files of a folder of configuration with one of these endings, in order.
    pub(crate) fn in_folder(&self, folder: &str, endings: &[&str]) -> Vec<PathBuf> {
        let folder = Path::new(folder);
        let names = self.root.read_dir(folder).unwrap_or_default();
        let mut files: Vec<PathBuf> = names
            .into_iter()
            .map(|name| folder.join(name.name))
            .filter(|path| {
                let ending = path.extension().and_then(|e| e.to_str());
                ending.is_some_and(|ending| endings.contains(&ending))
            })
            .take(MOST_FILES)
            .collect();
        files.sort();
        files
    }

    /// All names in a folder, in order.
    pub(crate) fn all_in_folder(&self, folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(folder);
        let names = self.root.read_dir(folder).unwrap_or_default();
        let names = names.into_iter().take(MOST_FILES);
        let mut files: Vec<PathBuf> = names.map(|name| folder.join(name.name)).collect();
        files.sort();
        files
    }

    /// A place in the installed system.
    pub(crate) fn inside(&self, path: impl Into<PathBuf>) -> Place {
        Place::Inside(self.root.path().to_path_buf(), path.into())
    }

    /// Offers the candidate as it lies in a cache of the system's, under one of these names, if it is there and what it should be.
    pub(crate) fn offer_cached(&mut self, candidate: &Candidate, names: &[PathBuf]) {
        for name in names.iter().filter(|name| self.root.exists(name)) {
            let mut cached = candidate.clone();
            cached.place = self.inside(name);
            cached.location = cached.place.shown();
            // That alone vouches for nothing.
            if !cached.trust.is_empty() {
                cached.trust.push("it lies in the cache".into());
            }
            match proof::holds(&cached, self.progress) {
                Ok(()) => self.offer(&cached),
                Err(error) => self.progress.note(&format!("it is not used: {error}")),
            }
        }
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

    /// Hands out each package that was found so far.
    pub(crate) fn each_found(&mut self, each: &mut dyn FnMut(&mut Candidate, &mut Progress)) {
        for candidate in self.exact.iter_mut().chain(&mut self.others).flatten() {
            each(candidate, self.progress);
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
