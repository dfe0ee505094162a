//! `doctor --why` and `doctor --uses`: who needs a library, through whom, and which programs die without it.
//!
//! All ELF files of all packages are asked what they need; what they say of it is found as their dynamic linker would.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kedge_elf::Object;
use kedge_packages::{Database, Kind};
use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;

use crate::closure::{Resolver, read_object};
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

/// An ELF file.
struct Node {
    path: PathBuf,
    object: Object,
}

/// All ELF files, and who needs whom.
pub(crate) struct Graph {
    nodes: Vec<Node>,
    by_path: HashMap<PathBuf, usize>,
    /// By whom each is needed: indices, and the name by which.
    needed_by: Vec<Vec<usize>>,
    /// By whom names are needed that nobody has.
    absent: BTreeMap<String, Vec<usize>>,
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
            let Node { path, object } = &self.nodes[index];
            for name in object.needed.iter().chain(&object.interpreter) {
                let found = resolver.find(name, object, path);
                match found.and_then(|path| self.by_path.get(&path).copied()) {
                    Some(needed) if !self.needed_by[needed].contains(&index) => {
                        self.needed_by[needed].push(index);
                    }
                    Some(_) => {}
                    None => self.absent.entry(name.clone()).or_default().push(index),
                }
            }
        }
        Ok(())
    }

    /// The files that `wanted` means: a path below ROOT, or a name by which it is needed. Several, where there are several
    /// kinds of machines. `Err` holds those that need a name that nobody has.
    fn means(&self, root: &Sysroot, wanted: &Path) -> Result<Vec<usize>, Vec<usize>> {
        let text = wanted.to_string_lossy();
        if text.contains('/') {
            let real = root.real_path(wanted).unwrap_or_else(|_| wanted.into());
            let real = real.strip_prefix("/").unwrap_or(&real).to_path_buf();
            return Ok(self.by_path.get(&real).copied().into_iter().collect());
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
        let programs =
            programs.filter(|node| node.object.interpreter.is_some() && !is_library(&node.path));
        Ok(programs.map(|node| node.path.as_path()).collect())
    }

    /// A tree: `wanted`, under it who needs it, under those who needs them; each is opened once.
    pub(crate) fn why(&self, root: &Sysroot, wanted: &Path) -> Result<String, Error> {
        let mut text = String::new();
        let mut seen = BTreeSet::new();
        match self.means(root, wanted) {
            Ok(found) if !found.is_empty() => {
                for index in found {
                    self.draw(index, 0, &mut seen, &mut text);
                }
            }
            Err(by) if !by.is_empty() => {
                text += &format!(
                    "{}: nobody has it\n",
                    shown::text(&wanted.to_string_lossy())
                );
                for index in by {
                    self.draw(index, 1, &mut seen, &mut text);
                }
            }
            _ => return Err(Error::Unknown(shown::text(&wanted.to_string_lossy()))),
        }
        Ok(text)
    }

    fn draw(&self, index: usize, depth: usize, seen: &mut BTreeSet<usize>, text: &mut String) {
        let path = shown::path(&self.nodes[index].path);
        let above = &self.needed_by[index];
        let again = !seen.insert(index) && !above.is_empty();
        let mark = if again { " (above)" } else { "" };
        *text += &format!("{}{path}{mark}\n", "  ".repeat(depth));
        if again || depth == DEEPEST {
            return;
        }
        for &by in above {
            self.draw(by, depth + 1, seen, text);
        }
    }
}

/// Files that may be ELF files: without links, each once.
fn candidates(root: &Sysroot, databases: &[Box<dyn Database + '_>]) -> (Vec<PathBuf>, Vec<String>) {
    let mut paths = Vec::new();
    let mut complaints = Vec::new();
    let mut folders: HashMap<PathBuf, PathBuf> = HashMap::new();
    for database in databases {
        for index in 0..database.packages().len() {
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
                    let Some(object) = object(root, path) else {
                        continue;
                    };
                    if let Ok(mut nodes) = nodes.lock() {
                        nodes.push(Node {
                            path: path.clone(),
                            object,
                        });
                    }
                }
            });
        }
    });
    nodes.into_inner().unwrap_or_default()
}

/// Of a file that others are linked with, or that is: not of what is neither a program nor a library.
fn object(root: &Sysroot, path: &Path) -> Option<Object> {
    let file = root.open_file_itself(path).ok()?;
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).ok()?;
    drop(file);
    kedge_elf::is_elf(&magic)
        .then(|| read_object(root, path))
        .flatten()
}
