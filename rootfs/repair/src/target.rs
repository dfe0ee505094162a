//! A place in ROOT where a file is, or belongs: its folder, held open, and its name in it. All changes go through the
//! folder, so nobody can put another one in its place meanwhile.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_sysroot::{Sysroot, kind_name};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::Error;

/// How files begin that are not yet in place.
pub(crate) const TEMPORARY: &str = ".kedge-repair-";

/// A place for one file.
#[derive(Debug)]
pub(crate) struct Target {
    folder: OwnedFd,
    name: PathBuf,
    /// As seen from outside.
    pub(crate) outside: PathBuf,
}

impl Target {
    /// The place called `path` in `root`; what is there is not looked at.
    pub(crate) fn open(root: &Sysroot, path: &Path) -> Result<Target, Error> {
        let (folder, name) = root.open_parent(path)?;
        if name.as_os_str().as_bytes() == b".." {
            return Err(Error::Word(format!("{} ends in ..", path.display())));
        }
        Ok(Target {
            folder,
            name,
            outside: root.outside(path),
        })
    }

    /// What is there, not followed; nothing when nothing is.
    pub(crate) fn stat(&self) -> Result<Option<Stat>, Error> {
        self.stat_of(&self.name)
    }

    /// As [`Self::stat`], of another name in the folder.
    pub(crate) fn stat_of(&self, name: &Path) -> Result<Option<Stat>, Error> {
        match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.fail("look at", errno)),
        }
    }

    /// Where the link there leads.
    pub(crate) fn read_link(&self) -> Result<PathBuf, Error> {
        let leads = rustix::fs::readlinkat(&self.folder, &self.name, Vec::new())
            .map_err(|errno| self.fail("read the link", errno))?;
        Ok(Path::new(std::ffi::OsStr::from_bytes(leads.as_bytes())).to_path_buf())
    }

    /// That what is there, and its folder, may be replaced at all.
    pub(crate) fn is_changeable(&self) -> Result<(), Error> {
        let fixed = |name: &str, flags: AtFlags| {
            let stat = rustix::fs::statx(&self.folder, name, flags, StatxFlags::empty());
            stat.is_ok_and(|stat| {
                let wanted = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
                stat.stx_attributes.intersects(wanted)
            })
        };
        if fixed("", AtFlags::EMPTY_PATH) {
            let folder = self.outside.parent().unwrap_or(Path::new("/"));
            return Err(Error::Immutable(folder.to_path_buf()));
        }
        if let Some(name) = self.name.to_str()
            && fixed(name, AtFlags::SYMLINK_NOFOLLOW)
        {
            return Err(Error::Immutable(self.outside.clone()));
        }
        if let Some(stat) = self.stat()?
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
        {
            return Err(Error::IsFolder(self.outside.clone()));
        }
        Ok(())
    }

    /// Makes a file beside it that is nobody's business yet.
    pub(crate) fn create(&self, name: &Path) -> Result<File, Error> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.fail("make a file beside", errno))?;
        Ok(file.into())
    }

    /// Makes a link beside it.
    pub(crate) fn symlink(&self, leads: &Path, name: &Path) -> Result<(), Error> {
        rustix::fs::symlinkat(leads, &self.folder, name)
            .map_err(|errno| self.fail("make a link beside", errno))
    }

    /// Sets owner and time of the link `name` beside it.
    pub(crate) fn dress_symlink(
        &self,
        name: &Path,
        (user, group): (u32, u32),
        times: &rustix::fs::Timestamps,
    ) -> Result<(), Error> {
        use rustix::process::{Gid, Uid};
        let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&self.folder, name, Some(user), Some(group), flags)
            .and_then(|()| rustix::fs::utimensat(&self.folder, name, times, flags))
            .map_err(|errno| self.fail("set the owner of", errno))
    }

    /// Another name for it in `folder`.
    pub(crate) fn link_to(&self, folder: impl AsFd, name: &Path) -> Result<(), Errno> {
        rustix::fs::linkat(&self.folder, &self.name, folder, name, AtFlags::empty())
    }

    /// `name` in `folder` becomes `beside` in this one.
    pub(crate) fn link_from(
        &self,
        folder: impl AsFd,
        name: &Path,
        beside: &Path,
    ) -> Result<(), Errno> {
        rustix::fs::linkat(folder, name, &self.folder, beside, AtFlags::empty())
    }

    /// `beside` takes its place, in one step.
    pub(crate) fn replace_by(&self, beside: &Path) -> Result<(), Error> {
        rustix::fs::renameat(&self.folder, beside, &self.folder, &self.name)
            .map_err(|errno| self.fail("put the new file in place of", errno))
    }

    /// `beside` takes its place if nothing is there by now.
    pub(crate) fn fill_by(&self, beside: &Path) -> Result<(), Error> {
        let flags = RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(&self.folder, beside, &self.folder, &self.name, flags) {
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS) => self.replace_by(beside),
            done => done.map_err(|errno| self.fail("put the new file in the place", errno)),
        }
    }

    /// Takes it away.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty())
            .map_err(|errno| self.fail("remove", errno))
    }

    /// Takes `name` beside it away, if it is there and is one of ours.
    pub(crate) fn remove_temporary(&self, name: &Path) {
        let bytes = name.as_os_str().as_bytes();
        if bytes.starts_with(TEMPORARY.as_bytes()) && !bytes.contains(&b'/') {
            let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
        }
    }

    /// Its folder's names are on the disk.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.folder).map_err(|errno| self.fail("write the folder of", errno))
    }

    pub(crate) fn fail(&self, doing: &'static str, errno: Errno) -> Error {
        Error::System {
            doing,
            path: self.outside.clone(),
            errno,
        }
    }
}

/// Makes the folder `path` of `root`, and those above it, where they are missing.
pub(crate) fn make_folders(root: &Sysroot, path: &Path, mode: u32) -> Result<(), Error> {
    let mut above = PathBuf::new();
    for component in path.components() {
        above.push(component);
        match root.metadata(&above) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => continue,
            Ok(stat) => {
                let kind = kind_name(FileType::from_raw_mode(stat.st_mode));
                let path = root.outside(&above);
                return Err(Error::NoFolder(path, kind));
            }
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
        let target = Target::open(root, &above)?;
        rustix::fs::mkdirat(&target.folder, &target.name, Mode::from_raw_mode(mode))
            .map_err(|errno| target.fail("make the folder", errno))?;
        target.sync()?;
    }
    Ok(())
}

/// Opens the folder `path` of `root`, to make names in it.
pub(crate) fn open_folder(root: &Sysroot, path: &Path) -> Result<OwnedFd, Error> {
    // The parent of a name in it.
    Ok(root.open_parent(&path.join("x"))?.0)
}
