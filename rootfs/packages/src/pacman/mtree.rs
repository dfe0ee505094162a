//! The list of a package's files that makepkg writes: mtree(5), compressed with gzip.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;
use kedge_digest::{Algorithm, Digest};

use crate::{Entry, Kind, NoFile, Owner, name};

/// The most of a line that is looked at.
const LONGEST_LINE: u64 = 64 << 10;
/// More than that no list of files has, whatever it is compressed from.
const MOST_BYTES: u64 = 256 << 20;

/// What `/set` says for the lines after it, and what a line itself says.
#[derive(Clone, Debug, Default)]
struct Words {
    kind: Option<Vec<u8>>,
    mode: Option<u32>,
    user: Option<u32>,
    group: Option<u32>,
    size: Option<u64>,
    time: Option<i64>,
    digest: Option<Digest>,
    link: Option<Vec<u8>>,
}

/// Calls `each` for every file until it breaks, in the order of the list, without what belongs to the package itself (`.PKGINFO`).
///
/// # Errors
/// What is wrong with it; the files before that were told.
pub(crate) fn read(
    compressed: impl BufRead,
    each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), String> {
    let mut lines = BufReader::new(MultiGzDecoder::new(compressed).take(MOST_BYTES));
    let mut defaults = Words::default();
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        number += 1;
        let fail = |error: std::io::Error| format!("line {number}: {error}");
        let read = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(fail)? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            return Err(format!("line {number} has no end"));
        }
        let mut words = line
            .trim_ascii()
            .split(|&byte| byte == b' ')
            .filter(|word| !word.is_empty());
        match words.next() {
            None | Some([b'#', ..]) => {}
            Some(b"/set") => defaults.take(words),
            Some(b"/unset") => words.for_each(|word| defaults.forget(word)),
            Some(path) => {
                let mut known = defaults.clone();
                known.take(words);
                let path = unescape(path);
                let Some(path) = name::clean(&path) else {
                    return Err(format!("line {number}: {} is no path", path.escape_ascii()));
                };
                let own = path.components().count() == 1
                    && path.as_os_str().as_encoded_bytes()[0] == b'.';
                if !path.as_os_str().is_empty() && !own && each(known.entry(path)).is_break() {
                    return Ok(());
                }
            }
        }
    }
}

impl Words {
    fn take<'a>(&mut self, words: impl Iterator<Item = &'a [u8]>) {
        for word in words {
            let Some(equals) = word.iter().position(|&byte| byte == b'=') else {
                continue;
            };
            let (key, value) = (&word[..equals], &word[equals + 1..]);
            let text = std::str::from_utf8(value).unwrap_or_default();
            match key {
                b"type" => self.kind = Some(value.to_vec()),
                b"mode" => self.mode = u32::from_str_radix(text, 8).ok(),
                b"uid" => self.user = text.parse().ok(),
                b"gid" => self.group = text.parse().ok(),
                b"size" => self.size = text.parse().ok(),
                b"time" => self.time = text.split('.').next().and_then(|text| text.parse().ok()),
                b"sha256digest" | b"sha256" => {
                    self.digest = Digest::from_hex(Algorithm::Sha256, text)
                }
                // The better one holds.
                b"md5digest" | b"md5" => {
                    self.digest = self.digest.or(Digest::from_hex(Algorithm::Md5, text));
                }
                b"link" => self.link = Some(unescape(value)),
                _ => {}
            }
        }
    }

    fn forget(&mut self, word: &[u8]) {
        match word {
            b"type" => self.kind = None,
            b"mode" => self.mode = None,
            b"uid" => self.user = None,
            b"gid" => self.group = None,
            _ => {}
        }
    }

    fn entry(self, path: PathBuf) -> Entry {
        let kind = match (self.kind.as_deref(), self.link) {
            (Some(b"file"), _) => Kind::File {
                size: self.size,
                digest: self.digest,
            },
            (Some(b"link"), Some(target)) => {
                Kind::Symlink(std::ffi::OsString::from_vec(target).into())
            }
            (Some(b"dir"), _) => Kind::Directory,
            (Some(b"char" | b"block" | b"fifo" | b"socket"), _) => Kind::Special,
            _ => Kind::Unknown,
        };
        let link = matches!(kind, Kind::Symlink(_));
        Entry {
            path,
            kind,
            mode: self.mode.filter(|_| !link).map(|mode| mode & 0o7777),
            user: self.user.map(Owner::Number),
            group: self.group.map(Owner::Number),
            capabilities: None,
            modified: self.time,
            configuration: false,
            optional: false,
            no_file: NoFile::Unsaid,
        }
    }
}

/// `\040` is a blank: what is not plain is written in octal digits.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = escaped;
    loop {
        rest = match rest {
            [] => return plain,
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                rest @ ..,
            ] => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', b'\\', rest @ ..] => {
                plain.push(b'\\');
                rest
            }
            [byte, rest @ ..] => {
                plain.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes() {
        assert_eq!(
            unescape(br"./a\040b\\c\303\244\9"),
            "./a b\\cä\\9".as_bytes()
        );
    }
}
