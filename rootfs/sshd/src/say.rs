//! What the server says: to the kernel's log in the image, to standard error anywhere else.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use kedge_message::Level;

static TO_STDERR: AtomicBool = AtomicBool::new(false);

/// From now on messages go to standard error.
pub(crate) fn to_stderr() {
    TO_STDERR.store(true, Ordering::Relaxed);
}

/// Whether they do.
pub(crate) fn is_to_stderr() -> bool {
    TO_STDERR.load(Ordering::Relaxed)
}

fn say(level: Level, text: fmt::Arguments<'_>) {
    if is_to_stderr() {
        // Nobody may be there to read it.
        let _ = writeln!(std::io::stderr(), "kedge: {text}");
    } else {
        kedge_message::say(level, text);
    }
}

pub(crate) fn info(text: fmt::Arguments<'_>) {
    say(Level::Info, text);
}

pub(crate) fn notice(text: fmt::Arguments<'_>) {
    say(Level::Notice, text);
}

pub(crate) fn warning(text: fmt::Arguments<'_>) {
    say(Level::Warning, text);
}
