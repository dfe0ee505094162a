//! What `cargo xtask build` made: the artefacts in `out/`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder of artefacts: `KEDGE_OUT`, or `out/` in the workspace.
pub fn folder() -> PathBuf {
    match std::env::var_os("KEDGE_OUT") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../out"),
    }
}

/// One artefact, by its path in `out/` ("kedge.iso", "netboot/vmlinuz").
pub fn artefact(name: &str) -> Result<PathBuf> {
    let path = folder().join(name);
    if !path.is_file() {
        bail!(
            "{} is not there: run `cargo xtask build` first",
            path.display()
        );
    }
    path.canonicalize()
        .with_context(|| format!("finding {}", path.display()))
}

/// The size of an artefact in bytes.
pub fn size(name: &str) -> Result<u64> {
    let path = artefact(name)?;
    Ok(std::fs::metadata(&path)
        .with_context(|| format!("reading {}", path.display()))?
        .len())
}

/// Reads an artefact.
pub fn read(name: &str) -> Result<Vec<u8>> {
    let path = artefact(name)?;
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

/// A file from a Debian package that the host must have.
pub fn host_file(path: &str, package: &str) -> Result<PathBuf> {
    let path = PathBuf::from(path);
    if !path.exists() {
        bail!("{} is not there: apt-get install {package}", path.display());
    }
    Ok(path)
}
