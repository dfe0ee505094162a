//! Notes, as far as they can be read.

use goblin::elf::ProgramHeader;

use crate::view::View;

/// More than any linker writes.
const MOST_NOTES: usize = 256;

/// One note.
pub(crate) struct Note<'a> {
    pub(crate) at: u64,
    pub(crate) kind: u32,
    /// With its NUL.
    pub(crate) name: &'a [u8],
    pub(crate) content: &'a [u8],
}

/// All notes of a segment, and where reading them ended.
pub(crate) fn notes<'a>(view: &View<'a>, segment: &ProgramHeader) -> (Vec<Note<'a>>, u64) {
    let align = if segment.p_align == 8 { 8 } else { 4 };
    let end = segment
        .p_offset
        .saturating_add(segment.p_filesz)
        .min(view.len());
    let (mut notes, mut at) = (Vec::new(), segment.p_offset);
    while notes.len() < MOST_NOTES && at.saturating_add(12) <= end {
        let Some((note, next)) = one(view, at, align) else {
            break;
        };
        if next > end.next_multiple_of(align) {
            break;
        }
        notes.push(note);
        at = next;
    }
    (notes, at)
}

fn one<'a>(view: &View<'a>, at: u64, align: u64) -> Option<(Note<'a>, u64)> {
    let (name_size, size, kind) = (view.u32(at)?, view.u32(at + 4)?, view.u32(at + 8)?);
    let name = at + 12;
    let content = (name + u64::from(name_size)).checked_next_multiple_of(align)?;
    let end = content + u64::from(size);
    let note = Note {
        at,
        kind,
        name: view.part(name..name + u64::from(name_size))?,
        content: view.part(content..end)?,
    };
    Some((note, end.checked_next_multiple_of(align)?))
}
