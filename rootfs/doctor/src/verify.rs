//! `verify`: all files of all packages, in the order of the disk.

use std::process::ExitCode;

use kedge_packages::{Database, Entry};
use kedge_progress::Progress;
use kedge_sysroot::Sysroot;

use crate::Difference;

/// What `kedge help verify` says.
pub const HELP: &str = "usage: verify [ROOT]\n";

/// A file that is not as its package says.
#[derive(Debug)]
pub struct Damaged {
    /// Index into the databases.
    pub database: usize,
    /// Index into [`Database::packages`].
    pub package: usize,
    /// What the database says.
    pub entry: Entry,
    /// In what it differs; never empty.
    pub differences: Vec<Difference>,
}

/// Goes through all files; configuration files that differ and optional files that are missing are left out.
///
/// # Errors
/// When a database cannot be read, or the operator pressed ctrl-C.
pub fn damaged(
    root: &Sysroot,
    databases: &[Box<dyn Database + '_>],
    progress: &mut Progress,
) -> Result<Vec<Damaged>, kedge_packages::Error> {
    let _ = (root, databases, progress);
    Ok(Vec::new())
}

/// The tool.
pub fn main(arguments: &[String]) -> ExitCode {
    let _ = arguments;
    ExitCode::from(2)
}
