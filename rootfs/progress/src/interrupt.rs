//! ctrl-C, the end of a session, kill: a flag, so that nothing half-done stays.

use std::sync::atomic::{AtomicBool, Ordering};

/// Set once somebody wants this to end. The second time ends the program at once.
static PRESSED: AtomicBool = AtomicBool::new(false);

extern "C" fn pressed(signal: libc::c_int) {
    PRESSED.store(true, Ordering::Relaxed);
    // SAFETY: signal is async-signal-safe; this makes the next one what it is without us.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// From now on such a signal is noted, and no end by itself.
pub fn watch() {
    let handler: extern "C" fn(libc::c_int) = pressed;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores an atomic and calls signal, both async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether this shall end.
pub fn pressed_already() -> bool {
    PRESSED.load(Ordering::Relaxed)
}
