//! `fetch`: downloads one file.

use std::process::ExitCode;

/// What `kedge help fetch` says.
pub const HELP: &str = "usage: fetch\n";

/// The tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let _ = arguments;
    ExitCode::from(2)
}
