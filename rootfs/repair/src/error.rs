//! Why a file was not repaired, and what can be done.

use std::path::PathBuf;

use rustix::io::Errno;

/// Why something was not done. What was there is there still.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of ROOT cannot be seen.
    #[error(transparent)]
    Sysroot(#[from] kedge_sysroot::Error),
    /// The package database cannot be read.
    #[error("the package database: {0}")]
    Database(#[from] kedge_packages::Error),
    /// A system call failed.
    #[error("cannot {doing} {path}: {errno}{advice}", path = path.display(), advice = advice(*.errno))]
    System {
        /// What was tried, before the file's name.
        doing: &'static str,
        /// As seen from outside.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// A whole sentence.
    #[error("{0}")]
    Word(String),
    /// `chattr +i`, `chattr +a`.
    #[error("{path} may not be changed, it has the attribute 'immutable' or 'append only': chattr -ia {path} (and \
             afterwards as it was)", path = .0.display())]
    Immutable(PathBuf),
    /// A folder stands where a file belongs.
    #[error("{path} is a folder, where a file belongs; what is in it is yours to judge: mv {path} {path}.old, then \
             again", path = .0.display())]
    IsFolder(PathBuf),
    /// Something else stands where a folder belongs.
    #[error("{path} is a {1}, where a folder belongs: mv {path} {path}.old, then again", path = .0.display())]
    NoFolder(PathBuf, &'static str),
    /// Nobody installed it.
    #[error("no package has {path} in it, so nobody knows what belongs there", path = .0.display())]
    NoOwner(PathBuf),
    /// Neither.
    #[error(
        "{0} is no installed package of this system; a file is named by its whole path, such as /usr/bin/{0}"
    )]
    NoPackage(String),
    /// What came is not what was installed.
    #[error(
        "what {noun} has is not what was installed: {is}, the local database says {must}; nothing was changed"
    )]
    Different {
        /// What came: "the package".
        noun: &'static str,
        /// In the package.
        is: String,
        /// Installed.
        must: String,
    },
    /// Content that nobody knows.
    #[error(
        "nobody vouches for {0}, and the local database has no checksum of this file; nothing was changed: a signed \
             source has it, or --unsigned believes it"
    )]
    Unvouched(String),
    /// A link of another system, which would lead to nothing or to itself.
    #[error("{0} leads to {to}, which is not there in this system; nothing was changed", to = .1.display())]
    LeadsNowhere(String, PathBuf),
    /// No such member.
    #[error("the package {package} does not have {path}; nothing was changed", path = path.display())]
    NotInside {
        /// Which package file.
        package: String,
        /// Which member.
        path: PathBuf,
    },
    /// The package file cannot be read.
    #[error("{location}: {source}")]
    Archive {
        /// Where the package came from.
        location: String,
        /// What is wrong with it.
        source: Box<kedge_archive::Error>,
    },
    /// No package to be had.
    #[error("{0}")]
    Source(#[source] Box<kedge_sources::Error>),
    /// Must not be done now.
    #[error("{0}")]
    Refused(String),
    /// ctrl-C.
    #[error("interrupted; what is said to be repaired is")]
    Interrupted,
}

impl Error {
    /// What the kernel said, where it was asked.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::System { errno, .. } => Some(*errno),
            Error::Sysroot(error) => error.errno(),
            _ => None,
        }
    }
}

fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC => "; the file is as it was: make room there, then again",
        Errno::DQUOT => "; the file is as it was: quotaoff, or make room for its owner, then again",
        Errno::ROFS => {
            "; the file is as it was: mount -o remount,rw the file system that it is on, then again"
        }
        Errno::IO => "; the disk cannot be trusted: image it first, and repair the copy",
        _ => "",
    }
}
