//! Which of many lists of paths name some wanted ones: every list is read once, in the order of the disk, by several
//! threads, and no line of it is kept.

use std::collections::HashMap;
use std::io::BufRead;
use std::ops::Range;
use std::path::PathBuf;

use kedge_sysroot::Sysroot;

use crate::store::{Complaints, LARGEST};
use crate::{name, threads};

/// Paths that are looked for, in the form of [`name::trim`].
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    paths: HashMap<Vec<u8>, Vec<usize>>,
    /// Bit `i` of an entry `b`: some path has length `i` (modulo 64) and ends in `b`. Most lines need no more than that.
    endings: Vec<u64>,
}

impl Wanted {
    pub(crate) fn new() -> Wanted {
        Wanted {
            paths: HashMap::new(),
            endings: vec![0; 256],
        }
    }

    /// `tag` is what is told when a list has `path`.
    pub(crate) fn add(&mut self, path: &[u8], tag: usize) {
        let path = name::trim(path);
        let tags = self.paths.entry(path.to_vec()).or_default();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        if let Some(&last) = path.last() {
            self.endings[usize::from(last)] |= 1 << (path.len() % 64);
        }
    }

    /// The tags of `path`, which has no `/` at its ends.
    pub(crate) fn find(&self, path: &[u8]) -> &[usize] {
        let Some(&last) = path.last() else {
            return self.tags(path);
        };
        if self.endings[usize::from(last)] & (1 << (path.len() % 64)) == 0 {
            return &[];
        }
        self.tags(path)
    }

    fn tags(&self, path: &[u8]) -> &[usize] {
        self.paths.get(path).map_or(&[], Vec::as_slice)
    }
}

/// A list of paths, one a line.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) path: PathBuf,
    pub(crate) inode: u64,
    /// Whose it is.
    pub(crate) package: usize,
}

/// `(tag, package)` of every wanted line, sorted. Lists that are not there name nothing; those that cannot be read are
/// complained of.
pub(crate) fn scan(
    root: &Sysroot,
    mut lists: Vec<List>,
    wanted: &Wanted,
    complaints: &Complaints,
) -> Vec<(usize, usize)> {
    lists.sort_unstable_by_key(|list| list.inode);
    let mut all = threads::gather(lists.len(), &|index, found| {
        let list = &lists[index];
        let bytes = match root.read(&list.path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return,
            Err(error) => return complaints.add(error.to_string()),
        };
        for line in lines(&bytes) {
            let tags = wanted.find(name::trim(&bytes[line]));
            found.extend(tags.iter().map(|&tag| (tag, list.package)));
        }
    });
    all.sort_unstable();
    all.dedup();
    all
}

/// Where the lines of `bytes` are, without their ends; no empty ones.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let mut rest = bytes.get(from..).filter(|rest| !rest.is_empty())?;
            // std looks at a word at a time, and is compiled for speed when we are not.
            let read = rest.skip_until(b'\n').unwrap_or(rest.len());
            let end = from + read;
            let line = from..end - usize::from(bytes[end - 1] == b'\n');
            from = end;
            if !line.is_empty() {
                return Some(line);
            }
        }
    })
}
