//! Two files that should be the same, in aligned blocks: where they differ, and how. A disk loses sectors, swaps them,
//! fills them with zeroes; memory flips bits; a bad copy is cut or shifted.
//!
//! Both are read once in order, in bounded memory; the second once more when whole blocks differ, to look for where they
//! belong.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::source::{Bytes, Stretch, stretch};

/// Read at once: a multiple of every block size.
const CHUNK: usize = 1 << 20;
/// So many ranges are told one by one.
pub(crate) const RANGES: usize = 1000;
/// So many differing blocks are looked for elsewhere.
const WANTED: usize = 64 << 10;
/// So many bytes are told one by one.
const BYTES: usize = 8;
/// A shift is looked for so far to both sides, by so many bytes that must be found again.
const SHIFT: u64 = 64 << 10;
const PROBE: usize = 48;

/// How a range of the first file differs from the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// A few bits: offset, byte here, byte there.
    Bits(Vec<(u64, u8, u8)>),
    /// One byte over and over: 0, mostly.
    Filled(u8),
    /// The second has one byte over and over there.
    FilledThere(u8),
    /// Is what the second has at another place.
    MovedFrom(u64),
    /// Is what the second has so many bytes further on (or before).
    Shifted(i64),
    /// Anything else: how many bytes differ.
    Content(u64),
    /// Cannot be read, here or there.
    Unreadable,
}

/// A range of blocks that differ in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) difference: Difference,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Both sizes.
    pub(crate) sizes: (u64, u64),
    /// Blocks of the length that both have.
    pub(crate) blocks: u64,
    /// How many of them differ.
    pub(crate) differing: u64,
    /// In order; at most [`RANGES`].
    pub(crate) ranges: Vec<Range>,
    /// Whether there are more ranges.
    pub(crate) more: bool,
}

impl Comparison {
    pub(crate) fn is_same(&self) -> bool {
        self.differing == 0 && self.sizes.0 == self.sizes.1
    }
}

/// Compares. `told` hears how far it is.
pub(crate) fn compare(
    a: &impl Bytes,
    b: &impl Bytes,
    block: usize,
    told: &mut dyn FnMut(u64),
) -> Comparison {
    let mut found = Comparison {
        sizes: (a.size(), b.size()),
        ..Comparison::default()
    };
    let common = a.size().min(b.size());
    found.blocks = common.div_ceil(block as u64);
    let mut wanted: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut count = 0;
    let mut at = 0;
    while at < common {
        let most = usize::try_from(common - at)
            .unwrap_or(usize::MAX)
            .min(CHUNK);
        let here = pieces(a, at, most);
        let there = pieces(b, at, most);
        for start in (0..most).step_by(block) {
            let end = (start + block).min(most);
            let offset = at + start as u64;
            let (x, y) = (here.get(start, end), there.get(start, end));
            let difference = match (x, y) {
                (Some(x), Some(y)) if x == y => continue,
                (Some(x), Some(y)) => {
                    let difference = differ(x, y, offset);
                    if matches!(difference, Difference::Content(_))
                        && x.len() == block
                        && count < WANTED
                    {
                        wanted.entry(hash(x)).or_default().push(offset);
                        count += 1;
                    }
                    difference
                }
                _ => Difference::Unreadable,
            };
            found.differing += 1;
            push(
                &mut found,
                Range {
                    start: offset,
                    length: (end - start) as u64,
                    difference,
                },
            );
        }
        at += most as u64;
        told(at);
    }
    if !wanted.is_empty() {
        let moved = moved(a, b, block, wanted, told);
        settle(a, b, &mut found, block as u64, &moved);
        shifts(a, b, &mut found);
    }
    found
}

/// A chunk of which some sectors may be unreadable.
struct Pieces {
    bytes: Vec<u8>,
    holes: Vec<(usize, usize)>,
}

impl Pieces {
    fn get(&self, start: usize, end: usize) -> Option<&[u8]> {
        let hole = self
            .holes
            .iter()
            .any(|&(from, to)| from < end && start < to);
        self.bytes.get(start..end).filter(|_| !hole)
    }
}

fn pieces(bytes: &impl Bytes, at: u64, length: usize) -> Pieces {
    let mut pieces = Pieces {
        bytes: Vec::with_capacity(length),
        holes: Vec::new(),
    };
    while pieces.bytes.len() < length {
        let start = pieces.bytes.len();
        match stretch(bytes, at + start as u64, length - start) {
            None => break,
            Some(Stretch::Read(read)) => pieces.bytes.extend_from_slice(&read),
            Some(Stretch::Unreadable(count, _)) => {
                let end = (start + count as usize).min(length);
                pieces.bytes.resize(end, 0);
                pieces.holes.push((start, end));
            }
        }
    }
    pieces
}

fn filled(bytes: &[u8]) -> Option<u8> {
    let first = *bytes.first()?;
    bytes.iter().all(|&byte| byte == first).then_some(first)
}

fn differ(x: &[u8], y: &[u8], offset: u64) -> Difference {
    let pairs = x.iter().zip(y).enumerate().filter(|(_, (x, y))| x != y);
    let (mut bytes, mut bits) = (0, 0);
    let mut list = Vec::new();
    for (i, (&x, &y)) in pairs {
        bytes += 1;
        bits += u64::from((x ^ y).count_ones());
        if list.len() < BYTES {
            list.push((offset + i as u64, x, y));
        }
    }
    // Before the filled ones: a zero with one bit set was zeroes.
    if bits <= 3 {
        return Difference::Bits(list);
    }
    match (filled(x), filled(y)) {
        (Some(byte), _) => Difference::Filled(byte),
        (_, Some(byte)) => Difference::FilledThere(byte),
        _ => Difference::Content(bytes),
    }
}

/// Appends, or makes the last one longer.
fn push(found: &mut Comparison, range: Range) {
    if let Some(last) = found.ranges.last_mut()
        && last.start + last.length == range.start
        && join(
            &mut last.difference,
            &range.difference,
            last.start,
            range.start,
        )
    {
        last.length += range.length;
        return;
    }
    if found.ranges.len() == RANGES {
        found.more = true;
        return;
    }
    found.ranges.push(range);
}

/// Whether a difference goes on with the next block's.
fn join(last: &mut Difference, next: &Difference, from: u64, to: u64) -> bool {
    match (last, next) {
        (Difference::Filled(x), Difference::Filled(y)) => x == y,
        (Difference::FilledThere(x), Difference::FilledThere(y)) => x == y,
        (Difference::Unreadable, Difference::Unreadable) => true,
        (Difference::Content(x), Difference::Content(y)) => {
            *x += y;
            true
        }
        (Difference::MovedFrom(x), Difference::MovedFrom(y)) => x.wrapping_add(to - from) == *y,
        _ => false,
    }
}

fn hash(bytes: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

/// Where in `b` the wanted blocks of `a` are: by `a`'s offset.
fn moved(
    a: &impl Bytes,
    b: &impl Bytes,
    block: usize,
    mut wanted: HashMap<u64, Vec<u64>>,
    told: &mut dyn FnMut(u64),
) -> HashMap<u64, u64> {
    let mut moved = HashMap::new();
    let mut at = 0;
    while at < b.size() {
        let chunk = pieces(b, at, CHUNK);
        if chunk.bytes.is_empty() {
            break;
        }
        for start in (0..chunk.bytes.len()).step_by(block) {
            let Some(bytes) = chunk.get(start, start + block) else {
                continue;
            };
            let std::collections::hash_map::Entry::Occupied(mut of) = wanted.entry(hash(bytes))
            else {
                continue;
            };
            // What was found is wanted no more: of the same block there may be thousands, there as here.
            of.get_mut().retain(|&of| {
                // A hash is no proof.
                let found = a.piece(of, block) == bytes;
                if found {
                    moved.insert(of, at + start as u64);
                }
                !found
            });
            if of.get().is_empty() {
                of.remove();
            }
        }
        if wanted.is_empty() {
            break;
        }
        at += chunk.bytes.len() as u64;
        told(at);
    }
    moved
}

/// Splits what differs anyhow where its blocks were found elsewhere.
fn settle(
    a: &impl Bytes,
    b: &impl Bytes,
    found: &mut Comparison,
    block: u64,
    moved: &HashMap<u64, u64>,
) {
    let ranges = std::mem::take(&mut found.ranges);
    for range in ranges {
        let content = matches!(range.difference, Difference::Content(_));
        let any = (range.start..range.start + range.length)
            .step_by(block as usize)
            .any(|at| moved.contains_key(&at));
        if !content || !any {
            push(found, range);
            continue;
        }
        let mut at = range.start;
        while at < range.start + range.length {
            let length = block.min(range.start + range.length - at);
            let difference = match moved.get(&at) {
                Some(&from) => Difference::MovedFrom(from),
                None => {
                    let (x, y) = (a.piece(at, length as usize), b.piece(at, length as usize));
                    let differing = x.iter().zip(&y).filter(|(x, y)| x != y).count();
                    Difference::Content(differing as u64)
                }
            };
            push(
                found,
                Range {
                    start: at,
                    length,
                    difference,
                },
            );
            at += length;
        }
    }
}

/// Looks for content that is there, some bytes further on or before.
fn shifts(a: &impl Bytes, b: &impl Bytes, found: &mut Comparison) {
    for range in &mut found.ranges {
        if !matches!(range.difference, Difference::Content(_)) || range.length < 2 * PROBE as u64 {
            continue;
        }
        let middle = range.start + range.length / 2;
        let probe = a.piece(middle, PROBE);
        if probe.len() < PROBE || filled(&probe).is_some() {
            continue;
        }
        let from = middle.saturating_sub(SHIFT);
        let window = b.piece(from, 2 * SHIFT as usize + PROBE);
        let mut places = window
            .windows(PROBE)
            .enumerate()
            .filter(|(_, bytes)| *bytes == probe);
        let (Some((at, _)), None) = (places.next(), places.next()) else {
            continue;
        };
        let by = (from + at as u64).wrapping_sub(middle) as i64;
        if by != 0 && is_shifted(a, b, range, by) {
            range.difference = Difference::Shifted(by);
        }
    }
}

/// Most of the range, judged by its second half's beginning, is the same so many bytes further on.
fn is_shifted(a: &impl Bytes, b: &impl Bytes, range: &Range, by: i64) -> bool {
    let middle = range.start + range.length / 2;
    let length = usize::try_from(range.length / 2)
        .unwrap_or(CHUNK)
        .min(CHUNK);
    let Some(there) = middle.checked_add_signed(by) else {
        return false;
    };
    let (here, there) = (a.piece(middle, length), b.piece(there, length));
    let common = here.len().min(there.len());
    let same = here.iter().zip(&there).filter(|(x, y)| x == y).count();
    common >= length / 2 && same * 10 >= common * 9
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
