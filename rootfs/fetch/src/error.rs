//! Why something was not fetched.

use std::io;
use std::path::{Path, PathBuf};

use kedge_digest::Digest;
use kedge_progress::bytes;

/// Why something was not fetched. Nothing is there under the name that was asked for, then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Web(Box<kedge_web::Error>),
    #[error(
        "{url}: the server answered with status {status}: it has nothing to save there (is the URL right?)"
    )]
    Nothing { url: String, status: u16 },
    #[error("tcp://{host}:{port}: {problem}")]
    Tcp {
        host: String,
        port: u16,
        problem: Box<kedge_web::Problem>,
    },
    #[error(
        "{} exists already: --force replaces it, -o FILE takes another name",
        show(path)
    )]
    Exists { path: PathBuf },
    #[error(
        "{} is a folder, and the URL has no name for a file in it: say -o FILE",
        show(path)
    )]
    Folder { path: PathBuf },
    #[error(
        "{} is a disk or partition: --force writes to it, from its first byte on",
        show(path)
    )]
    Disk { path: PathBuf },
    #[error("another fetch writes {}", show(path))]
    Busy { path: PathBuf },
    #[error("cannot {doing} {}: {source}", show(path))]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "{}: no room: {} are to come, {} are free there", show(path), bytes(*needed), bytes(*free)
    )]
    Room {
        path: PathBuf,
        needed: u64,
        free: u64,
    },
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
    #[error(
        "the connection broke when {} were written to stdout, and the server cannot go on there",
        bytes(*written)
    )]
    Broken { written: u64 },
    #[error("these are not the bytes: {expected} was given, {found} came; {}", if *(removed) {
        "nothing was saved"
    } else {
        "they were written already"
    })]
    Digest {
        expected: Box<Digest>,
        found: Box<Digest>,
        removed: bool,
    },
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Error::Exists { .. } | Error::Folder { .. } | Error::Disk { .. } => 2,
            Error::Digest { .. } => 3,
            Error::Interrupted => 130,
            _ => 1,
        }
    }

    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::File {
            doing,
            path: path.into(),
            source,
        }
    }
}

impl From<kedge_web::Error> for Error {
    fn from(error: kedge_web::Error) -> Error {
        match error.problem {
            kedge_web::Problem::Stopped => Error::Interrupted,
            _ => Error::Web(Box::new(error)),
        }
    }
}

/// A path, as it may be shown on a terminal.
pub(crate) fn show(path: &Path) -> impl std::fmt::Display {
    path.to_string_lossy().escape_debug().to_string()
}
