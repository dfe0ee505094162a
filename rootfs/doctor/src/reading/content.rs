//! Reading a file to its end: its digest, or how far it could be read.

use std::fs::File;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kedge_digest::{Digest, Hasher};
use kedge_progress::interrupt;
use kedge_sysroot::{Error, Sysroot};
use rustix::fs::{Advice, Stat};
use rustix::io::Errno;

use crate::Difference;
use crate::device::Sector;

/// One read: small enough to stay in the processor's second cache until it is hashed.
pub(crate) const BUFFER: usize = 128 << 10;
/// What is asked for ahead of a long file: several files are read side by side, and a disk with heads shall move them seldom.
const AHEAD: u64 = 4 << 20;
/// What the kernel reads ahead by itself (`VM_READAHEAD_PAGES`): for a file that is no longer nobody has to ask for more.
const BY_ITSELF: u64 = 128 << 10;
/// A file longer than this is read only if most of it is there: hashing a hole of a terabyte takes an hour.
const LONGEST_HOLE: u64 = 4 << 30;

/// The file's content beside what it must be. `buffer` is only room; `done` gets the count of each read.
pub(crate) fn check(
    root: &Sysroot,
    path: &Path,
    (file, known): (&File, &Stat),
    must: Digest,
    buffer: &mut [u8],
    done: &mut dyn FnMut(usize),
) -> Option<Difference> {
    if is_hole(known) {
        return Some(Difference::Content { is: None, must });
    }
    let length = known.st_size as u64;
    let mut hasher = Hasher::new(must.algorithm());
    let (mut offset, mut asked) = (0, 0);
    // Asking for the end as well would be one system call in six.
    while offset < length {
        ask_ahead(file, length, offset, &mut asked);
        match file.read_at(buffer, offset) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                offset += count as u64;
                done(count);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Some(unreadable(root, path, file, offset, &error)),
        }
        // Whoever asked sees the flag himself, and throws this away.
        if interrupt::pressed_already() {
            return Some(Difference::Content { is: None, must });
        }
    }
    let is = hasher.finish();
    (is != must).then_some(Difference::Content { is: Some(is), must })
}

/// Whether it is so long, and so little of it there, that nobody wants it read.
pub(crate) fn is_hole(known: &Stat) -> bool {
    let length = known.st_size as u64;
    length > LONGEST_HOLE && (known.st_blocks as u64).saturating_mul(512) < length / 2
}

/// Asks for what comes behind `offset` of a long file, of which everything before `asked` was asked for.
pub(crate) fn ask_ahead(file: &File, length: u64, offset: u64, asked: &mut u64) {
    if length > BY_ITSELF && offset + AHEAD / 2 >= *asked && *asked < length {
        let _ = rustix::fs::fadvise(file, *asked, NonZeroU64::new(AHEAD), Advice::WillNeed);
        *asked += AHEAD;
    }
}

/// What is said of a file whose byte `offset` could not be read.
pub(crate) fn unreadable(
    root: &Sysroot,
    path: &Path,
    file: &File,
    offset: u64,
    error: &std::io::Error,
) -> Difference {
    Difference::Unreadable {
        error: Error::System {
            path: root.outside(path),
            errno: Errno::from_io_error(error).unwrap_or(Errno::IO),
        },
        offset,
        sector: Sector::of(file, offset),
    }
}
