//! Hex and text side by side, as `hexdump -C` has them.

use std::io::{self, Write};

use crate::source::{Bytes, Stretch, stretch};

/// Bytes in a line.
const LINE: usize = 16;
/// Read at once. A multiple of the line.
const CHUNK: usize = 64 << 10;

/// How to show them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Escape sequences for colours.
    pub(crate) colour: bool,
}

/// Writes `length` bytes from `offset` on.
pub(crate) fn dump(
    bytes: &impl Bytes,
    offset: u64,
    length: u64,
    style: Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let end = bytes.size().min(offset.saturating_add(length));
    let width = if end > u64::from(u32::MAX) { 12 } else { 8 };
    let mut at = offset;
    let mut last: Option<Vec<u8>> = None;
    let mut same = false;
    while at < end {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK);
        match stretch(bytes, at, most) {
            None => break,
            Some(Stretch::Unreadable(count, why)) => {
                let style = if style.colour {
                    ("\x1b[31m", "\x1b[0m")
                } else {
                    ("", "")
                };
                writeln!(
                    out,
                    "{at:0width$x}  {}{count} bytes cannot be read: {why}{}",
                    style.0, style.1
                )?;
                (last, same) = (None, false);
                at += count;
            }
            Some(Stretch::Read(read)) => {
                for line in read.chunks(LINE) {
                    if last.as_deref() == Some(line) && line.len() == LINE {
                        if !same {
                            writeln!(out, "*")?;
                        }
                        same = true;
                    } else {
                        writeln!(out, "{at:0width$x}  {}", text(line, style))?;
                        (last, same) = (Some(line.to_vec()), false);
                    }
                    at += line.len() as u64;
                }
            }
        }
    }
    writeln!(out, "{at:0width$x}")
}

fn text(line: &[u8], style: Style) -> String {
    let (mut hex, mut side) = (String::new(), String::new());
    for i in 0..LINE {
        if i == LINE / 2 {
            hex.push(' ');
        }
        let Some(&byte) = line.get(i) else {
            hex.push_str("   ");
            continue;
        };
        let shown = if byte.is_ascii_graphic() || byte == b' ' {
            char::from(byte)
        } else {
            '.'
        };
        let colour = match byte {
            _ if !style.colour => "",
            0 => "\x1b[90m",
            0xff => "\x1b[35m",
            b' '..=b'~' => "\x1b[32m",
            b'\t' | b'\n' | b'\r' => "\x1b[33m",
            _ => "\x1b[36m",
        };
        let end = if colour.is_empty() { "" } else { "\x1b[0m" };
        hex.push_str(&format!("{colour}{byte:02x}{end} "));
        side.push_str(&format!("{colour}{shown}{end}"));
    }
    format!("{hex} |{side}|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Bad;

    fn dumped(bytes: &impl Bytes, offset: u64, length: u64) -> String {
        let mut out = Vec::new();
        dump(bytes, offset, length, Style { colour: false }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// As `hexdump -C` of bsdmainutils prints it.
    #[test]
    fn it_is_what_hexdump_prints() {
        let bytes = [&b"\x7fELF\x02 ~\xff"[..], &[0; 60], b"end"].concat();
        assert_eq!(
            dumped(&bytes.as_slice(), 0, u64::MAX),
            "\
00000000  7f 45 4c 46 02 20 7e ff  00 00 00 00 00 00 00 00  |.ELF. ~.........|
00000010  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000040  00 00 00 00 65 6e 64                              |....end|
00000047
"
        );
        let part = dumped(&bytes.as_slice(), 0x43, 2);
        assert_eq!(
            part.lines().next().map(|l| &l[..16]),
            Some("00000043  00 65 ")
        );
        assert!(part.ends_with("00000045\n"), "{part}");
    }

    #[test]
    fn what_cannot_be_read_is_a_line_and_it_goes_on() {
        let bad = Bad((0..2048).map(|i| (i % 251) as u8).collect(), 512..1024);
        let text = dumped(&bad, 0x1f0, 0x220);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("000001f0  f5 f6 "), "{text}");
        assert!(
            lines[1].starts_with("00000200  512 bytes cannot be read: Input/output"),
            "{text}"
        );
        assert!(lines[2].starts_with("00000400  14 15 "), "{text}");
        assert_eq!(lines.len(), 4);
    }
}
