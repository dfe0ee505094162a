//! `find-host`: finds a machine in a network by its SSH host key, for when its address changed and
//! nobody knows to what.
//!
//! [`targets`] says which addresses and in which order, [`scan`] begins the connections, [`probe`] speaks
//! SSH (`ssh`), [`wanted`] knows the key.

mod arguments;
pub mod host_key;
mod interrupt;
mod neighbours;
pub mod probe;
mod progress;
mod report;
pub mod scan;
mod ssh;
pub mod targets;
pub mod wanted;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use rustix::rand::{GetRandomFlags, getrandom};

use arguments::Arguments;
use probe::Host;
use progress::Line;
use report::Report;
use scan::{End, Tally, Watcher, scan};

/// What `kedge help find-host` says.
pub const HELP: &str = "\
usage: find-host NETWORK... [--host-key KEY]... [--port N] [OPTION]...

Tries every address, speaks SSH with those that answer as far as their host
key, prints the address that has the key, and stops. Without --host-key it
lists all. NETWORK: an address, or a network (192.0.2.0/24; IPv6 from /112 on).

  --host-key KEY   a fingerprint (SHA256:...), a public key, or a file of keys
                   (ssh_host_ed25519_key.pub, known_hosts); several allowed
  --port N         where SSH listens (22)
  --all            go on after a match
  --rate N         new connections a second (500)
  --timeout S      seconds that a connection may take to come about (2)
  --json           one object: hosts, their keys, and how far the scan came

The order is random. Networks that are on a link of this machine go slower when
they are large: the kernel's table of neighbours (gc_thresh3) is a limit.

  find-host 192.0.2.0/24
  find-host 10.0.0.0/18 --host-key SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344Og...
  find-host 192.0.2.0/24 --host-key /mnt/etc/ssh/ssh_host_ed25519_key.pub

Exit status: 0 found; 1 not found; 2 wrong use; 3 could not scan; 130 ctrl-C.
";

/// Runs `find-host`. Exit status: see [`HELP`].
pub fn main(arguments: &[String]) -> ExitCode {
    let arguments = match Arguments::parse(arguments) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("find-host: {why}; kedge help find-host says more");
            return ExitCode::from(2);
        }
    };
    interrupt::watch();
    let mut seed = [0; 8];
    if let Err(error) = getrandom(&mut seed, GetRandomFlags::empty()) {
        eprintln!("find-host: no random numbers for the order: {error}");
        return ExitCode::from(3);
    }
    let wanted = Arc::new(arguments.wanted);
    let began = Instant::now();
    let mut screen = Screen {
        line: Line::new(arguments.targets.count()),
        report: Report::new(Arc::clone(&wanted), arguments.all, arguments.json),
    };
    let result = scan(
        &arguments.targets,
        arguments.port,
        &wanted,
        arguments.pace,
        u64::from_ne_bytes(seed),
        &interrupt::PRESSED,
        &mut screen,
    );
    screen.line.clear();
    match result {
        Ok((tally, end)) => {
            let found = screen
                .report
                .finish(arguments.targets.count(), &tally, began.elapsed());
            match (end, found) {
                (_, Err(error)) => {
                    eprintln!("find-host: cannot write to stdout: {error}");
                    ExitCode::from(3)
                }
                (End::Stopped, _) => ExitCode::from(130),
                (End::Complete, Ok(true)) => ExitCode::SUCCESS,
                (End::Complete, Ok(false)) => ExitCode::from(1),
            }
        }
        Err(error) => {
            eprintln!("find-host: {error}");
            ExitCode::from(3)
        }
    }
}

struct Screen {
    line: Line,
    report: Report,
}

impl Watcher for Screen {
    fn host(&mut self, host: Host) -> bool {
        self.line.clear();
        self.report.host(host)
    }

    fn progress(&mut self, tally: &Tally) {
        self.line.draw(tally);
    }
}
