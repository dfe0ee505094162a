//! rpm's database: the headers of all packages, in one of three kinds of file. The headers are the same in all of them.

mod berkeley;
mod chain;
mod files;
mod header;
#[cfg(test)]
mod kinds;
mod ndb;
#[cfg(test)]
mod real;
mod sqlite;
#[cfg(test)]
mod tests;
mod wal;

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kedge_rpm_header::{Header, tag};
use kedge_sysroot::Sysroot;

use berkeley::Berkeley;
use chain::{Blob, Pages, Reader};
use ndb::Ndb;
use sqlite::Sqlite;

use crate::name::{self, Aliases};
use crate::scan::Wanted;
use crate::store::{Complaints, Store};
use crate::{Database, Entry, Error, Family, Package, threads};

/// Where distributions have it: most; SUSE and newer Fedora; rpm-ostree.
const FOLDERS: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];

/// The database of one system.
pub(crate) struct Rpm<'a> {
    root: &'a Sysroot,
    pages: Box<dyn Pages>,
    blobs: Vec<Blob>,
    packages: Vec<Package>,
    complaints: Complaints,
}

impl<'a> Rpm<'a> {
    /// `None` where rpm never was, or has no packages (on a Debian with rpm as a tool).
    pub(crate) fn open(root: &'a Sysroot) -> Result<Option<Rpm<'a>>, Error> {
        let mut failed: Option<Error> = None;
        // A converted system may have the older file still.
        for kind in ["rpmdb.sqlite", "Packages.db", "Packages"] {
            for folder in FOLDERS {
                match open_file(root, &Path::new(folder).join(kind)) {
                    Ok(Some(rpm)) => {
                        if let Some(error) = failed {
                            let used = rpm.pages.store(false).path().display();
                            let why = format!("{error}; {used} was used, which may be much older");
                            rpm.complaints.add(why);
                        }
                        return Ok(Some(rpm));
                    }
                    Ok(None) => {}
                    Err(error) => {
                        failed.get_or_insert(error);
                    }
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn header(&self, index: usize) -> Result<Header, Error> {
        let blob = &self.blobs[index];
        header::read(&mut Reader::new(&*self.pages, blob))
    }

    /// The tags of `wanted` that this package has.
    fn find(&self, index: usize, wanted: &Wanted) -> Result<Vec<usize>, Error> {
        let header = self.header(index)?;
        let mut found = Vec::new();
        let mut path = Vec::new();
        for (folder, name) in files::Paths::of(&header).flatten() {
            path.clear();
            path.extend_from_slice(name::trim(folder));
            if !path.is_empty() && !name.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            found.extend_from_slice(wanted.find(&path));
        }
        Ok(found)
    }
}

/// `None` when it is not there or has no packages.
fn open_file<'a>(root: &'a Sysroot, path: &Path) -> Result<Option<Rpm<'a>>, Error> {
    let store = match Store::open(root, path) {
        Ok(store) if store.length() == 0 => return Ok(None),
        Ok(store) => store,
        Err(Error::Read(error)) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    };
    let complaints = Complaints::default();
    let pages: Box<dyn Pages> = match path.extension().map(|extension| extension.as_bytes()) {
        Some(b"sqlite") => {
            let log = match Store::open(root, &path.with_extension("sqlite-wal")) {
                Ok(log) => Some(log),
                Err(Error::Read(error)) if error.is_missing() => None,
                Err(error) => {
                    complaints.add(error.to_string());
                    None
                }
            };
            let journal = path.with_extension("sqlite-journal");
            if root.metadata(&journal).is_ok_and(|known| known.st_size > 0) {
                complaints.add(format!(
                    "{} is there: a change to the database was interrupted, and what is read may be half of it",
                    root.outside(&journal).display()
                ));
            }
            Box::new(Sqlite::open(store, log, &complaints)?)
        }
        Some(_) => Box::new(Ndb::open(store)?),
        None => Box::new(Berkeley::open(store)?),
    };
    let (mut blobs, mut packages) = (Vec::new(), Vec::new());
    for blob in pages.blobs(&complaints)? {
        match package(&*pages, &blob) {
            Ok(package) => {
                blobs.push(blob);
                packages.push(package);
            }
            Err(error) => complaints.add(error.to_string()),
        }
    }
    let rpm = Rpm {
        root,
        pages,
        blobs,
        packages,
        complaints,
    };
    match rpm.complaints.list().first() {
        // It is there, and nothing of it can be read.
        Some(complaint) if rpm.packages.is_empty() => {
            let store = rpm.pages.store(false);
            Err(store.damaged(0, format!("no package can be read: {complaint}")))
        }
        _ => Ok((!rpm.packages.is_empty()).then_some(rpm)),
    }
}

fn package(pages: &dyn Pages, blob: &Blob) -> Result<Package, Error> {
    let mut reader = Reader::new(pages, blob);
    let tags = [tag::NAME, tag::VERSION, tag::RELEASE, tag::EPOCH, tag::ARCH];
    let header = header::read_only(&mut reader, &tags)?;
    let text = |tag| header.text(tag).filter(|text| !text.is_empty());
    let Some((name, version, release)) = text(tag::NAME)
        .zip(text(tag::VERSION))
        .zip(text(tag::RELEASE))
        .map(|((name, version), release)| (name, version, release))
    else {
        return Err(reader.damaged("a package has no name, version or release"));
    };
    let epoch = header.number(tag::EPOCH);
    let epoch = epoch.map(|epoch| format!("{epoch}:")).unwrap_or_default();
    Ok(Package {
        family: Family::Rpm,
        name,
        version: format!("{epoch}{version}-{release}"),
        architecture: text(tag::ARCH).unwrap_or_default(),
    })
}

impl Database for Rpm<'_> {
    fn family(&self) -> Family {
        Family::Rpm
    }

    fn packages(&self) -> &[Package] {
        &self.packages
    }

    fn entries_until(
        &self,
        index: usize,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let blob = &self.blobs[index];
        if let Err(error) = self.pages.check(blob) {
            self.complaints.add(error.to_string());
        }
        let header = self.header(index)?;
        files::entries(&header, each).map_err(|why| {
            let store = self.pages.store(blob.first.in_log);
            store.damaged(blob.first.offset, why)
        })
    }

    fn owners(&self, paths: &[&Path]) -> Result<Vec<Vec<usize>>, Error> {
        let aliases = Aliases::of(self.root);
        let mut wanted = Wanted::new();
        for (index, path) in paths.iter().enumerate() {
            for name in aliases.of_path(self.root, path) {
                wanted.add(name.as_os_str().as_bytes(), index);
            }
        }
        let found = threads::gather(self.packages.len(), &|package, found| match self
            .find(package, &wanted)
        {
            Ok(paths) => found.extend(paths.into_iter().map(|path| (path, package))),
            Err(error) => self.complaints.add(error.to_string()),
        });
        let mut owners = vec![Vec::new(); paths.len()];
        for (path, package) in found {
            owners[path].push(package);
        }
        for owners in &mut owners {
            owners.sort_unstable();
            owners.dedup();
        }
        Ok(owners)
    }

    fn complaints(&self) -> Vec<String> {
        self.complaints.list()
    }
}
