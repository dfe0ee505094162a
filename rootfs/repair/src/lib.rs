//! `repair`: puts the very same file of the very same package back in place.
//!
//! | module | what it does |
//! |---|---|
//! | [`arguments`] | what was typed |
//! | [`plan`], [`diversion`] | from names to places, each with its package and what the local database says |
//! | [`safety`], [`mounted`], [`disks`], [`kernel_log`], [`lock`] | what speaks against it |
//! | [`fetched`] | package files while they are needed |
//! | [`supply`] | content that comes without a package |
//! | [`itself`] | out of what is left of the file |
//! | [`copies`], [`fetching`] | as another system has it: where it lies, and getting it |
//! | [`package`] | from one package file to the files that are wanted of it |
//! | [`replace`], [`folder`], [`look`], [`attributes`], [`target`] | one file, atomically |
//! | [`quarantine`], [`record`], [`undo`] | what was replaced, and back |
//! | [`after`], [`trial`] | whether it helped |
//! | [`run`] | all of it in order: [`sourced`] out of packages, [`singly`] without |
//! | [`report`] | what is told |

mod after;
mod arguments;
mod attributes;
mod copies;
mod disks;
mod diversion;
mod error;
mod fetched;
mod fetching;
mod folder;
mod itself;
mod kernel_log;
mod lock;
mod look;
mod mounted;
mod package;
mod plan;
mod quarantine;
mod record;
mod replace;
mod report;
mod run;
mod safety;
mod singly;
mod sourced;
mod supply;
mod target;
mod trial;
mod undo;

use std::path::PathBuf;
use std::process::ExitCode;

pub use arguments::HELP;
pub use error::Error;

/// The system that repairs: what it says about disks.
#[derive(Clone, Debug)]
pub struct Place {
    /// sysfs.
    pub sys: PathBuf,
    /// The kernel's log, as records of /dev/kmsg.
    pub kernel_log: PathBuf,
}

impl Place {
    /// The running system.
    pub fn here() -> Place {
        Place {
            sys: "/sys".into(),
            kernel_log: "/dev/kmsg".into(),
        }
    }
}

/// The tool. Exit status: see [`HELP`].
pub fn main(arguments: &[String]) -> ExitCode {
    kedge_progress::interrupt::watch();
    ExitCode::from(run(&Place::here(), arguments))
}

/// As [`main`], on a machine that is described by `place`.
pub fn run(place: &Place, arguments: &[String]) -> u8 {
    match arguments::parse(arguments) {
        Ok(order) => run::run(place, &order),
        Err(why) => {
            eprintln!("repair: {why} (kedge help repair says more)");
            2
        }
    }
}
