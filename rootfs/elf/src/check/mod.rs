//! All checks, in the order in which the dynamic linker would come to them.
//!
//! Three kinds of rule. What the dynamic linker or the kernel dies of is fatal. What every linker writes alike, or writes
//! twice (program headers, section headers and the dynamic section tell of the same places), is damage where it is
//! otherwise. And what this very file does everywhere but in one place ([`findings::Custom`]) is damage in that place.

mod coverage;
mod dynamic;
mod findings;
pub(crate) mod frames;
mod hash;
mod header;
mod layout;
mod notes;
mod order;
mod programs;
mod relocations;
mod sections;
mod symbols;
mod tables;
mod versions;

use crate::blocks::zeroed_in;
use crate::misplaced::misplaced_in;
use crate::view::{MAGIC, View};
use crate::{Finding, Part};
use findings::Findings;
use tables::Tables;

/// Everything that is wrong with the file whose content is `bytes`, worst first; empty when it is whole as far as can be
/// seen. A file that is no ELF file has no findings; one whose magic number alone is damaged has.
pub fn check(bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Findings::default();
    if !is_or_was_elf(bytes) {
        return Vec::new();
    }
    let Some(view) = View::read(bytes) else {
        let text = format!(
            "the file has {} bytes, too few for an ELF header, or no part of the header makes sense",
            bytes.len()
        );
        let says = if bytes.len() < 64 {
            "file too short"
        } else {
            "invalid ELF header"
        };
        findings.fatal(Part::Header, 0..bytes.len() as u64, text, says);
        return findings.finish();
    };
    header::check(&view, &mut findings);
    programs::check(&view, &mut findings);
    sections::check(&view, &mut findings);
    layout::check(&view, &mut findings);
    let frames = frames::Frames::read(&view);
    zeroes(&view, &frames, &mut findings);
    places(&view, &frames, &mut findings);
    frames::check(&view, &frames, &mut findings);
    if view.is_debug_file() || !view.is_for_linux() {
        return findings.finish();
    }
    let tables = Tables::read(&view);
    dynamic::check(&view, &tables, &frames, &mut findings);
    notes::check(&view, &mut findings);
    versions::check(&view, &tables, &mut findings);
    symbols::check(&view, &tables, &mut findings);
    hash::check(&view, &tables, &mut findings);
    relocations::check(&view, &tables, &frames, &mut findings);
    order::check(&view, &tables, &mut findings);
    coverage::check(&view, &tables, &frames, &mut findings);
    findings.finish()
}

/// Sectors of zeros where there are none by nature.
fn zeroes(view: &View<'_>, frames: &frames::Frames<'_>, findings: &mut Findings) {
    for (zeros, among) in zeroed_in(view, frames) {
        let text = format!(
            "{zeros}, in {among}, where there is something; {} bytes are a block of a disk",
            zeros.alignment()
        );
        findings.damage(Part::Content, zeros.bytes, text);
    }
}

/// Blocks of code where others belong.
fn places(view: &View<'_>, frames: &frames::Frames<'_>, findings: &mut Findings) {
    let sure = misplaced_in(view, frames)
        .into_iter()
        .filter(|one| one.sure);
    for one in sure {
        let text = format!(
            "{one}, by where their calls lead; {} bytes are a block of a disk",
            one.alignment()
        );
        findings.damage(Part::Content, one.bytes, text);
    }
}

/// The magic number, or nearly: one byte of it is off, and the rest of the header speaks for it.
fn is_or_was_elf(bytes: &[u8]) -> bool {
    if bytes.starts_with(&MAGIC) {
        return true;
    }
    let Some(start) = bytes.get(..64) else {
        return false;
    };
    let equal = start.iter().zip(MAGIC).filter(|(a, b)| **a == *b).count();
    equal == 3
        && matches!(start[4], 1 | 2)
        && matches!(start[5], 1 | 2)
        && start[6] == 1
        && start[9..16].iter().all(|&b| b == 0)
}
