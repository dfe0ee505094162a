//! Folders: those that are missing on the way to a file, and those that are damaged themselves.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use kedge_archive::{Member, MemberKind};
use kedge_doctor::{Accounts, shown};
use kedge_packages::{Entry, Kind};
use kedge_sysroot::{Sysroot, kind_name};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::Error;
use crate::look::Rights;
use crate::plan::Task;
use crate::replace::Done;
use crate::target::open_folder;

/// What a system whose folders are merged into `/usr` has links for. Where the link is missing, a folder in its place would
/// hide everything behind it.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Makes the folders above `path` that are missing, as the package or another system has them (`known`). What the operator
/// should know of them.
pub(crate) fn make_above(
    root: &Sysroot,
    accounts: &Accounts,
    path: &Path,
    known: &HashMap<PathBuf, Member>,
    vouched: bool,
    noun: &str,
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for folder in above
        .into_iter()
        .rev()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        match root.metadata(folder) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {}
            Ok(stat) => {
                let kind = kind_name(FileType::from_raw_mode(stat.st_mode));
                return Err(Error::NoFolder(root.outside(folder), kind));
            }
            Err(error) if error.is_missing() => {
                refuse_merged(root, folder)?;
                let packaged = Packaged {
                    entry: None,
                    member: known.get(folder),
                    vouched,
                    noun,
                };
                let mut made = make(root, accounts, folder, &packaged)?;
                if packaged.member.is_none() {
                    let mode = made.mode;
                    let note = format!("nothing here knows its mode: {mode:04o} was taken");
                    made.notes.push(note);
                }
                let named = |note| format!("{}: {note}", shown::path(folder));
                notes.extend(made.notes.into_iter().map(named));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(notes)
}

/// What is said of a folder.
pub(crate) struct Packaged<'a> {
    /// By the local database.
    pub(crate) entry: Option<&'a Entry>,
    /// By the package, or as another system has it.
    pub(crate) member: Option<&'a Member>,
    /// Whether anybody vouches for that.
    pub(crate) vouched: bool,
    /// What that is called: "the package".
    pub(crate) noun: &'a str,
}

/// What became of a folder.
pub(crate) struct Made {
    /// How it was; none when it is as it was.
    pub(crate) was: Option<String>,
    pub(crate) mode: u32,
    pub(crate) notes: Vec<String>,
}

/// Makes a folder that is missing, or gives one that is there its owner and mode.
pub(crate) fn make(
    root: &Sysroot,
    accounts: &Accounts,
    path: &Path,
    packaged: &Packaged,
) -> Result<Made, Error> {
    let fail = |doing, errno| Error::System {
        doing,
        path: root.outside(path),
        errno,
    };
    let (above, name) = root.open_parent(path)?;
    let is_new = match rustix::fs::mkdirat(&above, &name, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(fail("make the folder", errno)),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder =
        rustix::fs::openat(&above, &name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR => Error::NoFolder(root.outside(path), kind_at(&above, &name)),
            errno => fail("open the folder", errno),
        })?;
    let old = match is_new {
        true => None,
        false => Some(rustix::fs::fstat(&folder).map_err(|errno| fail("look at", errno))?),
    };
    let mut notes = Vec::new();
    let Packaged {
        entry,
        member,
        vouched,
        noun,
    } = *packaged;
    let from = member.map(|member| (member, noun));
    let Rights { mode, owner } =
        Rights::of_folder(accounts, entry, from, old.as_ref(), vouched, &mut notes);
    let was = old.map(|old| (old.st_mode & 0o7777, (old.st_uid, old.st_gid)));
    let made = |was| Made { was, mode, notes };
    if was == Some((mode, owner)) {
        return Ok(made(None));
    }
    let (user, group) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
    rustix::fs::fchown(&folder, Some(user), Some(group))
        .and_then(|()| rustix::fs::fchmod(&folder, Mode::from_raw_mode(mode)))
        .and_then(|()| rustix::fs::fsync(&folder))
        .and_then(|()| rustix::fs::fsync(&above))
        .map_err(|errno| fail("set owner and mode of the folder", errno))?;
    Ok(made(Some(
        was.map_or("missing".into(), |(mode, (user, group))| {
            format!("a folder with mode {mode:04o} and owner {user}:{group}")
        }),
    )))
}

/// Whether a folder is what belongs there.
pub(crate) fn is_of(task: &Task, member: &Member) -> bool {
    let may_be = matches!(task.entry.kind, Kind::Directory | Kind::Unknown);
    may_be && member.kind == MemberKind::Directory
}

/// Makes the folder of a task, or gives it its owner and mode.
pub(crate) fn put(
    root: &Sysroot,
    accounts: &Accounts,
    task: &Task,
    member: &Member,
    vouched: bool,
    noun: &str,
) -> Result<Done, Error> {
    refuse_merged(root, &task.path)?;
    let packaged = Packaged {
        entry: Some(&task.entry),
        member: Some(member),
        vouched,
        noun,
    };
    let made = make(root, accounts, &task.path, &packaged)?;
    Ok(Done {
        kept: None,
        changed: made.was.is_some(),
        was: made.was.unwrap_or_default(),
        is: format!("a folder with mode {:04o}", made.mode),
        notes: made.notes,
    })
}

/// What is in a folder's place and is none.
fn kind_at(above: &OwnedFd, name: &Path) -> &'static str {
    let stat = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW);
    match stat.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
        // One to a folder is as good as a folder; where this one leads may not be mounted.
        Ok(FileType::Symlink) => "symlink that leads to no folder",
        kind => kind_name(kind.unwrap_or(FileType::Unknown)),
    }
}

/// Refuses a folder that should be a link, when nothing is in its place.
pub(crate) fn refuse_merged(root: &Sysroot, folder: &Path) -> Result<(), Error> {
    let merged = folder.to_str().is_some_and(|name| MERGED.contains(&name));
    if merged
        && root.symlink_metadata(folder).is_err()
        && open_folder(root, &Path::new("usr").join(folder)).is_ok()
    {
        let name = folder.display();
        let at = root.outside(folder);
        return Err(Error::Word(format!(
            "{at} is missing, and was probably a link to usr/{name}: ln -s usr/{name} {at}, then again",
            at = at.display()
        )));
    }
    Ok(())
}
