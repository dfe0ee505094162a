//! Content that comes without a package: how it is asked for, and how it gets to its place.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;

use kedge_archive::{Member, MemberKind};
use kedge_packages::Package;
use kedge_progress::Progress;
use rustix::fs::Stat;

use crate::plan::Task;
use crate::replace::{Done, Source, Workshop};
use crate::report::Origin;
use crate::{Error, folder};

/// What has content for files, and looks no further than at one of them.
pub(crate) trait Supply {
    /// What is said before it is asked for the file called `path`, if that may take long.
    fn announced(&self, _path: &str) -> Option<String> {
        None
    }

    /// Whether a file is asked for although nothing speaks against the one that is there.
    fn insists(&self, _task: &Task) -> bool {
        false
    }

    /// Where it would come from. Nothing is changed.
    fn look(&mut self, task: &Task) -> Result<Origin, Error>;

    /// The content, whole and proven.
    fn supply(
        &mut self,
        task: &Task,
        package: &Package,
        progress: &mut Progress,
    ) -> Result<Supplied, Error>;

    /// What it is called where its content is not what it should be: "the copy".
    fn noun(&self) -> &'static str;
}

/// Content for one file.
pub(crate) struct Supplied {
    pub(crate) origin: Origin,
    /// As if a package had it.
    pub(crate) member: Member,
    /// Those above it that are missing, where it comes from somewhere that has them.
    pub(crate) folders: HashMap<PathBuf, Member>,
    pub(crate) content: Box<dyn Read>,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

/// What takes a task's place, with the owner, mode and date of what `stat` is of.
pub(crate) fn member_like(stat: &Stat, task: &Task, kind: MemberKind) -> Member {
    Member {
        path: task.member.clone(),
        kind,
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        names: (String::new(), String::new()),
        modified: stat.st_mtime,
        attributes: Vec::new(),
    }
}

/// Files that were put in their places, by device and inode of what was there: a further name becomes a further name again.
pub(crate) type Repaired = HashMap<(u64, u64), PathBuf>;

/// Puts it in its place; or, where a further name of the same file was repaired before, makes it one of that.
pub(crate) fn put(
    workshop: &Workshop,
    task: &Task,
    package: &Package,
    noun: &'static str,
    mut supplied: Supplied,
    repaired: &mut Repaired,
) -> Result<Done, Error> {
    let vouched = supplied.origin.vouched;
    let (root, accounts) = (workshop.root, workshop.accounts);
    let folders = &supplied.folders;
    let above = folder::make_above(root, accounts, &task.path, folders, vouched, noun)?;
    let source = Source {
        package,
        location: &supplied.origin.location,
        trust: &supplied.origin.trust,
        vouched,
        noun,
    };
    if folder::is_of(task, &supplied.member) {
        let mut done = folder::put(root, accounts, task, &supplied.member, vouched, noun)?;
        done.notes.extend(above);
        return Ok(done);
    }
    let old = root.symlink_metadata(&task.path).ok();
    let old = old.filter(|_| matches!(supplied.member.kind, MemberKind::File(_)));
    let inode = old.map(|stat| (stat.st_dev, stat.st_ino));
    if let Some(first) = inode.and_then(|inode| repaired.get(&inode))
        && let Some(done) = workshop.link(task, &source, &supplied.member, first)?
    {
        return Ok(done);
    }
    let mut done = workshop.replace(task, &source, &supplied.member, &mut supplied.content)?;
    done.notes.extend(supplied.notes);
    done.notes.extend(above);
    if let Some(inode) = inode
        && old.is_some_and(|stat| stat.st_nlink > 1)
    {
        repaired.insert(inode, task.path.clone());
    }
    Ok(done)
}
