//! What is to be read: as much as fits a bounded memory, in as few bytes a file as can be.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kedge_digest::{Algorithm, Digest};
use rustix::fs::{FileType, Stat};

use super::{DiskOrder, Folders, is_hole};

/// A file whose content is to be compared.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    /// Its place on the disk, or its inode: in this order they are read.
    pub(crate) order: u64,
    /// With the device in `order`'s high bits, tells hard links of one file.
    pub(crate) inode: u64,
    /// Which package, counted over all databases.
    pub(crate) package: u32,
    algorithm: Algorithm,
    /// Where in `Batch::bytes` its path and then its digest are.
    path: u32,
    path_length: u32,
    /// A regular file by itself, as opposed to a link to one.
    pub(crate) regular: bool,
    /// It is longer than [`LONG`].
    pub(crate) long: bool,
    /// Its metadata differ already: it is told whatever is in it.
    pub(crate) suspect: bool,
}

/// Longer files are begun before all others: at the end there is nothing else to be hashed beside them.
const LONG: u64 = 1 << 20;
/// A check, and its place in the order of reading.
const A_CHECK: usize = size_of::<Check>() + 8;
/// With what is kept until it is told.
const A_SUSPECT: usize = 1000;

/// What the first pass has seen of a file.
pub(crate) struct Seen {
    pub(crate) order: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) regular: bool,
    pub(crate) suspect: bool,
}

impl Seen {
    /// What `stat`, of the path itself, says.
    pub(crate) fn of(
        path: &Path,
        stat: &Stat,
        folders: &mut Folders,
        order: &mut DiskOrder,
    ) -> Seen {
        Seen {
            order: order.place(path, stat, folders),
            inode: stat.st_ino,
            // What nobody reads is not counted as read.
            size: if is_hole(stat) {
                0
            } else {
                stat.st_size as u64
            },
            regular: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            suspect: false,
        }
    }
}

/// Some packages' files. It is emptied and filled again: room that grew and went would be three times of what is in it.
pub(crate) struct Batch {
    /// What it may take in memory.
    most: usize,
    pub(crate) checks: Vec<Check>,
    bytes: Vec<u8>,
    /// Files whose metadata differ, and whose content need not be read: package and path.
    pub(crate) suspects: Vec<(u32, Box<Path>)>,
    /// How much is to be read.
    pub(crate) size: u64,
    /// Paths that were looked at.
    pub(crate) paths: u64,
    /// Regular files that the database has no checksum of.
    pub(crate) unknown: u64,
    /// What could not be read of the databases.
    pub(crate) complaints: Vec<String>,
}

impl Batch {
    /// With room for `most` bytes, which is none until something is in it.
    pub(crate) fn new(most: usize) -> Batch {
        Batch {
            most,
            checks: Vec::with_capacity(most / A_CHECK),
            bytes: Vec::with_capacity(most),
            suspects: Vec::new(),
            size: 0,
            paths: 0,
            unknown: 0,
            complaints: Vec::new(),
        }
    }

    /// Nothing is in it again.
    pub(crate) fn clear(&mut self) {
        self.checks.clear();
        self.bytes.clear();
        self.suspects = Vec::new();
        self.complaints = Vec::new();
        (self.size, self.paths, self.unknown) = (0, 0, 0);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.weight() >= self.most
    }

    pub(crate) fn push(&mut self, package: u32, path: &Path, digest: Digest, seen: &Seen) {
        let start = self.bytes.len();
        let path = path.as_os_str().as_bytes();
        self.bytes.extend_from_slice(path);
        self.bytes.extend_from_slice(digest.bytes());
        self.size += seen.size;
        self.checks.push(Check {
            order: seen.order,
            inode: seen.inode,
            package,
            algorithm: digest.algorithm(),
            path: u32::try_from(start).unwrap_or(u32::MAX),
            path_length: path.len() as u32,
            regular: seen.regular,
            long: seen.size > LONG,
            suspect: seen.suspect,
        });
    }

    /// What it takes in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + A_CHECK * self.checks.len() + A_SUSPECT * self.suspects.len()
    }

    /// Path and digest of a check.
    pub(crate) fn wanted(&self, check: &Check) -> Option<(&Path, Digest)> {
        let (path, rest) = self
            .bytes
            .get(check.path as usize..)?
            .split_at_checked(check.path_length as usize)?;
        let length = match check.algorithm {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        };
        let digest = Digest::from_bytes(check.algorithm, rest.get(..length)?)?;
        Some((Path::new(OsStr::from_bytes(path)), digest))
    }
}
