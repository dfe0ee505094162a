//! A package's header as rpm keeps it in its database: an index of tags, and their values (rpm's format of headers, without
//! the magic that it has in a package file). Numbers are big-endian.

use super::chain::Reader;
use crate::Error;

/// rpm's own limits (`lib/header.c`), of which we take a quarter: no package has a header of 64 MB.
const MOST_TAGS: u32 = 0xffff;
const MOST_DATA: u32 = 0x03ff_ffff;

/// Tags (`rpmtag.h`).
pub(super) mod tag {
    pub(in super::super) const NAME: u32 = 1000;
    pub(in super::super) const VERSION: u32 = 1001;
    pub(in super::super) const RELEASE: u32 = 1002;
    pub(in super::super) const EPOCH: u32 = 1003;
    pub(in super::super) const ARCH: u32 = 1022;
    pub(in super::super) const OLDFILENAMES: u32 = 1027;
    pub(in super::super) const FILESIZES: u32 = 1028;
    pub(in super::super) const FILESTATES: u32 = 1029;
    pub(in super::super) const FILEMODES: u32 = 1030;
    pub(in super::super) const FILEMTIMES: u32 = 1034;
    pub(in super::super) const FILEDIGESTS: u32 = 1035;
    pub(in super::super) const FILELINKTOS: u32 = 1036;
    pub(in super::super) const FILEFLAGS: u32 = 1037;
    pub(in super::super) const FILEUSERNAME: u32 = 1039;
    pub(in super::super) const FILEGROUPNAME: u32 = 1040;
    pub(in super::super) const FILEVERIFYFLAGS: u32 = 1045;
    pub(in super::super) const DIRINDEXES: u32 = 1116;
    pub(in super::super) const BASENAMES: u32 = 1117;
    pub(in super::super) const DIRNAMES: u32 = 1118;
    pub(in super::super) const LONGFILESIZES: u32 = 5008;
    pub(in super::super) const FILEDIGESTALGO: u32 = 5011;
}

/// Types of values (`rpmtag.h`).
const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT16: u32 = 3;
const INT32: u32 = 4;
const INT64: u32 = 5;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18NSTRING: u32 = 9;

/// One tag of the index.
#[derive(Clone, Copy, Debug)]
struct Tag {
    tag: u32,
    kind: u32,
    offset: u32,
    count: u32,
}

/// The index, and as much of the values as was wanted.
#[derive(Debug)]
pub(super) struct Header {
    tags: Vec<Tag>,
    data: Vec<u8>,
}

impl Header {
    /// All of it.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Header, Error> {
        let (tags, length) = index(reader)?;
        let data = reader.read(length.into())?;
        Ok(Header { tags, data })
    }

    /// As much as the values of `wanted` take.
    pub(super) fn read_only(reader: &mut Reader<'_>, wanted: &[u32]) -> Result<Header, Error> {
        let (tags, length) = index(reader)?;
        // A value ends where the next one begins at the latest.
        let end = |tag: &Tag| {
            let after = tags.iter().map(|other| other.offset);
            after
                .filter(|&offset| offset > tag.offset)
                .min()
                .unwrap_or(length)
        };
        let wanted = tags.iter().filter(|tag| wanted.contains(&tag.tag));
        let needed = wanted.map(end).max().unwrap_or(0).min(length);
        let data = reader.read(needed.into())?;
        Ok(Header { tags, data })
    }

    /// The last one is what holds: what is known since the installation stands after what the package brought.
    fn find(&self, tag: u32, kinds: &[u32]) -> Option<(Tag, &[u8])> {
        let found = self.tags.iter().rev().find(|known| known.tag == tag)?;
        if !kinds.contains(&found.kind) {
            return None;
        }
        Some((*found, self.data.get(found.offset as usize..)?))
    }

    /// How many values a tag has; 0 when it is not there.
    pub(super) fn count(&self, tag: u32) -> usize {
        let found = self.tags.iter().rev().find(|known| known.tag == tag);
        found.map_or(0, |known| known.count as usize)
    }

    /// Text; the first one when there are more.
    pub(super) fn text(&self, tag: u32) -> Option<String> {
        let (_, data) = self.find(tag, &[STRING, STRING_ARRAY, I18NSTRING])?;
        let end = data.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&data[..end]).into_owned())
    }

    /// The texts of a tag, one after the other. They end early when the data do.
    pub(super) fn texts(&self, tag: u32) -> Texts<'_> {
        match self.find(tag, &[STRING, STRING_ARRAY]) {
            Some((tag, data)) => Texts {
                data,
                left: tag.count,
            },
            None => Texts { data: &[], left: 0 },
        }
    }

    /// The numbers of a tag.
    pub(super) fn numbers(&self, tag: u32) -> Numbers<'_> {
        let none = Numbers {
            data: &[],
            width: 1,
        };
        let Some((tag, data)) = self.find(tag, &[CHAR, INT8, INT16, INT32, INT64]) else {
            return none;
        };
        let width = match tag.kind {
            CHAR | INT8 => 1,
            INT16 => 2,
            INT32 => 4,
            _ => 8,
        };
        match data.get(..width * tag.count as usize) {
            Some(data) => Numbers { data, width },
            None => none,
        }
    }

    pub(super) fn number(&self, tag: u32) -> Option<u64> {
        self.numbers(tag).get(0)
    }
}

fn index(reader: &mut Reader<'_>) -> Result<(Vec<Tag>, u32), Error> {
    let intro = reader.read(8)?;
    let (count, length) = (be32(&intro, 0), be32(&intro, 4));
    if count > MOST_TAGS || length > MOST_DATA {
        let why = format!("a header cannot have {count} tags and {length} bytes");
        return Err(reader.damaged(why));
    }
    if u64::from(count) * 16 + u64::from(length) > reader.left() {
        return Err(reader.damaged("a header is longer than its record"));
    }
    let index = reader.read(u64::from(count) * 16)?;
    let tags: Vec<Tag> = index
        .chunks_exact(16)
        .map(|entry| Tag {
            tag: be32(entry, 0),
            kind: be32(entry, 4),
            offset: be32(entry, 8),
            count: be32(entry, 12),
        })
        .collect();
    if tags.iter().any(|tag| tag.count > length) {
        return Err(reader.damaged("a tag of a header has more values than bytes"));
    }
    Ok((tags, length))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_be_bytes)
}

/// Numbers of one width.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    data: &'a [u8],
    width: usize,
}

impl Numbers<'_> {
    pub(super) fn get(&self, index: usize) -> Option<u64> {
        let from = index.checked_mul(self.width)?;
        let bytes = self.data.get(from..from.checked_add(self.width)?)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        )
    }
}

/// Texts that end in a NUL.
#[derive(Clone)]
pub(super) struct Texts<'a> {
    data: &'a [u8],
    left: u32,
}

impl<'a> Iterator for Texts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let text = match std::ffi::CStr::from_bytes_until_nul(self.data) {
            Ok(text) => text.to_bytes(),
            Err(_) => {
                self.left = 0;
                return None;
            }
        };
        self.data = &self.data[text.len() + 1..];
        Some(text)
    }
}
