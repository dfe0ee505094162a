//! `--from itself`: a file out of what is left of it, where the local database's checksum proves what was done to it. Nothing is
//! fetched, and nobody has to be believed.

use std::collections::HashMap;
use std::io::Cursor;
use std::time::{Duration, Instant};

use kedge_archive::MemberKind;
use kedge_doctor::{Undone, undone};
use kedge_packages::{Kind, Package};
use kedge_progress::Progress;
use kedge_sysroot::{Sysroot, kind_name};
use rustix::fs::FileType;

use crate::Error;
use crate::plan::Task;
use crate::report::Origin;
use crate::supply::{Supplied, Supply, member_like};

/// For one file: longer than the doctor looks, since here it is what was asked for.
const PATIENCE: Duration = Duration::from_secs(20);
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
    fn content(&mut self, task: &Task) -> Result<Undone, Error> {
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

impl Supply for Search<'_> {
    fn announced(&self, path: &str) -> Option<String> {
        let patience = PATIENCE.as_secs();
        Some(format!(
            "looking for what was done to {path}, for {patience} s at most"
        ))
    }

    fn look(&mut self, task: &Task) -> Result<Origin, Error> {
        self.content(task).map(|undone| origin(&undone))
    }

    /// With the owner, rights and date that the damaged one has.
    fn supply(&mut self, task: &Task, _: &Package, _: &mut Progress) -> Result<Supplied, Error> {
        let undone = self.content(task)?;
        let stat = self.root.symlink_metadata(&task.path)?;
        let kind = MemberKind::File(undone.content.len() as u64);
        Ok(Supplied {
            origin: origin(&undone),
            member: member_like(&stat, task, kind),
            folders: HashMap::new(),
            content: Box::new(Cursor::new(undone.content)),
            notes: Vec::new(),
        })
    }

    fn noun(&self) -> &'static str {
        "the file itself"
    }
}

/// Where it comes from, in words.
fn origin(undone: &Undone) -> Origin {
    let proof = "with that undone it has the checksum of the local database";
    Origin {
        location: "the damaged file itself".into(),
        trust: vec![undone.what.clone(), proof.into()],
        vouched: false,
    }
}
