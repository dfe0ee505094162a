//! Who made the machine: what its firmware says by SMBIOS (DMI), and how much memory is plugged in.

use std::fs;
use std::path::Path;

use crate::tree::{Tree, attribute};

/// The machine's name plate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plate {
    /// Who made it.
    pub vendor: Option<String>,
    /// Which model it is.
    pub product: Option<String>,
    /// Its serial number, or its main board's.
    pub serial: Option<String>,
}

/// What firmware says when its maker did not fill in the form. Compared without case.
const JUNK: [&str; 20] = [
    "",
    "-",
    "0",
    "00000000",
    "0123456789",
    "123456789",
    "1234567890",
    "default string",
    "empty",
    "filled by oem",
    "invalid",
    "n/a",
    "na",
    "none",
    "not applicable",
    "not specified",
    "system manufacturer",
    "system product name",
    "system serial number",
    "unknown",
];

impl Plate {
    /// Reads it from sysfs.
    pub fn read(tree: &Tree) -> Plate {
        let id = tree.sys.join("class/dmi/id");
        let first = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| attribute(&id.join(name)).filter(|text| !is_junk(text)))
        };
        Plate {
            vendor: first(&["sys_vendor", "board_vendor"]),
            product: first(&["product_name", "board_name"]),
            serial: first(&["product_serial", "chassis_serial", "board_serial"]),
        }
    }
}

fn is_junk(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    JUNK.contains(&text.as_str())
        || text.contains("to be filled by")
        || text.contains("o.e.m.")
        || text
            .bytes()
            .all(|b| matches!(b, b'0' | b'x' | b'.' | b' ' | b'-'))
}

/// Bytes of memory plugged in, as the firmware counts it; `None` when it does not say.
pub(crate) fn memory_installed(tree: &Tree) -> Option<u64> {
    let path = tree.sys.join("firmware/dmi/tables/DMI");
    modules_total(&read_bounded(&path)?)
}

/// SMBIOS tables are a few KiB; the format allows 64 KiB and, from 3.0 on, more.
fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut table = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(1 << 20)
        .read_to_end(&mut table)
        .ok()?;
    Some(table)
}

/// The sizes of all memory devices (DSP0134, 7.18: structure type 17) together.
fn modules_total(table: &[u8]) -> Option<u64> {
    const MEMORY_DEVICE: u8 = 17;
    const END_OF_TABLE: u8 = 127;
    let mut total: u64 = 0;
    let mut rest = table;
    while let [kind, length, ..] = *rest {
        let length = usize::from(length);
        if length < 4 || rest.len() < length || kind == END_OF_TABLE {
            break;
        }
        let structure = &rest[..length];
        if kind == MEMORY_DEVICE {
            total = total.saturating_add(module(structure).unwrap_or(0));
        }
        // Strings follow, ended by two zero bytes.
        let strings = &rest[length..];
        let Some(end) = strings.windows(2).position(|two| two == [0, 0]) else {
            break;
        };
        rest = &strings[end + 2..];
    }
    (total > 0).then_some(total)
}

/// Bytes of one memory device; `None` for an empty slot, or when unknown.
fn module(structure: &[u8]) -> Option<u64> {
    let size = u16::from_le_bytes(structure.get(0x0c..0x0e)?.try_into().ok()?);
    match size {
        0 | 0xffff => None,
        // Does not fit: MiB in the field for it.
        0x7fff => {
            let size = u32::from_le_bytes(structure.get(0x1c..0x20)?.try_into().ok()?);
            Some(u64::from(size & 0x7fff_ffff) << 20)
        }
        size if size & 0x8000 != 0 => Some(u64::from(size & 0x7fff) << 10),
        size => Some(u64::from(size) << 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_not_filled_in_are_left_out() {
        for junk in [
            "To Be Filled By O.E.M.",
            "Default string",
            "0",
            "System Serial Number",
            "xxxx",
            "...",
        ] {
            assert!(is_junk(junk), "{junk}");
        }
        for real in ["7XK2P53", "PowerEdge R640", "QEMU", "VMware-56 4d 00"] {
            assert!(!is_junk(real), "{real}");
        }
    }

    fn device(size: u16, extended: u32) -> Vec<u8> {
        let mut s = vec![0u8; 0x22];
        (s[0], s[1]) = (17, 0x22);
        s[0x0c..0x0e].copy_from_slice(&size.to_le_bytes());
        s[0x1c..0x20].copy_from_slice(&extended.to_le_bytes());
        s.extend(b"DIMM 0\0\0");
        s
    }

    #[test]
    fn memory_modules_are_added_up() {
        let mut table = vec![0, 4, 0, 0, b'x', 0, 0];
        table.extend(device(16 << 10, 0));
        table.extend(device(0, 0));
        table.extend(device(0xffff, 0));
        table.extend(device(0x7fff, 64 << 10));
        table.extend(device(0x8000 | 512, 0));
        table.extend([127, 4, 0, 0, 0, 0]);
        assert_eq!(modules_total(&table), Some((80 << 30) + (512 << 10)));
        // Cut anywhere, it must not panic.
        for end in 0..table.len() {
            modules_total(&table[..end]);
        }
    }
}
