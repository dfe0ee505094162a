//! Everything that one program is made of, as the dynamic linker of ROOT would put it together: [`Closure::of`].

mod cache;
mod folders;
mod linker;
mod machine;
mod partial;
mod resolver;
mod runtime;
mod script;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use kedge_elf::Object;
use kedge_sysroot::{Error, Sysroot};

use linker::{Linker, Search, Wants};
use machine::Machine;
pub(crate) use resolver::Resolver;
use runtime::{Absence, Module, Modules};
pub(crate) use script::{FIRST_LINE, Interpreters, interpreters};

/// A program or library is no longer than this; what is longer is not read.
pub(crate) const LONGEST_OBJECT: u64 = 512 << 20;
/// No program has more parts.
const MOST: usize = 4096;
/// Scripts whose interpreters are scripts: the kernel's own limit (`BINPRM_MAX_RECURSION`).
const SCRIPTS: usize = 5;
/// Libraries that go into every program.
pub(crate) const PRELOAD: &str = "etc/ld.so.preload";

/// Without leading `/`.
fn path(bytes: &[u8]) -> PathBuf {
    let slashes = bytes.iter().take_while(|&&b| b == b'/').count();
    PathBuf::from(OsStr::from_bytes(&bytes[slashes..]))
}

/// What a file is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// What was asked for.
    Program,
    /// What a script names in its first line, or `PT_INTERP`.
    Interpreter,
    /// `DT_NEEDED`.
    Library,
    /// Loaded while it runs; the configuration file that says so.
    Module(PathBuf),
    /// A library that is loaded only for some things that a program does.
    Sometimes,
    /// Passed over by the dynamic linker: its header says that it is for another machine.
    PassedOver,
    /// A configuration file that says what is loaded.
    Configuration,
}

/// One file.
#[derive(Debug)]
pub struct Member {
    /// Below ROOT, as it was come to.
    pub path: PathBuf,
    /// Without links, if that can be told.
    pub real: Option<PathBuf>,
    /// What it is for.
    pub role: Role,
    /// Which member wants it first; `None` for the program.
    pub wanted_by: Option<usize>,
    /// What it says about itself, when it is an ELF file that can be read.
    pub object: Option<Rc<Object>>,
    /// The name by which others need it.
    name: String,
}

impl Member {
    /// The name by which others need it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether others need it by this name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let soname = self.object.as_ref().and_then(|o| o.soname.as_deref());
        let loaded = !matches!(self.role, Role::PassedOver | Role::Configuration);
        loaded && (self.name == name || soname == Some(name))
    }
}

/// Something that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Its name.
    pub name: String,
    /// Who needs it: an index into the members.
    pub wanted_by: usize,
    /// It is there, where only `ldconfig` looks.
    pub uncached: Option<PathBuf>,
    /// A module that a configuration file names.
    pub module_of: Option<PathBuf>,
    /// Who wants it goes on without.
    pub minor: bool,
}

/// The program and all that it loads.
#[derive(Debug, Default)]
pub struct Closure {
    /// The program first, then in the order of loading.
    pub members: Vec<Member>,
    /// What was not found.
    pub absent: Vec<Absent>,
    /// Sentences about what does not belong to one file.
    pub notes: Vec<String>,
    /// It has more parts, or they are looked for in more places, than is followed: not all are known.
    pub unfinished: bool,
}

/// What files say about themselves, each read once for many programs.
#[derive(Default)]
pub(crate) struct Objects {
    known: RefCell<HashMap<PathBuf, Option<Rc<Object>>>>,
}

impl Objects {
    /// Of the file at `path`, which is `real` without links.
    fn read(&self, root: &Sysroot, path: &Path, real: Option<&Path>) -> Option<Rc<Object>> {
        let key = real.unwrap_or(path);
        if let Some(known) = self.known.borrow().get(key) {
            return known.clone();
        }
        let object = partial::read(root, path).map(Rc::new);
        let mut known = self.known.borrow_mut();
        known.insert(key.to_path_buf(), object.clone());
        object
    }
}

struct Walk<'a> {
    root: &'a Sysroot,
    objects: &'a Objects,
    closure: Closure,
}

impl Closure {
    /// Of the program, script or library at `program`.
    ///
    /// # Errors
    /// When that itself cannot be opened.
    pub fn of(root: &Sysroot, program: &Path) -> Result<Closure, Error> {
        Closure::with(root, program, &Objects::default())
    }

    pub(crate) fn with(
        root: &Sysroot,
        program: &Path,
        objects: &Objects,
    ) -> Result<Closure, Error> {
        let mut walk = Walk {
            root,
            objects,
            closure: Closure::default(),
        };
        let path = self::path(program.as_os_str().as_bytes());
        // To say what is wrong with it, it has to be there.
        root.symlink_metadata(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.into_owned();
        let index = walk.add(&path, Role::Program, None, "");
        walk.program(index, &name, 0);
        Ok(walk.closure)
    }
}

impl Walk<'_> {
    /// Adds a file, unless it is there already; its index.
    fn add(&mut self, path: &Path, role: Role, wanted_by: Option<usize>, name: &str) -> usize {
        let real = self.root.real_path(path).ok();
        let same = |member: &Member| match (&member.real, &real) {
            (Some(a), Some(b)) => a == b && member.path == path,
            _ => member.path == path,
        };
        if let Some(index) = self.closure.members.iter().position(same) {
            return index;
        }
        let reads = !matches!(role, Role::Configuration | Role::PassedOver);
        let object = reads.then(|| self.objects.read(self.root, path, real.as_deref()));
        let object = object.flatten();
        self.closure.members.push(Member {
            path: path.into(),
            real,
            role,
            wanted_by,
            object,
            name: name.into(),
        });
        self.closure.members.len() - 1
    }

    fn program(&mut self, index: usize, name: &str, depth: usize) {
        let member = &self.closure.members[index];
        let Some(object) = &member.object else {
            let path = member.path.clone();
            if depth < SCRIPTS {
                self.script(index, &path, name, depth);
            }
            return;
        };
        let machine = Machine {
            is_64: object.is_64,
            number: object.machine,
        };
        let interpreter = object.interpreter.as_ref().map(|i| path(i.as_bytes()));
        let linker = Linker::new(self.root, machine, interpreter.as_deref());
        if let Some(interpreter) = &interpreter {
            match self.is_there(interpreter) {
                true => {
                    let name = interpreter.file_name().unwrap_or_default();
                    let name = name.to_string_lossy().into_owned();
                    self.add(interpreter, Role::Interpreter, Some(index), &name);
                }
                false => self.absent(&format!("/{}", interpreter.display()), index, None),
            }
        }
        self.preloads(index, &linker);
        self.libraries(index, &linker);
        if interpreter.is_some() {
            self.modules(index, name, &linker);
        }
        if let Some(why) = linker.cache_complaint() {
            self.closure.notes.push(format!(
                "/etc/ld.so.cache cannot be used: {why}; libraries outside of the default folders are not found"
            ));
        }
    }

    /// `#!/usr/bin/env NAME`, `#!/bin/sh -e`.
    fn script(&mut self, index: usize, script: &Path, name: &str, depth: usize) {
        let Ok(file) = self.root.open_file(script) else {
            return;
        };
        let mut buffer = [0; FIRST_LINE];
        let Ok(count) = file.read_at(&mut buffer, 0) else {
            return;
        };
        let Some(interpreters) = interpreters(self.root, &buffer[..count]) else {
            return;
        };
        if let Some(name) = &interpreters.nowhere {
            self.absent(name, index, None);
        }
        for interpreter in interpreters.paths {
            if self.is_there(&interpreter) {
                let found = self.add(&interpreter, Role::Interpreter, Some(index), "");
                self.program(found, name, depth + 1);
            } else {
                self.absent(&format!("/{}", interpreter.display()), index, None);
            }
        }
    }

    /// What the file system does not give is not absent.
    fn is_there(&self, path: &Path) -> bool {
        let stat = self.root.metadata(path);
        !stat.is_err_and(|error| error.is_missing())
    }

    /// `/etc/ld.so.preload` goes into every program.
    fn preloads(&mut self, index: usize, linker: &Linker) {
        let list = Path::new(PRELOAD);
        if linker.is_musl() {
            return;
        }
        let Ok(text) = self.root.read(list, 1 << 20) else {
            return;
        };
        self.add(list, Role::Configuration, Some(index), "");
        let text = String::from_utf8_lossy(&text).into_owned();
        let names: Vec<&str> = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| line.split([' ', '\t', ':']))
            .filter(|name| !name.is_empty())
            .collect();
        for name in names {
            let search = linker.find(name, &[]);
            let role = Role::Module(list.to_path_buf());
            self.take(name, search, role, index, Some(list));
        }
    }

    /// All that the member `first` needs, and what they need: breadth first, as the dynamic linker loads.
    fn libraries(&mut self, first: usize, linker: &Linker) {
        let mut next = first;
        while next < self.closure.members.len() {
            let parts = self.closure.members.len() + self.closure.absent.len();
            if parts >= MOST || !linker.may_go_on() {
                self.closure.unfinished = true;
                return;
            }
            let needed = match &self.closure.members[next] {
                Member {
                    object: Some(object),
                    ..
                } => object.needed.clone(),
                _ => Vec::new(),
            };
            for name in needed {
                if !linker.spend(1) {
                    break;
                }
                if !self.is_loaded(&name) {
                    let search = self.search(&name, next, linker);
                    self.take(&name, search, Role::Library, next, None);
                }
            }
            next += 1;
        }
    }

    fn search(&self, name: &str, by: usize, linker: &Linker) -> Search {
        let members = &self.closure.members;
        let folder = |member: &Member| {
            let path = member.real.as_deref().unwrap_or(&member.path);
            path.parent().map(Path::to_path_buf).unwrap_or_default()
        };
        let mut chain = Vec::new();
        let mut up = Some(by);
        while let Some(index) = up.filter(|_| chain.len() < MOST && linker.spend(1)) {
            let member = &members[index];
            if let Some(object) = &member.object {
                chain.push((object, folder(member)));
            }
            up = member.wanted_by;
        }
        let wanting: Vec<Wants> = chain
            .iter()
            .map(|(object, origin)| Wants {
                object: object.as_ref(),
                origin,
            })
            .collect();
        linker.find(name, &wanting)
    }

    fn is_loaded(&self, name: &str) -> bool {
        self.closure
            .members
            .iter()
            .any(|member| member.is_called(name))
            || self.closure.absent.iter().any(|absent| absent.name == name)
    }

    /// Adds what a search has found, or notes that it has not.
    fn take(
        &mut self,
        name: &str,
        search: Search,
        role: Role,
        by: usize,
        module_of: Option<&Path>,
    ) -> Option<usize> {
        let found = search
            .found
            .map(|path| self.add(&path, role, Some(by), name));
        // What was not looked for everywhere may be there.
        self.closure.unfinished |= found.is_none() && search.gave_up;
        if found.is_none() && !search.gave_up {
            for path in &search.passed_over {
                self.add(path, Role::PassedOver, Some(by), name);
            }
            self.absent(name, by, module_of.map(Path::to_path_buf));
            if let Some(absent) = self.closure.absent.last_mut() {
                absent.uncached = search.uncached;
            }
        }
        found
    }

    fn absent(&mut self, name: &str, wanted_by: usize, module_of: Option<PathBuf>) {
        self.closure.absent.push(Absent {
            name: name.into(),
            wanted_by,
            uncached: None,
            module_of,
            minor: false,
        });
    }

    fn member(&self, stem: &str) -> Option<usize> {
        let named = |member: &Member| member.name.starts_with(stem);
        self.closure.members.iter().position(named)
    }

    /// What is loaded while it runs. A module may bring the library whose modules are looked for next: so again until there
    /// is nothing new.
    fn modules(&mut self, program: usize, name: &str, linker: &Linker) {
        let (mut pam, mut names, mut crypto) = (false, false, false);
        loop {
            let before = self.closure.members.len();
            if !std::mem::replace(&mut names, true)
                && let Some(libc) = self.member("libc.so.6")
            {
                self.load(runtime::name_services(self.root), libc, linker, &[]);
                // pthread_cancel and thread exit load it, and abort without it.
                let search = linker.find("libgcc_s.so.1", &[]);
                if search.found.is_some() && !self.is_loaded("libgcc_s.so.1") {
                    self.take("libgcc_s.so.1", search, Role::Sometimes, libc, None);
                }
            }
            if !pam && let Some(library) = self.member("libpam.so") {
                pam = true;
                let folders = self.beside(library, "security");
                // Many programs have it only because some library of theirs has.
                let itself = self.closure.members[program].object.as_ref();
                let direct = |name: &String| name.starts_with("libpam.so");
                let itself = itself.is_some_and(|o| o.needed.iter().any(direct));
                let modules = runtime::pam(self.root, name, itself);
                self.load(modules, library, linker, &folders);
            }
            if !crypto && let Some(library) = self.member("libcrypto.so") {
                crypto = true;
                let mut folders = self.beside(library, "ossl-modules");
                folders.extend(self.beside(library, "engines-3"));
                folders.extend(self.beside(library, "engines-1.1"));
                self.load(runtime::openssl(self.root), library, linker, &folders);
            }
            self.libraries(before.min(self.closure.members.len()), linker);
            if self.closure.members.len() == before || self.closure.members.len() >= MOST {
                break;
            }
        }
    }

    /// Folders of modules: beside the library, and where distributions have them.
    fn beside(&self, library: usize, folder: &str) -> Vec<PathBuf> {
        let member = &self.closure.members[library];
        let real = member.real.as_deref().unwrap_or(&member.path);
        let beside = [real.parent(), member.path.parent()];
        let beside: Vec<&Path> = beside.into_iter().flatten().collect();
        module_folders(&beside, folder)
    }

    fn load(&mut self, modules: Modules, by: usize, linker: &Linker, folders: &[PathBuf]) {
        for file in &modules.files {
            self.add(file, Role::Configuration, Some(by), "");
        }
        for module in modules.modules {
            let search = match folders {
                [] => linker.find(&module.name, &[]),
                _ if module.name.starts_with('/') => linker.find(&module.name, &[]),
                _ => {
                    let searches = folders.iter().map(|folder| {
                        linker.find(&format!("/{}/{}", folder.display(), module.name), &[])
                    });
                    let ends = |search: &Search| search.found.is_some() || search.gave_up;
                    let found = searches.into_iter().find(ends);
                    found.unwrap_or_default()
                }
            };
            let Module {
                name,
                from,
                absence,
            } = module;
            if search.found.is_none() && absence == Absence::Unnoticed {
                continue;
            }
            let role = Role::Module(from.clone());
            let before = self.closure.absent.len();
            self.take(&name, search, role, by, Some(&from));
            for absent in &mut self.closure.absent[before..] {
                absent.minor = absence == Absence::Logged;
            }
        }
    }
}

/// What an ELF file says about itself.
pub(crate) fn read_object(root: &Sysroot, path: &Path) -> Option<Object> {
    partial::read(root, path)
}

/// The modules that PAM loads for a program of this name; of `other` where it has no list and `asks` for one all the same.
pub(crate) fn pam_modules(root: &Sysroot, name: &str, asks: bool) -> Vec<String> {
    let modules = runtime::pam(root, name, asks).modules;
    modules.into_iter().map(|module| module.name).collect()
}

/// Names of the modules that the configuration of the name service and of OpenSSL has, and which file says so.
pub(crate) fn configured_modules(root: &Sysroot) -> Vec<(String, PathBuf)> {
    let names = runtime::name_services(root).modules;
    let all = names.into_iter().chain(runtime::openssl(root).modules);
    all.map(|module| (module.name, module.from)).collect()
}

/// Folders of a library's modules that are called `folder`: beside the library, and where distributions have them.
pub(crate) fn module_folders(beside: &[&Path], folder: &str) -> Vec<PathBuf> {
    let usual = ["lib64", "usr/lib64", "lib", "usr/lib"].map(Path::new);
    let all = beside.iter().copied().chain(usual);
    all.map(|parent| parent.join(folder)).collect()
}

/// What the configuration that [`Closure::of`] follows is read as: for the fuzz targets.
pub(crate) fn fuzz(root: &Sysroot) {
    runtime::pam(root, "sshd", true);
    runtime::name_services(root);
    runtime::openssl(root);
    folders::configured(root);
}

#[cfg(test)]
mod tests;
