//! Signals as a file descriptor, so that one `poll` waits for everything.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a signal asks of PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A child ended (SIGCHLD).
    Reap,
    /// End the system.
    End(End),
    /// Panic, to show that init survives it ([`panic_signal`]).
    Panic,
}

/// How the system ends. The signals are those that busybox's tools send to PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `reboot` (SIGTERM), and ctrl-alt-del (SIGINT, from the kernel).
    Reboot,
    /// `poweroff` (SIGUSR2), and the power button.
    PowerOff,
    /// `halt` (SIGUSR1).
    Halt,
}

/// `kill -37 1` makes init panic: the test of the thing itself that it goes on. It is a real-time
/// signal because no program sends one by mistake.
fn panic_signal() -> i32 {
    libc::SIGRTMIN() + 3
}

/// Makes `command` start with no signal blocked. std hands the mask on as it is, and a shell that
/// has SIGINT blocked hands that on to a `sleep` that ctrl-C then does not end.
pub(crate) fn unblocked(command: &mut Command) -> &mut Command {
    // SAFETY: sigemptyset and sigprocmask are async-signal-safe, and touch only the set given.
    unsafe {
        command.pre_exec(|| {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            match libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        })
    }
}

/// The signals, blocked and readable.
#[derive(Debug)]
pub(crate) struct Signals(File);

impl Signals {
    /// Blocks the signals that mean something to PID 1 and opens a descriptor to read them from.
    /// What is started must go through [`unblocked`].
    pub(crate) fn open() -> io::Result<Signals> {
        // SAFETY: an all-zero sigset_t is a valid one, and sigemptyset sets it up anyway.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a live sigset_t of ours for all of these calls.
        let fd = unsafe {
            libc::sigemptyset(&mut set);
            for signal in [
                libc::SIGCHLD,
                libc::SIGTERM,
                libc::SIGINT,
                libc::SIGUSR1,
                libc::SIGUSR2,
                panic_signal(),
            ] {
                libc::sigaddset(&mut set, signal);
            }
            // Set, not added to: a restart out of a signal handler comes with that signal blocked.
            if libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd just gave us this descriptor, and nobody else has it.
        Ok(Signals(unsafe { File::from_raw_fd(fd) }))
    }

    /// The next request, or `None` when there is none at present.
    pub(crate) fn next(&mut self) -> Option<Request> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut info = [0u8; SIZE];
        loop {
            match self.0.read(&mut info) {
                Ok(SIZE) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                _ => return None,
            }
            // ssi_signo is the first field: u32.
            let number = u32::from_ne_bytes([info[0], info[1], info[2], info[3]]) as i32;
            return Some(match number {
                libc::SIGCHLD => Request::Reap,
                libc::SIGTERM | libc::SIGINT => Request::End(End::Reboot),
                libc::SIGUSR2 => Request::End(End::PowerOff),
                libc::SIGUSR1 => Request::End(End::Halt),
                n if n == panic_signal() => Request::Panic,
                _ => continue,
            });
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_has_no_signal_blocked() {
        // In a thread of its own: signal masks are a thread's, and other tests have theirs.
        let output = std::thread::spawn(|| {
            let signals = Signals::open().unwrap();
            let mut command = Command::new("grep");
            command.args(["SigBlk", "/proc/self/status"]);
            let output = unblocked(&mut command).output().unwrap();
            drop(signals);
            output
        })
        .join()
        .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.split_whitespace().last(), Some("0000000000000000"));
    }
}
