//! Which bytes of a file are which part of it.

use std::ops::Range;

use goblin::elf::dynamic::{
    DT_GNU_HASH, DT_HASH, DT_JMPREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELASZ, DT_RELSZ, DT_SYMTAB,
    DT_VERDEF, DT_VERNEED, DT_VERSYM,
};
use goblin::elf::program_header::PT_NOTE;
use goblin::elf::{ProgramHeader, SectionHeader, Sym};

use crate::Part;
use crate::view::View;

/// `DT_RELR` and `DT_RELRSZ` are younger than goblin's list.
pub(crate) const DT_RELRSZ: u64 = 35;
pub(crate) const DT_RELR: u64 = 36;

/// Which bytes are which part, in the order of the parts; a part may be in several places, and what nothing says anything
/// about is in none. Section headers help where the dynamic section does not say how long something is.
pub fn parts(bytes: &[u8]) -> Vec<(Part, Range<u64>)> {
    let Some(view) = View::read(bytes) else {
        return Vec::new();
    };
    let mut parts = vec![(Part::Header, 0..if view.is_64() { 64 } else { 52 })];
    let mut add = |part, range: Range<u64>| {
        let range = range.start.min(view.len())..range.end.min(view.len());
        if !range.is_empty() {
            parts.push((part, range));
        }
    };
    let (start, size) = (view.header.e_phoff, ProgramHeader::size(view.ctx) as u64);
    add(
        Part::ProgramHeaders,
        start..start.saturating_add(size * u64::from(view.header.e_phnum)),
    );
    let (start, size) = (view.header.e_shoff, SectionHeader::size(view.ctx) as u64);
    add(
        Part::SectionHeaders,
        start..start.saturating_add(size * view.sections.len() as u64),
    );
    add(Part::Dynamic, view.dynamic_range.clone());
    for (table, size) in [
        (DT_RELA, DT_RELASZ),
        (DT_REL, DT_RELSZ),
        (DT_JMPREL, DT_PLTRELSZ),
        (DT_RELR, DT_RELRSZ),
    ] {
        if let Some(range) = table_range(&view, table, size) {
            add(Part::Relocations, range);
        }
    }
    if let Some(start) = pointer(&view, DT_SYMTAB) {
        let size = Sym::size(view.ctx.container) as u64;
        add(
            Part::Symbols,
            start..start.saturating_add(size * symbol_count(&view)),
        );
    }
    add(Part::Strings, view.strings());
    for (part, tag) in [
        (Part::Hash, DT_HASH),
        (Part::Hash, DT_GNU_HASH),
        (Part::Versions, DT_VERSYM),
        (Part::Versions, DT_VERNEED),
        (Part::Versions, DT_VERDEF),
    ] {
        let section = view.tag(tag).and_then(|e| {
            view.sections
                .iter()
                .find(|s| s.header.sh_addr == e.value && s.is_loaded())
        });
        if let Some(section) = section {
            add(part, section.range());
        }
    }
    for note in view.programs.iter().filter(|p| p.p_type == PT_NOTE) {
        add(
            Part::Notes,
            note.p_offset..note.p_offset.saturating_add(note.p_filesz),
        );
    }
    parts.sort_by_key(|(part, range)| (*part as u8, range.start));
    parts
}

/// Where a table of the dynamic section is in the file.
pub(crate) fn table_range(view: &View<'_>, table: u64, size: u64) -> Option<Range<u64>> {
    let start = pointer(view, table)?;
    let size = view.tag(size)?.value;
    (size > 0).then(|| start..start.saturating_add(size))
}

fn pointer(view: &View<'_>, tag: u64) -> Option<u64> {
    view.offset(view.tag(tag)?.value)
}

/// How many dynamic symbols there are: nothing but the hash tables and the section headers says so.
pub(crate) fn symbol_count(view: &View<'_>) -> u64 {
    let size = Sym::size(view.ctx.container) as u64;
    let Some(table) = view.tag(DT_SYMTAB) else {
        return 0;
    };
    let room = view
        .offset(table.value)
        .map_or(0, |at| view.len().saturating_sub(at) / size);
    let of_section = || {
        let symbols = view.sections.iter().find(|s| {
            s.header.sh_type == goblin::elf::section_header::SHT_DYNSYM
                && s.header.sh_addr == table.value
        })?;
        Some(symbols.header.sh_size / size)
    };
    let of_hash = || {
        let at = view.offset(view.tag(DT_HASH)?.value)?;
        view.u32(at.checked_add(4)?).map(u64::from)
    };
    let up_to_strings = || {
        // Every linker puts the strings right behind the symbols.
        let strings = view.tag(goblin::elf::dynamic::DT_STRTAB)?.value;
        strings.checked_sub(table.value).map(|bytes| bytes / size)
    };
    of_section()
        .or_else(of_hash)
        .or_else(up_to_strings)
        .unwrap_or(0)
        .min(room)
}

/// Of the program header at an index.
pub(crate) fn program_header_range(view: &View<'_>, index: usize) -> Range<u64> {
    let size = ProgramHeader::size(view.ctx) as u64;
    let start = view
        .header
        .e_phoff
        .saturating_add(size.saturating_mul(index as u64));
    start..start.saturating_add(size)
}

/// Of the section header at an index.
pub(crate) fn section_header_range(view: &View<'_>, index: usize) -> Range<u64> {
    let size = SectionHeader::size(view.ctx) as u64;
    let start = view
        .header
        .e_shoff
        .saturating_add(size.saturating_mul(index as u64));
    start..start.saturating_add(size)
}
