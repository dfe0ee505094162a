//! Where things are in a 64-bit little-endian ELF file: as much as is needed to damage one on purpose (gABI, "Program Header", "Dynamic
//! Section"). It is not what judges the tools: it only reads whole files.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

/// Entries of the dynamic section.
pub const DT_RELA: u64 = 7;
/// The size of that table.
pub const DT_RELASZ: u64 = 8;
/// How many of its first entries are R_X86_64_RELATIVE; glibc asserts that they are.
pub const DT_RELACOUNT: u64 = 0x6fff_fff9;

/// The size of an Elf64_Rela, and where in it r_info is.
pub const RELA: u64 = 24;
/// See [`RELA`].
pub const R_INFO: u64 = 8;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;

/// A whole file.
#[derive(Debug)]
pub struct Elf64<'a> {
    bytes: &'a [u8],
    /// Type, file range and address of each segment.
    segments: Vec<(u32, Range<u64>, u64)>,
}

impl<'a> Elf64<'a> {
    /// Reads the program headers.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        ensure!(
            bytes.starts_with(b"\x7fELF\x02\x01"),
            "this is no ELF64 file"
        );
        let table = number(bytes, 0x20, 8)?;
        let segments = (0..number(bytes, 0x38, 2)?).map(|n| {
            let at = table + n * 56;
            let field = |offset, size| number(bytes, at + offset, size);
            let begin = field(8, 8)?;
            Ok((
                field(0, 4)? as u32,
                begin..begin + field(32, 8)?,
                field(16, 8)?,
            ))
        });
        Ok(Self {
            bytes,
            segments: segments.collect::<Result<_>>()?,
        })
    }

    /// Where in the file the byte is that is loaded to `address`.
    pub fn offset(&self, address: u64) -> Result<u64> {
        let loaded = self.segments.iter().filter(|(kind, _, _)| *kind == PT_LOAD);
        for (_, file, start) in loaded {
            if address >= *start && address - start < file.end - file.start {
                return Ok(file.start + address - start);
            }
        }
        anyhow::bail!("no segment has address {address:#x}")
    }

    /// The file range of the dynamic section.
    pub fn dynamic_section(&self) -> Result<Range<u64>> {
        let mut found = self
            .segments
            .iter()
            .filter(|(kind, _, _)| *kind == PT_DYNAMIC);
        Ok(found.next().context("it has no dynamic section")?.1.clone())
    }

    /// The value of an entry of the dynamic section.
    pub fn dynamic(&self, tag: u64) -> Result<u64> {
        let section = self.dynamic_section()?;
        let mut at = section.start;
        while at + 16 <= section.end {
            if number(self.bytes, at, 8)? == tag {
                return number(self.bytes, at + 8, 8);
            }
            at += 16;
        }
        anyhow::bail!("the dynamic section has no entry {tag:#x}")
    }

    /// Where in the file r_info of relative relocation `n` is, counted as ld.so does, from the first.
    pub fn relative_relocation_info(&self, n: u64) -> Result<u64> {
        let count = self.dynamic(DT_RELACOUNT)?;
        ensure!(n < count, "there are {count} relative relocations");
        Ok(self.offset(self.dynamic(DT_RELA)?)? + n * RELA + R_INFO)
    }
}

/// An unsigned number of 2, 4 or 8 bytes.
fn number(bytes: &[u8], at: u64, size: usize) -> Result<u64> {
    let at = usize::try_from(at)?;
    let bytes = at.checked_add(size).and_then(|end| bytes.get(at..end));
    let mut value = [0; 8];
    value[..size].copy_from_slice(bytes.context("the file ends there")?);
    Ok(u64::from_le_bytes(value))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::child::output;

    #[test]
    fn the_tables_are_where_readelf_finds_them() -> Result<()> {
        // This test itself: position-independent, so it has relative relocations.
        let program = std::env::current_exe()?;
        let bytes = std::fs::read(&program)?;
        let elf = Elf64::read(&bytes)?;
        let said = output(Command::new("readelf").arg("-dW").arg(&program), None)?;
        let said = String::from_utf8(said)?;
        let value = |name: &str| {
            let line = said.lines().find(|line| line.contains(name))?;
            line.split_whitespace().last().map(str::to_owned)
        };
        assert_eq!(
            value("(RELACOUNT)"),
            Some(elf.dynamic(DT_RELACOUNT)?.to_string())
        );
        assert_eq!(
            value("(RELA)"),
            Some(format!("{:#x}", elf.dynamic(DT_RELA)?))
        );
        // R_X86_64_RELATIVE is 8, and names no symbol.
        let last = elf.dynamic(DT_RELACOUNT)? - 1;
        for n in [0, last] {
            assert_eq!(number(&bytes, elf.relative_relocation_info(n)?, 8)?, 8);
        }
        assert!(elf.relative_relocation_info(last + 1).is_err());
        Ok(())
    }
}
