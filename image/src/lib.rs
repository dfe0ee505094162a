//! Inputs to artefacts: kernel, initramfs, UKI, ISO, netboot folder, manifest.

pub mod cache;
pub mod kernel;
pub mod progress;
