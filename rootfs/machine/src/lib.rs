//! What this machine is: DMI, memory, links, disks and what is on them; and `kedge banner`, which
//! says so.
//!
//! ```no_run
//! let machine = kedge_machine::Machine::look(&kedge_machine::Tree::here(), Default::default());
//! print!("{}", kedge_machine::banner::short(&machine));
//! ```
//!
//! Everything is read from sysfs and procfs, and the superblocks from the disks themselves, with a
//! bound on how long that may take ([`disks`]). None of it is trusted: what is shown is printable
//! ASCII, whatever a label holds.

pub mod banner;
pub mod disks;
mod dmi;
pub mod json;
pub mod links;
mod reader;
pub mod superblock;
mod text;
mod tree;

use std::io::Write;
use std::process::ExitCode;

pub use dmi::Plate;
pub use superblock::Content;
pub use tree::Tree;

use disks::{Disk, Scope};
use links::Link;
use tree::{attribute, names};

/// All that is known about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The version of this program.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// What started it: `UEFI` or `BIOS`.
    pub firmware: &'static str,
    /// Who made it.
    pub plate: Plate,
    /// Processors that are on.
    pub cpus: usize,
    /// Its memory.
    pub memory: Memory,
    /// Its links, without loopback.
    pub links: Vec<Link>,
    /// Its disks.
    pub disks: Vec<Disk>,
}

/// Sizes of memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What the firmware says is plugged in.
    pub installed: Option<u64>,
    /// What the kernel has to give (`MemTotal`).
    pub total: u64,
    /// What programs can still get (`MemAvailable`).
    pub available: u64,
}

impl Machine {
    /// Looks at the machine. Takes up to two seconds, when a disk does not answer.
    pub fn look(tree: &Tree, scope: Scope) -> Machine {
        let efi = tree.sys.join("firmware/efi").exists();
        Machine {
            version: env!("CARGO_PKG_VERSION").into(),
            kernel: attribute(&tree.proc.join("sys/kernel/osrelease"))
                .unwrap_or_else(|| "?".into()),
            firmware: if efi { "UEFI" } else { "BIOS" },
            plate: Plate::read(tree),
            cpus: cpus(tree),
            memory: memory(tree),
            links: links::links(tree),
            disks: disks::disks(tree, scope),
        }
    }
}

fn cpus(tree: &Tree) -> usize {
    // A processor without this file cannot be switched off: the first.
    names(&tree.sys.join("devices/system/cpu"))
        .iter()
        .filter(|name| {
            name.strip_prefix("cpu")
                .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        })
        .filter(|name| {
            let online = tree
                .sys
                .join("devices/system/cpu")
                .join(name)
                .join("online");
            attribute(&online).is_none_or(|online| online == "1")
        })
        .count()
        .max(1)
}

fn memory(tree: &Tree) -> Memory {
    let info = std::fs::read_to_string(tree.proc.join("meminfo")).unwrap_or_default();
    let value = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            .saturating_mul(1024)
    };
    Memory {
        installed: dmi::memory_installed(tree),
        total: value("MemTotal"),
        available: value("MemAvailable"),
    }
}

/// What `kedge help banner` says.
pub const HELP: &str = "\
usage: kedge banner [--all] [--json]

What this machine is: who made it, its memory, its links, its disks and what is
on them. Without an option in at most 15 lines, and without reading a disk that
is removable or on USB: it may be the medium that this system came from.

  --all    everything, on as many lines as it takes; reads such disks too, and
           lists arrays, mapped devices and CD drives (which are never read)
  --json   the same as one JSON object: sizes in bytes, speeds in Mb/s

A disk that does not answer within two seconds is left alone, and says so.

  kedge banner --json --all > /tmp/machine.json
";

/// Runs `kedge banner`. Exit status: 0, 1 when it cannot be written, 2 for wrong use.
pub fn main(arguments: &[String]) -> ExitCode {
    let (mut all, mut json) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--all" => all = true,
            "--json" => json = true,
            other => {
                eprintln!(
                    "kedge: banner takes --all and --json, not '{}'; kedge help banner says more",
                    other.escape_debug()
                );
                return ExitCode::from(2);
            }
        }
    }
    let scope = Scope {
        removable: all,
        everything: all,
    };
    let machine = Machine::look(&Tree::here(), scope);
    let text = match (json, all) {
        (true, _) => json::json(&machine) + "\n",
        (false, true) => banner::all(&machine),
        (false, false) => banner::short(&machine),
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("kedge: cannot write to stdout: {e}");
            ExitCode::FAILURE
        }
    }
}
