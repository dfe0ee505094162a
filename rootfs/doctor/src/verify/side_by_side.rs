//! Files that are read and hashed side by side: see [`kedge_digest::lanes`].

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kedge_digest::Digest;
use kedge_digest::lanes::{BLOCK, LANES, Lane, MOST_PADDING, hash as hash_lanes, pad};
use kedge_sysroot::Sysroot;
use rustix::fs::Stat;

use super::batch::Check;
use crate::Difference;
use crate::content::{ask_ahead, unreadable};

/// One read: of all files together, small enough to stay in the processor's second cache until it is hashed.
const PIECE: usize = 32 << 10;

/// Room for a piece, what is left of the one before it, and the padding.
pub(super) fn room() -> Box<[u8]> {
    vec![0; BLOCK + PIECE + MOST_PADDING].into()
}

/// One file.
pub(super) struct Slot<'a> {
    pub(super) check: &'a Check,
    pub(super) path: &'a Path,
    must: Digest,
    file: File,
    length: u64,
    /// How much was read, and how much was asked for ahead.
    offset: u64,
    asked: u64,
    lane: Lane,
    /// What was read and not yet hashed is at `start..end` of it.
    pub(super) room: Box<[u8]>,
    start: usize,
    end: usize,
    /// The padding is there.
    ended: bool,
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
            offset: 0,
            asked: 0,
            lane: Lane::default(),
            room,
            start: 0,
            end: 0,
            ended: false,
        }
    }

    /// How many whole blocks wait.
    fn blocks(&self) -> usize {
        (self.end - self.start) / BLOCK
    }

    /// Sees to it that a block waits; `done` gets the count of each read.
    pub(super) fn fill(
        &mut self,
        root: &Sysroot,
        done: &mut dyn FnMut(u64),
    ) -> Result<(), Box<Difference>> {
        while self.blocks() == 0 && !self.ended {
            self.room.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            // Asking for the end as well would be one system call in six.
            let count = match self.offset < self.length {
                false => 0,
                true => {
                    ask_ahead(&self.file, self.length, self.offset, &mut self.asked);
                    let piece = &mut self.room[self.end..][..PIECE];
                    match self.file.read_at(piece, self.offset) {
                        Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                        Err(error) => {
                            let (path, file) = (self.path, &self.file);
                            return Err(Box::new(unreadable(
                                root,
                                path,
                                file,
                                self.offset,
                                &error,
                            )));
                        }
                        Ok(count) => count,
                    }
                }
            };
            if count == 0 {
                self.end += pad(self.offset, &mut self.room[self.end..]);
                self.ended = true;
            }
            self.end += count;
            self.offset += count as u64;
            done(count as u64);
        }
        Ok(())
    }

    /// Whether all of it is hashed.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.blocks() == 0
    }

    /// The content beside what it must be.
    pub(super) fn difference(&self) -> Option<Difference> {
        let (is, must) = (self.lane.finish(), self.must);
        (is != must).then_some(Difference::Content { is: Some(is), must })
    }
}

/// Hashes as many blocks of each as all of them have.
pub(super) fn hash(slots: &mut [Slot]) {
    let count = slots.iter().map(Slot::blocks).min().unwrap_or(0);
    let mut lanes = Vec::with_capacity(LANES);
    let mut contents: Vec<&[u8]> = Vec::with_capacity(LANES);
    for slot in slots {
        contents.push(&slot.room[slot.start..slot.end]);
        lanes.push(&mut slot.lane);
        slot.start += count * BLOCK;
    }
    hash_lanes(&mut lanes, &contents, count);
}
