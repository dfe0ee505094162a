//! `doctor` and `verify`: what is broken in an installed system.

mod compare;
pub mod verify;

use std::process::ExitCode;

pub use compare::{Accounts, Difference, compare};

/// What `kedge help doctor` says.
pub const HELP: &str = "usage: doctor [ROOT [FILE...]]\n";

/// The tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let _ = arguments;
    ExitCode::from(2)
}
