//! The machine in a few lines of at most 80 columns of ASCII, as a serial console shows them.

use std::fmt::Write;

use crate::Machine;
use crate::disks::{Disk, Looked};
use crate::links::{Link, State};
use crate::text::{binary, decimal, fitted};

/// Columns: one less than a terminal has, since some wrap at the last.
const WIDTH: usize = 79;
/// Lines of the short form: with three about how to get in it is at most 15.
const LINES: usize = 12;
/// Those before the links, and room for one after.
const FIXED: usize = 4;
/// Links get so many lines at least before disks take more.
const LINKS: usize = 4;
/// Where a line's text starts, after its title.
const INDENT: usize = 9;

/// The short form: at most 11 lines; what follows (how to get in, what to type next) makes it 15.
pub fn short(machine: &Machine) -> String {
    let room = LINES - FIXED;
    let mut links = physical_first_up(machine);
    let one_a_disk = machine.disks.len().max(1);
    let most = room.saturating_sub(one_a_disk).max(LINKS);
    let links = capped(&mut links, most, "links", |link| vec![link_line(link)]);
    // None of them is a line, too.
    let room = room - links.len().max(1);
    let whole: Vec<Vec<String>> = machine.disks.iter().map(disk_lines).collect();
    let disks = if whole.iter().map(Vec::len).sum::<usize>() <= room {
        whole.concat()
    } else {
        capped(&mut machine.disks.iter().collect(), room, "disks", |disk| {
            vec![brief(disk)]
        })
    };
    assembled(machine, links, disks)
}

/// Everything, on as many lines as it takes.
pub fn all(machine: &Machine) -> String {
    let links = machine.links.iter().map(link_line).collect();
    let disks = machine
        .disks
        .iter()
        .flat_map(|disk| {
            let mut lines = vec![disk_line(disk)];
            match disk.looked {
                Looked::Yes if disk.partitions.is_empty() => lines.extend(content_line(disk)),
                Looked::Yes => lines.extend(disk.partitions.iter().map(|part| {
                    let content = part.content.as_ref().map_or("-".into(), |c| c.words());
                    format!(
                        "{INDENTED}{:<11} {:>7}  {content}",
                        part.name,
                        decimal(part.bytes)
                    )
                })),
                _ => lines.extend(content_line(disk)),
            }
            lines
        })
        .collect();
    assembled(machine, links, disks)
}

/// Under a disk's name.
const INDENTED: &str = "  ";

fn assembled(machine: &Machine, links: Vec<String>, disks: Vec<String>) -> String {
    let mut text = String::new();
    let mut line = |title: &str, content: &str| {
        let line = format!("{title:<INDENT$}{content}");
        let _ = writeln!(text, "{}", fitted(line.trim_end(), WIDTH));
    };
    line(
        "kedge",
        &format!(
            "{}, Linux {}, started by {}",
            machine.version, machine.kernel, machine.firmware
        ),
    );
    line("Machine", &plate(machine));
    line("Memory", &memory(machine));
    section(
        &mut line,
        "Links",
        links,
        "none: no network hardware that this kernel knows",
    );
    section(
        &mut line,
        "Disks",
        disks,
        "none: no disk that this kernel knows",
    );
    text
}

/// A title and the lines that belong under it.
fn section(line: &mut impl FnMut(&str, &str), title: &str, lines: Vec<String>, none: &str) {
    if lines.is_empty() {
        line(title, none);
    }
    for (at, content) in lines.iter().enumerate() {
        line(if at == 0 { title } else { "" }, content);
    }
}

fn plate(machine: &Machine) -> String {
    let plate = &machine.plate;
    let mut name: Vec<&str> = Vec::new();
    if let Some(vendor) = &plate.vendor {
        name.push(vendor);
    }
    if let Some(product) = &plate.product {
        name.push(product);
    }
    let name = if name.is_empty() {
        "of unknown make".into()
    } else {
        name.join(" ")
    };
    let serial = match &plate.serial {
        Some(serial) => format!(", serial number {serial}"),
        None => ", no serial number".into(),
    };
    // The serial number is what is asked for on the telephone: never cut off.
    let room = (WIDTH - INDENT).saturating_sub(serial.len());
    fitted(&name, room) + &serial
}

fn memory(machine: &Machine) -> String {
    let memory = &machine.memory;
    let mut text = match memory.installed {
        Some(installed) => format!("{} installed, ", binary(installed)),
        None => format!("{}, ", binary(memory.total)),
    };
    let cpus = machine.cpus;
    let _ = write!(
        text,
        "{} free; {cpus} {}",
        binary(memory.available),
        if cpus == 1 { "CPU" } else { "CPUs" }
    );
    text
}

/// Links with hardware, those that carry first.
fn physical_first_up(machine: &Machine) -> Vec<&Link> {
    let mut links: Vec<&Link> = machine
        .links
        .iter()
        .filter(|link| link.is_physical())
        .collect();
    links.sort_by_key(|link| !matches!(link.state, State::Up { .. }));
    links
}

/// The lines of as many things as there is room for, and how many more there are.
fn capped<T>(
    things: &mut Vec<T>,
    room: usize,
    what: &str,
    lines: impl Fn(&T) -> Vec<String>,
) -> Vec<String> {
    let more = if things.len() > room {
        let shown = room.saturating_sub(1);
        let more = things.len() - shown;
        things.truncate(shown);
        Some(format!("... and {more} more {what}: kedge banner --all"))
    } else {
        None
    };
    things.iter().flat_map(lines).chain(more).collect()
}

fn link_line(link: &Link) -> String {
    format!(
        "{:<9} {:<12} {:<17}  {}",
        link.name,
        link.state.words(),
        link.mac,
        link.driver.as_deref().unwrap_or("")
    )
}

/// One or two lines.
fn disk_lines(disk: &Disk) -> Vec<String> {
    let mut lines = vec![disk_line(disk)];
    lines.extend(content_line(disk));
    lines
}

fn disk_line(disk: &Disk) -> String {
    let mut words = vec![format!(
        "{:<9} {:>7} ",
        disk.shown_name(),
        decimal(disk.bytes)
    )];
    words.extend(
        [disk.bus.clone(), disk.model.clone()]
            .into_iter()
            .filter(|w| !w.is_empty()),
    );
    words.join(" ")
}

/// A disk on one line: without labels and sizes of its partitions, and its model cut short.
fn brief(disk: &Disk) -> String {
    let content = match disk.looked {
        Looked::NoAnswer => "no answer".into(),
        Looked::Unreadable => "cannot be read".into(),
        Looked::No => "not looked at".into(),
        Looked::Yes if disk.partitions.is_empty() => disk
            .content
            .as_ref()
            .map_or("nothing known", |c| c.kind)
            .into(),
        Looked::Yes => {
            let kinds = disk
                .partitions
                .iter()
                .map(|part| part.content.as_ref().map_or("?", |c| c.kind));
            kinds.collect::<Vec<_>>().join(", ")
        }
    };
    format!("{}: {content}", fitted(&disk_line(disk), 42))
}

fn content_line(disk: &Disk) -> Option<String> {
    let text = match disk.looked {
        Looked::NoAnswer => "no answer within 2 seconds: see dmesg".into(),
        Looked::Unreadable => "cannot be read: see dmesg".into(),
        Looked::No if disk.bus == "CD drive" => return None,
        Looked::No => "not looked at, it can be removed: kedge banner --all".into(),
        Looked::Yes if disk.partitions.is_empty() => match &disk.content {
            Some(content) => format!("all of it: {}", content.words()),
            None => "nothing that is known here".into(),
        },
        Looked::Yes => {
            let parts: Vec<String> = disk
                .partitions
                .iter()
                .map(|part| {
                    let content = part.content.as_ref().map_or("?".into(), |c| c.words());
                    format!("{} {content} {}", part.number, decimal(part.bytes))
                })
                .collect();
            parts.join(", ")
        }
    };
    Some(format!("{INDENTED}{text}"))
}

#[cfg(test)]
#[path = "banner_tests.rs"]
mod tests;
