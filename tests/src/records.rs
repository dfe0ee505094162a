//! What has arrived at a small server of the test's, and waiting for more of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How soon a server sees that it shall end.
pub(crate) const GLANCE: Duration = Duration::from_millis(100);

/// A list that grows, shared between a server and the test.
#[derive(Debug)]
pub(crate) struct Records<T> {
    list: Mutex<Vec<T>>,
    grown: Condvar,
}

impl<T> Default for Records<T> {
    fn default() -> Self {
        Self {
            list: Mutex::new(Vec::new()),
            grown: Condvar::new(),
        }
    }
}

impl<T: Clone> Records<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, one: T) {
        self.lock().push(one);
        self.grown.notify_all();
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().clone()
    }

    /// Waits until there are `count`; gives everything.
    pub(crate) fn wait_for(&self, what: &str, count: usize, timeout: Duration) -> Result<Vec<T>> {
        let deadline = Instant::now() + timeout;
        let mut list = self.lock();
        while list.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let came = list.len();
                bail!("{came} {what} of {count} came within {timeout:?}");
            }
            let waited = self.grown.wait_timeout(list, left);
            list = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(list.clone())
    }
}

/// A thread that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Calls `serve`, which takes at most about [`GLANCE`] when nothing happens, again and again.
    pub(crate) fn start(mut serve: impl FnMut() + Send + 'static) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                serve();
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread's was printed when it came.
            let _ = thread.join();
        }
    }
}
