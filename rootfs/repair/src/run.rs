//! All of it in order.

use std::collections::BTreeMap;
use std::path::Path;

use kedge_doctor::{Accounts, shown};
use kedge_packages::{Database, Package};
use kedge_progress::{Progress, interrupt, shown_lines};
use kedge_sysroot::Sysroot;

use crate::after::Trials;
use crate::arguments::{Order, Work};
use crate::lock::Lock;
use crate::plan::{Planned, Planner, Task, inside};
use crate::quarantine::Quarantine;
use crate::report::{self, Fate, Story, Teller};
use crate::trial::Trial;
use crate::{Error, Place, after, safety, undo};

pub(crate) const GOOD: u8 = 0;
pub(crate) const NOT_ALL: u8 = 1;
const COULD_NOT_LOOK: u8 = 2;
const REFUSED: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Does what was typed.
pub(crate) fn run(place: &Place, order: &Order) -> u8 {
    let mut teller = Teller::new(order.json);
    let exit = match begin(place, order, &mut teller) {
        Ok(exit) => exit,
        Err(error) => {
            eprintln!("repair: {}", shown_lines(&error.to_string()));
            match error {
                Error::Refused(_) => REFUSED,
                Error::Interrupted => INTERRUPTED,
                Error::Sysroot(_) | Error::Database(_) => COULD_NOT_LOOK,
                _ => NOT_ALL,
            }
        }
    };
    teller.end(&order.root, exit);
    exit
}

fn begin(place: &Place, order: &Order, teller: &mut Teller) -> Result<u8, Error> {
    let root = Sysroot::open(&order.root)?;
    match &order.work {
        Work::ListUndo => undo::list(&root, teller).map(|()| GOOD),
        Work::Undo(number) => undo(place, order, &root, *number, teller),
        Work::Verify(files) => Ok(verify(&root, files, teller)),
        Work::Named(_) | Work::All => Repair::new(place, order, &root)?.run(teller),
    }
}

/// Back to what was, unless something speaks against writing there.
fn undo(
    place: &Place,
    order: &Order,
    root: &Sysroot,
    number: u64,
    teller: &mut Teller,
) -> Result<u8, Error> {
    // Of a run that was cut short it may not be known yet that it was done.
    let known = undo::Undo::of(root, number);
    let paths = known.iter().map(|undo| &*undo.path);
    let objections = safety::against_writing(root, place, paths);
    let refused = safety::stop(&objections, order.force);
    if order.dry_run {
        known?.show(root, order.force, teller)?;
    } else if !refused {
        undo::undo(root, number, order.force, teller)?;
    }
    Ok(if refused { REFUSED } else { GOOD })
}

/// Only loads.
fn verify(root: &Sysroot, files: &[String], teller: &mut Teller) -> u8 {
    let mut exit = GOOD;
    let mut trials = Trials::new(root);
    for file in files {
        let said = match root.real_path(&inside(root, Path::new(file))) {
            Err(error) => {
                exit = COULD_NOT_LOOK;
                error.to_string()
            }
            Ok(path) => match trials.of(&path) {
                None => "is nothing that a dynamic linker loads".into(),
                Some(Trial::Loads(odd)) if odd.is_empty() => "loads, all symbols found".into(),
                Some(Trial::Loads(odd)) => report::expects(&odd),
                Some(Trial::Untried(why)) => {
                    exit = exit.max(COULD_NOT_LOOK);
                    format!("could not be tried: {why}")
                }
                Some(Trial::Fails(why)) => {
                    exit = exit.max(NOT_ALL);
                    format!("does not load: {why}")
                }
            },
        };
        teller.word(file, &said);
    }
    exit
}

/// A repair of one system.
pub(crate) struct Repair<'a> {
    pub(crate) place: &'a Place,
    pub(crate) order: &'a Order,
    pub(crate) root: &'a Sysroot,
    pub(crate) databases: Vec<Box<dyn Database + 'a>>,
    pub(crate) accounts: Accounts,
    pub(crate) progress: Progress,
}

/// What is wanted of one package.
pub(crate) struct Group<'a> {
    pub(crate) package: Package,
    pub(crate) tasks: Vec<&'a Task>,
}

impl<'a> Repair<'a> {
    fn new(place: &'a Place, order: &'a Order, root: &'a Sysroot) -> Result<Repair<'a>, Error> {
        let databases = kedge_packages::open(root)?;
        Ok(Repair {
            place,
            order,
            root,
            databases,
            accounts: Accounts::of(root),
            progress: Progress::new("repair"),
        })
    }

    fn run(&mut self, teller: &mut Teller) -> Result<u8, Error> {
        if self.databases.is_empty() {
            eprintln!(
                "repair: there is no database of dpkg, rpm, pacman or apk in {}; is /var on a file system of its own, that \
                 is not mounted?",
                shown::typed(self.root.path())
            );
            return Ok(COULD_NOT_LOOK);
        }
        let (tasks, mut exit) = self.plan(teller)?;
        if tasks.is_empty() {
            if !self.order.dry_run && Quarantine::is_unfinished(self.root) {
                let _lock = Lock::take(self.root)?;
                self.tidy(&Quarantine::open(self.root)?)?;
            }
            return Ok(exit);
        }
        let objections = safety::objections(self.root, self.place, &tasks);
        let refused = safety::stop(&objections, self.order.force);
        if refused && !self.order.dry_run {
            return Ok(REFUSED);
        }
        let mut groups: BTreeMap<(usize, usize), Vec<&Task>> = BTreeMap::new();
        for task in &tasks {
            groups
                .entry((task.database, task.package))
                .or_default()
                .push(task);
        }
        let groups: Vec<Group> = groups
            .into_iter()
            .map(|((database, package), tasks)| Group {
                package: self.databases[database].packages()[package].clone(),
                tasks,
            })
            .collect();
        let did = match self.supply(&tasks)? {
            Some(mut supply) => self.without_packages(&groups, supply.as_mut(), teller)?,
            None => {
                let found = self.find(&groups);
                match self.copies_behind(&tasks, &found)? {
                    Some(mut copies) => self.without_packages(&groups, &mut copies, teller)?,
                    None if self.order.dry_run => self.show(&groups, found, teller),
                    None => self.work(&groups, found, teller)?,
                }
            }
        };
        exit = exit.max(did);
        Ok(if refused { REFUSED } else { exit })
    }

    /// What is to be done, and whether all that was named can be.
    fn plan(&mut self, teller: &mut Teller) -> Result<(Vec<Task>, u8), Error> {
        let planner = Planner {
            root: self.root,
            databases: &self.databases,
            accounts: &self.accounts,
        };
        let planned = match &self.order.work {
            Work::Named(words) => planner.named(words),
            _ => planner.all(&mut self.progress)?,
        };
        if interrupt::pressed_already() {
            return Err(Error::Interrupted);
        }
        if planned.is_empty() {
            teller.word("repair", "nothing is damaged, by the package database");
        }
        let mut tasks = Vec::new();
        let mut exit = GOOD;
        for one in planned {
            match one {
                Planned::Task(task) => tasks.push(*task),
                Planned::Fine(path) => {
                    teller.word(
                        &path.display().to_string(),
                        "is as its package says, nothing to do",
                    );
                }
                Planned::Failed(word, error) => {
                    teller.word(&word, &error.to_string());
                    exit = match error {
                        Error::Sysroot(_) | Error::Database(_) => COULD_NOT_LOOK,
                        _ => exit.max(NOT_ALL),
                    };
                }
            }
        }
        Ok((tasks, exit))
    }

    pub(crate) fn tidy(&mut self, quarantine: &Quarantine) -> Result<(), Error> {
        for found in quarantine.tidy()? {
            self.progress.note(&found);
        }
        Ok(())
    }

    /// What became of it, and whether it helped: when all is in place, since one library may need another that was damaged too.
    pub(crate) fn tell_after(&self, mut stories: Vec<Story>, teller: &mut Teller) -> u8 {
        let mut exit = GOOD;
        let mut trials = Trials::new(self.root);
        for story in &mut stories {
            if let Fate::Repaired(done) = &story.fate {
                if let Some(number) = done.kept {
                    story.damage = after::damage(self.root, number, &story.task.path);
                }
                story.remains = after::remains(self.root, &self.databases, &story.task.path);
                // It may take long, and changes nothing.
                if !interrupt::pressed_already() {
                    story.trial = trials.of(&story.task.path);
                }
            }
            if !story.is_good() {
                exit = NOT_ALL;
            }
            teller.story(story);
        }
        if interrupt::pressed_already() {
            eprintln!("repair: {}", Error::Interrupted);
            INTERRUPTED
        } else {
            exit
        }
    }
}
