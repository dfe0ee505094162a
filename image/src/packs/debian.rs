//! Debian's packages: which there are, and getting them by apt into the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cache::Cache;
use crate::packs::lock::{Lock, Pin};
use crate::program;
use crate::progress::Progress;
use crate::sha256;

/// How many packages are fetched by one call of apt-get: so that the bar moves.
const BATCH: usize = 8;

/// Why a package is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// apt failed.
    #[error("could not get packages by apt (is there a network, and do its sources work?)\n{0}")]
    Apt(program::Error),
    /// Nobody has such a package.
    #[error("there is no Debian package {name}, which pack \"{pack}\" asks for")]
    Unknown {
        /// The package.
        name: String,
        /// Who wants it.
        pack: String,
    },
    /// The archive went on.
    #[error(
        "packs.lock names {name} {version}, which the archive no longer has. `cargo xtask lock` takes \
         today's versions and shows what changes; `cargo xtask build --unlocked` builds with them once"
    )]
    Gone {
        /// The package.
        name: String,
        /// Its version.
        version: String,
    },
    /// Something else came than what was locked.
    #[error(
        "{name} {version} came with SHA-256 {found}, packs.lock says {wanted}: somebody replaced the \
         package, or the lock is wrong. It is not used. `cargo xtask lock` shows what the archive has now"
    )]
    Digest {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// What came.
        found: String,
        /// What was locked.
        wanted: String,
    },
    /// A file in the cache cannot be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// What the archive says of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub name: String,
    /// The version that apt would install, and its file.
    pub pin: Pin,
    /// Whether it is a library, so that it comes with who depends on it.
    library: bool,
    /// The first of each alternative that it depends on.
    depends: Vec<String>,
}

/// What the archive has of `names`.
fn candidates(names: &BTreeSet<String>) -> Result<BTreeMap<String, Candidate>, Error> {
    let output = Command::new("apt-cache")
        .args(["show", "--no-all-versions"])
        .args(names)
        .output()
        .map_err(|source| {
            Error::Apt(program::Error::Start {
                program: "apt-cache".into(),
                source,
            })
        })?;
    // It ends with 100 when one is unknown, and prints the others all the same.
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.split("\n\n").filter_map(Candidate::parse);
    Ok(found
        .filter(|candidate| names.contains(&candidate.name))
        .map(|candidate| (candidate.name.clone(), candidate))
        .collect())
}

impl Candidate {
    /// A paragraph of a Packages file (deb-control(5), Debian's repository format).
    fn parse(paragraph: &str) -> Option<Candidate> {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                (found == name).then_some(value.trim())
            })
        };
        let depends = ["Pre-Depends", "Depends"].into_iter().filter_map(field);
        Some(Candidate {
            name: field("Package")?.into(),
            pin: Pin {
                version: field("Version")?.into(),
                sha256: field("SHA256")?.into(),
                size: field("Size")?.parse().ok()?,
            },
            library: field("Section").is_some_and(|section| section.ends_with("libs")),
            depends: depends
                .flat_map(|list| list.split(','))
                .filter_map(first_alternative)
                .collect(),
        })
    }
}

/// `libc6` of `libc6 (>= 2.34) | libc6.1`.
fn first_alternative(relation: &str) -> Option<String> {
    let name = relation.split(['(', '|', '[', ':']).next()?.trim();
    (!name.is_empty()).then(|| name.to_string())
}

/// What is wanted, by name, with who wants it.
pub type Wanted = BTreeMap<String, String>;

/// The packages that are `wanted`, and the libraries that they depend on, as the archive has them today.
///
/// # Errors
/// When one that is wanted is unknown.
pub fn resolve(wanted: &Wanted, progress: &dyn Progress) -> Result<Lock, Error> {
    progress.step("asking apt for the packages of the packs");
    match resolve_once(wanted) {
        // A fresh machine has no package lists.
        Err(Error::Unknown { .. }) => {
            update()?;
            resolve_once(wanted)
        }
        answer => answer,
    }
}

fn resolve_once(wanted: &Wanted) -> Result<Lock, Error> {
    let mut lock = Lock::default();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let mut next: BTreeSet<String> = wanted.keys().cloned().collect();
    while !next.is_empty() {
        let found = candidates(&next)?;
        if let Some(name) = next
            .iter()
            .find(|name| wanted.contains_key(*name) && !found.contains_key(*name))
        {
            return Err(Error::Unknown {
                name: name.clone(),
                pack: wanted[name].clone(),
            });
        }
        asked.append(&mut next);
        for candidate in found.into_values() {
            // What is no library (debconf, perl) is for scripts of installation.
            if !candidate.library && !wanted.contains_key(&candidate.name) {
                continue;
            }
            let further = candidate.depends.into_iter();
            next.extend(further.filter(|name| !asked.contains(name)));
            lock.package.insert(candidate.name, candidate.pin);
        }
    }
    Ok(lock)
}

fn update() -> Result<(), Error> {
    program::run(Command::new("apt-get").args(["-q", "update"]))
        .map(drop)
        .map_err(Error::Apt)
}

/// Those of `lock` that are neither in the cache nor in the archive any more, with their versions.
///
/// # Errors
/// When apt-cache cannot be run.
pub fn gone(lock: &Lock, cache: &Cache) -> Result<Vec<(String, String)>, Error> {
    let folder = cache.folder("debs").map_err(file_error)?;
    let missing: Vec<(&String, &Pin)> = lock
        .package
        .iter()
        .filter(|(_, pin)| !folder.join(format!("{}.deb", pin.sha256)).exists())
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    // A line a version: "name | version | source".
    let mut command = Command::new("apt-cache");
    command
        .arg("madison")
        .args(missing.iter().map(|(name, _)| name));
    let table = program::run(&mut command).map_err(Error::Apt)?;
    let table = String::from_utf8_lossy(&table);
    let there: BTreeSet<(&str, &str)> = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split('|').map(str::trim);
            Some((words.next()?, words.next()?))
        })
        .collect();
    Ok(missing
        .into_iter()
        .filter(|(name, pin)| !there.contains(&(name.as_str(), pin.version.as_str())))
        .map(|(name, pin)| (name.clone(), pin.version.clone()))
        .collect())
}

/// The files of all packages of `lock`: from the cache, or by apt.
///
/// # Errors
/// When one cannot be had as it is locked.
pub fn fetch(
    lock: &Lock,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let folder = cache.folder("debs").map_err(file_error)?;
    let place = |pin: &Pin| folder.join(format!("{}.deb", pin.sha256));
    let missing: Vec<(&String, &Pin)> = lock
        .package
        .iter()
        .filter(|(_, pin)| !is_whole(&place(pin), &pin.sha256))
        .collect();
    if !missing.is_empty() {
        let total = missing.iter().map(|(_, pin)| pin.size).sum();
        let what = format!("fetching {} Debian packages", missing.len());
        progress.start(&what, total);
        for batch in missing.chunks(BATCH) {
            fetch_batch(batch, &folder, &place)?;
            progress.advance(batch.iter().map(|(_, pin)| pin.size).sum());
        }
        progress.finish();
    }
    Ok(lock
        .package
        .iter()
        .map(|(name, pin)| (name.clone(), place(pin)))
        .collect())
}

fn is_whole(path: &Path, digest: &str) -> bool {
    sha256::of_file(path).is_ok_and(|(found, _)| found == digest)
}

fn file_error(source: crate::cache::Error) -> Error {
    let crate::cache::Error::Io { path, source, .. } = source else {
        return Error::File {
            path: PathBuf::new(),
            source: std::io::Error::other(source),
        };
    };
    Error::File { path, source }
}

fn fetch_batch(
    batch: &[(&String, &Pin)],
    folder: &Path,
    place: &dyn Fn(&Pin) -> PathBuf,
) -> Result<(), Error> {
    // Of this process' own: another build may be at it, too.
    let scratch = folder.join(format!("fetching.{}", std::process::id()));
    let failed = |source| Error::File {
        path: scratch.clone(),
        source,
    };
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch).map_err(failed)?;
    let result = download(batch, &scratch).and_then(|()| {
        for (name, pin) in batch {
            // apt-get names the file by name, version and architecture, some of it escaped.
            let prefix = format!("{name}_");
            let entries = std::fs::read_dir(&scratch).map_err(failed)?;
            let came = entries
                .flatten()
                .map(|entry| entry.path())
                .find(|path| {
                    path.file_name()
                        .is_some_and(|n| n.to_string_lossy().starts_with(&prefix))
                })
                .ok_or_else(|| is_gone(name, pin))?;
            let (found, _) = sha256::of_file(&came).map_err(failed)?;
            if found != pin.sha256 {
                return Err(Error::Digest {
                    name: name.to_string(),
                    version: pin.version.clone(),
                    found,
                    wanted: pin.sha256.clone(),
                });
            }
            std::fs::rename(&came, place(pin)).map_err(failed)?;
        }
        Ok(())
    });
    let _ = std::fs::remove_dir_all(&scratch);
    result
}

fn is_gone(name: &str, pin: &Pin) -> Error {
    Error::Gone {
        name: name.into(),
        version: pin.version.clone(),
    }
}

fn download(batch: &[(&String, &Pin)], folder: &Path) -> Result<(), Error> {
    let run = || {
        program::run(
            Command::new("apt-get")
                .current_dir(folder)
                // Its own user could not write into the cache of root's home.
                .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
                .args(
                    batch
                        .iter()
                        .map(|(name, pin)| format!("{name}={}", pin.version)),
                ),
        )
    };
    let Err(first) = run() else { return Ok(()) };
    // Old lists name files that are gone, a fresh machine has none.
    let updated = update();
    let Err(second) = run() else { return Ok(()) };
    for (name, pin) in batch {
        let known = Command::new("apt-cache")
            .args(["show", &format!("{name}={}", pin.version)])
            .output();
        if known.is_ok_and(|output| output.stdout.is_empty()) && updated.is_ok() {
            return Err(is_gone(name, pin));
        }
    }
    Err(Error::Apt(if updated.is_ok() { second } else { first }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_tells_version_digest_and_dependencies() {
        let candidate = Candidate::parse(
            "Package: xfsprogs\nVersion: 6.1.0-1\nSection: admin\nSize: 992260\nSHA256: ab\n\
             Pre-Depends: libc6 (>= 2.36), libblkid1 (>= 2.17.2) | libblkid\nDepends: python3:any\n\
             Description: utilities\n Depends: nothing\n",
        )
        .unwrap();
        assert_eq!(candidate.pin.version, "6.1.0-1");
        assert_eq!(candidate.pin.size, 992_260);
        assert_eq!(candidate.depends, ["libc6", "libblkid1", "python3"]);
        assert!(!candidate.library);
    }

    #[test]
    fn an_unknown_package_is_named_with_its_pack() {
        let wanted = Wanted::from([("kedge-no-such-package".into(), "mine".into())]);
        let error = resolve_once(&wanted).unwrap_err().to_string();
        assert!(
            error.contains("kedge-no-such-package") && error.contains("mine"),
            "{error}"
        );
    }

    #[test]
    fn libraries_come_with_who_depends_on_them_and_scripts_languages_do_not() {
        let wanted = Wanted::from([("lvm2".into(), "storage".into())]);
        let lock = resolve_once(&wanted).unwrap();
        assert!(lock.package.contains_key("libdevmapper1.02.1"), "{lock:?}");
        assert!(lock.package.contains_key("libc6"), "{lock:?}");
        assert!(!lock.package.contains_key("dmeventd"), "{lock:?}");
    }

    #[test]
    fn what_the_archive_has_is_not_gone() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().into()).unwrap();
        let wanted = Wanted::from([("less".into(), "edit".into())]);
        assert!(
            gone(&resolve_once(&wanted).unwrap(), &cache)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_version_that_is_gone_names_the_command() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().into()).unwrap();
        let pin = Pin {
            version: "0.0-0".into(),
            sha256: "00".into(),
            size: 1,
        };
        let lock = Lock {
            package: BTreeMap::from([("less".to_string(), pin)]),
        };
        let known = gone(&lock, &cache).unwrap();
        assert_eq!(known, [("less".to_string(), "0.0-0".to_string())]);
        let error = fetch(&lock, &cache, &crate::progress::Silent).unwrap_err();
        assert!(matches!(error, Error::Gone { .. }), "{error}");
        assert!(error.to_string().contains("cargo xtask lock"));
    }
}
