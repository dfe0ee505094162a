//! What was found, for people and as JSON.

use std::fmt::Write;

use kedge_json::{array, number, object, text};

use crate::compare::{Comparison, Difference, RANGES, Range};
use crate::kind;
use crate::source::{Bytes, Source};

/// What a file is.
pub(crate) fn kind_json(source: &Source, offset: u64) -> String {
    let kind = kind::at(source, 0);
    let mut members = vec![
        ("file", text(&source.path.to_string_lossy())),
        ("size", source.size().to_string()),
        ("kind", text(kind.name)),
        ("text", text(&kind.text)),
        ("body", number(kind.body)),
    ];
    if offset > 0 {
        let there = kind::at(source, offset);
        members.push(("offset", offset.to_string()));
        members.push(("kind_there", text(there.name)));
        members.push(("text_there", text(&there.text)));
    }
    object(&members) + "\n"
}

/// What differs, in lines.
pub(crate) fn comparison(found: &Comparison, block: usize, names: (&str, &str)) -> String {
    let mut out = String::new();
    if found.is_same() {
        let (a, _) = found.sizes;
        return format!("{} and {} are the same: {a} bytes\n", names.0, names.1);
    }
    let _ = writeln!(
        out,
        "{}: {} of {} blocks of {block} bytes differ from {}",
        names.0, found.differing, found.blocks, names.1
    );
    for line in differences(found, block) {
        out += &line;
        out.push('\n');
    }
    out
}

/// Each range that differs in a line, and what is missing or too much at the end.
pub(crate) fn differences(found: &Comparison, block: usize) -> Vec<String> {
    let (a, b) = found.sizes;
    let range = |range: &Range| {
        let end = range.start + range.length;
        format!("{:#x}-{end:#x}  {}", range.start, line(range, block))
    };
    let mut lines: Vec<String> = found.ranges.iter().map(range).collect();
    if found.more {
        lines.push(format!(
            "and more: only the first {RANGES} ranges are shown"
        ));
    }
    if a < b {
        let missing = b - a;
        lines.push(format!(
            "cut short: ends at {a:#x}, {missing} bytes are missing"
        ));
    } else if a > b {
        lines.push(format!("too long: {} bytes more, from {b:#x} on", a - b));
    }
    lines
}

fn line(range: &Range, block: usize) -> String {
    let blocks = range.length.div_ceil(block as u64);
    let blocks = match blocks {
        1 => format!("block {}", range.start / block as u64),
        _ => format!("{blocks} blocks from {}", range.start / block as u64),
    };
    let what = match &range.difference {
        Difference::Bits(list) => list.iter().map(bits).collect::<Vec<_>>().join(", "),
        Difference::Filled(byte) => format!("filled with 0x{byte:02x}"),
        Difference::FilledThere(byte) => {
            format!("has content where the other has only 0x{byte:02x}")
        }
        Difference::MovedFrom(from) => format!("belongs to {from:#x}: is what the other has there"),
        Difference::Shifted(by) if *by > 0 => format!("{by} bytes are missing in front of it"),
        Difference::Shifted(by) => {
            format!("{} bytes too many are in front of it", by.unsigned_abs())
        }
        Difference::Content(bytes) => format!("other content ({bytes} bytes differ)"),
        Difference::Unreadable => "cannot be read".to_string(),
    };
    format!("{blocks}: {what}")
}

fn bits((offset, here, there): &(u64, u8, u8)) -> String {
    let flipped = here ^ there;
    let what = match flipped.count_ones() {
        1 => format!("bit {}", flipped.trailing_zeros()),
        count => format!("{count} bits"),
    };
    format!("{what} of byte {offset:#x}: {here:02x}, should be {there:02x}")
}

/// What differs, for programs.
pub(crate) fn comparison_json(found: &Comparison, block: usize) -> String {
    let ranges = found.ranges.iter().map(|range| {
        let mut members = vec![
            ("start", range.start.to_string()),
            ("length", range.length.to_string()),
        ];
        let (kind, value) = match &range.difference {
            Difference::Bits(list) => ("bits", array(list.iter().map(byte_json))),
            Difference::Filled(byte) => ("filled", byte.to_string()),
            Difference::FilledThere(byte) => ("filled_there", byte.to_string()),
            Difference::MovedFrom(from) => ("moved_from", from.to_string()),
            Difference::Shifted(by) => ("shifted", by.to_string()),
            Difference::Content(bytes) => ("content", bytes.to_string()),
            Difference::Unreadable => ("unreadable", "null".into()),
        };
        members.extend([("kind", text(kind)), ("value", value)]);
        object(&members)
    });
    let members = [
        ("size", found.sizes.0.to_string()),
        ("good_size", found.sizes.1.to_string()),
        ("block", block.to_string()),
        ("blocks", found.blocks.to_string()),
        ("differing", found.differing.to_string()),
        ("ranges", array(ranges)),
        ("more", found.more.to_string()),
    ];
    object(&members) + "\n"
}

fn byte_json((offset, here, there): &(u64, u8, u8)) -> String {
    object(&[
        ("offset", offset.to_string()),
        ("byte", here.to_string()),
        ("good", there.to_string()),
    ])
}
