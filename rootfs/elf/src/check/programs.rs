//! The program headers (gABI, chapter 5) by themselves: each in the file, in order, and of a kind that there is.

use goblin::elf::header::ET_DYN;
use goblin::elf::program_header::{
    PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_PROPERTY, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP,
    PT_LOAD, PT_NOTE, PT_NULL, PT_PHDR, PT_TLS,
};
use goblin::elf::{ProgramHeader, program_header::pt_to_str};

use super::findings::Findings;
use crate::machine::Machine;
use crate::view::{View, escaped};
use crate::{Part, parts::program_header_range};

const PT_GNU_SFRAME: u32 = 0x6474_e554;
const PT_PAX_FLAGS: u32 = 0x6504_1580;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    table(view, findings);
    for (index, program) in view.programs.iter().enumerate() {
        one(view, index, program, findings);
    }
    if !view.is_for_linux() {
        return;
    }
    single(view, findings);
    loads(view, findings);
    interpreter(view, findings);
}

/// "program header 3 (LOAD)".
pub(super) fn called(index: usize, program: &ProgramHeader) -> String {
    let name = pt_to_str(program.p_type).trim_start_matches("PT_");
    if name.starts_with("UNKNOWN") {
        return format!("program header {index} (type {:#x})", program.p_type);
    }
    format!("program header {index} ({name})")
}

fn table(view: &View<'_>, findings: &mut Findings) {
    let header = &view.header;
    let (count, size) = (
        u64::from(header.e_phnum),
        ProgramHeader::size(view.ctx) as u64,
    );
    let at = if view.is_64() { 32 } else { 28 };
    let bytes = at..at + view.word_size();
    if count == 0 {
        if header.e_phoff != 0 {
            findings.damage(
                Part::Header,
                bytes,
                format!(
                    "e_phoff is {:#x}, but there are no program headers",
                    header.e_phoff
                ),
            );
        }
        return;
    }
    let end = header.e_phoff.saturating_add(count * size);
    if end > view.len() {
        let text = format!(
            "the file has {} bytes, and must have at least {end}: its program headers end there",
            view.len()
        );
        findings.crash(Part::Header, bytes, text);
    } else if header.e_phoff < u64::from(header.e_ehsize.min(64)) {
        findings.crash(
            Part::Header,
            bytes,
            format!("e_phoff is {:#x}: inside the ELF header", header.e_phoff),
        );
    }
}

fn is_known(view: &View<'_>, kind: u32) -> bool {
    match kind {
        0..=7 | 0x6474_e550..=PT_GNU_SFRAME | PT_PAX_FLAGS => kind != 5,
        // Of the processor: of the machines here x86 and s390 have none.
        0x7000_0000.. => !matches!(
            Machine::of(view.header.e_machine),
            Some(Machine::X86_64 | Machine::I386 | Machine::S390)
        ),
        _ => !view.is_for_linux(),
    }
}

fn one(view: &View<'_>, index: usize, program: &ProgramHeader, findings: &mut Findings) {
    let bytes = program_header_range(view, index);
    let called = called(index, program);
    let add = |findings: &mut Findings, text: String| {
        findings.damage(Part::ProgramHeaders, bytes.clone(), text)
    };
    if !is_known(view, program.p_type) {
        return add(findings, format!("{called} is of a type that nobody knows"));
    }
    if program.p_type == PT_NULL {
        if program.p_offset | program.p_vaddr | program.p_filesz | program.p_memsz != 0 {
            add(findings, format!("{called} is unused, but not empty"));
        }
        return;
    }
    let end = program.p_offset.saturating_add(program.p_filesz);
    if end > view.len() && !view.is_debug_file() {
        let text = format!(
            "the file has {} bytes, and must have at least {end}: {called} ends there",
            view.len()
        );
        findings.crash(Part::ProgramHeaders, bytes.clone(), text);
    }
    if program.p_align != 0 && !program.p_align.is_power_of_two() {
        let text = format!(
            "{called}: p_align is {:#x}, no power of two",
            program.p_align
        );
        add(findings, text);
    }
    if !view.is_for_linux() {
        return;
    }
    if program.p_paddr != program.p_vaddr && program.p_paddr != 0 {
        add(
            findings,
            format!(
                "{called}: p_paddr is {:#x}, but p_vaddr {:#x}",
                program.p_paddr, program.p_vaddr
            ),
        );
    }
    if program.p_flags & !7 != 0 {
        add(
            findings,
            format!(
                "{called}: p_flags is {:#x}: more than read, write and execute",
                program.p_flags
            ),
        );
    }
    if program.p_vaddr.checked_add(program.p_memsz).is_none() {
        return findings.crash(
            Part::ProgramHeaders,
            bytes,
            format!("{called} ends behind the last address"),
        );
    }
    if program.p_type == PT_GNU_STACK {
        let stack_size = program.p_memsz != 0
            && (view.interpreter().is_none() && view.header.e_type == ET_DYN
                || program.p_memsz & 0xfff != 0);
        if program.p_offset | program.p_vaddr | program.p_filesz != 0 || stack_size {
            add(
                findings,
                format!("{called} has a place or size, which a stack has not"),
            );
        }
        return;
    }
    // The processors' own are not loaded.
    if program.p_memsz < program.p_filesz && program.p_type < 0x7000_0000 {
        let text = format!(
            "{called} has {} bytes in the file, but only {} in memory",
            program.p_filesz, program.p_memsz
        );
        findings.crash(Part::ProgramHeaders, bytes.clone(), text);
    }
    if program.p_type != PT_LOAD && program.p_memsz > 0 {
        inside_a_load(view, program, &called, findings, bytes);
    }
}

fn inside_a_load(
    view: &View<'_>,
    program: &ProgramHeader,
    called: &str,
    findings: &mut Findings,
    bytes: std::ops::Range<u64>,
) {
    // A bare note need not be loaded. Zero-filled thread-local storage takes no room where it is said to be.
    let (loaded, size) = match program.p_type {
        PT_NOTE if program.p_vaddr == 0 => return,
        PT_TLS => (program.p_filesz > 0, program.p_filesz),
        _ => (true, program.p_memsz),
    };
    if !loaded {
        return;
    }
    let holds = view.loads().any(|load| {
        program
            .p_vaddr
            .checked_sub(load.p_vaddr)
            .is_some_and(|into| {
                let end = load.p_memsz.checked_next_multiple_of(0x1_0000);
                end.is_none_or(|end| into.saturating_add(size) <= end)
                    && (program.p_filesz == 0
                        || load.p_offset.wrapping_add(into) == program.p_offset)
            })
    });
    if !holds {
        let text = format!(
            "{called} (offset {:#x}, address {:#x}) is in no segment that is loaded",
            program.p_offset, program.p_vaddr
        );
        match program.p_type {
            PT_DYNAMIC => findings.crash(Part::ProgramHeaders, bytes, text),
            _ => findings.damage(Part::ProgramHeaders, bytes, text),
        }
    }
}

/// Those that there is one of.
fn single(view: &View<'_>, findings: &mut Findings) {
    let kinds = [
        PT_PHDR,
        PT_INTERP,
        PT_DYNAMIC,
        PT_TLS,
        PT_GNU_EH_FRAME,
        PT_GNU_STACK,
        PT_GNU_RELRO,
        PT_GNU_PROPERTY,
    ];
    for kind in kinds {
        let mut all = view
            .programs
            .iter()
            .enumerate()
            .filter(|(_, p)| p.p_type == kind);
        if let (Some(_), Some((index, program))) = (all.next(), all.next()) {
            let bytes = program_header_range(view, index);
            findings.damage(
                Part::ProgramHeaders,
                bytes,
                format!("{} is there twice", called(index, program)),
            );
        }
    }
    let Some((index, own)) = view
        .programs
        .iter()
        .enumerate()
        .find(|(_, p)| p.p_type == PT_PHDR)
    else {
        return;
    };
    let size = u64::from(view.header.e_phnum) * ProgramHeader::size(view.ctx) as u64;
    if own.p_offset != view.header.e_phoff || own.p_filesz != size || own.p_memsz != size {
        let text = format!(
            "{} says that the program headers are {} bytes at {:#x}, but the ELF header says {size} at {:#x}",
            called(index, own),
            own.p_filesz,
            own.p_offset,
            view.header.e_phoff
        );
        findings.damage(
            Part::ProgramHeaders,
            program_header_range(view, index),
            text,
        );
    }
}

/// What `_dl_map_object_from_fd` looks at, and what it trusts.
fn loads(view: &View<'_>, findings: &mut Findings) {
    let loads: Vec<(usize, &ProgramHeader)> = view
        .programs
        .iter()
        .enumerate()
        .filter(|(_, p)| p.p_type == PT_LOAD)
        .collect();
    if loads.is_empty() {
        let text = "no program header says what to load";
        return findings.fatal(
            Part::ProgramHeaders,
            0..0,
            text,
            "object file has no loadable segments",
        );
    }
    let page = Machine::of(view.header.e_machine).map_or(0x1000, Machine::page_size);
    for (index, load) in &loads {
        let bytes = program_header_range(view, *index);
        let called = called(*index, load);
        if load.p_align % page != 0 {
            // glibc before 2.35 died of it; later ones do not look.
            let text = format!(
                "{called}: p_align is {:#x}, no multiple of a page",
                load.p_align
            );
            findings.damage(Part::ProgramHeaders, bytes.clone(), text);
        }
        let apart = load.p_vaddr.wrapping_sub(load.p_offset);
        if apart % page != 0 {
            let text = format!(
                "{called}: address {:#x} and offset {:#x} are not at the same place of a page",
                load.p_vaddr, load.p_offset
            );
            findings.fatal(
                Part::ProgramHeaders,
                bytes.clone(),
                text,
                "ELF load command address/offset not page-aligned",
            );
        } else if load.p_align.is_power_of_two() && apart % load.p_align != 0 {
            let text = format!(
                "{called}: address {:#x} and offset {:#x} do not keep p_align {:#x}",
                load.p_vaddr, load.p_offset, load.p_align
            );
            findings.damage(Part::ProgramHeaders, bytes.clone(), text);
        }
        if load.p_memsz == 0 {
            findings.damage(
                Part::ProgramHeaders,
                bytes.clone(),
                format!("{called} is empty"),
            );
        }
        // The headers lie in the first page of what is loaded, and are read from there.
        if load.p_flags & 7 == 0 || load.p_flags & 7 == PF_X | 2 {
            findings.damage(
                Part::ProgramHeaders,
                bytes,
                format!("{called} cannot be read: p_flags is {:#x}", load.p_flags),
            );
        }
    }
    for pair in loads.windows(2) {
        let ((before, first), (after, second)) = (pair[0], pair[1]);
        if first.p_vaddr.saturating_add(first.p_memsz) > second.p_vaddr {
            let text = format!(
                "{} (address {:#x}) is not behind the end of {} (address {:#x}, {:#x} bytes)",
                called(after, second),
                second.p_vaddr,
                called(before, first),
                first.p_vaddr,
                first.p_memsz
            );
            let bytes =
                program_header_range(view, before).start..program_header_range(view, after).end;
            findings.fatal(
                Part::ProgramHeaders,
                bytes,
                text,
                "failed to map segment from shared object",
            );
        }
        if first.p_align != second.p_align {
            let text = format!(
                "{} and {} differ in p_align",
                called(before, first),
                called(after, second)
            );
            findings.odd(
                Part::ProgramHeaders,
                program_header_range(view, after),
                text,
            );
        }
    }
}

fn interpreter(view: &View<'_>, findings: &mut Findings) {
    let Some((index, program)) = view
        .programs
        .iter()
        .enumerate()
        .find(|(_, p)| p.p_type == PT_INTERP)
    else {
        return;
    };
    let bytes = program.p_offset..program.p_offset.saturating_add(program.p_filesz);
    let path = view.part(bytes.clone()).unwrap_or_default();
    // On some machines it is filled up with zeros.
    let text = view.interpreter().filter(|t| {
        path.iter().skip(t.len()).all(|&b| b == 0) && t.len() as u64 + 9 > program.p_filesz
    });
    let good = text.is_some_and(|t| t.starts_with(b"/") && t.iter().all(|b| b.is_ascii_graphic()));
    if !good && !view.is_debug_file() {
        let text = format!(
            "{} must hold the path of the dynamic linker, and holds \"{}\"",
            called(index, program),
            escaped(&path[..path.len().min(60)])
        );
        findings.crash(
            Part::ProgramHeaders,
            program_header_range(view, index),
            text,
        );
    }
}
