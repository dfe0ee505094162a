//! Groups: files that are always loaded together, each group one xz stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kedge_pack_index::{Index, Pack as IndexPack, Program};
use sha2::{Digest, Sha256};

use crate::boot::EPOCH;
use crate::cache::{self, Cache};
use crate::initramfs::{self, Node, Tree};
use crate::packs::content::{Contents, Kind};
use crate::packs::description::{Pack, SHARED};
use crate::packs::units::Unit;
use crate::progress::Progress;
use crate::{sha256, xz};

/// What a stream costs beside its content: measured as the difference that each of 32 groups made at the end of a
/// longer stream; 8 to 17 kB.
const PRIMING: usize = 9_000;
/// About how much smaller xz makes programs and libraries.
const RATIO: usize = 3;

/// Why groups cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two files at one path.
    #[error(transparent)]
    Tree(#[from] initramfs::Error),
    /// liblzma failed.
    #[error("cannot compress a pack: {0}")]
    Xz(std::io::Error),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A file of it cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// Files that are needed by the same units.
#[derive(Debug)]
pub struct Group {
    /// The units, by number.
    pub units: BTreeSet<usize>,
    /// The archive: a pack's name, or that of the shared one.
    pub archive: String,
    /// The files.
    pub tree: Tree,
}

/// Divides the files of all units.
///
/// The order is that of loading: what most units need first, and within that by unit, so that the groups of a
/// program lie as close together as they can.
///
/// # Errors
/// None for contents that units were made of.
pub fn make(packs: &[Pack], units: &[Unit], contents: &Contents) -> Result<Vec<Group>, Error> {
    let mut users: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    for (number, unit) in units.iter().enumerate() {
        for path in &unit.files {
            users.entry(path).or_default().insert(number);
        }
    }
    let mut files: BTreeMap<BTreeSet<usize>, Vec<&str>> = BTreeMap::new();
    for (path, units) in users {
        files.entry(units).or_default().push(path);
    }
    join_small(&mut files, contents);
    let mut groups = Vec::new();
    for (users, paths) in files {
        let packs_of: BTreeSet<usize> = users.iter().map(|number| units[*number].pack).collect();
        let archive = match packs_of.first() {
            Some(only) if packs_of.len() == 1 => packs[*only].name.clone(),
            _ => SHARED.to_string(),
        };
        let mut tree = Tree::default();
        for path in paths {
            add(&mut tree, path, contents)?;
        }
        groups.push(Group {
            units: users,
            archive,
            tree,
        });
    }
    groups.sort_by(|one, other| {
        let shared = |group: &Group| group.archive != SHARED;
        (shared(one), &one.archive)
            .cmp(&(shared(other), &other.archive))
            .then(other.units.len().cmp(&one.units.len()))
            .then(one.units.cmp(&other.units))
    });
    Ok(groups)
}

/// Puts small groups into others that are loaded with them anyway, and now and then without them.
///
/// Each stream of xz starts knowing nothing, which costs about [`PRIMING`] bytes. Beside another one, a group
/// saves that for each unit that needs it, and costs the rest of its bytes for each that does not. The first
/// group whose units are all of its own and few enough others is taken.
fn join_small(files: &mut BTreeMap<BTreeSet<usize>, Vec<&str>>, contents: &Contents) {
    let packed = |paths: &[&str]| -> usize {
        let bytes = paths.iter().filter_map(|path| contents.bytes(path));
        bytes.map(<[u8]>::len).sum::<usize>() / RATIO
    };
    let mut small: Vec<(usize, BTreeSet<usize>)> = files
        .iter()
        .map(|(users, paths)| (packed(paths), users.clone()))
        .collect();
    small.sort();
    for (size, users) in small {
        let pays = |others: &BTreeSet<usize>| {
            let further = others.len() - users.len();
            size.saturating_sub(PRIMING) * further < PRIMING * users.len()
        };
        let host = files
            .keys()
            .filter(|others| others.len() > users.len() && others.is_superset(&users))
            .filter(|others| pays(others))
            .min_by_key(|others| others.len())
            .cloned();
        if let Some(host) = host
            && let Some(paths) = files.remove(&users)
        {
            files.entry(host).or_default().extend(paths);
        }
    }
}

fn add(tree: &mut Tree, path: &str, contents: &Contents) -> Result<(), initramfs::Error> {
    let Some(file) = contents.get(path) else {
        return Ok(());
    };
    let node = match &file.kind {
        Kind::Regular(mode, bytes) => Node::File(*mode, bytes.clone()),
        Kind::Link(to) => Node::Symlink(link(path, to)),
    };
    tree.add(path, node)
}

/// The text of a link at `path` to `to`, both paths of the image: short where they are in one folder.
fn link(path: &str, to: &str) -> String {
    match (path.rsplit_once('/'), to.rsplit_once('/')) {
        (Some((here, _)), Some((there, name))) if here == there => name.into(),
        _ => format!("/{to}"),
    }
}

/// The xz stream of each group, in order: from the cache where it was made before.
///
/// # Errors
/// When the cache cannot be written.
pub fn pack(
    groups: &[Group],
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Vec<Vec<u8>>, Error> {
    let folder = cache.folder("groups")?;
    let archives: Vec<Vec<u8>> = groups
        .iter()
        .map(|group| group.tree.to_cpio(EPOCH))
        .collect::<Result<_, _>>()?;
    let total = archives.iter().map(|archive| archive.len() as u64).sum();
    progress.start("compressing the packs", total);
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<Vec<u8>, Error>>>> =
        archives.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(archive) = archives.get(number) else {
                return;
            };
            let result = pack_one(archive, &folder);
            if let Ok(mut place) = done[number].lock() {
                *place = Some(result);
            }
        }
    };
    // One group takes two threads (with and without the branch filter).
    std::thread::scope(|scope| {
        let worker = scope.spawn(work);
        let mut told = 0;
        while !worker.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(100));
            let finished = next
                .load(Ordering::Relaxed)
                .saturating_sub(1)
                .min(archives.len());
            for archive in &archives[told.min(finished)..finished] {
                progress.advance(archive.len() as u64);
            }
            told = finished.max(told);
        }
    });
    progress.finish();
    done.into_iter()
        .map(|place| {
            let result = place.into_inner().ok().flatten();
            result.unwrap_or_else(|| Err(Error::Xz(std::io::Error::other("the encoder panicked"))))
        })
        .collect()
}

fn pack_one(archive: &[u8], folder: &Path) -> Result<Vec<u8>, Error> {
    // Another way of compressing must not find what this one made.
    let path = folder.join(format!("{}.{}.xz", sha256::hex(archive), xz::VERSION));
    if let Ok(packed) = std::fs::read(&path) {
        let content = xz::decompress(&packed, archive.len() as u64);
        if content.is_ok_and(|content| content == archive) {
            return Ok(packed);
        }
    }
    let packed = xz::compress(archive).map_err(Error::Xz)?;
    let partial = path.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&partial, &packed)
        .and_then(|()| std::fs::rename(&partial, &path))
        .map_err(|source| Error::Write { path, source })?;
    Ok(packed)
}

/// The index of groups that were packed.
pub fn index(packs: &[Pack], units: &[Unit], groups: &[Group], packed: &[Vec<u8>]) -> Index {
    let mut index = Index {
        packs: packs
            .iter()
            .map(|pack| IndexPack {
                name: pack.name.clone(),
                summary: pack.summary.clone(),
            })
            .collect(),
        ..Index::default()
    };
    let mut identity = Sha256::new();
    let mut offset = 0;
    for (group, bytes) in groups.iter().zip(packed) {
        if index.archives.last() != Some(&group.archive) {
            index.archives.push(group.archive.clone());
            offset = 0;
        }
        let sha256: [u8; 32] = Sha256::digest(bytes).into();
        identity.update(sha256);
        let unpacked = group
            .tree
            .nodes()
            .map(|(path, node)| size(path, node))
            .sum();
        index.groups.push(kedge_pack_index::Group {
            archive: index.archives.len() - 1,
            offset,
            packed: bytes.len() as u64,
            unpacked,
            sha256,
        });
        offset += bytes.len() as u64;
    }
    let identity = identity.finalize();
    index.id = identity[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (number, unit) in units.iter().enumerate() {
        let needed: BTreeSet<usize> = groups
            .iter()
            .enumerate()
            .filter(|(_, group)| group.units.contains(&number))
            .map(|(group, _)| group)
            .collect();
        index
            .programs
            .extend(unit.programs.iter().map(|name| Program {
                pack: unit.pack,
                name: name.clone(),
                groups: needed.clone(),
            }));
    }
    index
        .programs
        .sort_by(|one, other| (one.pack, &one.name).cmp(&(other.pack, &other.name)));
    index
}

/// About what an entry takes in a cpio archive and in memory.
fn size(path: &str, node: &Node) -> u64 {
    let content = match node {
        Node::File(_, content) => content.len(),
        Node::Symlink(to) => to.len(),
        _ => 0,
    };
    (path.len() + content + 120) as u64
}
