//! The machine as one JSON object (RFC 8259), for `kedge banner --json`.

use kedge_json::{array, number, object, optional, text};

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
