//! How linkers order relocations, and what they leave in place of what will be relocated: customs, by which one entry that
//! is off is found among thousands that are not.

use std::ops::Range;

use goblin::elf::dynamic::{DT_GNU_HASH, DT_STRTAB, DT_SYMTAB};

use super::findings::{Custom, Findings};
use super::tables::{Relocation, Table, Tables};
use crate::Part;
use crate::machine::{Kind, Machine};
use crate::view::View;

/// One entry in so many may be off.
const FEW: usize = 50;

pub(super) fn check(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    if let Some(machine) = tables.machine {
        for table in &tables.relocations {
            in_place(view, machine, table, findings);
            if table.is_plt {
                slots(view, tables, machine, table, findings);
            } else {
                sorted(machine, table, findings);
                by_symbol(machine, table, findings);
            }
        }
        each_once(view, tables, machine, findings);
        same_section(view, tables, machine, findings);
    }
}

/// GNU ld writes what RELATIVE will be, less the load address, to where it goes; and nothing where a symbol goes.
fn in_place(view: &View<'_>, machine: Machine, table: &Table, findings: &mut Findings) {
    let (mut relative, mut symbolic) = (Custom::default(), Custom::default());
    for (index, relocation) in table.entries.iter().enumerate() {
        let Some(addend) = relocation.addend else {
            return;
        };
        let kind = machine.kind(relocation.number);
        let Some(there) = view.offset(relocation.offset).and_then(|at| view.word(at)) else {
            continue;
        };
        let text = || {
            format!(
                "{} does not go with what is at {:#x}: {there:#x}",
                table.called(index),
                relocation.offset
            )
        };
        match kind {
            Some(Kind::Relative) => {
                let addend = if view.is_64() {
                    addend as u64
                } else {
                    u64::from(addend as u32)
                };
                relative.holds(there == addend, Part::Relocations, table.place(index), text);
            }
            Some(Kind::Absolute | Kind::GlobDat | Kind::Tls) => {
                symbolic.holds(
                    there == 0 || there == addend as u64,
                    Part::Relocations,
                    table.place(index),
                    text,
                );
            }
            _ => {}
        }
    }
    relative.judge_strictly(FEW, findings);
    symbolic.judge(FEW, findings);
}

/// RELATIVE in the order of what they change.
fn sorted(machine: Machine, table: &Table, findings: &mut Findings) {
    let mut custom = Custom::default();
    for (index, pair) in table.entries.windows(2).enumerate() {
        if pair
            .iter()
            .all(|r| machine.kind(r.number) == Some(Kind::Relative))
        {
            let bytes = table.place(index).start..table.place(index + 1).end;
            custom.holds(
                pair[0].offset < pair[1].offset,
                Part::Relocations,
                bytes,
                || {
                    let (one, next) = (pair[0].offset, pair[1].offset);
                    format!(
                        "{} changes {next:#x}, but the one before {one:#x}: out of order",
                        table.called(index + 1)
                    )
                },
            );
        }
    }
    custom.judge_strictly(FEW, findings);
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
    let mut seen = vec![
        false;
        table
            .entries
            .iter()
            .map(|r| r.symbol + 1)
            .max()
            .unwrap_or(0)
            .min(table.range.end) as usize
    ];
    let (mut once, mut inside, mut by_place, mut by_number) = (
        Custom::default(),
        Custom::default(),
        Custom::default(),
        Custom::default(),
    );
    let mut group: Option<&Relocation> = None;
    let mut last: Option<&Relocation> = None;
    for (index, relocation) in table.entries.iter().enumerate() {
        if class(relocation) != 1 {
            continue;
        }
        let bytes = table.place(index);
        let text = |what: &str| {
            format!(
                "{} (symbol {}, at {:#x}) is out of order: {what}",
                table.called(index),
                relocation.symbol,
                relocation.offset
            )
        };
        if let Some(last) = last.filter(|last| last.symbol == relocation.symbol) {
            inside.holds(
                last.offset < relocation.offset,
                Part::Relocations,
                bytes,
                || text("the one before changes what lies behind"),
            );
        } else {
            if let Some(mark) = seen.get_mut(relocation.symbol as usize) {
                once.holds(!*mark, Part::Relocations, bytes.clone(), || {
                    text("others of this symbol are elsewhere")
                });
                *mark = true;
            }
            if let Some(before) = group {
                by_place.holds(
                    before.offset < relocation.offset,
                    Part::Relocations,
                    bytes.clone(),
                    || text("the symbol before begins behind it"),
                );
                by_number.holds(
                    before.symbol < relocation.symbol,
                    Part::Relocations,
                    bytes,
                    || text("the symbol before has a higher number"),
                );
            }
            group = Some(relocation);
        }
        last = Some(relocation);
    }
    once.judge_strictly(FEW, findings);
    inside.judge_strictly(FEW, findings);
    let groups = if by_place.broken() <= by_number.broken() {
        by_place
    } else {
        by_number
    };
    groups.judge(FEW, findings);
}

/// The slots of functions follow each other without a gap, and no function has two.
fn slots(
    view: &View<'_>,
    tables: &Tables<'_>,
    machine: Machine,
    table: &Table,
    findings: &mut Findings,
) {
    let (mut beside, mut distinct, mut ascending) =
        (Custom::default(), Custom::default(), Custom::default());
    let mut symbols: Vec<(u64, usize)> = Vec::new();
    let mut places: Vec<(u64, usize)> = Vec::new();
    let mut last = 0;
    for (index, relocation) in table.entries.iter().enumerate() {
        let kind = machine.kind(relocation.number);
        if matches!(kind, Some(Kind::JumpSlot | Kind::Irelative)) {
            places.push((relocation.offset, index));
        }
        if kind != Some(Kind::JumpSlot) {
            continue;
        }
        symbols.push((relocation.symbol, index));
        let foreign = tables
            .symbols
            .get(relocation.symbol as usize)
            .is_some_and(|s| s.st_shndx == 0 && s.st_value == 0);
        if foreign {
            // GNU ld goes through the foreign symbols once, and gives each a slot and a number.
            ascending.holds(
                last < relocation.symbol,
                Part::Relocations,
                table.place(index),
                || {
                    format!(
                        "{} is for symbol {}, but one before it for {last}: out of order",
                        table.called(index),
                        relocation.symbol
                    )
                },
            );
            last = relocation.symbol;
        }
    }
    places.sort_unstable();
    let width = if table.entry_size >= 16 { 8 } else { 4 };
    for pair in places.windows(2) {
        let step = pair[1].0 - pair[0].0;
        // ppc64's first ABI has three words a slot.
        beside.holds(
            step == width || step == 3 * width,
            Part::Relocations,
            table.place(pair[1].1),
            || {
                format!(
                    "{} changes {:#x}, which is not beside any other",
                    table.called(pair[1].1),
                    pair[1].0
                )
            },
        );
    }
    symbols.sort_unstable();
    for pair in symbols.windows(2) {
        let bytes = table.place(pair[1].1);
        distinct.holds(pair[0].0 != pair[1].0, Part::Relocations, bytes, || {
            format!(
                "{} is for the same symbol as relocation {}",
                table.called(pair[1].1),
                pair[0].1
            )
        });
    }
    beside.judge_strictly(8, findings);
    distinct.judge_strictly(FEW, findings);
    if is_from_gnu_ld(view) {
        ascending.judge_strictly(FEW, findings);
    }
}

/// GNU ld puts hashes, symbols and strings in this order, and no other linker does.
fn is_from_gnu_ld(view: &View<'_>) -> bool {
    let [hash, symbols, strings] =
        [DT_GNU_HASH, DT_SYMTAB, DT_STRTAB].map(|tag| view.tag(tag).map_or(0, |e| e.value));
    0 < hash && hash < symbols && symbols < strings
}

/// Nothing is relocated twice.
fn each_once(view: &View<'_>, tables: &Tables<'_>, machine: Machine, findings: &mut Findings) {
    let mut places: Vec<(u64, usize, usize)> = Vec::new();
    for (number, table) in tables.relocations.iter().enumerate() {
        for (index, relocation) in table.entries.iter().enumerate() {
            let full = !matches!(
                machine.kind(relocation.number),
                None | Some(Kind::None | Kind::Other | Kind::Copy)
            );
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
        custom.holds(
            apart >= view.word_size(),
            Part::Relocations,
            table.place(index),
            || {
                let other = tables.relocations[pair[0].1].called(pair[0].2);
                format!(
                    "{} changes {:#x}, as {other} does",
                    table.called(index),
                    pair[1].0
                )
            },
        );
    }
    custom.judge_strictly(FEW, findings);
}

/// What goes into the global offset table goes nowhere else; and relocations change what is in a section.
fn same_section(view: &View<'_>, tables: &Tables<'_>, machine: Machine, findings: &mut Findings) {
    let mut writable: Vec<(Range<u64>, &str)> = view
        .sections
        .iter()
        .filter(|s| s.is_loaded() && s.header.sh_size > 0)
        .filter(|s| {
            s.is_in_file()
                || s.header.sh_flags & u64::from(goblin::elf::section_header::SHF_TLS) == 0
        })
        .map(|s| (s.addresses(), s.name.as_str()))
        .collect();
    if writable.is_empty() {
        return;
    }
    writable.sort_by_key(|(range, _)| range.start);
    let (mut somewhere, mut offsets) = (Custom::default(), Custom::default());
    for table in &tables.relocations {
        for (index, relocation) in table.entries.iter().enumerate() {
            let Some(kind) = machine.kind(relocation.number) else {
                continue;
            };
            let after = writable.partition_point(|(range, _)| range.start <= relocation.offset);
            let section = after
                .checked_sub(1)
                .map(|i| &writable[i])
                .filter(|(range, _)| range.contains(&relocation.offset));
            let bytes = table.place(index);
            somewhere.holds(
                section.is_some() || kind == Kind::None,
                Part::Relocations,
                bytes.clone(),
                || {
                    format!(
                        "{} changes {:#x}, which is in no section",
                        table.called(index),
                        relocation.offset
                    )
                },
            );
            if let (Kind::GlobDat | Kind::JumpSlot, Some((_, name))) = (kind, section) {
                offsets.holds(
                    name.starts_with(".got") || *name == ".plt",
                    Part::Relocations,
                    bytes,
                    || {
                        format!(
                            "{} is for the global offset table, but changes {name}",
                            table.called(index)
                        )
                    },
                );
            }
        }
    }
    somewhere.judge(FEW, findings);
    offsets.judge(FEW, findings);
}
