//! xz as the kernel's decoder takes it: CRC32 as the check, and the x86 filter where it helps.
//!
//! The kernel's decoder (lib/xz) knows no CRC64 and allocates the dictionary at once, so the
//! dictionary is no larger than the data need.

use std::io::{self, Write};

use xz2::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

/// What a stream begins with: the xz file format, 2.1.1.1.
pub const MAGIC: &[u8] = b"\xfd7zXZ\0";

/// Unpacked at a time.
const CHUNK: usize = 64 << 10;

/// Changes whenever the same data would become another stream: what was compressed before is not used then.
pub const VERSION: u32 = 1;
/// The strongest preset; its dictionary is replaced by one that fits the data.
const PRESET: u32 = 9 | EXTREME;
/// `LZMA_PRESET_EXTREME` of lzma/container.h.
const EXTREME: u32 = 1 << 31;
/// `LZMA_DICT_SIZE_MIN` of lzma/lzma12.h.
const SMALLEST_DICTIONARY: usize = 4096;
/// The longest match that the encoder looks for: LZMA's maximum (`nice` in xz(1)).
const LONGEST_MATCH: u32 = 273;

/// Compresses `data`, with and without the x86 branch filter, and returns the shorter stream.
///
/// # Errors
/// None for data that fits in memory; liblzma's word otherwise.
pub fn compress(data: &[u8]) -> io::Result<Vec<u8>> {
    let (plain, filtered) = std::thread::scope(|scope| {
        let plain = scope.spawn(|| encode(data, false));
        let filtered = encode(data, true);
        (plain.join(), filtered)
    });
    let plain = plain.map_err(|_| io::Error::other("the xz encoder panicked"))??;
    let filtered = filtered?;
    Ok(if filtered.len() < plain.len() {
        filtered
    } else {
        plain
    })
}

fn encode(data: &[u8], x86: bool) -> io::Result<Vec<u8>> {
    let dictionary = data
        .len()
        .next_power_of_two()
        .clamp(SMALLEST_DICTIONARY, 1 << 26);
    let mut options = LzmaOptions::new_preset(PRESET)?;
    options.dict_size(u32::try_from(dictionary).map_err(io::Error::other)?);
    options.nice_len(LONGEST_MATCH);
    // xz -9e would use lc=3: Debian's busybox comes to 835,772 bytes with it, to 834,548 with
    // lc=4. lp and pb make less of a difference.
    options.literal_context_bits(4);
    let mut filters = Filters::new();
    if x86 {
        filters.x86();
    }
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
    let mut encoder = xz2::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(data)?;
    encoder.finish()
}

/// Unpacks one xz stream, at most `limit` bytes of content.
///
/// # Errors
/// A damaged stream, or one that holds more than `limit`.
pub fn decompress(packed: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    decompress_first(packed, limit).map(|(content, _)| content)
}

/// Unpacks the xz stream that `packed` begins with, whatever follows it: at most `limit` bytes of
/// content, and the length of the stream.
///
/// # Errors
/// A damaged stream, or one that holds more than `limit`.
pub fn decompress_first(packed: &[u8], limit: u64) -> io::Result<(Vec<u8>, usize)> {
    let too_large = || io::Error::other(format!("the xz stream holds more than {limit} bytes"));
    let mut stream = Stream::new_stream_decoder(u64::MAX, 0)?;
    let mut content = Vec::new();
    loop {
        content.reserve(CHUNK);
        let consumed = usize::try_from(stream.total_in()).map_err(io::Error::other)?;
        let rest = packed.get(consumed..).unwrap_or_default();
        let before = stream.total_out();
        let status = stream.process_vec(rest, &mut content, Action::Run)?;
        if stream.total_out() > limit {
            return Err(too_large());
        }
        if status == Status::StreamEnd {
            let length = usize::try_from(stream.total_in()).map_err(io::Error::other)?;
            return Ok((content, length));
        }
        if rest.is_empty() && stream.total_out() == before {
            return Err(io::Error::other("the xz stream is cut short"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn xz_unpacks_it_and_finds_crc32() {
        let data = std::fs::read("/bin/busybox").unwrap();
        let packed = compress(&data).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("busybox.xz");
        std::fs::write(&file, &packed).unwrap();
        let unpacked = Command::new("xz")
            .arg("-dc")
            .arg(&file)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(unpacked.status.success());
        assert_eq!(unpacked.stdout, data);
        let listing = Command::new("xz")
            .args(["--list", "--verbose", "--verbose"])
            .arg(&file)
            .output()
            .unwrap();
        let listing = String::from_utf8(listing.stdout).unwrap();
        assert!(
            listing.contains("CRC32") && listing.contains("--x86"),
            "{listing}"
        );
    }

    #[test]
    fn the_filter_is_left_out_where_it_does_not_help() {
        let text = "what costs time on a bad link\n".repeat(500);
        let packed = compress(text.as_bytes()).unwrap();
        assert_eq!(packed, encode(text.as_bytes(), false).unwrap());
        assert_eq!(decompress(&packed, 1 << 20).unwrap(), text.as_bytes());
    }

    #[test]
    fn what_follows_a_stream_is_left_alone() {
        let mut packed = compress(b"the first").unwrap();
        let length = packed.len();
        packed.extend([0; 9]);
        packed.extend(compress(b"another").unwrap());
        let first = decompress_first(&packed, 1 << 20).unwrap();
        assert_eq!(first, (b"the first".to_vec(), length));
    }

    #[test]
    fn a_stream_beyond_the_limit_is_refused() {
        let packed = compress(&vec![0; 100_000]).unwrap();
        assert!(decompress(&packed, 99_999).is_err());
    }

    #[test]
    fn a_stream_that_is_cut_short_ends_in_an_error() {
        let packed = compress(b"some text, not much").unwrap();
        for end in 0..packed.len() {
            assert!(decompress(&packed[..end], 1 << 20).is_err(), "{end}");
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut packed = compress(&std::fs::read("/bin/busybox").unwrap()).unwrap();
        let middle = packed.len() / 2;
        packed[middle] ^= 0x10;
        assert!(decompress(&packed, 1 << 30).is_err());
    }
}
