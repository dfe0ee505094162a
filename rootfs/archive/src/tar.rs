//! tar as packages use it: POSIX.1-1988 (ustar), PAX records (POSIX.1-2001), and GNU's long names.
//!
//! What no package has is refused: sparse files, multiple volumes, anything behind the two blocks of zeros that are the
//! end. Archives that were put one behind the other without an end (apk) are read as one.

use std::io::{self, Read};
use std::path::PathBuf;

use crate::member::{Member, MemberKind, below_root};
use crate::unpack::ends;
use crate::{Error, damaged};

const BLOCK: usize = 512;
/// More than the PAX records and the long names of one member ever are together, and in more headers than anybody writes.
const MOST_EXTRA: u64 = 1 << 20;
const MOST_HEADERS: usize = 64;

/// An archive, and where in it we are.
pub(crate) struct Tar<R> {
    from: R,
    /// Bytes left of the member's content, and of the padding behind it.
    content: u64,
    padding: u64,
}

/// What stands in front of a header and takes the place of its fields.
#[derive(Default)]
struct Extra {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    user: Option<u32>,
    group: Option<u32>,
    names: (Option<String>, Option<String>),
    modified: Option<i64>,
    attributes: Vec<(String, Vec<u8>)>,
    /// How many bytes it was, in how many headers.
    length: u64,
    headers: usize,
}

impl<R: Read> Tar<R> {
    pub(crate) fn new(from: R) -> Tar<R> {
        Tar {
            from,
            content: 0,
            padding: 0,
        }
    }

    /// What is read from.
    pub(crate) fn inner(&mut self) -> &mut R {
        &mut self.from
    }

    /// The next member; what was not read of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, Error> {
        let mut extra = Extra::default();
        loop {
            let skip = self.content + self.padding;
            if io::copy(&mut (&mut self.from).take(skip), &mut io::sink())? < skip {
                return Err(damaged("the tar archive is cut off"));
            }
            (self.content, self.padding) = (0, 0);
            let Some(block) = self.header()? else {
                return Ok(None);
            };
            let size = match extra.size {
                Some(size) => size,
                None => number(&block[124..136])?,
            };
            if size > i64::MAX as u64 {
                return Err(damaged("a size makes no sense"));
            }
            let kind = block[156];
            self.content = match kind {
                // These have no content, whatever the field says.
                b'1'..=b'6' => 0,
                _ => size,
            };
            self.padding = self.content.wrapping_neg() % BLOCK as u64;
            if !matches!(kind, b'x' | b'g' | b'L' | b'K') {
                return member(&block, kind, size, extra).map(Some);
            }
            extra.headers += 1;
            if extra.headers > MOST_HEADERS {
                return Err(damaged("a member has more headers than makes sense"));
            }
            match kind {
                b'x' => self.records(&mut extra)?,
                b'L' => extra.path = Some(self.long(&mut extra)?),
                b'K' => extra.link = Some(self.long(&mut extra)?),
                // For all that follow: no package has anything in it that matters here.
                _ => {}
            }
        }
    }

    /// The next block that is not zero; one alone that is zero is no end.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut zeros = 0;
        loop {
            let mut block = [0; BLOCK];
            let mut filled = 0;
            while filled < BLOCK {
                match self.from.read(&mut block[filled..]) {
                    Ok(0) if filled == 0 => return Ok(None),
                    Ok(0) => return Err(damaged("the tar archive is cut off")),
                    Ok(read) => filled += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if block == [0; BLOCK] {
                zeros += 1;
                if zeros == 2 {
                    ends(&mut self.from)?;
                    return Ok(None);
                }
                continue;
            }
            let sum: u64 = block.iter().map(|&b| u64::from(b)).sum();
            let field: u64 = block[148..156].iter().map(|&b| u64::from(b)).sum();
            if number(&block[148..156])? != sum - field + 8 * u64::from(b' ') {
                return Err(damaged("the checksum of a tar header is wrong"));
            }
            return Ok(Some(block));
        }
    }

    /// The content of a member that says something about the next one.
    fn extra(&mut self, extra: &mut Extra) -> Result<Vec<u8>, Error> {
        extra.length = extra.length.saturating_add(self.content);
        if extra.length > MOST_EXTRA {
            return Err(damaged(
                "the tar headers of a member are longer than makes sense",
            ));
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn long(&mut self, extra: &mut Extra) -> Result<Vec<u8>, Error> {
        Ok(until_nul(&self.extra(extra)?).to_vec())
    }

    /// `"%d %s=%s\n", length, keyword, value` (POSIX, pax, "Extended Header").
    fn records(&mut self, extra: &mut Extra) -> Result<(), Error> {
        let bytes = self.extra(extra)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let record = (|| {
                let blank = rest.iter().position(|&b| b == b' ')?;
                let length: usize = std::str::from_utf8(&rest[..blank]).ok()?.parse().ok()?;
                let record = rest.get(blank + 1..length)?.strip_suffix(b"\n")?;
                let equals = record.iter().position(|&b| b == b'=')?;
                let keyword = std::str::from_utf8(&record[..equals]).ok()?;
                rest = &rest[length..];
                Some((keyword, &record[equals + 1..]))
            })();
            let (keyword, value) = record.ok_or_else(|| damaged("a PAX record makes no sense"))?;
            extra.set(keyword, value)?;
        }
        Ok(())
    }
}

impl Extra {
    fn set(&mut self, keyword: &str, value: &[u8]) -> Result<(), Error> {
        let bad = || {
            damaged(&format!(
                "PAX record {} makes no sense",
                keyword.escape_debug()
            ))
        };
        let text = || std::str::from_utf8(value).map_err(|_| bad());
        match keyword {
            "path" => self.path = Some(value.to_vec()),
            "linkpath" => self.link = Some(value.to_vec()),
            "size" => self.size = Some(text()?.parse().map_err(|_| bad())?),
            "uid" => self.user = Some(text()?.parse().map_err(|_| bad())?),
            "gid" => self.group = Some(text()?.parse().map_err(|_| bad())?),
            "uname" => self.names.0 = Some(text()?.into()),
            "gname" => self.names.1 = Some(text()?.into()),
            "mtime" => {
                let seconds = text()?.split('.').next().unwrap_or_default();
                self.modified = Some(seconds.parse().map_err(|_| bad())?);
            }
            _ => {
                if keyword.starts_with("GNU.sparse") {
                    return Err(Error::Unsupported("a sparse file".into()));
                }
                // star's, which bsdtar writes too.
                if let Some(name) = keyword.strip_prefix("SCHILY.xattr.") {
                    self.attributes.push((name.to_string(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.content).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let read = self.from.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= read as u64;
        Ok(read)
    }
}

/// A header's fields, with what came before it in place of some.
fn member(block: &[u8; BLOCK], kind: u8, size: u64, extra: Extra) -> Result<Member, Error> {
    let short = |number: u64, what: &str| {
        u32::try_from(number).map_err(|_| damaged(&format!("a {what} makes no sense")))
    };
    let text = |field: &[u8]| String::from_utf8_lossy(until_nul(field)).into_owned();
    let path = extra.path.unwrap_or_else(|| {
        let name = until_nul(&block[..100]);
        // GNU has other things where POSIX has the prefix.
        match until_nul(&block[345..500]) {
            prefix if &block[257..263] == b"ustar\0" && !prefix.is_empty() => {
                [prefix, b"/", name].concat()
            }
            _ => name.to_vec(),
        }
    });
    let link = || {
        extra
            .link
            .clone()
            .unwrap_or_else(|| until_nul(&block[157..257]).to_vec())
    };
    let kind = match kind {
        // As V7 wrote folders.
        b'\0' | b'0' if path.ends_with(b"/") => MemberKind::Directory,
        b'\0' | b'0' | b'7' => MemberKind::File(size),
        b'1' => MemberKind::HardLink(below_root(&link())?),
        b'2' => MemberKind::Symlink(as_path(link())),
        b'3' | b'4' | b'6' => MemberKind::Special,
        b'5' => MemberKind::Directory,
        b'S' => return Err(Error::Unsupported("a sparse file".into())),
        other => {
            let other = char::from(other).escape_debug();
            return Err(damaged(&format!("a tar member has the type '{other}'")));
        }
    };
    let user = extra
        .user
        .map_or_else(|| short(number(&block[108..116])?, "user"), Ok)?;
    let group = extra
        .group
        .map_or_else(|| short(number(&block[116..124])?, "group"), Ok)?;
    let modified = match extra.modified {
        Some(modified) => modified,
        None => i64::try_from(number(&block[136..148])?)
            .map_err(|_| damaged("a time makes no sense"))?,
    };
    Ok(Member {
        path: below_root(&path)?,
        kind,
        mode: (number(&block[100..108])? & 0o7777) as u32,
        owner: (user, group),
        names: (
            extra.names.0.unwrap_or_else(|| text(&block[265..297])),
            extra.names.1.unwrap_or_else(|| text(&block[297..329])),
        ),
        modified,
        attributes: extra.attributes,
    })
}

fn as_path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Octal digits, between blanks and ended by a blank or NUL, or GNU's: the top bit set, then big-endian bytes.
fn number(field: &[u8]) -> Result<u64, Error> {
    let bad = || damaged("a number in a tar header makes no sense");
    if let [0x80, rest @ ..] = field {
        return rest.iter().try_fold(0u64, |sum, &byte| {
            let sum = sum.checked_mul(256).ok_or_else(bad)?;
            Ok(sum + u64::from(byte))
        });
    }
    let text = std::str::from_utf8(until_nul(field)).map_err(|_| bad())?;
    match text.trim_matches(' ') {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| bad()),
    }
}
