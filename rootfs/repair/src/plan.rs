//! What is to be repaired: from what was typed to places, each with its package and what the local database says of it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use kedge_doctor::{Accounts, Difference, compare, excused};
use kedge_packages::{Database, Entry, Kind};
use kedge_progress::{Progress, interrupt};
use kedge_sysroot::Sysroot;
use rustix::fs::{FileType, Stat};

use crate::{Error, diversion};

/// One place to repair.
#[derive(Debug)]
pub(crate) struct Task {
    /// Index into the databases.
    pub(crate) database: usize,
    /// Index into [`Database::packages`].
    pub(crate) package: usize,
    /// What the local database says.
    pub(crate) entry: Entry,
    /// Where it is, below ROOT; no folder on the way is a link.
    pub(crate) path: PathBuf,
    /// What its package calls it.
    pub(crate) member: PathBuf,
    /// In what it differs; empty when nobody can tell before the package is there.
    pub(crate) differences: Vec<Difference>,
}

/// What became of one word that was typed.
#[derive(Debug)]
pub(crate) enum Planned {
    /// To be repaired.
    Task(Box<Task>),
    /// It is as it must be.
    Fine(PathBuf),
    /// It cannot be repaired.
    Failed(String, Error),
}

/// Plans for one system.
pub(crate) struct Planner<'a> {
    pub(crate) root: &'a Sysroot,
    pub(crate) databases: &'a [Box<dyn Database + 'a>],
    pub(crate) accounts: &'a Accounts,
}

impl Planner<'_> {
    /// For what was typed: a path, or a package's name.
    pub(crate) fn named(&self, words: &[String]) -> Vec<Planned> {
        let mut planned = Vec::new();
        for word in words {
            let result = match word.contains('/') {
                true => self.file(Path::new(word)),
                false => self.package(word),
            };
            match result {
                Ok(more) => planned.extend(more),
                Err(error) => planned.push(Planned::Failed(word.clone(), error)),
            }
        }
        self.with_twins(planned)
    }

    /// Everything that differs from its package.
    pub(crate) fn all(&self, progress: &mut Progress) -> Result<Vec<Planned>, Error> {
        let damaged = kedge_doctor::verify::damaged(self.root, self.databases, progress)
            .map_err(|kedge_doctor::verify::Error::Interrupted| Error::Interrupted)?;
        let task = |damaged: kedge_doctor::verify::Damaged| {
            Planned::Task(Box::new(self.task(
                damaged.database,
                damaged.package,
                damaged.entry,
                damaged.differences,
            )))
        };
        Ok(self.with_twins(damaged.into_iter().map(task).collect()))
    }

    fn task(
        &self,
        database: usize,
        package: usize,
        entry: Entry,
        differences: Vec<Difference>,
    ) -> Task {
        let path = real(self.root, &entry.path);
        let name = &self.databases[database].packages()[package].name;
        let member = diversion::packaged(self.root, &entry.path, name);
        Task {
            database,
            package,
            entry,
            path,
            member,
            differences,
        }
    }

    /// For a file, and what it leads to if it is a link.
    fn file(&self, typed: &Path) -> Result<Vec<Planned>, Error> {
        let path = inside(self.root, typed);
        let mut planned = vec![self.one(&path)?];
        let is_link = |path: &Path| {
            let stat = self.root.symlink_metadata(path);
            stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
        };
        if is_link(&path)
            && let Ok(real) = self.root.real_path(&path)
        {
            planned.push(self.one(&real)?);
        }
        Ok(planned)
    }

    fn one(&self, path: &Path) -> Result<Planned, Error> {
        let (database, package, entry) = self
            .owner(path)?
            .ok_or_else(|| Error::NoOwner(self.root.outside(path)))?;
        let differences = compare(self.root, self.accounts, &entry);
        // Without a checksum only the package can tell.
        let told = match &entry.kind {
            Kind::File { digest, .. } => digest.is_some(),
            Kind::Unknown => false,
            _ => true,
        };
        if differences.is_empty() && told {
            return Ok(Planned::Fine(entry.path));
        }
        Ok(Planned::Task(Box::new(self.task(
            database,
            package,
            entry,
            differences,
        ))))
    }

    /// The package that has `path`, and what it says of it; one that knows the content goes first.
    fn owner(&self, path: &Path) -> Result<Option<(usize, usize, Entry)>, Error> {
        let mut best: Option<(usize, usize, Entry)> = None;
        for (database, packages) in self.databases.iter().enumerate() {
            for package in packages.owners(&[path])?.into_iter().flatten() {
                let mut found = None;
                let wanted = Wanted::new(self.root, path);
                packages.entries(package, &mut |entry| {
                    if wanted.is(self.root, &entry.path) {
                        found = Some(entry);
                    }
                })?;
                let Some(entry) = found else { continue };
                let knows = |entry: &Entry| !matches!(entry.kind, Kind::Unknown | Kind::Directory);
                if best
                    .as_ref()
                    .is_none_or(|(_, _, best)| !knows(best) && knows(&entry))
                {
                    best = Some((database, package, entry));
                }
            }
        }
        Ok(best)
    }

    /// All that differs in a package (`NAME` or `NAME:ARCHITECTURE`), but for configuration files and what is no damage.
    fn package(&self, word: &str) -> Result<Vec<Planned>, Error> {
        let (name, architecture) = match word.split_once(':') {
            Some((name, architecture)) => (name, Some(architecture)),
            None => (word, None),
        };
        let mut planned = Vec::new();
        let mut found = false;
        for (number, database) in self.databases.iter().enumerate() {
            for (index, package) in database.packages().iter().enumerate() {
                if package.name != name || architecture.is_some_and(|a| a != package.architecture) {
                    continue;
                }
                found = true;
                let mut entries = Vec::new();
                database.entries(index, &mut |entry| {
                    if !entry.configuration && !entry.optional {
                        entries.push(entry);
                    }
                })?;
                for entry in entries {
                    if interrupt::pressed_already() {
                        return Err(Error::Interrupted);
                    }
                    let mut differences = compare(self.root, self.accounts, &entry);
                    differences.retain(|difference| !excused(&entry, difference));
                    if !differences.is_empty() {
                        let task = self.task(number, index, entry, differences);
                        planned.push(Planned::Task(Box::new(task)));
                    }
                }
            }
        }
        match (found, planned.is_empty()) {
            (false, _) => Err(Error::NoPackage(word.into())),
            (true, true) => Ok(vec![Planned::Fine(word.into())]),
            _ => Ok(planned),
        }
    }

    /// Adds the other names of what has several (hard links): else they would stay as damaged as they are. What is there
    /// twice is left out.
    fn with_twins(&self, planned: Vec<Planned>) -> Vec<Planned> {
        let mut known = BTreeSet::new();
        let mut all = Vec::new();
        for one in planned {
            let Planned::Task(task) = one else {
                all.push(one);
                continue;
            };
            if !known.insert(task.path.clone()) {
                continue;
            }
            let twins = self.twins(&task);
            all.push(Planned::Task(task));
            for twin in twins {
                if known.insert(twin.path.clone()) {
                    all.push(Planned::Task(Box::new(twin)));
                }
            }
        }
        all
    }

    fn twins(&self, task: &Task) -> Vec<Task> {
        let inode = |stat: Stat| (stat.st_dev, stat.st_ino);
        let stat = match self.root.symlink_metadata(&task.path) {
            Ok(stat) if stat.st_nlink > 1 => stat,
            _ => return Vec::new(),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Vec::new();
        }
        let mut twins = Vec::new();
        // A database that cannot be read was told before.
        let _ = self.databases[task.database].entries(task.package, &mut |entry| {
            let is_twin = self
                .root
                .symlink_metadata(&entry.path)
                .is_ok_and(|it| inode(it) == inode(stat));
            if is_twin && !entry.configuration && real(self.root, &entry.path) != task.path {
                twins.push(entry);
            }
        });
        let task_of = |entry: Entry| {
            let differences = compare(self.root, self.accounts, &entry);
            self.task(task.database, task.package, entry, differences)
        };
        twins.into_iter().map(task_of).collect()
    }
}

/// What was typed, below ROOT: a path inside, or one with ROOT in front, as it is seen from here.
pub(crate) fn inside(root: &Sysroot, typed: &Path) -> PathBuf {
    let path = cleaned(typed);
    let here = cleaned(root.path());
    match path.strip_prefix(&here) {
        Ok(below) if !here.as_os_str().is_empty() && root.symlink_metadata(&path).is_err() => {
            below.to_path_buf()
        }
        _ => path,
    }
}

/// A path that is looked for among a package's.
struct Wanted<'a> {
    path: &'a Path,
    name: Option<&'a OsStr>,
    real: PathBuf,
}

impl<'a> Wanted<'a> {
    fn new(root: &Sysroot, path: &'a Path) -> Wanted<'a> {
        Wanted {
            path,
            name: path.file_name(),
            real: real(root, path),
        }
    }

    fn is(&self, root: &Sysroot, path: &Path) -> bool {
        path == self.path || (path.file_name() == self.name && real(root, path) == self.real)
    }
}

/// `path` with no links on the way; as it is where the folder is missing.
pub(crate) fn real(root: &Sysroot, path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => match root.real_path(parent) {
            Ok(real) => real.join(name),
            Err(_) => path.to_path_buf(),
        },
        _ => path.to_path_buf(),
    }
}

/// Without `/` in front, `.` and `..`.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}
