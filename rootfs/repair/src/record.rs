//! Facts as lines of `key=value`, which people can read and [`crate::quarantine`] reads again. A key may stand several times.
//!
//! Names of files may have anything in them, so values are escaped: `\xNN` for what is not printable ASCII, and for `\`.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

/// The first line; the number is the format's.
const FIRST: &str = "kedge repair 1";

/// Keys with values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record(Vec<(String, Vec<u8>)>);

impl Record {
    pub(crate) fn text(mut self, key: &str, value: impl ToString) -> Record {
        self.0.push((key.into(), value.to_string().into_bytes()));
        self
    }

    pub(crate) fn path(mut self, key: &str, value: &Path) -> Record {
        self.0
            .push((key.into(), value.as_os_str().as_bytes().to_vec()));
        self
    }

    /// How the file that takes the place is told from others: the rename changes neither.
    pub(crate) fn new_file(self, made: Option<&Stat>) -> Record {
        self.text("new-inode", made.map_or(0, |made| made.st_ino))
            .text("new-size", made.map_or(0, |made| made.st_size))
    }

    /// Whether `stat` is of the file that took the place.
    pub(crate) fn is_new_file(&self, stat: &Stat) -> bool {
        self.get("new-inode").and_then(|inode| inode.parse().ok()) == Some(stat.st_ino)
    }

    /// Whether `stat` is of the file that was there before.
    pub(crate) fn is_old_file(&self, stat: &Stat) -> bool {
        self.get("old-inode").and_then(|inode| inode.parse().ok()) == Some(stat.st_ino)
    }

    pub(crate) fn get_path(&self, key: &str) -> Option<PathBuf> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        Some(OsStr::from_bytes(value).into())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == key)?;
        std::str::from_utf8(value).ok()
    }

    /// As it stands in a file.
    pub(crate) fn write(&self) -> String {
        let mut text = format!("{FIRST}\n");
        for (key, value) in &self.0 {
            let _ = write!(text, "{key}=");
            for &byte in value {
                match byte {
                    b'\\' | 0..b' ' | 0x7f.. => {
                        let _ = write!(text, "\\x{byte:02x}");
                    }
                    printable => text.push(char::from(printable)),
                }
            }
            text.push('\n');
        }
        text
    }

    /// Out of a file; nothing when it is none of ours, or was not written to its end.
    pub(crate) fn read(text: &[u8]) -> Option<Record> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
        let mut lines = text.lines();
        if lines.next()? != FIRST {
            return None;
        }
        let pair = |line: &str| {
            let (key, value) = line.split_once('=')?;
            Some((key.to_string(), unescaped(value.as_bytes())?))
        };
        Some(Record(lines.map(pair).collect::<Option<_>>()?))
    }
}

fn unescaped(mut value: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(value.len());
    while let [first, rest @ ..] = value {
        if *first != b'\\' {
            bytes.push(*first);
            value = rest;
            continue;
        }
        let digits = std::str::from_utf8(value.get(2..4)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        value = &value[4..];
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let every: Vec<u8> = (0..=255).collect();
        let record = Record::default()
            .path("path", Path::new(OsStr::from_bytes(&every)))
            .text("a", "b=c\\d")
            .text("a", "");
        let text = record.write();
        assert!(
            text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n')),
            "{text}"
        );
        assert_eq!(Record::read(text.as_bytes()), Some(record));
        // Cut off within a line, it is not there.
        assert_eq!(Record::read(&text.as_bytes()[..text.len() - 1]), None);
        for odd in [
            "",
            "x",
            "kedge repair 1\na\n",
            "kedge repair 1\na=\\\n",
            "kedge repair 1\na=\\x1\n",
        ] {
            assert_eq!(Record::read(odd.as_bytes()), None, "{odd}");
        }
    }
}
