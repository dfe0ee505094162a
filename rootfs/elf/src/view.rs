//! An ELF file as far as it can be read: every table clipped to the file, nothing judged.
//!
//! goblin reads the records; the walk from one table to the next is ours, because goblin gives up at the first thing that
//! is wrong, and what is wrong is what we are here for.

use std::ops::Range;

use goblin::container::{Container, Ctx, Endian};
use goblin::elf::dynamic::{DT_NEEDED, DT_NULL, DT_SONAME, DT_STRSZ, DT_STRTAB};
use goblin::elf::header::{EI_CLASS, EI_DATA, ELFCLASS32, ELFCLASS64, ELFDATA2LSB, ELFDATA2MSB};
use goblin::elf::program_header::{
    PT_DYNAMIC, PT_GNU_PROPERTY, PT_GNU_RELRO, PT_INTERP, PT_LOAD, PT_TLS,
};
use goblin::elf::section_header::{SHF_ALLOC, SHT_DYNAMIC, SHT_NOBITS, SHT_NOTE};
use goblin::elf::{Elf, Header, ProgramHeader, SectionHeader};

/// More than any linker writes; a table is not read past it.
const MOST_PROGRAM_HEADERS: usize = 256;
const MOST_DYNAMIC_ENTRIES: usize = 4096;

/// Longer than any symbol's name; a text without an end is not searched for it any further.
pub(crate) const LONGEST_TEXT: u64 = 1 << 16;

/// Longest name of a file (`NAME_MAX`), and longer than any version's; thousands of records may point to one text.
const LONGEST_SHORT_NAME: u64 = 256;

/// As much of a section's name as is shown.
const SHOWN_NAME: u64 = 100;

/// Of the dynamic section; goblin has no names for them.
pub(crate) const DT_AUXILIARY: u64 = 0x7fff_fffd;
pub(crate) const DT_FILTER: u64 = 0x7fff_ffff;

/// The magic number of every ELF file.
pub(crate) const MAGIC: [u8; 4] = *b"\x7fELF";

/// One entry of the dynamic section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// `d_tag`.
    pub(crate) tag: u64,
    /// `d_val` or `d_ptr`.
    pub(crate) value: u64,
    /// Where it is in the file.
    pub(crate) at: u64,
}

/// A section header and its name.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) header: SectionHeader,
}

impl Section {
    pub(crate) fn is_loaded(&self) -> bool {
        self.header.sh_flags & u64::from(SHF_ALLOC) != 0
    }

    pub(crate) fn is_in_file(&self) -> bool {
        self.header.sh_type != SHT_NOBITS
    }

    /// In bytes of the file.
    pub(crate) fn range(&self) -> Range<u64> {
        let start = self.header.sh_offset;
        let size = if self.is_in_file() {
            self.header.sh_size
        } else {
            0
        };
        start..start.saturating_add(size)
    }

    /// In memory.
    pub(crate) fn addresses(&self) -> Range<u64> {
        self.header.sh_addr..self.header.sh_addr.saturating_add(self.header.sh_size)
    }
}

/// What could be read.
pub(crate) struct View<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) header: Header,
    pub(crate) ctx: Ctx,
    /// All program headers that lie in the file.
    pub(crate) programs: Vec<ProgramHeader>,
    /// All section headers, when the table lies in the file as a whole.
    pub(crate) sections: Vec<Section>,
    /// The dynamic section, up to `DT_NULL`.
    pub(crate) dynamic: Vec<Entry>,
    /// All of the dynamic section, what is behind `DT_NULL` included.
    pub(crate) dynamic_range: Range<u64>,
    /// `DT_STRTAB`, clipped to the file.
    strings: Range<u64>,
    kind: Kind,
}

/// What kind of file it is: asked for each entry of a table, and found out once.
#[derive(Clone, Copy, Default)]
struct Kind {
    for_linux: bool,
    edited: bool,
    debug: bool,
}

impl<'a> View<'a> {
    /// None when it is too short for a header, or its class and byte order cannot even be guessed.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<View<'a>> {
        let ctx = context(bytes)?;
        let mut start = [0; 64];
        let length = bytes.len().min(64);
        start[..length].copy_from_slice(&bytes[..length]);
        if length < header_size(ctx) {
            return None;
        }
        start[..4].copy_from_slice(&MAGIC);
        start[EI_CLASS] = if ctx.is_big() { ELFCLASS64 } else { ELFCLASS32 };
        start[EI_DATA] = if ctx.is_little_endian() {
            ELFDATA2LSB
        } else {
            ELFDATA2MSB
        };
        let header = Elf::parse_header(&start).ok()?;
        let mut view = View {
            bytes,
            header,
            ctx,
            programs: Vec::new(),
            sections: Vec::new(),
            dynamic: Vec::new(),
            dynamic_range: 0..0,
            strings: 0..0,
            kind: Kind::default(),
        };
        view.read_programs();
        view.read_sections();
        view.read_dynamic();
        view.strings = view.find_strings();
        view.kind = Kind {
            for_linux: view.find_for_linux(),
            edited: view.find_edited(),
            debug: view.find_debug(),
        };
        Some(view)
    }

    pub(crate) fn is_64(&self) -> bool {
        self.ctx.is_big()
    }

    /// 4 or 8.
    pub(crate) fn word_size(&self) -> u64 {
        self.ctx.size() as u64
    }

    /// Of the file.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_programs(&mut self) {
        let size = ProgramHeader::size(self.ctx) as u64;
        let start = self.header.e_phoff;
        let room = self.len().saturating_sub(start) / size;
        let count = usize::from(self.header.e_phnum).min(room as usize);
        let count = count.min(MOST_PROGRAM_HEADERS);
        if count > 0 {
            self.programs = ProgramHeader::parse(self.bytes, start as usize, count, self.ctx)
                .unwrap_or_default();
        }
    }

    /// The program header at an index, also one behind the end of the table.
    pub(crate) fn program_at(&self, index: usize) -> Option<ProgramHeader> {
        let size = ProgramHeader::size(self.ctx) as u64;
        let start = self
            .header
            .e_phoff
            .checked_add(size.checked_mul(index as u64)?)?;
        self.part(start..start.checked_add(size)?)?;
        ProgramHeader::parse(self.bytes, start as usize, 1, self.ctx)
            .ok()?
            .pop()
    }

    fn read_sections(&mut self) {
        let size = SectionHeader::size(self.ctx) as u64;
        let start = self.header.e_shoff;
        if start == 0 || self.len().saturating_sub(start) < size {
            return;
        }
        // Zero: more than the field can hold, and the first entry says how many; goblin reads it there.
        let count = usize::from(self.header.e_shnum);
        let headers = SectionHeader::parse_from(self.bytes, start as usize, count, self.ctx);
        let headers = headers.unwrap_or_default();
        let mut names = usize::from(self.header.e_shstrndx);
        if let (0xffff, Some(first)) = (names, headers.first()) {
            names = first.sh_link as usize;
        }
        let names = headers
            .get(names)
            .map(|s| s.sh_offset..s.sh_offset.saturating_add(s.sh_size));
        let name = |header: &SectionHeader| {
            let names = names.clone()?;
            let start = names.start.checked_add(header.sh_name as u64)?;
            let name = self.part(
                start
                    ..start
                        .saturating_add(SHOWN_NAME)
                        .min(names.end)
                        .min(self.len()),
            )?;
            Some(escaped(&name[..end_of_text(name).unwrap_or(name.len())]))
        };
        let named = |header: SectionHeader| Section {
            name: name(&header).unwrap_or_default(),
            header,
        };
        self.sections = headers.into_iter().map(named).collect();
    }

    fn read_dynamic(&mut self) {
        let program = self.programs.iter().find(|p| p.p_type == PT_DYNAMIC);
        let range = match program {
            Some(program) => program.p_offset..program.p_offset.saturating_add(program.p_filesz),
            None => return,
        };
        let range = range.start.min(self.len())..range.end.min(self.len());
        self.dynamic_range = range.clone();
        let size = 2 * self.word_size();
        let mut at = range.start;
        while at + size <= range.end && self.dynamic.len() < MOST_DYNAMIC_ENTRIES {
            let (Some(tag), Some(value)) = (self.word(at), self.word(at + size / 2)) else {
                return;
            };
            if tag == DT_NULL {
                return;
            }
            self.dynamic.push(Entry { tag, value, at });
            at += size;
        }
    }

    fn find_strings(&self) -> Range<u64> {
        let start = self.tag(DT_STRTAB).and_then(|e| self.offset(e.value));
        let (Some(start), Some(size)) = (start, self.tag(DT_STRSZ)) else {
            return 0..0;
        };
        start..start.saturating_add(size.value).min(self.len())
    }

    /// The first entry with this tag.
    pub(crate) fn tag(&self, tag: u64) -> Option<Entry> {
        self.dynamic.iter().find(|e| e.tag == tag).copied()
    }

    /// `DT_STRTAB` in the file.
    pub(crate) fn strings(&self) -> Range<u64> {
        self.strings.clone()
    }

    /// A string of `DT_STRTAB`.
    pub(crate) fn string(&self, index: u64) -> Option<&'a [u8]> {
        self.text(self.strings.start.checked_add(index)?, self.strings.end)
    }

    /// A library's or version's name of `DT_STRTAB`; none that is longer than those can be.
    pub(crate) fn short_name(&self, index: u64) -> Option<&'a [u8]> {
        let start = self.strings.start.checked_add(index)?;
        let end = start.saturating_add(LONGEST_SHORT_NAME);
        self.text(start, end.min(self.strings.end))
    }

    /// `PT_LOAD`s.
    pub(crate) fn loads(&self) -> impl Iterator<Item = &ProgramHeader> {
        self.programs.iter().filter(|p| p.p_type == PT_LOAD)
    }

    /// Where the byte with this address is in the file.
    pub(crate) fn offset(&self, address: u64) -> Option<u64> {
        let load = self.loads().find(|p| {
            address
                .checked_sub(p.p_vaddr)
                .is_some_and(|into| into < p.p_filesz)
        })?;
        let offset = load.p_offset.checked_add(address - load.p_vaddr)?;
        (offset < self.len()).then_some(offset)
    }

    /// The `PT_LOAD` that has this address in memory.
    pub(crate) fn load_of(&self, address: u64) -> Option<&ProgramHeader> {
        self.loads().find(|p| {
            address
                .checked_sub(p.p_vaddr)
                .is_some_and(|into| into < p.p_memsz)
        })
    }

    pub(crate) fn section_named(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// These bytes of the file, if it has them.
    pub(crate) fn part(&self, range: Range<u64>) -> Option<&'a [u8]> {
        self.bytes
            .get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    fn array<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        self.part(at..at.checked_add(N as u64)?)?.try_into().ok()
    }

    pub(crate) fn u16(&self, at: u64) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(if self.ctx.is_little_endian() {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    }

    pub(crate) fn u32(&self, at: u64) -> Option<u32> {
        let bytes = self.array(at)?;
        Some(if self.ctx.is_little_endian() {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }

    pub(crate) fn u64(&self, at: u64) -> Option<u64> {
        let bytes = self.array(at)?;
        Some(if self.ctx.is_little_endian() {
            u64::from_le_bytes(bytes)
        } else {
            u64::from_be_bytes(bytes)
        })
    }

    /// As wide as an address.
    pub(crate) fn word(&self, at: u64) -> Option<u64> {
        if self.is_64() {
            self.u64(at)
        } else {
            self.u32(at).map(u64::from)
        }
    }

    /// A word as it is written in this file.
    pub(crate) fn word_bytes(&self, word: u64) -> Vec<u8> {
        let size = self.word_size() as usize;
        match self.ctx.is_little_endian() {
            true => word.to_le_bytes()[..size].to_vec(),
            false => word.to_be_bytes()[8 - size..].to_vec(),
        }
    }

    /// The text at `start` up to its NUL, which must be before `end`.
    pub(crate) fn text(&self, start: u64, end: u64) -> Option<&'a [u8]> {
        let bytes =
            self.part(start..end.min(start.saturating_add(LONGEST_TEXT)).min(self.len()))?;
        Some(&bytes[..end_of_text(bytes)?])
    }

    /// The interpreter's path.
    pub(crate) fn interpreter(&self) -> Option<&'a [u8]> {
        let program = self.programs.iter().find(|p| p.p_type == PT_INTERP)?;
        self.text(
            program.p_offset,
            program.p_offset.checked_add(program.p_filesz)?,
        )
    }

    /// Loaded by Linux: a program or a library. Firmware, boot loaders and objects to be linked obey other rules.
    pub(crate) fn is_for_linux(&self) -> bool {
        self.kind.for_linux
    }

    fn find_for_linux(&self) -> bool {
        let has = |kinds: &[u32]| self.programs.iter().any(|p| kinds.contains(&p.p_type));
        let dynamic = has(&[PT_DYNAMIC])
            || self
                .sections
                .iter()
                .any(|s| s.header.sh_type == SHT_DYNAMIC && s.is_loaded());
        // Firmware and boot loaders can have a dynamic section too, but none of these.
        has(&[PT_INTERP])
            || dynamic
                && (has(&[PT_GNU_RELRO, PT_GNU_PROPERTY, PT_TLS])
                    || [DT_NEEDED, DT_SONAME]
                        .iter()
                        .any(|&tag| self.tag(tag).is_some())
                    || [".interp", ".gnu.version"]
                        .iter()
                        .any(|name| self.section_named(name).is_some()))
    }

    /// A tool went over it after the linker: patchelf, which moves what grows behind everything else, or BOLT, which moves
    /// code. Program headers and section headers no longer come of one plan.
    pub(crate) fn was_edited(&self) -> bool {
        self.kind.edited
    }

    fn find_edited(&self) -> bool {
        let moved = |address: u64| {
            let first = [
                ".interp",
                ".dynstr",
                ".dynsym",
                ".gnu.hash",
                ".gnu.version",
                ".note.gnu.build-id",
                ".note.ABI-tag",
            ];
            first
                .iter()
                .filter_map(|name| self.section_named(name))
                .any(|s| s.is_loaded() && s.header.sh_addr > address)
        };
        self.sections
            .iter()
            .any(|s| s.name.starts_with(".bolt.org") || s.name == ".note.bolt_info")
            || self
                .section_named(".dynamic")
                .is_some_and(|s| moved(s.header.sh_addr))
    }

    /// A file of debugging symbols apart from its program (`objcopy --only-keep-debug`): its program headers speak of
    /// bytes that are elsewhere.
    pub(crate) fn is_debug_file(&self) -> bool {
        self.kind.debug
    }

    fn find_debug(&self) -> bool {
        let loaded = || {
            self.sections
                .iter()
                .filter(|s| s.is_loaded() && s.header.sh_type != SHT_NOTE)
        };
        let absent = loaded().filter(|s| !s.is_in_file()).count();
        absent > 2 && absent * 10 > loaded().count() * 9
    }
}

fn end_of_text(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b == 0)
}

/// Text of a hostile file, fit for a terminal.
pub(crate) fn escaped(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

fn header_size(ctx: Ctx) -> usize {
    if ctx.is_big() { 64 } else { 52 }
}

/// Class and byte order; where those bytes are damaged, what the rest of the header tells: its own size, 64 or 52.
fn context(bytes: &[u8]) -> Option<Ctx> {
    let ident = bytes.get(..16)?;
    let size = |at: usize, little: bool| {
        let bytes: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        })
    };
    // Size of the header, and of a program header behind it.
    let is_64 = |little| size(52, little) == Some(64) && matches!(size(54, little), Some(56 | 0));
    let is_32 = |little| size(40, little) == Some(52) && matches!(size(42, little), Some(32 | 0));
    let fits = |little| is_64(little) || is_32(little);
    let little = match ident[EI_DATA] {
        ELFDATA2LSB => fits(true) || !fits(false),
        ELFDATA2MSB => fits(true) && !fits(false),
        _ => size(52, true) == Some(64) || size(40, true) == Some(52),
    };
    let big = match ident[EI_CLASS] {
        ELFCLASS32 => is_64(little) && !is_32(little),
        ELFCLASS64 => is_64(little) || !is_32(little),
        _ if size(52, little) == Some(64) => true,
        _ if size(40, little) == Some(52) => false,
        _ => return None,
    };
    let container = if big {
        Container::Big
    } else {
        Container::Little
    };
    Some(Ctx::new(
        container,
        if little { Endian::Little } else { Endian::Big },
    ))
}
