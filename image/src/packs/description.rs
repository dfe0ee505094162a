//! The form of `image/packs/NAME.toml`: what is in a pack.
//!
//! ```toml
//! summary = "file systems and LUKS"          # at most 47 characters: `pack list` has 80 columns
//! data = ["ncurses-base"]                    # packages of which only data are wanted
//! files = ["lib/terminfo/l/linux"]           # what every program of the pack reads
//!
//! [[package]]
//! name = "xfsprogs"                          # a Debian package
//! programs = ["xfs_repair", "xfs_admin"]     # which of its programs; "all" for every one
//! together = [["xfs_db", "xfs_io"]]          # programs that are always loaded together
//! needs = { xfs_admin = ["xfs_db"] }         # programs that a program starts
//! files = { mke2fs = ["etc/mke2fs.conf"] }   # what a program opens while it runs
//! links = { vi = "vim.tiny" }                # further names of a program
//! # a file made of others, one after the other in the order of their names:
//! joined = { curl = { "etc/ssl/certs/ca-certificates.crt" = "usr/share/ca-certificates/mozilla/*.crt" } }
//! # a file of our own, where a program's defaults do not fit a system without udev, say:
//! written = { lvm = { "etc/lvm/lvm.conf" = "activation { udev_sync = 0 }" } }
//! ```
//!
//! Paths have no leading slash and are those of the image (see [`super::content`]): programs are in `bin/`,
//! libraries in `lib/`. In patterns `*` stands for any part of a name, `{a,b}` for either.
//!
//! `image/packs/libraries.toml` says what libraries open while they run, for every pack:
//!
//! ```toml
//! [[library]]
//! soname = "libtinfo.so.6"                   # who needs this library
//! package = "ncurses-base"                   # also needs, of this package,
//! files = ["lib/terminfo/l/linux"]           # these files
//!
//! [[symbol]]
//! names = ["pthread_exit"]                   # the same for who imports one of these symbols
//! package = "libgcc-s1"
//! files = ["lib/x86_64-linux-gnu/libgcc_s.so.1"]
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The file of what libraries need.
const LIBRARIES: &str = "libraries.toml";

/// Why the descriptions cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is no TOML, or has a field that there is not.
    #[error("{path}: {source}")]
    Form {
        /// Which.
        path: PathBuf,
        /// What the parser said, with the line.
        source: Box<toml::de::Error>,
    },
    /// A name that cannot be that of a pack.
    #[error(
        "{0:?} cannot be the name of a pack: it has up to 8 lower-case letters and digits, and is \
         not \"{SHARED}\""
    )]
    Name(String),
    /// Two packs of one name.
    #[error("there are two packs {0:?}; give yours another name")]
    Twice(String),
    /// A custom pack of nothing.
    #[error("pack {0:?} names no package")]
    Empty(String),
}

/// The archive of what several packs need, which no pack may be called.
pub const SHARED: &str = "shared";

/// A pack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pack {
    /// Its name, from the file's.
    #[serde(skip)]
    pub name: String,
    /// What it is for.
    pub summary: String,
    /// Packages of which only data are wanted.
    #[serde(default)]
    pub data: Vec<String>,
    /// What every program reads.
    #[serde(default)]
    pub files: Vec<String>,
    /// The packages that its programs are in.
    #[serde(default, rename = "package")]
    pub packages: Vec<Package>,
}

/// A package of which programs are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name in Debian.
    pub name: String,
    /// Which programs.
    pub programs: Programs,
    /// Programs that are always loaded together.
    #[serde(default)]
    pub together: Vec<Vec<String>>,
    /// Programs that a program starts.
    #[serde(default)]
    pub needs: BTreeMap<String, Vec<String>>,
    /// What a program opens while it runs.
    #[serde(default)]
    pub files: BTreeMap<String, Vec<String>>,
    /// Further names of a program.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Files that are made of others.
    #[serde(default)]
    pub joined: BTreeMap<String, BTreeMap<String, String>>,
    /// Files of our own.
    #[serde(default)]
    pub written: BTreeMap<String, BTreeMap<String, String>>,
}

/// Which programs of a package.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Programs {
    /// These.
    Some(Vec<String>),
    /// The word "all".
    All(All),
}

/// The word "all".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// It.
    All,
}

impl Default for Programs {
    fn default() -> Programs {
        Programs::Some(Vec::new())
    }
}

/// What libraries and symbols need beside what ELF says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Libraries {
    /// By library.
    #[serde(default, rename = "library")]
    pub libraries: Vec<Library>,
    /// By imported symbol.
    #[serde(default, rename = "symbol")]
    pub symbols: Vec<Symbol>,
}

/// What who needs a library needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// The library's name in `DT_NEEDED`.
    pub soname: String,
    /// In which package the files are.
    pub package: String,
    /// Which they are.
    pub files: Vec<String>,
}

/// What who imports a symbol needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Symbol {
    /// The symbols, without version.
    pub names: Vec<String>,
    /// In which package the files are.
    pub package: String,
    /// Which they are.
    pub files: Vec<String>,
}

/// Packages that the operator names: `--pack NAME=PACKAGE,...` or `[packs]` in kedge.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// The pack's name.
    pub name: String,
    /// The packages.
    pub packages: Vec<String>,
}

impl Custom {
    /// Every program of these packages, with all their data.
    fn pack(&self) -> Pack {
        Pack {
            name: self.name.clone(),
            summary: self.packages.join(", "),
            data: Vec::new(),
            files: Vec::new(),
            packages: self
                .packages
                .iter()
                .map(|name| Package {
                    name: name.clone(),
                    programs: Programs::All(All::All),
                    ..Package::default()
                })
                .collect(),
        }
    }
}

/// All packs in `folder` and those that the operator asks for, sorted by name; and what libraries need.
///
/// # Errors
/// When a file is not as described, or a name cannot be used.
pub fn read(folder: &Path, custom: &[Custom]) -> Result<(Vec<Pack>, Libraries), Error> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Read { path, source }
    };
    let mut packs = Vec::new();
    let mut libraries = Libraries::default();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
        let form = |source| Error::Form {
            path: path.clone(),
            source: Box::new(source),
        };
        if path.file_name().is_some_and(|name| name == LIBRARIES) {
            libraries = toml::from_str(&text).map_err(form)?;
            continue;
        }
        let mut pack: Pack = toml::from_str(&text).map_err(form)?;
        pack.name = path
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        packs.push(pack);
    }
    for custom in custom {
        if custom.packages.is_empty() {
            return Err(Error::Empty(custom.name.clone()));
        }
        packs.push(custom.pack());
    }
    packs.sort_by(|one, other| one.name.cmp(&other.name));
    for pack in &packs {
        if !kedge_pack_index::is_pack_name(&pack.name) || pack.name == SHARED {
            return Err(Error::Name(pack.name.clone()));
        }
    }
    if let Some(pair) = packs.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::Twice(pair[0].name.clone()));
    }
    Ok((packs, libraries))
}

impl Pack {
    /// Every package that it names.
    pub fn package_names(&self) -> impl Iterator<Item = &str> {
        let data = self.data.iter().map(String::as_str);
        data.chain(self.packages.iter().map(|package| package.name.as_str()))
    }
}

impl Libraries {
    /// Every package that they name.
    pub fn package_names(&self) -> impl Iterator<Item = &str> {
        let libraries = self
            .libraries
            .iter()
            .map(|library| library.package.as_str());
        libraries.chain(self.symbols.iter().map(|symbol| symbol.package.as_str()))
    }
}
