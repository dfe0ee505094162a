//! What an ELF file says about itself to the dynamic linker.

use goblin::elf::dynamic::{DF_1_NODEFLIB, DT_FLAGS_1, DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_SONAME};
use goblin::elf::program_header::PT_NOTE;

use crate::notes::notes;
use crate::versions::{BASE, Needed, WEAK, defined, needed};
use crate::view::View;

const NT_GNU_BUILD_ID: u32 = 3;

/// A library and the versions of its symbols that are needed (`.gnu.version_r`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionNeeded {
    /// The library's `DT_NEEDED` name.
    pub library: String,
    /// Version names, and whether each is weak (`VER_FLG_WEAK`): then nobody dies without it.
    pub versions: Vec<(String, bool)>,
}

/// What an ELF file needs, and provides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// 64-bit, as opposed to 32-bit.
    pub is_64: bool,
    /// `e_machine`.
    pub machine: u16,
    /// `PT_INTERP`; libraries have none.
    pub interpreter: Option<String>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_NEEDED`, in order.
    pub needed: Vec<String>,
    /// `DT_RPATH`, split at colons, `$ORIGIN` not replaced.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, as above.
    pub runpath: Vec<String>,
    /// `DF_1_NODEFLIB`.
    pub no_default_folders: bool,
    /// Versions needed of each library.
    pub versions_needed: Vec<VersionNeeded>,
    /// Versions provided (`.gnu.version_d`), without the base.
    pub versions_provided: Vec<String>,
    /// `NT_GNU_BUILD_ID`, in hex.
    pub build_id: Option<String>,
}

impl Object {
    /// Reads it, as far as it can be read: what is damaged is absent. [`crate::check`] says why.
    pub fn read(bytes: &[u8]) -> Option<Object> {
        if !is_elf(bytes) {
            return None;
        }
        let view = View::read(bytes)?;
        let texts = |tag: u64| {
            view.dynamic
                .iter()
                .filter(move |e| e.tag == tag)
                .filter_map(|e| view.string(e.value).map(text))
        };
        let folders = |tag: u64| -> Vec<String> {
            let split = |list: String| list.split(':').map(str::to_owned).collect::<Vec<_>>();
            // The dynamic linker takes the last one, and there should be one only.
            texts(tag).next_back().map(split).unwrap_or_default()
        };
        let flags = view.tag(DT_FLAGS_1).map_or(0, |e| e.value);
        let machine = view.header.e_machine;
        Some(Object {
            is_64: view.is_64(),
            machine,
            interpreter: view.interpreter().map(text),
            soname: texts(DT_SONAME).next(),
            needed: texts(DT_NEEDED).collect(),
            rpath: folders(DT_RPATH),
            runpath: folders(DT_RUNPATH),
            no_default_folders: flags & DF_1_NODEFLIB != 0,
            versions_needed: needed(&view)
                .iter()
                .filter_map(|n| version_needed(&view, n))
                .collect(),
            versions_provided: versions_provided(&view),
            build_id: build_id(&view),
        })
    }
}

/// Nothing of what is longer than a path can be is of use.
const LONGEST: usize = 4096;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned()
}

fn version_needed(view: &View<'_>, needed: &Needed) -> Option<VersionNeeded> {
    let versions = needed
        .names
        .iter()
        .filter_map(|n| Some((view.short_name(n.name).map(text)?, n.flags & WEAK != 0)));
    Some(VersionNeeded {
        library: view.short_name(needed.file).map(text)?,
        versions: versions.collect(),
    })
}

fn versions_provided(view: &View<'_>) -> Vec<String> {
    let all = defined(view);
    let names = all
        .iter()
        .filter(|d| d.flags & BASE == 0)
        .filter_map(|d| d.names.first());
    names
        .filter_map(|(name, _)| view.short_name(*name).map(text))
        .collect()
}

fn build_id(view: &View<'_>) -> Option<String> {
    let segments = view.programs.iter().filter(|p| p.p_type == PT_NOTE);
    let mut all = segments.flat_map(|segment| notes(view, segment).0);
    let id = all.find(|note| note.name == b"GNU\0" && note.kind == NT_GNU_BUILD_ID)?;
    // Hashes have up to 64 bytes; what is longer is no build ID.
    (id.content.len() <= 64).then(|| id.content.iter().map(|b| format!("{b:02x}")).collect())
}

/// Whether these first bytes are an ELF file's.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}
