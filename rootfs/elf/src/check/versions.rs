//! Symbol versions: what `_dl_check_map_versions` asserts, and that names, hashes, counts and indexes go together.

use goblin::elf::dynamic::{
    DT_NEEDED, DT_SONAME, DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM, DT_VERSYM,
};

use super::findings::Findings;
use super::tables::Tables;
use crate::Part;
use crate::versions::{
    BASE, Defined, Needed, VERDAUX_SIZE, VERDEF_SIZE, VERNAUX_SIZE, VERNEED_SIZE, WEAK, defined,
    needed, system_v_hash,
};
use crate::view::{View, escaped};

/// The bit that hides a version from new programs.
const HIDDEN: u16 = 0x8000;

pub(super) fn check(view: &View<'_>, tables: &Tables<'_>, findings: &mut Findings) {
    let (needed, defined) = (needed(view), defined(view));
    for (table, count, length) in [
        (DT_VERNEED, DT_VERNEEDNUM, needed.len()),
        (DT_VERDEF, DT_VERDEFNUM, defined.len()),
    ] {
        let (Some(table), Some(count)) = (view.tag(table), view.tag(count)) else {
            continue;
        };
        if count.value != length as u64 {
            let at = view.offset(table.value).unwrap_or(count.at);
            let text = format!(
                "there must be {} records of versions, and there are {length}",
                count.value
            );
            findings.crash(Part::Versions, at..at + VERNEED_SIZE, text);
        }
    }
    let mut libraries: Vec<&[u8]> = view
        .dynamic
        .iter()
        .filter(|e| e.tag == DT_NEEDED)
        .filter_map(|e| view.short_name(e.value))
        .collect();
    libraries.sort_unstable();
    // The file itself is 1, what is not versioned 0 and 1.
    let mut indexes: Vec<u16> = vec![0, 1];
    for (number, record) in needed.iter().enumerate() {
        needed_record(
            view,
            record,
            number + 1 == needed.len(),
            &libraries,
            findings,
        );
        for name in &record.names {
            indexes.push(name.index & !HIDDEN);
        }
    }
    for (number, record) in defined.iter().enumerate() {
        defined_record(view, record, number + 1 == defined.len(), findings);
        indexes.push(record.index & !HIDDEN);
    }
    indexes.sort_unstable();
    for pair in indexes.windows(2) {
        if pair[0] == pair[1] && pair[0] > 1 {
            let at = view
                .tag(DT_VERNEED)
                .or(view.tag(DT_VERDEF))
                .and_then(|e| view.offset(e.value))
                .unwrap_or(0);
            findings.damage(
                Part::Versions,
                at..at + VERNEED_SIZE,
                format!("two versions have the index {}", pair[0]),
            );
        }
    }
    symbols(view, tables, &indexes, findings);
}

fn hash_of(view: &View<'_>, name: u64) -> Option<u32> {
    view.short_name(name).map(system_v_hash)
}

fn needed_record(
    view: &View<'_>,
    record: &Needed,
    last: bool,
    libraries: &[&[u8]],
    findings: &mut Findings,
) {
    let bytes = record.at..record.at + VERNEED_SIZE;
    if record.version != 1 {
        let text = format!(
            "a record of needed versions is of version {}",
            record.version
        );
        let says = format!("unsupported version {} of Verneed record", record.version);
        findings.fatal(Part::Versions, bytes.clone(), text, &says);
    }
    let file = view.short_name(record.file);
    if file.is_none_or(|file| libraries.binary_search(&file).is_err()) {
        let shown = file
            .map(|f| escaped(&f[..f.len().min(80)]))
            .unwrap_or_default();
        let text = format!(
            "versions of \"{shown}\" are needed, which is not among the libraries needed (DT_NEEDED)"
        );
        let says = "Inconsistency detected by ld.so: dl-version.c: 204: _dl_check_map_versions: Assertion `needed != NULL' failed!";
        findings.fatal(Part::Versions, bytes.clone(), text, says);
    }
    if record.names.len() != usize::from(record.count) || record.count == 0 {
        let text = format!(
            "a record of needed versions must have {} versions, and has {}",
            record.count,
            record.names.len()
        );
        findings.crash(Part::Versions, bytes.clone(), text);
    }
    // GNU ld, gold, lld and mold write them without gaps: the record, its names, the next record; or all records first.
    let end = record.at + VERNEED_SIZE * (1 + u64::from(record.count));
    if last != (record.next == 0)
        || (record.next > 0 && !record.next.is_multiple_of(4))
        || (!last && end > record.at.saturating_add(record.next) && record.next != VERNEED_SIZE)
    {
        findings.crash(
            Part::Versions,
            bytes,
            "the chain of needed versions is broken",
        );
    }
    for (number, name) in record.names.iter().enumerate() {
        let bytes = name.at..name.at + VERNAUX_SIZE;
        let shown = view.short_name(name.name).map(escaped).unwrap_or_default();
        if hash_of(view, name.name) != Some(name.hash) {
            let text = format!(
                "the needed version \"{shown}\" has not the hash {:#010x} that is written beside it",
                name.hash
            );
            let says = format!("version `{shown}' not found");
            findings.fatal(Part::Versions, bytes.clone(), text, &says);
        }
        if name.flags & !WEAK != 0 || name.index & HIDDEN != 0 || name.index < 2 {
            let text = format!(
                "the needed version \"{shown}\" has flags {:#x} and index {:#x}",
                name.flags, name.index
            );
            findings.damage(Part::Versions, bytes.clone(), text);
        }
        let last = number + 1 == record.names.len();
        if last != (name.next == 0) || (!last && name.next != VERNAUX_SIZE) {
            findings.damage(
                Part::Versions,
                bytes,
                "the chain of needed versions is broken",
            );
        }
    }
}

fn defined_record(view: &View<'_>, record: &Defined, last: bool, findings: &mut Findings) {
    let bytes = record.at..record.at + VERDEF_SIZE;
    if record.version != 1 {
        let text = format!(
            "a record of provided versions is of version {}",
            record.version
        );
        let says = format!("unsupported version {} of Verdef record", record.version);
        findings.fatal(Part::Versions, bytes.clone(), text, &says);
    }
    let name = record.names.first().map_or(0, |n| n.0);
    let shown = view.short_name(name).map(escaped).unwrap_or_default();
    if hash_of(view, name) != Some(record.hash) {
        let text = format!(
            "the provided version \"{shown}\" has not the hash {:#010x} that is written beside it",
            record.hash
        );
        findings.fatal(Part::Versions, bytes.clone(), text, "version lookup error");
    }
    if record.flags & !(BASE | WEAK) != 0 || record.index & HIDDEN != 0 || record.index == 0 {
        let text = format!(
            "the provided version \"{shown}\" has flags {:#x} and index {:#x}",
            record.flags, record.index
        );
        findings.damage(Part::Versions, bytes.clone(), text);
    }
    let soname = view.tag(DT_SONAME).and_then(|e| view.short_name(e.value));
    if record.flags & BASE != 0 && soname.is_some() && soname != view.short_name(name) {
        let text = format!(
            "the file calls itself \"{}\" (DT_SONAME), but its versions are those of \"{shown}\"",
            soname.map(escaped).unwrap_or_default()
        );
        findings.damage(Part::Versions, bytes.clone(), text);
    }
    if record.names.len() != usize::from(record.count) || record.count == 0 {
        let text = format!(
            "the provided version \"{shown}\" must have {} names, and has {}",
            record.count,
            record.names.len()
        );
        findings.crash(Part::Versions, bytes.clone(), text);
    }
    let chained = record
        .names
        .iter()
        .rev()
        .skip(1)
        .all(|(_, next)| *next == VERDAUX_SIZE);
    if last != (record.next == 0)
        || !record.next.is_multiple_of(4)
        || record.aux < VERDEF_SIZE
        || !chained
    {
        findings.crash(
            Part::Versions,
            bytes,
            "the chain of provided versions is broken",
        );
    }
}

/// Every symbol's version is one that is needed or provided.
fn symbols(view: &View<'_>, tables: &Tables<'_>, indexes: &[u16], findings: &mut Findings) {
    let Some(start) = view.tag(DT_VERSYM).and_then(|e| view.offset(e.value)) else {
        return;
    };
    for number in 0..tables.symbols.len() {
        let at = start + 2 * number as u64;
        let bytes = at..at + 2;
        let Some(version) = view.u16(at) else {
            return findings.crash(
                Part::Versions,
                bytes,
                "the symbols' versions end behind the file",
            );
        };
        let index = version & !HIDDEN;
        if indexes.binary_search(&index).is_err() {
            let text = format!(
                "{} has version {index}, which there is not",
                tables.symbol_called(number)
            );
            findings.damage(Part::Versions, bytes, text);
        } else if number == 0 && version != 0 {
            findings.damage(Part::Versions, bytes, "symbol 0 has a version");
        }
    }
}
