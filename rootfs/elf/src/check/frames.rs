//! `.eh_frame_hdr` (LSB, "Exception Frames"): a sorted table of where functions begin, by which an address that should
//! be one is judged.

use std::ops::Range;

use goblin::elf::program_header::{PT_GNU_EH_FRAME, PT_LOAD};

use super::findings::{Custom, Findings};
use crate::Part;
use crate::view::View;

/// `DW_EH_PE_udata4`, `DW_EH_PE_datarel | DW_EH_PE_sdata4`: what all linkers write.
const COUNT_ENCODING: u8 = 0x03;
const TABLE_ENCODING: u8 = 0x3b;

const HEADER_SIZE: u64 = 12;
const ENTRY_SIZE: u64 = 8;

/// The table, where there is one that can be read.
pub(crate) struct Frames<'a> {
    view: &'a View<'a>,
    address: u64,
    first: u64,
    count: u64,
}

impl<'a> Frames<'a> {
    pub(crate) fn read(view: &'a View<'a>) -> Frames<'a> {
        let mut frames = Frames {
            view,
            address: 0,
            first: 0,
            count: 0,
        };
        let Some(program) = view.programs.iter().find(|p| p.p_type == PT_GNU_EH_FRAME) else {
            return frames;
        };
        let Some(start) = view.part(program.p_offset..program.p_offset.saturating_add(HEADER_SIZE))
        else {
            return frames;
        };
        if start[0] != 1 || start[2] != COUNT_ENCODING || start[3] != TABLE_ENCODING {
            return frames;
        }
        frames.address = program.p_vaddr;
        frames.first = program.p_offset + HEADER_SIZE;
        let count = view.u32(program.p_offset + 8).map_or(0, u64::from);
        let room = program
            .p_filesz
            .saturating_sub(HEADER_SIZE)
            .min(view.len() - frames.first)
            / ENTRY_SIZE;
        frames.count = count.min(room);
        frames
    }

    /// Where functions begin, sorted.
    pub(crate) fn functions(&self) -> Vec<u64> {
        let mut all: Vec<u64> = (0..self.count).filter_map(|i| self.function(i)).collect();
        all.sort_unstable();
        all
    }

    /// Where the function of an entry begins.
    fn function(&self, index: u64) -> Option<u64> {
        let relative = self.view.u32(self.first + index * ENTRY_SIZE)? as i32;
        Some(self.address.wrapping_add_signed(i64::from(relative)))
    }

    /// Whether these addresses lie between functions, as far as the table and what it points to tell of any: linkers leave
    /// holes for patches of code, and some machines' fill them with zeros.
    pub(crate) fn is_hole(&self, addresses: &Range<u64>) -> bool {
        // The first function that begins behind them.
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.function(middle) {
                Some(function) if function < addresses.end => low = middle + 1,
                _ => high = middle,
            }
        }
        let before = low.checked_sub(1).and_then(|index| self.function_at(index));
        low < self.count && before.is_some_and(|before| before.end <= addresses.start)
    }

    /// From where to where the function of an entry is: its record (FDE) says so, where addresses are 32 bits from where they are
    /// written, as all compilers write them.
    fn function_at(&self, index: u64) -> Option<Range<u64>> {
        let start = self.function(index)?;
        let relative = self.view.u32(self.first + index * ENTRY_SIZE + 4)? as i32;
        let record = self.address.wrapping_add_signed(i64::from(relative));
        // A length and a pointer to what it shares with others are in front of the address.
        let field = record.checked_add(8)?;
        let at = self.view.offset(field)?;
        let relative = self.view.u32(at)? as i32;
        let size = u64::from(self.view.u32(at.checked_add(4)?)?);
        let same = field.wrapping_add_signed(i64::from(relative)) == start;
        same.then(|| start..start.saturating_add(size))
    }

    /// Whether a function begins there, as far as is known.
    pub(super) fn begins(&self, address: u64) -> bool {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.function(middle) {
                Some(function) if function == address => return true,
                Some(function) if function < address => low = middle + 1,
                _ => high = middle,
            }
        }
        false
    }
}

pub(super) fn check(view: &View<'_>, frames: &Frames<'_>, findings: &mut Findings) {
    if view.is_debug_file() || !view.is_for_linux() {
        return;
    }
    let mut custom = Custom::default();
    let mut last = None;
    for index in 0..frames.count {
        let function = frames.function(index);
        let at = frames.first + index * ENTRY_SIZE;
        custom.holds(last < function, Part::Content, at..at + ENTRY_SIZE, || {
            format!("entry {index} of .eh_frame_hdr is out of order: exceptions are not caught")
        });
        last = function;
    }
    custom.judge(50, findings);
    entry(view, frames, findings);
}

/// Where the program begins.
fn entry(view: &View<'_>, frames: &Frames<'_>, findings: &mut Findings) {
    let entry = view.header.e_entry;
    let bytes = 24..24 + view.word_size();
    let is_program =
        view.interpreter().is_some() && view.tag(goblin::elf::dynamic::DT_SONAME).is_none();
    if entry == 0 {
        if is_program {
            findings.crash(
                Part::Header,
                bytes,
                "e_entry is 0: the program begins nowhere",
            );
        }
        return;
    }
    // ppc64's first ABI has a descriptor in the data.
    if view.header.e_machine == goblin::elf::header::EM_PPC64 && view.header.e_flags & 3 != 2 {
        return;
    }
    let runs = view.programs.iter().any(|p| {
        p.p_type == PT_LOAD
            && p.is_executable()
            && entry
                .checked_sub(p.p_vaddr)
                .is_some_and(|into| into < p.p_memsz)
    });
    if !runs {
        return findings.crash(
            Part::Header,
            bytes,
            format!("e_entry is {entry:#x}, where no code is"),
        );
    }
    if frames.count > 0 && !frames.begins(entry) && !looks_like_a_start(view, entry) {
        findings.crash(
            Part::Header,
            bytes,
            format!("e_entry is {entry:#x}, where no function begins"),
        );
    }
}

/// Start code written in assembly has no entry in the table.
fn looks_like_a_start(view: &View<'_>, entry: u64) -> bool {
    let starts: [&[u8]; 6] = [
        // endbr64; xor %ebp,%ebp; xor %rbp,%rbp; mov %rsp,%rdi; Go's jump; mov %esp,%eax.
        b"\xf3\x0f\x1e\xfa",
        b"\x31\xed",
        b"\x48\x31\xed",
        b"\x48\x89\xe7",
        b"\xe9",
        b"\x89\xe0",
    ];
    if view
        .sections
        .iter()
        .any(|s| s.is_loaded() && s.header.sh_addr == entry)
    {
        return true;
    }
    use crate::machine::Machine;
    match Machine::of(view.header.e_machine) {
        Some(Machine::X86_64 | Machine::I386) => view
            .offset(entry)
            .and_then(|at| view.part(at..at.saturating_add(4).min(view.len())))
            .is_some_and(|code| starts.iter().any(|start| code.starts_with(start))),
        Some(machine) => entry.is_multiple_of(machine.instruction_alignment()),
        None => true,
    }
}
