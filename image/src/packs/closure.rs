//! Which files a program needs, as the dynamic linker would look for them, and the proof that none is missing.
//!
//! For each ELF file: its interpreter, `DT_NEEDED` by `DT_RPATH` or `DT_RUNPATH` (with `$ORIGIN`) and the default
//! folders (ld.so(8)), and for each version that it needs of a library (`.gnu.version_r`) that the library
//! provides it (`.gnu.version_d`). For scripts: the interpreter after `#!`. What is opened by dlopen(3) is not seen
//! here: [`super::description`] names it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use goblin::elf::Elf;
use goblin::elf::header::{EM_X86_64, ET_DYN};
use goblin::elf::sym::STB_WEAK;

use crate::packs::content::Contents;

/// Where the dynamic linker of Debian's amd64 looks when an ELF file does not say.
const DEFAULT: &[&str] = &["lib/x86_64-linux-gnu", "lib"];
/// `VER_FLG_WEAK` of elf.h: nobody dies when this version is missing.
const VER_FLG_WEAK: u16 = 2;

/// What cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("{by} needs /{path}, which is in none of the packages")]
    NoFile {
        /// Who.
        by: String,
        /// What.
        path: String,
    },
    /// There is no such library.
    #[error(
        "{by} needs the library {library}, which is in none of the packages and their dependencies"
    )]
    NoLibrary {
        /// The ELF file, as a path of the image.
        by: String,
        /// The name in its `DT_NEEDED`.
        library: String,
    },
    /// The library is of another version.
    #[error("{by} needs version {version} of {library}, and {found} does not provide it")]
    NoVersion {
        /// The ELF file, as a path of the image.
        by: String,
        /// The library.
        library: String,
        /// The version.
        version: String,
        /// The library's file.
        found: String,
    },
    /// A file that looks like ELF and is none, or is for another machine.
    #[error("{path} is no ELF file for x86-64: {why}")]
    Damaged {
        /// Which.
        path: String,
        /// What the parser said.
        why: String,
    },
    /// A script for something that is not there.
    #[error(
        "{by} is a script for {interpreter}, which is neither in the image nor in the packages"
    )]
    NoInterpreter {
        /// The script.
        by: String,
        /// After its `#!`.
        interpreter: String,
    },
}

/// What an ELF file says that it needs, and provides.
#[derive(Debug, Default)]
struct Object {
    interpreter: Option<String>,
    needed: Vec<String>,
    /// Folders, with `$ORIGIN` replaced.
    search: Vec<String>,
    /// By library: the versions.
    versions: Vec<(String, Vec<String>)>,
    provides: BTreeSet<String>,
    /// Imported symbols.
    imports: BTreeSet<String>,
}

/// What one file needs: files, and what rules about libraries look at.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Closure {
    /// Paths of the image: files, and the links by which they are found.
    pub files: BTreeSet<String>,
    /// The names of all libraries that are needed.
    pub libraries: BTreeSet<String>,
    /// All symbols that are imported.
    pub imports: BTreeSet<String>,
}

/// Finds what is needed.
pub struct Resolver<'a> {
    contents: &'a Contents,
    /// Whether the image itself has a program of that name.
    in_image: &'a dyn Fn(&str) -> bool,
    objects: RefCell<BTreeMap<String, Option<Rc<Object>>>>,
}

impl<'a> Resolver<'a> {
    /// One that looks for files in `contents`, and for interpreters also in the image's /bin.
    pub fn new(contents: &'a Contents, in_image: &'a dyn Fn(&str) -> bool) -> Self {
        Resolver {
            contents,
            in_image,
            objects: RefCell::default(),
        }
    }

    /// Everything that is needed to run or load what is at `path`, itself included.
    ///
    /// # Errors
    /// At the first thing that is missing.
    pub fn closure(&self, path: &str) -> Result<Closure, Error> {
        let mut closure = Closure::default();
        self.add(path, path, &mut closure)?;
        Ok(closure)
    }

    /// The same for something that is read or loaded by a program: only of shared libraries for this machine
    /// is anything else needed (GRUB's modules are ELF files, too).
    ///
    /// # Errors
    /// At the first thing that is missing.
    pub fn closure_of_data(&self, path: &str) -> Result<Closure, Error> {
        let (file, links) = self.contents.follow(path).ok_or_else(|| Error::NoFile {
            by: path.into(),
            path: path.into(),
        })?;
        if self.contents.bytes(&file).is_some_and(is_loadable) {
            return self.closure(path);
        }
        let mut closure = Closure::default();
        closure.files.extend(links);
        closure.files.insert(file);
        Ok(closure)
    }

    /// Adds `path` and what it needs.
    fn add(&self, path: &str, by: &str, closure: &mut Closure) -> Result<(), Error> {
        let (file, links) = self.contents.follow(path).ok_or_else(|| Error::NoFile {
            by: by.into(),
            path: path.into(),
        })?;
        closure.files.extend(links);
        if !closure.files.insert(file.clone()) {
            return Ok(());
        }
        if let Some(interpreter) = self.contents.bytes(&file).and_then(shebang) {
            let name = interpreter.rsplit('/').next().unwrap_or_default();
            if (self.in_image)(name) {
                return Ok(());
            }
            return self
                .add(&format!("bin/{name}"), &file, closure)
                .map_err(|error| match error {
                    Error::NoFile { .. } => Error::NoInterpreter {
                        by: file.clone(),
                        interpreter: interpreter.clone(),
                    },
                    other => other,
                });
        }
        let Some(object) = self.object(&file)? else {
            return Ok(());
        };
        if let Some(interpreter) = &object.interpreter {
            let path = super::content::place(interpreter);
            self.add(&path, &file, closure)?;
        }
        closure.imports.extend(object.imports.iter().cloned());
        for library in &object.needed {
            let found = self
                .find(library, &object)
                .ok_or_else(|| Error::NoLibrary {
                    by: file.clone(),
                    library: library.clone(),
                })?;
            closure.libraries.insert(library.clone());
            self.check_versions(&file, &object, library, &found)?;
            self.add(&found, &file, closure)?;
        }
        Ok(())
    }

    /// The path at which the dynamic linker finds `library`.
    fn find(&self, library: &str, object: &Object) -> Option<String> {
        let default = DEFAULT.iter().map(ToString::to_string);
        object
            .search
            .iter()
            .cloned()
            .chain(default)
            .map(|folder| format!("{folder}/{library}"))
            .find(|path| self.contents.follow(path).is_some())
    }

    fn check_versions(
        &self,
        by: &str,
        object: &Object,
        library: &str,
        found: &str,
    ) -> Result<(), Error> {
        let file = self.contents.follow(found).map(|(file, _)| file);
        let provider = file.as_deref().map(|file| self.object(file)).transpose()?;
        let Some(provider) = provider.flatten() else {
            return Err(Error::Damaged {
                path: found.into(),
                why: "it is no ELF file".into(),
            });
        };
        let needed = object.versions.iter().filter(|(name, _)| name == library);
        for version in needed.flat_map(|(_, versions)| versions) {
            if !provider.provides.contains(version) {
                return Err(Error::NoVersion {
                    by: by.into(),
                    library: library.into(),
                    version: version.clone(),
                    found: found.into(),
                });
            }
        }
        Ok(())
    }

    /// The ELF file at `path`; none when it is another kind of file.
    fn object(&self, path: &str) -> Result<Option<Rc<Object>>, Error> {
        if let Some(known) = self.objects.borrow().get(path) {
            return Ok(known.clone());
        }
        let bytes = self.contents.bytes(path).unwrap_or_default();
        let object = if bytes.starts_with(goblin::elf::header::ELFMAG) {
            Some(Rc::new(read(path, bytes)?))
        } else {
            None
        };
        self.objects
            .borrow_mut()
            .insert(path.into(), object.clone());
        Ok(object)
    }
}

/// Whether the dynamic linker of this machine would load it.
fn is_loadable(bytes: &[u8]) -> bool {
    let magic = bytes.starts_with(goblin::elf::header::ELFMAG);
    // e_type and e_machine of the ELF header, little-endian.
    magic && bytes.get(16..20) == Some(&[ET_DYN as u8, 0, EM_X86_64 as u8, 0])
}

/// `/bin/sh` of `#! /bin/sh -e`; of `#!/usr/bin/env NAME` the name.
fn shebang(bytes: &[u8]) -> Option<String> {
    let line = bytes
        .strip_prefix(b"#!")?
        .split(|&byte| byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let first = words.next()?;
    match first.ends_with("/env") {
        true => words.next().map(str::to_string),
        false => Some(first.to_string()),
    }
}

fn read(path: &str, bytes: &[u8]) -> Result<Object, Error> {
    let damaged = |why: String| Error::Damaged {
        path: path.into(),
        why,
    };
    let elf = Elf::parse(bytes).map_err(|error| damaged(error.to_string()))?;
    if elf.header.e_machine != EM_X86_64 {
        return Err(damaged(format!("e_machine is {}", elf.header.e_machine)));
    }
    let name = |offset: usize| elf.dynstrtab.get_at(offset).unwrap_or_default().to_string();
    let versions = elf.verneed.iter().flat_map(|section| section.iter());
    let versions = versions.map(|need| {
        let strong = need.iter().filter(|aux| aux.vna_flags & VER_FLG_WEAK == 0);
        (
            name(need.vn_file),
            strong.map(|aux| name(aux.vna_name)).collect(),
        )
    });
    let definitions = elf.verdef.iter().flat_map(|section| section.iter());
    let provides = definitions.filter_map(|def| Some(name(def.iter().next()?.vda_name)));
    let imports = elf
        .dynsyms
        .iter()
        .filter(|s| s.is_import() && s.st_bind() != STB_WEAK);
    // DT_RPATH does not count where there is a DT_RUNPATH (ld.so(8)).
    let folders = if elf.runpaths.is_empty() {
        &elf.rpaths
    } else {
        &elf.runpaths
    };
    Ok(Object {
        interpreter: elf.interpreter.map(str::to_string),
        needed: elf.libraries.iter().map(ToString::to_string).collect(),
        search: folders
            .iter()
            .flat_map(|list| list.split(':'))
            .map(|folder| folder_of(path, folder))
            .collect(),
        versions: versions.collect(),
        provides: provides.collect(),
        imports: imports.map(|symbol| name(symbol.st_name)).collect(),
    })
}

/// A folder of `DT_RUNPATH` of the file at `path`, as one of the image.
fn folder_of(path: &str, folder: &str) -> String {
    let origin = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder = folder.replace("${ORIGIN}", "$ORIGIN");
    let folder = folder.replace("$ORIGIN", &format!("/{origin}"));
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    // `place` knows folders by what follows them.
    let placed = super::content::place(&format!("{}/", parts.join("/")));
    placed.trim_end_matches('/').to_string()
}

#[cfg(test)]
#[path = "closure_tests.rs"]
mod tests;
