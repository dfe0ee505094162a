//! Damage by blocks: disks, RAID and caches lose or confuse 512 or 4096 bytes at a time, at multiples of that.
//!
//! Without a good copy, only zeros in places where there are none by nature ([`zeroed`]); with one, everything that is
//! otherwise and in which way ([`compare_blocks`]).

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::Hasher as _;
use std::ops::Range;

use goblin::elf::section_header::{
    SHF_EXECINSTR, SHT_DYNSYM, SHT_PROGBITS, SHT_REL, SHT_RELA, SHT_SYMTAB,
};

use crate::check::frames::Frames;
use crate::machine::Machine;
use crate::view::View;

/// What a disk reads and writes at least.
const SECTOR: u64 = 512;

/// What file systems and newer disks do.
const PAGE: u64 = 4096;

/// So many flipped bits in a sector are still flips, and no other content.
const MOST_FLIPS: u32 = 16;

/// In which way bytes are otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// Few bits, of which the first is in the byte with this offset.
    BitFlips {
        /// How many.
        bits: u32,
        /// Offset in the file.
        first: u64,
    },
    /// All zero, where there is something.
    Zeroed,
    /// What belongs to this offset of the same file.
    Swapped {
        /// Offset in the file.
        from: u64,
    },
    /// Something else.
    Other,
    /// The file ends before.
    Truncated,
    /// The file should have ended before.
    Extra,
}

/// Bytes that belong together because they are wrong in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where. Whole sectors, but for the end of the file.
    pub bytes: Range<u64>,
    /// How.
    pub change: Change,
}

impl Region {
    /// Of which block size these are whole blocks, the file's end aside: 4096, 512 or, where the file was cut elsewhere, 1.
    pub fn alignment(&self) -> u64 {
        let cut = matches!(self.change, Change::Truncated | Change::Extra);
        let aligned = |to: u64| {
            self.bytes.start.is_multiple_of(to) && (cut || self.bytes.end.is_multiple_of(to))
        };
        [PAGE, SECTOR]
            .into_iter()
            .find(|to| aligned(*to))
            .unwrap_or(1)
    }
}

/// "4096 bytes at 0x47000 are zero".
impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, length) = (self.bytes.start, self.bytes.end - self.bytes.start);
        match self.change {
            Change::BitFlips { bits: 1, first } => write!(f, "one bit at {first:#x} is flipped"),
            Change::BitFlips { bits, first } => {
                write!(f, "{bits} bits from {first:#x} on are flipped")
            }
            Change::Zeroed => write!(f, "{length} bytes at {at:#x} are zero"),
            Change::Swapped { from } => {
                write!(f, "{length} bytes at {at:#x} are those of {from:#x}")
            }
            Change::Other => write!(f, "{length} bytes at {at:#x} are something else"),
            Change::Truncated => write!(f, "the last {length} bytes are missing, from {at:#x} on"),
            Change::Extra => write!(f, "{length} bytes too many, from {at:#x} on"),
        }
    }
}

/// What is wrong with a file, of which a good copy is at hand; in the order of the offsets.
pub fn compare_blocks(bad: &[u8], good: &[u8]) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let mut index = None;
    let sector = SECTOR as usize;
    for (number, (bad, wanted)) in bad.chunks(sector).zip(good.chunks(sector)).enumerate() {
        let length = bad.len().min(wanted.len());
        let (bad, wanted) = (&bad[..length], &wanted[..length]);
        if bad == wanted {
            continue;
        }
        let start = (number * sector) as u64;
        let change = change(
            bad,
            wanted,
            start,
            || index.get_or_insert_with(|| Index::of(good)),
            good,
        );
        extend(&mut regions, start..start + length as u64, change);
    }
    let (bad, good) = (bad.len() as u64, good.len() as u64);
    if bad < good {
        regions.push(Region {
            bytes: bad..good,
            change: Change::Truncated,
        });
    } else if good < bad {
        regions.push(Region {
            bytes: good..bad,
            change: Change::Extra,
        });
    }
    regions
}

/// How one sector is otherwise.
fn change<'i>(
    bad: &[u8],
    wanted: &[u8],
    start: u64,
    index: impl FnOnce() -> &'i mut Index,
    good: &[u8],
) -> Change {
    if bad.iter().all(|&b| b == 0) {
        return Change::Zeroed;
    }
    let bits = bad
        .iter()
        .zip(wanted)
        .map(|(a, b)| (a ^ b).count_ones())
        .sum();
    if bits <= MOST_FLIPS {
        let first = bad
            .iter()
            .zip(wanted)
            .position(|(a, b)| a != b)
            .unwrap_or(0) as u64;
        return Change::BitFlips {
            bits,
            first: start + first,
        };
    }
    match index().find(bad, good) {
        Some(from) => Change::Swapped { from },
        None => Change::Other,
    }
}

/// One more bad sector: the end of the region before, or the start of another.
fn extend(regions: &mut Vec<Region>, bytes: Range<u64>, change: Change) {
    if let Some(last) = regions
        .last_mut()
        .filter(|last| last.bytes.end == bytes.start)
    {
        let goes_on = match (last.change, change) {
            (Change::Swapped { from }, Change::Swapped { from: next }) => {
                next == from + (bytes.start - last.bytes.start)
            }
            (Change::Zeroed, Change::Zeroed) | (Change::Other, Change::Other) => true,
            _ => false,
        };
        if goes_on {
            last.bytes.end = bytes.end;
            return;
        }
    }
    regions.push(Region { bytes, change });
}

/// Each whole sector of the good copy by its hash.
struct Index(Vec<(u64, u64)>);

impl Index {
    fn of(good: &[u8]) -> Index {
        let sectors = good.chunks_exact(SECTOR as usize).enumerate();
        let mut all: Vec<(u64, u64)> = sectors
            .map(|(number, sector)| (hash(sector), number as u64 * SECTOR))
            .collect();
        all.sort_unstable();
        Index(all)
    }

    /// Where this is, if it is in one place alone: what is there often says nothing.
    fn find(&self, sector: &[u8], good: &[u8]) -> Option<u64> {
        let wanted = hash(sector);
        let first = self.0.partition_point(|(hash, _)| *hash < wanted);
        let mut same = self.0[first..]
            .iter()
            .take_while(|(hash, _)| *hash == wanted);
        let (_, at) = *same.next()?;
        let is_same = good.get(at as usize..)?.starts_with(sector);
        (same.next().is_none() && is_same).then_some(at)
    }
}

fn hash(sector: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(sector);
    hasher.finish()
}

/// Sectors of nothing but zeros among code, relocations, symbols and unwinding tables, where there are none by nature, with what
/// they are among. Zeroed data cannot be told from data that is zero.
pub fn zeroed(bytes: &[u8]) -> Vec<(Region, String)> {
    View::read(bytes)
        .map(|view| zeroed_in(&view, &Frames::read(&view)))
        .unwrap_or_default()
}

pub(crate) fn zeroed_in(view: &View<'_>, frames: &Frames<'_>) -> Vec<(Region, String)> {
    let mut found = Vec::new();
    // Sections of a true file share no bytes; a hostile one has a million that are all of it.
    let mut left = 2 * view.len();
    let mut runs = |range: Range<u64>| {
        let range = range.start..range.end.min(view.len());
        left = left.saturating_sub(range.end.saturating_sub(range.start));
        if left > 0 {
            zero_runs(view, range)
        } else {
            Vec::new()
        }
    };
    // Firmware has what it wants where it wants it.
    if view.is_debug_file() || !view.is_for_linux() {
        return found;
    }
    if view.sections.is_empty() {
        for program in view.loads().filter(|p| p.is_executable()) {
            let range = program.p_offset..program.p_offset.saturating_add(program.p_filesz);
            let whole = runs(range)
                .into_iter()
                .map(|region| (region, "what is executed".to_owned()));
            // Older linkers put read-only data into the same segment.
            found.extend(whole.filter(|_| program.p_offset > 0));
        }
        return found;
    }
    let has_none = |s: &&crate::view::Section| {
        let code =
            s.header.sh_type == SHT_PROGBITS && s.header.sh_flags & u64::from(SHF_EXECINSTR) != 0;
        let table = matches!(
            s.header.sh_type,
            SHT_RELA | SHT_REL | SHT_DYNSYM | SHT_SYMTAB
        );
        code || table || matches!(s.name.as_str(), ".eh_frame" | ".eh_frame_hdr")
    };
    for section in view.sections.iter().filter(has_none) {
        // Between functions x86's linkers put instructions that do nothing; others put zeros up to the next page, and into holes
        // that they leave for patches.
        let padded = !matches!(
            Machine::of(view.header.e_machine),
            Some(Machine::X86_64 | Machine::I386)
        );
        let padded = padded && section.header.sh_type == SHT_PROGBITS;
        let address = |at: u64| {
            let into = at.saturating_sub(section.header.sh_offset);
            section.header.sh_addr.saturating_add(into)
        };
        let is_padding = |bytes: &Range<u64>| {
            bytes.end.is_multiple_of(PAGE)
                || frames.is_hole(&(address(bytes.start)..address(bytes.end)))
        };
        let runs = runs(section.range())
            .into_iter()
            .filter(|r| !padded || !is_padding(&r.bytes));
        found.extend(runs.map(|region| (region, section.name.clone())));
    }
    found
}

/// Whole sectors of zeros within a range, together where they follow each other.
fn zero_runs(view: &View<'_>, range: Range<u64>) -> Vec<Region> {
    let mut regions = Vec::new();
    let Some(mut start) = range.start.checked_next_multiple_of(SECTOR) else {
        return regions;
    };
    let end = range.end.min(view.len());
    while let Some(next) = start.checked_add(SECTOR).filter(|next| *next <= end) {
        if view
            .part(start..next)
            .is_some_and(|sector| sector.iter().all(|&b| b == 0))
        {
            extend(&mut regions, start..next, Change::Zeroed);
        }
        start = next;
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No two sectors alike.
    fn sample(length: usize) -> Vec<u8> {
        (0..length as u64)
            .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 | 1)
            .collect()
    }

    fn compared(change: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
        let good = sample(16384);
        let mut bad = good.clone();
        change(&mut bad);
        compare_blocks(&bad, &good)
            .iter()
            .map(|r| format!("{r}; {}", r.alignment()))
            .collect()
    }

    #[test]
    fn each_kind_of_damage_is_called_by_its_name() {
        assert_eq!(compared(|_| ()), Vec::<String>::new());
        assert_eq!(
            compared(|bad| bad[5000] ^= 4),
            ["one bit at 0x1388 is flipped; 512"]
        );
        assert_eq!(
            compared(|bad| bad[4096..8192].fill(0)),
            ["4096 bytes at 0x1000 are zero; 4096"]
        );
        assert_eq!(
            compared(|bad| bad[512..1536].fill(0)),
            ["1024 bytes at 0x200 are zero; 512"]
        );
        assert_eq!(
            compared(|bad| bad.copy_within(8192..12288, 4096)),
            ["4096 bytes at 0x1000 are those of 0x2000; 4096"]
        );
        assert_eq!(
            compared(|bad| bad[1024..1536].fill(7)),
            ["512 bytes at 0x400 are something else; 512"]
        );
        assert_eq!(
            compared(|bad| bad.truncate(10000)),
            ["the last 6384 bytes are missing, from 0x2710 on; 1"]
        );
        assert_eq!(
            compared(|bad| bad.truncate(8192)),
            ["the last 8192 bytes are missing, from 0x2000 on; 4096"]
        );
        assert_eq!(
            compared(|bad| bad.extend([1, 2, 3])),
            ["3 bytes too many, from 0x4000 on; 4096"]
        );
    }

    #[test]
    fn several_regions_are_told_apart() {
        let found = compared(|bad| {
            bad[0..512].fill(0);
            bad[512..1024].fill(9);
            bad[16383] ^= 1;
        });
        let expected = [
            "512 bytes at 0x0 are zero; 512",
            "512 bytes at 0x200 are something else; 512",
            "one bit at 0x3fff is flipped; 512",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        assert_eq!(compare_blocks(&[], &[]), []);
        assert_eq!(compare_blocks(&[], &[1]).len(), 1);
        assert_eq!(compare_blocks(&[1], &[]).len(), 1);
    }
}
