//! Why something was not loaded, and what can be done.

use std::io;
use std::path::PathBuf;

use kedge_progress::bytes;

/// Why packs were not loaded. Nothing of them is there then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image has no index.
    #[error("this system was built without packs ({path} is not there)", path = path.display())]
    NoIndex {
        /// Where it would be.
        path: PathBuf,
    },
    /// The index is there and cannot be read.
    #[error("the index of packs {path}: {why}", path = path.display())]
    Index {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// Neither a pack nor a program of one.
    #[error("no pack and no program of a pack is called '{name}'{hint}; pack list shows what there is", name = .name.escape_debug())]
    Unknown {
        /// What was asked for.
        name: String,
        /// ` (did you mean …?)`, or nothing.
        hint: String,
    },
    /// Not enough memory.
    #[error(
        "too little memory: loading takes {needed}, {available} are available (free -m shows the rest; what \
         lies in /tmp and /run takes memory; load programs instead of whole packs)",
        needed = bytes(*needed), available = bytes(*available)
    )]
    Memory {
        /// In bytes.
        needed: u64,
        /// In bytes.
        available: u64,
    },
    /// Not enough room on the root file system.
    #[error(
        "too little room on the root file system: the files take {needed}, {available} are free (it holds \
         half of the memory at most; mount -o remount,size=80% / gives more)",
        needed = bytes(*needed), available = bytes(*available)
    )]
    Room {
        /// In bytes.
        needed: u64,
        /// In bytes.
        available: u64,
    },
    /// No source has them.
    #[error(
        "nothing was loaded:\n{tried}\n  name a source: pack load --from URL, or a device, an ISO, a folder \
         with the .cpio.xz files"
    )]
    NoSource {
        /// A line for each source, with two blanks before.
        tried: String,
    },
    /// It came, and is not what it should be.
    #[error(
        "{pack}: bytes {first} to {last} of {place} are not what this system was built with (SHA-256), also \
         when they were fetched once more: the medium or server gives damaged data, or those of another \
         build; nothing was installed"
    )]
    Damaged {
        /// Which pack or archive, as it was asked for.
        pack: String,
        /// Archive and source.
        place: String,
        /// In the archive.
        first: u64,
        /// In the archive, inclusive.
        last: u64,
    },
    /// The content, which is what was built, cannot be unpacked.
    #[error("cannot unpack {archive}: {why}; nothing was installed")]
    Unpack {
        /// Which archive.
        archive: String,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be put in its place.
    #[error("cannot put /{path} in its place: {why}", path = path.display())]
    Install {
        /// Which, relative to the root.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What is kept in /run cannot be.
    #[error("cannot use {path}: {source}", path = path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// ctrl-C.
    #[error("interrupted; nothing was installed")]
    Interrupted,
}
