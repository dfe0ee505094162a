//! dpkg's database, `/var/lib/dpkg` (dpkg(1), deb-md5sums(5)): `status` says what is installed, `info/PACKAGE.list` which
//! paths a package has, `info/PACKAGE.md5sums` what is in the files.
//!
//! Neither modes nor owners nor sizes nor where links lead are in it; only statoverrides tell some.

mod changes;
mod entries;
mod status;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use changes::{Diversions, Excluded, Overrides, Whose};
use status::{Record, Stanza};

use crate::name::Aliases;
use crate::scan::{List, Wanted, scan};
use crate::store::{Complaints, Store};
use crate::{Database, Entry, Error, Family, Package};

const DATABASE: &str = "var/lib/dpkg";

/// The database of one system.
pub(crate) struct Dpkg<'a> {
    root: &'a Sysroot,
    packages: Vec<Package>,
    records: Vec<Record>,
    /// What was removed but for its configuration, and still has a record.
    gone: Vec<Package>,
    /// Where the records' offsets lead.
    stores: Vec<Store>,
    /// Which of `stores` has which package.
    store_of: Vec<usize>,
    diversions: Diversions,
    overrides: Overrides,
    excluded: Excluded,
    complaints: Complaints,
}

impl<'a> Dpkg<'a> {
    /// `None` where dpkg never was.
    pub(crate) fn open(root: &'a Sysroot) -> Result<Option<Dpkg<'a>>, Error> {
        let complaints = Complaints::default();
        let mut dpkg = Dpkg {
            root,
            packages: Vec::new(),
            records: Vec::new(),
            gone: Vec::new(),
            stores: Vec::new(),
            store_of: Vec::new(),
            diversions: Diversions::read(root, &complaints),
            overrides: Overrides::read(root, &complaints),
            excluded: Excluded::read(root, &complaints),
            complaints,
        };
        dpkg.read_status()?;
        dpkg.read_updates();
        dpkg.read_distroless();
        dpkg.look_for_lost_records();
        Ok((!dpkg.packages.is_empty()).then_some(dpkg))
    }

    /// `status`, or the one before, `status-old`, when nothing can be got out of it.
    fn read_status(&mut self) -> Result<(), Error> {
        let first = self.read_packages(Path::new("var/lib/dpkg/status"));
        if let (Ok(1..), Some(store)) = (&first, self.stores.last())
            && let Err(error) = status::is_whole(store)
        {
            self.complaints.add(error.to_string());
        }
        let missing = matches!(&first, Err(Error::Read(error)) if error.is_missing());
        let info = Path::new("var/lib/dpkg/info");
        if matches!(&first, Ok(count) if *count > 0) || (missing && !self.root.exists(info)) {
            return Ok(());
        }
        let why = match &first {
            Ok(_) => format!(
                "{} names no package",
                self.root
                    .outside(Path::new("var/lib/dpkg/status"))
                    .display()
            ),
            Err(error) => error.to_string(),
        };
        match self.read_packages(Path::new("var/lib/dpkg/status-old")) {
            Ok(count) if count > 0 => {
                self.complaints.add(format!(
                    "{why}; status-old beside it was used, which is a little older"
                ));
                Ok(())
            }
            _ => match first {
                Err(error) if !missing => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// How many packages the paragraphs in `path` told; none are kept when that is none.
    fn read_packages(&mut self, path: &Path) -> Result<usize, Error> {
        let store = Store::open(self.root, path)?;
        let stanzas = status::read(&store, &self.complaints)?;
        let before = self.packages.len();
        for Stanza { package, record } in stanzas {
            match record {
                Some(record) => {
                    self.packages.push(package);
                    self.records.push(record);
                    self.store_of.push(self.stores.len());
                }
                None => self.gone.push(package),
            }
        }
        let count = self.packages.len() - before;
        if count > 0 {
            self.stores.push(store);
        }
        Ok(count)
    }

    /// What dpkg was about to write into `status` when it was interrupted: a file a step, in their order.
    fn read_updates(&mut self) {
        let folder = Path::new("var/lib/dpkg/updates");
        let mut names = self.root.read_dir(folder).unwrap_or_default();
        let digits = |name: &Path| name.as_os_str().as_bytes().iter().all(u8::is_ascii_digit);
        names.retain(|name| digits(&name.name));
        names.sort_by(|a, b| a.name.cmp(&b.name));
        for name in names {
            if let Err(error) = self.read_update(&folder.join(name.name)) {
                self.complaints.add(error.to_string());
            }
        }
    }

    fn read_update(&mut self, path: &Path) -> Result<(), Error> {
        let store = Store::open(self.root, path)?;
        for Stanza { package, record } in status::read(&store, &self.complaints)? {
            self.complaints.add(format!(
                "dpkg was interrupted while it changed package {}: dpkg --configure -a goes on",
                package.name
            ));
            let same = |known: &Package| {
                (&known.name, &known.architecture) == (&package.name, &package.architecture)
            };
            let known = self.packages.iter().position(same);
            match (known, record) {
                (Some(index), Some(record)) => {
                    self.packages[index] = package;
                    self.records[index] = record;
                    self.store_of[index] = self.stores.len();
                }
                (Some(index), None) => {
                    self.gone.push(self.packages.remove(index));
                    self.records.remove(index);
                    self.store_of.remove(index);
                }
                (None, Some(record)) => {
                    self.packages.push(package);
                    self.records.push(record);
                    self.store_of.push(self.stores.len());
                }
                (None, None) => self.gone.push(package),
            }
        }
        self.stores.push(store);
        Ok(())
    }

    /// Images without dpkg have a paragraph a package in `status.d`.
    fn read_distroless(&mut self) {
        let folder = Path::new("var/lib/dpkg/status.d");
        for name in self.root.read_dir(folder).unwrap_or_default() {
            if name
                .name
                .extension()
                .is_some_and(|extension| extension == "md5sums")
            {
                continue;
            }
            if let Err(error) = self.read_packages(&folder.join(name.name)) {
                self.complaints.add(error.to_string());
            }
        }
    }

    /// Whoever has a list has a record, as long as `status` is whole: dpkg writes it before and takes it away after.
    fn look_for_lost_records(&self) {
        let recorded = || self.packages.iter().chain(&self.gone);
        let names: HashSet<&str> = recorded().map(|known| known.name.as_str()).collect();
        let qualified: HashSet<(&str, &str)> = recorded()
            .map(|known| (known.name.as_str(), known.architecture.as_str()))
            .collect();
        let folder = Path::new("var/lib/dpkg/info");
        let files = self.root.read_dir(folder).unwrap_or_default();
        let mut lost: Vec<&str> = files
            .iter()
            .filter_map(|file| file.name.to_str()?.strip_suffix(".list"))
            .filter(|name| match name.split_once(':') {
                Some((name, architecture)) => ![architecture, ""]
                    .iter()
                    .any(|architecture| qualified.contains(&(name, architecture))),
                None => !names.contains(name),
            })
            .collect();
        lost.sort_unstable();
        let (Some(first), count) = (lost.first(), lost.len()) else {
            return;
        };
        let status = self.root.outside(Path::new("var/lib/dpkg/status"));
        let more = match count {
            1 => String::new(),
            _ => format!(" and {} more", count - 1),
        };
        self.complaints.add(format!(
            "{} has lost package {first}{more}: in info there is a list of its files, which were not looked at; var/lib/dpkg/status-old or var/backups/dpkg.status.* may have what was lost",
            status.display(),
        ));
    }

    /// `info/NAME.KIND` or `info/NAME:ARCHITECTURE.KIND`; the likelier first.
    fn info(&self, index: usize, kind: &str) -> [PathBuf; 3] {
        let Package {
            name, architecture, ..
        } = &self.packages[index];
        let plain = format!("{DATABASE}/info/{name}.{kind}").into();
        let qualified = format!("{DATABASE}/info/{name}:{architecture}.{kind}").into();
        let distroless = format!("{DATABASE}/status.d/{name}.{kind}").into();
        if self.records[index].same {
            [qualified, plain, distroless]
        } else {
            [plain, qualified, distroless]
        }
    }

    /// The lists of all packages.
    fn lists(&self) -> Result<Vec<List>, Error> {
        let folder = Path::new("var/lib/dpkg/info");
        let names = match self.root.read_dir(folder) {
            Ok(names) => names,
            Err(error) if error.is_missing() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let inodes: HashMap<&[u8], u64> = names
            .iter()
            .map(|name| (name.name.as_os_str().as_bytes(), name.inode))
            .collect();
        let list = |package: usize| {
            let paths = self.info(package, "list").into_iter().take(2);
            let found = paths.into_iter().find_map(|path| {
                let inode = *inodes.get(path.file_name()?.as_bytes())?;
                Some(List {
                    path,
                    inode,
                    package,
                })
            });
            // Distroless has no lists; its checksums name the files.
            found.or_else(|| {
                let [_, _, path] = self.info(package, "md5sums");
                self.root.exists(&path).then_some(List {
                    path,
                    inode: 0,
                    package,
                })
            })
        };
        Ok((0..self.packages.len()).filter_map(list).collect())
    }
}

impl Database for Dpkg<'_> {
    fn family(&self) -> Family {
        Family::Dpkg
    }

    fn packages(&self) -> &[Package] {
        &self.packages
    }

    fn entries_until(
        &self,
        index: usize,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        entries::read(self, index, each)
    }

    fn owners(&self, paths: &[&Path]) -> Result<Vec<Vec<usize>>, Error> {
        let aliases = Aliases::of(self.root);
        let mut wanted = Wanted::new();
        // What a tag stands for: which of `paths`, and whose file it is under that name.
        let mut tags: Vec<(usize, Whose)> = Vec::new();
        let names: Vec<Vec<PathBuf>> = paths
            .iter()
            .map(|path| aliases.of_path(self.root, path))
            .collect();
        for (index, names) in names.iter().enumerate() {
            for name in names {
                for (name, whose) in self.diversions.names_of(name.as_os_str().as_bytes()) {
                    wanted.add(name, tags.len());
                    tags.push((index, whose));
                }
            }
        }
        let mut owners = vec![Vec::new(); paths.len()];
        for (tag, package) in scan(self.root, self.lists()?, &wanted, &self.complaints) {
            let (index, whose) = tags[tag];
            if whose.includes(&self.packages[package].name) && !owners[index].contains(&package) {
                owners[index].push(package);
            }
        }
        owners.iter_mut().for_each(|owners| owners.sort_unstable());
        Ok(owners)
    }

    fn complaints(&self) -> Vec<String> {
        let mut all = self.complaints.list();
        all.extend(self.excluded.complaint());
        all
    }
}
