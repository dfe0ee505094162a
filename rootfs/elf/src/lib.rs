//! What an ELF file (gABI, elf(5)) says that it needs, and what is wrong with it: with no database, only by what must
//! hold in every such file, and by what glibc's dynamic linker asserts.
//!
//! The bytes are hostile: nothing here panics, loops or allocates more than a small multiple of the file's length.

pub mod blocks;
mod check;
mod finding;
mod machine;
mod misplaced;
mod notes;
mod object;
mod parts;
mod versions;
mod view;

pub use check::check;
pub use finding::{Field, Finding, Part, Severity};
pub use misplaced::{Misplaced, misplaced};
pub use object::{Object, VersionNeeded, is_elf};
pub use parts::parts;

/// The names of its sections, in the file's order; none of what is no ELF file.
pub fn section_names(bytes: &[u8]) -> Vec<String> {
    let sections = view::View::read(bytes).map(|view| view.sections);
    let sections = sections.unwrap_or_default();
    sections.into_iter().map(|section| section.name).collect()
}
