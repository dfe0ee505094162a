//! A package mirror of the test's own: `debian/dists` with an index that is signed by a key of the test's, and `debian/pool`.
//!
//! ```ignore
//! let mirror = victim.mirror(&folder.folder("web")?)?;
//! let log = network.serve_http(mirror.folder())?;
//! mirror.publish(&Publication { valid_until: Some("Sat, 01 Jan 2022 00:00:00 UTC"), ..Publication::default() })?;
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::child::output;
use crate::keyring::Keyring;

/// The part of a mirror's URL before `dists` and `pool`.
const DEBIAN: &str = "debian";

/// The suite's folder.
const SUITE: &str = "debian/dists/bookworm";

/// The only index of packages in it.
const PACKAGES: &str = "main/binary-amd64/Packages";

/// A mirror's folder.
#[derive(Debug, Clone)]
pub struct Mirror {
    folder: PathBuf,
    key: PathBuf,
}

impl Mirror {
    /// Makes a mirror in the new folder `to` of the packages in `archives`, which are moved there; its key is `signing.asc` in `keys`.
    pub fn make(archives: &Path, to: &Path, keys: &Path) -> Result<Self> {
        let pool = to.join("debian/pool");
        fs::create_dir_all(&pool)?;
        for entry in fs::read_dir(archives)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|end| end == "deb") {
                // apt writes a version's colon as %3a, and a mirror leaves the epoch away.
                let name = entry.file_name().to_string_lossy().into_owned();
                let name = match name.split_once("%3a") {
                    Some((before, after)) => match before.rsplit_once('_') {
                        Some((package, _)) => format!("{package}_{after}"),
                        None => name.clone(),
                    },
                    None => name.clone(),
                };
                fs::rename(entry.path(), pool.join(name))?;
            }
        }
        let mirror = Self {
            folder: to.to_owned(),
            key: keys.join("signing.asc"),
        };
        mirror.index()?;
        mirror.publish(None, None)?;
        Ok(mirror)
    }

    /// A copy, to be broken. The packages are links to those of the original: to change one, remove it first.
    pub(crate) fn copy(from: &Path, key: &Path, to: &Path) -> Result<Self> {
        fs::create_dir_all(to)?;
        let mut command = Command::new("cp");
        command
            .args(["-a", "--symbolic-link"])
            .arg(from.join(DEBIAN))
            .arg(to);
        output(&mut command, None)?;
        // The index is small, and is what is changed.
        let mirror = Self {
            folder: to.to_owned(),
            key: key.to_owned(),
        };
        fs::remove_dir_all(mirror.folder.join("debian/dists"))?;
        let mut command = Command::new("cp");
        command.arg("-a").arg(from.join("debian/dists"));
        output(command.arg(to.join(DEBIAN)), None)?;
        Ok(mirror)
    }

    /// What a web server serves.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a package, by the name before its version.
    pub fn package(&self, name: &str) -> Result<PathBuf> {
        let pool = self.folder.join("debian/pool");
        for entry in fs::read_dir(&pool)? {
            let entry = entry?;
            let file = entry.file_name();
            if file.to_string_lossy().split('_').next() == Some(name) {
                return Ok(entry.path());
            }
        }
        anyhow::bail!("there is no {name} in {}", pool.display())
    }

    /// Makes the index anew from what is in the pool; packages that are links still are left out.
    pub fn index(&self) -> Result<()> {
        index(&self.folder)
    }

    /// Makes Release and its signature anew: by this key, and with a day after which it is not to be believed, in RFC 5322's form.
    pub fn publish(&self, key: Option<&Path>, valid_until: Option<&str>) -> Result<()> {
        publish(&self.folder, key.unwrap_or(&self.key), valid_until)
    }
}

fn index(mirror: &Path) -> Result<()> {
    let mut command = Command::new("apt-ftparchive");
    command
        .args(["packages", "pool"])
        .current_dir(mirror.join(DEBIAN));
    let packages = output(&mut command, None)?;
    let plain = mirror.join(SUITE).join(PACKAGES);
    fs::create_dir_all(plain.parent().context("it is in a folder")?)?;
    fs::write(&plain, packages)?;
    output(
        Command::new("xz").args(["-k", "-f", "-1"]).arg(&plain),
        None,
    )?;
    // As Debian's own archive has it: Release names it, and only the compressed ones are there.
    Ok(())
}

fn publish(mirror: &Path, key: &Path, valid_until: Option<&str>) -> Result<()> {
    let suite = mirror.join(SUITE);
    for old in ["Release", "InRelease", "Release.gpg"] {
        let old = suite.join(old);
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    let mut command = Command::new("apt-ftparchive");
    let fields = [
        ("Origin", "kedge's tests"),
        ("Label", "kedge's tests"),
        ("Suite", "oldstable"),
        ("Codename", "bookworm"),
        ("Components", "main"),
        ("Architectures", "amd64"),
    ];
    for (name, value) in fields {
        command.arg("-o");
        command.arg(format!("APT::FTPArchive::Release::{name}={value}"));
    }
    let mut release = String::from_utf8(output(command.arg("release").arg(&suite), None)?)?;
    if let Some(day) = valid_until {
        release = format!("Valid-Until: {day}\n{release}");
    }
    let plain = suite.join("Release");
    fs::write(&plain, release)?;
    let home = Keyring::new()?;
    output(home.gpg(&["--import"]).arg(key), None)?;
    for (kind, to) in [
        ("--clear-sign", "InRelease"),
        ("--detach-sign", "Release.gpg"),
    ] {
        let mut gpg = home.gpg(&["--armor", kind, "--output"]);
        output(gpg.arg(suite.join(to)).arg(&plain), None)?;
    }
    Ok(())
}
