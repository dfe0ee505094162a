//! Files of an installed system that is mounted somewhere else, at ROOT.
//!
//! What is there is hostile: a link to `/etc/shadow` means ROOT's, `..` ends at ROOT, and nothing but a regular file is
//! ever opened for reading: opening a tape rewinds it, a watchdog arms itself, a FIFO waits for ever. The kernel sees
//! to the first two (`openat2(2)` with `RESOLVE_IN_ROOT`); for the third, everything is opened with `O_PATH` first.
//!
//! Paths are relative to ROOT; a leading `/` is allowed and means ROOT.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfs};
use rustix::io::Errno;

/// How many names of one folder are read: more is no system's.
const MOST_NAMES: usize = 1 << 20;

/// What failed, on which file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{path}: {errno}")]
    System {
        /// As seen from outside: with ROOT in front.
        path: PathBuf,
        /// What the kernel said; `EIO` is a disk that cannot read.
        errno: Errno,
    },
    /// It exists and is a folder, a device, a FIFO or a socket.
    #[error("{path} is no regular file but a {kind}; it was not opened", kind = kind_name(*.kind))]
    NotAFile {
        /// As seen from outside.
        path: PathBuf,
        /// What it is.
        kind: FileType,
    },
    /// There is more in it than anybody would put there.
    #[error("{path} is longer than the {limit} bytes that make sense there; it was not read")]
    TooLong {
        /// As seen from outside.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
}

impl Error {
    /// What the kernel said, where it was asked.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::System { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether it is simply not there (`ENOENT`, or `ENOTDIR` on the way).
    pub fn is_missing(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NOTDIR))
    }
}

/// "folder", "FIFO": what a type is called in a sentence.
pub fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "regular file",
        FileType::Directory => "folder",
        FileType::Symlink => "symlink",
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Unknown => "thing of unknown type",
    }
}

/// An installed system.
#[derive(Debug)]
pub struct Sysroot {
    folder: OwnedFd,
    path: PathBuf,
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Without the folder's.
    pub name: PathBuf,
    /// What it is, not followed; `Unknown` where the file system does not say without a `stat`.
    pub kind: FileType,
    /// Its inode's number: reading in this order is nearly the order on the disk.
    pub inode: u64,
}

impl Sysroot {
    /// Opens the folder `path` as ROOT. This path itself is followed as usual.
    ///
    /// # Errors
    /// When it is no folder that can be opened.
    pub fn open(path: &Path) -> Result<Sysroot, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::System {
                path: path.to_path_buf(),
                errno,
            })?;
        Ok(Sysroot {
            folder,
            path: path.to_path_buf(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What people have to type to see `path` from here: with ROOT in front.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.path.join(inside(path))
    }

    /// What is at `path`, itself, not what a link leads to.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub fn symlink_metadata(&self, path: &Path) -> Result<Stat, Error> {
        let file = self.handle(path, OFlags::NOFOLLOW)?;
        self.stat(&file, path)
    }

    /// What is at `path`, behind links, which end in ROOT.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub fn metadata(&self, path: &Path) -> Result<Stat, Error> {
        let file = self.handle(path, OFlags::empty())?;
        self.stat(&file, path)
    }

    /// Whether there is anything at `path`, behind links.
    pub fn exists(&self, path: &Path) -> bool {
        self.handle(path, OFlags::empty()).is_ok()
    }

    /// Where a link leads, as it stands in it.
    ///
    /// # Errors
    /// When it is no link, or cannot be read.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf, Error> {
        let link = self.handle(path, OFlags::NOFOLLOW)?;
        let target = rustix::fs::readlinkat(&link, "", Vec::new())
            .map_err(|errno| self.error(path, errno))?;
        Ok(std::ffi::OsString::from_vec(target.into_bytes()).into())
    }

    /// The path below ROOT, without links, of what is at `path` (relative, no leading `/`). It needs `/proc`.
    ///
    /// # Errors
    /// When it is not there, or a link on the way leads nowhere.
    pub fn real_path(&self, path: &Path) -> Result<PathBuf, Error> {
        let file = self.handle(path, OFlags::empty())?;
        let of = |fd: BorrowedFd| {
            std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                self.error(path, errno)
            })
        };
        let root = of(self.folder.as_fd())?;
        let real = of(file.as_fd())?;
        real.strip_prefix(&root)
            .map(Path::to_path_buf)
            .map_err(|_| self.error(path, Errno::XDEV))
    }

    /// Opens a regular file for reading, behind links. `O_NOATIME` where that is allowed: looking changes nothing.
    ///
    /// # Errors
    /// When it is not there, cannot be opened, or is no regular file.
    pub fn open_file(&self, path: &Path) -> Result<File, Error> {
        self.open_regular(path, OFlags::empty())
    }

    /// As [`Self::open_file`], and a link at the end of `path` is an error too.
    ///
    /// # Errors
    /// As there.
    pub fn open_file_itself(&self, path: &Path) -> Result<File, Error> {
        self.open_regular(path, OFlags::NOFOLLOW)
    }

    fn open_regular(&self, path: &Path, follow: OFlags) -> Result<File, Error> {
        let handle = self.handle(path, follow)?;
        let kind = FileType::from_raw_mode(self.stat(&handle, path)?.st_mode);
        if kind != FileType::RegularFile {
            return Err(Error::NotAFile {
                path: self.outside(path),
                kind,
            });
        }
        // Through /proc it is the very file that was looked at.
        let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = match rustix::fs::open(&*again, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => rustix::fs::open(&*again, flags, Mode::empty()),
            file => file,
        };
        Ok(file.map_err(|errno| self.error(path, errno))?.into())
    }

    /// All of a regular file, behind links, if it has at most `limit` bytes.
    ///
    /// # Errors
    /// As of [`Self::open_file`]; when it cannot be read to its end, or is longer.
    pub fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
        let file = self.open_file(path)?;
        let mut bytes = Vec::new();
        let too_long = || Error::TooLong {
            path: self.outside(path),
            limit,
        };
        match file.metadata() {
            Ok(known) if known.len() > limit => return Err(too_long()),
            Ok(known) => bytes.reserve_exact(usize::try_from(known.len()).unwrap_or(0) + 1),
            Err(_) => {}
        }
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.error(path, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if bytes.len() as u64 > limit {
            return Err(too_long());
        }
        Ok(bytes)
    }

    /// The names in a folder, unsorted, without `.` and `..`.
    ///
    /// # Errors
    /// When it is no folder, cannot be read, or has more than a million names.
    pub fn read_dir(&self, path: &Path) -> Result<Vec<Name>, Error> {
        let fail = |errno| self.error(path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = self.openat2(path, flags).map_err(fail)?;
        let mut names = Vec::new();
        for entry in Dir::new(folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if names.len() == MOST_NAMES {
                return Err(fail(Errno::FBIG));
            }
            names.push(Name {
                name: std::ffi::OsStr::from_bytes(name).into(),
                kind: entry.file_type(),
                inode: entry.ino(),
            });
        }
        Ok(names)
    }

    /// The folder that `path` stands in, behind links, and the last name: what a replacement needs. The folder can be
    /// given to `openat`, `renameat` and `fsync`.
    ///
    /// # Errors
    /// When there is no such folder, or `path` has no last name.
    pub fn open_parent(&self, path: &Path) -> Result<(OwnedFd, PathBuf), Error> {
        let path = inside(path);
        let name = path
            .file_name()
            .ok_or_else(|| self.error(path, Errno::ISDIR))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = self
            .openat2(path.parent().unwrap_or(Path::new("")), flags)
            .map_err(|errno| self.error(path, errno))?;
        Ok((folder, name.into()))
    }

    /// Space and mount flags of the file system that `path` is on.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub fn file_system(&self, path: &Path) -> Result<StatVfs, Error> {
        let handle = self.handle(path, OFlags::empty())?;
        rustix::fs::fstatvfs(&handle).map_err(|errno| self.error(path, errno))
    }

    /// `O_PATH`: good for `fstat`, opens nothing.
    ///
    /// # Errors
    /// When it is not there.
    pub fn handle(&self, path: &Path, follow: OFlags) -> Result<OwnedFd, Error> {
        self.openat2(path, OFlags::PATH | OFlags::CLOEXEC | follow)
            .map_err(|errno| self.error(path, errno))
    }

    fn openat2(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = match inside(path) {
            path if path.as_os_str().is_empty() => Path::new("."),
            path => path,
        };
        // Links of /proc lead anywhere, whatever is asked.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.folder, path, flags, Mode::empty(), resolve) {
                // Somebody renamed a folder on the way while `..` was resolved (openat2(2)).
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened,
            }
        }
    }

    fn stat(&self, handle: &OwnedFd, path: &Path) -> Result<Stat, Error> {
        rustix::fs::statat(handle, "", AtFlags::EMPTY_PATH).map_err(|errno| self.error(path, errno))
    }

    fn error(&self, path: &Path, errno: Errno) -> Error {
        Error::System {
            path: self.outside(path),
            errno,
        }
    }
}

/// Without the leading `/`.
fn inside(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let slashes = bytes.iter().take_while(|&&b| b == b'/').count();
    Path::new(std::ffi::OsStr::from_bytes(&bytes[slashes..]))
}

#[cfg(test)]
mod tests;
