//! Where many files find what they need, with each answer remembered.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use kedge_elf::Object;
use kedge_sysroot::Sysroot;

use super::linker::{Linker, Wants};
use super::machine::Machine;

/// Finds what many files need, without regard to who loads them.
pub(crate) struct Resolver<'a> {
    root: &'a Sysroot,
    linkers: Vec<(bool, Linker<'a>)>,
    /// What files find that name no folders of their own.
    plain: HashMap<(usize, String), Option<PathBuf>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(root: &'a Sysroot) -> Resolver<'a> {
        Resolver {
            root,
            linkers: Vec::new(),
            plain: HashMap::new(),
        }
    }

    /// What is asked from here on, another file asks.
    pub(crate) fn start_again(&self) {
        self.linkers
            .iter()
            .for_each(|(_, linker)| linker.start_again());
    }

    /// Where the file `by` finds `name`, without links.
    pub(crate) fn find(&mut self, name: &str, object: &Object, by: &Path) -> Option<PathBuf> {
        let linker = self.linker(object);
        let special =
            !object.rpath.is_empty() || !object.runpath.is_empty() || object.no_default_folders;
        let key = (linker, name.to_string());
        if let Some(known) = self.plain.get(&key).filter(|_| !special) {
            return known.clone();
        }
        let origin = by.parent().unwrap_or(Path::new(""));
        let search = self.linkers[linker]
            .1
            .find(name, &[Wants { object, origin }]);
        let found = search
            .found
            .and_then(|path| self.root.real_path(&path).ok());
        if !special {
            self.plain.insert(key, found.clone());
        }
        found
    }

    /// One for each kind of machine and of libc; which libc a library is for, what it needs says.
    fn linker(&mut self, object: &Object) -> usize {
        let machine = Machine {
            is_64: object.is_64,
            number: object.machine,
        };
        let is_musl = object
            .needed
            .iter()
            .any(|name| name.starts_with("libc.musl-"));
        let known = self.linkers.iter();
        let same = known.map(|(musl, l)| *musl == is_musl && l.machine == machine);
        if let Some(index) = same.into_iter().position(|same| same) {
            return index;
        }
        let architecture = object
            .needed
            .iter()
            .find_map(|name| name.strip_prefix("libc.musl-"));
        let interpreter = architecture.map(|a| PathBuf::from(format!("lib/ld-musl-{a}")));
        let linker = Linker::new(self.root, machine, interpreter.as_deref());
        self.linkers.push((is_musl, linker));
        self.linkers.len() - 1
    }
}
