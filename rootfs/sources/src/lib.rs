//! Where an installed system gets its packages from (apt, dnf, pacman, apk), and the chain of trust from the keys in ROOT
//! over a signed index to one package file.

use std::fs::File;
use std::path::PathBuf;

use kedge_packages::Package;
use kedge_progress::Progress;
use kedge_sysroot::Sysroot;

/// Where to look, when not at the system's own sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// `http://`, `https://`: a package file, or a mirror that stands in for the system's own.
    Url(String),
    /// A package file, or a folder with package files or a mirror in it, on this machine.
    Path(PathBuf),
}

/// A package file that can be had.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Which package it is, as its index or its name says.
    pub package: Package,
    /// Where it is: a URL or a path.
    pub location: String,
    /// Its length, where an index says.
    pub size: Option<u64>,
    /// Why it may be believed, from the key in ROOT to the package's digest, one sentence a step; empty when nothing vouches
    /// for it but the local database's digest of the file.
    pub trust: Vec<String>,
}

/// What was found for a package.
#[derive(Clone, Debug)]
pub enum Found {
    /// The very same version, the best place first.
    Exact(Vec<Candidate>),
    /// Only other versions, the nearest first.
    Others(Vec<Candidate>),
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing that could be asked has it. What was asked, and what each said.
    #[error("no source has it")]
    Nowhere(Vec<String>),
}

/// Finds package files of `wanted`, which is installed in `root`. Says on stderr what it asks, as it asks.
///
/// # Errors
/// When no source can be asked, or what they say cannot be believed.
pub fn find(
    root: &Sysroot,
    wanted: &Package,
    from: Option<&From>,
    progress: &mut Progress,
) -> Result<Found, Error> {
    let _ = (root, wanted, from, progress);
    Err(Error::Nowhere(Vec::new()))
}

/// Fetches a package file into `to` and proves that it is what its chain of trust says.
///
/// # Errors
/// When it cannot be had whole, or is not what was promised; `to` is then of no use.
pub fn fetch(candidate: &Candidate, to: &mut File, progress: &mut Progress) -> Result<(), Error> {
    let _ = (candidate, to, progress);
    Err(Error::Nowhere(Vec::new()))
}
