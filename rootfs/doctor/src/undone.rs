//! What was done to a file, proven: undone, its content has the checksum that it must have.
//!
//! Tried is what disks and memory do: two blocks in each other's place, and a bit that was flipped where the ELF checks found
//! something. Flipped bits elsewhere are too many, and so are pairs of blocks in a long file: it ends when its time is over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kedge_digest::Hasher;
use kedge_digest::lanes::LANES;
use kedge_digest::variants::{Original, Replaced};
use kedge_elf::{Finding, Misplaced, misplaced};
use kedge_packages::Digest;
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;

use crate::change::Change;
use crate::{examine, memory, reading};

/// All files of one question together: with everything else it is not yet a second, and nobody waits longer for what is only good
/// to know.
pub(crate) const PATIENCE: Duration = Duration::from_millis(750);

/// What file systems and newer disks read and write at least, and what older disks do.
const SIZES: [usize; 2] = [4096, 512];

/// A flipped bit makes no more findings, and each of so many bytes.
const FEW_FINDINGS: usize = 4;
const FEW_BYTES: u64 = 64;
/// Blocks with findings that are tried in all places.
const FEW_BLOCKS: usize = 4;

/// In a longer file there is no time for much, and what is known in front of each block takes memory.
const LONGEST: usize = 64 << 20;

/// A file of zeros has millions of pairs of blocks that are the same: so many are looked at before the clock is.
const MOST_LOOKED_AT: usize = 4096;

/// A file's content as it was.
#[derive(Debug)]
pub struct Undone {
    /// What was done to it, in words.
    pub what: String,
    /// Its content with that undone, which has the checksum that it must have.
    pub content: Vec<u8>,
}

/// What was done to the file at `path`, whose content must have this checksum, and its content without; for as long as `patience`
/// says.
///
/// # Errors
/// Why it cannot be read, or not as a whole, or that nothing was found: a clause with a verb.
pub fn undone(
    root: &Sysroot,
    path: &Path,
    must: Digest,
    mut patience: Duration,
) -> Result<Undone, String> {
    let stat = root.metadata(path).map_err(|error| error.to_string())?;
    let length = stat.st_size as u64;
    if length > LONGEST as u64 || !memory::has_room(length) {
        return Err("it is too long to be looked into".into());
    }
    let mut content = examine::read(root, path, length).map_err(|difference| {
        let (is, _) = difference.sides();
        is.unwrap_or_default()
    })?;
    let mut hasher = Hasher::new(must.algorithm());
    hasher.update(&content);
    if hasher.finish() == must {
        return Err("its content is as it must be".into());
    }
    let findings = kedge_elf::check(&content);
    let Some(change) = look_for(&content, must, &findings, &mut patience) else {
        return Err(
            "it was not found what was done to it: no few bits, and no two blocks in each other's place".into(),
        );
    };
    change.undo(&mut content);
    Ok(Undone {
        what: change.to_string(),
        content,
    })
}

/// Looks for it for as long as `patience` says, and takes what it took from it.
pub(crate) fn look_for(
    bytes: &[u8],
    must: Digest,
    findings: &[Finding],
    patience: &mut Duration,
) -> Option<Change> {
    let began = Instant::now();
    let known = flipped(bytes, findings);
    let mut found = alone(bytes, must, &known);
    if found.is_some() || patience.is_zero() || bytes.len() > LONGEST {
        return found;
    }
    let misplaced = misplaced(bytes);
    for (size, parts) in SIZES.into_iter().zip([2, 1]) {
        let left = patience.saturating_sub(began.elapsed());
        if bytes.len() < size || left.is_zero() {
            continue;
        }
        let original = Original::new(bytes, size, must.algorithm());
        let search = Search {
            original: &original,
            size,
            must,
            until: Instant::now() + left / parts,
        };
        found = search.run(&mut candidates(
            bytes.len() / size,
            size,
            findings,
            &misplaced,
            &known,
        ));
        if found.is_some() {
            break;
        }
    }
    *patience = patience.saturating_sub(began.elapsed());
    found
}

/// What may have been done, the likelier first.
fn candidates<'a>(
    count: usize,
    size: usize,
    findings: &'a [Finding],
    misplaced: &'a [Misplaced],
    known: &'a [(usize, u8)],
) -> impl Iterator<Item = Change> + Send + 'a {
    let by_calls = misplaced.iter().filter_map(move |one| {
        let (at, end) = (one.bytes.start as usize, one.bytes.end as usize);
        let (length, belongs) = (end - at, one.belongs as usize);
        let places = [at, belongs, length];
        let fits = at.abs_diff(belongs) >= length && places.iter().all(|p| p.is_multiple_of(size));
        fits.then(|| Change::Exchanged {
            first: at.min(belongs),
            second: at.max(belongs),
            length,
        })
    });
    let told = || findings.iter().map(|finding| finding.bytes.clone());
    let few = findings.len() <= FEW_FINDINGS;
    let bits = told()
        .filter(move |bytes| few && bytes.end.saturating_sub(bytes.start) <= FEW_BYTES)
        .flatten()
        .map(|at| at as usize)
        .filter(move |at| *at < count * size)
        .flat_map(|at| (0..8).map(move |bit| (at, 1 << bit)));
    // What follows from the rest, and one bit more.
    let whole = known.iter().all(|(at, _)| *at < count * size);
    let bits = bits.flat_map(move |bit| {
        let apart = whole && !known.is_empty() && known.iter().all(|(at, _)| *at != bit.0);
        let with_known = apart.then(|| [known, &[bit]].concat());
        [Some(vec![bit]), with_known]
            .into_iter()
            .flatten()
            .map(Change::Flipped)
    });
    let blocks = told().filter(|bytes| !bytes.is_empty());
    let mut blocks: Vec<usize> = blocks.map(|bytes| bytes.start as usize / size).collect();
    blocks.dedup();
    blocks.retain(|block| *block < count);
    blocks.truncate(FEW_BLOCKS);
    let exchanged = move |one: usize, other: usize| Change::Exchanged {
        first: one.min(other) * size,
        second: one.max(other) * size,
        length: size,
    };
    let with_these = blocks
        .into_iter()
        .flat_map(move |block| (0..count).map(move |other| exchanged(block, other)));
    let all = (1..count).flat_map(move |apart| {
        (0..count - apart).map(move |first| exchanged(first, first + apart))
    });
    by_calls.chain(bits).chain(with_these).chain(all)
}

/// By which bits a file differs from what follows from the rest of it, in the order of its bytes.
fn flipped(bytes: &[u8], findings: &[Finding]) -> Vec<(usize, u8)> {
    let fields = findings.iter().filter_map(|finding| finding.must.as_ref());
    let must = fields.flat_map(|field| (field.at as usize..).zip(&field.bytes));
    let differ = must.filter_map(|(at, must)| {
        let is = bytes.get(at)?;
        (is != must).then_some((at, is ^ must))
    });
    let differ: BTreeMap<usize, u8> = differ.collect();
    differ.into_iter().collect()
}

/// Whether these bits are all that was done.
fn alone(bytes: &[u8], must: Digest, flipped: &[(usize, u8)]) -> Option<Change> {
    if flipped.is_empty() {
        return None;
    }
    let mut hasher = Hasher::new(must.algorithm());
    let mut from = 0;
    for &(at, mask) in flipped {
        hasher.update(&bytes[from..at]);
        hasher.update(&[bytes[at] ^ mask]);
        from = at + 1;
    }
    hasher.update(&bytes[from..]);
    (hasher.finish() == must).then(|| Change::Flipped(flipped.to_vec()))
}

/// One way to cut a file into blocks.
struct Search<'a> {
    original: &'a Original<'a>,
    size: usize,
    must: Digest,
    until: Instant,
}

impl Search<'_> {
    /// On all cores.
    fn run(&self, candidates: &mut (dyn Iterator<Item = Change> + Send)) -> Option<Change> {
        let candidates = Mutex::new(candidates);
        let found = Mutex::new(None);
        let lock = |of| Mutex::lock(of).unwrap_or_else(PoisonError::into_inner);
        let work = || {
            while Instant::now() < self.until
                && !interrupt::pressed_already()
                && lock(&found).is_none()
            {
                let mut candidates = candidates.lock().unwrap_or_else(PoisonError::into_inner);
                let some = self.some(&mut **candidates);
                drop(candidates);
                let Some(some) = some else { break };
                if let Some(change) = self.among(&some) {
                    *lock(&found) = Some(change);
                }
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..reading::threads()).map(|_| scope.spawn(work)).collect();
            // The scope alone would not wait for what a thread does at its very end, which a fuzzer takes for a leak.
            for thread in threads {
                if let Err(panic) = thread.join() {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// As many as are hashed at once, without those that change nothing; fewer, where there are many of these. Nothing at the end.
    fn some(&self, candidates: &mut dyn Iterator<Item = Change>) -> Option<Vec<Change>> {
        let mut some = Vec::with_capacity(LANES);
        for _ in 0..MOST_LOOKED_AT {
            match candidates.next() {
                None if some.is_empty() => return None,
                None => break,
                Some(change) if self.changes(&change) => some.push(change),
                Some(_) => {}
            }
            if some.len() == LANES {
                break;
            }
        }
        Some(some)
    }

    fn changes(&self, change: &Change) -> bool {
        let Change::Exchanged {
            first,
            second,
            length,
        } = *change
        else {
            return true;
        };
        let block = |at: usize| self.original.block(at / self.size);
        let mut places = (0..length).step_by(self.size);
        places.any(|into| block(first + into) != block(second + into))
    }

    /// The one of them that was it.
    fn among(&self, some: &[Change]) -> Option<Change> {
        let mended: Vec<_> = some.iter().map(|change| self.mended(change)).collect();
        let variants = some.iter().zip(&mended);
        let variants: Vec<Replaced> = variants
            .map(|(change, mended)| self.undone(change, mended))
            .collect();
        let digests = self.original.digests(&variants);
        let at = digests.into_iter().position(|digest| digest == self.must)?;
        some.get(at).cloned()
    }

    /// The blocks of flipped bits as they were.
    fn mended(&self, change: &Change) -> BTreeMap<usize, Vec<u8>> {
        let mut mended = BTreeMap::new();
        if let Change::Flipped(bytes) = change {
            for (at, mask) in bytes {
                let number = at / self.size;
                let block = mended.entry(number);
                block.or_insert_with(|| self.original.block(number).to_vec())[at % self.size] ^=
                    mask;
            }
        }
        mended
    }

    fn undone<'b>(&'b self, change: &Change, mended: &'b BTreeMap<usize, Vec<u8>>) -> Replaced<'b> {
        match *change {
            Change::Flipped(_) => mended.iter().map(|(at, block)| (*at, &block[..])).collect(),
            Change::Exchanged {
                first,
                second,
                length,
            } => {
                let numbers = (0..length / self.size)
                    .map(|into| (first / self.size + into, second / self.size + into));
                let both = |(a, b)| [(a, self.original.block(b)), (b, self.original.block(a))];
                numbers.flat_map(both).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use kedge_digest::Algorithm;
    use kedge_elf::{Field, Part, Severity};

    use super::*;

    fn content() -> Vec<u8> {
        let mut state = 7u32;
        let byte = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..50_000).map(byte).collect()
    }

    fn digest(bytes: &[u8], algorithm: Algorithm) -> Digest {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    #[test]
    fn two_blocks_in_each_others_place_are_found_by_the_checksum_alone() {
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let must = digest(&content(), algorithm);
            for (first, second, length) in
                [(4096, 40_960, 4096), (0, 4096, 4096), (1024, 48_640, 512)]
            {
                let exchanged = Change::Exchanged {
                    first,
                    second,
                    length,
                };
                let mut bytes = content();
                exchanged.undo(&mut bytes);
                assert!(bytes != content());
                let mut patience = Duration::from_secs(60);
                let found = look_for(&bytes, must, &[], &mut patience);
                assert_eq!(found, Some(exchanged));
                assert!(patience < Duration::from_secs(60));
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found_where_something_is_wrong() {
        let must = digest(&content(), Algorithm::Md5);
        let mut bytes = content();
        bytes[9000] ^= 0x10;
        let finding = |bytes: Range<u64>| Finding {
            severity: Severity::Fatal,
            part: Part::Relocations,
            bytes,
            text: String::new(),
            linker_says: None,
            must: None,
        };
        let mut patience = Duration::from_secs(60);
        // One that goes beyond the end of the file, as a hostile one may.
        let findings = [finding(49_990..50_050), finding(8984..9008)];
        let found = look_for(&bytes, must, &findings, &mut patience);
        assert_eq!(found, Some(Change::Flipped(vec![(9000, 0x10)])));

        // Some more, of which it is known how they must be; one of these is in the other's block.
        let mut findings = findings.to_vec();
        for at in [9100, 30_000, 49_999] {
            findings.push(Finding {
                must: Some(Field {
                    at: at as u64 - 1,
                    bytes: bytes[at - 1..=at].to_vec(),
                }),
                ..finding(at as u64 - 1..at as u64 + 1)
            });
            bytes[at] ^= 3;
        }
        let last = findings.pop();
        bytes[49_999] ^= 3;
        let found = look_for(&bytes, must, &findings, &mut patience).map(|found| found.to_string());
        let told = "5 bits were flipped, and nothing else: bit 0 of the byte at 0x238c, bit 1 of the byte at 0x238c, \
                    bit 0 of the byte at 0x7530, bit 1 of the byte at 0x7530, ...";
        assert_eq!(found.as_deref(), Some(told));

        // That much takes no patience; behind the last whole block too.
        bytes[9000] ^= 0x10;
        bytes[49_999] ^= 3;
        findings.extend(last);
        let found = look_for(&bytes, must, &findings, &mut Duration::default());
        let flipped = [(9100, 3), (30_000, 3), (49_999, 3)];
        assert_eq!(found, Some(Change::Flipped(flipped.to_vec())));
    }

    #[test]
    fn what_was_something_else_is_given_up_in_time() {
        let must = digest(b"another", Algorithm::Md5);
        let mut patience = Duration::from_millis(300);
        let began = Instant::now();
        assert_eq!(look_for(&content(), must, &[], &mut patience), None);
        // Of these no two blocks differ.
        for length in [0, 1, 511, 512, 4097, 32 << 20] {
            let bytes = vec![0; length];
            let patience = &mut Duration::from_millis(300);
            assert_eq!(look_for(&bytes, must, &[], patience), None);
        }
        assert_eq!(
            look_for(&content(), must, &[], &mut Duration::default()),
            None
        );
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
