//! The plainest init: reap, one shell on /dev/console, end when told to. What is left when the
//! real one crashed several times in a row. It shares as little as it can with it.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{WaitOptions, wait};
use rustix::system::{RebootCommand, reboot};

use crate::signals::{End, Request, Signals, unblocked};
use kedge_message::warning;

/// Never returns.
pub(crate) fn run(reason: &str) -> ! {
    warning!("{reason}: plain mode now, one shell on the console; please report it");
    let mut signals = Signals::open().ok();
    let mut shell = None;
    loop {
        while let Some(request) = signals.as_mut().and_then(Signals::next) {
            if let Request::End(how) = request {
                end(how);
            }
        }
        while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
            if shell == Some(pid.as_raw_nonzero().get()) {
                shell = None;
            }
        }
        if shell.is_none() && !shells_run() {
            // cttyhack finds the terminal behind /dev/console and makes it the controlling one.
            let mut command = Command::new("/bin/busybox");
            command
                .args(["setsid", "/bin/busybox", "cttyhack", "/bin/busybox", "sh"])
                .env_clear()
                .env("PATH", "/bin")
                .env("HOME", "/")
                .env("TERM", "linux")
                .stdin(console())
                .stdout(console())
                .stderr(console());
            let started = unblocked(&mut command).spawn().ok();
            shell = started.map(|child| child.id() as i32);
        }
        sleep(Duration::from_millis(500));
    }
}

/// Whether a shell of before still runs: two on one terminal would share its input between them.
fn shells_run() -> bool {
    std::fs::read_to_string(crate::supervisor::TABLE)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .any(|pid| std::path::Path::new("/proc").join(pid).join("exe").exists())
}

fn console() -> Stdio {
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/console")
        .map_or_else(|_| Stdio::inherit(), Stdio::from)
}

fn end(how: End) {
    // Not waited for: one disk that hangs must not keep the others from it, nor us from the end.
    let _ = crate::child::Call::start(|| {
        rustix::fs::sync();
        0
    });
    sleep(Duration::from_secs(3));
    let _ = reboot(command(how));
}

/// What the kernel is told.
pub(crate) fn command(how: End) -> RebootCommand {
    match how {
        End::Reboot => RebootCommand::Restart,
        End::PowerOff => RebootCommand::PowerOff,
        End::Halt => RebootCommand::Halt,
    }
}
