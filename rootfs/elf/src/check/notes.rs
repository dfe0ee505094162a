//! Notes (gABI, chapter 5; GNU's in the LSB and glibc's elf.h): sizes that fit, and the few that somebody reads.

use goblin::elf::program_header::PT_NOTE;

use super::findings::Findings;
use crate::Part;
use crate::notes::notes;
use crate::view::View;

const NT_GNU_ABI_TAG: u32 = 1;
const NT_GNU_BUILD_ID: u32 = 3;
const NT_GNU_PROPERTY_TYPE_0: u32 = 5;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    for program in view.programs.iter().filter(|p| p.p_type == PT_NOTE) {
        let (all, end) = notes(view, program);
        let stop = program.p_offset.saturating_add(program.p_filesz);
        if end.saturating_add(4) <= stop {
            let text = format!(
                "a note is longer than the {} bytes of its segment leave room for",
                program.p_filesz
            );
            findings.damage(Part::Notes, end..stop, text);
        }
        for note in all {
            let bytes = note.at..note.at + 12 + note.name.len() as u64 + note.content.len() as u64;
            let text = note.name.split(|&b| b == 0).next().unwrap_or_default();
            let printable = text.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
            if !printable || note.name[text.len()..].iter().any(|&b| b != 0) {
                findings.damage(Part::Notes, bytes.clone(), "the name of a note is no text");
            }
            if note.name != b"GNU\0" {
                continue;
            }
            let length = note.content.len();
            let right = match note.kind {
                // The system, 0 for Linux, and its oldest release.
                NT_GNU_ABI_TAG => length == 16 && view.u32(note.at + 16) == Some(0),
                NT_GNU_BUILD_ID => (1..=64).contains(&length),
                NT_GNU_PROPERTY_TYPE_0 => length % 4 == 0,
                _ => true,
            };
            if !right {
                findings.damage(
                    Part::Notes,
                    bytes,
                    format!(
                        "a GNU note of type {} with {length} bytes is not what it should be",
                        note.kind
                    ),
                );
            }
        }
    }
}
