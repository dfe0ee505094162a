//! What an ELF file says about itself, out of the few blocks of it that say so: a system has gigabytes of such files.
//!
//! The rest is left zero, in memory that costs nothing until it is written to.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use kedge_elf::Object;
use kedge_sysroot::Sysroot;

use super::LONGEST_OBJECT;
use crate::memory::has_room;

/// The ELF header, the program headers, and in most files the notes.
const HEAD: usize = 4096;
/// No dynamic section, string table or table of versions is longer.
const LONGEST_TABLE: u64 = 16 << 20;

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_NOTE: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERNEED: u64 = 0x6fff_fffe;
/// As much of `.gnu.version_d` and `.gnu.version_r`, whose lengths only the section headers have, as is read.
const VERSIONS: u64 = 64 << 10;

/// Reads it, as far as it can be read; `None` when it is no ELF file.
pub(super) fn read(root: &Sysroot, path: &Path) -> Option<Object> {
    let file = root.open_file(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).ok()?;
    if !kedge_elf::is_elf(&magic) || length > LONGEST_OBJECT || !has_room(length) {
        return None;
    }
    let mut parts = Parts {
        file,
        bytes: vec![0; usize::try_from(length).ok()?],
    };
    parts.fill(0, HEAD as u64);
    // A table that leads nowhere is absent, as in `Object::read`.
    let _ = parts.tables();
    Object::read(&parts.bytes)
}

struct Parts {
    file: File,
    bytes: Vec<u8>,
}

impl Parts {
    fn fill(&mut self, from: u64, length: u64) {
        let end = from.saturating_add(length.min(LONGEST_TABLE));
        let end = end.min(self.bytes.len() as u64);
        let (Ok(mut from), Ok(end)) = (usize::try_from(from), usize::try_from(end)) else {
            return;
        };
        while from < end {
            match self.file.read_at(&mut self.bytes[from..end], from as u64) {
                Ok(count @ 1..) => from += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }

    /// A field of 2, 4 or 8 bytes.
    fn number(&self, at: u64, size: usize) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let field = self.bytes.get(at..at.checked_add(size)?)?;
        let digits = |sum: u64, &byte: &u8| sum << 8 | u64::from(byte);
        Some(match self.bytes.get(5)? {
            2 => field.iter().fold(0, digits),
            _ => field.iter().rev().fold(0, digits),
        })
    }

    /// Fills in what `Object::read` looks at.
    fn tables(&mut self) -> Option<()> {
        let is_64 = *self.bytes.get(4)? == 2;
        let word = if is_64 { 8 } else { 4 };
        let from = self.number(if is_64 { 32 } else { 28 }, word)?;
        let size = self.number(if is_64 { 54 } else { 42 }, 2)?;
        let count = self.number(if is_64 { 56 } else { 44 }, 2)?.min(256);
        self.fill(from, size * count);
        let (mut loads, mut dynamic) = (Vec::new(), None);
        for index in 0..count {
            let header = from.checked_add(index * size)?;
            let field = |at_64: u64, at_32: u64| {
                let at = if is_64 { at_64 } else { at_32 };
                self.number(header.checked_add(at)?, word)
            };
            let (offset, address, length) = (field(8, 4)?, field(16, 8)?, field(32, 16)?);
            match self.number(header, 4)? {
                PT_LOAD => loads.push((offset, address, length)),
                PT_DYNAMIC => dynamic = Some((offset, length)),
                PT_INTERP | PT_NOTE => self.fill(offset, length.min(HEAD as u64)),
                _ => {}
            }
        }
        let (offset, length) = dynamic?;
        self.fill(offset, length);
        let place = |address: u64| {
            let inside = |&&(_, from, length): &&(u64, u64, u64)| {
                address.checked_sub(from).is_some_and(|into| into < length)
            };
            loads
                .iter()
                .find(inside)
                .and_then(|(offset, from, _)| offset.checked_add(address - from))
        };
        let (mut strings, mut strings_length, mut versions) = (None, 0, Vec::new());
        for entry in 0..length.min(LONGEST_TABLE) / (2 * word as u64) {
            let at = offset.checked_add(entry * 2 * word as u64)?;
            let value = at.checked_add(word as u64)?;
            let (Some(tag), Some(value)) = (self.number(at, word), self.number(value, word)) else {
                break;
            };
            match tag {
                0 => break,
                DT_STRTAB => strings = place(value),
                DT_STRSZ => strings_length = value,
                DT_VERDEF | DT_VERNEED => versions.extend(place(value)),
                _ => {}
            }
        }
        self.fill(strings?, strings_length);
        versions.into_iter().for_each(|at| self.fill(at, VERSIONS));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole file is the reference.
    #[test]
    fn the_parts_say_what_the_whole_says() {
        let root = Sysroot::open(Path::new("/")).unwrap();
        let mut looked = 0;
        for folder in [
            "usr/bin",
            "usr/lib/x86_64-linux-gnu",
            "usr/i686-linux-gnu/lib",
            "usr/s390x-linux-gnu/lib",
        ] {
            for name in root.read_dir(Path::new(folder)).unwrap_or_default() {
                let path = Path::new(folder).join(name.name);
                let Ok(bytes) = root.read(&path, 1 << 20) else {
                    continue;
                };
                let whole = Object::read(&bytes);
                assert_eq!(read(&root, &path), whole, "{}", path.display());
                looked += usize::from(whole.is_some());
            }
        }
        assert!(looked > 100, "{looked}");
    }

    #[test]
    fn damaged_headers_neither_panic_nor_hang() {
        let whole = std::fs::read("/bin/ls").unwrap();
        let folder = std::env::temp_dir().join(format!("kedge-partial-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let root = Sysroot::open(&folder).unwrap();
        for bit in 0..1024 * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(folder.join("x"), &bytes).unwrap();
            let _ = read(&root, Path::new("x"));
            if bit % 16 == 0 {
                std::fs::write(folder.join("x"), &bytes[..bit]).unwrap();
                let _ = read(&root, Path::new("x"));
            }
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
