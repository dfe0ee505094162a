//! Reading a file to its end: its digest, or how far it could be read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use kedge_digest::{Digest, Hasher};
use kedge_progress::interrupt;
use kedge_sysroot::{Error, Sysroot};
use rustix::fs::Advice;
use rustix::io::Errno;

use crate::Difference;
use crate::device::Sector;

/// One read: small enough to stay in the processor's second cache until it is hashed.
const BUFFER: usize = 256 << 10;
/// A file longer than this is read only if most of it is there: hashing a hole of a terabyte takes an hour.
const LONGEST_HOLE: u64 = 4 << 30;

/// The file's content beside what it must be. `done` gets the count of each read.
pub(crate) fn check(
    root: &Sysroot,
    path: &std::path::Path,
    file: &File,
    must: Digest,
    done: &mut dyn FnMut(u64),
) -> Option<Difference> {
    let known = rustix::fs::fstat(file).ok()?;
    let length = known.st_size as u64;
    if length > LONGEST_HOLE && (known.st_blocks as u64).saturating_mul(512) < length / 2 {
        return Some(Difference::Content { is: None, must });
    }
    let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
    let mut hasher = Hasher::new(must.algorithm());
    let mut buffer = vec![0; BUFFER.min(length as usize + 1)];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                offset += count as u64;
                done(count as u64);
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

/// What is said of a file whose byte `offset` could not be read.
pub(crate) fn unreadable(
    root: &Sysroot,
    path: &std::path::Path,
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
