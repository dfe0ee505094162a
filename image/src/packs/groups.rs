//! Groups: files that are always loaded together, each group one xz stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

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
    let mut packed = Vec::new();
    for archive in &archives {
        packed.push(pack_one(archive, &folder)?);
        progress.advance(archive.len() as u64);
    }
    progress.finish();
    Ok(packed)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::content::File;

    fn contents(files: &[(&str, usize)]) -> Contents {
        let mut contents = Contents::default();
        for (path, size) in files {
            // Nothing that could be compressed to less than it is taken for.
            let kind = Kind::Regular(0o755, vec![7; *size]);
            contents.insert(
                path.to_string(),
                File {
                    package: "p".into(),
                    kind,
                },
            );
        }
        contents
    }

    fn unit(pack: usize, name: &str, files: &[&str]) -> Unit {
        Unit {
            pack,
            programs: BTreeSet::from([name.to_string()]),
            files: files.iter().map(ToString::to_string).collect(),
        }
    }

    fn packs() -> Vec<Pack> {
        ["edit", "storage"]
            .map(|name| Pack {
                name: name.into(),
                summary: "x".into(),
                data: Vec::new(),
                files: Vec::new(),
                packages: Vec::new(),
            })
            .to_vec()
    }

    const LARGE: usize = 1 << 20;

    #[test]
    fn what_the_same_programs_need_is_one_group_and_nothing_is_in_two() {
        let contents = contents(&[
            ("lib/libc", LARGE),
            ("lib/ld", LARGE),
            ("lib/blkid", LARGE),
            ("bin/a", LARGE),
            ("bin/b", LARGE),
            ("bin/nano", LARGE),
        ]);
        let units = [
            unit(1, "a", &["lib/libc", "lib/ld", "lib/blkid", "bin/a"]),
            unit(1, "b", &["lib/libc", "lib/ld", "lib/blkid", "bin/b"]),
            unit(0, "nano", &["lib/libc", "lib/ld", "bin/nano"]),
        ];
        let groups = make(&packs(), &units, &contents).unwrap();
        let seen: Vec<(&str, Vec<&str>)> = groups
            .iter()
            .map(|group| {
                let files = group
                    .tree
                    .nodes()
                    .filter(|(_, n)| matches!(n, Node::File(..)));
                (
                    group.archive.as_str(),
                    files.map(|(path, _)| path).collect(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("shared", vec!["lib/ld", "lib/libc"]),
                ("edit", vec!["bin/nano"]),
                ("storage", vec!["lib/blkid"]),
                ("storage", vec!["bin/a"]),
                ("storage", vec!["bin/b"]),
            ]
        );
        let cache = tempfile::tempdir().unwrap();
        let cache = Cache::at(cache.path().into()).unwrap();
        let packed = pack(&groups, &cache, &crate::progress::Silent).unwrap();
        let index = index(&packs(), &units, &groups, &packed);
        assert_eq!(index.archives, ["shared", "edit", "storage"]);
        assert_eq!(index.groups[3].offset, packed[2].len() as u64);
        let program = |name: &str| index.programs.iter().find(|p| p.name == name).unwrap();
        assert_eq!(program("a").groups, BTreeSet::from([0, 2, 3]));
        assert_eq!(program("nano").groups, BTreeSet::from([0, 1]));
        assert_eq!(Index::parse(&index.to_text()).unwrap(), index);

        // The second time they come from the cache, and a damaged one is made anew.
        let folder = cache.folder("groups").unwrap();
        let one = std::fs::read_dir(&folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        std::fs::write(&one, b"damaged").unwrap();
        assert_eq!(
            pack(&groups, &cache, &crate::progress::Silent).unwrap(),
            packed
        );
    }

    #[test]
    fn a_small_library_lies_beside_the_one_that_is_loaded_with_it() {
        let contents = contents(&[
            ("lib/blkid", LARGE),
            ("lib/uuid", 30_000),
            ("bin/a", LARGE),
            ("bin/b", LARGE),
        ]);
        let units = [
            unit(1, "a", &["lib/blkid", "lib/uuid", "bin/a"]),
            unit(1, "b", &["lib/blkid", "lib/uuid", "bin/b"]),
            unit(1, "c", &["lib/blkid"]),
        ];
        let groups = make(&packs(), &units, &contents).unwrap();
        let together = groups
            .iter()
            .any(|group| group.tree.contains("lib/uuid") && group.tree.contains("lib/blkid"));
        assert!(together);
    }

    #[test]
    fn links_within_a_folder_are_short() {
        assert_eq!(link("bin/lvs", "bin/lvm"), "lvm");
        assert_eq!(link("lib64/ld.so", "lib/x/ld.so"), "/lib/x/ld.so");
    }
}
