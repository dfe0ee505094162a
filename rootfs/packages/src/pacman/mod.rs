//! pacman's local database, `/var/lib/pacman/local`: a folder a package, with `desc` (what it is), `files` (its paths and
//! configuration files) and `mtree` (everything about its files).

mod conf;
mod mtree;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use conf::Conf;

use crate::name::{self, Aliases};
use crate::scan::{List, Wanted, lines, scan};
use crate::store::{Complaints, LARGEST, damaged};
use crate::{Database, Entry, Error, Family, Kind, NoFile, Package, threads};

const DATABASE: &str = "var/lib/pacman";
/// A description is some kilobytes.
const LARGEST_DESC: u64 = 1 << 20;

/// Of one package: a hundred thousand files are many, and a hundred configuration files.
const MOST_FILES: usize = 500_000;
const MOST_BACKUPS: usize = 10_000;

/// The database of one system.
pub(crate) struct Pacman<'a> {
    root: &'a Sysroot,
    packages: Vec<Package>,
    /// Of each package: its folder, and that one's inode.
    folders: Vec<(PathBuf, u64)>,
    conf: Conf,
    complaints: Complaints,
}

impl<'a> Pacman<'a> {
    /// `None` where pacman never was.
    pub(crate) fn open(root: &'a Sysroot) -> Result<Option<Pacman<'a>>, Error> {
        let complaints = Complaints::default();
        let conf = Conf::read(root, &complaints);
        let local = conf
            .database
            .as_deref()
            .unwrap_or(Path::new(DATABASE))
            .join("local");
        let mut names = match root.read_dir(&local) {
            Ok(names) => names,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        names.retain(|name| name.name.as_os_str() != "ALPM_DB_VERSION");
        names.sort_by_key(|name| name.inode);
        let mut found = threads::gather(names.len(), &|index, found| {
            let folder = local.join(&names[index].name);
            let desc = folder.join("desc");
            match root.read(&desc, LARGEST_DESC) {
                Ok(bytes) => match package(&bytes) {
                    Some(package) => found.push((package, folder, names[index].inode)),
                    None => complaints.add(
                        damaged(&root.outside(&desc), 0, "it has no name and version").to_string(),
                    ),
                },
                // A folder of something else, or one that was just made.
                Err(error) => complaints.add(format!("a package has no description: {error}")),
            }
        });
        if found.is_empty() && complaints.list().is_empty() {
            return Ok(None);
        }
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let mut packages = Vec::new();
        let mut folders = Vec::new();
        for (package, folder, inode) in found {
            packages.push(package);
            folders.push((folder, inode));
        }
        Ok(Some(Pacman {
            root,
            packages,
            folders,
            conf,
            complaints,
        }))
    }

    /// Every path of a package by `mtree`; `false` when that cannot be read to its end.
    fn read_mtree(
        &self,
        index: usize,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let path = self.folders[index].0.join("mtree");
        let bytes = match self.root.read(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => {
                self.complaints
                    .add(format!("{error}: only names are known of its files"));
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let read = mtree::read(bytes.as_slice(), each);
        if let Err(why) = &read {
            let error = damaged(&self.root.outside(&path), 0, why);
            self.complaints.add(error.to_string());
        }
        Ok(read.is_ok())
    }
}

/// `%NAME%` and the line after it.
fn package(desc: &[u8]) -> Option<Package> {
    let text = String::from_utf8_lossy(desc);
    let mut lines = text.lines();
    let (mut name, mut version, mut architecture) = (None, None, String::new());
    while let Some(line) = lines.next() {
        match line {
            "%NAME%" => name = lines.next(),
            "%VERSION%" => version = lines.next(),
            "%ARCH%" => architecture = lines.next().unwrap_or_default().into(),
            _ => {}
        }
    }
    let known = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_string);
    Some(Package {
        family: Family::Pacman,
        name: known(name)?,
        version: known(version)?,
        architecture,
    })
}

/// `files`: the paths of `%FILES%` and of `%BACKUP%`.
struct Files<'a> {
    paths: Vec<&'a [u8]>,
    /// Some were left out.
    too_many: bool,
    backup: HashSet<&'a [u8]>,
}

impl<'a> Files<'a> {
    fn of(bytes: &'a [u8]) -> Files<'a> {
        let mut files = Files {
            paths: Vec::new(),
            too_many: false,
            backup: HashSet::new(),
        };
        let mut section = b"".as_slice();
        for line in lines(bytes).map(|line| &bytes[line]) {
            match line {
                [b'%', .., b'%'] => section = line,
                _ if files.paths.len() >= MOST_FILES || files.backup.len() >= MOST_BACKUPS => {
                    files.too_many = true;
                    break;
                }
                // `path<tab>md5` of what the package brought.
                _ if section == b"%BACKUP%" => {
                    let path = line.split(|&byte| byte == b'\t').next();
                    files.backup.insert(path.unwrap_or_default());
                }
                _ if section == b"%FILES%" => files.paths.push(line),
                _ => {}
            }
        }
        files
    }
}

impl Database for Pacman<'_> {
    fn family(&self) -> Family {
        Family::Pacman
    }

    fn packages(&self) -> &[Package] {
        &self.packages
    }

    fn entries_until(
        &self,
        index: usize,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let path = self.folders[index].0.join("files");
        let bytes = match self.root.read(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let files = Files::of(&bytes);
        if files.too_many {
            let file = self.root.outside(&path);
            self.complaints.add(format!(
                "{} names more files than make sense; the rest was left out",
                file.display()
            ));
        }
        // What mtree does not tell is told after it.
        let mut left: HashMap<&[u8], usize> = files
            .paths
            .iter()
            .enumerate()
            .map(|(index, path)| (name::trim(path), index))
            .collect();
        let mut give = |mut entry: Entry| {
            let path = entry.path.as_os_str().as_bytes();
            entry.configuration = files.backup.contains(path) || self.conf.is_left_alone(path);
            entry.optional = self.conf.is_left_out(path);
            each(entry)
        };
        let mut going_on = ControlFlow::Continue(());
        let whole = self.read_mtree(index, &mut |entry| {
            left.remove(entry.path.as_os_str().as_bytes());
            going_on = give(entry);
            going_on
        })?;
        if going_on.is_break() {
            return Ok(());
        }
        let mut rest: Vec<usize> = left.into_values().collect();
        rest.sort_unstable();
        if let (Some(first), true) = (rest.first(), whole) {
            let first = name::shown(files.paths[*first]);
            let folder = self.root.outside(&self.folders[index].0);
            let folder = folder.display();
            self.complaints.add(format!(
                "{folder}/mtree does not name {first}, which {folder}/files names"
            ));
        }
        for raw in rest.into_iter().map(|index| files.paths[index]) {
            let Some(path) = name::clean(raw) else {
                self.complaints.add(format!(
                    "{} has a line that is no path: {}",
                    self.root.outside(&path).display(),
                    name::shown(raw)
                ));
                continue;
            };
            let going_on = give(Entry {
                path,
                kind: if raw.ends_with(b"/") {
                    Kind::Directory
                } else {
                    Kind::Unknown
                },
                mode: None,
                user: None,
                group: None,
                capabilities: None,
                modified: None,
                configuration: false,
                optional: false,
                no_file: NoFile::Unsaid,
            });
            if going_on.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn owners(&self, paths: &[&Path]) -> Result<Vec<Vec<usize>>, Error> {
        let aliases = Aliases::of(self.root);
        let mut wanted = Wanted::new();
        for (index, path) in paths.iter().enumerate() {
            for name in aliases.of_path(self.root, path) {
                wanted.add(name.as_os_str().as_bytes(), index);
            }
        }
        let lists = self
            .folders
            .iter()
            .enumerate()
            .map(|(package, (folder, inode))| List {
                path: folder.join("files"),
                inode: *inode,
                package,
            });
        let mut owners = vec![Vec::new(); paths.len()];
        for (path, package) in scan(self.root, lists.collect(), &wanted, &self.complaints) {
            owners[path].push(package);
        }
        Ok(owners)
    }

    fn complaints(&self) -> Vec<String> {
        let mut all = self.complaints.list();
        all.extend(self.conf.complaint());
        all
    }
}
