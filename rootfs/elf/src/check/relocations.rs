//! The relocation tables: what the dynamic linker dies of, entry by entry.

use goblin::elf::dynamic::{
    DF_BIND_NOW, DT_BIND_NOW, DT_FLAGS, DT_RELACOUNT, DT_RELCOUNT, DT_TEXTREL,
};
use goblin::elf::program_header::PF_W;
use goblin::elf::sym::{STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE, STT_OBJECT};

use super::findings::{Custom, Findings};
use super::frames::Frames;
use super::tables::{Relocation, Table, Tables};
use crate::machine::{Kind, Machine};
use crate::view::View;
use crate::{Field, Part};

/// One entry in so many may be off.
const FEW: usize = 50;

pub(super) fn check(
    view: &View<'_>,
    tables: &Tables<'_>,
    frames: &Frames<'_>,
    findings: &mut Findings,
) {
    let Some(machine) = tables.machine else {
        return;
    };
    let (mut aligned, mut resolvers) = (Custom::default(), Custom::default());
    let image = Image::of(view);
    let binds_now = binds_now(view);
    for table in &tables.relocations {
        let relative = if table.is_plt {
            0
        } else {
            relative_count(view, table)
        };
        let lazy = table.is_plt && !binds_now;
        for (index, relocation) in table.entries.iter().enumerate() {
            if machine.kind(relocation.number) == Some(Kind::Irelative)
                && let Some(target) = target(view, relocation)
            {
                resolvers.holds(
                    frames.begins(target),
                    Part::Relocations,
                    table.place(index),
                    || {
                        format!(
                            "{} must point to a function, and none begins at {target:#x}",
                            table.called(index)
                        )
                    },
                );
            }
            if one(
                view,
                tables,
                &image,
                (machine, table, index, relative, lazy),
                findings,
            ) {
                let word = view.word_size();
                aligned.holds(
                    relocation.offset % word == 0,
                    Part::Relocations,
                    table.place(index),
                    || {
                        format!(
                            "{} changes {:#x}, which is no multiple of {word}",
                            table.called(index),
                            relocation.offset
                        )
                    },
                );
            }
        }
        count(view, machine, table, findings);
    }
    aligned.judge(64, findings);
    resolvers.judge_strictly(FEW, findings);
}

/// `DT_RELACOUNT` or `DT_RELCOUNT`.
fn relative_count(view: &View<'_>, table: &Table) -> u64 {
    let tag = if table.has_addends() {
        DT_RELACOUNT
    } else {
        DT_RELCOUNT
    };
    view.tag(tag).map_or(0, |e| e.value)
}

/// What is in memory, and what of it may be written to.
struct Image {
    /// Start, end, writable; by address.
    segments: Vec<(u64, u64, bool)>,
    code_may_change: bool,
}

impl Image {
    fn of(view: &View<'_>) -> Image {
        let segments = view.loads().map(|p| {
            (
                p.p_vaddr,
                p.p_vaddr.saturating_add(p.p_memsz),
                p.p_flags & PF_W != 0,
            )
        });
        let flags = view.tag(DT_FLAGS).map_or(0, |e| e.value);
        Image {
            segments: segments.collect(),
            code_may_change: view.tag(DT_TEXTREL).is_some() || flags & 4 != 0,
        }
    }

    /// None: not in memory at all.
    fn is_writable(&self, address: u64, size: u64) -> Option<bool> {
        let end = address.checked_add(size)?;
        let segment = self
            .segments
            .iter()
            .find(|(start, stop, _)| *start <= address && end <= *stop)?;
        Some(segment.2 || self.code_may_change)
    }

    /// One byte behind counts: many pointers are to the end of something.
    fn holds(&self, address: u64) -> bool {
        self.segments
            .iter()
            .any(|(start, stop, _)| *start <= address && address <= *stop)
    }
}

/// Whether it is one that should be aligned.
fn one(
    view: &View<'_>,
    tables: &Tables<'_>,
    image: &Image,
    (machine, table, index, relative, lazy): (Machine, &Table, usize, u64, bool),
    findings: &mut Findings,
) -> bool {
    let relocation = &table.entries[index];
    let called = || {
        format!(
            "{}, {},",
            table.called(index),
            machine.relocation_name(relocation.number)
        )
    };
    let bytes = table.place(index);
    let kind = machine.kind(relocation.number);
    if (index as u64) < relative && kind != Some(Kind::Relative) {
        let text = format!(
            "{} has type {}, but the first {relative} must be R_*_RELATIVE",
            table.called(index),
            machine.relocation_name(relocation.number)
        );
        let must = Field {
            at: bytes.start + view.word_size(),
            // Without a symbol, `r_info` is the type.
            bytes: view.word_bytes(machine.relative().into()),
        };
        findings.fatal_field(Part::Relocations, bytes, text, &assertion(machine), must);
        return false;
    }
    let Some(kind) = kind else {
        let text = format!(
            "{} has type {}, which the dynamic linker does not know",
            table.called(index),
            relocation.number
        );
        findings.fatal(
            Part::Relocations,
            bytes,
            text,
            &unexpected(relocation.number, lazy),
        );
        return false;
    };
    let for_plt = matches!(
        kind,
        Kind::JumpSlot | Kind::Irelative | Kind::Tls | Kind::Other
    );
    if table.is_plt && !for_plt {
        let text = format!(
            "{} has no business among the functions' relocations",
            called()
        );
        findings.fatal(
            Part::Relocations,
            bytes,
            text,
            &unexpected(relocation.number, lazy),
        );
        return false;
    }
    if kind == Kind::None {
        if relocation.offset != 0 || relocation.symbol != 0 || relocation.addend.unwrap_or(0) != 0 {
            findings.damage(
                Part::Relocations,
                bytes,
                format!("{} does nothing, but is not empty", called()),
            );
        }
        return false;
    }
    let width = if kind == Kind::Other {
        1
    } else {
        view.word_size()
    };
    match image.is_writable(relocation.offset, width) {
        Some(true) => {}
        Some(false) => {
            let text = format!(
                "{} changes {:#x}, which is read-only: the program crashes",
                called(),
                relocation.offset
            );
            findings.crash(Part::Relocations, bytes.clone(), text);
        }
        None => {
            let text = format!(
                "{} changes {:#x}, which is not in memory: the program crashes",
                called(),
                relocation.offset
            );
            findings.crash(Part::Relocations, bytes.clone(), text);
        }
    }
    let symbols = tables.symbols.len() as u64;
    if relocation.symbol >= symbols.max(1) {
        let text = format!(
            "{} speaks of symbol {}, of {symbols}: the program crashes",
            called(),
            relocation.symbol
        );
        findings.crash(Part::Relocations, bytes.clone(), text);
    } else {
        meaning(view, tables, image, (kind, table, index), &called, findings);
    }
    matches!(
        kind,
        Kind::Relative
            | Kind::Irelative
            | Kind::Absolute
            | Kind::GlobDat
            | Kind::JumpSlot
            | Kind::Tls
    )
}

/// That kind, symbol and addend go together.
fn meaning(
    view: &View<'_>,
    tables: &Tables<'_>,
    image: &Image,
    (kind, table, index): (Kind, &Table, usize),
    called: &dyn Fn() -> String,
    findings: &mut Findings,
) {
    let relocation = &table.entries[index];
    let bytes = table.place(index);
    let mut add = |text: String| findings.damage(Part::Relocations, bytes.clone(), text);
    let target = target(view, relocation);
    match kind {
        Kind::Relative | Kind::Irelative => {
            if relocation.symbol != 0 {
                add(format!("{} has a symbol, which it does not need", called()));
            }
            if target.is_some_and(|target| !image.holds(target)) {
                add(format!(
                    "{} points to {:#x}, outside of the file",
                    called(),
                    target.unwrap_or(0)
                ));
            }
            let runs = |target| view.load_of(target).is_some_and(|p| p.is_executable());
            if kind == Kind::Irelative
                && target.is_some_and(|t| !runs(t))
                && tables.machine != Some(Machine::Ppc64)
            {
                add(format!(
                    "{} must point to code, and points to {:#x}",
                    called(),
                    target.unwrap_or(0)
                ));
            }
        }
        Kind::GlobDat | Kind::JumpSlot => {
            if relocation.addend.unwrap_or(0) != 0 {
                add(format!(
                    "{} has an addend ({:#x}), where none has",
                    called(),
                    relocation.addend.unwrap_or(0)
                ));
            }
            let Some(symbol) = tables.symbols.get(relocation.symbol as usize) else {
                return;
            };
            if kind == Kind::JumpSlot
                && !matches!(symbol.st_type(), STT_FUNC | STT_GNU_IFUNC | STT_NOTYPE)
            {
                add(format!(
                    "{} is for {}, which is no function",
                    called(),
                    tables.symbol_called(relocation.symbol as usize)
                ));
            }
            if relocation.symbol == 0 && kind == Kind::JumpSlot {
                add(format!("{} is for no symbol", called()));
            }
        }
        Kind::Copy => {
            let Some(symbol) = tables.symbols.get(relocation.symbol as usize) else {
                return;
            };
            if relocation.addend.unwrap_or(0) != 0 || symbol.st_value != relocation.offset {
                let name = tables.symbol_called(relocation.symbol as usize);
                add(format!(
                    "{} copies to {:#x}, but {name} is at {:#x}",
                    called(),
                    relocation.offset,
                    symbol.st_value
                ));
            } else if !matches!(symbol.st_type(), STT_OBJECT | STT_NOTYPE) {
                add(format!("{} copies what is no variable", called()));
            }
        }
        Kind::Absolute => {
            let Some(addend) = relocation.addend else {
                return;
            };
            if !(-(1 << 30)..1 << 30).contains(&addend) && relocation.symbol != 0 {
                add(format!("{} has the addend {addend:#x}", called()));
            }
        }
        Kind::Tls => {
            let size = view
                .programs
                .iter()
                .find(|p| p.p_type == goblin::elf::program_header::PT_TLS)
                .map_or(0, |p| p.p_memsz);
            let addend = relocation.addend.unwrap_or(0);
            if relocation.symbol == 0 && u64::try_from(addend).map_or(true, |addend| addend > size)
            {
                add(format!(
                    "{} points behind the thread-local storage",
                    called()
                ));
            }
        }
        Kind::None | Kind::Other => {}
    }
}

/// What a RELATIVE points to: the addend, or, in tables without addends, what is in place.
pub(super) fn target(view: &View<'_>, relocation: &Relocation) -> Option<u64> {
    match relocation.addend {
        Some(addend) if view.is_64() => Some(addend as u64),
        Some(addend) => Some(u64::from(addend as u32)),
        None => view.word(view.offset(relocation.offset)?),
    }
}

fn count(view: &View<'_>, machine: Machine, table: &Table, findings: &mut Findings) {
    if table.is_plt {
        return;
    }
    let tag = if table.has_addends() {
        DT_RELACOUNT
    } else {
        DT_RELCOUNT
    };
    let Some(entry) = view.tag(tag) else { return };
    let bytes = entry.at..entry.at + 2 * view.word_size();
    let all = table.entries.len() as u64;
    let actual = table
        .entries
        .iter()
        .take_while(|r| machine.kind(r.number) == Some(Kind::Relative))
        .count() as u64;
    let name = if table.has_addends() {
        "DT_RELACOUNT"
    } else {
        "DT_RELCOUNT"
    };
    if entry.value > all {
        let text = format!("{name} is {}, but there are {all} relocations", entry.value);
        findings.crash(Part::Dynamic, bytes, text);
    } else if entry.value < actual
        && (actual - entry.value > 1 || table.entries.iter().any(|r| r.symbol != 0))
    {
        let text = format!(
            "{name} is {}, but the first {actual} relocations are R_*_RELATIVE",
            entry.value
        );
        findings.damage(Part::Dynamic, bytes, text);
    }
}

/// Whether all symbols are looked up at start.
fn binds_now(view: &View<'_>) -> bool {
    view.tag(DT_BIND_NOW).is_some()
        || view
            .tag(DT_FLAGS)
            .is_some_and(|e| e.value & DF_BIND_NOW != 0)
        || view
            .tag(goblin::elf::dynamic::DT_FLAGS_1)
            .is_some_and(|e| e.value & goblin::elf::dynamic::DF_1_NOW != 0)
}

/// `_dl_reloc_bad_type`'s words.
fn unexpected(number: u32, lazy: bool) -> String {
    let plt = if lazy { "PLT " } else { "" };
    match number {
        0..=0xff => format!("unexpected {plt}reloc type 0x{number:02x}"),
        _ => format!("unexpected {plt}reloc type 0x{number:08x}"),
    }
}

/// The words of `elf_machine_rela_relative`, with the line of Debian 12's glibc (2.36) where it was seen.
fn assertion(machine: Machine) -> String {
    let (place, function, condition) = match machine {
        Machine::X86_64 => (
            "x86_64/dl-machine.h: 487",
            "elf_machine_rela_relative",
            "ELFW(R_TYPE) (reloc->r_info) == R_X86_64_RELATIVE",
        ),
        Machine::I386 => (
            "i386/dl-machine.h",
            "elf_machine_rel_relative",
            "ELF32_R_TYPE (reloc->r_info) == R_386_RELATIVE",
        ),
        Machine::Aarch64 => (
            "aarch64/dl-machine.h",
            "elf_machine_rela_relative",
            "ELFW(R_TYPE) (reloc->r_info) == AARCH64_R(RELATIVE)",
        ),
        // No assertion there: it takes the entry for what it is not, and the program crashes.
        Machine::Arm | Machine::Ppc64 | Machine::S390 | Machine::Riscv => {
            return "Segmentation fault".into();
        }
    };
    format!(
        "Inconsistency detected by ld.so: ../sysdeps/{place}: {function}: Assertion `{condition}' failed!"
    )
}
