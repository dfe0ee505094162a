//! What is stamped: the operator's options as files of the image, words for the kernel, and a
//! description of both.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cpio::newc;
use serde::{Deserialize, Serialize};

use super::area::Packed;
use super::bootconfig;
use crate::boot::EPOCH;
use crate::configuration::{self, Configuration, Options};
use crate::initramfs::{self, Node, Tree};
use crate::manifest::Configured;
use crate::{sha256, xz};

/// The description, as a path of the tree.
const DESCRIPTION: &str = "etc/kedge/stamped.json";
/// Folders of the image that are not 0755: a stamp that names them must not change that.
const FOLDERS: &[(&str, u32)] = &[("root", 0o700)];
/// Over these /init mounts something, so a file there could not be seen.
const MOUNTED: &[&str] = &["dev", "proc", "run", "sys", "tmp", "var/run"];
/// Symbolic links to folders in the image: a stamp that makes folders of them would hide every program.
const LINKS: &[(&str, &str)] = &[("sbin", "bin"), ("usr/bin", "bin"), ("usr/sbin", "bin")];
/// Folders of the image, which cannot become files.
const NO_FILES: &[&str] = &[
    "bin",
    "etc",
    "mnt",
    "root",
    "usr",
    "var",
    "etc/kedge",
    "etc/ssh",
];

/// What is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Keys, addresses, words.
    pub options: Options,
    /// Any files, each as `SRC:DEST`.
    pub files: Vec<String>,
}

/// Why it cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What is wrong with a key, an address …
    #[error(transparent)]
    Configuration(#[from] configuration::Error),
    /// A word for the kernel that cannot be stamped.
    #[error("--cmdline: {0}")]
    Kernel(bootconfig::Wrong),
    /// Not `SRC:DEST`, or a place where no file can be.
    #[error("--file {wish}: {why}")]
    File {
        /// As it was given.
        wish: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two options want the same path.
    #[error(transparent)]
    Tree(#[from] initramfs::Error),
    /// xz failed.
    #[error("cannot compress the stamp: {0}")]
    Xz(io::Error),
}

/// A file that `--file` put into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampedFile {
    /// Where it is in the image.
    pub path: String,
    /// Permission bits, octal.
    pub mode: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// What is stamped, without what is secret: `/etc/kedge/stamped.json` in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// As the manifest has it for what was built in.
    #[serde(flatten)]
    pub configured: Configured,
    /// Words for the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel: Vec<String>,
    /// Files by `--file`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<StampedFile>,
    /// Whether somebody gets a secret who gets the image.
    pub secret: bool,
}

/// A stamp, ready to be written into any number of images.
#[derive(Debug)]
pub struct Content {
    /// As it goes into an area.
    pub packed: Packed,
    /// Its description.
    pub described: Described,
    /// What the operator should know of it.
    pub notes: Vec<String>,
}

impl Content {
    /// Reads and checks everything that is wanted.
    ///
    /// # Errors
    /// At the first thing that cannot be had.
    pub fn of(wishes: &Wishes) -> Result<Content, Error> {
        let (configuration, kernel) = Configuration::from_options(&wishes.options)?;
        let bootconfig = bootconfig::of(&kernel).map_err(Error::Kernel)?;
        let mut tree = Tree::default();
        let mut beneath = Tree::default();
        configuration.add_to_stamp(&mut beneath)?;
        let mut files = Vec::new();
        for wish in &wishes.files {
            let (path, mode, content) = file(wish)?;
            files.push(StampedFile {
                path: format!("/{path}"),
                mode: format!("{mode:04o}"),
                size: content.len() as u64,
                sha256: sha256::hex(&content),
            });
            beneath.add(&path, Node::File(mode, content))?;
        }
        for (path, node) in beneath.nodes() {
            let mode = FOLDERS.iter().find(|(folder, _)| *folder == path);
            let node = mode.map_or_else(|| node.clone(), |(_, mode)| Node::Directory(*mode));
            tree.add(path, node)?;
        }
        let hidden = |file: &StampedFile| is_private(&file.mode);
        let described = Described {
            configured: configuration.described().unwrap_or_default(),
            kernel: kernel.iter().map(line).collect(),
            secret: configuration.is_secret() || files.iter().any(hidden),
            files,
        };
        let json = serde_json::to_string_pretty(&described).map_err(io::Error::other);
        let json = json.map_err(Error::Xz)? + "\n";
        tree.add(DESCRIPTION, Node::File(0o644, json.into_bytes()))?;
        let archive = xz::compress(&tree.to_cpio(EPOCH)?).map_err(Error::Xz)?;
        let mut notes = configuration.notes().to_vec();
        for file in described.files.iter().filter(|file| hidden(file)) {
            notes.push(format!(
                "{} is readable by its owner alone, and so is the stamped image",
                file.path
            ));
        }
        Ok(Content {
            packed: Packed {
                archive,
                bootconfig,
            },
            described,
            notes,
        })
    }
}

impl Described {
    /// The description in a stamp's archive.
    ///
    /// # Errors
    /// When it is not there, or none.
    pub fn from_archive(mut archive: &[u8]) -> io::Result<Described> {
        loop {
            let mut entry = newc::Reader::new(archive)?;
            if entry.entry().is_trailer() {
                return Err(io::Error::other("the stamp does not describe itself"));
            }
            if entry.entry().name() == DESCRIPTION {
                let mut text = String::new();
                entry.read_to_string(&mut text)?;
                return serde_json::from_str(&text).map_err(io::Error::other);
            }
            archive = entry.finish()?;
        }
    }
}

/// Whether neither group nor others can read a file of this mode.
fn is_private(mode: &str) -> bool {
    u32::from_str_radix(mode, 8).is_ok_and(|mode| mode & 0o044 == 0)
}

/// As a command line has it.
fn line((name, value): &(String, Option<String>)) -> String {
    match value {
        None => name.clone(),
        Some(value) if value.contains(' ') => format!("{name}=\"{value}\""),
        Some(value) => format!("{name}={value}"),
    }
}

/// The file of `SRC:DEST`: its path in the tree, mode and content.
fn file(wish: &str) -> Result<(String, u32, Vec<u8>), Error> {
    let wrong = |why: String| Error::File {
        wish: wish.into(),
        why,
    };
    // The last colon: paths of the image have none that anybody would miss.
    let (source, to) = wish
        .rsplit_once(":/")
        .filter(|(source, _)| !source.is_empty())
        .ok_or_else(|| wrong("name a file and where it goes, as in motd:/etc/motd".into()))?;
    let path = destination(to).map_err(wrong)?;
    let source = PathBuf::from(source);
    let failed = |error: io::Error| wrong(format!("cannot read {}: {error}", source.display()));
    let metadata = std::fs::metadata(&source).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let content = std::fs::read(&source).map_err(failed)?;
    Ok((path, metadata.permissions().mode() & 0o7777, content))
}

/// Where a file is put, without the leading slash.
fn destination(to: &str) -> Result<String, String> {
    let parts: Vec<&str> = to.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) || to.contains('\0') {
        return Err(format!(
            "/{to} is no absolute path of a file (without //, . and ..)"
        ));
    }
    let mut path = to.to_string();
    for (link, target) in LINKS {
        if let Some(rest) = path.strip_prefix(&format!("{link}/")) {
            path = format!("{target}/{rest}");
        }
    }
    let below = |folder: &&&str| Path::new(&path).starts_with(folder);
    if let Some(folder) = MOUNTED.iter().find(below) {
        return Err(format!(
            "something else is mounted over /{folder} in the image"
        ));
    }
    let links = LINKS.iter().map(|(link, _)| link);
    if NO_FILES.iter().chain(links).any(|folder| *folder == path) {
        return Err(format!("/{path} is a folder in the image"));
    }
    if Path::new(&path).starts_with("etc/kedge") {
        return Err("/etc/kedge is kedge's own".into());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn of(scratch: &Path, files: &[&str], line: &str) -> Result<Content, String> {
        let file = |file: &&str| format!("{}/{file}", scratch.display());
        Content::of(&Wishes {
            options: Options {
                command_line: vec![line.into()],
                ..Options::default()
            },
            files: files.iter().map(file).collect(),
        })
        .map_err(|error| error.to_string())
    }

    fn names(content: &Content) -> Vec<(String, u32)> {
        let archive = xz::decompress(&content.packed.archive, 1 << 20).unwrap();
        let mut rest = &archive[..];
        let mut names = Vec::new();
        loop {
            let entry = newc::Reader::new(rest).unwrap();
            if entry.entry().is_trailer() {
                return names;
            }
            names.push((entry.entry().name().into(), entry.entry().mode()));
            rest = entry.finish().unwrap();
        }
    }

    #[test]
    fn files_words_and_their_description_are_stamped() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a"), "text").unwrap();
        fs::set_permissions(scratch.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        let line = "ip=dhcp console=ttyS1 kedge.beacon=https://me:hunter2@example.org/";
        let content = of(scratch.path(), &["a:/root/a", "a:/usr/sbin/b"], line).unwrap();
        let expected = [
            ("bin", 0o040_755),
            ("bin/b", 0o100_755),
            ("etc", 0o040_755),
            ("etc/kedge", 0o040_755),
            ("etc/kedge/stamp", 0o100_600),
            ("etc/kedge/stamped.json", 0o100_644),
            ("root", 0o040_700),
            ("root/a", 0o100_755),
        ];
        let found = names(&content);
        let found: Vec<_> = found
            .iter()
            .map(|(name, mode)| (name.as_str(), *mode))
            .collect();
        assert_eq!(found, expected);
        let archive = xz::decompress(&content.packed.archive, 1 << 20).unwrap();
        let described = Described::from_archive(&archive).unwrap();
        assert_eq!(described, content.described);
        assert_eq!(described.kernel, ["console=ttyS1"]);
        assert!(described.secret);
        let json = serde_json::to_string(&described).unwrap();
        assert!(!json.contains("hunter2"), "{json}");
        assert!(content.packed.bootconfig.starts_with(b"kernel.console"));
        assert!(Described::from_archive(b"junk").is_err());
    }

    #[test]
    fn a_file_that_is_its_owners_alone_makes_the_stamp_secret() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a");
        fs::write(&path, "text").unwrap();
        for (mode, secret) in [(0o644, false), (0o640, false), (0o600, true), (0o711, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let content = of(scratch.path(), &["a:/etc/a"], "").unwrap();
            assert_eq!(content.described.secret, secret, "{mode:o}");
            assert_eq!(content.notes.is_empty(), !secret);
        }
    }

    #[test]
    fn places_where_no_file_can_be_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a"), "text").unwrap();
        for (wish, part) in [
            ("a", "as in motd:/etc/motd"),
            ("a:etc/a", "as in"),
            ("a:/../a", "no absolute path"),
            ("a:/a/", "no absolute path"),
            ("a://a", "no absolute path"),
            ("a:/tmp/a", "mounted over /tmp"),
            ("a:/var/run/a", "mounted over /var/run"),
            ("a:/etc", "/etc is a folder"),
            ("a:/sbin", "/sbin is a folder"),
            ("a:/etc/kedge/stamp", "kedge's own"),
            ("none:/a", "cannot read"),
        ] {
            let error = of(scratch.path(), &[wish], "").unwrap_err();
            assert!(
                error.contains(part) && error.contains(wish),
                "{wish}: {error}"
            );
        }
        assert!(of(scratch.path(), &["a:/a", "a:/a"], "").is_err());
        assert!(
            of(scratch.path(), &[], "loglevel=7")
                .unwrap_err()
                .starts_with("--cmdline: ")
        );
    }

    #[test]
    fn the_same_wishes_give_the_same_bytes() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a"), "text").unwrap();
        let packed = || {
            of(scratch.path(), &["a:/etc/a"], "ip=dhcp quirk=1")
                .unwrap()
                .packed
        };
        assert_eq!(packed(), packed());
    }
}
