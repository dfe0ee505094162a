//! Which files apk takes for the administrator's: `/etc` but for what is in `/etc/apk`, and what
//! `/etc/apk/protected_paths.d/*.list` adds (apk-protected_paths(5)).

use std::path::Path;

use kedge_sysroot::Sysroot;

use crate::glob::Effort;
use crate::store::{Complaints, read_optional};
use crate::{glob, name};

const FOLDER: &str = "etc/apk/protected_paths.d";
/// apk's own, before those of the system.
const DEFAULTS: &[u8] = b"+etc\n@etc/init.d\n!etc/apk\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    /// `-`: not at all.
    None,
    /// `+` or nothing: when it was changed.
    Changed,
    /// `@`: symlinks.
    Symlinks,
    /// `!`: everything.
    All,
}

/// The patterns; the last one that fits a path or a folder above it decides.
#[derive(Debug)]
pub(crate) struct Protected {
    patterns: Vec<(Protection, Vec<u8>)>,
    effort: Effort,
}

impl Protected {
    pub(crate) fn read(root: &Sysroot, complaints: &Complaints) -> Protected {
        let mut files: Vec<String> = root
            .read_dir(Path::new(FOLDER))
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| entry.name.to_str())
            .filter(|name| name.ends_with(".list"))
            .map(|name| format!("{FOLDER}/{name}"))
            .collect();
        files.sort();
        let mut patterns = Vec::new();
        parse(DEFAULTS, &mut |one| patterns.push(one));
        let mut room = glob::Room::new();
        for file in files {
            let list = read_optional(root, &file, complaints).unwrap_or_default();
            parse(&list, &mut |one| {
                if room.takes(&one.1, &file, complaints) {
                    patterns.push(one);
                }
            });
        }
        Protected {
            patterns,
            effort: Effort::default(),
        }
    }

    /// Whether a file that differs is no damage.
    pub(crate) fn contains(&self, path: &[u8], symlink: bool) -> bool {
        let names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        let fits = |pattern: &[u8], steps: &mut u64| {
            *steps += 1;
            let depth = pattern.split(|&byte| byte == b'/').count();
            let patterns = pattern.split(|&byte| byte == b'/');
            names.len() >= depth
                && patterns
                    .zip(&names)
                    .all(|(pattern, name)| glob::matches(pattern, name, steps))
        };
        let last = self.effort.find(|steps| {
            let mut last_first = self.patterns.iter().rev();
            last_first.find(|(_, pattern)| fits(pattern, steps))
        });
        match last.map(|(protection, _)| protection) {
            Some(Protection::Changed | Protection::All) => true,
            Some(Protection::Symlinks) => symlink,
            Some(Protection::None) | None => false,
        }
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        self.effort.complaint(FOLDER)
    }
}

fn parse(list: &[u8], each: &mut dyn FnMut((Protection, Vec<u8>))) {
    for line in list.split(|&byte| byte == b'\n') {
        let (protection, pattern) = match line.trim_ascii() {
            [] | [b'#', ..] => continue,
            [b'-', pattern @ ..] => (Protection::None, pattern),
            [b'+', pattern @ ..] => (Protection::Changed, pattern),
            [b'@', pattern @ ..] => (Protection::Symlinks, pattern),
            [b'!', pattern @ ..] => (Protection::All, pattern),
            pattern => (Protection::Changed, pattern),
        };
        each((protection, name::trim(pattern).to_vec()));
    }
}
