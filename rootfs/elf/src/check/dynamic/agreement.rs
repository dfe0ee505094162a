//! The dynamic section beside the section headers, which say the same a second time.

use goblin::elf::dynamic::*;
use goblin::elf::header::EM_PPC64;
use goblin::elf::section_header::{
    SHT_DYNSYM, SHT_FINI_ARRAY, SHT_GNU_HASH, SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM,
    SHT_HASH, SHT_INIT_ARRAY, SHT_PREINIT_ARRAY, SHT_STRTAB,
};

use super::{SHT_RELR, called, place};
use crate::Part;
use crate::check::findings::{Custom, Findings};
use crate::check::frames::Frames;
use crate::check::sections;
use crate::parts::{DT_RELR, DT_RELRSZ};
use crate::view::View;

pub(super) fn check(view: &View<'_>, frames: &Frames<'_>, findings: &mut Findings) {
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
