//! apk's database, `/lib/apk/db/installed`: all packages and their files in one text.
//!
//! It does not say which files are symlinks: their checksum is that of where they lead, and their mode is 0777. What is at
//! such a path tells which it is; when that is damaged, a target is looked for among the package's own files.

mod protected;
mod record;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_digest::{Digest, Hasher};
use kedge_sysroot::Sysroot;

use protected::Protected;
use record::Line;

use crate::name::{self, Aliases};
use crate::scan::Wanted;
use crate::store::{Complaints, Store};
use crate::{Database, Entry, Error, Family, Kind, NoFile, Owner, Package};

/// Where it is; the second since `/lib` is merged into `/usr`.
const FILES: [&str; 2] = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];
/// What a folder and a file have when nothing is said (`apk_default_acl_dir`, `apk_default_acl_file`).
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
/// What tar gives a symlink.
const LINK_MODE: u32 = 0o777;
/// More packages than any system has.
const MOST_PACKAGES: usize = 1 << 18;
/// So many targets are tried for a damaged symlink.
const MOST_TARGETS: usize = 20_000;

/// The database of one system.
pub(crate) struct Apk<'a> {
    root: &'a Sysroot,
    store: Store,
    packages: Vec<Package>,
    /// Where the record of each package begins.
    offsets: Vec<u64>,
    protected: Protected,
    complaints: Complaints,
}

impl<'a> Apk<'a> {
    /// `None` where apk never was.
    pub(crate) fn open(root: &'a Sysroot) -> Result<Option<Apk<'a>>, Error> {
        for path in FILES {
            match Store::open(root, Path::new(path)) {
                Ok(store) if store.length() > 0 => return Apk::read(root, store).map(Some),
                Ok(_) => {}
                Err(Error::Read(error)) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn read(root: &'a Sysroot, store: Store) -> Result<Apk<'a>, Error> {
        let complaints = Complaints::default();
        let mut apk = Apk {
            root,
            packages: Vec::new(),
            offsets: Vec::new(),
            protected: Protected::read(root, &complaints),
            complaints,
            store,
        };
        let mut lines = apk.store.lines(0);
        let mut began = 0;
        let (mut name, mut version, mut architecture) = (None, None, None);
        let text = |value: &[u8]| Some(String::from_utf8_lossy(value).into_owned());
        let mut odd = None;
        loop {
            let offset = lines.offset();
            let line = lines.next()?;
            let end = line.is_none();
            match line.map_or(Line::End, Line::of) {
                Line::Name(value) => name = text(value),
                Line::Version(value) => version = text(value),
                Line::Architecture(value) => architecture = text(value),
                Line::End => {
                    let known = name.take().zip(version.take());
                    if let Some((name, version)) = known {
                        apk.packages.push(Package {
                            family: Family::Apk,
                            name,
                            version,
                            architecture: architecture.take().unwrap_or_default(),
                        });
                        apk.offsets.push(began);
                    } else if offset > began {
                        let why = "a package has no name or version";
                        apk.complaints
                            .add(apk.store.damaged(began, why).to_string());
                    }
                    if apk.packages.len() > MOST_PACKAGES {
                        return Err(apk
                            .store
                            .damaged(offset, "there are more packages than make sense"));
                    }
                    began = lines.offset();
                }
                Line::Odd => odd = odd.or(Some(offset)),
                _ => {}
            }
            if end {
                break;
            }
        }
        if let Some(offset) = odd {
            apk.complaints.add(
                apk.store
                    .damaged(offset, "a line makes no sense")
                    .to_string(),
            );
        }
        match (apk.packages.is_empty(), odd) {
            (true, Some(offset)) => Err(apk.store.damaged(offset, "there is no package in it")),
            _ => Ok(apk),
        }
    }

    /// Calls `each` for the folders and files of the package at `offset`, until it breaks.
    fn files(
        &self,
        offset: u64,
        each: &mut dyn FnMut(Named) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut lines = self.store.lines(offset);
        let mut folder = Vec::new();
        let mut pending: Option<Named> = None;
        while let Some(line) = lines.next()? {
            let next = match Line::of(line) {
                Line::End => break,
                Line::Folder(path) => {
                    folder = name::trim(path).to_vec();
                    Some(Named::new(folder.clone(), true))
                }
                Line::File(file) => {
                    let slash = if folder.is_empty() {
                        b"".as_slice()
                    } else {
                        b"/"
                    };
                    Some(Named::new([&folder, slash, file].concat(), false))
                }
                Line::Access(user, group, mode) => {
                    if let Some(named) = &mut pending {
                        (named.user, named.group, named.mode) = (user, group, mode);
                    }
                    None
                }
                Line::Checksum(digest) => {
                    if let Some(named) = &mut pending {
                        named.digest = digest;
                    }
                    None
                }
                _ => None,
            };
            // What was said of one is known when the next one begins.
            if let Some(next) = next
                && let Some(named) = pending.replace(next)
                && each(named).is_break()
            {
                return Ok(());
            }
        }
        if let Some(named) = pending {
            let _ = each(named);
        }
        Ok(())
    }

    /// Paths of the package, as targets of its symlinks.
    fn targets(&self, offset: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        // What cannot be read is told by whoever reads the entries.
        let _ = self.files(offset, &mut |named| {
            all.push(named.path);
            match all.len() < MOST_TARGETS {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        all
    }

    fn kind(&self, named: &Named, path: &Path, targets: &dyn Fn() -> Option<PathBuf>) -> Kind {
        if named.folder {
            return Kind::Directory;
        }
        let file = Kind::File {
            size: None,
            digest: named.digest,
        };
        let Some(digest) = named.digest else {
            // It may be a symlink or a device: older versions of apk have no checksum of them.
            return Kind::Unknown;
        };
        if named.mode != LINK_MODE {
            return file;
        }
        match self.root.read_link(path) {
            Ok(target) if is_target(&digest, target.as_os_str().as_bytes()) => {
                Kind::Symlink(target)
            }
            _ => targets().map_or(file, Kind::Symlink),
        }
    }
}

/// A folder or file as the database names it.
struct Named {
    path: Vec<u8>,
    folder: bool,
    user: u32,
    group: u32,
    mode: u32,
    digest: Option<Digest>,
}

impl Named {
    fn new(path: Vec<u8>, folder: bool) -> Named {
        Named {
            path,
            folder,
            user: 0,
            group: 0,
            mode: if folder { FOLDER_MODE } else { FILE_MODE },
            digest: None,
        }
    }
}

fn is_target(digest: &Digest, target: &[u8]) -> bool {
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(target);
    hasher.finish() == *digest
}

/// The ways in which a symlink at `link` may lead to `path`: by its name beside it, from ROOT, up and down again.
fn ways(link: &[u8], path: &[u8]) -> [Vec<u8>; 2] {
    let from: Vec<&[u8]> = link.split(|&byte| byte == b'/').collect();
    let to: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let folders = from.len() - 1;
    let same = from[..folders]
        .iter()
        .zip(&to)
        .take_while(|(a, b)| a == b)
        .count();
    let same = same.min(to.len() - 1);
    let mut relative = vec![b"..".as_slice(); folders - same];
    relative.extend(&to[same..]);
    [relative.join(&b'/'), [b"/", path].concat()]
}

impl Database for Apk<'_> {
    fn family(&self) -> Family {
        Family::Apk
    }

    fn packages(&self) -> &[Package] {
        &self.packages
    }

    fn entries_until(
        &self,
        index: usize,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let offset = self.offsets[index];
        let all = OnceCell::new();
        let tried = std::cell::Cell::new(0);
        self.files(offset, &mut |named| {
            let Some(path) = name::clean(&named.path) else {
                let why = format!("a package has a file called {}", name::shown(&named.path));
                self.complaints
                    .add(self.store.damaged(offset, why).to_string());
                return ControlFlow::Continue(());
            };
            let target = || {
                let digest = named.digest?;
                let paths: &Vec<Vec<u8>> = all.get_or_init(|| self.targets(offset));
                for other in paths {
                    if tried.get() >= MOST_TARGETS {
                        return None;
                    }
                    tried.set(tried.get() + 1);
                    let found = ways(&named.path, other)
                        .into_iter()
                        .find(|way| is_target(&digest, way));
                    if let Some(found) = found {
                        return Some(OsStr::from_bytes(&found).into());
                    }
                }
                None
            };
            let kind = self.kind(&named, &path, &target);
            let link = matches!(kind, Kind::Symlink(_));
            let plain = path.as_os_str().as_bytes();
            each(Entry {
                configuration: !named.folder && self.protected.contains(plain, link),
                kind,
                mode: (!link).then_some(named.mode),
                user: Some(Owner::Number(named.user)),
                group: Some(Owner::Number(named.group)),
                capabilities: None,
                modified: None,
                optional: false,
                no_file: NoFile::Unsaid,
                path,
            })
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
        let mut owners = vec![Vec::new(); paths.len()];
        let mut lines = self.store.lines(0);
        let mut path = Vec::new();
        let mut folder = 0;
        let mut package = 0;
        loop {
            let offset = lines.offset();
            let Some(line) = lines.next()? else {
                break;
            };
            while self
                .offsets
                .get(package + 1)
                .is_some_and(|&next| next <= offset)
            {
                package += 1;
            }
            match Line::of(line) {
                Line::Folder(name) => {
                    path.clear();
                    path.extend_from_slice(name::trim(name));
                    folder = path.len();
                }
                Line::File(name) => {
                    path.truncate(folder);
                    if folder > 0 {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                }
                _ => continue,
            }
            for &index in wanted.find(&path) {
                if !owners[index].contains(&package) {
                    owners[index].push(package);
                }
            }
        }
        Ok(owners)
    }

    fn complaints(&self) -> Vec<String> {
        let mut all = self.complaints.list();
        all.extend(self.protected.complaint());
        all
    }
}
