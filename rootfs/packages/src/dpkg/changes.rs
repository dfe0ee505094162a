//! What the administrator and other packages changed about where files are and whose: diversions (dpkg-divert(1)),
//! statoverrides (dpkg-statoverride(1)), files that are left out (`path-exclude` of dpkg(1)).

use std::collections::BTreeMap;
use std::path::Path;

use kedge_sysroot::Sysroot;

use super::DATABASE;
use crate::glob::Effort;
use crate::store::{Complaints, read_optional};
use crate::{Owner, glob, name};

/// Where a file is moved to, and who moved it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Diversion {
    /// As [`name::trim`] makes it.
    pub(crate) to: Vec<u8>,
    /// The package whose own file stays; none when the administrator diverted everybody's.
    pub(crate) by: Option<String>,
}

/// The diversions.
#[derive(Debug, Default)]
pub(crate) struct Diversions(BTreeMap<Vec<u8>, Diversion>);

impl Diversions {
    pub(crate) fn read(root: &Sysroot, complaints: &Complaints) -> Diversions {
        let path = format!("{DATABASE}/diversions");
        let bytes = read_optional(root, &path, complaints).unwrap_or_default();
        let mut diversions = BTreeMap::new();
        let lines: Vec<&[u8]> = bytes.trim_ascii_end().split(|&b| b == b'\n').collect();
        for three in lines.chunks(3).filter(|_| !bytes.is_empty()) {
            let &[from, to, by] = three else {
                complaints.add(format!(
                    "{} ends in the middle of a diversion",
                    root.outside(Path::new(&path)).display()
                ));
                break;
            };
            let by = (by != b":").then(|| String::from_utf8_lossy(by).into_owned());
            let to = name::trim(to).to_vec();
            diversions.insert(name::trim(from).to_vec(), Diversion { to, by });
        }
        Diversions(diversions)
    }

    /// Where `path` of `package` is.
    pub(crate) fn of<'a>(&'a self, path: &'a [u8], package: &str) -> &'a [u8] {
        match self.0.get(path) {
            Some(moved) if moved.by.as_deref() != Some(package) => &moved.to,
            _ => path,
        }
    }

    /// The names that packages may have given to what is at `path` now, and for each: the one package whose file it is, or
    /// the one whose file it is not.
    pub(crate) fn names_of<'a>(&'a self, path: &'a [u8]) -> Vec<(&'a [u8], Whose<'a>)> {
        let mut names = vec![match self.0.get(path) {
            Some(Diversion { by: Some(by), .. }) => (path, Whose::Only(by)),
            Some(Diversion { by: None, .. }) => (path, Whose::Nobody),
            None => (path, Whose::Anybody),
        }];
        for (from, moved) in &self.0 {
            if moved.to == path {
                let whose = moved.by.as_deref().map_or(Whose::Anybody, Whose::AllBut);
                names.push((from, whose));
            }
        }
        names
    }
}

/// Whose file a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose<'a> {
    Anybody,
    Only(&'a str),
    AllBut(&'a str),
    Nobody,
}

impl Whose<'_> {
    pub(crate) fn includes(self, package: &str) -> bool {
        match self {
            Whose::Anybody => true,
            Whose::Only(name) => name == package,
            Whose::AllBut(name) => name != package,
            Whose::Nobody => false,
        }
    }
}

/// Whose a file must be, whatever its package says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Override {
    pub(crate) user: Owner,
    pub(crate) group: Owner,
    pub(crate) mode: u32,
}

/// The statoverrides, by path.
#[derive(Debug, Default)]
pub(crate) struct Overrides(BTreeMap<Vec<u8>, Override>);

impl Overrides {
    pub(crate) fn read(root: &Sysroot, complaints: &Complaints) -> Overrides {
        let path = format!("{DATABASE}/statoverride");
        let bytes = read_optional(root, &path, complaints).unwrap_or_default();
        let mut overrides = BTreeMap::new();
        for line in bytes.split(|&byte| byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            match one_override(line) {
                Some((path, one)) => {
                    overrides.insert(path, one);
                }
                None => complaints.add(format!(
                    "{} has a line that makes no sense: {}",
                    root.outside(Path::new(&path)).display(),
                    name::shown(line)
                )),
            }
        }
        Overrides(overrides)
    }

    pub(crate) fn get(&self, path: &[u8]) -> Option<&Override> {
        self.0.get(path)
    }
}

/// `user group mode path`.
fn one_override(line: &[u8]) -> Option<(Vec<u8>, Override)> {
    let mut words = line.splitn(4, |&byte| byte == b' ');
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let (user, group, mode) = (owner(word()?)?, owner(word()?)?, word()?);
    let mode = u32::from_str_radix(mode, 8).ok()? & 0o7777;
    let path = name::trim(words.next()?).to_vec();
    Some((path, Override { user, group, mode }))
}

/// `name`, or `#number`.
fn owner(word: &str) -> Option<Owner> {
    match word.strip_prefix('#') {
        Some(number) => number.parse().ok().map(Owner::Number),
        None => (!word.is_empty()).then(|| Owner::Name(word.into())),
    }
}

/// Patterns for files that are not unpacked, and for those that are all the same; the last that fits decides.
#[derive(Debug, Default)]
pub(crate) struct Excluded {
    patterns: Vec<(bool, Vec<u8>)>,
    effort: Effort,
}

impl Excluded {
    pub(crate) fn read(root: &Sysroot, complaints: &Complaints) -> Excluded {
        let folder = "etc/dpkg/dpkg.cfg.d";
        let named = |name: &Path| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            name.to_str()
                .filter(|name| name.chars().all(fits))
                .map(str::to_string)
        };
        let mut files: Vec<String> = root
            .read_dir(Path::new(folder))
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| named(&entry.name))
            .map(|name| format!("{folder}/{name}"))
            .collect();
        files.sort();
        files.push("etc/dpkg/dpkg.cfg".into());
        let mut patterns = Vec::new();
        let mut room = glob::Room::new();
        for file in files {
            let bytes = read_optional(root, &file, complaints).unwrap_or_default();
            for line in bytes.split(|&byte| byte == b'\n') {
                let line = line.trim_ascii();
                for (option, excluded) in [("path-exclude", true), ("path-include", false)] {
                    let rest = line.strip_prefix(option.as_bytes());
                    if let Some([b'=' | b' ' | b'\t', pattern @ ..]) = rest
                        && room.takes(pattern, &file, complaints)
                    {
                        patterns.push((excluded, pattern.trim_ascii().to_vec()));
                    }
                }
            }
        }
        Excluded {
            patterns,
            effort: Effort::default(),
        }
    }

    /// `path` as [`name::trim`] makes it.
    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let path = [b"/", path].concat();
        let last = self.effort.find(|steps| {
            let mut last_first = self.patterns.iter().rev();
            last_first.find(|(_, pattern)| glob::matches(pattern, &path, steps))
        });
        last.is_some_and(|(excluded, _)| *excluded)
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        self.effort.complaint("etc/dpkg/dpkg.cfg and dpkg.cfg.d")
    }
}
