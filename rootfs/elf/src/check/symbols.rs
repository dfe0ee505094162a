//! The dynamic symbols: each with a name, a kind that there is and a place that there is; and each name used by somebody.

use goblin::elf::dynamic::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME};
use goblin::elf::section_header::{
    SHF_TLS, SHN_ABS, SHN_COMMON, SHN_LORESERVE, SHN_UNDEF, SHT_DYNSYM,
};
use goblin::elf::sym::{
    STB_GNU_UNIQUE, STB_LOCAL, STB_WEAK, STT_FILE, STT_GNU_IFUNC, STT_SECTION, STT_TLS, Sym,
};

use super::findings::{Custom, Findings};
use super::sections;
use super::tables::Tables;
use crate::Part;
use crate::machine::Machine;
use crate::versions::{defined, needed};
use crate::view::{DT_AUXILIARY, DT_FILTER, View, escaped};

pub(super) fn check(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    let mut places = Custom::default();
    for (index, symbol) in tables.symbols.iter().enumerate() {
        one(view, tables, index, symbol, findings);
        if index > 0 {
            place(view, tables, index, symbol, &mut places);
        }
    }
    places.judge(20, findings);
    locals(view, tables, findings);
    unused_names(view, tables, findings);
}

fn one(view: &View<'_>, tables: &Tables<'_>, index: usize, symbol: &Sym, findings: &mut Findings) {
    let bytes = tables.symbol_place(view, index);
    if index == 0 {
        let empty = symbol.st_name == 0
            && symbol.st_info == 0
            && symbol.st_other == 0
            && symbol.st_shndx == 0;
        if !empty || symbol.st_value != 0 || symbol.st_size != 0 {
            findings.damage(Part::Symbols, bytes, "symbol 0 is not empty");
        }
        return;
    }
    let mut add = |text: String| findings.damage(Part::Symbols, bytes.clone(), text);
    let called = || tables.symbol_called(index);
    let strings = view.strings();
    if symbol.st_name as u64 >= strings.end - strings.start {
        add(format!(
            "symbol {index} has its name behind the end of the strings"
        ));
    } else if tables.name(index).iter().any(|b| b.is_ascii_control()) {
        add(format!("{} has a name that is no text", called()));
    }
    if symbol.st_name == 0 && symbol.st_type() != STT_SECTION {
        add(format!("{} has no name", called()));
    }
    if !matches!(symbol.st_type(), 0..=STT_TLS | STT_GNU_IFUNC) || symbol.st_type() == STT_FILE {
        add(format!(
            "{} is of type {}, which there is not",
            called(),
            symbol.st_type()
        ));
    }
    if !matches!(symbol.st_bind(), 0..=STB_WEAK | STB_GNU_UNIQUE) {
        add(format!(
            "{} is of binding {}, which there is not",
            called(),
            symbol.st_bind()
        ));
    }
    let others = match tables.machine {
        Some(Machine::X86_64 | Machine::I386 | Machine::Arm | Machine::S390) => {
            symbol.st_other & !3
        }
        Some(Machine::Aarch64 | Machine::Riscv) => symbol.st_other & 0x7c,
        _ => 0,
    };
    if others != 0 {
        add(format!(
            "{} has the visibility {:#x}",
            called(),
            symbol.st_other
        ));
    }
    // Internal and hidden symbols are nobody else's business, and not in this table but as local ones.
    if matches!(symbol.st_visibility(), 1 | 2)
        && symbol.st_bind() != STB_LOCAL
        && symbol.st_shndx as u32 != SHN_UNDEF
    {
        add(format!("{} is hidden, but global", called()));
    }
    if symbol.st_shndx as u32 >= SHN_LORESERVE {
        if !matches!(symbol.st_shndx as u32, SHN_ABS | SHN_COMMON) {
            add(format!(
                "{} is in section {:#x}, which there is not",
                called(),
                symbol.st_shndx
            ));
        }
    } else if symbol.st_shndx != 0
        && !view.sections.is_empty()
        && symbol.st_shndx >= view.sections.len()
        && !view.was_edited()
    {
        add(format!(
            "{} is in section {}, of {}",
            called(),
            symbol.st_shndx,
            view.sections.len()
        ));
    }
    if symbol.st_shndx as u32 == SHN_UNDEF
        && symbol.st_bind() == STB_LOCAL
        && symbol.st_type() != STT_TLS
    {
        add(format!("{} is local, but not here", called()));
    }
}

/// A symbol lies in its section; one that is elsewhere lies nowhere.
fn place(view: &View<'_>, tables: &Tables<'_>, index: usize, symbol: &Sym, custom: &mut Custom) {
    let bytes = tables.symbol_place(view, index);
    let called = || tables.symbol_called(index);
    if symbol.st_shndx as u32 == SHN_UNDEF {
        // A program gives a function's address here when it takes it.
        let holds = symbol.st_value == 0
            || view
                .load_of(symbol.st_value)
                .is_some_and(|p| p.is_executable());
        custom.holds(holds, Part::Symbols, bytes, || {
            format!(
                "{} is elsewhere, but has the address {:#x}",
                called(),
                symbol.st_value
            )
        });
        return;
    }
    let Some(section) = view
        .sections
        .get(symbol.st_shndx)
        .filter(|_| symbol.st_shndx != 0)
    else {
        return;
    };
    let start = match (
        symbol.st_type(),
        section.header.sh_flags & u64::from(SHF_TLS),
    ) {
        (STT_TLS, 0) => {
            return custom.holds(false, Part::Symbols, bytes, || {
                format!("{} is thread-local, but {} is not", called(), section.name)
            });
        }
        // From the start of all thread-local storage.
        (STT_TLS, _) => view
            .programs
            .iter()
            .find(|p| p.p_type == goblin::elf::program_header::PT_TLS)
            .map_or(0, |p| p.p_vaddr),
        _ => 0,
    };
    let address = symbol.st_value.wrapping_add(start);
    // Marks of a section's end lie behind it, and Thumb's lowest bit is set.
    let end = address.saturating_add(symbol.st_size);
    let holds = section.header.sh_addr <= address
        && end <= section.addresses().end.saturating_add(symbol.st_value & 1);
    let mark = symbol.st_size == 0 && view.load_of(address.saturating_sub(1)).is_some();
    custom.holds(holds || mark, Part::Symbols, bytes, || {
        format!(
            "{} has {:#x} bytes at {address:#x}, which is not in {}",
            called(),
            symbol.st_size,
            section.name
        )
    });
}

/// Local symbols come first, and the section header says how many.
fn locals(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    let Some(section) = sections::of_kind(view, SHT_DYNSYM) else {
        return;
    };
    let locals = section.header.sh_info as usize;
    let mut custom = Custom::default();
    for (index, symbol) in tables.symbols.iter().enumerate() {
        let local = symbol.st_bind() == STB_LOCAL;
        custom.holds(
            local == (index < locals),
            Part::Symbols,
            tables.symbol_place(view, index),
            || {
                let what = if local {
                    "local, but among the global ones"
                } else {
                    "global, but among the local ones"
                };
                format!("{} is {what}", tables.symbol_called(index))
            },
        );
    }
    custom.judge(20, findings);
}

/// systemd's are linked with leftovers of one letter.
const SHORTEST: u64 = 4;

/// Linkers keep no string that nobody uses; tools that edit do, of paths and libraries' names.
fn unused_names(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    let strings = view.strings();
    let Some(all) = view.part(strings.clone()) else {
        return;
    };
    let mut used: Vec<u64> = tables.symbols.iter().map(|s| s.st_name as u64).collect();
    let tags = [
        DT_NEEDED,
        DT_SONAME,
        DT_RPATH,
        DT_RUNPATH,
        DT_AUXILIARY,
        DT_FILTER,
    ];
    used.extend(
        view.dynamic
            .iter()
            .filter(|e| tags.contains(&e.tag))
            .map(|e| e.value),
    );
    for record in needed(view) {
        used.push(record.file);
        used.extend(record.names.iter().map(|n| n.name));
    }
    for record in defined(view) {
        used.extend(record.names.iter().map(|n| n.0));
    }
    used.sort_unstable();
    let mut custom = Custom::default();
    let mut start = 1;
    for text in all.get(1..).unwrap_or_default().split(|&b| b == 0) {
        let (at, length) = (start, text.len() as u64);
        start += length + 1;
        let edited = text.contains(&b'/')
            || text.windows(3).any(|w| w == b".so")
            || text.iter().all(|b| *b == b'X');
        if length < SHORTEST || edited {
            continue;
        }
        let bytes = strings.start + at..strings.start + at + length;
        custom.holds(
            used.binary_search(&at).is_ok(),
            Part::Strings,
            bytes,
            || {
                format!(
                    "nothing uses the string \"{}\"; something should",
                    escaped(&text[..text.len().min(80)])
                )
            },
        );
    }
    custom.judge(8, findings);
}

/// Others may look for it here.
pub(super) fn is_hashed(symbol: &Sym) -> bool {
    symbol.st_shndx as u32 != SHN_UNDEF && symbol.st_bind() != STB_LOCAL
}
