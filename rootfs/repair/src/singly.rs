//! A repair without packages: file by file, from a [`Supply`].

use std::collections::VecDeque;

use kedge_doctor::{compare, shown};
use kedge_progress::interrupt;
use kedge_sources::{Candidate, Copy};

use crate::Error;
use crate::arguments::Whence;
use crate::copies::Copies;
use crate::fetching::Fetching;
use crate::itself::Search;
use crate::lock::Lock;
use crate::plan::Task;
use crate::quarantine::Quarantine;
use crate::replace::Workshop;
use crate::report::{Fate, Origin, Story, Teller};
use crate::run::{GOOD, Group, NOT_ALL, Repair};
use crate::sourced::advised;
use crate::supply::{self, Repaired, Supply};

/// Linux follows no more links in a row (`MAXSYMLINKS`, linux/namei.h).
const MOST_LINKS: usize = 40;

impl<'a> Repair<'a> {
    /// What has the content, where that is surely nothing with packages.
    pub(crate) fn supply(&self, tasks: &[Task]) -> Result<Option<Box<dyn Supply + 'a>>, Error> {
        let copies = match &self.order.whence {
            Whence::Sources => None,
            Whence::Itself => return Ok(Some(Box::new(Search::new(self.root)))),
            Whence::Place(from) => Copies::of(from, tasks),
            Whence::Tcp(host, port) => Some(Copies::One(Copy::Tcp {
                host: host.clone(),
                port: *port,
            })),
        };
        Ok(match copies {
            Some(copies) => Some(Box::new(self.fetching(copies, tasks)?)),
            None => None,
        })
    }

    fn fetching(&self, copies: Copies, tasks: &[Task]) -> Result<Fetching<'a>, Error> {
        let (scratch, unsigned) = (self.order.scratch.as_deref(), self.order.unsigned);
        Fetching::new(copies, self.root, scratch, unsigned, tasks)
    }

    /// A URL behind which nothing of a mirror was found may be the root of another system. Of a folder it is known by now that
    /// it is none; that is said.
    pub(crate) fn copies_behind(
        &mut self,
        tasks: &[Task],
        found: &[Result<Vec<Candidate>, Error>],
    ) -> Result<Option<Fetching<'a>>, Error> {
        let is_nowhere = |found: &Result<_, Error>| {
            let Err(Error::Source(source)) = found else {
                return false;
            };
            matches!(**source, kedge_sources::Error::Nowhere(_))
        };
        let Whence::Place(from) = &self.order.whence else {
            return Ok(None);
        };
        if from.is_package() {
            return Ok(None);
        }
        if !found.iter().all(is_nowhere) || interrupt::pressed_already() {
            return Ok(None);
        }
        let (copies, vain) = Copies::behind(from, tasks);
        let Some(copies) = copies else {
            vain.iter().for_each(|vain| self.progress.note(vain));
            return Ok(None);
        };
        self.progress.note(
            "it has the files themselves: each is taken if it has the local database's checksum",
        );
        self.fetching(copies, tasks).map(Some)
    }

    /// Each file by itself.
    pub(crate) fn without_packages(
        &mut self,
        groups: &[Group],
        supply: &mut dyn Supply,
        teller: &mut Teller,
    ) -> Result<u8, Error> {
        let lock = match self.order.dry_run {
            true => None,
            false => Some((Lock::take(self.root)?, Quarantine::open(self.root)?)),
        };
        if let Some((_, quarantine)) = &lock {
            self.tidy(quarantine)?;
        }
        let mut repaired = Repaired::new();
        let (mut stories, mut failed, mut exit) = (Vec::new(), Vec::new(), GOOD);
        let mut tasks: VecDeque<_> = groups
            .iter()
            .flat_map(|group| group.tasks.iter().map(move |task| (group, *task, 0)))
            .collect();
        // So many links in a row lead to what is not there yet.
        let mut waiting = 0;
        while let Some((group, task, tries)) = tasks.pop_front() {
            let path = shown::path(&task.path);
            if task.differences.is_empty() && !supply.insists(task) {
                let why = "nothing speaks against it; its package alone could tell";
                teller.word(&path, why);
                continue;
            }
            if let Some(words) = supply.announced(&path) {
                self.progress.note(&words);
            }
            let quarantine = lock.as_ref().map(|(_, quarantine)| quarantine);
            let (origin, fate) = match quarantine {
                None => match supply.look(task) {
                    Ok(origin) => (Some(origin), Fate::Would),
                    Err(error) => (None, Fate::Failed(error)),
                },
                Some(quarantine) => self.one(quarantine, group, task, supply, &mut repaired),
            };
            self.progress.clear();
            if interrupt::pressed_already() && !matches!(fate, Fate::Repaired(_)) {
                break;
            }
            match fate {
                Fate::Failed(Error::LeadsNowhere(..))
                    if waiting < tasks.len() && tries < MOST_LINKS =>
                {
                    waiting += 1;
                    tasks.push_back((group, task, tries + 1));
                    continue;
                }
                Fate::Repaired(_) => waiting = 0,
                _ => {}
            }
            let story = Story::new(task, &group.package, origin, fate);
            // Of what was not touched nothing more is to be seen.
            match story.fate {
                Fate::Repaired(_) => stories.push(story),
                Fate::Would => teller.story(&story),
                Fate::Failed(_) => failed.push(story),
            }
        }
        for story in failed {
            let entry = &story.task.entry;
            if compare(self.root, &self.accounts, entry).is_empty() {
                let path = shown::path(&story.task.path);
                teller.word(&path, "is there now, made for what is in it");
            } else {
                exit = NOT_ALL;
                teller.story(&story);
            }
        }
        Ok(exit.max(self.tell_after(stories, teller)))
    }

    /// Where it came from, and what became of it.
    fn one(
        &mut self,
        quarantine: &Quarantine,
        group: &Group,
        task: &Task,
        supply: &mut dyn Supply,
        repaired: &mut Repaired,
    ) -> (Option<Origin>, Fate) {
        let package = &group.package;
        let supplied = match supply.supply(task, package, &mut self.progress) {
            Ok(supplied) => supplied,
            Err(error @ Error::Source(_)) => {
                return (None, Fate::Failed(Error::Word(advised(&error))));
            }
            Err(error) => return (None, Fate::Failed(error)),
        };
        if interrupt::pressed_already() {
            return (None, Fate::Failed(Error::Interrupted));
        }
        let workshop = Workshop {
            root: self.root,
            accounts: &self.accounts,
            quarantine,
        };
        let (origin, noun) = (supplied.origin.clone(), supply.noun());
        let done = supply::put(&workshop, task, package, noun, supplied, repaired);
        (Some(origin), done.map_or_else(Fate::Failed, Fate::Repaired))
    }
}
