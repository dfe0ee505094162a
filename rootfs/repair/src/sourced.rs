//! A repair out of packages: where each can be had, which of those are tried, and whether one is what it says.

use std::fs::File;

use kedge_packages::{Kind, Package};
use kedge_progress::interrupt;
use kedge_sources::{Candidate, Found, From, Options};

use crate::arguments::Whence;
use crate::lock::Lock;
use crate::plan::Task;
use crate::quarantine::Quarantine;
use crate::replace::{Source, Workshop};
use crate::report::{Fate, Origin, Story, Teller};
use crate::run::{GOOD, Group, NOT_ALL, Repair};
use crate::{Error, fetched, package};

impl<'a> Repair<'a> {
    /// Where each package can be had.
    pub(crate) fn find(&mut self, groups: &[Group]) -> Vec<Result<Vec<Candidate>, Error>> {
        let wanted: Vec<Package> = groups.iter().map(|group| group.package.clone()).collect();
        let options = Options {
            accept_expired: self.order.accept_expired,
        };
        let from = self.from();
        let found = kedge_sources::find_all(self.root, &wanted, from, options, &mut self.progress);
        let candidates = |(group, found)| match found {
            Ok(Found::Exact(candidates)) => Ok(candidates),
            Ok(Found::Others(others)) => self.other(group, others),
            Err(error) => Err(Error::Source(Box::new(error))),
        };
        let all = groups.iter().zip(found).map(candidates).collect();
        self.progress.clear();
        all
    }

    /// Where packages are, when somebody said so.
    fn from(&self) -> Option<&'a From> {
        match &self.order.whence {
            Whence::Place(from) => Some(from),
            _ => None,
        }
    }

    /// Another version than the installed one: of use only when the operator named that very package, and the file in it is the
    /// same. What a mirror or a folder has beside it, nobody named.
    fn other(&self, group: &Group, others: Vec<Candidate>) -> Result<Vec<Candidate>, Error> {
        let checked = group.tasks.iter().all(|task| is_checked(task));
        let named = self.from().is_some_and(From::is_package);
        if named && checked && !others.is_empty() {
            return Ok(others);
        }
        let listed: Vec<String> = others
            .iter()
            .map(|other| format!("  {} at {}", other.package.version, other.location))
            .collect();
        Err(Error::Word(format!(
            "no source has version {} any more, which is the installed one; nearest are:\n{}\na file of another version does \
             not belong here; --from PACKAGE-FILE takes it if it is the same file",
            group.package.version,
            listed.join("\n")
        )))
    }

    pub(crate) fn show(
        &self,
        groups: &[Group],
        found: Vec<Result<Vec<Candidate>, Error>>,
        teller: &mut Teller,
    ) -> u8 {
        if interrupt::pressed_already() {
            // What was not asked to its end says nothing.
            return self.tell_after(Vec::new(), teller);
        }
        let mut exit = GOOD;
        for (group, found) in groups.iter().zip(found) {
            for task in &group.tasks {
                let (origin, fate) = match &found {
                    Ok(candidates) => (candidates.first().map(expected), Fate::Would),
                    Err(error) => (None, Fate::Failed(Error::Word(advised(error)))),
                };
                let story = Story::new(task, &group.package, origin, fate);
                if !story.is_good() {
                    exit = NOT_ALL;
                }
                teller.story(&story);
            }
        }
        exit
    }

    pub(crate) fn work(
        &mut self,
        groups: &[Group],
        found: Vec<Result<Vec<Candidate>, Error>>,
        teller: &mut Teller,
    ) -> Result<u8, Error> {
        let _lock = Lock::take(self.root)?;
        let quarantine = Quarantine::open(self.root)?;
        self.tidy(&quarantine)?;
        let mut stories = Vec::new();
        for (group, found) in groups.iter().zip(found) {
            if interrupt::pressed_already() {
                break;
            }
            let (origin, results) = self.repair(&quarantine, group, found);
            for (task, result) in group.tasks.iter().zip(results) {
                let fate = result.map_or_else(Fate::Failed, Fate::Repaired);
                stories.push(Story::new(task, &group.package, origin.clone(), fate));
            }
        }
        Ok(self.tell_after(stories, teller))
    }

    /// Tries one source after the other, until nothing is left to do.
    fn repair(
        &mut self,
        quarantine: &Quarantine,
        group: &Group,
        found: Result<Vec<Candidate>, Error>,
    ) -> (Option<Origin>, package::Results) {
        let all_failed = |why: &str| {
            group
                .tasks
                .iter()
                .map(|_| Err(Error::Word(why.into())))
                .collect()
        };
        let mut candidates = match found {
            Ok(candidates) => candidates,
            Err(error) => return (None, all_failed(&advised(&error))),
        };
        let mut last = (None, all_failed("no source has it"));
        for candidate in &mut candidates {
            let fetched = self.fetch(group, candidate);
            // Whether somebody vouches for it may be known only now.
            let mut origin = origin(candidate);
            let results = match fetched {
                Ok((mut file, trust)) => {
                    origin.trust = trust;
                    let vouched = origin.vouched || self.order.unsigned;
                    let workshop = Workshop {
                        root: self.root,
                        accounts: &self.accounts,
                        quarantine,
                    };
                    let source = Source {
                        package: &group.package,
                        location: &candidate.location,
                        trust: &origin.trust,
                        vouched,
                        noun: "the package",
                    };
                    package::repair(&workshop, &group.tasks, &source, &mut file)
                }
                Err(error) => all_failed(&advised(&error)),
            };
            self.progress.clear();
            let done = results.iter().filter(|result| result.is_ok()).count();
            last = (Some(origin), results);
            // What was replaced is not touched again.
            if done > 0 || interrupt::pressed_already() {
                break;
            }
        }
        last
    }

    /// The package file, which is proven to be what it shall be.
    fn fetch(
        &mut self,
        group: &Group,
        candidate: &mut Candidate,
    ) -> Result<(File, Vec<String>), Error> {
        let mut file =
            fetched::fetch(candidate, self.order.scratch.as_deref(), &mut self.progress)?;
        let inside = kedge_archive::identify(&mut file).map_err(|source| Error::Archive {
            location: candidate.location.clone(),
            source: Box::new(source),
        })?;
        if inside.name != group.package.name {
            return Err(Error::Word(format!(
                "{} says that it is {} {}, not {}",
                candidate.location, inside.name, inside.version, group.package.name
            )));
        }
        let checked = group.tasks.iter().all(|task| is_checked(task));
        if inside.version != group.package.version && !checked {
            return Err(Error::Word(format!(
                "{} says that it is version {}, not {}",
                candidate.location, inside.version, group.package.version
            )));
        }
        let mut trust = candidate.trust.clone();
        if trust.is_empty() && self.order.unsigned {
            trust.push("nobody vouches for it, --unsigned believes it".into());
        } else if trust.is_empty() && !checked {
            trust.push(self.likeness(group, candidate, &mut file)?);
        }
        Ok((file, trust))
    }

    /// Where the local database does not know what must be there (dpkg of links), and nobody signed the package: the checksums
    /// of all its other files say whether it looks like the one that was installed. That keeps a mistake out, and nobody who
    /// means harm; so what may be taken of it does not depend on it.
    fn likeness(
        &self,
        group: &Group,
        candidate: &Candidate,
        file: &mut File,
    ) -> Result<String, Error> {
        let database = &self.databases[group.tasks[0].database];
        let same = package::is_installed(database.as_ref(), group.tasks[0].package, file);
        let same = same.map_err(|why| {
            Error::Word(format!(
                "the local database has no checksum of what is wanted, nobody signed {}, and {why}; --unsigned believes it",
                candidate.location
            ))
        })?;
        Ok(format!(
            "nobody vouches for it; {same} files in it have the checksums of the local database"
        ))
    }
}

/// Whether the local database says by itself what must be there.
fn is_checked(task: &Task) -> bool {
    match &task.entry.kind {
        Kind::File { digest, .. } => digest.is_some(),
        Kind::Symlink(_) | Kind::Directory => true,
        Kind::Unknown | Kind::Special => false,
    }
}

/// With what can be done, where a source or its package is at fault.
pub(crate) fn advised(error: &Error) -> String {
    match error {
        Error::Source(_) | Error::Archive { .. } => format!(
            "{error}\nnothing was changed; --from names another mirror, a package file that you have, or another machine that has the file; --from itself does without, where it can"
        ),
        error => error.to_string(),
    }
}

/// Of what is not fetched.
fn expected(candidate: &Candidate) -> Origin {
    let mut origin = origin(candidate);
    let steps = candidate.trust_if_named();
    if !steps.is_empty() {
        let if_named = "it is vouched for if it is the one that the system's signed index names:";
        origin.trust = [&[if_named.into()], steps].concat();
    }
    origin
}

fn origin(candidate: &Candidate) -> Origin {
    Origin {
        location: candidate.location.clone(),
        trust: candidate.trust.clone(),
        vouched: !candidate.trust.is_empty(),
    }
}
