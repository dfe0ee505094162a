//! Decompression, by what the first bytes say: gzip (RFC 1952), xz, lzma, zstd (RFC 8878), or nothing.
//!
//! A stream may be made of several, one after the other, as `pigz`, `pzstd` and apk make them. A small file may unpack to
//! endless bytes: nothing here keeps more than one window of it, ctrl-C ends it, and [`Unpacked::at_most`] bounds it.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use kedge_progress::interrupt;
use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use xz2::bufread::XzDecoder;
use xz2::stream::{CONCATENATED, Stream};

use crate::Error;

/// What `xz` may take: `-9e` takes 65 MB, and nobody packs for more. zstd's limit is ruzstd's: windows of 100 MB.
const XZ_MEMORY: u64 = 128 << 20;
/// Zeros that fill an archive up: tar's records have 10 kB, or what `--blocking-factor` says.
const MOST_FILLING: u64 = 1 << 20;
/// How much is read at a time.
const BUFFER: usize = 64 << 10;

/// A buffered reader in front of what is packed.
pub(crate) type Packed<'a> = BufReader<&'a mut dyn Read>;

/// Buffers.
pub(crate) fn buffered(from: &mut dyn Read) -> Packed<'_> {
    BufReader::with_capacity(BUFFER, from)
}

/// What `packed` unpacks to. What has no magic number is taken as it is, unless it begins as an lzma stream does.
///
/// # Errors
/// When it cannot be read, or is packed in a way that nobody here knows.
pub(crate) fn unpack<'a>(mut packed: Packed<'a>) -> Result<Unpacked<'a>, Error> {
    let begins = packed.fill_buf()?;
    let xz = |stream: Result<Stream, xz2::stream::Error>| {
        stream.map_err(|error| Error::Read(io::Error::from(error)))
    };
    let from: Box<dyn Read + 'a> = match begins {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(packed)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = xz(Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED))?;
            Box::new(XzDecoder::new_stream(packed, stream))
        }
        // No magic: lc/lp/pb as everybody has it, and a dictionary of a power of two.
        [0x5d, 0, 0, ..] => {
            let stream = xz(Stream::new_lzma_decoder(XZ_MEMORY))?;
            Box::new(XzDecoder::new_stream(packed, stream))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Box::new(Zstd::new(packed))
        }
        [b'B', b'Z', b'h', ..] => {
            return Err(Error::Unsupported("bzip2".into()));
        }
        _ => Box::new(packed),
    };
    Ok(Unpacked {
        from,
        left: u64::MAX,
    })
}

/// What something unpacks to.
pub(crate) struct Unpacked<'a> {
    from: Box<dyn Read + 'a>,
    /// How much more of it may be read.
    left: u64,
}

impl Unpacked<'_> {
    /// From here on, more than `most` bytes are an error.
    pub(crate) fn at_most(&mut self, most: u64) {
        self.left = most;
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if interrupt::pressed_already() {
            return Err(io::Error::other("it was stopped"));
        }
        let count = self.from.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let why = "it unpacks to more than makes sense there";
            io::Error::new(io::ErrorKind::InvalidData, why)
        })?;
        Ok(count)
    }
}

/// Reads on behind the end of an archive, where only zeros may stand, and not without end.
pub(crate) fn ends(from: &mut dyn Read) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    let mut left = MOST_FILLING;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let filling = left.checked_sub(count as u64);
        left = filling
            .filter(|_| buffer[..count].iter().all(|&b| b == 0))
            .ok_or_else(|| crate::damaged("there is something behind the end of its archive"))?;
    }
}

/// Frames of zstd, one after the other.
struct Zstd<'a> {
    packed: Packed<'a>,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<'a> Zstd<'a> {
    fn new(packed: Packed<'a>) -> Zstd<'a> {
        Zstd {
            packed,
            decoder: FrameDecoder::new(),
            in_frame: false,
        }
    }

    /// Goes to the next frame; false when there is none.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = (&mut self.packed).take(length.into());
                    if io::copy(&mut { skipped }, &mut io::sink())? < length.into() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(&error)),
            }
        }
    }
}

impl Read for Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy::UptoBytes;
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame && !self.next()? {
                return Ok(0);
            }
            self.in_frame = true;
            while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                let more = buffer.len() - self.decoder.can_collect();
                self.decoder
                    .decode_blocks(&mut self.packed, UptoBytes(more))
                    .map_err(|error| damaged(&error))?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            self.in_frame = false;
        }
    }
}

fn damaged(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// What a program makes of `input`.
    fn through(program: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let mut to = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || to.write_all(&input));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        feeder.join().unwrap().unwrap();
        output.stdout
    }

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Error> {
        let mut from: &[u8] = packed;
        let mut out = Vec::new();
        unpack(buffered(&mut from))?.read_to_end(&mut out)?;
        Ok(out)
    }

    const PACKERS: [&[&str]; 5] = [
        &["gzip", "-c"],
        &["xz", "-c"],
        &["xz", "-c", "--format=lzma"],
        &["zstd", "-qc"],
        &["zstd", "-qc", "--ultra", "-20"],
    ];

    #[test]
    fn what_the_real_programs_pack() {
        let text: Vec<u8> = (0..300_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for packer in PACKERS {
            let packed = through(packer, &text);
            assert_eq!(unpacked(&packed).unwrap(), text, "{packer:?}");
            // An lzma stream has no end that another could follow.
            if !packer.contains(&"--format=lzma") {
                let twice = [packed.clone(), packed].concat();
                assert_eq!(unpacked(&twice).unwrap(), [&text[..], &text].concat());
            }
        }
        assert_eq!(unpacked(b"plain").unwrap(), b"plain");
        let skippable = [
            &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..],
            &through(&["zstd", "-qc"], b"after it"),
        ];
        assert_eq!(unpacked(&skippable.concat()).unwrap(), b"after it");
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let text: Vec<u8> = (0..50_000u32).flat_map(|n| n.to_le_bytes()).collect();
        for packer in PACKERS {
            let packed = through(packer, &text);
            for length in [20, packed.len() / 2, packed.len() - 1] {
                // The last byte of zstd is of its checksum, which nobody looks at.
                let result = unpacked(&packed[..length]);
                assert!(result.is_err(), "{packer:?} at {length}");
            }
        }
    }
}
