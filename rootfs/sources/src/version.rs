//! Which of two versions is the newer, as the package manager sees it, and which of several is the nearest.

mod dpkg;
mod rpm;

use std::cmp::Ordering;

use kedge_packages::{Family, Package};

/// Compares versions as the package manager does.
pub(crate) fn compare(family: Family, a: &str, b: &str) -> Ordering {
    match family {
        Family::Dpkg => dpkg::compare(a, b),
        Family::Rpm | Family::Pacman => rpm::compare(family, a, b),
        Family::Apk => apk(a, b),
    }
}

/// Whether it is the very same version: the same text, but for an epoch of 0 that is written or not.
pub(crate) fn same(a: &Package, b: &Package) -> bool {
    normal(&a.version) == normal(&b.version)
}

fn normal(version: &str) -> &str {
    version.strip_prefix("0:").unwrap_or(version)
}

/// How far a version is from the one that is wanted: the smaller, the nearer. The same version of the program built once
/// more is nearest, then what is newer, in its order, then what is older.
pub(crate) struct Nearness {
    family: Family,
    rank: u8,
    version: String,
}

impl Nearness {
    /// Of an offered package.
    pub(crate) fn of(wanted: &Package, offered: &Package) -> Nearness {
        let family = wanted.family;
        let rank = if upstream(&wanted.version) == upstream(&offered.version) {
            0
        } else if compare(family, &offered.version, &wanted.version) == Ordering::Greater {
            1
        } else {
            2
        };
        Nearness {
            family,
            rank,
            version: offered.version.clone(),
        }
    }
}

impl Ord for Nearness {
    fn cmp(&self, other: &Nearness) -> Ordering {
        let versions = compare(self.family, &self.version, &other.version);
        let by_version = if self.rank == 1 {
            versions
        } else {
            versions.reverse()
        };
        self.rank.cmp(&other.rank).then(by_version)
    }
}

impl PartialOrd for Nearness {
    fn partial_cmp(&self, other: &Nearness) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Nearness {
    fn eq(&self, other: &Nearness) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Nearness {}

/// Without what counts the builds of it: Debian's revision, rpm's and pacman's release, apk's `-rN`.
fn upstream(version: &str) -> &str {
    let version = normal(version);
    version.rsplit_once('-').map_or(version, |(up, _)| up)
}

/// apk's order (apk-tools, src/version.c), as far as it matters for a list that people choose from: numbers, letters, then
/// `_alpha`, `_beta`, `_pre`, `_rc`, nothing, `_cvs` … `_p`, then `-rN`.
fn apk(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| {
        let (text, build) = text.rsplit_once("-r").unwrap_or((text, "0"));
        let (number, suffix) = text.split_once('_').unwrap_or((text, ""));
        let word: String = suffix.chars().filter(char::is_ascii_alphabetic).collect();
        let rank = match &*word {
            "alpha" => 0,
            "beta" => 1,
            "pre" => 2,
            "rc" => 3,
            "" => 4,
            _ => 5,
        };
        let count: String = suffix.chars().filter(char::is_ascii_digit).collect();
        (number.to_owned(), rank, word, count, build.to_owned())
    };
    let (a, b) = (parts(a), parts(b));
    rpm::segments(&a.0, &b.0)
        .then(a.1.cmp(&b.1))
        .then_with(|| a.2.cmp(&b.2))
        .then_with(|| rpm::segments(&a.3, &b.3))
        .then_with(|| rpm::segments(&a.4, &b.4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(version: &str) -> Package {
        Package {
            family: Family::Dpkg,
            name: "x".into(),
            version: version.into(),
            architecture: "amd64".into(),
        }
    }

    #[test]
    fn the_nearest_is_first() {
        let wanted = package("3.0.15-1~deb12u1");
        let mut versions = [
            "1.1.1", "3.0.17-1", "3.0.14-1", "4.0-1", "3.0.15-1", "3.0.15-2", "3.0.13-9",
        ];
        versions.sort_by_cached_key(|version| Nearness::of(&wanted, &package(version)));
        assert_eq!(
            versions,
            [
                "3.0.15-2", "3.0.15-1", "3.0.17-1", "4.0-1", "3.0.14-1", "3.0.13-9", "1.1.1"
            ]
        );
    }

    #[test]
    fn an_epoch_of_zero_is_none() {
        assert!(same(&package("0:1.2-3"), &package("1.2-3")));
        for other in ["1:1.2-3", "1.2-3.0", "1.02-3", "1.2-3 "] {
            assert!(!same(&package(other), &package("1.2-3")), "{other}");
        }
    }

    #[test]
    fn apks_versions() {
        let sorted = [
            "1.2_alpha1-r0",
            "1.2_rc1-r0",
            "1.2_rc2-r0",
            "1.2-r0",
            "1.2-r2",
            "1.2-r10",
            "1.2_p1-r0",
            "1.2.1-r0",
            "1.2a-r0",
            "1.10-r0",
            "2-r0",
        ];
        let mut others = sorted;
        others.reverse();
        others.sort_by(|a, b| compare(Family::Apk, a, b));
        // A letter behind a number is newer than it and older than a further number: not told apart here.
        let told = |list: [&'static str; 11]| list.into_iter().filter(|v| !v.contains("1.2a"));
        assert!(told(others).eq(told(sorted)), "{others:?}");
    }
}
