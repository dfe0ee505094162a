//! Relocations and symbols, read once for all the checks that need them.

use std::ops::Range;

use goblin::elf::dynamic::{
    DT_JMPREL, DT_PLTREL, DT_PLTRELSZ, DT_REL, DT_RELA, DT_RELASZ, DT_RELSZ, DT_SYMTAB,
};
use goblin::elf::reloc::RelocSection;
use goblin::elf::{Sym, Symtab};

use crate::machine::{Kind, Machine};
use crate::parts::{symbol_count, table_range};
use crate::view::{LONGEST_TEXT, View, escaped};

/// One relocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    pub(super) offset: u64,
    pub(super) number: u32,
    pub(super) symbol: u64,
    pub(super) addend: Option<i64>,
}

/// `DT_RELA` or `DT_REL`, or `DT_JMPREL`.
pub(super) struct Table {
    pub(super) is_plt: bool,
    pub(super) range: Range<u64>,
    pub(super) entry_size: u64,
    pub(super) entries: Vec<Relocation>,
}

impl Table {
    /// Where an entry is in the file.
    pub(super) fn place(&self, index: usize) -> Range<u64> {
        let at = self.range.start + self.entry_size * index as u64;
        at..at + self.entry_size
    }

    /// "relocation 512 of .rela.dyn".
    pub(super) fn called(&self, index: usize) -> String {
        let name = match (self.is_plt, self.has_addends()) {
            (true, true) => ".rela.plt",
            (true, false) => ".rel.plt",
            (false, true) => ".rela.dyn",
            (false, false) => ".rel.dyn",
        };
        format!("relocation {index} of {name}")
    }

    pub(super) fn has_addends(&self) -> bool {
        self.entries.first().is_some_and(|e| e.addend.is_some())
    }
}

pub(super) struct Tables<'a> {
    pub(super) machine: Option<Machine>,
    pub(super) relocations: Vec<Table>,
    pub(super) symbols: Vec<Sym>,
    /// Where the first symbol is in the file.
    pub(super) symbols_at: u64,
    names: Vec<&'a [u8]>,
}

impl<'a> Tables<'a> {
    pub(super) fn read(view: &View<'a>) -> Tables<'a> {
        let machine = Machine::of(view.header.e_machine);
        let plt_has_addends = view
            .tag(DT_PLTREL)
            .map_or(machine.is_none_or(Machine::has_addends), |e| {
                e.value == DT_RELA
            });
        let jump = table_range(view, DT_JMPREL, DT_PLTRELSZ);
        let mut relocations = Vec::new();
        let wanted = [
            (table_range(view, DT_RELA, DT_RELASZ), true, false),
            (table_range(view, DT_REL, DT_RELSZ), false, false),
            (jump.clone(), plt_has_addends, true),
        ];
        for (range, has_addends, is_plt) in wanted {
            let Some(mut range) = range else { continue };
            range.end = range.end.min(view.len());
            // Some linkers count the procedure linkage table's with the others.
            if let (Some(jump), false) = (&jump, is_plt)
                && range.start < jump.start
                && jump.start < range.end
            {
                range.end = jump.start;
            }
            relocations.extend(table(view, range, has_addends, is_plt));
        }
        let symbols_at = view
            .tag(DT_SYMTAB)
            .and_then(|e| view.offset(e.value))
            .unwrap_or(0);
        let count = if symbols_at == 0 {
            0
        } else {
            symbol_count(view) as usize
        };
        let symbols = match Symtab::parse(view.bytes, symbols_at as usize, count, view.ctx) {
            Ok(table) if count > 0 => table.iter().collect(),
            _ => Vec::new(),
        };
        let names = names(view, &symbols);
        Tables {
            machine,
            relocations,
            symbols,
            symbols_at,
            names,
        }
    }

    /// Thread-local storage is relocated, or declared.
    pub(super) fn has_tls(&self) -> bool {
        let Some(machine) = self.machine else {
            return true;
        };
        self.relocations.iter().any(|t| {
            t.entries
                .iter()
                .any(|r| machine.kind(r.number) == Some(Kind::Tls))
        })
    }

    /// A symbol's name; empty where there is none.
    pub(super) fn name(&self, index: usize) -> &'a [u8] {
        self.names.get(index).copied().unwrap_or_default()
    }

    /// Where a symbol is in the file.
    pub(super) fn symbol_place(&self, view: &View<'_>, index: usize) -> Range<u64> {
        let size = Sym::size(view.ctx.container) as u64;
        let at = self.symbols_at + size * index as u64;
        at..at + size
    }

    /// "symbol 12 (RSA_new)".
    pub(super) fn symbol_called(&self, index: usize) -> String {
        let name = self.name(index);
        format!("symbol {index} ({})", escaped(&name[..name.len().min(80)]))
    }
}

/// Each symbol's name. Names that share their ends are few in a true file; in a hostile one all symbols share one long
/// name, and so there is an end to how many bytes are looked at.
fn names<'a>(view: &View<'a>, symbols: &[Sym]) -> Vec<&'a [u8]> {
    let strings = view.strings();
    let mut left = 4 * (strings.end - strings.start) + 16 * symbols.len() as u64;
    let name = |symbol: &Sym| {
        if left == 0 {
            return &[][..];
        }
        let name = view.string(symbol.st_name as u64);
        // Where there is no end, it was looked for up to the last byte that may be one.
        left = left.saturating_sub(name.map_or(LONGEST_TEXT, |name| name.len() as u64));
        name.unwrap_or_default()
    };
    symbols.iter().map(name).collect()
}

fn table(view: &View<'_>, range: Range<u64>, has_addends: bool, is_plt: bool) -> Option<Table> {
    let size = range.end.checked_sub(range.start)?;
    let section = RelocSection::parse(
        view.bytes,
        range.start as usize,
        size as usize,
        has_addends,
        view.ctx,
    )
    .ok()?;
    let entries = section.iter().map(|r| Relocation {
        offset: r.r_offset,
        number: r.r_type,
        symbol: r.r_sym as u64,
        addend: r.r_addend,
    });
    let entry_size = view.word_size() * if has_addends { 3 } else { 2 };
    Some(Table {
        is_plt,
        entries: entries.collect(),
        range,
        entry_size,
    })
}
