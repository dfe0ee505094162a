//! What the operator wants the image to know: from `kedge.toml`, and from the options of the build.
//!
//! It is checked here, as far as a build can: what is wrong shows in a minute, and not at the
//! machine that stands still. In the image it becomes
//!
//! | file | what is in it | who reads it |
//! |---|---|---|
//! | `/etc/kedge/settings` | words of the kernel's command line, one a line | `kedge_settings` |
//! | `/root/.ssh/authorized_keys` | public keys | sshd |
//! | `/etc/ssh/ssh_host_ed25519_key`, `.pub` | the host's key | sshd |
//! | `/etc/ssl/kedge/NAME.pem` | certificate authorities | whoever speaks HTTPS |
//!
//! Where nothing is configured there is none of them.

mod authorities;
mod file;
mod host_key;
mod options;
mod public_keys;
mod words;

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::initramfs::{self, Node, Tree};
use crate::manifest::{Configured, ConfiguredFile, ConfiguredKey};
use crate::packs::description::Custom;
use crate::sha256;
use crate::stamp::area;
use authorities::Authority;
use host_key::HostKey;
pub use options::{KernelWord, Options};
use public_keys::PublicKey;
use words::Word;

/// The name of the file, in the workspace's root.
pub const FILE: &str = "kedge.toml";
/// A file with every field, for people to copy from.
pub const EXAMPLE: &str = include_str!("../kedge.toml.example");

/// `kedge_settings::BUILT` and `STAMPED`, as paths of the tree.
const SETTINGS: &str = "etc/kedge/settings";
const STAMPED: &str = "etc/kedge/stamp";
const AUTHORIZED_KEYS: &str = "root/.ssh/authorized_keys";
const HOST_KEY: &str = "etc/ssh/ssh_host_ed25519_key";
const AUTHORITIES: &str = "etc/ssl/kedge";

/// Where the operator's wishes are written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// `kedge.toml`, by whatever name.
    pub file: Option<PathBuf>,
    /// Files of public keys, beside those that `kedge.toml` names.
    pub ssh_keys: Vec<PathBuf>,
    /// The file of the host's key, in place of the one that `kedge.toml` names.
    pub host_key: Option<PathBuf>,
    /// Packs of the operator's own, beside those that `kedge.toml` names.
    pub packs: Vec<Custom>,
    /// Packs and programs for the image itself, beside those that `kedge.toml` names.
    pub with: Vec<String>,
}

/// The wishes, checked. The default is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    words: Vec<Word>,
    keys: Vec<PublicKey>,
    host_key: Option<HostKey>,
    authorities: Vec<Authority>,
    packs: Vec<Custom>,
    with: Vec<String>,
    /// Room for what is stamped later, in bytes.
    stamp_area: Option<usize>,
    /// What the operator should know of it.
    notes: Vec<String>,
}

/// Where a wish stands: what an error begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    Field {
        /// Which.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The field.
        field: &'static str,
    },
    /// On the command line of the build.
    Option(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Field { file, line, field } => {
                write!(f, "{}, line {line}, {field}", file.display())
            }
            Place::Option(name) => f.write_str(name),
        }
    }
}

/// Something that was asked for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wish<T> {
    value: T,
    place: Place,
}

impl<T> Wish<T> {
    fn wrong(&self, why: impl Into<Why>) -> Error {
        Error::Wish {
            place: self.place.clone(),
            why: why.into(),
        }
    }
}

/// Why there is nothing to build from.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The file is no TOML, or has a field that there is not, or one of the wrong kind.
    #[error("{}, line {line}: `{text}`: {why}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The line.
        text: String,
        /// What the parser expected.
        why: String,
    },
    /// One thing that was asked for cannot be done.
    #[error("{place}: {why}")]
    Wish {
        /// Where it stands.
        place: Place,
        /// Why not.
        why: Why,
    },
}

/// What is wrong with a wish.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// A file that it names cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// No word for the image.
    #[error(transparent)]
    Word(#[from] words::Wrong),
    /// No public key.
    #[error(transparent)]
    PublicKey(#[from] public_keys::Wrong),
    /// No host key.
    #[error(transparent)]
    HostKey(#[from] host_key::Wrong),
    /// No certificate authority.
    #[error(transparent)]
    Authority(#[from] authorities::Wrong),
    /// No size of an area.
    #[error(
        "{0:?} is not a size such as \"64 KiB\" or \"1 MiB\", {most} MiB at most, or \"0\" for none",
        most = area::LARGEST_ROOM >> 20
    )]
    StampArea(String),
    /// No words for a kernel.
    #[error(transparent)]
    CommandLine(#[from] options::Wrong),
}

impl Configuration {
    /// Reads and checks everything that `sources` name.
    ///
    /// # Errors
    /// At the first thing that cannot go into an image, with its place.
    pub fn read(sources: &Sources) -> Result<Configuration, Error> {
        let mut wishes = match &sources.file {
            Some(path) => file::read(path)?,
            None => file::Wishes::default(),
        };
        let option = |name, path: &PathBuf| Wish {
            value: path.clone(),
            place: Place::Option(name),
        };
        let further = sources.ssh_keys.iter();
        wishes
            .ssh_key_files
            .extend(further.map(|path| option("--ssh-key", path)));
        if let Some(path) = &sources.host_key {
            wishes.host_key = Some(option("--host-key", path));
        }

        wishes.packs.extend(sources.packs.iter().cloned());
        wishes.with.extend(sources.with.iter().cloned());
        Configuration::judge(&wishes)
    }

    /// Checks wishes, wherever they stand.
    fn judge(wishes: &file::Wishes) -> Result<Configuration, Error> {
        let mut configuration = Configuration::default();
        for (name, wish) in &wishes.words {
            let word = Word::new(name, &wish.value).map_err(|why| wish.wrong(why))?;
            configuration.words.push(word);
        }
        for wish in &wishes.ssh_keys {
            let keys = public_keys::inline(&wish.value).map_err(|why| wish.wrong(why))?;
            configuration.take_keys(keys);
        }
        for wish in &wishes.ssh_key_files {
            let content = contents(wish)?;
            let keys = public_keys::file(&wish.value, &content).map_err(|why| wish.wrong(why))?;
            configuration.take_keys(keys);
        }
        if let Some(wish) = &wishes.host_key {
            let content = contents(wish)?;
            let key = HostKey::parse(&wish.value, &content).map_err(|why| wish.wrong(why))?;
            configuration.host_key = Some(key);
            configuration.notes.extend(others_can_read(&wish.value));
        }
        for wish in &wishes.root_ca {
            let authority = Authority::parse(&wish.value, contents(wish)?)
                .and_then(|authority| authority.beside(&configuration.authorities))
                .map_err(|why| wish.wrong(why))?;
            configuration.authorities.push(authority);
        }
        configuration.packs.clone_from(&wishes.packs);
        configuration.with.clone_from(&wishes.with);
        if let Some(wish) = &wishes.stamp_area {
            let why = || wish.wrong(Why::StampArea(wish.value.clone()));
            configuration.stamp_area = Some(size(&wish.value).ok_or_else(why)?);
        }
        configuration.notes.extend(configuration.secrets());
        Ok(configuration)
    }

    fn take_keys(&mut self, keys: Vec<PublicKey>) {
        for key in keys {
            // One that is there twice is one key; the first line's options count, as sshd has it.
            if !self.keys.iter().any(|known| known.is_same_key(&key)) {
                self.keys.push(key);
            }
        }
    }

    /// What in it must stay with the operator, in sentences.
    fn secrets(&self) -> Vec<String> {
        let key = self.host_key.as_ref().map(|key| {
            format!(
                "the image contains a PRIVATE KEY, the host's (/{HOST_KEY}, {}): who can read an \
                 artefact can pose as this host",
                key.fingerprint()
            )
        });
        let words = self.words.iter().filter(|word| word.is_secret());
        let words = words.map(|word| {
            format!(
                "the image contains a password or token, that of {}: who can read an artefact can \
                 use it",
                word.shown()
            )
        });
        key.into_iter().chain(words).collect()
    }

    /// Whether somebody gets a secret who gets an artefact.
    pub fn is_secret(&self) -> bool {
        !self.secrets().is_empty()
    }

    /// What the operator should be told at each build.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Packs of the operator's own.
    pub fn packs(&self) -> &[Custom] {
        &self.packs
    }

    /// Packs and programs that the image is to have from the start.
    pub fn with(&self) -> &[String] {
        &self.with
    }

    /// The least room that the image has for what is stamped later, in bytes; 0 for none.
    pub fn stamp_area(&self) -> usize {
        self.stamp_area.unwrap_or(area::DEFAULT_ROOM)
    }

    /// Puts the files into the tree.
    ///
    /// # Errors
    /// When something else is in their places.
    pub fn add_to(&self, tree: &mut Tree) -> Result<(), initramfs::Error> {
        self.add_with(SETTINGS, tree)
    }

    /// Puts the files into the tree of a stamp, whose words win over the build's.
    ///
    /// # Errors
    /// When something else is in their places.
    pub(crate) fn add_to_stamp(&self, tree: &mut Tree) -> Result<(), initramfs::Error> {
        self.add_with(STAMPED, tree)
    }

    fn add_with(&self, settings: &str, tree: &mut Tree) -> Result<(), initramfs::Error> {
        if !self.words.is_empty() {
            let lines: String = self.words.iter().map(|word| word.line() + "\n").collect();
            // The word of a beacon may hold a password.
            tree.add(settings, Node::File(0o600, lines.into_bytes()))?;
        }
        if !self.keys.is_empty() {
            let lines: String = self.keys.iter().map(PublicKey::line).collect();
            tree.add("root/.ssh", Node::Directory(0o700))?;
            tree.add(AUTHORIZED_KEYS, Node::File(0o600, lines.into_bytes()))?;
        }
        if let Some(key) = &self.host_key {
            tree.add(HOST_KEY, Node::File(0o600, key.private().into()))?;
            let public = format!("{HOST_KEY}.pub");
            tree.add(&public, Node::File(0o644, key.public().into()))?;
        }
        for authority in &self.authorities {
            let path = format!("{AUTHORITIES}/{}", authority.name());
            tree.add(&path, Node::File(0o644, authority.pem().into()))?;
        }
        Ok(())
    }

    /// For the manifest: everything but what is secret. `None` where nothing is configured.
    pub fn described(&self) -> Option<Configured> {
        let configured = Configured {
            words: self.words.iter().map(Word::shown).collect(),
            ssh_keys: self
                .keys
                .iter()
                .map(|key| ConfiguredKey {
                    fingerprint: key.fingerprint(),
                    comment: key.comment().into(),
                })
                .collect(),
            host_key: self.host_key.as_ref().map(HostKey::fingerprint),
            with: self.with.clone(),
            packs: self
                .packs
                .iter()
                .map(|pack| (pack.name.clone(), pack.packages.clone()))
                .collect(),
            root_ca: self
                .authorities
                .iter()
                .map(|authority| ConfiguredFile {
                    path: format!("/{AUTHORITIES}/{}", authority.name()),
                    sha256: sha256::hex(authority.pem()),
                })
                .collect(),
        };
        (configured != Configured::default()).then_some(configured)
    }
}

/// The content of the file that is asked for.
fn contents(wish: &Wish<PathBuf>) -> Result<Vec<u8>, Error> {
    std::fs::read(&wish.value).map_err(|source| {
        wish.wrong(Why::Read {
            path: wish.value.clone(),
            source,
        })
    })
}

/// Bytes: "65536", "64 KiB" or "1 MiB".
fn size(text: &str) -> Option<usize> {
    let (number, unit) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let unit = match unit.trim_start() {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    let bytes = number.parse::<usize>().ok()?.checked_mul(unit)?;
    (bytes <= area::LARGEST_ROOM).then_some(bytes)
}

/// A private key that is no secret on the build host.
fn others_can_read(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        format!(
            "others on this machine can read the private key {0}; chmod 600 {0}",
            path.display()
        )
    })
}

#[cfg(test)]
#[path = "configuration/tests.rs"]
mod tests;
