//! Packs: optional programs from Debian's packages, each with exactly the files that it needs.
//!
//! ```text
//! image/packs/*.toml ── description ─┐
//! packs.lock ── lock ── debian ── content ── closure ── units ── groups ── packs/*.cpio.xz, /etc/kedge/packs
//! ```
//!
//! A **unit** is what is loaded together anyway: a program with its links (`lvs` is `lvm`), or several that
//! the description wants together. Files that are needed by the same units are a **group**, which is one xz
//! stream: so a unit is loaded without a byte too much, and no file twice. ARCHITECTURE.md has the
//! measurement that decided for this form.

pub mod closure;
pub mod content;
pub mod debian;
pub mod description;
pub mod groups;
pub mod lock;
pub mod units;

use std::collections::BTreeSet;
use std::path::Path;

use kedge_pack_index::{Index, Program};

use crate::cache::Cache;
use crate::initramfs::{self, Node, Tree};
use crate::manifest::Part;
use crate::progress::Progress;
use content::Contents;
use debian::Wanted;
use description::{Custom, Libraries, Pack};
use lock::Lock;

/// Read by /etc/profile: busybox' shell prefers a tool of its own to a program of that name, unless the program
/// is called by its path.
const ALIASES: &str = "etc/kedge/aliases";
/// The folder of descriptions, in the workspace.
const FOLDER: &str = "image/packs";

/// Why there are no packs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A description is wrong.
    #[error(transparent)]
    Description(#[from] description::Error),
    /// packs.lock cannot be used.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// packs.lock does not have what a description names.
    #[error(
        "packs.lock does not have the package {package}, which pack \"{pack}\" names; run `cargo xtask lock`"
    )]
    NotLocked {
        /// The package.
        package: String,
        /// Who wants it.
        pack: String,
    },
    /// A package cannot be had.
    #[error(transparent)]
    Debian(#[from] debian::Error),
    /// A package cannot be read.
    #[error(transparent)]
    Content(#[from] content::Error),
    /// A program cannot be resolved.
    #[error(transparent)]
    Unit(#[from] units::Error),
    /// A group cannot be made.
    #[error(transparent)]
    Groups(#[from] groups::Error),
    /// `--with` names something that there is not.
    #[error("there is no pack and no program {name:?} to put into the image; there are the packs {}", packs.join(", "))]
    NoSuch {
        /// What was asked for.
        name: String,
        /// What there is.
        packs: Vec<String>,
    },
    /// The tree already has something there.
    #[error(transparent)]
    Tree(#[from] initramfs::Error),
}

/// What to make packs of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Packs of the operator's own.
    pub custom: Vec<Custom>,
    /// Packs and programs that the image has from the start.
    pub with: Vec<String>,
    /// Take what the archive has today, whatever packs.lock says.
    pub unlocked: bool,
}

/// The packs, made.
#[derive(Debug, Default)]
pub struct Packs {
    /// What the image is told.
    pub index: Index,
    /// The archives, in the index' order.
    pub archives: Vec<Vec<u8>>,
    /// The files of each group.
    trees: Vec<Tree>,
    /// The packages that they are made of.
    pub parts: Vec<Part>,
}

/// What descriptions and lock come to.
struct Gathered {
    packs: Vec<Pack>,
    libraries: Libraries,
    lock: Lock,
    contents: Contents,
}

/// Makes the packs of the workspace at `root`. `in_image` says whether the image's /bin has a program.
///
/// # Errors
/// See [`Error`].
pub fn build(
    root: &Path,
    request: &Request,
    cache: &Cache,
    in_image: &dyn Fn(&str) -> bool,
    progress: &dyn Progress,
) -> Result<Packs, Error> {
    let gathered = gather(root, request, cache, progress)?;
    progress.step("resolving the packs' programs");
    let units = units::find(
        &gathered.packs,
        &gathered.libraries,
        &gathered.contents,
        in_image,
    )?;
    let groups = groups::make(&gathered.packs, &units, &gathered.contents)?;
    let packed = groups::pack(&groups, cache, progress)?;
    let mut index = groups::index(&gathered.packs, &units, &groups, &packed);
    index.built_in = built_in(&index, &request.with)?;
    let mut archives = vec![Vec::new(); index.archives.len()];
    for (group, bytes) in index.groups.iter().zip(&packed) {
        archives[group.archive].extend_from_slice(bytes);
    }
    let used: BTreeSet<&str> = units::packages(&units, &gathered.contents);
    let parts = gathered
        .lock
        .package
        .iter()
        .filter(|(name, _)| used.contains(name.as_str()))
        .map(|(name, pin)| Part {
            name: name.clone(),
            version: pin.version.clone(),
            licence: gathered.contents.licence(name),
            source: format!("Debian package {name}, in packs"),
            sha256: Some(pin.sha256.clone()),
            size: Some(pin.size),
        })
        .collect();
    Ok(Packs {
        index,
        archives,
        trees: groups.into_iter().map(|group| group.tree).collect(),
        parts,
    })
}

/// The lock that the archive's packages of today make: those that have a file in a pack.
///
/// # Errors
/// See [`Error`].
pub fn renew(
    root: &Path,
    custom: &[Custom],
    cache: &Cache,
    in_image: &dyn Fn(&str) -> bool,
    progress: &dyn Progress,
) -> Result<Lock, Error> {
    let request = Request {
        custom: custom.to_vec(),
        unlocked: true,
        ..Request::default()
    };
    let gathered = gather(root, &request, cache, progress)?;
    let units = units::find(
        &gathered.packs,
        &gathered.libraries,
        &gathered.contents,
        in_image,
    )?;
    let used = units::packages(&units, &gathered.contents);
    let mut lock = gathered.lock;
    lock.package.retain(|name, _| used.contains(name.as_str()));
    Ok(lock)
}

fn gather(
    root: &Path,
    request: &Request,
    cache: &Cache,
    progress: &dyn Progress,
) -> Result<Gathered, Error> {
    let (packs, libraries) = description::read(&root.join(FOLDER), &request.custom)?;
    let wanted: Wanted = packs
        .iter()
        .flat_map(|pack| {
            pack.package_names()
                .map(|name| (name.into(), pack.name.clone()))
        })
        .chain(
            libraries
                .package_names()
                .map(|name| (name.into(), "libraries".into())),
        )
        .collect();
    let locked = Lock::read(root)?;
    let lock = if request.unlocked {
        debian::resolve(&wanted, progress)?
    } else {
        complete(locked, wanted, &request.custom, progress)?
    };
    let files = debian::fetch(&lock, cache, progress)?;
    progress.step("unpacking the packs' packages");
    let mut contents = Contents::default();
    for (name, file) in &files {
        contents.add_package(name, file)?;
    }
    units::prepare(&packs, &mut contents)?;
    Ok(Gathered {
        packs,
        libraries,
        lock,
        contents,
    })
}

/// The lock, and what custom packs need beside it as the archive has it.
fn complete(
    locked: Lock,
    wanted: Wanted,
    custom: &[Custom],
    progress: &dyn Progress,
) -> Result<Lock, Error> {
    let missing: Wanted = wanted
        .into_iter()
        .filter(|(name, _)| !locked.package.contains_key(name))
        .collect();
    let own = |pack: &String| custom.iter().any(|custom| custom.name == *pack);
    if let Some((package, pack)) = missing.iter().find(|(_, pack)| !own(pack)) {
        return Err(Error::NotLocked {
            package: package.clone(),
            pack: pack.clone(),
        });
    }
    if missing.is_empty() {
        return Ok(locked);
    }
    let names: Vec<&str> = missing.keys().map(String::as_str).collect();
    progress.note(&format!(
        "not in packs.lock, so taken as the archive has it: {}",
        names.join(", ")
    ));
    let mut lock = debian::resolve(&missing, progress)?;
    // What is locked stays as it is locked.
    lock.package.extend(locked.package);
    Ok(lock)
}

/// The groups of the packs and programs that the image has from the start.
fn built_in(index: &Index, with: &[String]) -> Result<BTreeSet<usize>, Error> {
    let mut groups = BTreeSet::new();
    for name in with {
        let packs = index.packs.iter().map(|pack| &pack.name);
        if let Some(pack) = packs.clone().position(|pack| pack == name) {
            groups.extend(index.groups_of_pack(pack));
            continue;
        }
        let programs: Vec<&Program> = index.programs.iter().filter(|p| p.name == *name).collect();
        if programs.is_empty() {
            return Err(Error::NoSuch {
                name: name.clone(),
                packs: packs.cloned().collect(),
            });
        }
        groups.extend(programs.into_iter().flat_map(|program| &program.groups));
    }
    Ok(groups)
}

impl Packs {
    /// Puts into the tree what belongs there: the index, the groups that are built in, and for each
    /// program that can be loaded a link to kedge, which says so.
    ///
    /// # Errors
    /// When a file of a pack stands in the way of one of the image's.
    pub fn add_to(&self, tree: &mut Tree) -> Result<(), Error> {
        let index = kedge_pack_index::PATH.trim_start_matches('/');
        tree.add(index, Node::File(0o644, self.index.to_text().into_bytes()))?;
        let programs = self.index.programs.iter().map(|program| &program.name);
        let aliases: String = programs
            .filter(|name| tree.contains(&format!("bin/{name}")))
            .map(|name| format!("alias {name}=/bin/{name}\n"))
            .collect();
        tree.add(ALIASES, Node::File(0o644, aliases.into_bytes()))?;
        for group in &self.index.built_in {
            for (path, node) in self.trees[*group].nodes() {
                tree.replace(path, node.clone())?;
            }
        }
        for program in &self.index.programs {
            let path = format!("bin/{}", program.name);
            if !tree.contains(&path) {
                tree.add(&path, Node::Symlink("kedge".into()))?;
            }
        }
        Ok(())
    }

    /// Path in the folder of artefacts, and content, of each archive.
    pub fn files(&self) -> impl Iterator<Item = (String, &[u8])> {
        let names = self.index.archives.iter();
        names
            .map(|name| format!("packs/{name}.cpio.xz"))
            .zip(self.archives.iter().map(Vec::as_slice))
    }
}
