//! A header of rpm's (its `docs/manual/format_header.md`): an index of tags, and their values. Its database has one of each package, and a package file
//! has two, with a magic number in front. Numbers are big-endian.
//!
//! What is read is hostile: no length is believed before so many bytes are there.

pub mod tag;
mod values;

use std::io::{self, Read};

pub use values::{Numbers, Texts};

/// How a header in a package file begins.
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// Magic number, four bytes that are reserved, and two lengths.
const INTRO: usize = 16;
const ENTRY: usize = 16;

/// rpm's own limits (`lib/header.c`), of bytes a quarter: no package has a header of 64 MB.
const MOST_TAGS: u32 = 0xffff;
const MOST_DATA: u32 = 0x03ff_ffff;

/// Types of values (`rpmtag.h`).
const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT16: u32 = 3;
const INT32: u32 = 4;
const INT64: u32 = 5;
const STRING: u32 = 6;
const BINARY: u32 = 7;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

/// What is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It begins with something else.
    #[error("it begins with another magic number")]
    Magic,
    /// More than any package has.
    #[error("no header has {tags} tags and {data} bytes")]
    Long {
        /// How many tags it says to have.
        tags: u32,
        /// How many bytes of values.
        data: u32,
    },
    /// A tag with more values than there are bytes.
    #[error("a tag of it has more values than it has bytes")]
    Values,
    /// It ends before its end.
    #[error("it is cut off")]
    Cut,
}

/// How long the parts of a header are, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// The index.
    pub index: u32,
    /// The values.
    pub data: u32,
}

impl Lengths {
    /// Out of the eight bytes in front of an index: the number of tags, and of bytes.
    ///
    /// # Errors
    /// [`Error::Long`].
    pub fn parse(bytes: [u8; 8]) -> Result<Lengths, Error> {
        let (tags, data) = (be32(&bytes, 0), be32(&bytes, 4));
        if tags > MOST_TAGS || data > MOST_DATA {
            return Err(Error::Long { tags, data });
        }
        Ok(Lengths {
            index: tags * ENTRY as u32,
            data,
        })
    }
}

/// One tag of the index.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    kind: u32,
    offset: u32,
    count: u32,
}

/// The index.
#[derive(Clone, Debug, Default)]
pub struct Index {
    entries: Vec<Entry>,
    /// How many bytes the values have.
    data: u32,
}

impl Index {
    /// Out of its bytes, `data` bytes of values following.
    ///
    /// # Errors
    /// [`Error::Values`].
    pub fn parse(bytes: &[u8], data: u32) -> Result<Index, Error> {
        let entries: Vec<Entry> = bytes
            .chunks_exact(ENTRY)
            .map(|entry| Entry {
                tag: be32(entry, 0),
                kind: be32(entry, 4),
                offset: be32(entry, 8),
                count: be32(entry, 12),
            })
            .collect();
        match entries.iter().any(|entry| entry.count > data) {
            true => Err(Error::Values),
            false => Ok(Index { entries, data }),
        }
    }

    /// How many bytes of the values are enough for `wanted`.
    pub fn enough_for(&self, wanted: &[u32]) -> u32 {
        // A value ends where the next one begins at the latest. Sorted: each of 65535 entries can have the same tag.
        let mut offsets: Vec<u32> = self.entries.iter().map(|other| other.offset).collect();
        offsets.sort_unstable();
        let end = |entry: &Entry| {
            let after = offsets.partition_point(|&offset| offset <= entry.offset);
            offsets.get(after).copied().unwrap_or(self.data)
        };
        let wanted = self.entries.iter().filter(|e| wanted.contains(&e.tag));
        wanted.map(end).max().unwrap_or(0).min(self.data)
    }
}

/// The index, and the values or as much of them as was wanted.
#[derive(Clone, Debug, Default)]
pub struct Header {
    index: Index,
    data: Vec<u8>,
}

impl Header {
    /// Of what was read already.
    pub fn new(index: Index, data: Vec<u8>) -> Header {
        Header { index, data }
    }

    /// Out of the bytes of a package file, from the magic number on.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let (intro, rest) = bytes.split_first_chunk::<INTRO>().ok_or(Error::Cut)?;
        let Lengths { index, data } = lengths(intro)?;
        let (entries, rest) = rest.split_at_checked(index as usize).ok_or(Error::Cut)?;
        Ok(Header {
            index: Index::parse(entries, data)?,
            data: rest.get(..data as usize).ok_or(Error::Cut)?.to_vec(),
        })
    }

    /// The last one is what holds: what is known since the installation stands after what the package brought.
    fn find(&self, tag: u32, kinds: &[u32]) -> Option<(Entry, &[u8])> {
        let entry = self.index.entries.iter().rev().find(|e| e.tag == tag)?;
        if !kinds.contains(&entry.kind) {
            return None;
        }
        Some((*entry, self.data.get(entry.offset as usize..)?))
    }

    /// How many values a tag has; 0 when it is not there.
    pub fn count(&self, tag: u32) -> usize {
        let entry = self.index.entries.iter().rev().find(|e| e.tag == tag);
        entry.map_or(0, |entry| entry.count as usize)
    }

    /// Text; the first one when there are more.
    pub fn text(&self, tag: u32) -> Option<String> {
        let (_, data) = self.find(tag, &[STRING, STRING_ARRAY, I18N_STRING])?;
        let end = data.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&data[..end]).into_owned())
    }

    /// The texts of a tag, one after the other. They end early when the values do.
    pub fn texts(&self, tag: u32) -> Texts<'_> {
        match self.find(tag, &[STRING, STRING_ARRAY]) {
            Some((entry, data)) => Texts::new(data, entry.count),
            None => Texts::default(),
        }
    }

    /// The numbers of a tag; none when they are not whole.
    pub fn numbers(&self, tag: u32) -> Numbers<'_> {
        let Some((entry, data)) = self.find(tag, &[CHAR, INT8, INT16, INT32, INT64]) else {
            return Numbers::default();
        };
        let width = match entry.kind {
            CHAR | INT8 => 1,
            INT16 => 2,
            INT32 => 4,
            _ => 8,
        };
        // Both are bounded: the count by the bytes that there are.
        let data = data.get(..width * entry.count as usize);
        data.map_or_else(Numbers::default, |data| Numbers::new(data, width))
    }

    /// The first number of a tag.
    pub fn number(&self, tag: u32) -> Option<u64> {
        self.numbers(tag).get(0)
    }

    /// Bytes that mean something to somebody else.
    pub fn binary(&self, tag: u32) -> Option<&[u8]> {
        let (entry, data) = self.find(tag, &[BINARY])?;
        data.get(..entry.count as usize)
    }
}

/// Reads a header of a package file: its bytes, as they are signed, from the magic number on.
///
/// # Errors
/// Those of reading; and [`Error`], as an error of kind `InvalidData`.
pub fn read(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut intro = [0; INTRO];
    from.read_exact(&mut intro)?;
    let Lengths { index, data } = lengths(&intro).map_err(invalid)?;
    let length = u64::from(index) + u64::from(data);
    let mut bytes = intro.to_vec();
    // Not all at once: the length is only its own word.
    match from.take(length).read_to_end(&mut bytes)? as u64 == length {
        true => Ok(bytes),
        false => Err(invalid(Error::Cut)),
    }
}

/// Reads a header that is padded to eight bytes, as that of the signatures is; as [`read`].
///
/// # Errors
/// As [`read`].
pub fn read_padded(from: &mut dyn Read) -> io::Result<Vec<u8>> {
    let bytes = read(from)?;
    let padding = bytes.len().wrapping_neg() % 8;
    from.read_exact(&mut [0; 8][..padding])?;
    Ok(bytes)
}

fn lengths(intro: &[u8; INTRO]) -> Result<Lengths, Error> {
    let (magic, lengths) = (&intro[..8], &intro[8..]);
    if !magic.starts_with(&MAGIC) {
        return Err(Error::Magic);
    }
    Lengths::parse(lengths.try_into().map_err(|_| Error::Cut)?)
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// 0 where there are no four bytes.
fn be32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests;
