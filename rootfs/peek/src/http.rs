//! An HTTP answer that was saved with its header: by netcat, by a shell's `/dev/tcp`, by openssl s_client. Where the file
//! in it begins.

/// A header is looked for in so many bytes.
pub(crate) const LONGEST: usize = 64 << 10;

/// The header of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The status line: `HTTP/1.1 200 OK`.
    pub status: String,
    /// Where the body begins.
    pub body: usize,
    /// How long it is, as the header says.
    pub length: Option<u64>,
    /// Whether it is in chunks.
    pub chunked: bool,
    /// What it was packed by for the way, if it was: `gzip`.
    pub packed: Option<String>,
}

impl Header {
    /// Out of the first bytes of a file. `None` when there is no header, or no end of it.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        if !bytes.starts_with(b"HTTP/") {
            return None;
        }
        // Some who saved it made line feeds of the line ends.
        let long = find(bytes, b"\r\n\r\n").map(|at| (at, at + 4));
        let short = find(bytes, b"\n\n").map(|at| (at, at + 2));
        let (end, body) = match (long, short) {
            (Some(long), Some(short)) => long.min(short),
            (one, other) => one.or(other)?,
        };
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = text.lines();
        let status = lines.next()?.trim();
        let status: String = status.escape_debug().to_string().chars().take(80).collect();
        let (mut length, mut chunked, mut packed) = (None, false, Vec::new());
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().ok(),
                // Of several codings, in one line or in many, the last was applied last (RFC 9112, 6.1).
                "transfer-encoding" => {
                    let last = value.rsplit(',').next().unwrap_or_default();
                    chunked = last.trim().eq_ignore_ascii_case("chunked");
                    packed.extend(codings(value));
                }
                "content-encoding" => packed.extend(codings(value)),
                _ => {}
            }
        }
        Some(Header {
            status,
            body,
            length: length.filter(|_| !chunked),
            chunked,
            packed: (!packed.is_empty()).then(|| packed.join(", ")),
        })
    }
}

/// The codings (RFC 9110, 8.4.1) that change what the bytes are.
fn codings(value: &str) -> impl Iterator<Item = String> {
    let words = value
        .split(',')
        .map(|word| word.trim().to_ascii_lowercase());
    words
        .filter(|word| !matches!(word.as_str(), "" | "identity" | "chunked"))
        .map(|word| word.escape_debug().to_string().chars().take(20).collect())
        .take(4)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Takes chunks (RFC 9112, 7.1) apart, piece by piece.
#[derive(Debug, Default)]
pub struct Chunks {
    state: State,
    /// What is left of the chunk.
    left: u64,
    /// The line that is being read.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Data,
    /// The line end behind a chunk.
    Behind,
    Trailer,
    End,
}

impl Chunks {
    /// Gives `bytes` without what belongs to the chunks, to `each`. `None` when these are no chunks.
    pub fn take(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(&[u8])) -> Option<()> {
        while let Some(&byte) = bytes.first() {
            match self.state {
                State::End => return Some(()),
                State::Data => {
                    let count = bytes
                        .len()
                        .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    each(&bytes[..count]);
                    bytes = &bytes[count..];
                    self.left -= count as u64;
                    if self.left == 0 {
                        self.state = State::Behind;
                    }
                    continue;
                }
                _ if byte == b'\n' => self.line_end()?,
                _ if self.line.len() >= 4096 => return None,
                _ => self.line.push(byte),
            }
            bytes = &bytes[1..];
        }
        Some(())
    }

    /// Whether the last chunk was seen.
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Trailer | State::End)
    }

    fn line_end(&mut self) -> Option<()> {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii();
        match self.state {
            State::Size => {
                let size = line.split(|&b| b == b';').next()?.trim_ascii();
                let digits = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
                let size = std::str::from_utf8(size).ok().filter(|_| digits)?;
                self.left = u64::from_str_radix(size, 16).ok()?;
                self.state = match self.left {
                    0 => State::Trailer,
                    _ => State::Data,
                };
            }
            State::Behind if line.is_empty() => self.state = State::Size,
            State::Behind => return None,
            _ if line.is_empty() => self.state = State::End,
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_begins_behind_the_empty_line() {
        let header = Header::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x7fELF").unwrap();
        assert_eq!(
            (header.body, header.length, header.chunked),
            (38, Some(4), false)
        );
        let header = Header::parse(b"HTTP/1.0 302 \x1b\nTransfer-Encoding: Chunked\n\n2").unwrap();
        assert_eq!((header.body, header.chunked), (43, true));
        let coded = |value: &str| {
            let header = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n\r\n");
            Header::parse(header.as_bytes()).unwrap().chunked
        };
        assert!(coded("gzip, chunked") && coded("gzip\r\ntransfer-encoding:CHUNKED"));
        assert!(!coded("gzip") && !coded("chunked, gzip") && !coded("xchunked"));
        let packed = |lines: &str| {
            let header = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n");
            Header::parse(header.as_bytes()).unwrap().packed
        };
        let gzip = Some("gzip".to_string());
        assert_eq!(packed("Content-Encoding: GZIP"), gzip);
        assert_eq!(packed("Transfer-Encoding: gzip, chunked"), gzip);
        assert_eq!(packed("Content-Encoding: identity\r\nA: gzip"), None);
        assert_eq!(packed("Transfer-Encoding: chunked"), None);
        assert_eq!(header.status, "HTTP/1.0 302 \\u{1b}");
        assert_eq!(
            Header::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"),
            None
        );
        assert_eq!(Header::parse(b"\x7fELF\n\n"), None);
    }

    #[test]
    fn chunks_are_taken_apart_wherever_they_are_cut() {
        let all = b"3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
        for cut in 1..all.len() {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            for piece in all.chunks(cut) {
                chunks
                    .take(piece, &mut |bytes| body.extend_from_slice(bytes))
                    .unwrap();
            }
            assert_eq!(body, b"abc0123456789", "{cut}");
            assert!(chunks.is_whole(), "{cut}");
        }
        let mut chunks = Chunks::default();
        chunks.take(&all[..12], &mut |_| {}).unwrap();
        assert!(!chunks.is_whole());
        for wrong in [
            &b"abc"[..],
            b"x\r\n",
            b"\r\n",
            b"2\r\nabc\r\n",
            b"+2\r\nab",
            b"fffffffffffffffff\r\n",
        ] {
            let mut chunks = Chunks::default();
            let taken = chunks.take(wrong, &mut |_| {});
            assert!(taken.is_none() || !chunks.is_whole(), "{wrong:?}");
        }
    }
}
