//! What `/etc/pacman.conf` (pacman.conf(5)) says of files: which are not unpacked, and which are left alone.

use std::path::PathBuf;

use kedge_sysroot::Sysroot;

use crate::glob::{self, Effort};
use crate::store::{Complaints, read_optional};

const FILE: &str = "etc/pacman.conf";

/// Patterns, in the order of the file; a `!` in front takes back.
#[derive(Debug, Default)]
pub(crate) struct Conf {
    no_extract: Vec<Vec<u8>>,
    no_upgrade: Vec<Vec<u8>>,
    effort: Effort,
    /// The database's folder, below ROOT.
    pub(crate) database: Option<PathBuf>,
}

impl Conf {
    pub(crate) fn read(root: &Sysroot, complaints: &Complaints) -> Conf {
        let mut conf = Conf::default();
        let mut room = glob::Room::new();
        let bytes = read_optional(root, FILE, complaints).unwrap_or_default();
        for line in bytes.split(|&byte| byte == b'\n') {
            let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let (key, value) = (line[..equals].trim_ascii(), line[equals + 1..].trim_ascii());
            let mut words = |patterns: &mut Vec<Vec<u8>>| {
                let words = value.split(u8::is_ascii_whitespace);
                let words =
                    words.filter(|word| !word.is_empty() && room.takes(word, FILE, complaints));
                patterns.extend(words.map(<[u8]>::to_vec));
            };
            match key {
                b"NoExtract" => words(&mut conf.no_extract),
                b"NoUpgrade" => words(&mut conf.no_upgrade),
                b"DBPath" => conf.database = crate::name::clean(value),
                _ => {}
            }
        }
        conf
    }

    pub(crate) fn is_left_out(&self, path: &[u8]) -> bool {
        self.fits(&self.no_extract, path)
    }

    pub(crate) fn is_left_alone(&self, path: &[u8]) -> bool {
        self.fits(&self.no_upgrade, path)
    }

    /// Whether the last pattern that fits is not one that takes back.
    fn fits(&self, patterns: &[Vec<u8>], path: &[u8]) -> bool {
        let found = self.effort.find(|steps| {
            let mut last_first = patterns.iter().rev();
            last_first.find_map(|pattern| match pattern.strip_prefix(b"!") {
                Some(pattern) => glob::matches(pattern, path, steps).then_some(false),
                None => glob::matches(pattern, path, steps).then_some(true),
            })
        });
        found.unwrap_or(false)
    }

    pub(crate) fn complaint(&self) -> Option<String> {
        self.effort.complaint(FILE)
    }
}
