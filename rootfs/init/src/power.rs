//! `reboot`, `poweroff` and `halt`: they tell process 1, and leave the work to it.
//!
//! Busybox has these too, but its write out all disks before they tell process 1, without a
//! bound: with a disk that hangs they never come to it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::child::Call;
use crate::shutdown;
use crate::signals::End;

/// What `-f` still writes out has so long.
const SYNC: Duration = Duration::from_secs(5);

macro_rules! help {
    ($name:literal, $what:literal) => {
        concat!(
            "usage: kedge ",
            $name,
            " [-f]\n\n",
            "Stops all processes, writes out and unmounts all file systems, and\n",
            $what,
            ".\n\n",
            "Each step has a time limit, so it also ends when a disk hangs: what did not\n",
            "answer is then named. To ask twice is to skip the waiting.\n\n",
            "  -f   at once: without stopping or unmounting anything. Data is written out\n",
            "       first, for at most 5 seconds.\n",
        )
    };
}

/// What `kedge help reboot` says.
pub const REBOOT_HELP: &str = help!("reboot", "restarts this machine");
/// What `kedge help poweroff` says.
pub const POWEROFF_HELP: &str = help!("poweroff", "switches this machine off");
/// What `kedge help halt` says.
pub const HALT_HELP: &str = help!("halt", "stops this machine, and leaves it switched on");

/// Runs `reboot`. Exit status, of all three: 0 when process 1 was told, 1 when it could not be, 2
/// for wrong use.
pub fn reboot(arguments: &[String]) -> ExitCode {
    run(End::Reboot, Signal::TERM, arguments)
}

/// Runs `poweroff`.
pub fn poweroff(arguments: &[String]) -> ExitCode {
    run(End::PowerOff, Signal::USR2, arguments)
}

/// Runs `halt`.
pub fn halt(arguments: &[String]) -> ExitCode {
    run(End::Halt, Signal::USR1, arguments)
}

fn run(how: End, signal: Signal, arguments: &[String]) -> ExitCode {
    match arguments {
        [] => match kill_process(Pid::INIT, signal) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("kedge: cannot signal process 1: {e}");
                ExitCode::FAILURE
            }
        },
        [force] if force == "-f" => {
            if let Ok(call) = Call::start(|| {
                rustix::fs::sync();
                0
            }) {
                call.wait(Instant::now() + SYNC);
            }
            shutdown::finish(how)
        }
        _ => {
            eprintln!("kedge: reboot, poweroff and halt take nothing but -f (at once)");
            ExitCode::from(2)
        }
    }
}
