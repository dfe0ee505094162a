//! What an ELF file says about itself to the dynamic linker.

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
        let _ = bytes;
        None
    }
}

/// Whether these first bytes are an ELF file's.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}
