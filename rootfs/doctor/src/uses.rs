//! `doctor --why` and `doctor --uses`: who needs a library, through whom, and which programs die without it.
//!
//! All ELF files and scripts of all packages are asked what they need; what they say of it is found as their dynamic linker
//! would. What PAM loads for a program counts as well.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kedge_elf::Object;
use kedge_json as json;
use kedge_packages::{Database, Kind};
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;

use crate::closure::{
    FIRST_LINE, Interpreters, Resolver, configured_modules, interpreters, module_folders,
    pam_modules, read_object,
};
use crate::links::{end_of_links, meant, without_links};
use crate::refused::is_library;
use crate::shown;

/// Folders in which there is nothing that a dynamic linker loads, and many files.
const ELSEWHERE: &[&str] = &[
    "usr/share/",
    "usr/include/",
    "usr/src/",
    "etc/",
    "boot/",
    "lib/modules/",
    "usr/lib/modules/",
    "usr/lib/firmware/",
    "lib/firmware/",
    "var/",
    "usr/lib/debug/",
];
/// Endings of files that are no ELF files.
const TEXTS: &[&str] = &[
    "py", "pyc", "pl", "pm", "h", "hpp", "js", "ts", "json", "html", "txt", "a", "o", "ko", "xz",
    "gz", "conf", "service", "rlib", "rs", "md", "go", "c", "png", "svg", "xml", "mo", "la", "pc",
    "sh", "map",
];
/// A tree is not drawn deeper.
const DEEPEST: usize = 64;

/// An ELF file, or a script.
struct Node {
    path: PathBuf,
    /// Of a script there is nothing in it.
    object: Object,
    script: Option<Interpreters>,
}

impl Node {
    fn is_program(&self) -> bool {
        self.script.is_some() || self.object.interpreter.is_some() && !is_library(&self.path)
    }

    fn needs(&self, stem: &str) -> bool {
        self.object.needed.iter().any(|name| name.starts_with(stem))
    }
}

/// All of them, and who needs whom.
pub(crate) struct Graph {
    nodes: Vec<Node>,
    by_path: HashMap<PathBuf, usize>,
    /// By whom each is needed: indices, and the name by which.
    needed_by: Vec<Vec<usize>>,
    /// By whom names are needed that nobody has.
    absent: BTreeMap<String, Vec<usize>>,
    /// By whom files are needed that are there, and are no libraries: broken ones, and those that no package has.
    unknown: HashMap<PathBuf, Vec<usize>>,
    /// What could not be read.
    pub(crate) complaints: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("stopped")]
    Interrupted,
    #[error("{0} is no library or program that a package has, nor a name by which one is needed")]
    Unknown(String),
}

impl Graph {
    pub(crate) fn of(root: &Sysroot, databases: &[Box<dyn Database + '_>]) -> Result<Graph, Error> {
        let (paths, complaints) = candidates(root, databases);
        let mut nodes = read(root, &paths);
        if interrupt::pressed_already() {
            return Err(Error::Interrupted);
        }
        nodes.sort_by(|a, b| a.path.cmp(&b.path));
        nodes.dedup_by(|a, b| a.path == b.path);
        let paths = nodes.iter().enumerate();
        let by_path = paths
            .map(|(index, node)| (node.path.clone(), index))
            .collect();
        let mut graph = Graph {
            needed_by: nodes.iter().map(|_| Vec::new()).collect(),
            nodes,
            by_path,
            absent: BTreeMap::new(),
            unknown: HashMap::new(),
            complaints,
        };
        graph.connect(root)?;
        Ok(graph)
    }

    fn connect(&mut self, root: &Sysroot) -> Result<(), Error> {
        let mut resolver = Resolver::new(root);
        for index in 0..self.nodes.len() {
            if interrupt::pressed_already() {
                return Err(Error::Interrupted);
            }
            resolver.start_again();
            let Node {
                path,
                object,
                script,
            } = &self.nodes[index];
            let wanted = object.needed.iter().chain(&object.interpreter);
            let mut found: Vec<(String, Option<PathBuf>)> = wanted
                .map(|name| (name.clone(), resolver.find(name, object, path)))
                .collect();
            if let Some(script) = script {
                let paths = script.paths.iter();
                let real = |path: &PathBuf| (shown::path(path), root.real_path(path).ok());
                found.extend(paths.map(real));
                found.extend(script.nowhere.iter().map(|name| (name.clone(), None)));
            }
            for (name, found) in found {
                self.need(index, name, found);
            }
        }
        self.connect_pam(root);
        Ok(())
    }

    /// `by` needs what is called `name`, which is at `found`.
    fn need(&mut self, by: usize, name: String, found: Option<PathBuf>) {
        match found.as_ref().and_then(|path| self.by_path.get(path)) {
            Some(&needed) if self.needed_by[needed].contains(&by) => {}
            Some(&needed) => self.needed_by[needed].push(by),
            None => {
                self.absent.entry(name).or_default().push(by);
                if let Some(path) = found {
                    self.unknown.entry(path).or_default().push(by);
                }
            }
        }
    }

    /// Programs with the modules that PAM's configuration has for them.
    fn connect_pam(&mut self, root: &Sysroot) {
        let is_pam = |node: &Node| {
            let soname = node.object.soname.as_deref();
            soname.is_some_and(|soname| soname.starts_with("libpam.so"))
        };
        let libraries: Vec<usize> = (0..self.nodes.len())
            .filter(|&index| is_pam(&self.nodes[index]))
            .collect();
        let beside = libraries
            .iter()
            .filter_map(|&i| self.nodes[i].path.parent());
        let folders = module_folders(&beside.collect::<Vec<_>>(), "security");
        for program in self.all_above(libraries) {
            let node = &self.nodes[program];
            if node.object.interpreter.is_none() || !node.is_program() {
                continue;
            }
            let name = node.path.file_name().unwrap_or_default().to_string_lossy();
            for module in pam_modules(root, &name, node.needs("libpam.so")) {
                let inside = Path::new(module.trim_start_matches('/'));
                let mut places = folders.iter().map(|folder| folder.join(inside));
                let found = match module.starts_with('/') {
                    true => root.real_path(inside).ok(),
                    false => places.find_map(|place| root.real_path(&place).ok()),
                };
                self.need(program, module, found);
            }
        }
    }

    /// The files that `wanted` means: a path below ROOT, or a name by which it is needed. Several, where there are several
    /// kinds of machines. `Err` holds those that need a name that nobody has.
    fn means(&self, root: &Sysroot, wanted: &Path) -> Result<Vec<usize>, Vec<usize>> {
        let text = wanted.to_string_lossy();
        if text.contains('/') {
            return self.at(root, &meant(root, wanted));
        }
        let named = |node: &Node| {
            let soname = node.object.soname.as_deref() == Some(&*text);
            soname || node.path.file_name().is_some_and(|name| name == wanted)
        };
        let found: Vec<usize> = (0..self.nodes.len())
            .filter(|&i| named(&self.nodes[i]))
            .collect();
        match found.is_empty() {
            true => Err(self.absent.get(&*text).cloned().unwrap_or_default()),
            false => Ok(found),
        }
    }

    /// The file at a path; or, when it is broken or not there, those that need it: by its place, by its name, or by the name
    /// of a link that leads to it.
    fn at(&self, root: &Sysroot, wanted: &Path) -> Result<Vec<usize>, Vec<usize>> {
        let wanted = wanted.strip_prefix("/").unwrap_or(wanted);
        let real = root.real_path(wanted);
        let real = real.unwrap_or_else(|_| end_of_links(root, &without_links(root, wanted)));
        if let Some(&index) = self.by_path.get(&real) {
            return Ok(vec![index]);
        }
        let folder = real.parent().unwrap_or(Path::new(""));
        let leads_there = |name: &str| {
            let path = match name.strip_prefix('/') {
                Some(absolute) => without_links(root, Path::new(absolute)),
                None => folder.join(name),
            };
            wanted.file_name() == Some(OsStr::new(name)) || end_of_links(root, &path) == real
        };
        let named = self.absent.iter().filter(|(name, _)| leads_there(name));
        let by = named.map(|(_, by)| by).chain(self.unknown.get(&real));
        let all: BTreeSet<usize> = by.flatten().copied().collect();
        Err(all.into_iter().collect())
    }

    /// Why nobody is named though `wanted` is there: what is known of who loads it, and what was not looked at.
    pub(crate) fn nobody(&self, root: &Sysroot, wanted: &Path) -> String {
        let path = shown::text(&wanted.to_string_lossy());
        let name = wanted.file_name().unwrap_or_default().to_string_lossy();
        let configured = configured_modules(root);
        let is_it = |(module, _): &&(String, PathBuf)| {
            Path::new(module).file_name() == wanted.file_name() || *module == name
        };
        match configured.iter().find(is_it) {
            Some((_, from)) => format!(
                "no program needs {path} to start, but {} says that it is loaded: what looks that up fails without it",
                shown::path(from)
            ),
            None => format!(
                "no program or script of a package needs {path} to start, and PAM loads it for none; \
                 what a program loads by itself, as its plugins, was not looked at"
            ),
        }
    }

    /// Everything that needs one of `from`, itself or through others.
    fn all_above(&self, from: Vec<usize>) -> BTreeSet<usize> {
        let mut seen: BTreeSet<usize> = from.iter().copied().collect();
        let mut next = from;
        while let Some(index) = next.pop() {
            next.extend(self.needed_by[index].iter().filter(|&&by| seen.insert(by)));
        }
        seen
    }

    /// The programs that die when `wanted` is broken, sorted.
    pub(crate) fn uses(&self, root: &Sysroot, wanted: &Path) -> Result<Vec<&Path>, Error> {
        let from = self.means(root, wanted).unwrap_or_else(|by| by);
        if from.is_empty() {
            return Err(Error::Unknown(shown::text(&wanted.to_string_lossy())));
        }
        let programs = self
            .all_above(from)
            .into_iter()
            .map(|index| &self.nodes[index]);
        let programs = programs.filter(|node| node.is_program());
        Ok(programs.map(|node| node.path.as_path()).collect())
    }

    /// A tree: `wanted`, under it who needs it, under those who needs them; each is opened once.
    pub(crate) fn why(&self, root: &Sysroot, wanted: &Path) -> Result<Vec<Tree>, Error> {
        let mut seen = BTreeSet::new();
        let unknown = || Error::Unknown(shown::text(&wanted.to_string_lossy()));
        match self.means(root, wanted) {
            Ok(found) => {
                let trees = found.iter().map(|&index| self.tree(index, 0, &mut seen));
                Some(trees.collect()).filter(|trees: &Vec<Tree>| !trees.is_empty())
            }
            Err(by) if by.is_empty() => None,
            Err(by) => {
                let needed_by = by.iter().map(|&index| self.tree(index, 1, &mut seen));
                Some(vec![Tree {
                    path: wanted.to_string_lossy().into_owned(),
                    mark: Some(Mark::Nobody),
                    needed_by: needed_by.collect(),
                }])
            }
        }
        .ok_or_else(unknown)
    }

    fn tree(&self, index: usize, depth: usize, seen: &mut BTreeSet<usize>) -> Tree {
        let above = &self.needed_by[index];
        let again = !seen.insert(index) && !above.is_empty();
        let opened = above.iter().filter(|_| !again && depth < DEEPEST);
        Tree {
            path: format!("/{}", self.nodes[index].path.display()),
            mark: again.then_some(Mark::Above),
            needed_by: opened.map(|&by| self.tree(by, depth + 1, seen)).collect(),
        }
    }
}

/// A file, and who needs it.
#[derive(Debug)]
pub(crate) struct Tree {
    path: String,
    mark: Option<Mark>,
    needed_by: Vec<Tree>,
}

/// What is special about a file in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Who needs it, stands further up.
    Above,
    /// It is not there, or no library.
    Nobody,
}

impl Tree {
    /// A line each, indented.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.draw(0, &mut text);
        text
    }

    fn draw(&self, depth: usize, text: &mut String) {
        let mark = match self.mark {
            Some(Mark::Above) => " (above)",
            Some(Mark::Nobody) => ": nobody has it, or it is broken",
            None => "",
        };
        *text += &format!("{}{}{mark}\n", "  ".repeat(depth), shown::text(&self.path));
        self.needed_by
            .iter()
            .for_each(|by| by.draw(depth + 1, text));
    }

    pub(crate) fn json(&self) -> String {
        json::object(&[
            ("path", json::text(&self.path)),
            ("above", (self.mark == Some(Mark::Above)).to_string()),
            ("broken", (self.mark == Some(Mark::Nobody)).to_string()),
            (
                "needed_by",
                json::array(self.needed_by.iter().map(Tree::json)),
            ),
        ])
    }
}

/// Files that may be ELF files: without links, each once.
fn candidates(root: &Sysroot, databases: &[Box<dyn Database + '_>]) -> (Vec<PathBuf>, Vec<String>) {
    let mut paths = Vec::new();
    let mut complaints = Vec::new();
    let mut folders: HashMap<PathBuf, PathBuf> = HashMap::new();
    for database in databases {
        for index in 0..database.packages().len() {
            if interrupt::pressed_already() {
                break;
            }
            let read = database.entries(index, &mut |entry| {
                let path = &entry.path;
                let text = path.to_string_lossy();
                let ending = path.extension().unwrap_or_default().to_string_lossy();
                let file = matches!(entry.kind, Kind::File { .. } | Kind::Unknown);
                if !file
                    || ELSEWHERE.iter().any(|folder| text.starts_with(folder))
                    || TEXTS.contains(&&*ending)
                {
                    return;
                }
                let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
                    return;
                };
                let real = folders
                    .entry(folder.into())
                    .or_insert_with(|| root.real_path(folder).unwrap_or_else(|_| folder.into()));
                paths.push(real.join(name));
            });
            if let Err(error) = read {
                complaints.push(error.to_string());
            }
        }
    }
    paths.sort();
    paths.dedup();
    (paths, complaints)
}

/// Asks each what it needs.
fn read(root: &Sysroot, paths: &[PathBuf]) -> Vec<Node> {
    let next = AtomicUsize::new(0);
    let nodes = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed))
                    && !interrupt::pressed_already()
                {
                    let Some(node) = node(root, path) else {
                        continue;
                    };
                    if let Ok(mut nodes) = nodes.lock() {
                        nodes.push(node);
                    }
                }
            });
        }
    });
    nodes.into_inner().unwrap_or_default()
}

/// Of a file that others are linked with, or that is, or of a script that can be started: not of what is neither a program nor
/// a library.
fn node(root: &Sysroot, path: &Path) -> Option<Node> {
    let file = root.open_file_itself(path).ok()?;
    let mut head = [0; FIRST_LINE];
    let count = file.read_at(&mut head, 0).ok()?;
    let head = &head[..count];
    let (object, script) = if kedge_elf::is_elf(head) {
        (read_object(root, path)?, None)
    } else if file.metadata().ok()?.mode() & 0o111 != 0 {
        (Object::default(), Some(interpreters(root, head)?))
    } else {
        return None;
    };
    Some(Node {
        path: path.into(),
        object,
        script,
    })
}
