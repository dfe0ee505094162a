//! What init and the services say: one record in the kernel's log a message.
//!
//! The kernel's log is the one place that exists before any file system is mounted, keeps the
//! order between the kernel's words and ours, and reaches every kernel console (by `loglevel=`).
//! Init copies it to `/var/log/messages`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// How much a message matters: the kernel's log levels, of which three are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something failed; the rest goes on without it.
    Warning = 4,
    /// The operator wants to see it as it happens.
    Notice = 5,
    /// For the log only, with the image's default `loglevel=6`.
    Info = 6,
}

/// The longest text that one record of `/dev/kmsg` takes is a little under 1 KiB.
const LONGEST: usize = 900;

/// Writes one message. It never fails: without `/dev/kmsg` it goes to stderr, which is
/// `/dev/console` for PID 1.
pub fn say(level: Level, text: fmt::Arguments<'_>) {
    let text = one_line(&text.to_string());
    let record = format!("<{}>kedge: {text}\n", level as u8);
    let kmsg = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOCTTY)
        .open("/dev/kmsg")
        .and_then(|mut kmsg| kmsg.write_all(record.as_bytes()));
    if kmsg.is_err() {
        let _ = writeln!(std::io::stderr(), "kedge: {text}");
    }
}

/// Printable ASCII on one line: the text may hold words from the kernel's command line, and the
/// kernel hands a record to its consoles as it is, escape codes included.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' => line.push(c),
            _ => line.extend(c.escape_default()),
        }
        if line.len() > LONGEST {
            line.push_str("...");
            break;
        }
    }
    line
}

/// Says that something failed, and that the rest goes on.
#[macro_export]
macro_rules! warning {
    ($($arg:tt)*) => {
        $crate::say($crate::Level::Warning, format_args!($($arg)*))
    };
}
/// Says what the operator wants to see as it happens.
#[macro_export]
macro_rules! notice {
    ($($arg:tt)*) => {
        $crate::say($crate::Level::Notice, format_args!($($arg)*))
    };
}
/// Says what is for the log only.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => {
        $crate::say($crate::Level::Info, format_args!($($arg)*))
    };
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_do_not_reach_a_console() {
        assert_eq!(one_line("a\x1b[2J\nb\u{9b}"), "a\\u{1b}[2J\\nb\\u{9b}");
    }

    #[test]
    fn a_long_text_fits_one_record() {
        assert!(one_line(&"x".repeat(5000)).len() < 976);
    }
}
