//! System calls that may never return (sync, umount, reboot), made in a child process, so that
//! PID 1 can stop waiting for them.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

/// A call under way in a child.
#[derive(Debug)]
pub(crate) struct Call(Pid);

impl Call {
    /// Starts `call` in a child. What it returns, 0 to 255, is the child's exit status.
    ///
    /// The child is a copy of a process with one thread, so `call` may do whatever this process
    /// may; it should do little.
    pub(crate) fn start(call: impl FnOnce() -> u8) -> io::Result<Call> {
        // SAFETY: init has one thread, so the child's copy of memory (allocator, stdio) is whole.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let status = call();
                // SAFETY: ends the child at once, without running what belongs to the parent.
                unsafe { libc::_exit(status.into()) }
            }
            pid => Pid::from_raw(pid)
                .map(Call)
                .ok_or_else(|| io::Error::other("fork gave no process")),
        }
    }

    /// Its exit status, `None` when it did not return by `deadline`. Reaps nobody else.
    pub(crate) fn wait(&self, deadline: Instant) -> Option<i32> {
        loop {
            match waitpid(Some(self.0), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => return Some(exit_code(status)),
                Ok(None) => {}
                // Reaped already, by somebody who did not tell us.
                Err(_) => return Some(0),
            }
            if Instant::now() >= deadline {
                return None;
            }
            // Short against what is waited for; simpler than one more wake-up source.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The exit status as a shell gives it: 128 + n for signal n.
pub(crate) fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (_, Some(signal)) => 128 + signal,
        _ => 0,
    }
}

/// An error as an exit status, 0 for success; [`error`] is the way back.
pub(crate) fn code(result: rustix::io::Result<()>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(e) => u8::try_from(e.raw_os_error()).unwrap_or(u8::MAX),
    }
}

/// What [`code`] stood for.
pub(crate) fn error(code: i32) -> io::Result<()> {
    match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_returns_gives_its_status() {
        let call = Call::start(|| code(Err(rustix::io::Errno::BUSY))).unwrap();
        let status = call.wait(Instant::now() + Duration::from_secs(10)).unwrap();
        assert_eq!(
            error(status).unwrap_err().kind(),
            io::ErrorKind::ResourceBusy
        );
    }

    #[test]
    fn a_call_that_hangs_is_given_up() {
        let call = Call::start(|| {
            std::thread::sleep(Duration::from_secs(60));
            0
        })
        .unwrap();
        let began = Instant::now();
        assert_eq!(call.wait(began + Duration::from_millis(50)), None);
        assert!(began.elapsed() < Duration::from_secs(5));
        let _ = rustix::process::kill_process(call.0, rustix::process::Signal::KILL);
        assert_eq!(
            call.wait(Instant::now() + Duration::from_secs(10)),
            Some(128 + 9)
        );
    }
}
