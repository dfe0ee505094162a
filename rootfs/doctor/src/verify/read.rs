//! The second pass: the files of a batch are read and hashed, in the order of the disk.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;

use super::batch::Batch;
use super::folders::Folders;
use crate::Difference;
use crate::compare::{cannot_open, open};
use crate::content;

/// Neighbours on the disk that one thread reads.
const NEIGHBOURS: usize = 16;
/// How often the line that says how far it is may change.
const TICK: Duration = Duration::from_millis(200);

/// A file that is not as it must be: package, path, and in what its content differs.
pub(super) type Wrong = (u32, Box<Path>, Option<Difference>);

/// Where a check is: which batch, which in it.
pub(super) type Place = (u16, u32);

/// Reads the files at these places of the batches; `tick` gets the count of bytes now and then.
pub(super) fn read(
    root: &Sysroot,
    batches: &[Batch],
    order: &[Place],
    threads: usize,
    tick: &mut dyn FnMut(u64),
) -> Vec<Wrong> {
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

/// All of them, as they lie on the disk.
pub(super) fn order(batches: &[Batch]) -> Vec<Place> {
    let mut order = Vec::with_capacity(batches.iter().map(|batch| batch.checks.len()).sum());
    for (number, batch) in (0..).zip(batches) {
        order.extend((0..batch.checks.len() as u32).map(|index| (number, index)));
    }
    order.sort_unstable_by_key(|&(batch, index): &Place| {
        let check = &batches[batch as usize].checks[index as usize];
        (check.order, check.inode)
    });
    order
}

struct Reader<'a> {
    root: &'a Sysroot,
    batches: &'a [Batch],
    order: &'a [Place],
    next: &'a AtomicUsize,
    done: &'a AtomicU64,
    wrong: Sender<Wrong>,
}

impl Reader<'_> {
    fn run(&self) {
        let mut folders = Folders::new(self.root);
        let mut buffer = vec![0; content::BUFFER];
        loop {
            let from = self.next.fetch_add(NEIGHBOURS, Ordering::Relaxed);
            let Some(rest) = self.order.get(from..).filter(|rest| !rest.is_empty()) else {
                return;
            };
            for &place in &rest[..rest.len().min(NEIGHBOURS)] {
                if interrupt::pressed_already() {
                    return;
                }
                self.one(place, &mut folders, &mut buffer);
            }
        }
    }

    fn one(&self, (batch, index): Place, folders: &mut Folders, buffer: &mut [u8]) {
        let batch = &self.batches[batch as usize];
        let check = &batch.checks[index as usize];
        let Some((path, digest)) = batch.wanted(check) else {
            return;
        };
        let opened = match check.regular {
            true => folders.open_regular(path),
            false => open(self.root, path),
        };
        let difference = match opened {
            Ok((file, stat)) => {
                let mut done = |count| {
                    self.done.fetch_add(count, Ordering::Relaxed);
                };
                let file = (&file, &stat);
                content::check(self.root, path, file, digest, buffer, &mut done)
            }
            Err(error) => Some(cannot_open(error)),
        };
        if difference.is_some() || check.suspect {
            // It fails only when the receiver is gone, and with it everybody who wants to know.
            let _ = self.wrong.send((check.package, path.into(), difference));
        }
    }
}
