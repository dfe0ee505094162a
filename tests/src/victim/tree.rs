//! A victim's files in a folder of this host, to be broken.
//!
//! Its links are the victim's: `/lib64/ld-linux-x86-64.so.2` is an absolute one, and who follows it as this host does has damaged
//! this host. So every path is resolved by the kernel inside the tree (openat2(2), RESOLVE_IN_ROOT), and there is no other way to write.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

/// The folder.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    root: OwnedFd,
}

impl Tree {
    /// One that is there.
    pub fn at(path: &Path) -> Result<Self> {
        let path = path
            .canonicalize()
            .with_context(|| format!("finding {}", path.display()))?;
        ensure!(path != Path::new("/"), "that is this host and no victim");
        let root = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { path, root })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, as an argument.
    pub fn text(&self) -> Result<&str> {
        self.path.to_str().context("the tree's path is no text")
    }

    /// The place in the tree, without leading `/`, that `name` leads to.
    pub fn place(&self, name: &str) -> Result<PathBuf> {
        let file = self.open(name, OFlags::PATH)?;
        let whole = rustix::fs::readlinkat(
            rustix::fs::CWD,
            format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)),
            Vec::new(),
        )?;
        let whole = whole.into_string().context("a name is no text")?;
        let inside = Path::new(&whole).strip_prefix(&self.path);
        Ok(inside
            .with_context(|| format!("{name} is outside"))?
            .to_owned())
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open(name, OFlags::RDONLY)?.read_to_end(&mut content)?;
        Ok(content)
    }

    /// Writes over a file that is there; its owner, mode and links stay.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let mut file = self.open(name, OFlags::WRONLY | OFlags::TRUNC)?;
        file.write_all(content)
            .with_context(|| format!("writing {name} in {}", self.path.display()))
    }

    /// Runs `change` on the place of a name in the tree whose last part is not followed: to remove, rename or make what is there.
    pub fn change<T>(
        &self,
        name: &str,
        change: impl FnOnce(&Path) -> std::io::Result<T>,
    ) -> Result<T> {
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        let folder = if folder.is_empty() { "." } else { folder };
        let place = self.path.join(self.place(folder)?);
        // A folder's place is without links: nothing in between can lead out.
        ensure!(
            fs::canonicalize(&place)? == place,
            "{name} leads out of the tree"
        );
        change(&place.join(last))
            .with_context(|| format!("changing {name} in {}", self.path.display()))
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<File> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        let file = openat2(&self.root, name, flags, Mode::empty(), resolve)
            .with_context(|| format!("opening {name} in {}", self.path.display()))?;
        Ok(file.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Folder;

    /// A tree with links to a file of the same name outside of it and inside.
    fn tree(name: &str) -> Result<(Folder, Tree, PathBuf)> {
        let folder = Folder::new(name)?;
        let root = folder.folder("root")?;
        let outside = folder.path().join("file");
        fs::write(&outside, "outside")?;
        let inside = root.join(outside.strip_prefix("/")?);
        fs::create_dir_all(inside.parent().context("it has one")?)?;
        fs::write(&inside, "inside")?;
        symlink(&outside, root.join("absolute"))?;
        symlink(
            "../../../../../../../../../../../../..".to_owned()
                + outside.to_str().context("text")?,
            root.join("upwards"),
        )?;
        symlink(outside.parent().context("it has one")?, root.join("folder"))?;
        Ok((folder, Tree::at(&root)?, outside))
    }

    #[test]
    fn no_link_leads_out_of_the_tree() -> Result<()> {
        let (_folder, tree, outside) = tree("unit.victim.tree.links")?;
        for name in ["absolute", "/upwards", "folder/file"] {
            assert_eq!(tree.read(name)?, b"inside", "{name}");
            tree.write(name, b"broken")?;
            assert_eq!(tree.read(name)?, b"broken", "{name}");
            tree.write(name, b"inside")?;
            assert_eq!(tree.place(name)?, outside.strip_prefix("/")?, "{name}");
        }
        assert_eq!(fs::read(&outside)?, b"outside");
        Ok(())
    }

    #[test]
    fn what_is_removed_is_the_tree_s() -> Result<()> {
        let (_folder, tree, outside) = tree("unit.victim.tree.removed")?;
        tree.change("folder/file", |path| fs::remove_file(path))?;
        assert!(tree.read("absolute").is_err());
        assert_eq!(fs::read(&outside)?, b"outside");
        // The link itself, and not what it leads to.
        tree.change("/absolute", |path| fs::remove_file(path))?;
        assert!(!tree.path().join("absolute").is_symlink());
        Ok(())
    }

    #[test]
    fn this_host_is_no_victim() {
        assert!(Tree::at(Path::new("/")).is_err());
    }
}
