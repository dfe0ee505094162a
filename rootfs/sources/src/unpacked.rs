//! Indices are packed; by what the first bytes say.

use std::io::{self, BufRead, BufReader, Read};

const BUFFER: usize = 64 << 10;

/// The most that any index unpacks to: Fedora's `primary`, the largest known, has 200 MB.
pub(crate) const MOST: u64 = 1 << 30;

/// What `packed` unpacks to, at most `limit` bytes: more is an error.
pub(crate) fn of<'a>(
    packed: &'a mut dyn Read,
    limit: u64,
) -> io::Result<BufReader<Box<dyn Read + 'a>>> {
    let unpacked = kedge_archive::unpacked(packed).map_err(|error| match error {
        kedge_archive::Error::Read(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    })?;
    Ok(BufReader::with_capacity(
        BUFFER,
        Box::new(limited(unpacked, limit)),
    ))
}

/// At most `limit` bytes: more is an error.
pub(crate) fn limited<R: Read>(unpacked: R, limit: u64) -> impl Read {
    Limited {
        unpacked,
        left: limit,
        limit,
    }
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
    fn what_is_longer_than_it_may_be_is_an_error() {
        let zeros = vec![0; 1 << 20];
        for (limit, fits) in [(1 << 20, true), ((1 << 20) - 1, false)] {
            let mut from = &zeros[..];
            let read = of(&mut from, limit).unwrap().read_to_end(&mut Vec::new());
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
