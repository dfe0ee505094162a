//! The dynamic section (gABI, chapter 5): what `elf_get_dynamic_info` asserts, and what must hold beyond.

mod agreement;
mod flags;
mod names;

use std::ops::Range;

use goblin::elf::Sym;
use goblin::elf::dynamic::*;
use goblin::elf::header::{EM_MIPS, EM_PPC64};

use super::Tables;
use super::findings::Findings;
use super::frames::Frames;
use crate::Part;
use crate::machine::Machine;
use crate::parts::{DT_RELR, DT_RELRSZ};
use crate::view::{DT_AUXILIARY, DT_FILTER, Entry, View};

const DT_RELRENT: u64 = 37;
const DT_SYMTAB_SHNDX: u64 = 34;
const SHT_RELR: u32 = 19;
pub(super) fn check(
    view: &View<'_>,
    tables: &Tables<'_>,
    frames: &Frames<'_>,
    findings: &mut Findings,
) {
    if view.dynamic_range.is_empty() {
        if view.is_for_linux() {
            let text = "there is no dynamic section";
            findings.fatal(
                Part::ProgramHeaders,
                0..0,
                text,
                "object file has no dynamic section",
            );
        }
        return;
    }
    end(view, findings);
    tags(view, findings);
    together(view, findings);
    sizes(view, findings);
    pointers(view, findings);
    names::check(view, findings);
    flags::check(view, tables, findings);
    agreement::check(view, frames, findings);
}

fn place(view: &View<'_>, entry: Entry) -> Range<u64> {
    entry.at..entry.at + 2 * view.word_size()
}

/// A name for people: "DT_NEEDED".
fn called(tag: u64) -> String {
    match tag_to_str(tag) {
        "UNKNOWN_TAG" => match tag {
            DT_RELR => "DT_RELR".into(),
            DT_RELRSZ => "DT_RELRSZ".into(),
            DT_RELRENT => "DT_RELRENT".into(),
            _ => format!("tag {tag:#x}"),
        },
        name => name.to_owned(),
    }
}

/// `DT_NULL` ends it, and behind it linkers leave some more, all zero, for tools that edit.
fn end(view: &View<'_>, findings: &mut Findings) {
    let size = 2 * view.word_size();
    let used = view.dynamic_range.start + size * view.dynamic.len() as u64;
    let rest = view.part(used..view.dynamic_range.end).unwrap_or_default();
    if (rest.len() as u64) < size {
        return findings.crash(
            Part::Dynamic,
            view.dynamic_range.clone(),
            "the dynamic section has no end (DT_NULL)",
        );
    }
    let word = view.word_size() as usize;
    let is_set = |bytes: &[u8]| bytes.iter().any(|&b| b != 0);
    let mut values = rest
        .chunks_exact(word)
        .enumerate()
        .filter(|(_, bytes)| is_set(bytes));
    let first = values.next();
    // meson takes out an RPATH by overwriting its tag, and leaves which string it was.
    let is_string = |index: usize| {
        let value = view.word(used + (index * word) as u64).unwrap_or(0);
        let before = view.strings().start.saturating_add(value);
        value > 0
            && value < view.strings().end - view.strings().start
            && view.part(before - 1..before) == Some(&[0])
    };
    let was_rpath = values.next().is_none()
        && first.is_some_and(|(index, _)| index % 2 == 1 && is_string(index));
    if let (Some((index, _)), false) = (first, was_rpath) {
        let at = used + (index * word) as u64;
        let text = "behind the end of the dynamic section (DT_NULL) something is left";
        findings.damage(Part::Dynamic, at..at + 1, text);
    }
    if !(view.dynamic_range.end - view.dynamic_range.start).is_multiple_of(size) {
        findings.damage(
            Part::Dynamic,
            view.dynamic_range.clone(),
            format!("the dynamic section's size is no multiple of {size}"),
        );
    }
}

fn is_known(view: &View<'_>, tag: u64) -> bool {
    let processor = 0x7000_0000..0x8000_0000;
    match tag {
        DT_SYMTAB_SHNDX | DT_RELR | DT_RELRSZ | DT_RELRENT => true,
        // 31 is not used; 30 is DT_FLAGS.
        1..=30 | 32 | 33 => true,
        DT_GNU_HASH | DT_TLSDESC_PLT | DT_TLSDESC_GOT | DT_VERSYM => true,
        DT_RELACOUNT..=DT_VERNEEDNUM => true,
        // prelink's.
        0x6fff_fdf5..=0x6fff_fdf8 | 0x6fff_fef8 | 0x6fff_fef9 => true,
        // DT_AUXILIARY, DT_FILTER.
        DT_AUXILIARY | DT_FILTER => true,
        _ if processor.contains(&tag) => match Machine::of(view.header.e_machine) {
            Some(Machine::X86_64) => matches!(tag, 0x7000_0000 | 0x7000_0001 | 0x7000_0003),
            Some(Machine::I386 | Machine::S390) => false,
            _ => true,
        },
        // Android's and Solaris's.
        0x6000_000d..=0x6000_0023 => view.tag(DT_GNU_HASH).is_none(),
        _ => false,
    }
}

/// Known, and once where there can be one.
fn tags(view: &View<'_>, findings: &mut Findings) {
    for (index, entry) in view.dynamic.iter().enumerate() {
        let bytes = place(view, *entry);
        if !is_known(view, entry.tag) {
            let text = format!(
                "entry {index} of the dynamic section has tag {:#x}, which nobody knows",
                entry.tag
            );
            findings.damage(Part::Dynamic, bytes, text);
        } else if !matches!(entry.tag, DT_NEEDED | DT_AUXILIARY | DT_FILTER)
            && view.header.e_machine != EM_MIPS
            && view.dynamic[..index].iter().any(|e| e.tag == entry.tag)
        {
            let text = format!(
                "entry {index} of the dynamic section is {} a second time",
                called(entry.tag)
            );
            findings.damage(Part::Dynamic, bytes, text);
        }
    }
}

/// What is nothing alone.
fn together(view: &View<'_>, findings: &mut Findings) {
    for tag in [DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT] {
        if view.tag(tag).is_none() {
            findings.crash(
                Part::Dynamic,
                view.dynamic_range.clone(),
                format!("the dynamic section has no {}", called(tag)),
            );
        }
    }
    let sets: [&[u64]; 11] = [
        &[DT_RELA, DT_RELASZ, DT_RELAENT],
        &[DT_REL, DT_RELSZ, DT_RELENT],
        &[DT_RELR, DT_RELRSZ, DT_RELRENT],
        &[DT_JMPREL, DT_PLTRELSZ, DT_PLTREL],
        &[DT_INIT_ARRAY, DT_INIT_ARRAYSZ],
        &[DT_FINI_ARRAY, DT_FINI_ARRAYSZ],
        &[DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ],
        &[DT_VERNEED, DT_VERNEEDNUM],
        &[DT_VERDEF, DT_VERDEFNUM],
        &[DT_TLSDESC_PLT, DT_TLSDESC_GOT],
        // Versions are of no use without the table that says which symbol has which.
        &[DT_VERNEED, DT_VERSYM],
    ];
    for set in sets {
        let there = set.iter().filter(|&&tag| view.tag(tag).is_some()).count();
        let versym_for_definitions =
            set == [DT_VERNEED, DT_VERSYM] && view.tag(DT_VERDEF).is_some();
        if there > 0 && there < set.len() && !versym_for_definitions {
            let absent: Vec<String> = set
                .iter()
                .filter(|&&t| view.tag(t).is_none())
                .map(|&t| called(t))
                .collect();
            let present: Vec<String> = set
                .iter()
                .filter(|&&t| view.tag(t).is_some())
                .map(|&t| called(t))
                .collect();
            let text = format!(
                "the dynamic section has {}, but not {}",
                present.join(" and "),
                absent.join(" and ")
            );
            findings.crash(Part::Dynamic, view.dynamic_range.clone(), text);
        }
    }
    if view.tag(DT_VERDEF).is_some() && view.tag(DT_VERSYM).is_none() {
        findings.crash(
            Part::Dynamic,
            view.dynamic_range.clone(),
            "the dynamic section has DT_VERDEF, but not DT_VERSYM",
        );
    }
}

/// Sizes of entries, and tables of whole entries.
fn sizes(view: &View<'_>, findings: &mut Findings) {
    let word = view.word_size();
    let (rel, rela) = (2 * word, 3 * word);
    // The lines are those of Debian 12's glibc (2.36) on amd64, which never comes to DT_RELENT.
    let dies = |line: &str, assertion: &str| {
        format!(
            "Inconsistency detected by ld.so: get-dynamic-info.h:{line} elf_get_dynamic_info: Assertion `{assertion}' failed!"
        )
    };
    for (tag, right, assertion) in [
        (DT_SYMENT, Sym::size(view.ctx.container) as u64, None),
        (
            DT_RELAENT,
            rela,
            Some((
                " 123:",
                "info[DT_RELAENT]->d_un.d_val == sizeof (ElfW(Rela))",
            )),
        ),
        (
            DT_RELENT,
            rel,
            Some(("", "info[DT_RELENT]->d_un.d_val == sizeof (ElfW(Rel))")),
        ),
        (
            DT_RELRENT,
            word,
            Some((
                " 130:",
                "info[DT_RELRENT]->d_un.d_val == sizeof (ElfW(Relr))",
            )),
        ),
    ] {
        let Some(entry) = view.tag(tag).filter(|e| e.value != right) else {
            continue;
        };
        let text = format!("{} is {}, not {right}", called(tag), entry.value);
        match assertion {
            Some((line, assertion)) => findings.fatal(
                Part::Dynamic,
                place(view, entry),
                text,
                &dies(line, assertion),
            ),
            None => findings.damage(Part::Dynamic, place(view, entry), text),
        }
    }
    let machine = Machine::of(view.header.e_machine);
    let plt = view.tag(DT_PLTREL);
    if let (Some(machine), Some(entry)) = (machine, plt) {
        let right = if machine.has_addends() {
            DT_RELA
        } else {
            DT_REL
        };
        if entry.value != right {
            let text = format!("DT_PLTREL is {}, not {right}", entry.value);
            let name = if machine.has_addends() {
                "DT_RELA"
            } else {
                "DT_REL"
            };
            let says = dies(" 115:", &format!("info[DT_PLTREL]->d_un.d_val == {name}"));
            findings.fatal(Part::Dynamic, place(view, entry), text, &says);
        }
    }
    let plt_entry = if plt.is_some_and(|e| e.value == DT_REL) {
        rel
    } else {
        rela
    };
    for (tag, size) in [
        (DT_RELASZ, rela),
        (DT_RELSZ, rel),
        (DT_RELRSZ, word),
        (DT_PLTRELSZ, plt_entry),
        (DT_INIT_ARRAYSZ, word),
        (DT_FINI_ARRAYSZ, word),
        (DT_PREINIT_ARRAYSZ, word),
    ] {
        if let Some(entry) = view.tag(tag).filter(|e| e.value % size != 0) {
            let text = format!("{} is {}, no multiple of {size}", called(tag), entry.value);
            findings.damage(Part::Dynamic, place(view, entry), text);
        }
    }
}

/// Tables lie in what is loaded, as a whole.
fn pointers(view: &View<'_>, findings: &mut Findings) {
    for (tag, size) in [
        (DT_STRTAB, Some(DT_STRSZ)),
        (DT_SYMTAB, None),
        (DT_RELA, Some(DT_RELASZ)),
        (DT_REL, Some(DT_RELSZ)),
        (DT_RELR, Some(DT_RELRSZ)),
        (DT_JMPREL, Some(DT_PLTRELSZ)),
        (DT_HASH, None),
        (DT_GNU_HASH, None),
        (DT_VERSYM, None),
        (DT_VERNEED, None),
        (DT_VERDEF, None),
        (DT_INIT_ARRAY, Some(DT_INIT_ARRAYSZ)),
        (DT_FINI_ARRAY, Some(DT_FINI_ARRAYSZ)),
        (DT_PREINIT_ARRAY, Some(DT_PREINIT_ARRAYSZ)),
    ] {
        let Some(entry) = view.tag(tag) else { continue };
        let size = size.and_then(|tag| view.tag(tag)).map_or(1, |e| e.value);
        // The others are old words for nothing to do.
        if size == 0 {
            continue;
        }
        let inside = view.loads().any(|load| {
            entry
                .value
                .checked_sub(load.p_vaddr)
                .is_some_and(|into| into.saturating_add(size) <= load.p_filesz)
        });
        if !inside {
            let text = format!(
                "{} says {size} bytes at {:#x}, which is in no segment that is loaded",
                called(tag),
                entry.value
            );
            findings.crash(Part::Dynamic, place(view, entry), text);
        }
    }
    for tag in [DT_INIT, DT_FINI] {
        let Some(entry) = view.tag(tag) else { continue };
        // ppc64's first ABI points to a descriptor in the data.
        let runs = view.load_of(entry.value).is_some_and(|p| p.is_executable());
        if !runs && view.header.e_machine != EM_PPC64 && entry.value != 0 {
            let text = format!("{} is {:#x}, where no code is", called(tag), entry.value);
            findings.crash(Part::Dynamic, place(view, entry), text);
        }
    }
    for tag in [DT_DEBUG, DT_TEXTREL, DT_SYMBOLIC, DT_BIND_NOW] {
        if let Some(entry) = view.tag(tag).filter(|e| e.value != 0) {
            let text = format!("{} is {:#x}, not 0", called(tag), entry.value);
            findings.damage(Part::Dynamic, place(view, entry), text);
        }
    }
}
