//! `beacon`: tells everybody, each by a thread of its own, so that one who hangs holds up nobody.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kedge_message::{info, warning};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::destination::{Destination, Failure};
use crate::whereabouts::{Changes, Link, links};

/// After the first failure; then double.
const RETRY: Duration = Duration::from_secs(1);
/// The longest between tries.
const RETRY_MAX: Duration = Duration::from_secs(600);
/// When the kernel does not tell about changes, it is asked this often.
const BLIND: Duration = Duration::from_secs(10);

/// The links as they are, and a bell that rings when they change.
struct Board {
    links: Mutex<Vec<Link>>,
    changed: Condvar,
}

impl Board {
    fn links(&self) -> MutexGuard<'_, Vec<Link>> {
        // A thread that panicked has not left the list half-written: it is replaced as a whole.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, new: Vec<Link>) {
        *self.links() = new;
        self.changed.notify_all();
    }

    /// Waits until `until`, or until the links are such that `destination` has something new to tell.
    fn wait(&self, destination: &Destination, known: &[String], until: Option<Instant>) {
        let mut links = self.links();
        loop {
            if destination.interest(&links) != known {
                return;
            }
            links = match until {
                None => self
                    .changed
                    .wait(links)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return;
                    }
                    self.changed
                        .wait_timeout(links, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// Runs until the system ends.
///
/// # Errors
/// When no thread can be started.
pub fn run(destinations: Vec<Destination>) -> io::Result<()> {
    let board = Arc::new(Board {
        links: Mutex::new(Vec::new()),
        changed: Condvar::new(),
    });
    // Before the first look, so that nothing falls between.
    let mut changes = watch();
    look(&board);
    for destination in destinations {
        let board = Arc::clone(&board);
        std::thread::Builder::new().spawn(move || keep_telling(&destination, &board))?;
    }
    loop {
        match &changes {
            Some(watch) => {
                if let Err(error) = watch.wait() {
                    warning!("beacon: cannot watch addresses: {error}");
                    changes = None;
                }
            }
            None => {
                std::thread::sleep(BLIND);
                changes = watch();
            }
        }
        look(&board);
    }
}

fn watch() -> Option<Changes> {
    Changes::watch()
        .map_err(|error| warning!("beacon: cannot watch addresses: {error}; looking every 10 s"))
        .ok()
}

fn look(board: &Board) {
    match links() {
        Ok(links) => board.put(links),
        Err(error) => warning!("beacon: cannot read this machine's addresses: {error}"),
    }
}

/// One destination's thread.
fn keep_telling(destination: &Destination, board: &Board) {
    let mut retry = RETRY;
    let mut said: Option<Result<(), String>> = None;
    loop {
        let links = board.links().clone();
        let interest = destination.interest(&links);
        if interest.is_empty() {
            board.wait(destination, &interest, None);
            continue;
        }
        let result = destination.tell(&links);
        say(destination, &result, &mut said);
        let until = match result {
            Ok(()) => {
                retry = RETRY;
                Instant::now() + destination.every(&links)
            }
            Err(Failure {
                permanent: true, ..
            }) => return,
            Err(failure) => {
                let wait = jittered(retry).max(failure.wait.unwrap_or_default());
                retry = (retry * 2).min(RETRY_MAX);
                Instant::now() + wait
            }
        };
        board.wait(destination, &interest, Some(until));
        if destination.interest(&board.links()) != interest {
            // Another address, another try.
            retry = RETRY;
        }
    }
}

/// Says it once: what is the same as before is not said again.
fn say(
    destination: &Destination,
    result: &Result<(), Failure>,
    said: &mut Option<Result<(), String>>,
) {
    let now = match result {
        Ok(()) => Ok(()),
        Err(failure) => Err(failure.why.clone()),
    };
    if said.as_ref() == Some(&now) {
        return;
    }
    match result {
        Ok(()) => info!("beacon: {destination} was told where this machine is"),
        Err(Failure {
            permanent: true,
            why,
            ..
        }) => {
            warning!("beacon: {destination}: {why}; it is not asked again");
        }
        Err(Failure { why, .. }) => info!("beacon: {destination}: {why}; it is tried again"),
    }
    *said = Some(now);
}

/// Between three quarters and five quarters of a time, so that a thousand machines that lost their
/// network together do not come back together.
fn jittered(time: Duration) -> Duration {
    let mut byte = [128];
    let _ = getrandom(&mut byte, GetRandomFlags::empty());
    time.mul_f64(0.75 + f64::from(byte[0]) / 510.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_near_the_time() {
        let time = Duration::from_secs(8);
        let all: Vec<Duration> = (0..100).map(|_| jittered(time)).collect();
        assert!(all.iter().all(|t| *t >= time * 3 / 4 && *t <= time * 5 / 4));
        assert!(all.iter().any(|t| *t != all[0]));
    }
}
