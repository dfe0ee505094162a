//! `--from itself`: a file out of what is left of it, where the local database's checksum proves what was done to it. Nothing is
//! fetched, and nobody has to be believed.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kedge_archive::{Member, MemberKind};
use kedge_doctor::{Undone, undone};
use kedge_packages::{Kind, Package};
use kedge_sysroot::{Sysroot, kind_name};
use rustix::fs::FileType;

use crate::Error;
use crate::plan::Task;
use crate::replace::{Done, Source, Workshop};
use crate::report::Origin;

/// For one file: longer than the doctor looks, since here it is what was asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// For all of them.
const ALL: Duration = Duration::from_secs(180);

/// Looks for what was done to files, one after the other.
pub(crate) struct Search<'a> {
    root: &'a Sysroot,
    left: Duration,
}

impl<'a> Search<'a> {
    pub(crate) fn new(root: &'a Sysroot) -> Search<'a> {
        Search { root, left: ALL }
    }

    /// What was done to the file of a task, and its content without that.
    pub(crate) fn content(&mut self, task: &Task) -> Result<Undone, Error> {
        let Kind::File {
            digest: Some(must), ..
        } = task.entry.kind
        else {
            return Err(Error::Word(
                "the local database has no checksum of it, by which anything could be proven"
                    .into(),
            ));
        };
        let stat = self.root.symlink_metadata(&task.path)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            let kind = kind_name(kind);
            return Err(Error::Word(format!(
                "it is a {kind}, of which nothing can be undone"
            )));
        }
        let began = Instant::now();
        let found = undone(self.root, &task.path, must, PATIENCE.min(self.left));
        self.left = self.left.saturating_sub(began.elapsed());
        found.map_err(|why| {
            Error::Word(format!(
                "{why}; nothing was changed, and without --from its package is asked for"
            ))
        })
    }
}

/// Where it comes from, in words.
pub(crate) fn origin(undone: &Undone) -> Origin {
    let proof = "with that undone it has the checksum of the local database";
    Origin {
        location: "the damaged file itself".into(),
        trust: vec![undone.what.clone(), proof.into()],
        vouched: false,
    }
}

/// Puts it in its place, with the owner, rights and date that the damaged one has; or, where a further name of the same file was
/// repaired before, makes it one of that.
pub(crate) fn replace(
    workshop: &Workshop,
    task: &Task,
    package: &Package,
    (origin, undone): (&Origin, &Undone),
    repaired: &mut HashMap<(u64, u64), PathBuf>,
) -> Result<Done, Error> {
    let stat = workshop.root.symlink_metadata(&task.path)?;
    let member = Member {
        path: task.member.clone(),
        kind: MemberKind::File(undone.content.len() as u64),
        mode: stat.st_mode & 0o7777,
        owner: (stat.st_uid, stat.st_gid),
        names: (String::new(), String::new()),
        modified: stat.st_mtime,
        attributes: Vec::new(),
    };
    let source = Source {
        package,
        location: &origin.location,
        trust: &origin.trust,
        vouched: false,
    };
    let inode = (stat.st_dev, stat.st_ino);
    if let Some(first) = repaired.get(&inode)
        && let Some(done) = workshop.link(task, &source, &member, first)?
    {
        return Ok(done);
    }
    let done = workshop.replace(task, &source, &member, &mut &undone.content[..])?;
    if stat.st_nlink > 1 {
        repaired.insert(inode, task.path.clone());
    }
    Ok(done)
}
