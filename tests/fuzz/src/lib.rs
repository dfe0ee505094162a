//! What comes from a disk or the network, given to those who read it. A target takes any bytes; it must not panic, loop,
//! or take much memory, whatever they are.
//!
//! `cargo xtask fuzz` gives them what libFuzzer invents (`cargo-fuzz/`); an ordinary test gives them `corpus/`, on stable.
//! README.md has the results.

mod databases;
mod network;
mod objects;
mod root;

/// Reads bytes in some way.
pub type Target = fn(&[u8]);

/// All targets by name, which is also that of their corpus and of cargo-fuzz's program.
pub const TARGETS: &[(&str, Target)] = &[
    ("apk_index", network::apk_index),
    ("apk_installed", databases::apk_installed),
    ("apt_index", network::apt_index),
    ("apt_release", network::apt_release),
    ("apt_sources", network::apt_sources),
    ("archive", objects::archive),
    ("closure", objects::closure),
    ("configuration", objects::configuration),
    ("dpkg", databases::dpkg),
    ("elf", objects::elf),
    ("elf_blocks", objects::elf_blocks),
    ("http", network::http),
    ("http_answer", network::http_answer),
    ("ld_cache", objects::ld_cache),
    ("openpgp", network::openpgp),
    ("pack_index", network::pack_index),
    ("pacman", databases::pacman),
    ("pacman_db", network::pacman_db),
    ("peek", objects::peek),
    ("rpm_bdb", databases::rpm_bdb),
    ("rpm_header", databases::rpm_header),
    ("rpm_metadata", network::rpm_metadata),
    ("rpm_ndb", databases::rpm_ndb),
    ("rpm_package", network::rpm_package),
    ("rpm_sources", network::rpm_sources),
    ("rpm_sqlite", databases::rpm_sqlite),
    ("ssh_wire", network::ssh_wire),
    ("superblock", objects::superblock),
    ("url", network::url),
    ("versions", network::versions),
];

/// The target of that name.
///
/// # Panics
/// When there is none.
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(data),
        None => panic!("no target is called {name}"),
    }
}
