//! `packs.lock`: which version of which Debian package the packs are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file, in the workspace's root.
pub const FILE: &str = "packs.lock";

const HEAD: &str = "\
# Which Debian packages the packs are made of. Written by `cargo xtask lock`, and not by hand.
";

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is not as it was written.
    #[error("{path}: {source}; `cargo xtask lock` writes it anew")]
    Form {
        /// Which.
        path: PathBuf,
        /// What the parser said, with the line.
        source: Box<toml::de::Error>,
    },
}

/// One version of a package, and what its file must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version, as Debian writes it.
    pub version: String,
    /// SHA-256 of the .deb.
    pub sha256: String,
    /// Bytes of the .deb.
    pub size: u64,
}

/// Every package by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The packages.
    #[serde(default)]
    pub package: BTreeMap<String, Pin>,
}

impl Lock {
    /// The one in the workspace at `root`; an empty one where there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn read(root: &Path) -> Result<Lock, Error> {
        let path = root.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|source| Error::Form {
                path,
                source: Box::new(source),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(source) => Err(Error::File { path, source }),
        }
    }

    /// Writes it, in one rename.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, root: &Path) -> Result<(), Error> {
        let path = root.join(FILE);
        let partial = root.join(format!("{FILE}.new"));
        std::fs::write(&partial, self.to_text())
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|source| Error::File { path, source })
    }

    fn to_text(&self) -> String {
        let mut text = HEAD.to_string();
        for (name, pin) in &self.package {
            // A name may have dots and plus signs (libstdc++6), so it is quoted.
            text += &format!(
                "\n[package.\"{name}\"]\nversion = \"{}\"\nsha256 = \"{}\"\nsize = {}\n",
                pin.version, pin.sha256, pin.size
            );
        }
        text
    }

    /// What a person wants to know of the step from this to `new`: a line a package.
    pub fn changes(&self, new: &Lock) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> =
            self.package.keys().chain(new.package.keys()).collect();
        names
            .into_iter()
            .filter_map(
                |name| match (self.package.get(name), new.package.get(name)) {
                    (None, Some(pin)) => Some(format!("+ {name} {}", pin.version)),
                    (Some(pin), None) => Some(format!("- {name} {}", pin.version)),
                    (Some(old), Some(new)) if old.version != new.version => {
                        Some(format!("  {name} {} -> {}", old.version, new.version))
                    }
                    (Some(old), Some(new)) if old != new => Some(format!(
                        "! {name} {}: the same version with another content",
                        new.version
                    )),
                    _ => None,
                },
            )
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(packages: &[(&str, &str, &str)]) -> Lock {
        Lock {
            package: packages
                .iter()
                .map(|(name, version, sha256)| {
                    let (version, sha256) = (version.to_string(), sha256.to_string());
                    let pin = Pin {
                        version,
                        sha256,
                        size: 7,
                    };
                    (name.to_string(), pin)
                })
                .collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(scratch.path()).unwrap(), Lock::default());
        let written = lock(&[("libstdc++6", "12.2.0-14", "ab"), ("less", "2:590~x", "cd")]);
        written.write(scratch.path()).unwrap();
        assert_eq!(Lock::read(scratch.path()).unwrap(), written);
    }

    #[test]
    fn changes_are_told_by_package() {
        let old = lock(&[
            ("a", "1", "x"),
            ("b", "1", "x"),
            ("c", "1", "x"),
            ("e", "1", "x"),
        ]);
        let new = lock(&[
            ("a", "2", "y"),
            ("c", "1", "z"),
            ("d", "3", "x"),
            ("e", "1", "x"),
        ]);
        assert_eq!(
            old.changes(&new),
            [
                "  a 1 -> 2",
                "- b 1",
                "! c 1: the same version with another content",
                "+ d 3"
            ]
        );
    }

    #[test]
    fn a_damaged_lock_is_an_error_that_says_what_to_do() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join(FILE), "[package.less]\nversion = 3\n").unwrap();
        let error = Lock::read(scratch.path()).unwrap_err().to_string();
        assert!(
            error.contains("cargo xtask lock") && error.contains("packs.lock"),
            "{error}"
        );
    }
}
