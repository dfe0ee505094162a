//! The hash tables by which symbols are found: `DT_GNU_HASH` (buckets, chains and a Bloom filter) and `DT_HASH`. A symbol
//! whose name, chain, bucket or filter is damaged is not found by anybody.

use goblin::elf::dynamic::{DT_GNU_HASH, DT_HASH};
use goblin::elf::header::EM_S390;

use super::findings::Findings;
use super::tables::Tables;
use crate::Part;
use crate::versions::system_v_hash;
use crate::view::View;

pub(super) fn check(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    if let Some(at) = view.tag(DT_GNU_HASH).and_then(|e| view.offset(e.value)) {
        Gnu::check(view, tables, at, findings);
    }
    if let Some(at) = view.tag(DT_HASH).and_then(|e| view.offset(e.value)) {
        system_v(view, tables, at, findings);
    }
}

/// Linux has used this number since before there was an official one.
const EM_ALPHA: u16 = 0x9026;

/// Bernstein's hash, as `DT_GNU_HASH` uses it.
fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| {
        hash.wrapping_mul(33).wrapping_add(byte.into())
    })
}

/// The table's header, and where its parts are.
struct Gnu {
    at: u64,
    buckets: u64,
    /// The first symbol that is in the table.
    first: u64,
    filter_words: u64,
    shift: u32,
}

impl Gnu {
    fn check(view: &View<'_>, tables: &Tables<'_>, at: u64, findings: &mut Findings) {
        let read = |index: u64| view.u32(at + 4 * index);
        let (Some(buckets), Some(first), Some(words), Some(shift)) =
            (read(0), read(1), read(2), read(3))
        else {
            return findings.crash(
                Part::Hash,
                at..at + 16,
                "the table of symbols' hashes ends behind the file",
            );
        };
        let table = Gnu {
            at,
            buckets: buckets.into(),
            first: first.into(),
            filter_words: words.into(),
            shift,
        };
        if !words.is_power_of_two() {
            let text =
                format!("the filter of the symbols' hashes has {words} words, no power of two");
            let says = "Inconsistency detected by ld.so: dl-setup_hash.c: 36: _dl_setup_hash: Assertion `(bitmask_nwords & (bitmask_nwords - 1)) == 0' failed!";
            return findings.fatal(Part::Hash, at + 8..at + 12, text, says);
        }
        let symbols = tables.symbols.len() as u64;
        let empty = tables.symbols.iter().all(|s| !super::symbols::is_hashed(s));
        // Without a symbol that others may look for, GNU ld writes a table for none, and what it says is not looked at.
        if empty && buckets == 1 && words == 1 {
            return;
        }
        let hashed = symbols.saturating_sub(table.first);
        if buckets == 0
            || shift >= if view.is_64() { 64 } else { 32 }
            || (!empty && table.first >= symbols)
        {
            let text = format!(
                "the table of symbols' hashes says {buckets} buckets, shift {shift}, {first} symbols before the first"
            );
            return findings.crash(Part::Hash, at..at + 16, text);
        }
        if view
            .part(at..table.chains(view).saturating_add(4 * hashed))
            .is_none()
        {
            return findings.crash(
                Part::Hash,
                at..at + 16,
                "the table of symbols' hashes ends behind the file",
            );
        }
        table.ends_with_its_section(view, hashed, findings);
        table.buckets(view, symbols, findings);
        for index in table.first..symbols {
            table.symbol(view, tables, index, symbols, findings);
        }
    }

    fn filter(&self) -> u64 {
        self.at + 16
    }

    fn bucket(&self, view: &View<'_>, index: u64) -> u64 {
        self.filter()
            .saturating_add(self.filter_words * view.word_size())
            + 4 * index
    }

    fn chains(&self, view: &View<'_>) -> u64 {
        self.bucket(view, self.buckets)
    }

    fn ends_with_its_section(&self, view: &View<'_>, hashed: u64, findings: &mut Findings) {
        let section = view
            .sections
            .iter()
            .find(|s| s.is_loaded() && s.header.sh_offset == self.at && s.is_in_file());
        let end = self.chains(view) + 4 * hashed;
        // GNU ld leaves one chain where no symbol is hashed.
        let room = if hashed <= 1 { 4 } else { 0 };
        if let Some(section) = section.filter(|s| s.range().end.abs_diff(end) > room) {
            let text = format!(
                "the table of symbols' hashes ends at {end:#x}, but its section at {:#x}",
                section.range().end
            );
            findings.damage(Part::Hash, self.at..self.at + 16, text);
        }
    }

    fn buckets(&self, view: &View<'_>, symbols: u64, findings: &mut Findings) {
        let mut last = 0;
        for index in 0..self.buckets {
            let at = self.bucket(view, index);
            let start = view.u32(at).map_or(0, u64::from);
            if start == 0 {
                continue;
            }
            // All symbols of one bucket lie side by side, in the order of the buckets.
            if start < self.first || start >= symbols.max(self.first + 1) || start <= last {
                let text = format!(
                    "bucket {index} of the symbols' hashes begins at symbol {start}, which cannot be"
                );
                findings.crash(Part::Hash, at..at + 4, text);
            }
            last = start;
        }
    }

    /// The chain, the bucket and the filter have what the name hashes to.
    fn symbol(
        &self,
        view: &View<'_>,
        tables: &Tables<'_>,
        index: u64,
        symbols: u64,
        findings: &mut Findings,
    ) {
        let at = self.chains(view) + 4 * (index - self.first);
        let chain = view.u32(at).unwrap_or(0);
        let name = tables.name(index as usize);
        let hash = gnu_hash(name);
        let lost = |findings: &mut Findings, bytes, why: &str| {
            let text = format!(
                "{} is not found by its name: {why}",
                tables.symbol_called(index as usize)
            );
            let says = format!(
                "undefined symbol: {}",
                crate::view::escaped(&name[..name.len().min(200)])
            );
            findings.damage_saying(Part::Hash, bytes, text, &says);
        };
        if chain | 1 != hash | 1 {
            return lost(findings, at..at + 4, "its hash is not the one in the table");
        }
        let bucket = u64::from(hash) % self.buckets;
        let next = (index + 1 < symbols)
            .then(|| u64::from(gnu_hash(tables.name(index as usize + 1))) % self.buckets);
        if (chain & 1 == 1) != (next != Some(bucket)) {
            lost(findings, at..at + 4, "its chain ends at the wrong place");
        }
        let before = (index > self.first)
            .then(|| u64::from(gnu_hash(tables.name(index as usize - 1))) % self.buckets);
        let bucket_at = self.bucket(view, bucket);
        if before != Some(bucket) && view.u32(bucket_at).map(u64::from) != Some(index) {
            lost(
                findings,
                bucket_at..bucket_at + 4,
                "its bucket begins elsewhere",
            );
        }
        let bits = view.word_size() * 8;
        let word_at =
            self.filter() + ((u64::from(hash) / bits) & (self.filter_words - 1)) * view.word_size();
        let word = view.word(word_at).unwrap_or(0);
        let second = u64::from(hash.checked_shr(self.shift).unwrap_or(0)) % bits;
        if word >> (u64::from(hash) % bits) & word >> second & 1 == 0 {
            lost(
                findings,
                word_at..word_at + view.word_size(),
                "the filter has it not",
            );
        }
    }
}

fn system_v(view: &View<'_>, tables: &Tables<'_>, at: u64, findings: &mut Findings) {
    // Two machines have entries of 64 bits.
    let size = match view.header.e_machine {
        EM_S390 | EM_ALPHA if view.is_64() => 8,
        _ => 4,
    };
    let read = |index: u64| {
        let at = at.checked_add(index.checked_mul(size)?)?;
        if size == 8 {
            view.u64(at)
        } else {
            view.u32(at).map(u64::from)
        }
    };
    let (Some(buckets), Some(chains)) = (read(0), read(1)) else {
        return findings.crash(
            Part::Hash,
            at..at + 2 * size,
            "the table of symbols' hashes ends behind the file",
        );
    };
    let symbols = tables.symbols.len() as u64;
    let room = view.len() / size;
    if buckets == 0 || chains != symbols || buckets > room || read(1 + buckets + chains).is_none() {
        let text = format!(
            "the table of symbols' hashes says {buckets} buckets and {chains} symbols, of {symbols}"
        );
        return findings.crash(Part::Hash, at..at + 2 * size, text);
    }
    let mut found = vec![false; symbols as usize];
    // Once for each: in a hostile table all buckets lead to one symbol, with a long name.
    let all = 0..symbols as usize;
    let hashes: Vec<u32> = all.map(|index| system_v_hash(tables.name(index))).collect();
    for bucket in 0..buckets {
        let mut index = read(2 + bucket).unwrap_or(0);
        let mut place = at + size * (2 + bucket);
        while index != 0 {
            let sound = found.get(index as usize) == Some(&false)
                && u64::from(hashes[index as usize]) % buckets == bucket;
            if !sound {
                let text = format!(
                    "bucket {bucket} of the symbols' hashes (DT_HASH) leads to symbol {index}, which does not belong there"
                );
                findings.damage(Part::Hash, place..place + size, text);
                break;
            }
            found[index as usize] = true;
            place = at + size * (2 + buckets + index);
            index = read(2 + buckets + index).unwrap_or(0);
        }
    }
    for (index, found) in found.iter().enumerate().skip(1) {
        if !found && super::symbols::is_hashed(&tables.symbols[index]) {
            let text = format!(
                "{} is not found by its name (DT_HASH)",
                tables.symbol_called(index)
            );
            findings.damage(Part::Hash, tables.symbol_place(view, index), text);
        }
    }
}
