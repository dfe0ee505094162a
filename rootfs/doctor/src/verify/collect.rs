//! The first pass: what the databases say, beside what can be told without reading a file.

use std::ops::ControlFlow;
use std::slice::IterMut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kedge_packages::{Database, Entry, Kind};
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

use crate::Accounts;
use crate::compare::{excused, judge};
use crate::reading::{Batch, Devices, DiskOrder, Folders, Seen};

/// What all threads together may collect: a hundred thousand files, so that all stays under 64 MB.
const MOST: usize = 12 << 20;
/// What one of them fills at a time: when there is little room left, it is for whoever has something to put into it.
const A_BATCH: usize = 256 << 10;

/// Room for all that may be collected.
pub(super) fn room() -> Vec<Batch> {
    (0..MOST / A_BATCH).map(|_| Batch::new(A_BATCH)).collect()
}

/// All packages of all databases, counted through.
pub(super) struct Collector<'a> {
    pub(super) root: &'a Sysroot,
    pub(super) databases: &'a [Box<dyn Database + 'a>],
    pub(super) accounts: &'a Accounts,
    next: AtomicUsize,
    /// Packages that did not fit, and how many of their entries have been looked at.
    rest: Mutex<Vec<(usize, usize)>>,
    devices: Devices,
}

/// What one thread knows of where files are.
struct Places<'a> {
    folders: Folders<'a>,
    order: DiskOrder<'a>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        root: &'a Sysroot,
        databases: &'a [Box<dyn Database + 'a>],
        accounts: &'a Accounts,
    ) -> Collector<'a> {
        Collector {
            root,
            databases,
            accounts,
            next: AtomicUsize::new(0),
            rest: Mutex::new(Vec::new()),
            devices: Devices::default(),
        }
    }

    pub(super) fn total(&self) -> usize {
        self.databases.iter().map(|d| d.packages().len()).sum()
    }

    /// How many packages have been begun.
    pub(super) fn begun(&self) -> usize {
        self.next.load(Ordering::Relaxed).min(self.total())
    }

    /// Whether all of all packages has been looked at.
    pub(super) fn is_done(&self) -> bool {
        self.begun() == self.total() && self.rest().is_empty()
    }

    fn rest(&self) -> MutexGuard<'_, Vec<(usize, usize)>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database, and the package's index in it, of a package counted through all.
    pub(super) fn package(&self, mut number: usize) -> Option<(usize, usize)> {
        for (index, database) in self.databases.iter().enumerate() {
            let count = database.packages().len();
            if number < count {
                return Some((index, number));
            }
            number -= count;
        }
        None
    }

    /// Fills batches, by so many threads, until all are full or there are no more packages.
    pub(super) fn fill(&self, batches: &mut [Batch], threads: usize) {
        batches.iter_mut().for_each(Batch::clear);
        let empty = Mutex::new(batches.iter_mut());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.collect(&empty));
            }
        });
    }

    /// Takes one package after the other, and one batch after the other.
    fn collect(&self, empty: &Mutex<IterMut<Batch>>) {
        let another = || empty.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some(mut batch) = another() else { return };
        let mut places = Places {
            folders: Folders::new(self.root),
            order: DiskOrder::new(&self.devices),
        };
        let mut more = false;
        while !more && !interrupt::pressed_already() {
            let rest = self.rest().pop();
            let (number, from) =
                rest.unwrap_or_else(|| (self.next.fetch_add(1, Ordering::Relaxed), 0));
            let Some((database, index)) = self.package(number) else {
                break;
            };
            let database = &self.databases[database];
            // How many were looked at.
            let mut count = 0;
            let read = database.entries_until(index, &mut |entry| {
                if interrupt::pressed_already() {
                    return ControlFlow::Break(());
                }
                if count >= from {
                    if batch.is_full() {
                        match another() {
                            Some(next) => batch = next,
                            None => {
                                more = true;
                                return ControlFlow::Break(());
                            }
                        }
                    }
                    self.look(number as u32, &entry, &mut places, batch);
                }
                count += 1;
                ControlFlow::Continue(())
            });
            if more {
                self.rest().push((number, count));
            } else if let Err(error) = read {
                let name = database.packages().get(index).map(|p| p.name.as_str());
                let name = name.unwrap_or("?");
                batch
                    .complaints
                    .push(format!("what {name} consists of cannot be read: {error}"));
            }
        }
    }

    fn look(&self, package: u32, entry: &Entry, places: &mut Places, batch: &mut Batch) {
        let Places { folders, order } = places;
        batch.paths += 1;
        let stat = folders.stat(&entry.path);
        let seen = stat.as_ref().ok().copied();
        let judged = judge(self.root, self.accounts, entry, stat);
        let suspect = judged.differences.iter().any(|d| !excused(entry, d));
        if suspect && judged.content.is_none() {
            batch.suspects.push((package, entry.path.as_path().into()));
        }
        let Some(stat) = seen else { return };
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        match judged.content {
            Some(digest) => {
                let seen = Seen {
                    suspect,
                    ..Seen::of(&entry.path, &stat, folders, order)
                };
                batch.push(package, &entry.path, digest, &seen);
            }
            None if regular && entry.kind == Kind::Unknown && judged.differences.is_empty() => {
                batch.unknown += 1
            }
            None => {}
        }
    }
}
