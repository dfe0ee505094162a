//! `doctor` and `verify`: what is broken in an installed system.

mod accounts;
pub mod closure;
mod compare;
mod content;
mod device;
mod extent;
mod mounted;
pub mod shown;
pub mod verify;

use std::process::ExitCode;

pub use accounts::Accounts;
pub use compare::{Difference, Sector, compare, excused};

/// What `kedge help doctor` says.
pub const HELP: &str = "usage: doctor [ROOT [FILE...]]\n";

/// The tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let _ = arguments;
    ExitCode::from(2)
}
