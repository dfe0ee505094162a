//! What is on a machine's screen: the PNG for people, the VGA text or the pixels for a test.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::qmp::Qmp;

/// The VGA text window (colour text modes): 32 KiB at 0xb8000, two bytes a character.
const TEXT_BASE: u64 = 0xb8000;
const TEXT_SIZE: usize = 0x8000;
const COLUMNS: usize = 80;
const ROWS: usize = 25;

/// CRT controller: index and data port, and the registers of the start address.
const CRTC_INDEX: &str = "0x3d4";
const CRTC_DATA: &str = "0x3d5";
const START_HIGH: u8 = 0x0c;
const START_LOW: u8 = 0x0d;

/// Writes the screen as PNG to `file`, which QEMU makes in its own folder.
pub(crate) fn save(qmp: &mut Qmp, file: &str) -> Result<()> {
    qmp.execute("screendump", json!({ "filename": file, "format": "png" }))?;
    Ok(())
}

/// The 25 lines that are visible in VGA text mode.
///
/// `folder` is QEMU's own, for the copy of the video memory.
pub(crate) fn text(qmp: &mut Qmp, folder: &Path) -> Result<String> {
    let file = "vga.mem";
    // Between two of the guest's accesses to the same registers.
    qmp.execute("stop", json!({}))?;
    let memory = qmp.execute(
        "pmemsave",
        json!({ "val": TEXT_BASE, "size": TEXT_SIZE, "filename": file }),
    );
    let start = start_address(qmp);
    qmp.execute("cont", json!({}))?;
    memory?;
    let path = folder.join(file);
    let memory = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    std::fs::remove_file(&path)?;
    Ok(decode(&memory, start?))
}

/// Where the visible part begins, in characters: the console scrolls by moving it.
fn start_address(qmp: &mut Qmp) -> Result<usize> {
    let index = input(qmp, CRTC_INDEX)?;
    let mut register = |number: u8| {
        qmp.human(&format!("o/b {CRTC_INDEX} {number}"))?;
        input(qmp, CRTC_DATA)
    };
    let (high, low) = (register(START_HIGH)?, register(START_LOW)?);
    qmp.human(&format!("o/b {CRTC_INDEX} {index}"))?;
    Ok(usize::from(high) << 8 | usize::from(low))
}

fn input(qmp: &mut Qmp, port: &str) -> Result<u8> {
    // "portb[0x03d5] = 0xa8"
    let answer = qmp.human(&format!("i/b {port}"))?;
    answer
        .trim()
        .rsplit_once("0x")
        .and_then(|(_, hex)| u8::from_str_radix(hex, 16).ok())
        .with_context(|| format!("reading port {port}: QEMU said {answer:?}"))
}

fn decode(memory: &[u8], start: usize) -> String {
    let cells = memory.len() / 2;
    let mut text = String::new();
    for row in 0..ROWS {
        let line: String = (0..COLUMNS)
            .map(
                |column| match memory[(start + row * COLUMNS + column) % cells * 2] {
                    byte @ 0x20..=0x7e => char::from(byte),
                    _ => ' ',
                },
            )
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How many pixels of the screen differ from its first one: zero is a blank screen.
pub(crate) fn lit_pixels(qmp: &mut Qmp, folder: &Path) -> Result<usize> {
    let file = "screen.ppm";
    qmp.execute("screendump", json!({ "filename": file }))?;
    let path = folder.join(file);
    let image = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    std::fs::remove_file(&path)?;
    let pixels = ppm_pixels(&image).with_context(|| format!("reading {}", path.display()))?;
    Ok(pixels
        .chunks_exact(3)
        .filter(|pixel| *pixel != &pixels[..3])
        .count())
}

/// The pixels of a binary PPM (ppm(5)) without comments, as QEMU writes it.
fn ppm_pixels(image: &[u8]) -> Result<&[u8]> {
    let mut fields = image.splitn(4, |byte| *byte == b'\n');
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(b"P6"), Some(_), Some(b"255"), Some(pixels)) if pixels.len() >= 3 => Ok(pixels),
        _ => bail!("not a PPM as QEMU writes it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_from_where_the_screen_begins() {
        let mut memory = vec![0; TEXT_SIZE];
        let start = TEXT_SIZE / 2 - COLUMNS;
        // The last line of the memory is the first on the screen; the second wraps to its beginning.
        memory[start * 2..][..4].copy_from_slice(b"h\x07i\x07");
        memory[..4].copy_from_slice(b"y\x07o\x07");
        assert!(decode(&memory, start).starts_with("hi\nyo\n\n"));
    }

    #[test]
    fn pixels_come_after_three_header_lines() {
        assert_eq!(ppm_pixels(b"P6\n1 1\n255\n\n\n\n").unwrap(), b"\n\n\n");
        assert!(ppm_pixels(b"P5\n1 1\n255\n1").is_err());
    }
}
