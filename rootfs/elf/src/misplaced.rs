//! Blocks of code that are in each other's place: disks, arrays and caches lose track of where a block belongs.
//!
//! A call says how far from it a function begins. From another place all calls of a block lead astray: not to where functions
//! begin, as nearly all others of the file do; and to such again when they are reckoned from where the block belongs. Data says
//! nothing of the kind, and neither does code that calls nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::check::frames::Frames;
use crate::machine::Machine;
use crate::view::View;

/// What file systems and newer disks read and write at least, and what older disks do.
const SIZES: [u64; 2] = [4096, 512];

/// A file that calls less often says nothing.
const FEWEST: usize = 50;

/// Calls that a block must have to be judged.
const A_FEW: usize = 5;

/// So many where less can be chance: in what is no code by its segment, and where nothing else speaks for it.
const MANY: usize = 12;

/// More blocks than this in wrong places are another kind of damage, and would keep us busy.
const MOST: usize = 64;

/// Linkers make three procedure linkage tables at most.
const MOST_TABLES: usize = 4;

/// So many calls are tried in all places: a hostile file has them everywhere. A second's work.
const MOST_TRIES: usize = 20_000_000;

/// What is written in assembly calls parts of itself that are no functions to anybody else: not farther than this, or this part of
/// a short file's code.
const NEAR: u64 = 16 << 10;
const NEAR_PART: u64 = 8;

/// An entry of a procedure linkage table.
const PLT_ENTRY: u64 = 16;

/// A block of code, or several that follow each other, where they do not belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// Where it is, by offsets in the file.
    pub bytes: Range<u64>,
    /// The offset where it belongs.
    pub belongs: u64,
    /// What is there now belongs here: they were exchanged. Otherwise what is there calls too seldom to be told, or is the same.
    pub exchanged: bool,
    /// It cannot be by chance, where the file is no trap. What is not sure is worth a try if the file's checksum is known.
    pub sure: bool,
}

impl Misplaced {
    /// How many bytes these are.
    fn length(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// Where they belong.
    fn home(&self) -> Range<u64> {
        self.belongs..self.belongs + self.length()
    }

    /// Whether `next` is behind it, here and where they belong.
    fn goes_on_with(&self, next: &Misplaced) -> bool {
        self.bytes.end == next.bytes.start && self.home().end == next.belongs
    }

    /// Of which block size these are whole blocks: 4096 or 512.
    pub fn alignment(&self) -> u64 {
        let [page, sector] = SIZES;
        let places = [self.bytes.start, self.bytes.end, self.belongs];
        match places.iter().all(|at| at.is_multiple_of(page)) {
            true => page,
            false => sector,
        }
    }
}

/// "the 4096 bytes at 0x47000 and those at 0x91000 are in each other's place".
impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, length) = (self.bytes.start, self.length());
        let belongs = self.belongs;
        match self.exchanged {
            true => write!(
                f,
                "the {length} bytes at {at:#x} and those at {belongs:#x} are in each other's place"
            ),
            false => write!(f, "the {length} bytes at {at:#x} belong at {belongs:#x}"),
        }
    }
}

/// Blocks of code in wrong places; of two that were exchanged, the first. Only of machines whose calls are told easily: x86 and
/// AArch64.
pub fn misplaced(bytes: &[u8]) -> Vec<Misplaced> {
    View::read(bytes)
        .map(|view| misplaced_in(&view, &Frames::read(&view)))
        .unwrap_or_default()
}

pub(crate) fn misplaced_in(view: &View<'_>, frames: &Frames<'_>) -> Vec<Misplaced> {
    let mut found: Vec<Misplaced> = Vec::new();
    if view.is_debug_file() || !view.is_for_linux() {
        return found;
    }
    let Some(code) = Code::read(view, frames) else {
        return found;
    };
    for size in SIZES {
        let known = found.clone();
        let is_known = |at: u64| {
            let has = |one: &Misplaced| one.bytes.contains(&at) || one.home().contains(&at);
            known.iter().any(has)
        };
        let more = code.misplaced(size);
        found.extend(more.into_iter().filter(|one| !is_known(one.bytes.start)));
    }
    found
}

/// What is executed, and what may be called in it.
struct Code<'a> {
    view: &'a View<'a>,
    machine: Machine,
    /// The segment that is executed, in bytes of the file, and its address.
    bytes: Range<u64>,
    address: u64,
    /// Where functions begin, sorted.
    functions: Vec<u64>,
    /// Addresses of procedure linkage tables.
    tables: Vec<Range<u64>>,
}

/// A block that is executed.
struct Block {
    at: u64,
    address: u64,
    calls: usize,
    /// Calls that lead to where functions begin.
    good: usize,
}

impl Block {
    fn is_astray(&self) -> bool {
        self.calls >= A_FEW && self.good * 3 <= self.calls
    }

    /// What is there may belong elsewhere, as far as is known.
    fn may_be_astray(&self) -> bool {
        self.calls < A_FEW || self.is_astray()
    }
}

impl<'a> Code<'a> {
    /// None where calls cannot be told or say nothing.
    fn read(view: &'a View<'a>, frames: &Frames<'a>) -> Option<Code<'a>> {
        let machine = Machine::of(view.header.e_machine)?;
        if !matches!(machine, Machine::X86_64 | Machine::I386 | Machine::Aarch64) {
            return None;
        }
        let mut executed = view.loads().filter(|p| p.is_executable());
        // Linkers make one; a hostile file has hundreds that are all of it.
        let (Some(segment), None) = (executed.next(), executed.next()) else {
            return None;
        };
        let end = segment.p_offset.saturating_add(segment.p_filesz);
        let end = end.min(view.len());
        let tables = view.sections.iter().filter(|s| s.name.starts_with(".plt"));
        let tables = tables.take(MOST_TABLES);
        let code = Code {
            view,
            machine,
            functions: frames.functions(),
            tables: tables.map(|section| section.addresses()).collect(),
            bytes: segment.p_offset.min(end)..end,
            address: segment.p_vaddr,
        };
        (code.functions.len() > FEWEST).then_some(code)
    }

    /// Blocks of this size in wrong places.
    fn misplaced(&self, size: u64) -> Vec<Misplaced> {
        let blocks: Vec<Block> = self.blocks(size).collect();
        let (calls, good) = blocks.iter().fold((0, 0), |(calls, good), block| {
            (calls + block.calls, good + block.good)
        });
        // Otherwise they lead where nothing is known of.
        if calls < FEWEST || good * 10 < calls * 8 {
            return Vec::new();
        }
        let free: Vec<&Block> = blocks.iter().filter(|b| b.may_be_astray()).collect();
        let astray = blocks.iter().filter(|b| b.is_astray());
        let astray = astray.map(|b| (b.at, b.good, true));
        let other = self.others(size).map(|at| (at, 0, false));
        let mut tries = 0;
        let mut found: Vec<Misplaced> = Vec::new();
        for (at, good, executed) in astray.chain(other).take(MOST) {
            let calls: Vec<(u64, i64)> = self.calls(at..at + size).collect();
            // Where the same is, it may belong as well; two of these are no better known than a hundred.
            let equal = blocks.iter().filter(|b| self.is_equal(at, b.at, size));
            let equal: Vec<&Block> = equal.take(2).collect();
            tries += calls.len() * (free.len() + equal.len());
            if tries > MOST_TRIES {
                break;
            }
            let places = free.iter().chain(&equal).map(|block| Place {
                good: self.good(&calls, block.address),
                at: block.at,
            });
            let fewest = if executed { A_FEW.max(2 * good) } else { MANY };
            let Some((belongs, alone)) = best(places, fewest) else {
                continue;
            };
            let one = Misplaced {
                bytes: at..at + size,
                belongs,
                exchanged: false,
                sure: executed && alone,
            };
            match found.last_mut().filter(|last| last.goes_on_with(&one)) {
                Some(last) => {
                    last.bytes.end += size;
                    last.sure |= one.sure;
                }
                None => found.push(one),
            }
        }
        exchanged(found)
    }

    fn is_equal(&self, one: u64, other: u64, size: u64) -> bool {
        one != other && self.view.part(one..one + size) == self.view.part(other..other + size)
    }

    /// How much code there is.
    fn length(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// Whole blocks that are executed.
    fn blocks(&self, size: u64) -> impl Iterator<Item = Block> {
        let first = self.bytes.start.next_multiple_of(size);
        let count = self.bytes.end.saturating_sub(first) / size;
        (0..count).map(move |number| {
            let at = first + number * size;
            let address = self.address.wrapping_add(at - self.bytes.start);
            let calls: Vec<(u64, i64)> = self.calls(at..at + size).collect();
            let (calls, good) = self.good(&calls, address);
            Block {
                at,
                address,
                calls,
                good,
            }
        })
    }

    /// Whole blocks that are not executed, and have what looks like many calls.
    fn others(&self, size: u64) -> impl Iterator<Item = u64> {
        let is_executed = move |at: u64| self.bytes.start < at + size && at < self.bytes.end;
        let calls_often = move |at: u64| self.calls(at..at + size).nth(MANY - 1).is_some();
        (0..self.view.len() / size)
            .map(move |number| number * size)
            .filter(move |&at| !is_executed(at) && calls_often(at))
    }

    /// How many functions these calls lead to, when their block is at this address, and how many of these are known to be some.
    fn good(&self, calls: &[(u64, i64)], address: u64) -> (usize, usize) {
        let near = NEAR.min(self.length() / NEAR_PART);
        let mut all = BTreeMap::new();
        for &(at, distance) in calls {
            let target = address.wrapping_add(at).wrapping_add_signed(distance);
            let good = self.functions.binary_search(&target).is_ok() || self.is_table(target);
            if good || distance.unsigned_abs() > near {
                all.insert(target, good);
            }
        }
        (all.len(), all.values().filter(|&&good| good).count())
    }

    /// Whether it is where an entry of a procedure linkage table begins.
    fn is_table(&self, address: u64) -> bool {
        let of = |table: &Range<u64>| {
            table.contains(&address) && (address - table.start).is_multiple_of(PLT_ENTRY)
        };
        self.tables.iter().any(of)
    }

    /// What looks like calls in these bytes: from where in them, and how far.
    fn calls(&self, range: Range<u64>) -> impl Iterator<Item = (u64, i64)> {
        let bytes = self.view.part(range).unwrap_or_default();
        let aarch64 = self.machine == Machine::Aarch64;
        let step = if aarch64 { 4 } else { 1 };
        let call = move |at: usize| match aarch64 {
            true => branch_with_link(bytes, at),
            false => call(bytes, at),
        };
        // No call leads farther.
        let farthest = self.length();
        (0..bytes.len())
            .step_by(step)
            .filter_map(call)
            .filter(move |(_, distance)| distance.unsigned_abs() < farthest)
    }
}

/// x86's `CALL rel32` (Intel SDM, volume 2): counted from behind it.
fn call(bytes: &[u8], at: usize) -> Option<(u64, i64)> {
    let (&opcode, rest) = bytes.get(at..)?.split_first()?;
    let distance = rest.first_chunk().filter(|_| opcode == 0xe8)?;
    Some((at as u64 + 5, i64::from(i32::from_le_bytes(*distance))))
}

/// AArch64's `BL` (Arm ARM, C6.2): 26 bits, in instructions, counted from itself.
fn branch_with_link(bytes: &[u8], at: usize) -> Option<(u64, i64)> {
    let word = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
    let distance = (word << 6) as i32 >> 4;
    (word >> 26 == 0b100101).then_some((at as u64, i64::from(distance)))
}

/// How well a block would be somewhere.
struct Place {
    /// How many functions it would call, and how many of these are known.
    good: (usize, usize),
    at: u64,
}

/// Where by far the most of a block's calls are good, and whether there is no other such place.
fn best(places: impl Iterator<Item = Place>, fewest: usize) -> Option<(u64, bool)> {
    let mut best: Option<Place> = None;
    let mut second = 0;
    for place in places {
        let known = best.as_ref().map_or(0, |best| best.good.1);
        second = second.max(known.min(place.good.1));
        if place.good.1 > known {
            best = Some(place);
        }
    }
    let Place {
        good: (all, good),
        at,
    } = best?;
    let alone = good >= MANY && second * 2 <= good;
    (good >= fewest && good * 4 >= all * 3).then_some((at, alone))
}

/// Of two that belong in each other's place, the first.
fn exchanged(found: Vec<Misplaced>) -> Vec<Misplaced> {
    let back = |one: &Misplaced| {
        let is_back = |other: &Misplaced| other.bytes == one.home() && other.home() == one.bytes;
        found.iter().position(is_back)
    };
    let pairs: Vec<Option<usize>> = found.iter().map(back).collect();
    let of = |(index, one): (usize, &Misplaced)| {
        let pair = pairs[index];
        pair.is_none_or(|other| index < other).then(|| Misplaced {
            exchanged: pair.is_some(),
            sure: pair.is_some() || one.sure,
            ..one.clone()
        })
    };
    found.iter().enumerate().filter_map(of).collect()
}
