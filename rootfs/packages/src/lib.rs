//! What the package databases of an installed system say about its files: dpkg, rpm, pacman, apk.
//!
//! A [`Database`] is read as it lies on the disk, without the package manager. What is in it is hostile: sizes are
//! bounded, and a record that makes no sense is an [`Error`] or a [`Database::complaints`] with the file's name, never a
//! panic.

mod apk;
mod capabilities;
#[cfg(test)]
mod damage;
mod database;
mod dpkg;
mod entry;
mod glob;
mod name;
mod pacman;
mod rpm;
mod scan;
mod store;
mod threads;

pub use kedge_digest::{Algorithm, Digest};

pub use capabilities::Capabilities;
pub use database::{Database, Error, open};
pub use entry::{Entry, Family, Kind, NoFile, Owner, Package};
