//! A folder in memory, for what must not wait for a disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder; it goes with this.
#[derive(Debug)]
pub struct Memory(PathBuf);

impl Memory {
    /// One of this process's own.
    pub fn new() -> Result<Self> {
        let path = Path::new("/dev/shm").join(format!("kedge-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
