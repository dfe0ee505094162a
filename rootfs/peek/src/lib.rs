//! `peek`: shows bytes, and says what they are.

use std::process::ExitCode;

/// What `kedge help peek` says.
pub const HELP: &str = "usage: peek\n";

/// The tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let _ = arguments;
    ExitCode::from(2)
}
