//! The files of batches are read and hashed by several threads, in the order of the disk.
//!
//! As many as there are cores are enough for what is in memory, and more would only take each other's place in the cores'
//! caches. When they are seen to wait for the disk, there are twice as many, and so on: most files are small, and a disk or
//! an array answers several questions in the time of one.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

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

/// Each of them has a buffer.
const MOST_READERS: usize = 16;
/// Neighbours on the disk that one thread reads.
const NEIGHBOURS: usize = 16;
/// How often the line that says how far it is may change.
const TICK: Duration = Duration::from_millis(200);
/// How often it is looked whether the readers wait for the disk.
const GLANCE: Duration = Duration::from_millis(5);
/// Who reads for longer than this has waited: copying a piece out of memory takes a tenth of it.
const WAITED: Duration = Duration::from_micros(100);

/// A file that is not as it must be: package, path, and in what its content differs.
pub(crate) type Wrong = (u32, Box<Path>, Option<Difference>);

/// Where a check is: which batch, which in it.
pub(crate) type Place = (u16, u32);

/// Reads the files at these places of the batches, from the first on, and returns how many of them it has read. `readers` is
/// how many it begins with ([`threads`]), and how many it ended with: for what is read next.
///
/// `tick` gets the count of bytes, and of files that are wrong, at each of these and now and then. When it breaks, what was
/// begun is ended, and nothing is begun any more.
pub(crate) fn read(
    root: &Sysroot,
    batches: &[Batch],
    order: &[Place],
    readers: &mut usize,
    tick: &mut dyn FnMut(u64, usize) -> ControlFlow<()>,
) -> (usize, Vec<Wrong>) {
    let done = Done::default();
    let next = AtomicUsize::new(0);
    let mut wrong = Vec::new();
    let (sender, receiver) = channel();
    let reader = Reader {
        root,
        batches,
        order,
        // Few files are for all readers too.
        neighbours: order.len().div_ceil(MOST_READERS).clamp(1, NEIGHBOURS),
        next: &next,
        done: &done,
        news: sender,
    };
    std::thread::scope(|scope| {
        reader.start(*readers, scope);
        // As long as more may be started: the channel ends with the last of them.
        let mut reader = Some(reader);
        let (mut glanced, mut ticked) = (Instant::now(), Instant::now());
        loop {
            let mut news = false;
            match receiver.recv_timeout(GLANCE) {
                Ok(News::Wrong(one)) => {
                    wrong.push(one);
                    news = true;
                }
                Ok(News::NothingLeft) => reader = None,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if glanced.elapsed() >= GLANCE {
                glanced = Instant::now();
                let wait = done.waits.swap(0, Ordering::Relaxed) >= *readers;
                let more = (*readers).min(MOST_READERS - *readers);
                if let Some(reader) = reader.as_ref().filter(|_| wait) {
                    reader.start(more, scope);
                    *readers += more;
                }
            }
            if news || ticked.elapsed() >= TICK {
                ticked = Instant::now();
                if tick(done.bytes.load(Ordering::Relaxed), wrong.len()).is_break() {
                    done.enough.store(true, Ordering::Relaxed);
                    reader = None;
                }
            }
        }
    });
    // They have all ended: whether it is enough is of no interest any more.
    let _ = tick(done.bytes.load(Ordering::Relaxed), wrong.len());
    (next.into_inner().min(order.len()), wrong)
}

/// One a core.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_READERS)
}

/// What all readers together have done.
#[derive(Default)]
pub(super) struct Done {
    bytes: AtomicU64,
    /// Reads that took longer than [`WAITED`].
    waits: AtomicUsize,
    /// No more files are begun.
    enough: AtomicBool,
}

impl Done {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes what one read brought, and whether it had to wait.
    pub(super) fn read(&self, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let before = Instant::now();
        let count = read()?;
        if before.elapsed() > WAITED {
            self.waits.fetch_add(1, Ordering::Relaxed);
        }
        self.add(count);
        Ok(count)
    }
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

/// How many places behind the first `count` are of the very file that the last of these is of: several packages have it.
pub(crate) fn more_of_one_file(batches: &[Batch], order: &[Place], count: usize) -> usize {
    let file = |&(batch, index): &Place| {
        let check = &batches[batch as usize].checks[index as usize];
        (check.order, check.inode)
    };
    let (before, behind) = order.split_at(count);
    let last = before.last().map(file);
    behind
        .iter()
        .take_while(|place| Some(file(place)) == last)
        .count()
}

#[derive(Clone)]
struct Reader<'a> {
    root: &'a Sysroot,
    batches: &'a [Batch],
    order: &'a [Place],
    neighbours: usize,
    next: &'a AtomicUsize,
    done: &'a Done,
    news: Sender<News>,
}

/// What a reader has to say.
enum News {
    Wrong(Wrong),
    /// It has ended, and others will soon.
    NothingLeft,
}

impl<'a> Reader<'a> {
    /// Starts so many of this kind.
    fn start<'scope>(&self, count: usize, scope: &'scope Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        for _ in 0..count {
            let reader = self.clone();
            scope.spawn(move || {
                reader.run();
                // As below: nobody listens any more, and nobody has to know.
                let _ = reader.news.send(News::NothingLeft);
            });
        }
    }

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
            let mut index = 0;
            while index < slots.len() {
                match slots[index].fill(self.root, self.done) {
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
            if self.done.enough.load(Ordering::Relaxed) {
                return None;
            }
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
                let mut done = |count| self.done.add(count);
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
            let wrong = (check.package, path.into(), difference);
            let _ = self.news.send(News::Wrong(wrong));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::*;

    fn batches(files: &[(usize, u64, u64, u64)]) -> [Batch; 2] {
        let mut batches = [Batch::new(0), Batch::new(0)];
        let digest = kedge_digest::Digest::Md5([0; 16]);
        for &(batch, order, inode, size) in files {
            let seen = Seen {
                order,
                inode,
                size,
                regular: true,
                suspect: false,
            };
            batches[batch].push(0, Path::new("x"), digest, &seen);
        }
        batches
    }

    #[test]
    fn files_are_read_as_they_lie_on_the_disk_and_long_ones_first() {
        let batches = batches(&[
            (0, 7, 1, 10),
            (0, 3, 2, 10),
            (1, 5, 4, 10),
            (1, 5, 3, 10),
            (1, 9, 5, 2 << 20),
        ]);
        assert_eq!(order(&batches), [(1, 2), (0, 1), (1, 1), (1, 0), (0, 0)]);
    }

    #[test]
    fn one_file_of_several_packages_is_known() {
        let batches = batches(&[(0, 5, 4, 10), (0, 7, 1, 10), (1, 5, 3, 10), (1, 7, 1, 10)]);
        let order = order(&batches);
        assert_eq!(order, [(1, 0), (0, 0), (0, 1), (1, 1)]);
        let more = |count| more_of_one_file(&batches, &order, count);
        assert_eq!([0, 1, 2, 3, 4].map(more), [0, 0, 0, 1, 0]);
    }
}
