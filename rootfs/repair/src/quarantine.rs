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
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Error;
use crate::record::Record;
use crate::target::{TEMPORARY, Target, make_folders, open_folder};

/// Where kedge keeps what it has to know.
pub(crate) const STATE: &str = "var/lib/kedge";
const FOLDER: &str = "var/lib/kedge/quarantine";
/// More than a record ever is.
const MOST_RECORD: u64 = 1 << 20;
const OLD: &str = "old";

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
        let mut number = Quarantine::numbers(self.root)?
            .last()
            .map_or(1, |last| last + 1);
        let name = loop {
            let name = number.to_string();
            match rustix::fs::mkdirat(&self.folder, &name, Mode::RWXU) {
                Ok(()) => break name,
                Err(Errno::EXIST) => number += 1,
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
            let known = read_record(self.root, &folder.join("record"));
            let target = Target::open(self.root, &path).ok();
            let placed = match (&target, known) {
                (Some(target), Some(record)) => {
                    target.stat_of(&temporary)?.is_none() && case.is_replaced(target, &record)?
                }
                _ => false,
            };
            if let Some(target) = &target
                && !placed
            {
                target.remove_temporary(&temporary);
                let _ = target.sync();
            }
            let path = self.root.outside(&path);
            let path = path.display().to_string().escape_debug().to_string();
            if placed {
                case.done()?;
                found.push(format!(
                    "{path} was put in place by a run that was cut short"
                ));
            } else {
                case.abandon();
                found.push(format!(
                    "{path} was not repaired by a run that was cut short"
                ));
            }
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
            return rustix::fs::symlinkat(target.read_link()?, &self.folder, OLD).map_err(fail);
        }
        if FileType::from_raw_mode(was.st_mode) != FileType::RegularFile {
            // A device or FIFO: its kind and mode are in the record, and there is no more to it.
            return Ok(());
        }
        let path = record.get_path("path").unwrap_or_default();
        let from = self.root.open_file_itself(&path)?;
        let to = self.create(OLD)?;
        copy_content(&from, &to, &self.outside())?;
        dress_as(&to, was).map_err(fail)?;
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
                )
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from =
                    rustix::fs::openat(&self.folder, OLD, flags, Mode::empty()).map_err(fail)?;
                let to = target.create(beside)?;
                copy_content(&from.into(), &to, &self.outside())?;
                dress_as(&to, &stat).map_err(fail)?;
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

    /// Whether the target is no longer the file that is kept.
    fn is_replaced(&self, target: &Target, record: &Record) -> Result<bool, Error> {
        let Some(now) = target.stat()? else {
            return Ok(false);
        };
        let inode = |key: &str| record.get(key)?.parse().ok();
        // The rename changes nothing of the new file, so it is told by its number.
        Ok(inode("new-inode") == Some(now.st_ino))
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

/// The name of the file that takes the place of the one that is kept under `number`.
fn temporary(number: u64) -> PathBuf {
    PathBuf::from(format!("{TEMPORARY}{number}"))
}

fn read_record(root: &Sysroot, path: &Path) -> Option<Record> {
    Record::read(&root.read(path, MOST_RECORD).ok()?)
}

/// All bytes; what the disk cannot read becomes zeros, as the rest is better than nothing.
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
    while at < length {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                to.write_all(&buffer[..read]).map_err(fail)?;
                at += read as u64;
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                at = (at / STEP + 1) * STEP;
                from.seek(io::SeekFrom::Start(at)).map_err(fail)?;
                to.seek(io::SeekFrom::Start(at)).map_err(fail)?;
            }
            Err(error) => return Err(fail(error)),
        }
    }
    to.set_len(length).map_err(fail)
}

/// Owner, mode and times as they were.
fn dress_as(file: &File, was: &Stat) -> Result<(), Errno> {
    use rustix::process::{Gid, Uid};
    rustix::fs::fchown(
        file,
        Some(Uid::from_raw(was.st_uid)),
        Some(Gid::from_raw(was.st_gid)),
    )?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(was.st_mode & 0o7777))?;
    let time = rustix::fs::Timespec {
        tv_sec: was.st_mtime,
        tv_nsec: was.st_mtime_nsec as _,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::futimens(file, &times)
}
