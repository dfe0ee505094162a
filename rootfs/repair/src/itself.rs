//! `--from itself`: a file out of what is left of it, where the local database's checksum proves what was done to it. Nothing is
//! fetched, and nobody has to be believed.

use std::time::Duration;

use kedge_archive::{Member, MemberKind};
use kedge_doctor::{Undone, undone};
use kedge_packages::{Kind, Package};
use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

use crate::Error;
use crate::plan::Task;
use crate::replace::{Done, Source, Workshop};
use crate::report::Origin;

/// Longer than the doctor looks: here it is what was asked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What was done to the file of a task, and its content without that.
pub(crate) fn content(root: &Sysroot, task: &Task) -> Result<Undone, Error> {
    let Kind::File {
        digest: Some(must), ..
    } = task.entry.kind
    else {
        return Err(Error::Word(
            "the local database has no checksum of it, by which anything could be proven".into(),
        ));
    };
    let stat = root.symlink_metadata(&task.path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Word("nothing is left of it: it is no file".into()));
    }
    undone(root, &task.path, must, PATIENCE).map_err(|why| {
        Error::Word(format!(
            "{why}; nothing was changed, and without --from its package is asked for"
        ))
    })
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

/// Puts it in its place, with the owner, rights and date that the damaged one has.
pub(crate) fn replace(
    workshop: &Workshop,
    task: &Task,
    package: &Package,
    origin: &Origin,
    undone: &Undone,
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
    workshop.replace(task, &source, &member, &mut &undone.content[..])
}
