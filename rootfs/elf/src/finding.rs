//! One thing that is wrong with a file.

use std::ops::Range;

/// Which part of an ELF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The ELF header.
    Header,
    /// The program headers.
    ProgramHeaders,
    /// The section headers: the dynamic linker does not read them.
    SectionHeaders,
    /// `PT_DYNAMIC`.
    Dynamic,
    /// `DT_RELA`, `DT_REL`, `DT_JMPREL`, `DT_RELR`.
    Relocations,
    /// `DT_SYMTAB`.
    Symbols,
    /// `DT_STRTAB`.
    Strings,
    /// `DT_HASH`, `DT_GNU_HASH`.
    Hash,
    /// `DT_VERSYM`, `DT_VERNEED`, `DT_VERDEF`.
    Versions,
    /// `PT_NOTE`.
    Notes,
    /// Anything else: content.
    Content,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Odd, and may be meant.
    Odd,
    /// No linker makes such a file: damage, even if programs may still start.
    Damage,
    /// Every program that needs this file dies at start.
    Fatal,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where, by meaning.
    pub part: Part,
    /// Where, in bytes of the file; empty when it is not in one place.
    pub bytes: Range<u64>,
    /// One sentence without a full stop: "relocation 512 of .rela.dyn has type 9 (R_X86_64_GOTPCREL), which ...".
    pub text: String,
    /// What the dynamic linker would die with, word for word, without the program's name in front.
    pub linker_says: Option<String>,
    /// The field that is wrong, where what must be in it follows from the rest of the file.
    pub must: Option<Field>,
}

/// A field of the file, as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its offset in the file.
    pub at: u64,
    /// What must be there.
    pub bytes: Vec<u8>,
}
