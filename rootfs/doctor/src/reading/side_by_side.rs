//! Files that are read and hashed side by side: see [`kedge_digest::lanes`].

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kedge_digest::Digest;
use kedge_digest::lanes::{Content, hash_all};
use kedge_sysroot::Sysroot;
use rustix::fs::Stat;

use super::batch::Check;
use super::content::{ask_ahead, unreadable};
use super::read::Done;
use crate::Difference;

/// One file.
pub(super) struct Slot<'a> {
    pub(super) check: &'a Check,
    pub(super) path: &'a Path,
    must: Digest,
    file: File,
    length: u64,
    /// How much was asked for ahead.
    asked: u64,
    content: Content,
}

impl<'a> Slot<'a> {
    pub(super) fn new(
        check: &'a Check,
        path: &'a Path,
        must: Digest,
        (file, known): (File, &Stat),
        room: Box<[u8]>,
    ) -> Slot<'a> {
        Slot {
            check,
            path,
            must,
            file,
            length: known.st_size as u64,
            asked: 0,
            content: Content::new(room),
        }
    }

    /// Sees to it that a block waits.
    pub(super) fn fill(&mut self, root: &Sysroot, done: &Done) -> Result<(), Box<Difference>> {
        let (file, length, asked) = (&self.file, self.length, &mut self.asked);
        let mut read = |offset, piece: &mut [u8]| {
            // Asking for the end as well would be one system call in six.
            if offset >= length {
                return Ok(0);
            }
            ask_ahead(file, length, offset, asked);
            done.read(|| file.read_at(piece, offset))
        };
        loop {
            match self.content.fill(&mut read) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let offset = self.content.length();
                    let difference = unreadable(root, self.path, file, offset, &error);
                    return Err(Box::new(difference));
                }
            }
        }
    }

    /// Whether all of it is hashed.
    pub(super) fn is_done(&self) -> bool {
        self.content.is_done()
    }

    /// The content beside what it must be, and room for another.
    pub(super) fn finish(self) -> (Option<Difference>, Box<[u8]>) {
        let must = self.must;
        let (is, room) = self.content.finish();
        let difference = (is != must).then_some(Difference::Content { is: Some(is), must });
        (difference, room)
    }
}

/// Hashes as many blocks of each as all of them have.
pub(super) fn hash(slots: &mut [Slot]) {
    hash_all(slots.iter_mut().map(|slot| &mut slot.content));
}
