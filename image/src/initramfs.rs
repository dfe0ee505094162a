//! The tree that the kernel unpacks into its root, as a newc archive.
//!
//! The same tree gives the same bytes: entries are sorted by path, owned by 0:0, carry one fixed
//! time, and their inode numbers follow from the order. Format: the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cpio::newc;

const S_IFCHR: u32 = 0o020_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFLNK: u32 = 0o120_000;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder with its permission bits.
    Directory(u32),
    /// A file with its permission bits and content.
    File(u32, Vec<u8>),
    /// A symbolic link to this text.
    Symlink(String),
    /// Another name of the file at this path, which must be in the tree.
    HardLink(String),
    /// A character device with permission bits, major and minor number.
    CharDevice(u32, u32, u32),
}

/// Why a tree cannot become an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two parts want the same path.
    #[error("/{0} comes from two places; remove one of them")]
    Duplicate(String),
    /// A hard link to something that is not a file of the tree.
    #[error("/{link} is a hard link to /{target}, which is no file of the tree")]
    DanglingHardLink {
        /// The further name.
        link: String,
        /// The first name.
        target: String,
    },
    /// A file of the skeleton cannot be read, or is of a kind that does not belong there.
    #[error("cannot take {path} into the initramfs: {source}")]
    Read {
        /// The file on the build host.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Larger than the format's 32-bit fields.
    #[error("/{0} is larger than 4 GiB, which newc cannot hold")]
    TooLarge(String),
    /// Writing the archive failed.
    #[error("cannot write the archive: {0}")]
    Write(#[from] io::Error),
}

/// A root file system to be. Paths are relative and have no trailing slash.
#[derive(Debug, Default, Clone)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// Adds `node` at `path`, and the folders above it (mode 0755) where they are missing.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when something else is there; the same folder twice is no error.
    pub fn add(&mut self, path: &str, node: Node) -> Result<(), Error> {
        for (slash, _) in path.match_indices('/') {
            self.nodes
                .entry(path[..slash].to_string())
                .or_insert(Node::Directory(0o755));
        }
        match (self.nodes.get(path), &node) {
            (None, _) => {}
            (Some(Node::Directory(_)), Node::Directory(_)) => {}
            (Some(_), _) => return Err(Error::Duplicate(path.to_string())),
        }
        self.nodes.insert(path.to_string(), node);
        Ok(())
    }

    /// Puts `node` at `path` whatever link or file was there, and the folders above it where they are missing.
    ///
    /// # Errors
    /// [`Error::Duplicate`] when one of both is a folder and the other is none.
    pub fn replace(&mut self, path: &str, node: Node) -> Result<(), Error> {
        let folder = |node: &Node| matches!(node, Node::Directory(_));
        match self.nodes.get(path) {
            Some(there) if folder(there) && folder(&node) => return Ok(()),
            Some(there) if folder(there) != folder(&node) => {
                return Err(Error::Duplicate(path.to_string()));
            }
            _ => {}
        }
        self.nodes.remove(path);
        self.add(path, node)
    }

    /// Adds everything below `folder`, with the permission bits that it has there reduced to
    /// 0755 or 0644 (git keeps no others, so nothing else would be reproducible).
    ///
    /// # Errors
    /// What cannot be read, and whatever is neither folder, file nor symbolic link.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), Error> {
        self.add_below(folder, "")
    }

    fn add_below(&mut self, folder: &Path, prefix: &str) -> Result<(), Error> {
        let failed = |source| Error::Read {
            path: folder.to_path_buf(),
            source,
        };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let failed = |source| Error::Read {
                path: path.clone(),
                source,
            };
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .ok_or_else(|| failed(io::Error::other("its name is not UTF-8")))?;
            if name == ".gitkeep" {
                continue; // git keeps no empty folders; the image does
            }
            let inside = if prefix.is_empty() {
                name.to_string()
            } else {
                format!("{prefix}/{name}")
            };
            let metadata = fs::symlink_metadata(&path).map_err(failed)?;
            let mode = if metadata.permissions().mode() & 0o100 != 0 {
                0o755
            } else {
                0o644
            };
            if metadata.is_dir() {
                // One that is there already keeps its mode: git knows none for folders.
                self.nodes
                    .entry(inside.clone())
                    .or_insert(Node::Directory(0o755));
                self.add_below(&path, &inside)?;
            } else if metadata.is_file() {
                self.add(&inside, Node::File(mode, fs::read(&path).map_err(failed)?))?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(failed)?;
                self.add(
                    &inside,
                    Node::Symlink(target.to_string_lossy().into_owned()),
                )?;
            } else {
                return Err(failed(io::Error::other(
                    "neither folder, file nor symbolic link",
                )));
            }
        }
        Ok(())
    }

    /// Whether something stands at `path`.
    pub fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// The tree without what stands at `path`: for measuring what it costs.
    #[must_use]
    pub fn without(&self, path: &str) -> Tree {
        let mut rest = self.clone();
        rest.nodes.retain(|name, node| {
            name != path && !matches!(node, Node::HardLink(target) if target == path)
        });
        rest
    }

    /// Every path with its node, sorted by path.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The archive; every entry carries `mtime`, in seconds since 1970.
    ///
    /// Of the names of one file the last carries the content, as GNU cpio writes it; the
    /// kernel's unpacker takes it wherever it is.
    ///
    /// # Errors
    /// A hard link without its file, or a file beyond the format's bounds.
    pub fn to_cpio(&self, mtime: u32) -> Result<Vec<u8>, Error> {
        let mut archive = self.to_cpio_without_trailer(mtime)?;
        newc::trailer(&mut archive)?;
        Ok(archive)
    }

    /// As [`Self::to_cpio`], for an archive that goes on with another tree's entries.
    ///
    /// # Errors
    /// The same.
    pub fn to_cpio_without_trailer(&self, mtime: u32) -> Result<Vec<u8>, Error> {
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (path, node) in self.nodes() {
            let first = match node {
                Node::HardLink(target) => {
                    if !matches!(self.nodes.get(target), Some(Node::File(..))) {
                        return Err(Error::DanglingHardLink {
                            link: path.into(),
                            target: target.clone(),
                        });
                    }
                    target.as_str()
                }
                _ => path,
            };
            names.entry(first).or_default().push(path);
        }
        let inodes: BTreeMap<&str, u32> = names.keys().copied().zip(1u32..).collect();

        let mut archive = Vec::new();
        for (path, node) in self.nodes() {
            let (first, content_of) = match node {
                Node::HardLink(target) => (target.as_str(), &self.nodes[target]),
                _ => (path, node),
            };
            let links = &names[first];
            let (mode, content): (u32, &[u8]) = match content_of {
                Node::Directory(mode) => (S_IFDIR | mode, &[]),
                Node::File(mode, content) if links.last() == Some(&path) => {
                    (S_IFREG | mode, content.as_slice())
                }
                Node::File(mode, _) => (S_IFREG | mode, &[]),
                Node::Symlink(target) => (S_IFLNK | 0o777, target.as_bytes()),
                Node::CharDevice(mode, ..) => (S_IFCHR | mode, &[]),
                Node::HardLink(_) => unreachable!("the target of a hard link is a file"),
            };
            let nlink = match content_of {
                Node::Directory(_) => 2,
                _ => u32::try_from(links.len()).unwrap_or(u32::MAX),
            };
            let mut entry = newc::Builder::new(path)
                .ino(inodes[first])
                .mode(mode)
                .uid(0)
                .gid(0)
                .nlink(nlink)
                .mtime(mtime);
            if let Node::CharDevice(_, major, minor) = node {
                entry = entry.rdev_major(*major).rdev_minor(*minor);
            }
            let size = u32::try_from(content.len()).map_err(|_| Error::TooLarge(path.into()))?;
            let mut writer = entry.write(&mut archive, size);
            writer.write_all(content)?;
            writer.finish()?;
        }
        Ok(archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sample() -> Tree {
        let mut tree = Tree::default();
        tree.add(
            "bin/tool",
            Node::File(0o755, b"content of the tool".to_vec()),
        )
        .unwrap();
        tree.add("init", Node::HardLink("bin/tool".into())).unwrap();
        tree.add("bin/sh", Node::Symlink("tool".into())).unwrap();
        tree.add("dev/null", Node::CharDevice(0o666, 1, 3)).unwrap();
        tree.add("tmp", Node::Directory(0o1777)).unwrap();
        tree.add("etc/empty", Node::File(0o644, Vec::new()))
            .unwrap();
        tree
    }

    fn gnu_cpio(arguments: &[&str], folder: &Path, archive: &[u8]) -> String {
        let mut child = Command::new("cpio")
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(archive).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn gnu_cpio_lists_owner_mode_links_and_devices_as_given() {
        let scratch = tempfile::tempdir().unwrap();
        let listing = gnu_cpio(
            &["-tvn"],
            scratch.path(),
            &sample().to_cpio(86_400).unwrap(),
        );
        let line = |name: &str| {
            listing
                .lines()
                .find(|line| line.contains(name))
                .unwrap_or_else(|| panic!("{listing}"))
        };
        assert!(
            line("bin/tool").starts_with("-rwxr-xr-x   2 0        0"),
            "{listing}"
        );
        assert!(
            line("init").starts_with("-rwxr-xr-x   2 0        0 ") && line("init").contains(" 19 "),
            "{listing}"
        );
        assert!(
            line("bin/sh -> tool").starts_with("lrwxrwxrwx"),
            "{listing}"
        );
        assert!(line("dev/null").starts_with("crw-rw-rw-") && line("dev/null").contains("1,   3"));
        assert!(line("tmp").starts_with("drwxrwxrwt"), "{listing}");
        assert!(line("etc/empty").contains("Jan  2  1970"), "{listing}");
    }

    #[test]
    fn gnu_cpio_unpacks_what_went_in() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = sample().to_cpio(0).unwrap();
        gnu_cpio(
            &["-id", "--no-preserve-owner", "bin/*", "init", "etc/*"],
            scratch.path(),
            &archive,
        );
        let read = |name: &str| fs::read(scratch.path().join(name)).unwrap();
        assert_eq!(read("bin/tool"), b"content of the tool");
        assert_eq!(read("init"), b"content of the tool");
        assert_eq!(read("bin/sh"), b"content of the tool");
        assert_eq!(read("etc/empty"), b"");
    }

    #[test]
    fn the_order_of_adding_does_not_show() {
        let mut turned = Tree::default();
        for (path, node) in sample().nodes().collect::<Vec<_>>().into_iter().rev() {
            turned.add(path, node.clone()).unwrap();
        }
        assert_eq!(turned.to_cpio(7).unwrap(), sample().to_cpio(7).unwrap());
    }

    #[test]
    fn two_parts_at_one_path_are_refused() {
        let error = sample()
            .add("init", Node::Symlink("bin/sh".into()))
            .unwrap_err();
        assert!(matches!(error, Error::Duplicate(path) if path == "init"));
    }

    #[test]
    fn a_hard_link_to_nothing_is_refused() {
        let mut tree = Tree::default();
        tree.add("init", Node::HardLink("bin/none".into())).unwrap();
        assert!(matches!(
            tree.to_cpio(0),
            Err(Error::DanglingHardLink { .. })
        ));
    }

    #[test]
    fn a_folder_is_taken_with_its_links_and_execute_bits() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("etc")).unwrap();
        fs::write(scratch.path().join("etc/profile"), "PATH=/bin\n").unwrap();
        fs::write(scratch.path().join("etc/.gitkeep"), "").unwrap();
        std::os::unix::fs::symlink("profile", scratch.path().join("etc/other")).unwrap();
        let mut tree = Tree::default();
        tree.add_folder(scratch.path()).unwrap();
        let nodes: Vec<_> = tree.nodes().collect();
        assert_eq!(
            nodes,
            [
                ("etc", &Node::Directory(0o755)),
                ("etc/other", &Node::Symlink("profile".into())),
                ("etc/profile", &Node::File(0o644, b"PATH=/bin\n".to_vec())),
            ]
        );
    }
}
