//! What this machine is: DMI, memory, links, disks and what is on them.

use std::process::ExitCode;

/// x
pub const HELP: &str = "usage: banner\n";
/// x
pub fn main(_: &[String]) -> ExitCode {
    println!("kedge banner");
    ExitCode::SUCCESS
}
