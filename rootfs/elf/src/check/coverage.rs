//! Everything that should be relocated is: a relocation that strays leaves a hole where it should be.

use goblin::elf::program_header::PF_W;
use goblin::elf::section_header::SHT_NOBITS;

use super::findings::{Custom, Findings};
use super::frames::Frames;
use super::tables::Tables;
use crate::Part;
use crate::machine::Kind;
use crate::parts::{DT_RELR, DT_RELRSZ, program_header_range, table_range};
use crate::view::{Section, View};

/// One place in so many may be off.
const FEW: usize = 50;

/// Every address that something relocates, in order.
struct Relocated(Vec<u64>);

impl Relocated {
    fn has(&self, address: u64) -> bool {
        self.0.binary_search(&address).is_ok()
    }
}

pub(super) fn check(
    view: &View<'_>,
    tables: &Tables<'_>,
    frames: &Frames<'_>,
    findings: &mut Findings,
) {
    let mut places = packed(view, findings);
    let usual = |number: u32| {
        tables
            .machine
            .is_some_and(|machine| machine.kind(number).is_some_and(|k| k != Kind::None))
    };
    for table in &tables.relocations {
        places.extend(
            table
                .entries
                .iter()
                .filter(|r| usual(r.number))
                .map(|r| r.offset),
        );
    }
    places.sort_unstable();
    let relocated = Relocated(places);
    if relocated.0.is_empty() || view.was_edited() {
        return;
    }
    pointers(view, frames, &relocated, findings);
}

/// `DT_RELR`: addresses, each followed by bitmaps of what else is relative behind it; the addends are in place. Gives
/// the addresses that lie in the file.
fn packed(view: &View<'_>, findings: &mut Findings) -> Vec<u64> {
    let mut places = Vec::new();
    let Some(range) = table_range(view, DT_RELR, DT_RELRSZ) else {
        return places;
    };
    let word = view.word_size();
    let bits = word * 8 - 1;
    let mut sensible = Custom::default();
    // A bit of the table is a word of the file; more are made to keep us busy.
    let mut left = view.len() / word;
    // Where the next bitmap begins; none before the first address.
    let mut next: Option<u64> = None;
    let mut at = range.start;
    while at + word <= range.end.min(view.len()) {
        let Some(entry) = view.word(at) else { break };
        let bytes = at..at + word;
        at += word;
        left = match left.checked_sub(u64::from((entry >> 1).count_ones()).max(1)) {
            Some(left) if entry & 1 == 1 => left,
            None => {
                let text = "DT_RELR changes more words than the file has";
                findings.damage(Part::Relocations, bytes, text);
                break;
            }
            Some(_) => left.saturating_sub(1),
        };
        if entry & 1 == 0 {
            // Linkers begin anew only where a bitmap does not reach.
            if next.is_some_and(|next| entry < next.saturating_add(bits * word)) {
                let text = format!("DT_RELR begins anew at {entry:#x}, where it is already");
                findings.damage(Part::Relocations, bytes.clone(), text);
            }
            if entry % word != 0 {
                findings.damage(
                    Part::Relocations,
                    bytes.clone(),
                    format!("DT_RELR changes {entry:#x}, no multiple of {word}"),
                );
            }
            relative(view, entry, bytes, &mut places, &mut sensible, findings);
            next = Some(entry.wrapping_add(word));
            continue;
        }
        let Some(start) = next else {
            findings.crash(
                Part::Relocations,
                bytes.clone(),
                "DT_RELR begins with a bitmap",
            );
            next = Some(0);
            continue;
        };
        if entry == 1 {
            findings.damage(
                Part::Relocations,
                bytes.clone(),
                "DT_RELR has a bitmap without a bit",
            );
        }
        for bit in (0..bits).filter(|bit| entry >> (bit + 1) & 1 == 1) {
            relative(
                view,
                start.wrapping_add(bit * word),
                bytes.clone(),
                &mut places,
                &mut sensible,
                findings,
            );
        }
        next = Some(start.wrapping_add(bits * word));
    }
    sensible.judge_strictly(FEW, findings);
    places
}

fn relative(
    view: &View<'_>,
    address: u64,
    bytes: std::ops::Range<u64>,
    places: &mut Vec<u64>,
    sensible: &mut Custom,
    findings: &mut Findings,
) {
    if view.load_of(address).is_none_or(|p| p.p_flags & PF_W == 0) {
        let text = format!(
            "DT_RELR changes {address:#x}, which cannot be written to: the program crashes"
        );
        return findings.crash(Part::Relocations, bytes, text);
    }
    let Some(there) = view.offset(address).and_then(|at| view.word(at)) else {
        let text = format!(
            "DT_RELR changes {address:#x}, which is not in the file: there is nothing to add to"
        );
        return findings.damage(Part::Relocations, bytes, text);
    };
    if !view
        .loads()
        .any(|p| p.p_vaddr <= there && there <= p.p_vaddr.saturating_add(p.p_memsz))
    {
        let text =
            format!("DT_RELR changes {address:#x}, where {there:#x} is, which is no address");
        findings.damage(Part::Relocations, bytes.clone(), text);
    }
    // Nobody points to the headers, and most of what is no address is a small number.
    let headers = program_header_range(view, view.programs.len()).start;
    sensible.holds(there >= headers, Part::Relocations, bytes, || {
        format!("DT_RELR changes {address:#x}, where {there:#x} is: that is no address of anything")
    });
    // A table that goes back and forth would make this longer than the file.
    if places.last().is_none_or(|last| *last < address) {
        places.push(address);
    }
}

fn words<'v>(
    view: &'v View<'_>,
    section: &Section,
) -> impl Iterator<Item = (u64, u64, u64)> + use<'v> {
    let (start, at, word) = (
        section.header.sh_addr,
        section.header.sh_offset,
        view.word_size(),
    );
    let end = section.range().end.min(view.len());
    let count = if section.header.sh_type == SHT_NOBITS || start % word != 0 {
        0
    } else {
        end.saturating_sub(at) / word
    };
    (0..count).filter_map(move |index| {
        let at = at.checked_add(index * word)?;
        Some((start.wrapping_add(index * word), at, view.word(at)?))
    })
}

/// What holds the address of a function, among data that is there to be relocated, is relocated. Where tables are packed
/// (`DT_RELR`) nothing else tells of a bit that is gone.
fn pointers(view: &View<'_>, frames: &Frames<'_>, relocated: &Relocated, findings: &mut Findings) {
    if view.header.e_type != goblin::elf::header::ET_DYN {
        return;
    }
    let mut custom = Custom::default();
    let packed = view.tag(DT_RELR).is_some();
    for name in [".init_array", ".fini_array", ".data.rel.ro", ".got"] {
        let Some(section) = view
            .section_named(name)
            .filter(|_| packed || name != ".data.rel.ro")
        else {
            continue;
        };
        for (address, at, value) in words(view, section) {
            let is_relocated = relocated.has(address);
            // Of what is there to be relocated and then read only, any address; elsewhere, only a function's.
            let points = match name {
                ".data.rel.ro" => view.load_of(value).is_some(),
                _ => frames.begins(value),
            };
            if !is_relocated && (!points || is_number(value)) {
                continue;
            }
            custom.holds(is_relocated, Part::Relocations, at..at + view.word_size(), || {
                format!("no relocation is for {address:#x}, where the address of a function is ({value:#x})")
            });
        }
    }
    custom.judge(FEW, findings);
}

/// As people write them, round in one base or another: flags, sizes and seconds, which are no addresses.
fn is_number(value: u64) -> bool {
    value < 0x2_0000 || value.is_multiple_of(0x1000) || value.is_multiple_of(100)
}
