//! ctrl-C: a flag, instead of the end.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set once somebody pressed ctrl-C. The second press ends the program at once.
pub(crate) static PRESSED: AtomicBool = AtomicBool::new(false);

extern "C" fn pressed(_: libc::c_int) {
    PRESSED.store(true, Ordering::Relaxed);
    // SAFETY: signal is async-signal-safe; this makes the next ctrl-C what it is without us.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
}

/// From now on ctrl-C sets [`PRESSED`].
pub(crate) fn watch() {
    let handler: extern "C" fn(libc::c_int) = pressed;
    // SAFETY: the handler stores an atomic and calls signal, both async-signal-safe.
    unsafe { libc::signal(libc::SIGINT, handler as libc::sighandler_t) };
}
