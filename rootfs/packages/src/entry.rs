//! What is known of a package and of its files, whatever the package manager.

use std::path::PathBuf;

use kedge_digest::Digest;

use crate::Capabilities;

/// A package manager's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Debian, Ubuntu.
    Dpkg,
    /// Fedora, RHEL, SUSE.
    Rpm,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Package {
    /// Which database it is in.
    pub family: Family,
    /// Its name, without architecture.
    pub name: String,
    /// The whole version: `[epoch:]version[-release]`, as the package manager writes it.
    pub version: String,
    /// As the package manager calls it: `amd64`, `x86_64`, `all`, `noarch`. Empty where the database does not say.
    pub architecture: String,
}

/// What a path must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Its length, where the database says.
        size: Option<u64>,
        /// Its content, where the database says.
        digest: Option<Digest>,
    },
    /// A symlink, and where it leads.
    Symlink(PathBuf),
    /// A folder.
    Directory,
    /// A device, a FIFO.
    Special,
    /// dpkg lists the path and has no checksum of it: a folder, a symlink, a configuration file from before, or a file
    /// whose package came without checksums.
    Unknown,
}

/// Whom a file belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// By name (rpm, statoverride); ROOT's own `/etc/passwd` or `/etc/group` says which number.
    Name(String),
    /// By number.
    Number(u32),
}

/// What the database says about one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below ROOT, without a leading `/`, after diversions: where the package's file is now. Folders on the way may be
    /// links (`/bin` to `/usr/bin`).
    pub path: PathBuf,
    /// What it must be.
    pub kind: Kind,
    /// Permission bits with setuid, setgid, sticky (0o7777), where the database says.
    pub mode: Option<u32>,
    /// The user, where the database says.
    pub user: Option<Owner>,
    /// The group, where the database says.
    pub group: Option<Owner>,
    /// File capabilities, where the database says that it has any: only rpm's does.
    pub capabilities: Option<Capabilities>,
    /// Modification time in seconds, where the database says.
    pub modified: Option<i64>,
    /// A configuration file: the administrator may have changed it.
    pub configuration: bool,
    /// May be absent: rpm's `%ghost` and `missingok`, pacman's NoExtract, dpkg's path-exclude.
    pub optional: bool,
    /// With [`Kind::Unknown`]: whether it is a symlink or folder.
    pub no_file: NoFile,
}

/// How sure it is that a path of which there is no checksum is no regular file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoFile {
    /// Nothing says so.
    #[default]
    Unsaid,
    /// The package came with checksums, but none of this top folder's files: whoever made it by hand may have gone through
    /// `usr` only.
    Likely,
    /// The package came with checksums, also of other files in this top folder: debhelper makes one of every file.
    Sure,
}
