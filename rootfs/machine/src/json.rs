//! The machine as one JSON object (RFC 8259), for `kedge banner --json`.
//!
//! Written by hand: it is fifty lines, and serde is a hundred kilobytes.

use std::fmt::Write;

use crate::Machine;
use crate::disks::{Disk, Looked};
use crate::links::State;
use crate::superblock::Content;

/// The object, on one line.
///
/// Sizes are in bytes, speeds in megabits per second; what is not known is `null`. `looked` is
/// `yes`, `no` (removable, or attached by USB), `no answer` or
/// `unreadable`.
pub fn json(machine: &Machine) -> String {
    let links = machine.links.iter().map(|link| {
        let (state, speed) = match link.state {
            State::Up { speed } => ("up", speed),
            State::NoCarrier => ("no carrier", None),
            State::Down => ("down", None),
        };
        object(&[
            ("name", text(&link.name)),
            ("mac", text(&link.mac)),
            ("driver", optional(link.driver.as_deref())),
            ("state", text(state)),
            ("speed", number(speed)),
        ])
    });
    let disks = machine.disks.iter().map(disk);
    object(&[
        ("version", text(&machine.version)),
        ("kernel", text(&machine.kernel)),
        ("firmware", text(machine.firmware)),
        ("vendor", optional(machine.plate.vendor.as_deref())),
        ("product", optional(machine.plate.product.as_deref())),
        ("serial", optional(machine.plate.serial.as_deref())),
        ("cpus", machine.cpus.to_string()),
        (
            "memory",
            object(&[
                ("installed", number(machine.memory.installed)),
                ("total", machine.memory.total.to_string()),
                ("available", machine.memory.available.to_string()),
            ]),
        ),
        ("links", array(links)),
        ("disks", array(disks)),
    ])
}

fn disk(disk: &Disk) -> String {
    let looked = match disk.looked {
        Looked::Yes => "yes",
        Looked::No => "no",
        Looked::NoAnswer => "no answer",
        Looked::Unreadable => "unreadable",
    };
    let partitions = disk.partitions.iter().map(|part| {
        object(&[
            ("name", text(&part.name)),
            ("number", part.number.to_string()),
            ("bytes", part.bytes.to_string()),
            ("content", content(part.content.as_ref())),
        ])
    });
    object(&[
        ("name", text(&disk.name)),
        ("model", text(&disk.model)),
        ("bytes", disk.bytes.to_string()),
        ("bus", text(&disk.bus)),
        ("rotates", disk.rotates.to_string()),
        ("looked", text(looked)),
        ("content", content(disk.content.as_ref())),
        ("partitions", array(partitions)),
    ])
}

fn content(content: Option<&Content>) -> String {
    content.map_or("null".into(), |content| {
        object(&[
            ("kind", text(content.kind)),
            ("label", optional(content.label.as_deref())),
        ])
    })
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn array(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(","))
}

fn number<T: ToString>(value: Option<T>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

fn optional(value: Option<&str>) -> String {
    value.map_or("null".into(), text)
}

fn text(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(
            text("a\"b\\c\n\u{1b}\u{1f600}"),
            r#""a\"b\\c\u000a\u001b\ud83d\ude00""#
        );
    }
}
