//! The files of batches are read and hashed by several threads, in the order of the disk.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use kedge_digest::Algorithm;
use kedge_digest::lanes::{LANES, room};
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;

use super::batch::{Batch, Check};
use super::content;
use super::folders::Folders;
use super::side_by_side::{self, Slot};
use crate::Difference;
use crate::compare::{cannot_open, open};

/// Threads a core that read: most files are small, and a disk or an array answers several questions in the time of one.
const READERS: usize = 4;
/// Each of them has a buffer.
const MOST_READERS: usize = 32;
/// Neighbours on the disk that one thread reads.
const NEIGHBOURS: usize = 16;
/// How often the line that says how far it is may change.
const TICK: Duration = Duration::from_millis(200);

/// A file that is not as it must be: package, path, and in what its content differs.
pub(crate) type Wrong = (u32, Box<Path>, Option<Difference>);

/// Where a check is: which batch, which in it.
pub(crate) type Place = (u16, u32);

/// Reads the files at these places of the batches; `tick` gets the count of bytes now and then.
pub(crate) fn read(
    root: &Sysroot,
    batches: &[Batch],
    order: &[Place],
    tick: &mut dyn FnMut(u64),
) -> Vec<Wrong> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (READERS * cores).min(MOST_READERS);
    let next = AtomicUsize::new(0);
    let done = AtomicU64::new(0);
    let (sender, receiver) = channel();
    let mut wrong = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let reader = Reader {
                root,
                batches,
                order,
                // Few files are for all threads too.
                neighbours: order.len().div_ceil(threads).clamp(1, NEIGHBOURS),
                next: &next,
                done: &done,
                wrong: sender.clone(),
            };
            scope.spawn(move || reader.run());
        }
        drop(sender);
        loop {
            match receiver.recv_timeout(TICK) {
                Ok(one) => wrong.push(one),
                Err(RecvTimeoutError::Timeout) => tick(done.load(Ordering::Relaxed)),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    tick(done.load(Ordering::Relaxed));
    wrong
}

/// All of them as they lie on the disk, but the long ones first.
pub(crate) fn order(batches: &[Batch]) -> Vec<Place> {
    let mut order = Vec::with_capacity(batches.iter().map(|batch| batch.checks.len()).sum());
    for (number, batch) in (0..).zip(batches) {
        order.extend((0..batch.checks.len() as u32).map(|index| (number, index)));
    }
    order.sort_unstable_by_key(|&(batch, index): &Place| {
        let check = &batches[batch as usize].checks[index as usize];
        (!check.long, check.order, check.inode)
    });
    order
}

struct Reader<'a> {
    root: &'a Sysroot,
    batches: &'a [Batch],
    order: &'a [Place],
    neighbours: usize,
    next: &'a AtomicUsize,
    done: &'a AtomicU64,
    wrong: Sender<Wrong>,
}

impl<'a> Reader<'a> {
    /// Files of which MD5 is wanted go side by side, and the others as they come.
    fn run(&self) {
        let mut folders = Folders::new(self.root);
        let mut buffer = vec![0; content::BUFFER];
        let mut queue: &[Place] = &[];
        let mut slots: Vec<Slot<'a>> = Vec::with_capacity(LANES);
        let mut rooms: Vec<Box<[u8]>> = Vec::new();
        loop {
            while slots.len() < LANES
                && let Some(place) = self.next(&mut queue)
            {
                if interrupt::pressed_already() {
                    return;
                }
                slots.extend(self.begin(place, &mut folders, &mut buffer, &mut rooms));
            }
            if slots.is_empty() || interrupt::pressed_already() {
                return;
            }
            let mut done = |count| {
                self.done.fetch_add(count, Ordering::Relaxed);
            };
            let mut index = 0;
            while index < slots.len() {
                match slots[index].fill(self.root, &mut done) {
                    Ok(()) => index += 1,
                    Err(difference) => {
                        let slot = slots.swap_remove(index);
                        self.tell(slot.check, slot.path, Some(*difference));
                        rooms.push(slot.finish().1);
                    }
                }
            }
            side_by_side::hash(&mut slots);
            for slot in slots.extract_if(.., |slot| slot.is_done()) {
                let (check, path) = (slot.check, slot.path);
                let (difference, room) = slot.finish();
                self.tell(check, path, difference);
                rooms.push(room);
            }
        }
    }

    /// The next file, out of neighbours that this thread alone reads.
    fn next(&self, queue: &mut &'a [Place]) -> Option<Place> {
        if queue.is_empty() {
            let from = self.next.fetch_add(self.neighbours, Ordering::Relaxed);
            let rest = self.order.get(from..).unwrap_or_default();
            *queue = &rest[..rest.len().min(self.neighbours)];
        }
        let (&first, rest) = queue.split_first()?;
        *queue = rest;
        Some(first)
    }

    /// Opens a file; when it goes by itself, all is done with it.
    fn begin(
        &self,
        (batch, index): Place,
        folders: &mut Folders,
        buffer: &mut [u8],
        rooms: &mut Vec<Box<[u8]>>,
    ) -> Option<Slot<'a>> {
        let batch = &self.batches[batch as usize];
        let check = &batch.checks[index as usize];
        let (path, must) = batch.wanted(check)?;
        let opened = match check.regular {
            true => folders.open_regular(path),
            false => open(self.root, path),
        };
        let difference = match opened {
            Ok((file, stat)) if must.algorithm() == Algorithm::Md5 && !content::is_hole(&stat) => {
                let room = rooms.pop().unwrap_or_else(room);
                return Some(Slot::new(check, path, must, (file, &stat), room));
            }
            Ok((file, stat)) => {
                let mut done = |count| {
                    self.done.fetch_add(count, Ordering::Relaxed);
                };
                content::check(self.root, path, (&file, &stat), must, buffer, &mut done)
            }
            Err(error) => Some(cannot_open(error)),
        };
        self.tell(check, path, difference);
        None
    }

    fn tell(&self, check: &Check, path: &Path, difference: Option<Difference>) {
        if difference.is_some() || check.suspect {
            // It fails only when the receiver is gone, and with it everybody who wants to know.
            let _ = self.wrong.send((check.package, path.into(), difference));
        }
    }
}
