//! Where the dynamic linker of ROOT finds a library: ld.so(8), musl's ldso/dynlink.c.

use std::cell::{Cell, OnceCell};
use std::io::Read;
use std::path::{Path, PathBuf};

use kedge_elf::Object;
use kedge_sysroot::Sysroot;
use rustix::io::Errno;

use super::cache::Cache;
use super::{Machine, folders};

/// Names and folders that are looked at for one program. The largest ones take some thousands; a file of 100 kB can ask for
/// millions.
const MOST_STEPS: usize = 100_000;

/// What is in ROOT for one kind of machine.
pub(super) struct Linker<'a> {
    root: &'a Sysroot,
    pub(super) machine: Machine,
    /// musl's, as opposed to glibc's; the interpreter's path.
    musl: Option<PathBuf>,
    defaults: Vec<PathBuf>,
    cache: OnceCell<Result<Cache, String>>,
    configured: OnceCell<Vec<PathBuf>>,
    /// How many more steps are made for this program.
    left: Cell<usize>,
}

/// Where a library is.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Below ROOT, as the dynamic linker comes to it.
    pub(super) found: Option<PathBuf>,
    /// Files of that name that it passes over, because their header says that they are for another machine.
    pub(super) passed_over: Vec<PathBuf>,
    /// Where nobody looks at start: in a folder of `ld.so.conf`, and not in `ld.so.cache`.
    pub(super) uncached: Option<PathBuf>,
    /// Not everywhere was looked.
    pub(super) gave_up: bool,
}

/// An object that needs something, and those that wanted it.
pub(super) struct Wants<'a> {
    pub(super) object: &'a Object,
    /// The folder that its file is really in.
    pub(super) origin: &'a Path,
}

impl<'a> Linker<'a> {
    pub(super) fn new(
        root: &'a Sysroot,
        machine: Machine,
        interpreter: Option<&Path>,
    ) -> Linker<'a> {
        let is_musl = |path: &&Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("ld-musl-")
        };
        let musl = interpreter.filter(is_musl).map(Path::to_path_buf);
        let defaults = match &musl {
            Some(interpreter) => folders::musl(root, interpreter),
            None => folders::glibc(machine),
        };
        Linker {
            root,
            machine,
            musl,
            defaults,
            cache: OnceCell::new(),
            configured: OnceCell::new(),
            left: Cell::new(MOST_STEPS),
        }
    }

    /// Takes steps from those that are made for one program; whether there were as many.
    pub(super) fn spend(&self, steps: usize) -> bool {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    pub(super) fn may_go_on(&self) -> bool {
        self.left.get() > 0
    }

    /// For another program.
    pub(super) fn start_again(&self) {
        self.left.set(MOST_STEPS);
    }

    pub(super) fn is_musl(&self) -> bool {
        self.musl.is_some()
    }

    /// What is wrong with `ld.so.cache`, if anything was looked up in it.
    pub(super) fn cache_complaint(&self) -> Option<&str> {
        self.cache.get()?.as_ref().err().map(String::as_str)
    }

    /// Looks for `name`, which the first of `wanting` needs; the others are those that needed it, up to the program.
    pub(super) fn find(&self, name: &str, wanting: &[Wants]) -> Search {
        let mut search = self.look(name, wanting);
        search.gave_up = search.found.is_none() && !self.may_go_on();
        search
    }

    fn look(&self, name: &str, wanting: &[Wants]) -> Search {
        let mut search = Search::default();
        if name.is_empty() {
            return search;
        }
        if let Some(musl) = self.musl.as_ref().filter(|_| name.starts_with("libc.")) {
            search.found = Some(musl.clone());
            return search;
        }
        if let Some(wants) = wanting.first()
            && self.musl.is_none()
            && name.contains('$')
        {
            // glibc replaces `$ORIGIN` in what is needed as well (ld.so(8)); musl takes it as it is.
            let places = folders::named(name, wants.origin, self.machine);
            places.iter().any(|path| self.try_file(path, &mut search));
            return search;
        }
        if name.contains('/') {
            self.try_file(&super::path(name.as_bytes()), &mut search);
            return search;
        }
        for folder in self.named(wanting) {
            if self.try_folder(&folder, name, &mut search) {
                return search;
            }
        }
        let defaults_count = wanting.first().is_none_or(|w| !w.object.no_default_folders);
        if self.musl.is_none() && self.try_cache(name, defaults_count, &mut search) {
            return search;
        }
        if defaults_count {
            for folder in &self.defaults {
                if self.try_folder(folder, name, &mut search) {
                    return search;
                }
            }
        }
        if self.musl.is_none() {
            let configured = self
                .configured
                .get_or_init(|| folders::configured(self.root));
            let mut there = Search::default();
            if configured
                .iter()
                .any(|folder| self.try_folder(folder, name, &mut there))
            {
                search.uncached = there.found;
            }
        }
        search
    }

    /// `DT_RPATH` of the object and of those that wanted it, unless it has a `DT_RUNPATH`: then that alone. musl takes both of
    /// all.
    fn named(&self, wanting: &[Wants]) -> Vec<PathBuf> {
        let expand = |words: &[String], wants: &Wants| -> Vec<PathBuf> {
            let named = |word: &String| folders::named(word, wants.origin, self.machine);
            let words = words.iter().take_while(|_| self.spend(1));
            words.flat_map(named).collect()
        };
        let Some(first) = wanting.first() else {
            return Vec::new();
        };
        if self.musl.is_none() && !first.object.runpath.is_empty() {
            return expand(&first.object.runpath, first);
        }
        let mut folders = Vec::new();
        for wants in wanting {
            let has_runpath = !wants.object.runpath.is_empty();
            match self.musl.is_some() && has_runpath {
                true => folders.extend(expand(&wants.object.runpath, wants)),
                false if !has_runpath => folders.extend(expand(&wants.object.rpath, wants)),
                false => {}
            }
        }
        folders
    }

    fn try_cache(&self, name: &str, defaults_count: bool, search: &mut Search) -> bool {
        let cache = self.cache.get_or_init(|| {
            let path = Path::new("etc/ld.so.cache");
            let bytes = self.root.read(path, 64 << 20).map_err(|e| e.to_string())?;
            Cache::parse(bytes)
        });
        let Ok(cache) = cache else { return false };
        let usable = folders::hwcaps(self.machine);
        let rank = |hwcaps: &Option<String>| match hwcaps {
            None => Some(usable.len()),
            Some(name) => usable.iter().position(|usable| usable == name),
        };
        let mut found: Vec<_> = cache
            .find(name.as_bytes())
            .filter_map(|cached| Some((rank(&cached.hwcaps)?, cached.path)))
            .filter(|(_, path)| {
                let is_default = |folder: &PathBuf| path.parent() == Some(folder);
                defaults_count || !self.defaults.iter().any(is_default)
            })
            .collect();
        found.sort_by_key(|(rank, _)| *rank);
        found.iter().any(|(_, path)| self.try_file(path, search))
    }

    fn try_folder(&self, folder: &Path, name: &str, search: &mut Search) -> bool {
        if self.musl.is_none() {
            for hwcaps in folders::hwcaps(self.machine) {
                let path = folder.join("glibc-hwcaps").join(hwcaps).join(name);
                if self.try_file(&path, search) {
                    return true;
                }
            }
        }
        self.try_file(&folder.join(name), search)
    }

    /// A file that is there and is not plainly for another machine is taken, and the dynamic linker dies if it is no library.
    fn try_file(&self, path: &Path, search: &mut Search) -> bool {
        if !self.spend(1) {
            return false;
        }
        let file = match self.root.open_file(path) {
            Ok(file) => file,
            Err(error) => {
                // What is there and is no file is taken too, and is what is wrong; so is what a damaged file system does not
                // give: the dynamic linker goes on after ENOENT alone.
                let there = !error.is_missing()
                    && error.errno() != Some(Errno::NAMETOOLONG)
                    && !self.is_folder(path);
                search.found = there.then(|| path.to_path_buf());
                return there;
            }
        };
        let mut header = [0; 20];
        let mut filled = 0;
        let mut file = file.take(20);
        while let Ok(count @ 1..) = file.read(&mut header[filled..]) {
            filled += count;
        }
        match Machine::of(&header[..filled]) {
            Some(machine) if machine != self.machine => {
                search.passed_over.push(path.to_path_buf());
                false
            }
            _ => {
                search.found = Some(path.to_path_buf());
                true
            }
        }
    }

    fn is_folder(&self, path: &Path) -> bool {
        use rustix::fs::FileType;
        let stat = self.root.metadata(path);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_asks_for_millions_of_places_gets_some_of_them() {
        let root = Sysroot::open(Path::new("/")).unwrap();
        let machine = Machine {
            is_64: true,
            number: 62,
        };
        let object = Object {
            runpath: vec!["/nowhere".into(); 1365],
            ..Object::default()
        };
        let linker = Linker::new(&root, machine, None);
        let wants = || Wants {
            object: &object,
            origin: Path::new("bin"),
        };
        let search = |n: usize| linker.find(&format!("libnothing{n}.so"), &[wants()]);
        assert!(!search(0).gave_up);
        let start = std::time::Instant::now();
        let gave_up = (1..4000).filter(|n| search(*n).gave_up).count();
        assert!(gave_up > 3900, "{gave_up}");
        assert!(start.elapsed().as_secs() < 20);
        linker.start_again();
        assert!(!search(0).gave_up);
    }
}
