//! PID 1 of the image, and `kedge console`, the login that it starts on each terminal.
//!
//! [`main`] is where to begin reading: it makes crashes survivable ([`crash`]), and hands over to
//! the one loop ([`supervisor`]), which keeps a shell ([`shells`], [`terminal`]) on every console
//! ([`consoles`]) until a signal or the power button ends the system ([`shutdown`]).
//!
//! Two rules hold everywhere. What may block (a terminal, a disk, a driver) is done in a child
//! process, never in PID 1. And what fails is reported and skipped: a rescue system without this
//! or that is worth more than none.

mod child;
mod consoles;
mod crash;
mod links;
mod log;
mod mountinfo;
mod mounts;
mod plain;
pub mod power;
mod power_button;
mod services;
mod settings;
mod shells;
mod shutdown;
mod signals;
mod supervisor;
pub mod terminal;
mod uevents;
mod wholeness;

use std::process::ExitCode;

use rustix::process::{Pid, getpid};

/// This program, also when its files were deleted.
const SELF: &str = "/proc/self/exe";

/// What `kedge help init` says.
pub const HELP: &str = "\
usage: init 0 | init 6

Process 1 of this system. To end it: poweroff (or init 0, or the power button),
reboot (or init 6, or ctrl-alt-del), halt. Processes are stopped, file systems
written out and unmounted, each with a time limit; asking twice forces the end.

Arguments on the kernel's command line:
  console=NAME[,OPTIONS]   a shell on NAME, such as ttyS0,115200
  kedge.hostname=NAME      the host's name (default: kedge)
  ip=, vlan=, bond= ...    kedge help net
";

/// Runs init. As any other process than PID 1 it is what habit expects of `init 0` and `init 6`.
///
/// Exit status: as of [`power::reboot`]; 2 for wrong use.
pub fn main(arguments: &[String]) -> ExitCode {
    if getpid() == Pid::INIT {
        run(arguments)
    }
    match arguments {
        [level] if level == "0" => power::poweroff(&[]),
        [level] if level == "6" => power::reboot(&[]),
        _ => {
            eprintln!(
                "kedge: init runs as process 1 only; to end the system: reboot, poweroff or halt"
            );
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> ! {
    let start = crash::Start::from_arguments(arguments.iter().map(String::as_str), crash::uptime());
    crash::survive(start);
    if start.is_a_loop() {
        plain::run("init crashed again and again");
    }
    supervisor::run(start)
}
