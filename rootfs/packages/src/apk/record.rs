//! One line of apk's database: a letter, a colon, a value (`src/package.c`, `src/database.c` of apk-tools).

use kedge_digest::{Algorithm, Digest};

/// What a line tells. Lines that say nothing about files are not among them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// `P:`
    Name(&'a [u8]),
    /// `V:`
    Version(&'a [u8]),
    /// `A:`
    Architecture(&'a [u8]),
    /// `F:`, the folder of the files after it.
    Folder(&'a [u8]),
    /// `R:`, a file in it.
    File(&'a [u8]),
    /// `M:` of a folder, `a:` of a file: user, group, mode.
    Access(u32, u32, u32),
    /// `Z:`, of the content of a file, or of the target of a symlink.
    Checksum(Option<Digest>),
    /// The empty line between two packages.
    End,
    /// Anything else.
    Other,
    /// There is no letter and colon, or no value that makes sense.
    Odd,
}

impl Line<'_> {
    pub(super) fn of(line: &[u8]) -> Line<'_> {
        let (letter, value) = match line {
            [] => return Line::End,
            [letter, b':', value @ ..] if letter.is_ascii_alphabetic() => (letter, value),
            _ => return Line::Odd,
        };
        match letter {
            b'P' => Line::Name(value),
            b'V' => Line::Version(value),
            b'A' => Line::Architecture(value),
            b'F' => Line::Folder(value),
            b'R' => Line::File(value),
            b'M' | b'a' => access(value).unwrap_or(Line::Odd),
            b'Z' => Line::Checksum(checksum(value)),
            _ => Line::Other,
        }
    }
}

/// `user:group:mode`, and since apk 2.4 perhaps `:` and the digest of extended attributes.
fn access(value: &[u8]) -> Option<Line<'_>> {
    let mut words = std::str::from_utf8(value).ok()?.split(':');
    let user = words.next()?.parse().ok()?;
    let group = words.next()?.parse().ok()?;
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    Some(Line::Access(user, group, mode & 0o7777))
}

/// `Q1` and SHA-1 in base64, `Q2` and SHA-256; before that, MD5 in hexadecimal digits.
fn checksum(value: &[u8]) -> Option<Digest> {
    match value {
        [b'Q', b'1', text @ ..] => Digest::from_bytes(Algorithm::Sha1, &base64(text)?),
        [b'Q', b'2', text @ ..] => Digest::from_bytes(Algorithm::Sha256, &base64(text)?),
        digits => Digest::from_hex(Algorithm::Md5, std::str::from_utf8(digits).ok()?),
    }
}

/// RFC 4648, with `=` at the end; as long as digests are.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii_end();
    let plain = text
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(text.len());
    if text.len() > 88 || !text.len().is_multiple_of(4) || text.len() - plain > 2 {
        return None;
    }
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for &letter in &text[..plain] {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_base64() {
        // The SHA-1 of nothing.
        let empty = Digest::from_hex(Algorithm::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(
            Line::of(b"Z:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk="),
            Line::Checksum(empty)
        );
        for bad in [
            "Z:Q12jmj7l5rSw0yVb/vlWAYkK/YBwk",
            "Z:Q1",
            "Z:Q12jm",
            "Z:",
            "Z:Q1====",
            "Z:Q9aaaa",
        ] {
            assert_eq!(Line::of(bad.as_bytes()), Line::Checksum(None), "{bad}");
        }
    }

    #[test]
    fn access_is_octal_and_may_have_a_digest() {
        assert_eq!(Line::of(b"a:0:42:4755"), Line::Access(0, 42, 0o4755));
        assert_eq!(Line::of(b"M:0:0:1777:Q1abc"), Line::Access(0, 0, 0o1777));
        assert_eq!(Line::of(b"a:0:0"), Line::Odd);
        assert_eq!(Line::of(b"hello"), Line::Odd);
    }
}
