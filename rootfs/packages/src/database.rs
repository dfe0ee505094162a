//! One installed system's databases, all families alike.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use crate::apk::Apk;
use crate::dpkg::Dpkg;
use crate::pacman::Pacman;
use crate::rpm::Rpm;
use crate::{Entry, Family, Package};

/// What is wrong with a database.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] kedge_sysroot::Error),
    /// What stands in it makes no sense.
    #[error("{path} is damaged at byte {offset}: {why}")]
    Damaged {
        /// As seen from outside.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was expected.
        why: String,
    },
}

/// The database of one package manager.
pub trait Database: Send + Sync {
    /// Whose format.
    fn family(&self) -> Family;

    /// All that is installed, in the database's order.
    fn packages(&self) -> &[Package];

    /// Calls `each` for every path of the package `packages()[index]`, in the database's order. Nothing is kept: memory
    /// is bounded by the longest record.
    ///
    /// # Errors
    /// When its records cannot be read or make no sense.
    fn entries(&self, index: usize, each: &mut dyn FnMut(Entry)) -> Result<(), Error> {
        self.entries_until(index, &mut |entry| {
            each(entry);
            ControlFlow::Continue(())
        })
    }

    /// As [`Self::entries`], until `each` breaks.
    ///
    /// # Errors
    /// As there.
    fn entries_until(
        &self,
        index: usize,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), Error>;

    /// The packages (indices) that own `path`, which is below ROOT without a leading `/`; as the database writes it, or as it
    /// really is behind folders that are links. Quick: made for a few paths, not for all. Results are in the order of `paths`.
    ///
    /// # Errors
    /// As [`Self::entries`].
    fn owners(&self, paths: &[&Path]) -> Result<Vec<Vec<usize>>, Error>;

    /// Damage in the database itself that did not keep it from being read.
    fn complaints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// All databases of an installed system; none when no package manager was ever there.
///
/// # Errors
/// When one is there and cannot be read at all.
pub fn open(root: &Sysroot) -> Result<Vec<Box<dyn Database + '_>>, Error> {
    let mut databases: Vec<Box<dyn Database + '_>> = Vec::new();
    if let Some(dpkg) = Dpkg::open(root)? {
        databases.push(Box::new(dpkg));
    }
    if let Some(rpm) = Rpm::open(root)? {
        databases.push(Box::new(rpm));
    }
    if let Some(pacman) = Pacman::open(root)? {
        databases.push(Box::new(pacman));
    }
    if let Some(apk) = Apk::open(root)? {
        databases.push(Box::new(apk));
    }
    Ok(databases)
}
