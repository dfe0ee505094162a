//! What costs what: bytes as they cross the link, by part.
//!
//! A part inside the initramfs costs what the compressed stream is longer with it than without
//! it; code that two programs share (libc is linked into both) then counts for neither, and has a
//! line of its own. Below that (fragments of the kernel, crates of kedge) sizes are known only before
//! compression; they are scaled to what the whole costs, and marked as estimates.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use goblin::elf::Elf;
use goblin::elf::section_header::SHT_NOBITS;
use kedge_pack_index::Index;
use serde::{Deserialize, Serialize};

use crate::boot::EPOCH;
use crate::build::{Inputs, make_uki};
use crate::initramfs::Tree;
use crate::stamp::area;
use crate::{gate, iso, uki};

/// Why sizes cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tree is no initramfs.
    #[error(transparent)]
    Initramfs(#[from] gate::Error),
    /// No UKI.
    #[error(transparent)]
    Uki(#[from] uki::Error),
    /// A file cannot be read or compressed.
    #[error("cannot measure {what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel's cache entry does not say what it should.
    #[error("cannot read the kernel's table of sizes: {0}")]
    Json(#[from] serde_json::Error),
    /// The unstripped kedge cannot be read.
    #[error("cannot read kedge's symbols: {0}")]
    Elf(#[from] goblin::error::Error),
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// "kernel", or "kernel: network" for a part of it.
    pub name: String,
    /// Bytes as loaded.
    pub bytes: u64,
    /// Whether it is part of the row above that is none.
    pub is_part: bool,
    /// Whether it was scaled from sizes before compression.
    pub is_estimate: bool,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Largest cost first among the parts of a whole.
    pub rows: Vec<Row>,
    /// What a BIOS boot loads: kernel, initramfs and isolinux.
    pub bios: u64,
    /// What a UEFI boot loads: the UKI.
    pub uefi: u64,
    /// What each pack takes to load when nothing is loaded.
    #[serde(default)]
    pub packs: Vec<Row>,
}

impl Sizes {
    /// What the budget is for: the larger of the two boot paths.
    pub fn core(&self) -> u64 {
        self.bios.max(self.uefi)
    }
}

/// The kernel build's table: bytes before compression, of code and data.
#[derive(Deserialize)]
struct KernelSizes {
    fragments: BTreeMap<String, u64>,
    rest: u64,
}

/// Measures the parts. The packs' index and links are in the tree of `inputs`.
///
/// # Errors
/// When something cannot be read.
pub fn measure(inputs: &Inputs, packs: &Index, version: &str) -> Result<Sizes, Error> {
    let tree = &inputs.userland.tree;
    let initramfs = pack(tree)?;
    let whole = initramfs.len() as u64;
    let initramfs = area::append(initramfs, area::DEFAULT_ROOM);
    let stamp_area = initramfs.len() as u64 - whole;
    let busybox = whole.saturating_sub(pack(&tree.without("bin/busybox"))?.len() as u64);
    let kedge = whole.saturating_sub(pack(&tree.without("bin/kedge"))?.len() as u64);
    let files = pack(&tree.without("bin/busybox").without("bin/kedge"))?.len() as u64;
    let uki = make_uki(inputs, &initramfs, version)?;

    let kernel = inputs.bzimage.len() as u64;
    let text = std::fs::read_to_string(&inputs.kernel.sizes).map_err(|source| Error::Io {
        what: inputs.kernel.sizes.display().to_string(),
        source,
    })?;
    let of_kernel: KernelSizes = serde_json::from_str(&text)?;
    let mut kernel_parts = of_kernel.fragments;
    kernel_parts.insert("what every kernel has".into(), of_kernel.rest);

    let mut isolinux = 0;
    for path in [iso::ISOLINUX, iso::LDLINUX] {
        isolinux += std::fs::metadata(path)
            .map_err(|source| Error::Io {
                what: path.into(),
                source,
            })?
            .len();
    }
    let symbols =
        std::fs::read(&inputs.userland.kedge_with_symbols).map_err(|source| Error::Io {
            what: inputs.userland.kedge_with_symbols.display().to_string(),
            source,
        })?;

    let uefi = uki.bytes.len() as u64;
    let mut rows = vec![Row::whole("kernel", kernel)];
    rows.extend(scaled("kernel", &kernel_parts, kernel));
    rows.push(Row::whole("busybox", busybox));
    rows.push(Row::whole("kedge", kedge));
    rows.extend(scaled("kedge", &bytes_by_crate(&symbols)?, kedge));
    rows.push(Row::whole(
        "what busybox and kedge have in common",
        whole.saturating_sub(busybox + kedge + files),
    ));
    rows.push(Row::whole("files and links", files));
    rows.push(Row::whole("room for a stamp", stamp_area));
    rows.push(Row::whole("loader, BIOS: isolinux", isolinux));
    rows.push(Row::whole(
        "loader, UEFI: stub and padding",
        uefi - kernel - whole - stamp_area,
    ));
    Ok(Sizes {
        rows,
        bios: kernel + whole + stamp_area + isolinux,
        uefi,
        packs: rows_of_packs(packs),
    })
}

fn rows_of_packs(index: &Index) -> Vec<Row> {
    let bytes = |pack| {
        let groups = index.groups_of_pack(pack);
        groups.iter().map(|group| index.groups[*group].packed).sum()
    };
    let names = index.packs.iter().map(|pack| pack.name.as_str());
    names
        .enumerate()
        .map(|(number, name)| Row::whole(name, bytes(number)))
        .collect()
}

impl Row {
    fn whole(name: &str, bytes: u64) -> Row {
        Row {
            name: name.into(),
            bytes,
            is_part: false,
            is_estimate: false,
        }
    }
}

fn pack(tree: &Tree) -> Result<Vec<u8>, Error> {
    Ok(gate::initramfs(tree, EPOCH)?)
}

/// `parts` scaled so that they add up to `total`, largest first.
fn scaled(whole: &str, parts: &BTreeMap<String, u64>, total: u64) -> Vec<Row> {
    let sum: u64 = parts.values().sum();
    let share =
        |bytes: u64| (u128::from(bytes) * u128::from(total) / u128::from(sum.max(1))) as u64;
    let mut rows: Vec<Row> = parts
        .iter()
        .map(|(name, &bytes)| Row {
            name: format!("{whole}: {name}"),
            bytes: share(bytes),
            is_part: true,
            is_estimate: true,
        })
        .collect();
    rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    rows
}

/// Bytes of code and data in an unstripped program by crate; glibc's and other C symbols are
/// "libc".
///
/// # Errors
/// When `program` is no ELF file.
fn bytes_by_crate(program: &[u8]) -> Result<BTreeMap<String, u64>, goblin::error::Error> {
    let elf = Elf::parse(program)?;
    let mut crates = BTreeMap::new();
    // What is zero at the start is not in the file.
    let in_file = |section: usize| {
        let header = elf.section_headers.get(section);
        header.is_some_and(|header| header.sh_type != SHT_NOBITS)
    };
    // C libraries give one function many names.
    let mut counted = BTreeSet::new();
    for symbol in elf.syms.iter().filter(|symbol| in_file(symbol.st_shndx)) {
        if symbol.st_size == 0 || !counted.insert(symbol.st_value) {
            continue;
        }
        let name = elf.strtab.get_at(symbol.st_name).unwrap_or_default();
        let demangled = rustc_demangle::try_demangle(name).map(|name| name.to_string());
        let owner = match demangled.as_deref().ok().and_then(crate_of) {
            Some(name) if STANDARD_LIBRARY.contains(&name) => "Rust's standard library".to_string(),
            Some(name) => name.replace("kedge_", ""),
            None => "libc".to_string(),
        };
        *crates.entry(owner).or_insert(0) += symbol.st_size;
    }
    Ok(crates)
}

/// The crates behind std.
const STANDARD_LIBRARY: &[&str] = &[
    "core",
    "alloc",
    "std",
    "compiler_builtins",
    "gimli",
    "addr2line",
    "rustc_demangle",
    "miniz_oxide",
    "hashbrown",
    "memchr",
    "object",
    "panic_abort",
];

/// The crate in a demangled symbol: the first path in it, also in `<&[path::Type] as Trait>::f`.
/// A function of a standard trait for a primitive type belongs to the trait's crate.
fn crate_of(symbol: &str) -> Option<&str> {
    let is_path = |character: char| character.is_alphanumeric() || character == '_';
    let (before, _) = symbol.split_once("::")?;
    before
        .rsplit(|character| !is_path(character))
        .next()
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_belong_to_their_crates() {
        for (symbol, owner) in [
            ("core::fmt::write", Some("core")),
            ("kedge_init::console::spawn", Some("kedge_init")),
            (
                "<kedge_machine::probe::Error as core::fmt::Debug>::fmt",
                Some("kedge_machine"),
            ),
            (
                "<&[kedge_init::Mount] as core::fmt::Debug>::fmt",
                Some("kedge_init"),
            ),
            ("<u8 as core::fmt::Display>::fmt", Some("core")),
            ("memcpy", None),
            ("", None),
            ("::", None),
        ] {
            assert_eq!(crate_of(symbol), owner, "{symbol}");
        }
    }

    #[test]
    fn parts_add_up_to_the_whole_and_the_largest_is_first() {
        let parts = BTreeMap::from([("a".into(), 10), ("b".into(), 30), ("c".into(), 0)]);
        let rows = scaled("kernel", &parts, 400);
        let seen: Vec<(&str, u64)> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.bytes))
            .collect();
        assert_eq!(
            seen,
            [("kernel: b", 300), ("kernel: a", 100), ("kernel: c", 0)]
        );
        assert!(scaled("kernel", &BTreeMap::from([("a".into(), 0)]), 400)[0].bytes == 0);
    }
}
