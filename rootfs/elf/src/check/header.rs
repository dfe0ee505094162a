//! The ELF header (gABI, chapter 4): what the dynamic linker's `open_verify` and the kernel's `load_elf_binary` look at,
//! and what nobody looks at but every linker writes alike.

use goblin::elf::header::{
    EI_ABIVERSION, EI_CLASS, EI_DATA, EI_OSABI, EI_VERSION, ELFCLASS32, ELFCLASS64, ELFDATA2LSB,
    ELFDATA2MSB, EM_68K, EM_386, EM_AARCH64, EM_ARM, EM_BPF, EM_IA_64, EM_MIPS, EM_PARISC, EM_PPC,
    EM_PPC64, EM_RISCV, EM_S390, EM_SH, EM_SPARC, EM_SPARCV9, EM_X86_64, ET_CORE, ET_DYN, ET_EXEC,
    ET_REL,
};
use goblin::elf::{ProgramHeader, SectionHeader};

use super::findings::Findings;
use crate::Part;
use crate::view::{MAGIC, View};

/// Linux has used this number since before there was an official one.
const EM_ALPHA: u16 = 0x9026;

const ELFOSABI_NONE: u8 = 0;
const ELFOSABI_GNU: u8 = 3;
const ELFOSABI_FREEBSD: u8 = 9;
const ELFOSABI_OPENBSD: u8 = 12;

/// LoongArch, SPARC v8+: goblin has no names for what Linux runs on beside its own list.
const OTHER_LINUX_MACHINES: [u16; 7] = [18, 92, 94, 113, 189, 252, 258];

/// glibc's `LIBC_ABI_MAX`.
const GNU_ABI_VERSIONS: u8 = 4;

pub(super) fn check(view: &View<'_>, findings: &mut Findings) {
    identification(view, findings);
    kind(view, findings);
    machine(view, findings);
    sizes(view, findings);
}

/// A program's header is read by the kernel alone, which cares for less; a library's by the dynamic linker.
fn is_program(view: &View<'_>) -> bool {
    view.interpreter().is_some() && view.tag(goblin::elf::dynamic::DT_SONAME).is_none()
}

/// What a library dies of and a program does not.
fn library(
    view: &View<'_>,
    findings: &mut Findings,
    at: u64,
    length: u64,
    text: String,
    says: &str,
) {
    let bytes = at..at + length;
    if is_program(view) || !view.is_for_linux() {
        findings.damage(Part::Header, bytes, text);
    } else {
        findings.fatal(Part::Header, bytes, text, says);
    }
}

fn identification(view: &View<'_>, findings: &mut Findings) {
    let ident = &view.bytes[..16];
    if ident[..4] != MAGIC {
        let text = format!(
            "the file begins with {:02x?} and not with the magic number of ELF",
            &ident[..4]
        );
        findings.fatal(Part::Header, 0..4, text, "invalid ELF header");
    }
    let (class, says) = match view.is_64() {
        true => (ELFCLASS64, "wrong ELF class: ELFCLASS32"),
        false => (ELFCLASS32, "wrong ELF class: ELFCLASS64"),
    };
    if ident[EI_CLASS] != class {
        let text = format!(
            "e_ident[EI_CLASS] is {}, but the rest of the header is one of class {class}",
            ident[EI_CLASS]
        );
        library(view, findings, EI_CLASS as u64, 1, text, says);
    }
    let (data, says) = match view.ctx.is_little_endian() {
        true => (ELFDATA2LSB, "ELF file data encoding not little-endian"),
        false => (ELFDATA2MSB, "ELF file data encoding not big-endian"),
    };
    if ident[EI_DATA] != data {
        let text = format!(
            "e_ident[EI_DATA] is {}, but the rest of the header is one of {data}",
            ident[EI_DATA]
        );
        library(view, findings, EI_DATA as u64, 1, text, says);
    }
    if ident[EI_VERSION] != 1 {
        let text = format!("e_ident[EI_VERSION] is {}, not 1", ident[EI_VERSION]);
        library(
            view,
            findings,
            EI_VERSION as u64,
            1,
            text,
            "ELF file version ident does not match current one",
        );
    }
    let (abi, version) = (ident[EI_OSABI], ident[EI_ABIVERSION]);
    if !view.is_for_linux() {
        return;
    }
    match abi {
        ELFOSABI_NONE | ELFOSABI_GNU => {}
        ELFOSABI_FREEBSD | ELFOSABI_OPENBSD => return,
        _ => {
            let text = format!("e_ident[EI_OSABI] is {abi}: neither System V (0) nor GNU (3)");
            library(
                view,
                findings,
                EI_OSABI as u64,
                1,
                text,
                "ELF file OS ABI invalid",
            );
        }
    }
    // MIPS numbers its floating point ABIs here.
    if version != 0 && view.header.e_machine != EM_MIPS {
        let text = format!("e_ident[EI_ABIVERSION] is {version}, not 0");
        if abi == ELFOSABI_NONE || version >= GNU_ABI_VERSIONS {
            library(
                view,
                findings,
                EI_ABIVERSION as u64,
                1,
                text,
                "ELF file ABI version invalid",
            );
        } else {
            findings.damage(Part::Header, 8..9, text);
        }
    }
    if ident[9..].iter().any(|&b| b != 0) {
        let text = format!("the padding of e_ident is {:02x?}, not zero", &ident[9..]);
        library(view, findings, 9, 7, text, "nonzero padding in e_ident");
    }
}

fn kind(view: &View<'_>, findings: &mut Findings) {
    let kind = view.header.e_type;
    let bytes = 16..18;
    let lowest = view.loads().map(|p| p.p_vaddr).min();
    let not_loadable = "only ET_DYN and ET_EXEC can be loaded";
    match kind {
        ET_REL if view.is_for_linux() => {
            let text = "e_type is 1, an object to be linked, but there is a dynamic section";
            findings.fatal(Part::Header, bytes, text, not_loadable);
        }
        ET_REL | ET_CORE => {}
        ET_EXEC if view.is_for_linux() && lowest == Some(0) => {
            let text = "e_type is 2, a program for fixed addresses, but the addresses begin at 0, as a library's do";
            findings.fatal(
                Part::Header,
                bytes,
                text,
                "cannot dynamically load executable",
            );
        }
        ET_EXEC => {}
        ET_DYN => {
            // Where GNU ld and lld put programs; a library's addresses begin at 0, or, prelinked, high up.
            let fixed: u64 = match view.header.e_machine {
                EM_X86_64 | EM_AARCH64 => 0x40_0000,
                EM_386 => 0x804_8000,
                EM_PPC64 => 0x1000_0000,
                EM_S390 => 0x100_0000,
                EM_ARM | EM_RISCV => 0x1_0000,
                _ => return,
            };
            if lowest == Some(fixed) && is_program(view) {
                let text = format!(
                    "e_type is 3, a program for any address, but its addresses begin at {fixed:#x}, as one for fixed addresses does"
                );
                findings.crash(Part::Header, bytes, text);
            }
        }
        _ => {
            let text = format!("e_type is {kind}: neither object, program, library nor core");
            findings.fatal(Part::Header, bytes, text, not_loadable);
        }
    }
}

fn machine(view: &View<'_>, findings: &mut Findings) {
    let header = &view.header;
    let known = matches!(
        header.e_machine,
        EM_SPARC
            | EM_386
            | EM_68K
            | EM_MIPS
            | EM_PARISC
            | EM_PPC
            | EM_PPC64
            | EM_S390
            | EM_ARM
            | EM_SH
            | EM_SPARCV9
            | EM_IA_64
            | EM_X86_64
            | EM_AARCH64
            | EM_RISCV
            | EM_BPF
            | EM_ALPHA
    ) || OTHER_LINUX_MACHINES.contains(&header.e_machine);
    if !known && view.is_for_linux() {
        let text = format!("e_machine is {}, which no Linux runs on", header.e_machine);
        // The dynamic linker passes such a library over and looks on.
        findings.fatal(Part::Header, 18..20, text, "cannot open shared object file");
    }
    if header.e_version != 1 {
        let text = format!("e_version is {}, not 1", header.e_version);
        library(
            view,
            findings,
            20,
            4,
            text,
            "ELF file version does not match current one",
        );
    }
    let flags_at = if view.is_64() { 48 } else { 36 };
    let flags = header.e_flags;
    let unused = match header.e_machine {
        EM_X86_64 | EM_386 | EM_AARCH64 => flags,
        EM_PPC64 => flags & !3,
        EM_RISCV => flags & !0x1f,
        EM_S390 => flags & !1,
        _ => 0,
    };
    if unused != 0 {
        let text = format!("e_flags is {flags:#x}, with bits that mean nothing on this machine");
        findings.damage(Part::Header, flags_at..flags_at + 4, text);
    }
    if header.e_type == ET_REL && header.e_entry != 0 {
        let word = view.word_size();
        findings.damage(
            Part::Header,
            24..24 + word,
            format!("e_entry is {:#x} in an object to be linked", header.e_entry),
        );
    }
}

fn sizes(view: &View<'_>, findings: &mut Findings) {
    let header = &view.header;
    let at = if view.is_64() { 52 } else { 40 };
    let own: u16 = if view.is_64() { 64 } else { 52 };
    if header.e_ehsize != own {
        findings.damage(
            Part::Header,
            at..at + 2,
            format!("e_ehsize is {}, not {own}", header.e_ehsize),
        );
    }
    let size = ProgramHeader::size(view.ctx) as u16;
    let wants_programs = matches!(header.e_type, ET_EXEC | ET_DYN) || view.is_for_linux();
    let objects = header.e_type == ET_REL && header.e_phnum == 0 && header.e_phoff == 0;
    let right =
        header.e_phentsize == size || (header.e_phnum == 0 && header.e_phentsize == 0) || objects;
    if !right {
        let text = format!("e_phentsize is {}, not {size}", header.e_phentsize);
        findings.fatal(
            Part::Header,
            at + 2..at + 4,
            text,
            "ELF file's phentsize not the expected size",
        );
    }
    if header.e_phnum == 0 && wants_programs && !view.is_debug_file() {
        let text = "e_phnum is 0: there are no program headers";
        findings.fatal(
            Part::Header,
            at + 4..at + 6,
            text,
            "object file has no loadable segments",
        );
    }
    if header.e_type == ET_REL && (header.e_phnum != 0 || header.e_phoff != 0) {
        findings.damage(
            Part::Header,
            at + 4..at + 6,
            "an object to be linked has program headers",
        );
    }
    let size = SectionHeader::size(view.ctx) as u16;
    if header.e_shentsize != size && (header.e_shentsize != 0 || header.e_shnum != 0) {
        let text = format!("e_shentsize is {}, not {size}", header.e_shentsize);
        findings.damage(Part::Header, at + 6..at + 8, text);
    }
    if header.e_shoff == 0 && (header.e_shnum != 0 || header.e_shstrndx != 0) {
        let text = format!(
            "e_shoff is 0, but there are {} section headers",
            header.e_shnum
        );
        let start = if view.is_64() { 40 } else { 32 };
        findings.damage(Part::Header, start..start + view.word_size(), text);
    }
}
