//! What is at a path, beside what the package database says must be there.

use std::path::PathBuf;

use kedge_packages::{Digest, Entry};
use kedge_sysroot::{Error, Sysroot};

/// One way in which they differ.
#[derive(Debug)]
pub enum Difference {
    /// There is nothing.
    Missing,
    /// Another type: what it is now, in a word ("empty regular file", "folder").
    Type {
        /// What is there.
        is: String,
        /// What must be there.
        must: String,
    },
    /// A link that leads elsewhere.
    Target {
        /// Where it leads.
        is: PathBuf,
        /// Where it must lead.
        must: PathBuf,
    },
    /// Another length.
    Size {
        /// In bytes.
        is: u64,
        /// In bytes.
        must: u64,
    },
    /// Other content.
    Content {
        /// Of what is there.
        is: Digest,
        /// Of what must be there.
        must: Digest,
    },
    /// Other permission bits.
    Mode {
        /// 0o7777.
        is: u32,
        /// 0o7777.
        must: u32,
    },
    /// Another user or group: `user:group`, each side.
    Owner {
        /// Who has it.
        is: String,
        /// Who must.
        must: String,
    },
    /// It cannot be read: the error, how far it could be read, and the place on the device, where that is known.
    Unreadable {
        /// What the kernel said.
        error: Error,
        /// The first byte of the file that could not be read.
        offset: u64,
        /// The device and its 512-byte sector.
        sector: Option<(String, u64)>,
    },
}

/// Users and groups of ROOT: names to numbers, by ROOT's own `/etc/passwd` and `/etc/group`.
#[derive(Debug, Default)]
pub struct Accounts {}

impl Accounts {
    /// Reads them; a system without these files has numbers only.
    pub fn of(root: &Sysroot) -> Accounts {
        let _ = root;
        Accounts {}
    }
}

/// Everything in which the file differs from `entry`; empty when it is as it must be. `entry.configuration` and
/// `entry.optional` are not looked at: what they excuse is for the caller to say.
pub fn compare(root: &Sysroot, accounts: &Accounts, entry: &Entry) -> Vec<Difference> {
    let _ = (root, accounts, entry);
    Vec::new()
}
