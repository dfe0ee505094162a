//! The dynamic section (gABI, chapter 5): what `elf_get_dynamic_info` asserts, and what must hold beyond.

use std::ops::Range;

use goblin::elf::Sym;
use goblin::elf::dynamic::*;
use goblin::elf::header::{EM_AARCH64, EM_MIPS, EM_PPC64, ET_DYN};
use goblin::elf::section_header::{
    SHT_DYNSYM, SHT_FINI_ARRAY, SHT_GNU_HASH, SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM,
    SHT_HASH, SHT_INIT_ARRAY, SHT_PREINIT_ARRAY, SHT_STRTAB,
};

use super::findings::{Custom, Findings};
use super::frames::Frames;
use super::{Tables, sections};
use crate::Part;
use crate::machine::Machine;
use crate::parts::{DT_RELR, DT_RELRSZ};
use crate::view::{DT_AUXILIARY, DT_FILTER, Entry, View, escaped};

const DT_RELRENT: u64 = 37;
const DT_SYMTAB_SHNDX: u64 = 34;
const SHT_RELR: u32 = 19;

/// What GNU ld, gold, lld and mold can be told to set in `DT_FLAGS_1`.
const SETTABLE_FLAGS_1: u64 = DF_1_NOW
    | DF_1_GLOBAL
    | DF_1_GROUP
    | DF_1_NODELETE
    | DF_1_LOADFLTR
    | DF_1_INITFIRST
    | DF_1_NOOPEN
    | DF_1_ORIGIN
    | DF_1_INTERPOSE
    | DF_1_NODEFLIB
    | DF_1_NODUMP
    | DF_1_PIE;

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
    strings(view, findings);
    flags(view, tables, findings);
    agree(view, frames, findings);
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

/// Names of libraries and folders.
fn strings(view: &View<'_>, findings: &mut Findings) {
    let strings = view.strings();
    if strings.is_empty() {
        return;
    }
    let last = view.part(strings.end - 1..strings.end);
    if view.part(strings.start..strings.start + 1) != Some(&[0]) || last != Some(&[0]) {
        let text = format!(
            "the strings (DT_STRTAB, {} bytes at {:#x}) do not begin and end with a zero byte",
            strings.end - strings.start,
            strings.start
        );
        findings.crash(Part::Dynamic, strings.clone(), text);
    }
    for entry in &view.dynamic {
        if !matches!(
            entry.tag,
            DT_NEEDED | DT_SONAME | DT_RPATH | DT_RUNPATH | DT_AUXILIARY | DT_FILTER
        ) {
            continue;
        }
        let (called, bytes) = (called(entry.tag), place(view, *entry));
        let Some(text) = view.string(entry.value) else {
            let text = format!(
                "{called} is string {:#x}, behind the end of the strings",
                entry.value
            );
            findings.crash(Part::Dynamic, bytes, text);
            continue;
        };
        let shown = escaped(&text[..text.len().min(80)]);
        if text.iter().any(|b| b.is_ascii_control()) {
            findings.damage(
                Part::Dynamic,
                bytes.clone(),
                format!("{called} is \"{shown}\", which is no text"),
            );
        }
        let before = strings
            .start
            .checked_add(entry.value)
            .and_then(|at| view.part(at.checked_sub(1)?..at));
        let whole = entry.value > 0 && before == Some(&[0]);
        let library = matches!(entry.tag, DT_NEEDED | DT_SONAME);
        if library && !whole {
            let text = format!("{called} is \"{shown}\", the end of another name");
            let says =
                format!("{shown}: cannot open shared object file: No such file or directory");
            findings.fatal(Part::Dynamic, bytes.clone(), text, &says);
        } else if entry.tag == DT_NEEDED && !is_library(text) {
            let text = format!("{called} is \"{shown}\", which is no library's name");
            let says =
                format!("{shown}: cannot open shared object file: No such file or directory");
            findings.fatal(Part::Dynamic, bytes.clone(), text, &says);
        }
        if matches!(entry.tag, DT_RPATH | DT_RUNPATH)
            && !text.is_empty()
            && !text.contains(&b'/')
            && !text.contains(&b'$')
        {
            findings.damage(
                Part::Dynamic,
                bytes,
                format!("{called} is \"{shown}\", which is no folder"),
            );
        }
    }
}

/// "libc.so.6", "XS.so", "/usr/lib/libm.so", "libcom32.c32" (SYSLINUX's).
fn is_library(name: &[u8]) -> bool {
    has(name, b".so") || name.contains(&b'/') || (name.starts_with(b"lib") && name.contains(&b'.'))
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn flags(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    let entry = view.tag(DT_FLAGS);
    let entry_1 = view.tag(DT_FLAGS_1);
    let flags = entry.map_or(0, |e| e.value);
    let flags_1 = entry_1.map_or(0, |e| e.value);
    let at = |entry: Option<Entry>| entry.map_or(view.dynamic_range.clone(), |e| place(view, e));
    if flags & !0x1f != 0 {
        findings.damage(
            Part::Dynamic,
            at(entry),
            format!("DT_FLAGS is {flags:#x}, with bits that nobody knows"),
        );
    }
    let unknown = flags_1 & !SETTABLE_FLAGS_1;
    if unknown != 0 {
        findings.damage(
            Part::Dynamic,
            at(entry_1),
            format!("DT_FLAGS_1 is {flags_1:#x}: no linker sets {unknown:#x}"),
        );
    }
    // Linkers take "now" as one word for both.
    let (now, now_1) = (flags & DF_BIND_NOW != 0, flags_1 & DF_1_NOW != 0);
    let alone = now_1 && !now || now && !now_1 && entry_1.is_some();
    if alone && view.tag(DT_BIND_NOW).is_none() {
        let text = format!(
            "only one of DT_FLAGS ({flags:#x}) and DT_FLAGS_1 ({flags_1:#x}) says that symbols are looked up at once"
        );
        findings.damage(Part::Dynamic, at(entry_1), text);
    }
    let mut folders = view
        .dynamic
        .iter()
        .filter(|e| matches!(e.tag, DT_RPATH | DT_RUNPATH))
        .filter_map(|e| view.string(e.value));
    let origin = flags & DF_ORIGIN != 0 || flags_1 & DF_1_ORIGIN != 0;
    if origin && !folders.any(|f| has(f, b"ORIGIN")) {
        findings.damage(
            Part::Dynamic,
            at(entry),
            "the flags say that libraries' folders begin at its own ($ORIGIN), but none does",
        );
    }
    if entry.is_some() && (flags & 4 != 0) != view.tag(DT_TEXTREL).is_some() {
        findings.damage(
            Part::Dynamic,
            at(entry),
            "only one of DT_FLAGS and DT_TEXTREL says that code is relocated",
        );
    }
    if flags & DF_STATIC_TLS != 0 && !tables.has_tls() && view.header.e_machine != EM_AARCH64 {
        findings.damage(
            Part::Dynamic,
            at(entry),
            "DT_FLAGS says static thread-local storage, but nothing uses any",
        );
    }
    let is_library = view.interpreter().is_none() || view.tag(DT_SONAME).is_some();
    if flags_1 & DF_1_PIE != 0 && (view.header.e_type != ET_DYN || view.tag(DT_SONAME).is_some()) {
        findings.damage(
            Part::Dynamic,
            at(entry_1),
            "DT_FLAGS_1 says that this is a program for any address, which it is not",
        );
    }
    let for_libraries = DF_1_NODELETE | DF_1_INITFIRST | DF_1_NOOPEN | DF_1_GROUP | DF_1_LOADFLTR;
    if !is_library && flags_1 & for_libraries != 0 {
        findings.damage(
            Part::Dynamic,
            at(entry_1),
            format!("DT_FLAGS_1 is {flags_1:#x}, with bits for libraries; this is a program"),
        );
    }
}

/// The section headers say the same a second time.
fn agree(view: &View<'_>, frames: &Frames<'_>, findings: &mut Findings) {
    if view.sections.is_empty() || view.is_debug_file() || view.was_edited() {
        return;
    }
    let mut custom = Custom::default();
    let mut same = |tag: u64, other: Option<u64>, of: &str| {
        let Some(entry) = view.tag(tag) else { return };
        // A program that is linked statically says 0 for what is empty.
        if entry.value == 0 && other.is_some() && view.tag(DT_RELASZ).is_some_and(|e| e.value == 0)
        {
            return;
        }
        custom.holds(
            other == Some(entry.value),
            Part::Dynamic,
            place(view, entry),
            || match other {
                Some(other) => format!(
                    "{} is {:#x}, but {of} is {other:#x}",
                    called(tag),
                    entry.value
                ),
                None => format!(
                    "{} is {:#x}, but there is no section for it",
                    called(tag),
                    entry.value
                ),
            },
        );
    };
    for (kind, tag, size) in [
        (SHT_HASH, DT_HASH, None),
        (SHT_GNU_HASH, DT_GNU_HASH, None),
        (SHT_DYNSYM, DT_SYMTAB, None),
        (SHT_GNU_VERSYM, DT_VERSYM, None),
        (SHT_GNU_VERNEED, DT_VERNEED, None),
        (SHT_GNU_VERDEF, DT_VERDEF, None),
        (SHT_INIT_ARRAY, DT_INIT_ARRAY, Some(DT_INIT_ARRAYSZ)),
        (SHT_FINI_ARRAY, DT_FINI_ARRAY, Some(DT_FINI_ARRAYSZ)),
        (
            SHT_PREINIT_ARRAY,
            DT_PREINIT_ARRAY,
            Some(DT_PREINIT_ARRAYSZ),
        ),
        (SHT_RELR, DT_RELR, Some(DT_RELRSZ)),
    ] {
        let section = sections::of_kind(view, kind);
        same(
            tag,
            section.map(|s| s.header.sh_addr),
            "the section's address",
        );
        if let Some(size) = size {
            same(
                size,
                section.map(|s| s.header.sh_size),
                "the section's size",
            );
        }
    }
    for (kind, tag) in [
        (SHT_GNU_VERNEED, DT_VERNEEDNUM),
        (SHT_GNU_VERDEF, DT_VERDEFNUM),
    ] {
        let section = sections::of_kind(view, kind);
        same(
            tag,
            section.map(|s| u64::from(s.header.sh_info)),
            "the section's count",
        );
    }
    let symbols = sections::of_kind(view, SHT_DYNSYM);
    let strings = symbols
        .and_then(|s| view.sections.get(s.header.sh_link as usize))
        .filter(|s| s.header.sh_type == SHT_STRTAB);
    same(
        DT_STRTAB,
        strings.map(|s| s.header.sh_addr),
        "the section's address",
    );
    same(
        DT_STRSZ,
        strings.map(|s| s.header.sh_size),
        "the section's size",
    );
    relocation_tables(view, &mut same);
    for (tag, names) in [
        (DT_PLTGOT, &[".got.plt", ".got", ".plt"][..]),
        (DT_INIT, &[".init"]),
        (DT_FINI, &[".fini"]),
    ] {
        let Some(entry) = view.tag(tag) else { continue };
        let named: Vec<u64> = names
            .iter()
            .filter_map(|n| view.section_named(n))
            .map(|s| s.header.sh_addr)
            .collect();
        // Without such a section, a function of the program's own.
        let inside = view
            .section_named(names[0])
            .is_some_and(|s| s.addresses().contains(&entry.value));
        // ppc64 puts other code in front of it.
        let inside = inside && view.header.e_machine == EM_PPC64;
        let own = if tag == DT_PLTGOT {
            named.is_empty()
        } else {
            frames.begins(entry.value)
        };
        let other = match named.contains(&entry.value) || own || inside {
            true => Some(entry.value),
            false => named.first().copied(),
        };
        same(tag, other, "the section's address");
    }
    custom.judge(2, findings);
}

fn relocation_tables(view: &View<'_>, same: &mut impl FnMut(u64, Option<u64>, &str)) {
    for (tag, size, names) in [
        (DT_RELA, DT_RELASZ, [".rela.dyn", ".rela.plt"]),
        (DT_REL, DT_RELSZ, [".rel.dyn", ".rel.plt"]),
    ] {
        let all: Vec<_> = names
            .iter()
            .filter_map(|n| view.section_named(n))
            .filter(|s| s.is_loaded())
            .collect();
        let Some(first) = all.first() else { continue };
        same(tag, Some(first.header.sh_addr), "the section's address");
        let both: u64 = all
            .iter()
            .map(|s| s.header.sh_size)
            .fold(0, u64::saturating_add);
        // Some linkers count the procedure linkage table's with the others.
        let value = view.tag(size).map(|e| e.value);
        let other = if value == Some(both) {
            both
        } else {
            first.header.sh_size
        };
        same(size, Some(other), "the section's size");
    }
    let plt = [".rela.plt", ".rel.plt", ".rela.iplt"]
        .iter()
        .find_map(|n| view.section_named(n))
        .filter(|s| s.is_loaded());
    if let Some(plt) = plt {
        same(DT_JMPREL, Some(plt.header.sh_addr), "the section's address");
        same(DT_PLTRELSZ, Some(plt.header.sh_size), "the section's size");
    }
}
