//! Many files of many packages that were written in the same second: what a copy without dates or a bad restore leaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kedge_packages::Database;
use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

use crate::trouble::Trouble;
use crate::{Gravity, shown};

/// A package manager sets the date that the package has: no second has files of many packages.
const FOLDERS: &[&str] = &[
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "bin",
    "sbin",
];
/// So many files in one second are looked at.
const MANY: usize = 20;
/// So many packages make it strange.
const PACKAGES: usize = 5;
/// Of so many files the owner is asked.
const ASKED: usize = 64;
/// A whole system that was restored or made in one go has nothing else.
const MOST: f64 = 0.5;

pub(super) fn burst(root: &Sysroot, databases: &[Box<dyn Database + '_>]) -> Option<Trouble> {
    let mut seconds: BTreeMap<i64, Vec<PathBuf>> = BTreeMap::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut all = 0;
    for folder in FOLDERS {
        // What cannot be read in these folders is told beside this, by `libraries`.
        let Ok(real) = root.real_path(Path::new(folder)) else {
            continue;
        };
        if seen.contains(&real) {
            continue;
        }
        for name in root.read_dir(&real).unwrap_or_default() {
            let path = real.join(&name.name);
            let Ok(stat) = root.symlink_metadata(&path) else {
                continue;
            };
            let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            // Written then, as opposed to dated so by a package manager afterwards.
            let written = stat.st_ctime.abs_diff(stat.st_mtime) <= 2;
            all += usize::from(regular);
            if regular && written {
                let at = seconds.entry(stat.st_mtime).or_default();
                at.push(path);
            }
        }
        seen.push(real);
    }
    let (second, paths) = seconds.into_iter().max_by_key(|(_, paths)| paths.len())?;
    if paths.len() < MANY || paths.len() as f64 > all as f64 * MOST {
        return None;
    }
    let asked: Vec<&Path> = paths.iter().take(ASKED).map(PathBuf::as_path).collect();
    let mut packages: Vec<(usize, usize)> = Vec::new();
    for (number, database) in databases.iter().enumerate() {
        let owners = database.owners(&asked).unwrap_or_default();
        packages.extend(
            owners
                .into_iter()
                .flatten()
                .map(|package| (number, package)),
        );
    }
    packages.sort_unstable();
    packages.dedup();
    if packages.len() < PACKAGES {
        return None;
    }
    let examples = paths
        .iter()
        .take(3)
        .map(|path| shown::path(path))
        .collect::<Vec<_>>();
    let headline = format!(
        "{} programs and libraries of {} packages or more were written in the same second",
        paths.len(),
        packages.len()
    );
    let when = format!(
        "{second} (date -d @{second}); no package manager gives files of many packages one date"
    );
    Some(
        Trouble::new(Gravity::Odd, headline)
            .fact("date", when)
            .fact("such as", examples.join(", "))
            .next(format!("verify {}", shown::typed(root.path()))),
    )
}
