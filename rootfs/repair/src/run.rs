//! All of it in order.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use kedge_doctor::{Accounts, shown};
use kedge_packages::{Database, Kind, Package};
use kedge_progress::{Progress, interrupt, shown_lines};
use kedge_sources::{Candidate, Copy, Found, From, Options};
use kedge_sysroot::Sysroot;

use crate::arguments::{Order, Whence, Work};
use crate::copies::{Copies, Fetching};
use crate::itself::Search;
use crate::lock::Lock;
use crate::plan::{Planned, Planner, Task, inside};
use crate::quarantine::Quarantine;
use crate::replace::{Source, Workshop};
use crate::report::{self, Fate, Origin, Story, Teller};
use crate::supply::{Repaired, Supply};
use crate::trial::Trial;
use crate::{Error, Place, after, fetched, package, safety, supply, undo};

const GOOD: u8 = 0;
const NOT_ALL: u8 = 1;
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
    for file in files {
        let said = match root.real_path(&inside(root, Path::new(file))) {
            Err(error) => {
                exit = COULD_NOT_LOOK;
                error.to_string()
            }
            Ok(path) => match after::trial(root, &path) {
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
struct Repair<'a> {
    place: &'a Place,
    order: &'a Order,
    root: &'a Sysroot,
    databases: Vec<Box<dyn Database + 'a>>,
    accounts: Accounts,
    progress: Progress,
}

/// What is wanted of one package.
struct Group<'a> {
    package: Package,
    tasks: Vec<&'a Task>,
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

    /// What has the content, where that is surely nothing with packages.
    fn supply(&self, tasks: &[Task]) -> Result<Option<Box<dyn Supply + 'a>>, Error> {
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

    /// A URL behind which nothing of a mirror was found may be the root of another system.
    fn copies_behind(
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
        let Whence::Place(From::Url(url)) = &self.order.whence else {
            return Ok(None);
        };
        if !found.iter().all(is_nowhere) || interrupt::pressed_already() {
            return Ok(None);
        }
        let Some(copies) = Copies::behind(url, tasks) else {
            return Ok(None);
        };
        self.progress.note(
            "it has the files themselves: each is taken if it has the local database's checksum",
        );
        self.fetching(copies, tasks).map(Some)
    }

    /// Where each package can be had.
    fn find(&mut self, groups: &[Group]) -> Vec<Result<Vec<Candidate>, Error>> {
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

    fn show(
        &self,
        groups: &[Group],
        found: Vec<Result<Vec<Candidate>, Error>>,
        teller: &mut Teller,
    ) -> u8 {
        let mut exit = GOOD;
        for (group, found) in groups.iter().zip(found) {
            for task in &group.tasks {
                let (origin, fate) = match &found {
                    Ok(candidates) => (candidates.first().map(origin), Fate::Would),
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

    fn tidy(&mut self, quarantine: &Quarantine) -> Result<(), Error> {
        for found in quarantine.tidy()? {
            self.progress.note(&found);
        }
        Ok(())
    }

    fn work(
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

    /// Each file by itself.
    fn without_packages(
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
        let tasks = groups
            .iter()
            .flat_map(|group| group.tasks.iter().map(move |task| (group, *task)));
        for (group, task) in tasks {
            let path = shown::path(&task.path);
            if task.differences.is_empty() {
                let why = "nothing speaks against it; its package alone could tell";
                teller.word(&path, why);
                continue;
            }
            if let Some(words) = supply.announced(&path) {
                self.progress.note(&words);
            }
            let (origin, fate) = match &lock {
                None => match supply.look(task, &mut self.progress) {
                    Ok(origin) => (Some(origin), Fate::Would),
                    Err(error) => (None, Fate::Failed(error)),
                },
                Some((_, quarantine)) => {
                    let workshop = Workshop {
                        root: self.root,
                        accounts: &self.accounts,
                        quarantine,
                    };
                    match supply.supply(task, &group.package, &mut self.progress) {
                        Ok(supplied) if !interrupt::pressed_already() => {
                            let origin = supplied.origin.clone();
                            let (package, noun) = (&group.package, supply.noun());
                            let done = supply::put(
                                &workshop,
                                task,
                                package,
                                noun,
                                supplied,
                                &mut repaired,
                            );
                            (Some(origin), done.map_or_else(Fate::Failed, Fate::Repaired))
                        }
                        Ok(_) => (None, Fate::Failed(Error::Interrupted)),
                        Err(error) => (None, Fate::Failed(error)),
                    }
                }
            };
            self.progress.clear();
            if interrupt::pressed_already() && !matches!(fate, Fate::Repaired(_)) {
                break;
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
            if kedge_doctor::compare(self.root, &self.accounts, entry).is_empty() {
                let path = shown::path(&story.task.path);
                teller.word(&path, "is there now, made for what is in it");
            } else {
                exit = NOT_ALL;
                teller.story(&story);
            }
        }
        Ok(exit.max(self.tell_after(stories, teller)))
    }

    /// What became of it, and whether it helped: when all is in place, since one library may need another that was damaged too.
    fn tell_after(&self, mut stories: Vec<Story>, teller: &mut Teller) -> u8 {
        let mut exit = GOOD;
        for story in &mut stories {
            if let Fate::Repaired(done) = &story.fate {
                if let Some(number) = done.kept {
                    story.damage = after::damage(self.root, number, &story.task.path);
                }
                story.remains = after::remains(self.root, &self.databases, &story.task.path);
                // It may take long, and changes nothing.
                if !interrupt::pressed_already() {
                    story.trial = after::trial(self.root, &story.task.path);
                }
            }
            if !story.is_good() {
                exit = NOT_ALL;
            }
            teller.story(story);
        }
        if interrupt::pressed_already() {
            INTERRUPTED
        } else {
            exit
        }
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
        let candidates = match found {
            Ok(candidates) => candidates,
            Err(error) => return (None, all_failed(&advised(&error))),
        };
        let mut last = (None, all_failed("no source has it"));
        for candidate in &candidates {
            let mut origin = origin(candidate);
            let results = match self.fetch(group, candidate) {
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
        candidate: &Candidate,
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
fn advised(error: &Error) -> String {
    match error {
        Error::Source(_) | Error::Archive { .. } => format!(
            "{error}\nnothing was changed; --from names another mirror, or a package file that you have; --from itself does without, where it can"
        ),
        error => error.to_string(),
    }
}

fn origin(candidate: &Candidate) -> Origin {
    Origin {
        location: candidate.location.clone(),
        trust: candidate.trust.clone(),
        vouched: !candidate.trust.is_empty(),
    }
}
