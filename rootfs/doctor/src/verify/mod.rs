//! `verify`: all files of all packages, in the order of the disk.
//!
//! Two passes over as many packages as a bounded memory holds the files of: [`collect`] asks the databases and compares
//! everything but contents, [`read`] reads. What both find is compared once more, thoroughly, before it is told.

mod arguments;
mod collect;
mod report;

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kedge_packages::{Database, Digest, Entry, Kind};
use kedge_progress::{Progress, interrupt};
use kedge_sysroot::Sysroot;

use crate::compare::{add_zeros, excused, judge, rank};
use crate::reading::{self, Batch, Wrong};
use crate::{Accounts, Difference};
use collect::Collector;

pub use arguments::HELP;
pub use report::{as_json, lines, main};

/// Threads a core that ask databases and look at what is there: each waits for a disk most of the time.
const COLLECTORS: usize = 4;
/// The most damaged files that are held until they are told, at about a kilobyte each.
const MOST_FOUND: usize = 8 << 10;
/// Damaged files that are told together; a test has less of them.
const AT_ONCE: usize = if cfg!(test) { 3 } else { MOST_FOUND };
/// Who waits this long is told what was found so far.
const PATIENCE: Duration = Duration::from_secs(10);
/// Folders of which is kept that they were told.
const MOST_FOLDERS: usize = 4 << 10;

/// A file that is not as its package says.
#[derive(Debug)]
pub struct Damaged {
    /// Index into the databases.
    pub database: usize,
    /// Index into [`Database::packages`].
    pub package: usize,
    /// What the database says.
    pub entry: Entry,
    /// In what it differs, worst first; never empty.
    pub differences: Vec<Difference>,
    /// So many more packages have the same path, and miss the same: a folder that is gone is in hundreds.
    pub others: usize,
}

/// How much was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Paths that the databases list.
    pub paths: u64,
    /// Files whose content was compared.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Regular files that were not compared, because their package came without checksums.
    pub unknown: u64,
    /// What could not be read of the databases: what it would have said was not looked at.
    pub complaints: Vec<String>,
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator pressed ctrl-C.
    #[error("stopped; what was not yet looked at may be damaged too")]
    Interrupted,
}

/// Goes through all files; configuration files that differ and optional files that are missing are left out. What
/// cannot be read of the databases is noted on `progress`.
///
/// # Errors
/// When the operator pressed ctrl-C.
pub fn damaged(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    progress: &mut Progress,
) -> Result<Vec<Damaged>, Error> {
    let mut all = Vec::new();
    let tally = survey(root, databases, progress, &mut |_, one| {
        all.push(one);
        ControlFlow::Continue(())
    })?;
    for complaint in &tally.complaints {
        progress.note(&crate::shown::text(complaint));
    }
    Ok(all)
}

/// As [`damaged`], with each told as soon as it is known, thousands of files at a time in the order of their paths, until
/// `each` breaks: then the tally is of what was looked at before.
///
/// # Errors
/// As there.
pub fn survey(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    progress: &mut Progress,
    each: &mut dyn FnMut(&mut Progress, Damaged) -> ControlFlow<()>,
) -> Result<Tally, Error> {
    let accounts = Accounts::of(root);
    let collector = Collector::new(root, databases, &accounts);
    // Databases and folders are many small files as well.
    let threads = COLLECTORS * reading::threads();
    let mut readers = reading::threads();
    let mut tally = Tally::default();
    let mut folders = HashSet::new();
    progress.begin(0);
    let mut batches = collect::room();
    while !collector.is_done() {
        collector.fill(&mut batches, threads);
        let before = tally.bytes;
        for batch in &batches {
            tally.paths += batch.paths;
            tally.files += batch.checks.len() as u64;
            tally.bytes += batch.size;
            tally.unknown += batch.unknown;
            tally.complaints.extend_from_slice(&batch.complaints);
        }
        // What is to come is guessed by what there was.
        let share = collector.begun() as f64 / collector.total() as f64;
        progress.expect((tally.bytes as f64 / share) as u64);
        let order = reading::order(&batches);
        let (mut rest, mut told) = (order.as_slice(), before);
        loop {
            let (mut done, since) = (0, Instant::now());
            // What is found takes more room than what is looked for, and all may be damaged.
            let mut tick = |bytes, found| {
                done = bytes;
                progress.set(told + bytes);
                match found >= AT_ONCE || (found > 0 && since.elapsed() > PATIENCE) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            let (mut read, mut wrong) =
                reading::read(root, &batches, rest, &mut readers, &mut tick);
            // What several packages have is told once.
            let more = reading::more_of_one_file(&batches, rest, read);
            if more > 0 {
                let same = &rest[read..][..more];
                let mut tick = |_, _| ControlFlow::Continue(());
                wrong.extend(reading::read(root, &batches, same, &mut readers, &mut tick).1);
                read += more;
            }
            (rest, told) = (&rest[read..], told + done);
            if interrupt::pressed_already() {
                progress.clear();
                return Err(Error::Interrupted);
            }
            let found = judge_again(&collector, &mut batches, wrong, &mut tally.complaints);
            if interrupt::pressed_already() {
                progress.clear();
                return Err(Error::Interrupted);
            }
            for one in each_path_once(found, &mut folders) {
                if each(progress, one).is_break() {
                    progress.clear();
                    return Ok(tally);
                }
            }
            if rest.is_empty() {
                break;
            }
        }
    }
    progress.clear();
    Ok(tally)
}

/// Sorted by path, with those that several packages say the same of as one. `folders` are those that were told before: only
/// they are in packages of which one is looked at long after the other.
fn each_path_once(mut found: Vec<Damaged>, folders: &mut HashSet<PathBuf>) -> Vec<Damaged> {
    // The one that knows more of it goes first: it can be repaired by that.
    let knows = |one: &Damaged| match one.entry.kind {
        Kind::File { .. } | Kind::Symlink(_) | Kind::Special => 0,
        Kind::Unknown => 1,
        Kind::Directory => 2,
    };
    let order = |one: &Damaged| (knows(one), one.database, one.package);
    found.sort_by(|a, b| {
        let paths = a.entry.path.cmp(&b.entry.path);
        paths.then_with(|| order(a).cmp(&order(b)))
    });
    let mut once: Vec<Damaged> = Vec::with_capacity(found.len());
    for one in found {
        match once.last_mut() {
            Some(last) if last.entry.path == one.entry.path && is_told_by(last, &one) => {
                last.others += 1;
            }
            _ => once.push(one),
        }
    }
    once.retain(|one| {
        let known = one.entry.kind == Kind::Directory && folders.contains(&one.entry.path);
        if one.entry.kind == Kind::Directory && folders.len() < MOST_FOLDERS {
            folders.insert(one.entry.path.clone());
        }
        !known
    });
    once
}

/// Whether `told` says all that `one` would.
fn is_told_by(told: &Damaged, one: &Damaged) -> bool {
    let same = |difference: &Difference| {
        let among = told.differences.iter().any(|told| {
            let word = told.word() == difference.word();
            word && (told.sides() == difference.sides() || matches!(told, Difference::Type { .. }))
        });
        among || matches!(told.differences.first(), Some(Difference::Missing))
    };
    one.differences.iter().all(same)
}

/// What differs, by package and path.
type Suspects = BTreeMap<u32, BTreeMap<Box<Path>, Suspect>>;

#[derive(Default)]
struct Suspect {
    /// What reading it has shown.
    contents: Vec<Difference>,
    /// The database has said again what it must be.
    judged: bool,
}

impl Suspect {
    /// What reading has shown for an entry that wants this content: a database can have several for one path.
    fn take(&mut self, digest: Option<Digest>) -> Vec<Difference> {
        let of = |difference: &mut Difference| match difference {
            Difference::Content { must, .. } => Some(*must) == digest,
            _ => true,
        };
        self.judged = true;
        self.contents.extract_if(.., of).collect()
    }
}

/// Reads the entries of those packages again in which something differs: the passes have not kept them.
fn judge_again(
    collector: &Collector,
    batches: &mut [Batch],
    wrong: Vec<Wrong>,
    complaints: &mut Vec<String>,
) -> Vec<Damaged> {
    let mut suspects = Suspects::new();
    let differ = batches
        .iter_mut()
        .flat_map(|batch| batch.suspects.drain(..));
    for (package, path) in differ {
        suspects
            .entry(package)
            .or_default()
            .entry(path)
            .or_default();
    }
    for (package, path, difference) in wrong {
        let paths = suspects.entry(package).or_default();
        let suspect = paths.entry(path).or_default();
        suspect.contents.extend(difference);
    }
    let mut found = Vec::new();
    for (number, mut paths) in suspects {
        if interrupt::pressed_already() {
            break;
        }
        let Some((database, package)) = collector.package(number as usize) else {
            continue;
        };
        let mut again = |entry: Entry| {
            let Some(suspect) = paths.get_mut(entry.path.as_path()) else {
                return;
            };
            let stat = collector.root.symlink_metadata(&entry.path);
            let judged = judge(collector.root, collector.accounts, &entry, stat);
            let mut differences = judged.differences;
            differences.extend(suspect.take(judged.content));
            add_zeros(collector.root, &entry, &mut differences);
            differences.retain(|difference| !excused(&entry, difference));
            differences.sort_by_key(rank);
            if !differences.is_empty() {
                found.push(Damaged {
                    database,
                    package,
                    entry,
                    differences,
                    others: 0,
                });
            }
        };
        let read = collector.databases[database].entries(package, &mut again);
        paths.retain(|_, suspect| !suspect.judged);
        complaints.extend(paths.keys().map(|path| {
            let why = match &read {
                Ok(()) => "the database no longer lists it".into(),
                Err(error) => error.to_string(),
            };
            format!("/{} differs, and then {why}", path.display())
        }));
    }
    found
}

#[cfg(test)]
mod tests;
