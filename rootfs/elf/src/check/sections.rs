//! The section headers (gABI, chapter 4). The dynamic linker does not read them; but they say a second time where
//! everything is, and so betray what is wrong in what it does read.

use goblin::elf::section_header::{
    SHT_DYNAMIC, SHT_DYNSYM, SHT_GNU_VERSYM, SHT_NOBITS, SHT_NULL, SHT_REL, SHT_RELA, SHT_STRTAB,
    SHT_SYMTAB,
};
use goblin::elf::{SectionHeader, Sym};

use super::findings::{Custom, Findings};
use crate::Part;
use crate::parts::section_header_range;
use crate::view::{Section, View};

/// Every flag that a linker or compiler sets: the gABI's, compressed, GNU's, LLVM's and the processors'.
const KNOWN_FLAGS: u64 = 0xf12f_0ff7;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    let header = &view.header;
    if header.e_shoff == 0 {
        return;
    }
    let at = if view.is_64() { 40 } else { 32 };
    let field = at..at + view.word_size();
    if view.sections.is_empty() {
        let size = SectionHeader::size(view.ctx) as u64;
        let end = header
            .e_shoff
            .saturating_add(u64::from(header.e_shnum) * size);
        let text = format!(
            "the file has {} bytes, and must have at least {end}: its section headers end there",
            view.len()
        );
        return findings.damage(Part::Header, field, text);
    }
    if !header.e_shoff.is_multiple_of(4) {
        findings.damage(
            Part::Header,
            field.clone(),
            format!("e_shoff is {:#x}, no multiple of 4", header.e_shoff),
        );
    }
    if first_is_used(view) {
        let text = format!(
            "there are no section headers at {:#x}, where the ELF header says",
            header.e_shoff
        );
        return findings.damage(Part::Header, field, text);
    }
    let count = if view.is_64() { 60..62 } else { 48..50 };
    if one_more(view) {
        let text = format!(
            "there are more section headers than the {} of which e_shnum tells",
            view.sections.len()
        );
        findings.damage(Part::Header, count.clone(), text);
    }
    let names = view.sections.get(names_index(view));
    if !names.is_some_and(|s| {
        s.header.sh_type == SHT_STRTAB && matches!(s.name.as_str(), ".shstrtab" | ".strtab")
    }) {
        let text = format!(
            "e_shstrndx is {}, which is no section of names",
            header.e_shstrndx
        );
        findings.damage(Part::Header, count.end..count.end + 2, text);
    }
    for (index, section) in view.sections.iter().enumerate().skip(1) {
        one(view, index, section, findings);
    }
    overlaps(view, findings);
}

fn names_index(view: &View<'_>) -> usize {
    match (view.header.e_shstrndx, view.sections.first()) {
        (0xffff, Some(first)) => first.header.sh_link as usize,
        (index, _) => usize::from(index),
    }
}

/// The first section header is empty, but for what does not fit into the ELF header.
fn first_is_used(view: &View<'_>) -> bool {
    let Some(Section { header: first, .. }) = view.sections.first() else {
        return false;
    };
    let long = view.header.e_shnum == 0;
    first.sh_name != 0
        || first.sh_type != SHT_NULL
        || first.sh_flags | first.sh_addr | first.sh_offset | first.sh_addralign | first.sh_entsize
            != 0
        || (first.sh_size != 0 && !long)
        || (first.sh_link != 0 && view.header.e_shstrndx != 0xffff)
}

/// Whether what is behind the last section header is one too.
fn one_more(view: &View<'_>) -> bool {
    let range = section_header_range(view, view.sections.len());
    // Where a section begins right behind the table, the table ends there.
    if view.part(range.clone()).is_none()
        || view
            .sections
            .iter()
            .any(|s| s.header.sh_offset == range.start)
    {
        return false;
    }
    let Ok(next) = SectionHeader::parse_from(view.bytes, range.start as usize, 1, view.ctx) else {
        return false;
    };
    let names = view
        .sections
        .get(names_index(view))
        .map_or(0, |s| s.header.sh_size);
    next.first().is_some_and(|next| {
        next.sh_type != SHT_NULL
            && known_type(next.sh_type)
            && (next.sh_name as u64) < names
            && next.sh_flags & !KNOWN_FLAGS == 0
            && next.sh_addralign.count_ones() <= 1
            && next
                .sh_offset
                .saturating_add(if next.sh_type == SHT_NOBITS {
                    0
                } else {
                    next.sh_size
                })
                <= view.len()
    })
}

fn known_type(kind: u32) -> bool {
    matches!(kind, 0..=11 | 14..=19 | 0x6fff_4c00..=0x6fff_4cff | 0x6fff_fff0..=0x7fff_ffff)
        || kind >= 0x8000_0000
}

fn one(view: &View<'_>, index: usize, section: &Section, findings: &mut Findings) {
    let header = &section.header;
    let called = called(index, section);
    let bytes = section_header_range(view, index);
    let mut add = |text: String| findings.damage(Part::SectionHeaders, bytes.clone(), text);
    if !known_type(header.sh_type) {
        add(format!(
            "{called} is of a type that nobody knows: {:#x}",
            header.sh_type
        ));
    }
    if header.sh_flags & !KNOWN_FLAGS != 0 {
        add(format!(
            "{called} has flags that nobody knows: {:#x}",
            header.sh_flags
        ));
    }
    let names = view
        .sections
        .get(names_index(view))
        .map_or(u64::MAX, |s| s.header.sh_size);
    if header.sh_name as u64 >= names {
        add(format!("{called} has its name behind the end of the names"));
    }
    let end = header.sh_offset.saturating_add(header.sh_size);
    if section.is_in_file() && header.sh_type != SHT_NULL && end > view.len() {
        add(format!(
            "the file has {} bytes, and must have at least {end}: {called} ends there",
            view.len()
        ));
    }
    if header.sh_link as usize >= view.sections.len() && header.sh_type < 0x6000_0000 {
        add(format!(
            "{called} speaks of section {}, which there is not",
            header.sh_link
        ));
    }
    let align = header.sh_addralign;
    if align > 1 && !align.is_power_of_two() {
        add(format!(
            "{called} is aligned to {align:#x}, no power of two"
        ));
    } else if align > 1 && !header.sh_addr.is_multiple_of(align) {
        add(format!(
            "{called} is at {:#x}, and aligned to {align:#x}",
            header.sh_addr
        ));
    }
    let word = view.word_size();
    let entry = match header.sh_type {
        SHT_SYMTAB | SHT_DYNSYM => Sym::size(view.ctx.container) as u64,
        SHT_RELA => 3 * word,
        SHT_REL | SHT_DYNAMIC => 2 * word,
        SHT_GNU_VERSYM => 2,
        _ => return,
    };
    if header.sh_entsize != entry && header.sh_entsize != 0 {
        add(format!(
            "{called} has entries of {} bytes, not {entry}",
            header.sh_entsize
        ));
    }
    if !header.sh_size.is_multiple_of(entry) {
        add(format!(
            "{called} has {} bytes, no multiple of {entry}",
            header.sh_size
        ));
    }
}

/// "section 12 (.text)".
pub(super) fn called(index: usize, section: &Section) -> String {
    format!("section {index} ({})", section.name)
}

/// No two sections share a byte of the file.
fn overlaps(view: &View<'_>, findings: &mut Findings) {
    if view.is_debug_file() {
        return;
    }
    let all = view.sections.iter().enumerate();
    let mut places: Vec<_> = all
        .map(|(index, section)| (section.range(), index))
        .filter(|(r, _)| !r.is_empty())
        .collect();
    places.sort_by_key(|(range, index)| (range.start, *index));
    let mut custom = Custom::default();
    for pair in places.windows(2) {
        let ((first, before), (second, after)) = (&pair[0], &pair[1]);
        let bytes = section_header_range(view, *before);
        custom.holds(
            first.end <= second.start,
            Part::SectionHeaders,
            bytes,
            || {
                let called = |index: usize| called(index, &view.sections[index]);
                format!("{} reaches into {}", called(*before), called(*after))
            },
        );
    }
    custom.judge(4, findings);
}

/// The section that holds the table which an entry of the dynamic section points to.
pub(super) fn of_kind<'v>(view: &'v View<'_>, kind: u32) -> Option<&'v Section> {
    let mut all = view
        .sections
        .iter()
        .filter(|s| s.header.sh_type == kind && s.is_loaded());
    let only = all.next();
    if all.next().is_some() { None } else { only }
}
