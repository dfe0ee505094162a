//! What was replaced is kept, in `ROOT/var/lib/kedge/quarantine/N`, with what is needed to put it back:
//!
//! | file | what it is | when it is written |
//! |---|---|---|
//! | `intent` | which file, and the name of the one that will take its place | before anything else |
//! | `old` | the damaged file itself: another name of it, so it costs no room; a copy when it is on another file system | when the new one is whole and on the disk |
//! | `record` | what it was, what it became, from where | with `old` |
//! | `done` | that the new one is in place | after the rename |
//!
//! Each is on the disk before the next step, so wherever the power goes, the next run knows how far it was
//! ([`Quarantine::tidy`]).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kedge_progress::interrupt;
use kedge_sysroot::Sysroot;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::Error;
use crate::attributes;
use crate::record::Record;
use crate::target::{TEMPORARY, Target, make_folders, open_folder};

/// Where kedge keeps what it has to know.
pub(crate) const STATE: &str = "var/lib/kedge";
const FOLDER: &str = "var/lib/kedge/quarantine";
/// More than a record ever is.
const MOST_RECORD: u64 = 1 << 20;
const OLD: &str = "old";
/// The highest number that is taken for one of ours.
const MOST_NUMBER: u64 = u32::MAX as u64;

/// All that is kept.
#[derive(Debug)]
pub(crate) struct Quarantine<'a> {
    root: &'a Sysroot,
    folder: OwnedFd,
}

/// One file that is being, or was, replaced.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    root: &'a Sysroot,
    /// N.
    pub(crate) number: u64,
    folder: OwnedFd,
    above: &'a OwnedFd,
}

impl<'a> Quarantine<'a> {
    /// Makes the folder where it is missing. The lock must be held.
    pub(crate) fn open(root: &'a Sysroot) -> Result<Quarantine<'a>, Error> {
        make_folders(root, Path::new("var/lib"), 0o755)?;
        make_folders(root, Path::new(FOLDER), 0o700)?;
        let folder = open_folder(root, Path::new(FOLDER))?;
        Ok(Quarantine { root, folder })
    }

    /// The numbers that are there, lowest first.
    pub(crate) fn numbers(root: &Sysroot) -> Result<Vec<u64>, Error> {
        let names = match root.read_dir(Path::new(FOLDER)) {
            Err(error) if error.is_missing() => return Ok(Vec::new()),
            names => names?,
        };
        // Only names that are ours: others may have been here before us.
        let number = |name: &kedge_sysroot::Name| {
            let number: u32 = name.name.to_str()?.parse().ok()?;
            let ours = name.name == Path::new(&number.to_string());
            let folder = matches!(name.kind, FileType::Directory | FileType::Unknown);
            (ours && folder).then_some(u64::from(number))
        };
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Whether a run before this one was cut short.
    pub(crate) fn is_unfinished(root: &Sysroot) -> bool {
        let unfinished = |number: &u64| {
            let done = Path::new(FOLDER).join(number.to_string()).join("done");
            root.symlink_metadata(&done)
                .is_err_and(|error| error.is_missing())
        };
        Quarantine::numbers(root).is_ok_and(|numbers| numbers.iter().any(unfinished))
    }

    /// What was done in `number`; nothing when it was not done.
    pub(crate) fn record(root: &Sysroot, number: u64) -> Option<Record> {
        let folder = Path::new(FOLDER).join(number.to_string());
        root.symlink_metadata(&folder.join("done")).ok()?;
        read_record(root, &folder.join("record"))
    }

    /// Begins to replace `path`.
    pub(crate) fn begin(&'a self, path: &Path) -> Result<(Case<'a>, PathBuf), Error> {
        let last = Quarantine::numbers(self.root)?.pop().unwrap_or(0);
        // What else has a number for a name is passed over; behind the last number there is, the first gap.
        let mut free = (last + 1..=MOST_NUMBER).chain(1..=MOST_NUMBER);
        let (number, name) = loop {
            let number = free
                .next()
                .ok_or_else(|| self.fail("make a folder in", Errno::NOSPC))?;
            let name = number.to_string();
            match rustix::fs::mkdirat(&self.folder, &name, Mode::RWXU) {
                Ok(()) => break (number, name),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.fail("make a folder in", errno)),
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.folder, &name, flags, Mode::empty())
            .map_err(|errno| self.fail("open a folder in", errno))?;
        let case = Case {
            root: self.root,
            number,
            folder,
            above: &self.folder,
        };
        let temporary = temporary(number);
        let intent = Record::default()
            .path("path", path)
            .path("temporary", &temporary);
        let begun = case.write("intent", &intent).and_then(|()| case.sync());
        match begun
            .and_then(|()| rustix::fs::fsync(&self.folder).map_err(|e| self.fail("write", e)))
        {
            Ok(()) => Ok((case, temporary)),
            Err(error) => {
                case.abandon();
                Err(error)
            }
        }
    }

    /// Ends what a run before this one could not end: a new file that is in place is said to be; one that is not is removed.
    /// Returns what was found.
    pub(crate) fn tidy(&'a self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for number in Quarantine::numbers(self.root)? {
            let folder = Path::new(FOLDER).join(number.to_string());
            if self.root.symlink_metadata(&folder.join("done")).is_ok() {
                continue;
            }
            let case = self.case(number)?;
            let intent = read_record(self.root, &folder.join("intent"));
            // The new file's name is for people to read: what is removed is ours, whatever is written there.
            let temporary = temporary(number);
            let Some(path) = intent.and_then(|intent| intent.get_path("path")) else {
                // Nothing was begun before the intent was on the disk.
                case.abandon();
                continue;
            };
            let record = read_record(self.root, &folder.join("record"));
            let outcome = match Target::open(self.root, &path) {
                Ok(target) => {
                    let outcome = outcome(&target, &temporary, record.as_ref())?;
                    if outcome == Outcome::NotPlaced {
                        target.remove_temporary(&temporary);
                        let _ = target.sync();
                    }
                    outcome
                }
                Err(_) => Outcome::Unknown,
            };
            let path = self.root.outside(&path);
            let path = path.display().to_string().escape_debug().to_string();
            found.push(match outcome {
                Outcome::Placed => {
                    case.done()?;
                    format!("{path} was put in place by a run that was cut short")
                }
                Outcome::NotPlaced => {
                    case.abandon();
                    format!("{path} was not repaired by a run that was cut short")
                }
                Outcome::Unknown => format!(
                    "a run that was cut short was at {path}, which is not there: is the file system that it is on mounted? \
                     The old file is kept as number {number}"
                ),
            });
        }
        Ok(found)
    }

    /// What is kept under `number`.
    pub(crate) fn case(&'a self, number: u64) -> Result<Case<'a>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&self.folder, number.to_string(), flags, Mode::empty())
            .map_err(|errno| self.fail("open a folder in", errno))?;
        Ok(Case {
            root: self.root,
            number,
            folder,
            above: &self.folder,
        })
    }

    fn fail(&self, doing: &'static str, errno: Errno) -> Error {
        Error::System {
            doing,
            path: self.root.outside(Path::new(FOLDER)),
            errno,
        }
    }
}

/// Where the damaged file of `number` is, below ROOT.
pub(crate) fn kept(number: u64) -> PathBuf {
    Path::new(FOLDER).join(number.to_string()).join(OLD)
}

impl Case<'_> {
    /// Keeps what is at `target`, and says what happens to it.
    pub(crate) fn keep(
        &self,
        target: &Target,
        was: Option<&Stat>,
        record: &Record,
    ) -> Result<(), Error> {
        if let Some(was) = was {
            match target.link_to(&self.folder, Path::new(OLD)) {
                Ok(()) => {}
                // Another file system, or one that knows no links.
                Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => {
                    self.copy(target, was, record)?;
                }
                Err(errno) => return Err(target.fail("keep", errno)),
            }
        }
        self.write("record", record)?;
        self.sync()
    }

    /// A copy of the damaged file, as far as it can be read.
    fn copy(&self, target: &Target, was: &Stat, record: &Record) -> Result<(), Error> {
        let fail = |errno| self.fail("keep a copy in", errno);
        if FileType::from_raw_mode(was.st_mode) == FileType::Symlink {
            return rustix::fs::symlinkat(target.read_link()?, &self.folder, OLD)
                .and_then(|()| dress_link_as(&self.folder, Path::new(OLD), was))
                .map_err(fail);
        }
        if FileType::from_raw_mode(was.st_mode) != FileType::RegularFile {
            // A device or FIFO: its kind and mode are in the record, and there is no more to it.
            return Ok(());
        }
        let path = record.get_path("path").unwrap_or_default();
        let from = self.root.open_file_itself(&path)?;
        let to = self.create(OLD)?;
        copy_content(&from, &to, &self.outside())?;
        dress_as(&to, &from, was).map_err(fail)?;
        rustix::fs::fsync(&to).map_err(fail)
    }

    /// Puts what is kept beside `target`, under the name `beside`.
    pub(crate) fn put_beside(&self, target: &Target, beside: &Path) -> Result<(), Error> {
        match target.link_from(&self.folder, Path::new(OLD), beside) {
            Ok(()) => return Ok(()),
            Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK) => {}
            Err(errno) => return Err(target.fail("put the kept file beside", errno)),
        }
        let fail = |errno| self.fail("read", errno);
        let stat =
            rustix::fs::statat(&self.folder, OLD, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                use std::os::unix::ffi::OsStrExt;
                let leads = rustix::fs::readlinkat(&self.folder, OLD, Vec::new()).map_err(fail)?;
                target.symlink(
                    Path::new(std::ffi::OsStr::from_bytes(leads.as_bytes())),
                    beside,
                )?;
                let owner = (stat.st_uid, stat.st_gid);
                target.dress_symlink(beside, owner, &times_of(&stat))
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from =
                    rustix::fs::openat(&self.folder, OLD, flags, Mode::empty()).map_err(fail)?;
                let to = target.create(beside)?;
                let from = File::from(from);
                copy_content(&from, &to, &self.outside())?;
                dress_as(&to, &from, &stat).map_err(fail)?;
                rustix::fs::fsync(&to).map_err(fail)
            }
            kind => {
                let kind = kedge_sysroot::kind_name(kind);
                Err(Error::Word(format!(
                    "a {kind} was there, which is not kept"
                )))
            }
        }
    }

    /// It is in place.
    pub(crate) fn done(&self) -> Result<(), Error> {
        self.write("done", &Record::default())?;
        self.sync()
    }

    /// Nothing came of it, or it was undone.
    pub(crate) fn abandon(self) {
        // What says how far it is goes last: a name that is left is an intent of nothing.
        for name in ["done", OLD, "record", "intent"] {
            let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
        }
        let _ = rustix::fs::unlinkat(self.above, self.number.to_string(), AtFlags::REMOVEDIR);
    }

    fn write(&self, name: &str, record: &Record) -> Result<(), Error> {
        let fail = |error: io::Error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            self.fail("write in", errno)
        };
        let mut file = self.create(name)?;
        file.write_all(record.write().as_bytes()).map_err(fail)?;
        file.sync_all().map_err(fail)
    }

    fn create(&self, name: &str) -> Result<File, Error> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.fail("make a file in", errno))?;
        Ok(file.into())
    }

    fn sync(&self) -> Result<(), Error> {
        rustix::fs::fsync(&self.folder).map_err(|errno| self.fail("write", errno))
    }

    fn outside(&self) -> PathBuf {
        self.root
            .outside(&Path::new(FOLDER).join(self.number.to_string()))
    }

    fn fail(&self, doing: &'static str, errno: Errno) -> Error {
        Error::System {
            doing,
            path: self.outside(),
            errno,
        }
    }
}

/// How far a run was that was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The new file is in its place, and the old one in quarantine.
    Placed,
    /// The old file is in its place.
    NotPlaced,
    /// Neither is seen: what is kept may be all that there is of the old one.
    Unknown,
}

/// How far it was, by what is at `target`.
fn outcome(target: &Target, temporary: &Path, record: Option<&Record>) -> Result<Outcome, Error> {
    // Before the record nothing is exchanged; afterwards the new file has its first name no more.
    let Some(record) = record else {
        return Ok(Outcome::NotPlaced);
    };
    if target.stat_of(temporary)?.is_some() {
        return Ok(Outcome::NotPlaced);
    }
    let nothing_kept = record.get("was") == Some("missing");
    Ok(match target.stat()? {
        Some(now) if record.is_new_file(&now) => Outcome::Placed,
        Some(now) if record.is_old_file(&now) => Outcome::NotPlaced,
        None if record.get("is") == Some("missing") => Outcome::Placed,
        None if nothing_kept => Outcome::NotPlaced,
        // Somebody put another file there since.
        Some(_) => Outcome::Placed,
        None => Outcome::Unknown,
    })
}

/// The name of the file that takes the place of the one that is kept under `number`.
fn temporary(number: u64) -> PathBuf {
    PathBuf::from(format!("{TEMPORARY}{number}"))
}

fn read_record(root: &Sysroot, path: &Path) -> Option<Record> {
    Record::read(&root.read(path, MOST_RECORD).ok()?)
}

/// All bytes; what the disk cannot read becomes zeros, as the rest is better than nothing. Holes stay holes: a damaged inode
/// may say any length.
fn copy_content(mut from: &File, mut to: &File, outside: &Path) -> Result<(), Error> {
    const STEP: u64 = 4096;
    let fail = |error: io::Error| Error::System {
        doing: "keep a copy in",
        path: outside.to_path_buf(),
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let length = from.metadata().map_err(fail)?.len();
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    while let Some((start, end)) = data(from, at, length) {
        for mut file in [from, to] {
            file.seek(SeekFrom::Start(start)).map_err(fail)?;
        }
        at = start;
        while at < end {
            if interrupt::pressed_already() {
                return Err(Error::Interrupted);
            }
            let most = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match from.read(&mut buffer[..most]) {
                Ok(0) => break,
                Ok(read) => {
                    to.write_all(&buffer[..read]).map_err(fail)?;
                    at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                    at = (at / STEP + 1) * STEP;
                    from.seek(SeekFrom::Start(at)).map_err(fail)?;
                    to.seek(SeekFrom::Start(at)).map_err(fail)?;
                }
                Err(error) => return Err(fail(error)),
            }
        }
        // It has become shorter, or what was unreadable reaches beyond.
        at = at.max(end);
    }
    to.set_len(length).map_err(fail)
}

/// The next bytes from `at` on that are no hole, before `length`: all the rest, where the file system does not say.
fn data(file: &File, at: u64, length: u64) -> Option<(u64, u64)> {
    use rustix::fs::SeekFrom;
    if at >= length {
        return None;
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return None,
        Err(_) => return Some((at, length)),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(length);
    // Progress in any case.
    let end = if end > start { end } else { length };
    (start < length).then_some((start, end.min(length)))
}

/// Owner, mode, attributes and times as they were.
fn dress_as(file: &File, like: &File, was: &Stat) -> Result<(), Errno> {
    use rustix::process::{Gid, Uid};
    rustix::fs::fchown(
        file,
        Some(Uid::from_raw(was.st_uid)),
        Some(Gid::from_raw(was.st_gid)),
    )?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(was.st_mode & 0o7777))?;
    for attribute in attributes::of_file(like) {
        match attributes::put_on(file, &[attribute]) {
            // A file system that cannot keep it: the content is more than nothing.
            Err(Errno::OPNOTSUPP) => {}
            put => put?,
        }
    }
    rustix::fs::futimens(file, &times_of(was))
}

/// A link's owner and times as they were.
fn dress_link_as(folder: &OwnedFd, name: &Path, was: &Stat) -> Result<(), Errno> {
    use rustix::process::{Gid, Uid};
    let (user, group) = (Uid::from_raw(was.st_uid), Gid::from_raw(was.st_gid));
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(folder, name, Some(user), Some(group), flags)?;
    rustix::fs::utimensat(folder, name, &times_of(was), flags)
}

fn times_of(was: &Stat) -> Timestamps {
    let time = Timespec {
        tv_sec: was.st_mtime,
        tv_nsec: was.st_mtime_nsec as _,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_are_not_copied() {
        let folder = std::env::temp_dir().join(format!("kedge-holes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let open = |name: &str| {
            let mut options = File::options();
            let opened = options
                .read(true)
                .write(true)
                .create_new(true)
                .open(folder.join(name));
            opened.unwrap()
        };
        let (mut from, to) = (open("from"), open("to"));
        let length = 400 << 30;
        let pieces = [
            (0, "begins"),
            (200 << 30, "in the middle"),
            (length - 4, "ends"),
        ];
        from.set_len(length).unwrap();
        for (at, text) in pieces {
            from.seek(SeekFrom::Start(at)).unwrap();
            from.write_all(text.as_bytes()).unwrap();
        }
        from.rewind().unwrap();
        copy_content(&from, &to, &folder).unwrap();
        let stat = to.metadata().unwrap();
        assert_eq!(stat.len(), length);
        assert!(stat.blocks() < 1000, "{}", stat.blocks());
        for (at, text) in pieces {
            let mut bytes = vec![0; text.len()];
            std::os::unix::fs::FileExt::read_exact_at(&to, &mut bytes, at).unwrap();
            assert_eq!(bytes, text.as_bytes());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
