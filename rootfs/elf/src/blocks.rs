//! Damage by blocks: disks, RAID and caches lose 512 or 4096 bytes at a time, at multiples of that, and have zeros
//! instead.

use std::fmt;
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

/// Whole sectors of zeros, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zeros {
    /// Where, by offsets in the file.
    pub bytes: Range<u64>,
}

impl Zeros {
    /// Of which block size these are whole blocks: 4096 or 512.
    pub fn alignment(&self) -> u64 {
        let aligned = |at: u64| at.is_multiple_of(PAGE);
        match aligned(self.bytes.start) && aligned(self.bytes.end) {
            true => PAGE,
            false => SECTOR,
        }
    }
}

/// "4096 bytes at 0x47000 are zero".
impl fmt::Display for Zeros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, length) = (self.bytes.start, self.bytes.end - self.bytes.start);
        write!(f, "{length} bytes at {at:#x} are zero")
    }
}

/// Sectors of nothing but zeros among code, relocations, symbols and unwinding tables, where there are none by nature, with what
/// they are among. Zeroed data cannot be told from data that is zero.
pub fn zeroed(bytes: &[u8]) -> Vec<(Zeros, String)> {
    View::read(bytes)
        .map(|view| zeroed_in(&view, &Frames::read(&view)))
        .unwrap_or_default()
}

pub(crate) fn zeroed_in(view: &View<'_>, frames: &Frames<'_>) -> Vec<(Zeros, String)> {
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
                .map(|zeros| (zeros, "what is executed".to_owned()));
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
        found.extend(runs.map(|zeros| (zeros, section.name.clone())));
    }
    found
}

/// Whole sectors of zeros within a range, together where they follow each other.
fn zero_runs(view: &View<'_>, range: Range<u64>) -> Vec<Zeros> {
    let mut runs: Vec<Zeros> = Vec::new();
    let Some(mut start) = range.start.checked_next_multiple_of(SECTOR) else {
        return runs;
    };
    let end = range.end.min(view.len());
    while let Some(next) = start.checked_add(SECTOR).filter(|next| *next <= end) {
        if view
            .part(start..next)
            .is_some_and(|sector| sector.iter().all(|&b| b == 0))
        {
            match runs.last_mut().filter(|last| last.bytes.end == start) {
                Some(last) => last.bytes.end = next,
                None => runs.push(Zeros { bytes: start..next }),
            }
        }
        start = next;
    }
    runs
}
