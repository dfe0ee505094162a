//! Where an installed system gets its packages from (apt, dnf, pacman, apk), and the chain of trust from the keys in ROOT
//! over a signed index to one package file.
//!
//! | module | what it does |
//! |---|---|
//! | [`apt`], [`pacman`], [`apk`], [`rpm`] | one package manager's sources each: its configuration, its indices, its keys |
//! | [`copies`] | single files as another system has them |
//! | [`offered`] | packages that somebody names (`--from`), without a source of the system's |
//! | [`listed`] | whether an index that the system fetched before names such a package |
//! | [`openpgp`] | who signed it |
//! | [`version`] | which of two versions is the newer, as the package manager sees it |
//! | [`transport`], [`unpacked`] | bytes of a mirror or of a folder, resumed, unpacked |
//! | [`tally`], [`proof`] | what has to hold of an index, and of a package file |
//! | [`query`] | what is looked for, and what was found |
//!
//! Nothing of an index is believed before the whole of it was seen to be what its signature says.

mod apk;
mod apt;
mod copies;
mod date;
#[doc(hidden)]
pub mod fuzz;
mod listed;
mod offered;
mod openpgp;
mod pacman;
mod proof;
mod query;
mod rpm;
mod tally;
mod transport;
mod unpacked;
mod version;
mod words;
mod xml;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use kedge_packages::{Family, Package};
use kedge_progress::Progress;
use kedge_sysroot::Sysroot;

pub use copies::Copy;

use proof::Proof;
use query::Query;
use transport::Place;

/// Where to look, when not at the system's own sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// `http://`, `https://`: a package file, a mirror that stands in for the system's own, or copies ([`Copy`]).
    Url(String),
    /// A package file, a folder with package files or a mirror in it, or copies, on this machine.
    Path(PathBuf),
}

/// What somebody may decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Believe an index whose Valid-Until is over, or whose key has expired since it signed; for pacman, listen to keys that
    /// have expired when they vouch for others.
    pub accept_expired: bool,
}

/// A package file that can be had, or a single file ([`Copy`]).
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
    place: Place,
    proof: Proof,
}

impl Candidate {
    /// As `trust`, of a package that is not here yet: what holds if it is the one that an index of the system's names, which is
    /// known when it was fetched.
    pub fn trust_if_named(&self) -> &[String] {
        self.proof.perhaps.first().map_or(&[], |named| &named.trust)
    }
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
    #[error("no source has it{}", query::list(.0))]
    Nowhere(Vec<String>),
    /// What was to be fetched is not there, or not any more.
    #[error(
        "cannot fetch {location}: it is no longer there (a mirror keeps the newest version only)"
    )]
    Missing {
        /// Where it should be.
        location: String,
    },
    /// A package file cannot be had whole.
    #[error("cannot fetch {location}: {why}")]
    Fetch {
        /// Where it is.
        location: String,
        /// What happened, and what can be done.
        why: String,
    },
    /// A package file is not what was promised.
    #[error("{location} is not what it should be: {why}")]
    Unproven {
        /// Where it is.
        location: String,
        /// What is wrong with it.
        why: String,
    },
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
    let wanted = std::slice::from_ref(wanted);
    let found = find_all(root, wanted, from, Options::default(), progress);
    found
        .into_iter()
        .next()
        .unwrap_or_else(|| Err(Error::Nowhere(Vec::new())))
}

/// As [`find`], for many packages, of which each index is read once. What was found for each, in their order.
pub fn find_all(
    root: &Sysroot,
    wanted: &[Package],
    from: Option<&From>,
    options: Options,
    progress: &mut Progress,
) -> Vec<Result<Found, Error>> {
    let mut query = Query::new(root, wanted, options, progress);
    if from.is_some_and(|from| offered::search(&mut query, from)) {
        return query.finish();
    }
    let families: BTreeSet<Family> = wanted.iter().map(|w| w.family).collect();
    for family in families {
        if !query.lacks(family) {
            continue;
        }
        match family {
            Family::Dpkg => apt::search(&mut query, from),
            Family::Rpm => rpm::search(&mut query, from),
            Family::Pacman => pacman::search(&mut query, from),
            Family::Apk => apk::search(&mut query, from),
        }
    }
    query.finish()
}

/// Fetches a package file into `to` and proves that it is what its chain of trust says. Only what is proven is in `to` then: of
/// an .apk that an index names, the signature in front is left out. What only the whole of it could tell is in `candidate` then: why
/// it may be believed.
///
/// `room` is how many bytes `to` may have: a server may send without end, and need not say how much before.
///
/// # Errors
/// When it cannot be had whole, or is not what was promised; `to` is then of no use.
pub fn fetch(
    candidate: &mut Candidate,
    to: &mut File,
    room: u64,
    progress: &mut Progress,
) -> Result<(), Error> {
    proof::fetch(candidate, to, room, progress)
}
