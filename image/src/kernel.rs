//! The kernel: from Debian's source and the fragments in kernel-config/ to a cached bzImage.
//!
//! The key of a cache entry is a digest over everything that decides about its bytes: version of
//! the source package, fragments, compiler and linker, and the recipe in this module.

mod attribution;
mod compile;
mod fragments;
mod kconfig;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::cache::{self, Cache, EntryError};
use crate::progress::Progress;
use crate::{host, program, sha256};

pub use attribution::Attribution;
pub use fragments::{Fragments, Request};
pub use kconfig::Mismatch;

/// Raised when this module does something else with the same input.
const RECIPE: u32 = 3;

/// Files of a cache entry.
const BZIMAGE: &str = "bzImage";
const CONFIG: &str = "config";
const SIZES: &str = "sizes.json";
const SYSTEM_MAP: &str = "System.map";

/// A kernel that is in the cache.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The image.
    pub bzimage: PathBuf,
    /// Its whole configuration.
    pub config: PathBuf,
    /// An [`Attribution`] as JSON: bytes before compression, by fragment.
    pub sizes: PathBuf,
    /// The Debian package of the source.
    pub package: String,
    /// Version of that package.
    pub version: String,
}

/// Why there is no kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file under kernel-config/ or of the source tree cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// source.toml is not as it should be.
    #[error("{path}: {source}")]
    Source {
        /// Which.
        path: PathBuf,
        /// Where it is wrong.
        source: toml::de::Error,
    },
    /// A fragment is not as it should be.
    #[error(transparent)]
    Fragment(#[from] fragments::Error),
    /// The source package is not installed.
    #[error("the Debian package {0} with the kernel's source is not installed")]
    NoSource(String),
    /// dpkg cannot be asked.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// Some symbols did not take.
    #[error(
        "the kernel's configuration did not take all that was asked for \
         (a dependency is missing, or another symbol selects it):\n{}",
        .0.iter().map(|mismatch| format!("  {mismatch}")).collect::<Vec<_>>().join("\n")
    )]
    Config(Vec<Mismatch>),
    /// A program could not be started or failed.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// make failed.
    #[error("the kernel's build failed; its log is {log}, and ends so:\n{tail}")]
    Make {
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The table of sizes cannot be written.
    #[error("cannot write the table of sizes: {0}")]
    Sizes(#[from] serde_json::Error),
}

/// kernel-config/source.toml.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// The Debian package that holds the source.
    package: String,
    /// Where that package puts the archive.
    tarball: PathBuf,
    /// The version with which the fragments were last seen to work.
    tested: String,
    /// Lines that a build of these fragments prints; only the progress bar reads it.
    steps: u64,
    /// Further flags for gcc, which win over the kernel's own.
    cflags: String,
    /// Options of LZMA2 for the finished kernel, which win over the kernel's own.
    lzma2: String,
    /// The fragments' names, without suffix, in the order in which they are merged.
    fragments: Vec<String>,
}

/// Finds the kernel of the fragments in `config_dir` in the cache, or builds it, which takes
/// about 15 minutes on two cores.
///
/// # Errors
/// See [`Error`].
pub fn build(config_dir: &Path, cache: &Cache, progress: &dyn Progress) -> Result<Kernel, Error> {
    let path = config_dir.join("source.toml");
    let text = read(&path)?;
    let source: Source = toml::from_str(&text).map_err(|source| Error::Source {
        path: path.clone(),
        source,
    })?;
    let fragments = Fragments::read(config_dir, &source.fragments)?;
    let version = host::versions(&[&source.package])?
        .remove(&source.package)
        .ok_or_else(|| Error::NoSource(source.package.clone()))?;

    let name = format!("kernel-{}", key(&source, &version, &fragments)?);
    let log = cache.log(&name);
    let entry = cache.entry(&name, progress, |folder| {
        if version != source.tested {
            progress.note(&format!(
                "{} is {version} here; the fragments were tested with {}",
                source.package, source.tested
            ));
        }
        make(&source, &fragments, folder, &log, progress)
    });
    let entry = entry.map_err(|error| match error {
        EntryError::Cache(error) => Error::Cache(error),
        EntryError::Make(error) => error,
    })?;
    Ok(Kernel {
        bzimage: entry.join(BZIMAGE),
        config: entry.join(CONFIG),
        sizes: entry.join(SIZES),
        package: source.package,
        version,
    })
}

/// The first 16 digits of the digest over all that decides.
fn key(source: &Source, version: &str, fragments: &Fragments) -> Result<String, Error> {
    let mut text = format!(
        "{RECIPE}\n{} {version}\n{}\n{}\n",
        source.package, source.cflags, source.lzma2
    );
    for program in ["gcc", "ld"] {
        let said = program::run(Command::new(program).arg("--version"))?;
        text.push_str(
            String::from_utf8_lossy(&said)
                .lines()
                .next()
                .unwrap_or_default(),
        );
        text.push('\n');
    }
    // What is asked for, not how it is written: a better comment costs nobody 15 minutes.
    for request in fragments.requests() {
        text.push_str(&format!("{}={}\n", request.symbol, request.value));
    }
    Ok(sha256::hex(text.as_bytes())[..16].to_string())
}

/// Fills a cache entry: unpacks, configures, compares, compiles, attributes.
fn make(
    source: &Source,
    fragments: &Fragments,
    entry: &Path,
    log: &Path,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let tree = entry.join("linux");
    fs::create_dir(&tree).map_err(|error| Error::File {
        path: tree.clone(),
        source: error,
    })?;
    progress.step(&format!(
        "unpacking {} (needs 2 GB for the build)",
        source.package
    ));
    program::run(
        Command::new("tar")
            .args(["--strip-components=1", "-xf"])
            .arg(&source.tarball)
            .arg("-C")
            .arg(&tree),
    )?;
    compile::run(&tree, &["tinyconfig"], log, &mut |_| {})?;
    let config = tree.join(".config");
    write(&config, &kconfig::merge(&read(&config)?, fragments))?;
    compile::run(&tree, &["olddefconfig"], log, &mut |_| {})?;
    let mismatches = kconfig::compare(&read(&config)?, fragments);
    if !mismatches.is_empty() {
        return Err(Error::Config(mismatches));
    }

    progress.start("compiling the kernel", source.steps);
    let cflags = format!("KCFLAGS={}", source.cflags);
    let xz = format!("XZ={}", compile::xz_with(&tree, &source.lzma2)?);
    let result = compile::run(&tree, &["bzImage", &cflags, &xz], log, &mut |steps| {
        progress.advance(steps)
    });
    progress.finish();
    result?;

    let attribution = attribution::attribute(&tree, fragments)?;
    write(
        &entry.join(SIZES),
        &serde_json::to_string_pretty(&attribution)?,
    )?;
    for (from, to) in [
        ("arch/x86/boot/bzImage", BZIMAGE),
        (".config", CONFIG),
        ("System.map", SYSTEM_MAP),
    ] {
        let path = tree.join(from);
        fs::copy(&path, entry.join(to)).map_err(|source| Error::File { path, source })?;
    }
    fs::remove_dir_all(&tree).map_err(|source| Error::File { path: tree, source })
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File {
        path: path.into(),
        source,
    })
}

fn write(path: &Path, content: &str) -> Result<(), Error> {
    fs::write(path, content).map_err(|source| Error::File {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> (Source, Fragments) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-config");
        let source: Source = toml::from_str(&read(&folder.join("source.toml")).unwrap()).unwrap();
        let fragments = Fragments::read(&folder, &source.fragments).unwrap();
        (source, fragments)
    }

    #[test]
    fn the_shipped_fragments_parse_and_none_is_forgotten() {
        let (source, _) = shipped();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-config");
        let on_disk = fs::read_dir(folder)
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|suffix| suffix == "config")
            })
            .count();
        assert_eq!(on_disk, source.fragments.len());
    }

    #[test]
    fn the_key_changes_with_what_decides() {
        let (source, fragments) = shipped();
        let first = key(&source, "6.12.1-1", &fragments).unwrap();
        assert_eq!(key(&source, "6.12.1-1", &fragments).unwrap(), first);
        assert_ne!(key(&source, "6.12.2-1", &fragments).unwrap(), first);
        let other = Fragments::parse(&[("base", "CONFIG_64BIT=y\n")]).unwrap();
        assert_ne!(key(&source, "6.12.1-1", &other).unwrap(), first);
    }
}
