//! What comes from a disk or the network, given to those who read it. A target takes any bytes; it must not panic, loop,
//! or take much memory, whatever they are.
//!
//! `cargo xtask fuzz` gives them what libFuzzer invents (`cargo-fuzz/`); an ordinary test gives them `corpus/`, on stable.
//! README.md has the results.

mod databases;
mod network;
mod objects;
mod root;

pub use databases::{apk_installed, dpkg, pacman, rpm_bdb, rpm_header, rpm_ndb, rpm_sqlite};
pub use network::{
    apk_index, apt_index, apt_release, apt_sources, http, http_answer, openpgp, pack_index,
    pacman_db, rpm_metadata, rpm_package, rpm_sources, ssh_wire, url, versions,
};
pub use objects::{
    archive, closure, configuration, elf, elf_blocks, elf_undone, ld_cache, peek, superblock,
};

/// Reads bytes in some way.
pub type Target = fn(&[u8]);

/// All targets by name, which is also that of their corpus and of cargo-fuzz's program.
pub const TARGETS: &[(&str, Target)] = &[
    ("apk_index", apk_index),
    ("apk_installed", apk_installed),
    ("apt_index", apt_index),
    ("apt_release", apt_release),
    ("apt_sources", apt_sources),
    ("archive", archive),
    ("closure", closure),
    ("configuration", configuration),
    ("dpkg", dpkg),
    ("elf", elf),
    ("elf_blocks", elf_blocks),
    ("elf_undone", elf_undone),
    ("http", http),
    ("http_answer", http_answer),
    ("ld_cache", ld_cache),
    ("openpgp", openpgp),
    ("pack_index", pack_index),
    ("pacman", pacman),
    ("pacman_db", pacman_db),
    ("peek", peek),
    ("rpm_bdb", rpm_bdb),
    ("rpm_header", rpm_header),
    ("rpm_metadata", rpm_metadata),
    ("rpm_ndb", rpm_ndb),
    ("rpm_package", rpm_package),
    ("rpm_sources", rpm_sources),
    ("rpm_sqlite", rpm_sqlite),
    ("ssh_wire", ssh_wire),
    ("superblock", superblock),
    ("url", url),
    ("versions", versions),
];
