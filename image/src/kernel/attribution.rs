//! Which fragment a built kernel's bytes are there for, as far as it can be told.
//!
//! The objects in vmlinux.a are followed through the tree's Makefiles (kbuild's
//! Documentation/kbuild/makefiles.rst): `obj-$(CONFIG_X) += a.o dir/`, composites
//! (`a-y`, `a-objs`, `a-$(CONFIG_Y) += b.o`). A symbol that no fragment names belongs where most
//! named symbols of the same Makefile belong. Not followed: conditionals (`ifdef`), variables
//! other than these.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use goblin::elf::Elf;
use goblin::elf::section_header::{SHF_ALLOC, SHT_NOBITS};
use serde::{Deserialize, Serialize};

use super::{Error, Fragments};
use crate::program;

/// Bytes of code and data before compression.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// By fragment.
    pub fragments: BTreeMap<String, u64>,
    /// By symbol, without CONFIG_.
    pub symbols: BTreeMap<String, u64>,
    /// What belongs to no fragment: scheduler, memory management, network core …
    pub rest: u64,
}

/// Attributes the objects of the finished build in `tree`.
///
/// # Errors
/// When the list of objects cannot be had.
pub(super) fn attribute(tree: &Path, fragments: &Fragments) -> Result<Attribution, Error> {
    let listing = program::run(
        Command::new("ar")
            .current_dir(tree)
            .args(["t", "vmlinux.a"]),
    )?;
    let mut makefiles = Makefiles {
        tree,
        read: HashMap::new(),
    };
    let mut attribution = Attribution::default();
    for object in String::from_utf8_lossy(&listing).lines() {
        let bytes = std::fs::read(tree.join(object)).map_or(0, |content| loaded_bytes(&content));
        match makefiles.owner(Path::new(object), fragments) {
            Some((symbol, fragment)) => {
                *attribution.fragments.entry(fragment).or_insert(0) += bytes;
                *attribution.symbols.entry(symbol).or_insert(0) += bytes;
            }
            None => attribution.rest += bytes,
        }
    }
    Ok(attribution)
}

/// Bytes of the sections that are in the image.
fn loaded_bytes(object: &[u8]) -> u64 {
    Elf::parse(object).map_or(0, |elf| {
        elf.section_headers
            .iter()
            .filter(|section| section.sh_flags & u64::from(SHF_ALLOC) != 0)
            .filter(|section| section.sh_type != SHT_NOBITS)
            .map(|section| section.sh_size)
            .sum()
    })
}

/// One Makefile: which names (`a.o`, `dir/`) are added to which variable under which symbol.
#[derive(Debug, Default)]
struct Makefile {
    /// Name to (variable's stem, symbol): `a.o` to (`obj`, Some(`X`)).
    added: HashMap<String, (String, Option<String>)>,
}

impl Makefile {
    fn parse(text: &str) -> Makefile {
        let mut makefile = Makefile::default();
        for line in text.replace("\\\n", " ").lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some((variable, names)) = line
                .split_once("+=")
                .or_else(|| line.split_once(":="))
                .or_else(|| line.split_once('='))
            else {
                continue;
            };
            let variable = variable.trim();
            let (stem, symbol) = match variable.split_once("-$(CONFIG_") {
                Some((stem, symbol)) => (stem, symbol.strip_suffix(')').map(str::to_string)),
                None => match variable
                    .strip_suffix("-y")
                    .or(variable.strip_suffix("-objs"))
                {
                    Some(stem) => (stem, None),
                    None => continue,
                },
            };
            for name in names.split_whitespace() {
                makefile
                    .added
                    .entry(name.to_string())
                    .or_insert_with(|| (stem.to_string(), symbol.clone()));
            }
        }
        makefile
    }

    /// The symbols under which something is added.
    fn symbols(&self) -> impl Iterator<Item = &String> {
        self.added
            .values()
            .filter_map(|(_, symbol)| symbol.as_ref())
    }
}

/// The tree's Makefiles, each read once.
struct Makefiles<'a> {
    tree: &'a Path,
    read: HashMap<PathBuf, Makefile>,
}

impl Makefiles<'_> {
    /// Symbol and fragment of the object or folder at `path`.
    fn owner(&mut self, path: &Path, fragments: &Fragments) -> Option<(String, String)> {
        let folder = path.parent()?.to_path_buf();
        let mut name = path.file_name()?.to_str()?.to_string();
        if path.extension().is_none() {
            name.push('/');
        }
        self.load(&folder);
        let makefile = &self.read[&folder];
        // At most a composite of a composite; the bound is for a Makefile that loops.
        for _ in 0..4 {
            // Some folders are added by a longer path, from further up: `obj-y += a/b/`.
            let Some((stem, symbol)) = makefile.added.get(&name) else {
                break;
            };
            let fragment = symbol
                .as_ref()
                .and_then(|symbol| fragment_of(symbol, makefile, fragments));
            if let (Some(symbol), Some(fragment)) = (symbol, fragment) {
                return Some((symbol.clone(), fragment));
            }
            if stem == "obj" || stem == "lib" {
                break;
            }
            name = format!("{stem}.o");
        }
        self.owner(&folder, fragments)
    }

    fn load(&mut self, folder: &Path) {
        if self.read.contains_key(folder) {
            return;
        }
        let text = ["Kbuild", "Makefile"]
            .iter()
            .find_map(|name| std::fs::read_to_string(self.tree.join(folder).join(name)).ok())
            .unwrap_or_default();
        self.read
            .insert(folder.to_path_buf(), Makefile::parse(&text));
    }
}

/// The fragment that asked for `symbol`, or else the one that asked for most of its neighbours.
fn fragment_of(symbol: &str, makefile: &Makefile, fragments: &Fragments) -> Option<String> {
    let asked = |symbol: &str| {
        fragments
            .get(&format!("CONFIG_{symbol}"))
            .filter(|request| request.value != "n")
            .map(|request| request.fragment.clone())
    };
    asked(symbol).or_else(|| {
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for fragment in makefile.symbols().filter_map(|symbol| asked(symbol)) {
            *votes.entry(fragment).or_insert(0) += 1;
        }
        votes
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(fragment, _)| fragment)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_followed_to_their_fragment() {
        let scratch = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = scratch.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Kbuild", "obj-y += drivers/ kernel/\n");
        write(
            "drivers/Makefile",
            "obj-$(CONFIG_NVME) += nvme/\nobj-y += net/\n",
        );
        write(
            "drivers/nvme/Makefile",
            "nvme-y := core.o \\\n  pci.o # two\nobj-$(CONFIG_NVME_CORE) += nvme.o\n",
        );
        write(
            "drivers/net/Makefile",
            "obj-$(CONFIG_E1000) += e1000.o\ne1000-objs := main.o\nobj-$(CONFIG_HIDDEN) += lib.o\n",
        );
        let fragments = Fragments::parse(&[
            ("storage", "CONFIG_NVME=y\n"),
            ("network", "CONFIG_E1000=y\n"),
        ])
        .unwrap();
        let mut makefiles = Makefiles {
            tree: scratch.path(),
            read: HashMap::new(),
        };
        let mut fragment = |path: &str| {
            makefiles
                .owner(Path::new(path), &fragments)
                .map(|(_, fragment)| fragment)
        };
        assert_eq!(fragment("drivers/nvme/pci.o").as_deref(), Some("storage"));
        assert_eq!(fragment("drivers/net/main.o").as_deref(), Some("network"));
        assert_eq!(fragment("drivers/net/lib.o").as_deref(), Some("network"));
        assert_eq!(fragment("kernel/fork.o"), None);
    }

    #[test]
    fn a_makefile_that_loops_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("Makefile"), "a-y := b.o\nb-y := a.o\n").unwrap();
        let fragments = Fragments::parse(&[]).unwrap();
        let mut makefiles = Makefiles {
            tree: scratch.path(),
            read: HashMap::new(),
        };
        assert_eq!(makefiles.owner(Path::new("a.o"), &fragments), None);
    }
}
