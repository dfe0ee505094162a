//! A header of a package file of rpm (rpm's `docs/manual/format_header.md`): magic, an index of tags, their values. There are
//! two: the signatures', which is padded to 8 bytes, and the package's. Numbers are big-endian.

use std::io::Read;

use crate::{Error, damaged};

const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 1];
/// rpm's own limit of tags, and a quarter of its limit of bytes.
const MOST_TAGS: u32 = 0xffff;
const MOST_DATA: u32 = 0x03ff_ffff;

/// Types of values (`rpmtag.h`).
const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT16: u32 = 3;
const INT32: u32 = 4;
const INT64: u32 = 5;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

/// Tags and values.
pub(crate) struct Header {
    /// Tag, type, offset, count.
    index: Vec<[u32; 4]>,
    data: Vec<u8>,
}

impl Header {
    pub(crate) fn read(from: &mut dyn Read) -> Result<Header, Error> {
        let mut intro = [0; 16];
        from.read_exact(&mut intro)?;
        if intro[..4] != MAGIC {
            return Err(damaged("a header of it has another magic number"));
        }
        let (count, length) = (be32(&intro[8..]), be32(&intro[12..]));
        if count > MOST_TAGS || length > MOST_DATA {
            return Err(damaged("a header of it is longer than makes sense"));
        }
        let index = bytes(from, count * 16)?
            .chunks_exact(16)
            .map(|tag| {
                [
                    be32(tag),
                    be32(&tag[4..]),
                    be32(&tag[8..]),
                    be32(&tag[12..]),
                ]
            })
            .collect();
        let data = bytes(from, length)?;
        Ok(Header { index, data })
    }

    /// Reads over one, and what it is padded with.
    pub(crate) fn skip_padded(from: &mut dyn Read) -> Result<(), Error> {
        let header = Header::read(from)?;
        let padding = header.data.len().wrapping_neg() % 8;
        from.read_exact(&mut [0; 8][..padding])?;
        Ok(())
    }

    /// The values of a tag: how many, and where they begin.
    fn find(&self, tag: u32, kinds: &[u32]) -> Option<(u32, usize, &[u8])> {
        let &[_, kind, offset, count] = self.index.iter().find(|[known, ..]| *known == tag)?;
        let data = self.data.get(offset as usize..)?;
        // Every value takes a byte at least.
        (kinds.contains(&kind) && count as usize <= data.len()).then_some((
            kind,
            count as usize,
            data,
        ))
    }

    /// Text; the first one when there are more.
    pub(crate) fn text(&self, tag: u32) -> Option<&str> {
        let (.., data) = self.find(tag, &[STRING, STRING_ARRAY, I18N_STRING])?;
        let end = data.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&data[..end]).ok()
    }

    /// All texts; they end early when the data do.
    pub(crate) fn texts(&self, tag: u32) -> Vec<&[u8]> {
        match self.find(tag, &[STRING, STRING_ARRAY]) {
            Some((_, count, data)) => data.split(|&byte| byte == 0).take(count).collect(),
            None => Vec::new(),
        }
    }

    /// All numbers; none when they are not whole.
    pub(crate) fn numbers(&self, tag: u32) -> Vec<u64> {
        let Some((kind, count, data)) = self.find(tag, &[CHAR, INT8, INT16, INT32, INT64]) else {
            return Vec::new();
        };
        let width = match kind {
            CHAR | INT8 => 1,
            INT16 => 2,
            INT32 => 4,
            _ => 8,
        };
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        match data.get(..width * count) {
            Some(data) => data.chunks_exact(width).map(number).collect(),
            None => Vec::new(),
        }
    }
}

fn be32(bytes: &[u8]) -> u32 {
    bytes[..4]
        .iter()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// So many bytes; what is announced and does not come takes no memory.
fn bytes(from: &mut dyn Read, count: u32) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    from.take(count.into()).read_to_end(&mut bytes)?;
    match bytes.len() == count as usize {
        true => Ok(bytes),
        false => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
    }
}
