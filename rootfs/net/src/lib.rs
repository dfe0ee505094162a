//! Addresses: from the kernel's command line, DHCP servers and routers, or the operator; and the tool
//! `net`.
//!
//! | module | |
//! |---|---|
//! | [`config`] | what the command line asks for |
//! | [`daemon`] | gives links their addresses, for as long as the system runs |
//! | [`assign`], [`advice`], [`neighbour`] | a fixed address: is it plausible, has somebody else got it |
//! | [`rtnetlink`], [`links`], [`devices`] | the kernel's addresses, routes, links |
//! | [`dhcp4`], [`dhcp6`], [`control`] | DHCP clients, and how they tell the daemon |
//! | [`status`], [`up`], [`setup`], [`probe`] | what the operator types |

pub mod advice;
pub mod assign;
pub mod config;
pub mod control;
mod daemon;
mod devices;
mod dhcp4;
mod dhcp6;
pub mod links;
pub mod mac;
pub mod neighbour;
mod packet;
pub mod prefix;
mod probe;
pub mod resolv;
pub mod rtnetlink;
mod setup;
pub mod status;
mod up;

use std::io::Write;
use std::process::ExitCode;

use status::Status;

pub use daemon::SETTLED;

/// What `kedge help net` says.
pub const HELP: &str = "\
usage: net [status] [--json]     links, addresses, routes, DNS; who gave each
       net setup                 asks for what a link needs, and sets it up
       net up LINK [options]     without options: asks DHCP servers and routers
       net down LINK             takes the addresses from a link
       net test [--json]         do gateway, DNS and the world answer, is the
                [--url URL]      clock right? Asks network-test.debian.org

Options of net up:
  --address ADDRESS/LENGTH       first the link is asked who has it
  --gateway ADDRESS              may be outside of the prefix (Hetzner, OVH)
  --dns ADDRESS,ADDRESS
  --mtu BYTES
  --add                          beside what net up set before
  --force                        though somebody has it, or it is no host's

  net up eth0 --address 192.0.2.7/24 --gateway 192.0.2.1 --dns 192.0.2.53
  net up eth0 --address 192.0.2.7/32 --gateway 203.0.113.1
  net up eth0 --address 2001:db8::7/64 --gateway fe80::1
  net status --json

Without any ip= on the kernel's command line every link with a carrier asks for
addresses. ip=, vlan=, bond=, bridge=, nameserver=, BOOTIF= and rd.route= are
those of dracut.cmdline(7); ip=off keeps every link silent:

  ip=192.0.2.7::192.0.2.1:24::eth0:none nameserver=192.0.2.53
  ip=192.0.2.7::203.0.113.1:32::52-54-00-00-00-01:none
  ip=[2001:db8::7]::[fe80::1]:64::eth0:none
  vlan=eth0.5:eth0 ip=eth0.5:dhcp
  bond=bond0:eth0,eth1:mode=active-backup ip=bond0:dhcp

Exit status: 0, 1 when it could not be done or a test failed, 2 for wrong use.
";

/// Runs `net`.
pub fn main(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] | ["status"] => print_status(Status::words),
        ["--json"] | ["status", "--json"] => print_status(Status::json),
        ["setup"] => setup::setup(&mut std::io::stdin().lock()),
        ["up", ..] => match up::parse(&arguments[1..]) {
            Ok(wish) => up::up(&wish),
            Err(why) => return wrong_use(&why),
        },
        ["down", link] => up::down(link),
        ["test", options @ ..] => match test_options(options) {
            Some((url, json)) => match probe::test(url, json) {
                Ok(true) => Ok(()),
                Ok(false) => return ExitCode::FAILURE,
                Err(e) => Err(e),
            },
            None => return wrong_use("net test takes --json and --url URL"),
        },
        // Not for people, and so not in the help.
        ["daemon"] => match daemon::run() {
            Ok(never) => match never {},
            Err(e) => Err(format!("the network service cannot run: {e}")),
        },
        ["dhcp6", link] => dhcp6::run(link).map_err(|e| format!("no DHCPv6 on {link}: {e}")),
        ["lease", event] => dhcp4::event(event, |name| std::env::var(name).ok())
            .map_err(|e| format!("cannot take what DHCP gave: {e}")),
        _ => return wrong_use("net takes status, setup, up, down or test"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("net: {why}");
            ExitCode::FAILURE
        }
    }
}

fn test_options<'a>(options: &[&'a str]) -> Option<(&'a str, bool)> {
    match options {
        [] => Some((probe::WORLD, false)),
        ["--json"] => Some((probe::WORLD, true)),
        ["--url", url] => Some((url, false)),
        ["--url", url, "--json"] | ["--json", "--url", url] => Some((url, true)),
        _ => None,
    }
}

fn wrong_use(why: &str) -> ExitCode {
    eprintln!("net: {why}; kedge help net says more");
    ExitCode::from(2)
}

fn print_status(form: impl Fn(&Status) -> String) -> Result<(), String> {
    let status = Status::look().map_err(|e| format!("the kernel does not answer: {e}"))?;
    match std::io::stdout().write_all(form(&status).as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {e}"))
        }
        _ => Ok(()),
    }
}
