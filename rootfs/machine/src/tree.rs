//! Where the kernel tells about the machine: `/sys`, `/proc` and `/dev`, or made-up ones in tests.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::text::printable;

/// The roots of the three trees.
#[derive(Clone, Debug)]
pub struct Tree {
    /// `/sys`.
    pub sys: PathBuf,
    /// `/proc`.
    pub proc: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
}

/// An attribute is one page at most.
const ATTRIBUTE: u64 = 4096;

impl Tree {
    /// This machine's.
    pub fn here() -> Tree {
        Tree {
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
        }
    }
}

/// What an attribute file says, in printable ASCII without the space around it; `None` when it
/// cannot be read or is empty.
pub(crate) fn attribute(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(ATTRIBUTE)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(printable(&bytes)).filter(|text| !text.is_empty())
}

/// A number in an attribute file.
pub(crate) fn number<T: std::str::FromStr>(path: &Path) -> Option<T> {
    attribute(path)?.parse().ok()
}

/// The names in a directory, sorted as people count: eth2 before eth10.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_by(|a, b| natural(a, b));
    names
}

/// The last part of what a link points to: a driver's name.
pub(crate) fn link_name(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(printable(target.file_name()?.as_encoded_bytes()))
}

/// Compares digits as numbers and shorter disk names first: sdb before sdaa, as the kernel counts.
fn natural(a: &str, b: &str) -> Ordering {
    let split = |name: &str| {
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (stem, number) = name.split_at(name.len() - digits);
        (stem.to_string(), number.parse::<u64>().ok())
    };
    let ((stem_a, number_a), (stem_b, number_b)) = (split(a), split(b));
    let is_disk = |stem: &str| {
        ["sd", "vd", "xvd", "hd"]
            .iter()
            .any(|kind| stem.starts_with(kind))
    };
    let by_length = if is_disk(&stem_a) && is_disk(&stem_b) && stem_a[..2] == stem_b[..2] {
        stem_a.len().cmp(&stem_b.len())
    } else {
        Ordering::Equal
    };
    by_length
        .then_with(|| stem_a.cmp(&stem_b))
        .then_with(|| number_a.cmp(&number_b))
        .then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_as_people_count() {
        let mut names = [
            "sdaa", "eth10", "sdb", "eth2", "nvme1n1", "nvme0n1", "sda", "vda", "eno1np0",
        ];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            [
                "eno1np0", "eth2", "eth10", "nvme0n1", "nvme1n1", "sda", "sdb", "sdaa", "vda"
            ]
        );
    }
}
