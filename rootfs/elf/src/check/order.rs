//! How linkers order relocations, and what they leave in place of what will be relocated: customs, by which one entry that
//! is off is found among thousands that are not.

use std::ops::Range;


use super::findings::{Custom, Findings};
use super::tables::{Relocation, Table, Tables};
use crate::Part;
use crate::machine::{Kind, Machine};
use crate::parts::{DT_RELR, DT_RELRSZ, table_range};
use crate::view::View;

/// One entry in so many may be off.
const FEW: usize = 50;

pub(super) fn check(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    if let Some(machine) = tables.machine {
        for table in &tables.relocations {
            in_place(view, machine, table, findings);
            if table.is_plt {
                slots(machine, table, findings);
            } else {
                sorted(machine, table, findings);
                by_symbol(machine, table, findings);
            }
        }
        each_once(view, tables, machine, findings);
        same_section(view, tables, machine, findings);
    }
    relr(view, findings);
}

/// GNU ld writes what RELATIVE will be, less the load address, to where it goes; and nothing where a symbol goes.
fn in_place(view: &View<'_>, machine: Machine, table: &Table, findings: &mut Findings) {
    let (mut relative, mut symbolic) = (Custom::default(), Custom::default());
    for (index, relocation) in table.entries.iter().enumerate() {
        let Some(addend) = relocation.addend else { return };
        let kind = machine.kind(relocation.number);
        let Some(there) = view.offset(relocation.offset).and_then(|at| view.word(at)) else { continue };
        let text = || format!("{} does not go with what is at {:#x}: {there:#x}", table.called(index), relocation.offset);
        match kind {
            Some(Kind::Relative) => {
                let addend = if view.is_64() { addend as u64 } else { u64::from(addend as u32) };
                relative.holds(there == addend, Part::Relocations, table.place(index), text);
            }
            Some(Kind::Absolute | Kind::GlobDat | Kind::Tls) => {
                symbolic.holds(there == 0, Part::Relocations, table.place(index), text);
            }
            _ => {}
        }
    }
    relative.judge(FEW, findings);
    symbolic.judge(FEW, findings);
}

/// RELATIVE in the order of what they change.
fn sorted(machine: Machine, table: &Table, findings: &mut Findings) {
    let mut custom = Custom::default();
    for (index, pair) in table.entries.windows(2).enumerate() {
        if pair.iter().all(|r| machine.kind(r.number) == Some(Kind::Relative)) {
            let bytes = table.place(index).start..table.place(index + 1).end;
            custom.holds(pair[0].offset < pair[1].offset, Part::Relocations, bytes, || {
                let (one, next) = (pair[0].offset, pair[1].offset);
                format!("{} changes {next:#x}, but the one before {one:#x}: out of order", table.called(index + 1))
            });
        }
    }
    custom.judge(FEW, findings);
}

/// Entries of one symbol side by side, and within it by what they change; groups of symbols by their first entry (GNU ld)
/// or by the symbol's number (others).
fn by_symbol(machine: Machine, table: &Table, findings: &mut Findings) {
    // What is copied, and what functions return, GNU ld puts last.
    let class = |r: &Relocation| match machine.kind(r.number) {
        Some(Kind::Relative) => 0,
        Some(Kind::Copy) => 2,
        Some(Kind::Irelative) => 3,
        _ => 1,
    };
    let mut seen = vec![false; table.entries.iter().map(|r| r.symbol + 1).max().unwrap_or(0).min(table.range.end) as usize];
    let (mut once, mut inside, mut by_place, mut by_number) =
        (Custom::default(), Custom::default(), Custom::default(), Custom::default());
    let mut group: Option<&Relocation> = None;
    let mut last: Option<&Relocation> = None;
    for (index, relocation) in table.entries.iter().enumerate() {
        if class(relocation) != 1 {
            continue;
        }
        let bytes = table.place(index);
        let text = |what: &str| format!("{} (symbol {}, at {:#x}) is out of order: {what}", table.called(index), relocation.symbol, relocation.offset);
        if let Some(last) = last.filter(|last| last.symbol == relocation.symbol) {
            inside.holds(last.offset < relocation.offset, Part::Relocations, bytes, || text("the one before changes what lies behind"));
        } else {
            if let Some(mark) = seen.get_mut(relocation.symbol as usize) {
                once.holds(!*mark, Part::Relocations, bytes.clone(), || text("others of this symbol are elsewhere"));
                *mark = true;
            }
            if let Some(before) = group {
                by_place.holds(before.offset < relocation.offset, Part::Relocations, bytes.clone(), || text("the symbol before begins behind it"));
                by_number.holds(before.symbol < relocation.symbol, Part::Relocations, bytes, || text("the symbol before has a higher number"));
            }
            group = Some(relocation);
        }
        last = Some(relocation);
    }
    once.judge(FEW, findings);
    inside.judge(FEW, findings);
    let groups = if by_place.broken() <= by_number.broken() { by_place } else { by_number };
    groups.judge(FEW, findings);
}

/// The slots of functions follow each other without a gap, and no function has two.
fn slots(machine: Machine, table: &Table, findings: &mut Findings) {
    let (mut next_to, mut distinct) = (Custom::default(), Custom::default());
    let mut symbols: Vec<(u64, usize)> = Vec::new();
    for (index, relocation) in table.entries.iter().enumerate() {
        if machine.kind(relocation.number) != Some(Kind::JumpSlot) {
            continue;
        }
        symbols.push((relocation.symbol, index));
        let step = |other: Option<&Relocation>| other.map(|o| relocation.offset.abs_diff(o.offset));
        let slot = |r: &&Relocation| machine.kind(r.number) == Some(Kind::JumpSlot);
        let before = index.checked_sub(1).and_then(|i| table.entries.get(i)).filter(slot);
        let width = if table.entry_size >= 16 { 8 } else { 4 };
        // ppc64's first ABI has three words a slot.
        let good = |step: Option<u64>| step.is_none_or(|s| s == width || s == 3 * width);
        next_to.holds(good(step(before)) && good(step(table.entries.get(index + 1).filter(slot))), Part::Relocations, table.place(index), || {
            format!("{} changes {:#x}, which is not beside its neighbours", table.called(index), relocation.offset)
        });
    }
    symbols.sort_unstable();
    for pair in symbols.windows(2) {
        let bytes = table.place(pair[1].1);
        distinct.holds(pair[0].0 != pair[1].0, Part::Relocations, bytes, || {
            format!("{} is for the same symbol as relocation {}", table.called(pair[1].1), pair[0].1)
        });
    }
    next_to.judge(8, findings);
    distinct.judge(FEW, findings);
}

/// Nothing is relocated twice.
fn each_once(view: &View<'_>, tables: &Tables<'_>, machine: Machine, findings: &mut Findings) {
    let mut places: Vec<(u64, usize, usize)> = Vec::new();
    for (number, table) in tables.relocations.iter().enumerate() {
        for (index, relocation) in table.entries.iter().enumerate() {
            let full = !matches!(machine.kind(relocation.number), None | Some(Kind::None | Kind::Other | Kind::Copy));
            if full {
                places.push((relocation.offset, number, index));
            }
        }
    }
    places.sort_unstable();
    let mut custom = Custom::default();
    for pair in places.windows(2) {
        let (table, index) = (&tables.relocations[pair[1].1], pair[1].2);
        let apart = pair[1].0 - pair[0].0;
        custom.holds(apart >= view.word_size(), Part::Relocations, table.place(index), || {
            let other = tables.relocations[pair[0].1].called(pair[0].2);
            format!("{} changes {:#x}, as {other} does", table.called(index), pair[1].0)
        });
    }
    custom.judge(FEW, findings);
}

/// What goes into the global offset table goes nowhere else; and relocations change what is in a section.
fn same_section(view: &View<'_>, tables: &Tables<'_>, machine: Machine, findings: &mut Findings) {
    let mut writable: Vec<(Range<u64>, &str)> = view
        .sections
        .iter()
        .filter(|s| s.is_loaded() && s.header.sh_size > 0)
        .filter(|s| s.is_in_file() || s.header.sh_flags & u64::from(goblin::elf::section_header::SHF_TLS) == 0)
        .map(|s| (s.addresses(), s.name.as_str()))
        .collect();
    if writable.is_empty() {
        return;
    }
    writable.sort_by_key(|(range, _)| range.start);
    let (mut somewhere, mut offsets) = (Custom::default(), Custom::default());
    for table in &tables.relocations {
        for (index, relocation) in table.entries.iter().enumerate() {
            let Some(kind) = machine.kind(relocation.number) else { continue };
            let after = writable.partition_point(|(range, _)| range.start <= relocation.offset);
            let section = after.checked_sub(1).map(|i| &writable[i]).filter(|(range, _)| range.contains(&relocation.offset));
            let bytes = table.place(index);
            somewhere.holds(section.is_some() || kind == Kind::None, Part::Relocations, bytes.clone(), || {
                format!("{} changes {:#x}, which is in no section", table.called(index), relocation.offset)
            });
            if let (Kind::GlobDat | Kind::JumpSlot, Some((_, name))) = (kind, section) {
                offsets.holds(name.starts_with(".got") || *name == ".plt", Part::Relocations, bytes, || {
                    format!("{} is for the global offset table, but changes {name}", table.called(index))
                });
            }
        }
    }
    somewhere.judge(FEW, findings);
    offsets.judge(FEW, findings);
}

/// `DT_RELR`: addresses, each followed by bitmaps of what else is relative behind it; the addends are in place.
fn relr(view: &View<'_>, findings: &mut Findings) {
    let Some(range) = table_range(view, DT_RELR, DT_RELRSZ) else { return };
    let word = view.word_size();
    let (mut points, mut ascend) = (Custom::default(), Custom::default());
    let (mut at, mut next, mut started) = (range.start, 0u64, false);
    let mut relocated = |address: u64, bytes: Range<u64>, findings: &mut Findings| {
        let writable = view.load_of(address).is_some_and(|p| p.p_flags & goblin::elf::program_header::PF_W != 0);
        if !writable {
            let text = format!("DT_RELR changes {address:#x}, which cannot be written to: the program crashes");
            return findings.crash(Part::Relocations, bytes, text);
        }
        let Some(there) = view.offset(address).and_then(|at| view.word(at)) else { return };
        let holds = view.loads().any(|p| p.p_vaddr <= there && there <= p.p_vaddr.saturating_add(p.p_memsz));
        points.holds(holds && there != 0, Part::Relocations, bytes, || {
            format!("DT_RELR changes {address:#x}, where {there:#x} is, which is no address")
        });
    };
    while at + word <= range.end.min(view.len()) {
        let Some(entry) = view.word(at) else { break };
        let bytes = at..at + word;
        at += word;
        if entry & 1 == 0 {
            let text = || format!("DT_RELR goes back from {next:#x} to {entry:#x}");
            ascend.holds(!started || entry >= next, Part::Relocations, bytes.clone(), text);
            if entry % word != 0 {
                findings.damage(Part::Relocations, bytes.clone(), format!("DT_RELR changes {entry:#x}, no multiple of {word}"));
            }
            relocated(entry, bytes, findings);
            next = entry.wrapping_add(word);
            started = true;
            continue;
        }
        if !started {
            findings.crash(Part::Relocations, bytes.clone(), "DT_RELR begins with a bitmap");
        }
        let bits = word * 8 - 1;
        for bit in (0..bits).filter(|bit| entry >> (bit + 1) & 1 == 1) {
            relocated(next.wrapping_add(bit * word), bytes.clone(), findings);
        }
        next = next.wrapping_add(bits * word);
    }
    points.judge(FEW, findings);
    ascend.judge(FEW, findings);
}
