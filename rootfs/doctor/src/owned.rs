//! What the package databases say of some files, and in what these differ.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kedge_packages::{Database, Digest, Entry, Package};
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;

use crate::compare::{excused, judge, rank};
use crate::reading::{self, Batch, Devices, DiskOrder, Folders, Seen};
use crate::{Accounts, Difference};

/// What one package says about a file.
#[derive(Debug)]
pub struct Owned {
    /// Which package.
    pub package: Package,
    /// What the database says.
    pub entry: Entry,
    /// In what the file differs, worst first, without what is excused.
    pub differences: Vec<Difference>,
    /// A configuration file that was changed: no fault.
    pub changed: bool,
}

/// What the databases say of each path, compared.
pub(crate) fn owners(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    accounts: &Accounts,
    paths: &[PathBuf],
    complaints: &mut Vec<kedge_packages::Error>,
) -> Vec<Vec<Owned>> {
    let mut owned: Vec<Vec<Owned>> = paths.iter().map(|_| Vec::new()).collect();
    let devices = Devices::default();
    let mut contents = Contents::new(root, &devices);
    let mut places = Places::new(root);
    let wanted: Vec<PathBuf> = paths.iter().map(|path| places.of(path)).collect();
    let mut by_name: HashMap<OsString, Vec<usize>> = HashMap::new();
    for (index, path) in wanted.iter().enumerate() {
        let name = path.file_name().unwrap_or_default();
        by_name.entry(name.to_os_string()).or_default().push(index);
    }
    for database in databases {
        let asked: Vec<&Path> = wanted.iter().map(PathBuf::as_path).collect();
        let packages: BTreeSet<usize> = match database.owners(&asked) {
            Ok(owners) => owners.into_iter().flatten().collect(),
            Err(error) => {
                complaints.push(error);
                continue;
            }
        };
        for index in packages {
            let Some(package) = database.packages().get(index) else {
                continue;
            };
            let read = database.entries(index, &mut |entry| {
                let Some(same) = entry.path.file_name().and_then(|name| by_name.get(name)) else {
                    return;
                };
                for &at in same {
                    if entry.path != paths[at] && places.of(&entry.path) != wanted[at] {
                        continue;
                    }
                    let place = (at, owned[at].len());
                    owned[at].push(Owned {
                        package: package.clone(),
                        differences: contents.judge(accounts, &entry, place),
                        entry: entry.clone(),
                        changed: false,
                    });
                }
            });
            complaints.extend(read.err());
        }
    }
    for ((at, index), difference) in contents.read() {
        owned[at][index].differences.push(difference);
    }
    for one in owned.iter_mut().flatten() {
        let any = !one.differences.is_empty();
        one.differences.retain(|d| !excused(&one.entry, d));
        one.changed = any && one.differences.is_empty();
        // What is worst is said first.
        one.differences.sort_by_key(rank);
    }
    owned
}

/// Which path, and which of its owners.
type Place = (usize, usize);

/// Contents that are still to be compared: all together that takes a fraction of the time.
struct Contents<'a> {
    root: &'a Sysroot,
    folders: Folders<'a>,
    order: DiskOrder<'a>,
    batch: Batch,
    /// Of each check of the batch: who wants to know, and what it must be.
    wanted: Vec<(Place, Digest)>,
}

impl<'a> Contents<'a> {
    fn new(root: &'a Sysroot, devices: &'a Devices) -> Contents<'a> {
        Contents {
            root,
            folders: Folders::new(root),
            order: DiskOrder::new(devices),
            batch: Batch::new(0),
            wanted: Vec::new(),
        }
    }

    /// In what it differs, as far as that can be told without reading it.
    fn judge(&mut self, accounts: &Accounts, entry: &Entry, place: Place) -> Vec<Difference> {
        let stat = self.folders.stat(&entry.path);
        let seen = stat.as_ref().ok().copied();
        let judged = judge(self.root, accounts, entry, stat);
        if let (Some(digest), Some(stat)) = (judged.content, seen) {
            let seen = Seen::of(&entry.path, &stat, &mut self.folders, &mut self.order);
            let number = self.wanted.len() as u32;
            self.batch.push(number, &entry.path, digest, &seen);
            self.wanted.push((place, digest));
        }
        judged.differences
    }

    /// Reads all of them: whose content differs, or cannot be read.
    fn read(self) -> Vec<(Place, Difference)> {
        let batches = [self.batch];
        let order = reading::order(&batches);
        let (_, wrong) = reading::read(
            self.root,
            &batches,
            &order,
            &mut reading::threads(),
            &mut |_, _| ControlFlow::Continue(()),
        );
        if interrupt::pressed_already() {
            // What was not read is not vouched for.
            let unread = |(place, must)| (place, Difference::Content { is: None, must });
            return self.wanted.into_iter().map(unread).collect();
        }
        let told = |(number, _, difference): reading::Wrong| {
            let (place, _) = self.wanted[number as usize];
            Some((place, difference?))
        };
        wrong.into_iter().filter_map(told).collect()
    }
}

/// Paths with the links of their folders followed, but not the last name's: what makes two names of `/lib` and `/usr/lib` one.
struct Places<'a> {
    root: &'a Sysroot,
    folders: BTreeMap<PathBuf, PathBuf>,
}

impl<'a> Places<'a> {
    fn new(root: &'a Sysroot) -> Places<'a> {
        Places {
            root,
            folders: BTreeMap::new(),
        }
    }

    fn of(&mut self, path: &Path) -> PathBuf {
        let path = path.strip_prefix("/").unwrap_or(path);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return path.into();
        };
        if let Some(real) = self.folders.get(folder) {
            return real.join(name);
        }
        let real = self.root.real_path(folder);
        let real = real.unwrap_or_else(|_| folder.into());
        self.folders.insert(folder.into(), real.clone());
        real.join(name)
    }
}
