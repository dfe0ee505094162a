//! Running the programs that the build leans on (xorriso, mtools, cargo …).
//!
//! A program that fails is reported by name, with its arguments and the end of what it said; one
//! whose parent goes away is ended by the kernel, so a build that is killed leaves nothing running.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or may not be run.
    #[error("cannot start {program}: {source}; `cargo xtask doctor-host` shows what is missing")]
    Start {
        /// Its name as given.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ran and ended badly.
    #[error("{command} ended with {status}:\n{stderr}")]
    Failed {
        /// Program and arguments.
        command: String,
        /// Exit code or signal.
        status: ExitStatus,
        /// The last lines of its standard error (and output, where it writes errors there).
        stderr: String,
    },
}

/// How many lines of a failed program's output an error carries.
const TAIL_LINES: usize = 15;

/// Makes `command`'s process end when the thread that starts it does.
pub fn end_with_parent(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe and
    // allocates nothing.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::TERM))?)) }
}

/// Runs `command` to its end and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or does not end with 0.
pub fn run(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = end_with_parent(command)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start {
            program: name(command),
            source,
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Failed {
        command: line(command),
        status: output.status,
        stderr: tail(&said),
    })
}

/// The program's name as it was given.
fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Program and arguments on one line, for messages only: nothing is quoted.
fn line(command: &Command) -> String {
    let mut words: Vec<OsString> = vec![command.get_program().to_owned()];
    words.extend(command.get_args().map(OsString::from));
    words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("kedge-no-such-program")).unwrap_err();
        assert!(
            error.to_string().contains("kedge-no-such-program"),
            "{error}"
        );
    }

    #[test]
    fn a_failing_program_says_what_it_said() {
        let error =
            run(Command::new("sh").args(["-c", "echo on the way; echo broken >&2; exit 3"]))
                .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("broken") && text.contains("on the way") && text.contains('3'),
            "{text}"
        );
    }
}
