//! One file of a package.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::{Error, damaged};

/// What a member of a package is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file of this length.
    File(u64),
    /// A further name of another member that came before, below ROOT without a leading `/`.
    HardLink(PathBuf),
    /// A symlink, and where it leads.
    Symlink(PathBuf),
    /// A folder.
    Directory,
    /// Anything else.
    Special,
}

/// One file of a package, as it must be when it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Below ROOT, without a leading `/` or `./`; empty for ROOT itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits (0o7777).
    pub mode: u32,
    /// User and group by number.
    pub owner: (u32, u32),
    /// User and group by name, where the format has them.
    pub names: (String, String),
    /// Modification time, in seconds.
    pub modified: i64,
    /// Extended attributes, such as `security.capability`.
    pub attributes: Vec<(String, Vec<u8>)>,
}

/// A path as archives have it (`./usr/bin/x`, `/usr/bin/x`, `usr/bin/`), below ROOT. One with `..` in it has no business
/// in a package.
pub(crate) fn below_root(path: &[u8]) -> Result<PathBuf, Error> {
    let bad = |why| {
        damaged(&format!(
            "'{}' {why}",
            String::from_utf8_lossy(path).escape_debug()
        ))
    };
    if path.len() > 4096 || path.contains(&0) {
        return Err(bad("is no path"));
    }
    let mut below = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir | Component::RootDir => {}
            _ => return Err(bad("leads out of where it stands")),
        }
    }
    Ok(below)
}
