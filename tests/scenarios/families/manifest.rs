//! What is in a tree, as far as a package says it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kedge_digest::{Algorithm, Digest, Hasher};
use rustix::io::Errno;

/// What is at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Folder {
        mode: u32,
        owner: (u32, u32),
    },
    File {
        mode: u32,
        owner: (u32, u32),
        /// How many names it has.
        names: u64,
        /// In seconds since 1970.
        modified: i64,
        content: Digest,
        /// As the kernel keeps it (`vfs_cap_data`).
        capability: Option<Vec<u8>>,
    },
    Link {
        owner: (u32, u32),
        modified: i64,
        leads: PathBuf,
    },
}

/// By their paths.
pub(crate) type Manifest = BTreeMap<PathBuf, Seen>;

/// All that is below `root`, but for what is in `without`.
pub(crate) fn of(root: &Path, without: &str) -> Result<Manifest> {
    let mut manifest = Manifest::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let inside = path.strip_prefix(root)?.to_owned();
            if inside == Path::new(without) {
                continue;
            }
            let seen = see(&path).with_context(|| format!("looking at {}", path.display()))?;
            if matches!(seen, Seen::Folder { .. }) {
                folders.push(path);
            }
            manifest.insert(inside, seen);
        }
    }
    Ok(manifest)
}

fn see(path: &Path) -> Result<Seen> {
    let stat = path.symlink_metadata()?;
    let mode = stat.mode() & 0o7777;
    let owner = (stat.uid(), stat.gid());
    let modified = stat.mtime();
    Ok(if stat.is_dir() {
        // When something in it was changed, is no package's business.
        Seen::Folder { mode, owner }
    } else if stat.is_symlink() {
        let leads = fs::read_link(path)?;
        Seen::Link {
            owner,
            modified,
            leads,
        }
    } else if stat.is_file() {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&fs::read(path)?);
        let content = hasher.finish();
        Seen::File {
            mode,
            owner,
            names: stat.nlink(),
            modified,
            content,
            capability: capability(path)?,
        }
    } else {
        bail!("nothing like that belongs there");
    })
}

fn capability(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut value = [0; 64];
    match rustix::fs::lgetxattr(path, "security.capability", &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Where two differ.
pub(crate) fn differing(one: &Manifest, other: &Manifest) -> Vec<PathBuf> {
    let paths: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differs = |path: &&&PathBuf| one.get(**path) != other.get(**path);
    paths
        .iter()
        .filter(differs)
        .map(|path| (*path).clone())
        .collect()
}
