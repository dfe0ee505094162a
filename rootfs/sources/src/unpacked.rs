//! Indices are packed; by what the first bytes say.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use xz2::bufread::XzDecoder;
use xz2::stream::{CONCATENATED, Stream};

/// `xz -9e` takes 65 MB; nobody packs an index for more.
const XZ_MEMORY: u64 = 128 << 20;
const BUFFER: usize = 64 << 10;

/// The most that any index unpacks to: Fedora's `primary`, the largest known, has 200 MB.
pub(crate) const MOST: u64 = 1 << 30;

/// What `packed` unpacks to, at most `limit` bytes: more is an error.
pub(crate) fn of<'a>(
    packed: &'a mut dyn Read,
    limit: u64,
) -> io::Result<BufReader<Box<dyn Read + 'a>>> {
    let mut packed = BufReader::with_capacity(BUFFER, packed);
    let unpacked: Box<dyn Read + 'a> = match packed.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(packed)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)?;
            Box::new(XzDecoder::new_stream(packed, stream))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(
            ruzstd::decoding::StreamingDecoder::new(packed)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?,
        ),
        _ => Box::new(packed),
    };
    Ok(BufReader::with_capacity(
        BUFFER,
        Box::new(Limited {
            unpacked,
            left: limit,
            limit,
        }),
    ))
}

/// Fails where a reader gives more than it may.
struct Limited<R> {
    unpacked: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.unpacked.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                let why = format!(
                    "it unpacks to more than the {} that it may have",
                    kedge_progress::bytes(self.limit)
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
        Ok(count)
    }
}

/// The next line without its end, or false at the end of the file. A line may have 1 MB; what is behind that in it is left out.
pub(crate) fn line(from: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    const MOST: usize = 1 << 20;
    line.clear();
    let mut any = false;
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buffer.iter().position(|&b| b == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = MOST.saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        from.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_an_error() {
        let zeros = vec![0; 1 << 20];
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        io::Write::write_all(&mut encoder, &zeros).unwrap();
        let packed = encoder.finish().unwrap();
        let mut all = Vec::new();
        for (limit, fits) in [(1 << 20, true), ((1 << 20) - 1, false)] {
            let mut from = &packed[..];
            let read = of(&mut from, limit).unwrap().read_to_end(&mut all);
            assert_eq!(read.is_ok(), fits);
        }
    }

    #[test]
    fn lines_of_any_length() {
        let long = "x".repeat(3 << 20);
        let text = format!("a\n\n{long}\nlast");
        let (mut from, mut one) = (text.as_bytes(), Vec::new());
        let mut lengths = Vec::new();
        while line(&mut from, &mut one).unwrap() {
            lengths.push(one.len());
        }
        assert_eq!(lengths, [1, 0, 1 << 20, 4]);
    }
}
