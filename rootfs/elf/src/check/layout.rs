//! Program headers and section headers say the same thing twice. Linkers write both out of one plan: a segment begins
//! where its first section begins and ends where its last one ends.

use std::ops::Range;

use goblin::elf::ProgramHeader;
use goblin::elf::program_header::{
    PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_PROPERTY, PT_GNU_RELRO, PT_GNU_STACK,
    PT_INTERP, PT_LOAD, PT_NOTE, PT_NULL, PT_PHDR, PT_TLS,
};
use goblin::elf::section_header::{
    SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHT_DYNAMIC, SHT_NOTE, SHT_NULL,
};

use super::findings::{Custom, Findings};
use super::{programs, sections};
use crate::Part;
use crate::parts::{program_header_range, section_header_range};
use crate::view::{Section, View};

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    if !view.is_for_linux() || view.is_debug_file() {
        return;
    }
    one_more(view, findings);
    let loaded: Vec<(usize, &Section)> = view
        .sections
        .iter()
        .enumerate()
        .filter(|(_, s)| s.is_loaded() && s.header.sh_type != SHT_NULL && s.header.sh_size > 0)
        .collect();
    if loaded.is_empty() {
        return;
    }
    let mut custom = Custom::default();
    for (index, section) in &loaded {
        in_a_load(view, *index, section, &mut custom);
    }
    for (index, program) in view.programs.iter().enumerate() {
        let bytes = program_header_range(view, index);
        let mut agree = |holds: bool, what: &str| {
            custom.holds(holds, Part::ProgramHeaders, bytes.clone(), || {
                format!(
                    "{}: {what} does not agree with the sections",
                    programs::called(index, program)
                )
            });
        };
        match program.p_type {
            PT_LOAD => load(view, program, &loaded, &mut agree),
            PT_GNU_STACK | PT_NULL => {}
            PT_PHDR => {
                agree(
                    program.p_flags == PF_R || program.p_flags == PF_R | PF_X,
                    "p_flags",
                );
                agree(program.p_align == view.word_size(), "p_align");
            }
            PT_GNU_RELRO => relro(program, &loaded, &mut agree),
            PT_DYNAMIC | PT_INTERP | PT_GNU_EH_FRAME | PT_GNU_PROPERTY | PT_NOTE | PT_TLS => {
                exact(program, &loaded, &mut agree)
            }
            _ => {}
        }
    }
    missing(view, &loaded, &mut custom);
    if !view.was_edited() {
        custom.judge(2, findings);
    }
}

/// Whether what is behind the last program header is one too.
fn one_more(view: &View<'_>, findings: &mut Findings) {
    let index = view.programs.len();
    let at = program_header_range(view, index).start;
    if index == 0
        || index != usize::from(view.header.e_phnum)
        || view
            .sections
            .iter()
            .any(|s| s.header.sh_offset == at && at > 0)
    {
        return;
    }
    let Some(next) = view.program_at(index) else {
        return;
    };
    let known = matches!(next.p_type, 1..=4 | 6 | 7 | 0x6474_e550..=0x6474_e553);
    let empty_stack =
        next.p_type == PT_GNU_STACK && next.p_offset | next.p_vaddr | next.p_filesz == 0;
    let sound = next.p_vaddr == next.p_paddr
        && next.p_filesz <= next.p_memsz
        && next.p_align.count_ones() <= 1
        && next.p_flags & !7 == 0
        && next.p_offset.saturating_add(next.p_filesz) <= view.len()
        && (next.p_memsz > 0 || empty_stack);
    if known && sound {
        let at = if view.is_64() { 56 } else { 44 };
        let text =
            format!("there are more program headers than the {index} of which e_phnum tells");
        findings.damage(Part::Header, at..at + 2, text);
    }
}

fn is_zeroed_tls(section: &Section) -> bool {
    section.header.sh_flags & u64::from(SHF_TLS) != 0 && !section.is_in_file()
}

fn in_a_load(view: &View<'_>, index: usize, section: &Section, custom: &mut Custom) {
    if is_zeroed_tls(section) {
        return;
    }
    let header = &section.header;
    let holds = view.loads().any(|load| {
        let Some(into) = header.sh_addr.checked_sub(load.p_vaddr) else {
            return false;
        };
        let end = into.saturating_add(header.sh_size);
        end <= load.p_memsz
            && (!section.is_in_file()
                || (end <= load.p_filesz && load.p_offset.wrapping_add(into) == header.sh_offset))
    });
    custom.holds(
        holds,
        Part::SectionHeaders,
        section_header_range(view, index),
        || {
            format!(
                "{} lies where no segment that is loaded has it",
                sections::called(index, section)
            )
        },
    );
}

fn within(addresses: &Range<u64>, section: &Section) -> bool {
    let own = section.addresses();
    addresses.start <= own.start && own.end <= addresses.end
}

/// From the first section's start to the last one's end, in the file and in memory.
fn load(
    view: &View<'_>,
    program: &ProgramHeader,
    loaded: &[(usize, &Section)],
    agree: &mut impl FnMut(bool, &str),
) {
    let memory = program.p_vaddr..program.p_vaddr.saturating_add(program.p_memsz);
    let mut own = loaded
        .iter()
        .map(|(_, s)| *s)
        .filter(|s| within(&memory, s) && !is_zeroed_tls(s))
        .peekable();
    if own.peek().is_none() {
        return;
    }
    let (mut start, mut end, mut file_end, mut flags) = (u64::MAX, 0, 0, PF_R);
    for section in own {
        let addresses = section.addresses();
        start = start.min(addresses.start);
        end = end.max(addresses.end);
        if section.is_in_file() {
            file_end = file_end.max(addresses.end);
        }
        let has = |flag: u32| section.header.sh_flags & u64::from(flag) != 0;
        flags |= if has(SHF_WRITE) { PF_W } else { 0 } | if has(SHF_EXECINSTR) { PF_X } else { 0 };
    }
    let headers = program_header_range(view, 0).start;
    let has_headers =
        program.p_offset <= headers && headers < program.p_offset.saturating_add(program.p_filesz);
    let empty = view
        .sections
        .iter()
        .any(|s| s.is_loaded() && s.header.sh_size == 0 && s.header.sh_addr == program.p_vaddr);
    agree(program.p_vaddr == start || has_headers || empty, "p_vaddr");
    agree(
        program.p_vaddr.saturating_add(program.p_memsz) == end,
        "p_memsz",
    );
    let said = program.p_vaddr.saturating_add(program.p_filesz);
    let empty = view.sections.iter().any(|s| {
        s.is_loaded() && s.header.sh_size == 0 && s.header.sh_addr == said && s.is_in_file()
    });
    agree(said == file_end.max(program.p_vaddr) || empty, "p_filesz");
    agree(program.p_flags == flags, "p_flags");
}

fn relro(
    program: &ProgramHeader,
    loaded: &[(usize, &Section)],
    agree: &mut impl FnMut(bool, &str),
) {
    let end = program.p_vaddr.saturating_add(program.p_memsz);
    let begins = loaded.iter().any(|(_, s)| {
        s.header.sh_addr == program.p_vaddr
            && s.is_in_file()
            && s.header.sh_offset == program.p_offset
    });
    agree(begins, "where it begins");
    agree(
        end.is_multiple_of(0x1000) || loaded.iter().any(|(_, s)| s.addresses().end == end),
        "where it ends",
    );
    // lld fills memory up to the end of the page, and the file only as far as there is something.
    let file_end = program.p_vaddr.saturating_add(program.p_filesz);
    let fills = program.p_filesz < program.p_memsz
        && loaded.iter().any(|(_, s)| {
            s.is_in_file() && s.addresses().end == file_end
                || !s.is_in_file() && s.header.sh_addr == file_end
        });
    agree(program.p_filesz == program.p_memsz || fills, "p_filesz");
    // gold says what the sections say.
    agree(matches!(program.p_flags, PF_R | 6), "p_flags");
    agree(program.p_align > 0 && program.p_align <= 0x1000, "p_align");
}

/// What is one section, or several behind each other.
fn exact(
    program: &ProgramHeader,
    loaded: &[(usize, &Section)],
    agree: &mut impl FnMut(bool, &str),
) {
    let mut own: Vec<&Section> = loaded
        .iter()
        .map(|(_, s)| *s)
        .filter(|s| belongs(program.p_type, s))
        .collect();
    if program.p_type == PT_NOTE {
        let memory = program.p_vaddr..program.p_vaddr.saturating_add(program.p_memsz);
        own.retain(|s| within(&memory, s));
    }
    let (Some(first), Some(last)) = (own.first(), own.last()) else {
        return agree(false, "what it is");
    };
    agree(program.p_vaddr == first.header.sh_addr, "p_vaddr");
    agree(
        !first.is_in_file() || program.p_offset == first.header.sh_offset,
        "p_offset",
    );
    agree(
        program.p_vaddr.saturating_add(program.p_memsz) == last.addresses().end,
        "p_memsz",
    );
    let in_file: u64 = own
        .iter()
        .filter(|s| s.is_in_file())
        .map(|s| s.addresses().end)
        .max()
        .unwrap_or(program.p_vaddr);
    agree(
        program.p_filesz == in_file.saturating_sub(program.p_vaddr),
        "p_filesz",
    );
    let align = own.iter().map(|s| s.header.sh_addralign).max().unwrap_or(1);
    agree(program.p_align == align, "p_align");
    let writable = own
        .iter()
        .any(|s| s.header.sh_flags & u64::from(SHF_WRITE) != 0);
    let flags = if writable && program.p_type != PT_TLS {
        PF_R | PF_W
    } else {
        PF_R
    };
    agree(program.p_flags == flags, "p_flags");
}

fn belongs(kind: u32, section: &Section) -> bool {
    let header = &section.header;
    match kind {
        PT_DYNAMIC => header.sh_type == SHT_DYNAMIC,
        PT_INTERP => section.name == ".interp",
        PT_GNU_EH_FRAME => section.name == ".eh_frame_hdr",
        PT_GNU_PROPERTY => section.name == ".note.gnu.property",
        PT_NOTE => header.sh_type == SHT_NOTE,
        PT_TLS => header.sh_flags & u64::from(SHF_TLS) != 0,
        _ => false,
    }
}

/// A section of which a program header should tell.
fn missing(view: &View<'_>, loaded: &[(usize, &Section)], custom: &mut Custom) {
    for (index, section) in loaded {
        for kind in [PT_DYNAMIC, PT_INTERP, PT_GNU_EH_FRAME, PT_TLS] {
            if belongs(kind, section) {
                let there = view.programs.iter().any(|p| p.p_type == kind);
                custom.holds(
                    there,
                    Part::ProgramHeaders,
                    section_header_range(view, *index),
                    || {
                        format!(
                            "no program header tells of {}",
                            sections::called(*index, section)
                        )
                    },
                );
            }
        }
    }
}
