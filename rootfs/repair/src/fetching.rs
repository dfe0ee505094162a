//! Content out of [`Copies`]. What proves it is the checksum of the local database, so nobody there has to be believed; and as nobody
//! is, it gives no rights, and a link is taken only where it leads to something here too.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use kedge_archive::{Member, MemberKind};
use kedge_packages::{Digest, Kind, Package};
use kedge_progress::Progress;
use kedge_sources::Copy;
use kedge_sysroot::{Sysroot, kind_name};
use rustix::fs::{FileType, OFlags, Stat};

use crate::copies::Copies;
use crate::look::is_husk;
use crate::plan::{self, Task};
use crate::replace::now;
use crate::report::Origin;
use crate::supply::{Supplied, Supply, member_like};
use crate::{Error, attributes, fetched};

/// A copy's mode where nobody knows better: of what begins as a program, or as a library, and of anything else.
const PROGRAM: u32 = 0o755;
const OTHER: u32 = 0o644;

/// What there is of a file, as far as it is known before it is read; all of it can be taken.
enum Seen {
    /// It is elsewhere, and is not seen.
    Unseen,
    File(Stat),
    /// And where it leads.
    Link(Stat, PathBuf),
    Folder(Stat),
}

/// Fetches copies.
pub(crate) struct Fetching<'a> {
    copies: Copies,
    root: &'a Sysroot,
    scratch: Option<&'a Path>,
    /// Whether the operator believes what nobody vouches for.
    unsigned: bool,
    /// The one file, once it is proven: who sends it may not do so twice, and a file may have several names.
    one: Option<File>,
    /// All places that are to be repaired.
    awaited: Vec<PathBuf>,
}

impl<'a> Fetching<'a> {
    /// # Errors
    /// When one file would have to be several, or the other system is this one.
    pub(crate) fn new(
        copies: Copies,
        root: &'a Sysroot,
        scratch: Option<&'a Path>,
        unsigned: bool,
        tasks: &[Task],
    ) -> Result<Fetching<'a>, Error> {
        if let Copies::Tree(other) = &copies
            && is_one(other, root)
        {
            return Err(Error::Word(format!(
                "{} is the very system that is to be repaired: --from itself undoes what was done to a file, where it can",
                other.path().display()
            )));
        }
        let is_wanted =
            |task: &&Task| !task.differences.is_empty() || unsigned && is_file(root, task);
        let mut damaged = tasks.iter().filter(is_wanted);
        let awaited = damaged.clone().map(|task| task.path.clone()).collect();
        if let (Copies::One(copy), Some(first)) = (&copies, damaged.next())
            && let Some(other) = damaged.find(|other| !is_same(root, first, other))
        {
            return Err(Error::Word(format!(
                "{} is one file, and /{} and /{} are to be repaired: name one of them",
                copy.shown(),
                first.path.display(),
                other.path.display()
            )));
        }
        Ok(Fetching {
            copies,
            root,
            scratch,
            unsigned,
            one: None,
            awaited,
        })
    }

    fn origin(&self, copy: &Copy, task: &Task) -> Origin {
        let must = match &task.entry.kind {
            Kind::File { digest, .. } => digest.as_ref(),
            _ => None,
        };
        let mut trust: Vec<String> = must
            .map(|must| format!("a copy, that must have the local database's checksum: {must}"))
            .into_iter()
            .collect();
        if self.unsigned && must.is_none() {
            trust.push("nobody vouches for it, --unsigned believes it".into());
        }
        Origin {
            location: copy.shown(),
            trust,
            vouched: self.unsigned,
        }
    }

    /// What there is, or why it cannot be taken.
    fn seen(&self, task: &Task) -> Result<Seen, Error> {
        let Copies::Tree(other) = &self.copies else {
            return self.must(task).map(|_| Seen::Unseen);
        };
        let location = self.copies.of_task(task).shown();
        let stat = match task.entry.kind {
            Kind::File { .. } => other.metadata(&task.entry.path),
            _ => other.symlink_metadata(&task.entry.path),
        };
        let stat = stat.map_err(|error| match error.is_missing() {
            true => missing(&location),
            false => error.into(),
        })?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match (kind, &task.entry.kind) {
            (FileType::RegularFile, Kind::File { .. } | Kind::Unknown) => {
                self.must(task).map(|_| Seen::File(stat))
            }
            (FileType::Symlink, Kind::Symlink(_) | Kind::Unknown) => {
                let leads = self.leads(other, task)?;
                Ok(Seen::Link(stat, leads))
            }
            (FileType::Directory, Kind::Directory | Kind::Unknown) => Ok(Seen::Folder(stat)),
            _ => {
                let kind = kind_name(kind);
                Err(Error::Word(format!(
                    "{location} is a {kind}, which does not belong there; nothing was changed"
                )))
            }
        }
    }

    /// What is known of a file's content: its length and its digest.
    fn must(&self, task: &Task) -> Result<(Option<u64>, Option<Digest>), Error> {
        let must = match task.entry.kind {
            Kind::File { size, digest } => (size, digest),
            // A web server may show a list of what is in it.
            Kind::Unknown if !matches!(self.copies, Copies::Web(_)) => (None, None),
            _ => return Err(cannot(task)),
        };
        if must.1.is_none() && !self.unsigned {
            return Err(Error::Unvouched(self.copies.of_task(task).shown()));
        }
        Ok(must)
    }

    /// Where a link of another system leads: it is taken if that is here too.
    fn leads(&self, other: &Sysroot, task: &Task) -> Result<PathBuf, Error> {
        let leads = other.read_link(&task.entry.path)?;
        let is_known = matches!(&task.entry.kind, Kind::Symlink(must) if *must == leads);
        let there = self.root.real_path(&beside(task, &leads));
        // What takes the link's place meanwhile is nothing that it may lead to.
        if !is_known && there.map_or(true, |there| there == task.path) {
            let location = self.copies.of_task(task).shown();
            return Err(Error::LeadsNowhere(location, leads));
        }
        Ok(leads)
    }

    /// Whether what a link leads to is to be put in its place too.
    fn is_awaited(&self, task: &Task, leads: &Path) -> bool {
        let leads = beside(task, leads);
        let known = [
            plan::real(self.root, &leads),
            plan::inside(self.root, &leads),
        ];
        let mut others = self.awaited.iter().filter(|path| **path != task.path);
        others.any(|path| known.contains(path))
    }

    fn link_origin(&self, task: &Task) -> Origin {
        let mut origin = self.origin(&self.copies.of_task(task), task);
        if !self.unsigned {
            origin.trust = vec!["a link as it is there, to what is here too".into()];
        }
        origin
    }

    /// Those above the task's place that are missing here, as another system on this machine has them.
    fn folders(&self, task: &Task) -> HashMap<PathBuf, Member> {
        let Copies::Tree(other) = &self.copies else {
            return HashMap::new();
        };
        let above = task.path.ancestors().skip(1);
        let missing = above.take_while(|folder| !self.root.exists(folder));
        let as_there = |folder: &Path| {
            let stat = other.metadata(folder).ok()?;
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let member = Member {
                path: folder.into(),
                ..member_like(&stat, task, MemberKind::Directory)
            };
            is_folder.then(|| (folder.to_path_buf(), member))
        };
        missing.filter_map(as_there).collect()
    }

    /// What has no content.
    fn bare(&self, task: &Task, kind: MemberKind, stat: &Stat) -> Supplied {
        Supplied {
            origin: self.origin(&self.copies.of_task(task), task),
            member: member_like(stat, task, kind),
            folders: self.folders(task),
            content: Box::new(io::empty()),
            notes: Vec::new(),
        }
    }

    fn file(
        &mut self,
        task: &Task,
        package: &Package,
        stat: Option<&Stat>,
        progress: &mut Progress,
    ) -> Result<Supplied, Error> {
        let (size, digest) = self.must(task)?;
        let copy = self.copies.of_task(task);
        let fetched = match self.one.take() {
            Some(one) => one,
            None => {
                let mut candidate = copy.candidate(package, size, digest);
                fetched::fetch(&mut candidate, self.scratch, progress)?
            }
        };
        let mut content = BufReader::new(self.kept(fetched)?);
        let length = content.get_ref().metadata().map_or(0, |data| data.len());
        let kind = MemberKind::File(length);
        let mut notes = Vec::new();
        let member = match (stat, self.old(task)) {
            (Some(stat), _) => Member {
                attributes: self.attributes(task),
                ..member_like(stat, task, kind)
            },
            (None, Some(old)) => member_like(&old, task, kind),
            (None, None) => {
                let begins = content.fill_buf().unwrap_or_default();
                let is_program = begins.starts_with(b"\x7fELF") || begins.starts_with(b"#!");
                let mode = if is_program { PROGRAM } else { OTHER };
                if task.entry.mode.is_none() {
                    notes.push(format!(
                        "nothing here knows its mode: {mode:04o} was taken, from what is in it"
                    ));
                }
                Member {
                    path: task.member.clone(),
                    kind,
                    mode,
                    owner: (0, 0),
                    names: (String::new(), String::new()),
                    modified: now().cast_signed(),
                    attributes: Vec::new(),
                }
            }
        };
        Ok(Supplied {
            origin: self.origin(&copy, task),
            member,
            folders: self.folders(task),
            content: Box::new(content),
            notes,
        })
    }

    /// From its beginning, and once more if more than one file may be made of it.
    fn kept(&mut self, mut fetched: File) -> Result<File, Error> {
        let cannot = |error| Error::Word(format!("cannot read what was fetched: {error}"));
        if matches!(self.copies, Copies::One(_)) {
            self.one = Some(fetched.try_clone().map_err(cannot)?);
        }
        fetched.seek(SeekFrom::Start(0)).map_err(cannot)?;
        Ok(fetched)
    }

    /// The damaged file, where its mode and owner may be those that it had.
    fn old(&self, task: &Task) -> Option<Stat> {
        let stat = self.root.symlink_metadata(&task.path).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        (is_file && !is_husk(&stat)).then_some(stat)
    }

    /// As another system on this machine has them.
    fn attributes(&self, task: &Task) -> attributes::Attributes {
        let Copies::Tree(other) = &self.copies else {
            return Vec::new();
        };
        let handle = other.handle(&task.entry.path, OFlags::empty());
        let mut all = handle.map_or(Vec::new(), |handle| attributes::of_handle(&handle));
        // No package has such: a backup does (`rsync --fake-super`), and there may be no room for it here.
        all.retain(|(name, _)| self.unsigned || !name.starts_with("user."));
        all
    }
}

impl Supply for Fetching<'_> {
    /// The operator named it, and believes the copy.
    fn insists(&self, task: &Task) -> bool {
        self.unsigned && is_file(self.root, task)
    }

    fn look(&mut self, task: &Task) -> Result<Origin, Error> {
        let copy = self.copies.of_task(task);
        match self.seen(task) {
            Ok(Seen::Link(..)) => Ok(self.link_origin(task)),
            Ok(Seen::File(_) | Seen::Folder(_)) => Ok(self.origin(&copy, task)),
            Ok(Seen::Unseen) => match copy.is_there() {
                Ok(true) => Ok(self.origin(&copy, task)),
                Ok(false) => Err(missing(&copy.shown())),
                Err(why) => Err(Error::Word(format!("{}: {why}", copy.shown()))),
            },
            Err(Error::LeadsNowhere(_, leads)) if self.is_awaited(task, &leads) => {
                Ok(self.link_origin(task))
            }
            Err(error) => Err(error),
        }
    }

    fn supply(
        &mut self,
        task: &Task,
        package: &Package,
        progress: &mut Progress,
    ) -> Result<Supplied, Error> {
        let stat = match self.seen(task)? {
            Seen::Link(stat, leads) => {
                return Ok(Supplied {
                    origin: self.link_origin(task),
                    ..self.bare(task, MemberKind::Symlink(leads), &stat)
                });
            }
            Seen::Folder(stat) => return Ok(self.bare(task, MemberKind::Directory, &stat)),
            Seen::File(stat) => Some(stat),
            Seen::Unseen => None,
        };
        let file = self.file(task, package, stat.as_ref(), progress);
        file.map_err(|error| match error {
            Error::Source(source) => match *source {
                kedge_sources::Error::Missing { location } => missing(&location),
                other => Error::Source(Box::new(other)),
            },
            error => error,
        })
    }

    fn noun(&self) -> &'static str {
        "the copy"
    }
}

/// Whether a regular file is there, and no link to one.
fn is_file(root: &Sysroot, task: &Task) -> bool {
    let stat = root.symlink_metadata(&task.path);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

fn is_one(other: &Sysroot, root: &Sysroot) -> bool {
    let inode = |root: &Sysroot| {
        let stat = root.metadata(Path::new("")).ok();
        stat.map(|stat| (stat.st_dev, stat.st_ino))
    };
    inode(other).is_some_and(|other| inode(root) == Some(other))
}

/// Whether two places are surely for the same content: by the local database, or since they are names of one file.
fn is_same(root: &Sysroot, first: &Task, other: &Task) -> bool {
    let is_known = matches!(
        first.entry.kind,
        Kind::File {
            digest: Some(_),
            ..
        }
    );
    let inode = |task: &Task| {
        let stat = root.symlink_metadata(&task.path).ok();
        stat.map(|stat| (stat.st_dev, stat.st_ino))
    };
    is_known && first.entry.kind == other.entry.kind
        || inode(first).is_some_and(|first| inode(other) == Some(first))
}

/// What a link leads to, below ROOT.
fn beside(task: &Task, leads: &Path) -> PathBuf {
    task.path.parent().unwrap_or(Path::new("")).join(leads)
}

fn missing(location: &str) -> Error {
    Error::Word(format!("{location} is not there; nothing was changed"))
}

fn cannot(task: &Task) -> Error {
    Error::Word(format!(
        "of /{} its package alone can tell what it must be: without --from it is asked for",
        task.path.display()
    ))
}
