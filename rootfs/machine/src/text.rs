//! Text that is fit for a serial console: printable ASCII, sizes in the units of the trade.

/// The longest text taken from a device or a file system.
const LONGEST: usize = 256;

/// Printable ASCII out of anything, on one line: whatever else there is becomes `?`, space at the
/// ends goes. A label must not be able to send a terminal an escape code.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    // On disk, text shorter than its field is filled up with zero bytes.
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    let bytes = bytes[..end].trim_ascii();
    // One mark a character, not one a byte.
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if matches!(c, ' '..='~') { c } else { '?' })
        .collect()
}

/// A disk's size, in decimal units as on its label: `500 GB`, `1.92 TB`.
pub(crate) fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A memory's size, in binary units: `64 GiB`.
pub(crate) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Three digits that count.
fn scaled(bytes: u64, step: u64, units: [&str; 7]) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.5 is shown as 1000, so it belongs to the next unit already.
    while value >= step as f64 - 0.5 && unit < units.len() - 1 {
        value /= step as f64;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    let mut number = format!("{value:.decimals$}");
    if decimals > 0 {
        number.truncate(number.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{number} {}", units[unit])
}

/// At most `width` characters of ASCII text; what is cut off is shown as dots.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    if text.len() <= width {
        return text.to_string();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(3)).collect();
    cut.truncate(cut.trim_end().len());
    cut + "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_printable_ascii_comes_out() {
        assert_eq!(printable(b"  root\0garbage"), "root");
        assert_eq!(printable(b"\x1b[2J\x07a\nb"), "?[2J?a?b");
        assert_eq!(printable("Gr\u{fc}n\u{202e}".as_bytes()), "Gr?n?");
        assert_eq!(printable(b"\xff\xfe"), "??");
        assert_eq!(printable(&[b'x'; 9999]).len(), LONGEST);
    }

    #[test]
    fn sizes_as_they_stand_on_the_label() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_474_560, "1.47 MB"),
            (500_107_862_016, "500 GB"),
            (1_920_383_410_176, "1.92 TB"),
            (16_000_900_661_248, "16 TB"),
            (999_999_999_999, "1 TB"),
            (999_500, "1 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(decimal(bytes), text);
        }
        assert_eq!(binary(64 << 30), "64 GiB");
        assert_eq!(binary((1 << 30) + (1 << 29)), "1.5 GiB");
        assert_eq!(binary(100 << 20), "100 MiB");
    }

    #[test]
    fn long_text_is_cut_and_says_so() {
        assert_eq!(fitted("abcdef", 6), "abcdef");
        assert_eq!(fitted("abcdefg", 6), "abc...");
    }
}
