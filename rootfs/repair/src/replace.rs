//! One file: a new one beside it, whole and proven, then the old one kept, then the exchange.
//!
//! Wherever this is cut short, the file is the old one or the new one. [`crate::quarantine`] says how the next run
//! knows which.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use kedge_archive::{Member, MemberKind};
use kedge_digest::{Algorithm, Digest, Hasher};
use kedge_doctor::Accounts;
use kedge_packages::{Kind, Package};
use kedge_progress::interrupt;
use kedge_sysroot::{Sysroot, kind_name};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::Error;
use crate::look::Look;
use crate::plan::Task;
use crate::quarantine::{Case, Quarantine};
use crate::record::Record;
use crate::target::Target;

/// A damaged file that is longer than this, and than the one that takes its place, is not read: what it was is told by its
/// length.
const MOST_HASHED: u64 = 1 << 30;
/// What is said of it instead of a digest.
pub(crate) const TOO_LARGE: &str = "too large to be hashed";

/// What is the same for all files of a package.
pub(crate) struct Source<'a> {
    pub(crate) package: &'a Package,
    pub(crate) location: &'a str,
    pub(crate) trust: &'a [String],
    /// Whether anybody vouches for it, or the operator insists.
    pub(crate) vouched: bool,
    /// What is spoken of: "the package".
    pub(crate) noun: &'static str,
}

/// What was done with one file.
#[derive(Debug)]
pub(crate) struct Done {
    /// Where the old one is kept; none when nothing was replaced: a folder, or a file that was as the package has it.
    pub(crate) kept: Option<u64>,
    /// Whether anything was.
    pub(crate) changed: bool,
    /// What it was, in words.
    pub(crate) was: String,
    /// What it is.
    pub(crate) is: String,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

/// All that is needed to replace files in one system.
pub(crate) struct Workshop<'a> {
    pub(crate) root: &'a Sysroot,
    pub(crate) accounts: &'a Accounts,
    pub(crate) quarantine: &'a Quarantine<'a>,
}

impl Workshop<'_> {
    /// Puts `member`, whose content is `content`, in the place that `task` names.
    pub(crate) fn replace(
        &self,
        task: &Task,
        source: &Source,
        member: &Member,
        content: &mut dyn Read,
    ) -> Result<Done, Error> {
        let target = Target::open(self.root, &task.path)?;
        target.is_changeable()?;
        is_believable(task, source, member)?;
        let old = target.stat()?;
        let look = Look::of(
            self.root,
            self.accounts,
            source,
            &task.entry,
            member,
            old.as_ref(),
        );
        let size = match member.kind {
            MemberKind::File(size) => size,
            _ => 0,
        };
        let was = self.was(&target, old.as_ref(), task, size)?;
        let (case, temporary) = self.quarantine.begin(&task.path)?;
        let made = self.make(&target, &temporary, task, source, &look, member, content);
        let is = match made {
            Ok(is) => is,
            Err(error) => return Err(Stopped::Before(error).tidied(case, &target, &temporary)),
        };
        if old
            .as_ref()
            .is_some_and(|old| was == is && look.is_worn_by(old))
        {
            target.remove_temporary(&temporary);
            case.abandon();
            return Ok(Done {
                kept: None,
                changed: false,
                was: String::new(),
                is: format!("as {} has it", source.noun),
                notes: look.notes,
            });
        }
        let done = self
            .record(task, source, old.as_ref(), &was, &is, &target, &temporary)
            .map_err(Stopped::Before)
            .and_then(|record| exchange(&case, &target, &temporary, old.as_ref(), &record));
        match done {
            Ok(()) => Ok(Done {
                kept: Some(case.number),
                changed: true,
                was: word(&was, old.as_ref()),
                is: format!("{is}, mode {:04o}", look.mode),
                notes: look.notes,
            }),
            Err(stopped) => Err(stopped.tidied(case, &target, &temporary)),
        }
    }

    /// Puts a further name of `leads`, which the package has before it, in the place that `task` names; nothing is done when
    /// what is at `leads` is not what it must be, or is elsewhere.
    pub(crate) fn link(
        &self,
        task: &Task,
        source: &Source,
        member: &Member,
        leads: &Path,
    ) -> Result<Option<Done>, Error> {
        let Kind::File {
            digest: Some(must), ..
        } = task.entry.kind
        else {
            return Ok(None);
        };
        let Ok(mut other) = self.root.open_file_itself(leads) else {
            return Ok(None);
        };
        if !digest(&other, must.algorithm()).is_ok_and(|is| is == must) || other.rewind().is_err() {
            return Ok(None);
        }
        let target = Target::open(self.root, &task.path)?;
        target.is_changeable()?;
        let old = target.stat()?;
        let size = rustix::fs::fstat(&other)
            .map_err(|errno| target.fail("read", errno))?
            .st_size;
        let was = self.was(&target, old.as_ref(), task, size.unsigned_abs())?;
        let new = sha256(&other)
            .map_err(|error| interrupted_or(error.to_string()))?
            .to_string();
        let (folder, name) = self.root.open_parent(leads)?;
        let (case, temporary) = self.quarantine.begin(&task.path)?;
        if target.link_from(&folder, &name, &temporary).is_err() {
            case.abandon();
            return Ok(None);
        }
        let done = self
            .record(task, source, old.as_ref(), &was, &new, &target, &temporary)
            .and_then(|record| target.sync().map(|()| record))
            .map_err(Stopped::Before)
            .and_then(|record| exchange(&case, &target, &temporary, old.as_ref(), &record));
        match done {
            Ok(()) => Ok(Some(Done {
                kept: Some(case.number),
                changed: true,
                was: word(&was, old.as_ref()),
                is: format!(
                    "a further name of {}, mode {:04o}",
                    shown(leads).display(),
                    member.mode
                ),
                notes: Vec::new(),
            })),
            Err(stopped) => Err(stopped.tidied(case, &target, &temporary)),
        }
    }

    /// Makes the new file beside the old one, and returns what is in it.
    #[allow(clippy::too_many_arguments)]
    fn make(
        &self,
        target: &Target,
        temporary: &Path,
        task: &Task,
        source: &Source,
        look: &Look,
        member: &Member,
        content: &mut dyn Read,
    ) -> Result<String, Error> {
        match (&member.kind, &task.entry.kind) {
            (MemberKind::Symlink(leads), Kind::Symlink(must)) if leads != must => {
                let (leads, must) = (leads.display(), must.display());
                Err(Error::Word(format!(
                    "the link of {} leads to {leads}, the local database says {must}; nothing was changed",
                    source.noun
                )))
            }
            (MemberKind::Symlink(leads), Kind::Symlink(_) | Kind::Unknown) => {
                target.symlink(leads, temporary)?;
                target.dress_symlink(temporary, look.owner, &look.times())?;
                target.sync()?;
                Ok(format!("symlink to {}", leads.display()))
            }
            (MemberKind::File(_) | MemberKind::HardLink(_), Kind::File { .. } | Kind::Unknown) => {
                let file = target.create(temporary)?;
                let must = match &task.entry.kind {
                    Kind::File { digest, .. } => *digest,
                    _ => None,
                };
                let algorithm = must.map(|must| must.algorithm());
                let is = pour(content, &file, algorithm, target, source.noun)?;
                if let (Some(must), Some(is)) = (must, is.local)
                    && must != is
                {
                    let (is, must) = (is.to_string(), must.to_string());
                    let noun = source.noun;
                    return Err(Error::Different { noun, is, must });
                }
                look.put_on(&file)
                    .and_then(|()| rustix::fs::fsync(&file))
                    .map_err(|errno| target.fail("make a file beside", errno))?;
                target.sync()?;
                Ok(is.sha256.to_string())
            }
            _ => Err(Error::Word(format!(
                "{} and the local database do not agree on what it is; nothing was changed",
                source.noun
            ))),
        }
    }

    /// What is there, in the words that [`Self::make`] has for what it makes, which has `new` bytes.
    fn was(
        &self,
        target: &Target,
        old: Option<&Stat>,
        task: &Task,
        new: u64,
    ) -> Result<String, Error> {
        let Some(old) = old else {
            return Ok("missing".into());
        };
        Ok(match FileType::from_raw_mode(old.st_mode) {
            FileType::Symlink => match target.read_link() {
                Ok(leads) => format!("symlink to {}", leads.display()),
                Err(error) => error.to_string(),
            },
            // A damaged inode may have any length.
            FileType::RegularFile if old.st_size.unsigned_abs() > new.max(MOST_HASHED) => {
                TOO_LARGE.into()
            }
            FileType::RegularFile => {
                let file = self
                    .root
                    .open_file_itself(&task.path)
                    .map_err(|error| error.to_string());
                let digest = file.and_then(|file| sha256(file).map_err(|error| error.to_string()));
                match digest {
                    _ if interrupt::pressed_already() => return Err(Error::Interrupted),
                    Ok(digest) => digest.to_string(),
                    Err(error) => format!("unreadable ({error})"),
                }
            }
            kind => kind_name(kind).into(),
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn record(
        &self,
        task: &Task,
        source: &Source,
        old: Option<&Stat>,
        was: &str,
        new: &str,
        target: &Target,
        temporary: &Path,
    ) -> Result<Record, Error> {
        let made = target.stat_of(temporary)?;
        let mut record = Record::default()
            .path("path", &task.path)
            .text("when", now())
            .text("package", &source.package.name)
            .text("version", &source.package.version)
            .text("architecture", &source.package.architecture)
            .text("from", source.location);
        for step in source.trust {
            record = record.text("trust", step);
        }
        record = record
            .text("was", was)
            .text("is", new)
            .new_file(made.as_ref());
        if let Some(old) = old {
            record = record
                .text("old-inode", old.st_ino)
                .text("old-mode", format!("{:06o}", old.st_mode))
                .text("old-owner", format!("{}:{}", old.st_uid, old.st_gid))
                .text("old-size", old.st_size)
                .text("old-modified", old.st_mtime);
        }
        Ok(record)
    }
}

/// What went wrong, and whether the file was the new one by then.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The old one is in its place.
    Before(Error),
    /// The new one is, and the old one in quarantine must stay there.
    After(Error),
}

impl Stopped {
    /// Removes what is of no use any more.
    pub(crate) fn tidied(self, case: Case, target: &Target, temporary: &Path) -> Error {
        match self {
            Stopped::Before(error) => {
                target.remove_temporary(temporary);
                case.abandon();
                error
            }
            Stopped::After(error) => error,
        }
    }
}

/// Keeps the old one, then lets the new one take its place.
pub(crate) fn exchange(
    case: &Case,
    target: &Target,
    temporary: &Path,
    old: Option<&Stat>,
    record: &Record,
) -> Result<(), Stopped> {
    let kept = case.keep(target, old, record);
    let exchanged = kept.and_then(|()| match old {
        Some(_) => target.replace_by(temporary),
        None => target.fill_by(temporary),
    });
    exchanged.map_err(Stopped::Before)?;
    let written = target.sync().and_then(|()| case.done());
    written.map_err(Stopped::After)
}

/// Seconds since 1970, as a journal needs them.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn word(was: &str, old: Option<&Stat>) -> String {
    match old {
        Some(old) if FileType::from_raw_mode(old.st_mode) == FileType::RegularFile => {
            format!(
                "{was}, {} bytes, mode {:04o}",
                old.st_size,
                old.st_mode & 0o7777
            )
        }
        _ => was.into(),
    }
}

/// That the content is known to the local database, where nobody vouches for the package. A link or a folder may come from
/// anybody: it holds nothing itself.
fn is_believable(task: &Task, source: &Source, member: &Member) -> Result<(), Error> {
    let has_content = matches!(member.kind, MemberKind::File(_) | MemberKind::HardLink(_));
    let known = matches!(
        task.entry.kind,
        Kind::File {
            digest: Some(_),
            ..
        }
    );
    match has_content && !known && !source.vouched {
        true => Err(Error::Unvouched(source.location.into())),
        false => Ok(()),
    }
}

/// Digests of what was poured.
struct Poured {
    /// By the local database's algorithm.
    local: Option<Digest>,
    sha256: Digest,
}

fn pour(
    content: &mut dyn Read,
    mut file: &File,
    algorithm: Option<Algorithm>,
    target: &Target,
    noun: &str,
) -> Result<Poured, Error> {
    let mut local = algorithm.map(Hasher::new);
    let mut sha256 = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Error::Word(format!(
                    "{noun} cannot be read: {error}; nothing was changed"
                )));
            }
        };
        sha256.update(read);
        if let Some(local) = &mut local {
            local.update(read);
        }
        file.write_all(read).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            target.fail("write a file beside", errno)
        })?;
    }
    Ok(Poured {
        local: local.map(Hasher::finish),
        sha256: sha256.finish(),
    })
}

/// What went wrong, if it was not ctrl-C.
fn interrupted_or(why: String) -> Error {
    match interrupt::pressed_already() {
        true => Error::Interrupted,
        false => Error::Word(why),
    }
}

/// As [`digest`].
pub(crate) fn sha256(file: impl Read) -> std::io::Result<Digest> {
    digest(file, Algorithm::Sha256)
}

/// Of a whole file, unless ctrl-C ends it.
pub(crate) fn digest(mut file: impl Read, algorithm: Algorithm) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 64 << 10];
    loop {
        if interrupt::pressed_already() {
            return Err(std::io::Error::other("interrupted"));
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A path as people type it inside ROOT.
pub(crate) fn shown(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}
