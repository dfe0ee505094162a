//! Folders of ROOT that are kept open: what is asked by a name in one of them is a fifth of the work of asking by a path.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_sysroot::{Error, Sysroot};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// A package's files lie in few.
const FOLDERS: usize = 16;

/// Folders that are open, the last used in front.
pub(crate) struct Folders<'a> {
    root: &'a Sysroot,
    open: Vec<(PathBuf, OwnedFd)>,
}

impl<'a> Folders<'a> {
    pub(crate) fn new(root: &'a Sysroot) -> Folders<'a> {
        Folders {
            root,
            open: Vec::with_capacity(FOLDERS),
        }
    }

    /// Of the path itself.
    pub(crate) fn stat(&mut self, path: &Path) -> Result<Stat, Error> {
        let Some((folder, name)) = split(path) else {
            return self.root.symlink_metadata(path);
        };
        let folder = self.handle(folder)?;
        let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map_err(|errno| self.error(path, errno))
    }

    /// Opens what [`Self::stat`] has said is a regular file. Whoever sees a file by this name before it is opened again, as
    /// [`Sysroot::open_file`] does, pays twice; a device could only have come into its place since then, and is not read.
    pub(crate) fn open_regular(&mut self, path: &Path) -> Result<(File, Stat), Error> {
        let Some((folder, name)) = split(path) else {
            return Err(self.error(path, Errno::ISDIR));
        };
        let folder = self.handle(folder)?;
        let flags =
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
            file => file,
        };
        let file = file.map_err(|errno| self.error(path, errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| self.error(path, errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file.into(), stat)),
            kind => Err(Error::NotAFile {
                path: self.root.outside(path),
                kind,
            }),
        }
    }

    fn handle(&mut self, folder: &Path) -> Result<&OwnedFd, Error> {
        // As bytes: comparing as paths takes them apart.
        let wanted = folder.as_os_str().as_bytes();
        let same = |(open, _): &(PathBuf, OwnedFd)| open.as_os_str().as_bytes() == wanted;
        match self.open.iter().position(same) {
            Some(at) => self.open[..=at].rotate_right(1),
            None => {
                let handle = self.root.handle(folder, OFlags::DIRECTORY)?;
                self.open.truncate(FOLDERS - 1);
                self.open.insert(0, (folder.to_path_buf(), handle));
            }
        }
        Ok(&self.open[0].1)
    }

    fn error(&self, path: &Path, errno: Errno) -> Error {
        Error::System {
            path: self.root.outside(path),
            errno,
        }
    }
}

/// Folder and name. As bytes: [`Path::parent`] takes the path apart from its end, which is a tenth of what is done with it here.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let (folder, name) = match bytes.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
        None => (&b""[..], bytes),
    };
    // The folder above is not below ROOT for the kernel, which is asked by name.
    let is_name = !matches!(name, b"" | b"." | b"..");
    is_name.then(|| {
        (
            Path::new(OsStr::from_bytes(folder)),
            OsStr::from_bytes(name),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_not_asked_for_by_name() {
        for (path, folder, name) in [("usr/bin/ls", "usr/bin", "ls"), ("bin", "", "bin")] {
            assert_eq!(
                split(Path::new(path)),
                Some((Path::new(folder), OsStr::new(name)))
            );
        }
        for path in ["", "usr/", "usr/..", "..", "."] {
            assert_eq!(split(Path::new(path)), None, "{path:?}");
        }
    }
}
