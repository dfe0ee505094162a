//! Inputs to artefacts: kernel, initramfs, UKI, ISO, netboot folder, manifest.
//!
//! [`build::build`] is the whole way. Nothing here knows of a command line: what happens is
//! reported through [`progress::Progress`].

pub mod boot;
pub mod build;
pub mod cache;
pub mod configuration;
pub mod elf;
pub mod esp;
pub mod gate;
pub mod host;
pub mod initramfs;
pub mod iso;
pub mod iso9660;
pub mod kernel;
pub mod manifest;
pub mod netboot;
pub mod out;
pub mod packs;
pub mod program;
pub mod progress;
pub mod sha256;
pub mod sizes;
pub mod stamp;
pub mod uki;
pub mod userland;
pub mod xz;
