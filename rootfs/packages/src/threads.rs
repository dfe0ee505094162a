//! Work that waits for the disk, by a few threads: a solid-state disk answers several questions side by side.

use std::sync::atomic::{AtomicUsize, Ordering};

const THREADS: usize = 4;

/// Calls `work` with every number below `count`, beginning with the lowest, and gathers what it finds, in no order.
pub(crate) fn gather<T: Send>(count: usize, work: &(dyn Fn(usize, &mut Vec<T>) + Sync)) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let some = || {
        let mut found = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return found;
            }
            work(index, &mut found);
        }
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS.min(count)).map(|_| scope.spawn(some)).collect();
        for thread in threads {
            match thread.join() {
                Ok(found) => all.extend(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}
