//! What an ELF file (gABI, elf(5)) says that it needs, and what is wrong with it: with no database, only by what must
//! hold in every such file, and by what glibc's dynamic linker asserts.
//!
//! The bytes are hostile: nothing here panics, loops or allocates more than a small multiple of the file's length.

pub mod blocks;
mod check;
mod finding;
mod machine;
mod notes;
mod object;
mod parts;
mod versions;
mod view;

pub use check::check;
pub use finding::{Finding, Part, Severity};
pub use object::{Object, VersionNeeded, is_elf};
pub use parts::parts;
