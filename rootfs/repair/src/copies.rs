//! `--from PLACE` where PLACE has the files themselves and no packages: the root of another system of the same release (a backup, a
//! snapshot, a healthy disk, another machine's web server), or one file that was copied from there.

use std::time::{Duration, Instant};

use kedge_sources::{Copy, From};
use kedge_sysroot::Sysroot;

use crate::plan::Task;

/// So many files are asked for before a URL is taken for no system's root.
const TRIES: usize = 3;
/// A server that makes others wait for longer than this is not asked for the next one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where files lie.
pub(crate) enum Copies {
    /// One file, whatever its name.
    One(Copy),
    /// Another system on this machine.
    Tree(Sysroot),
    /// Another system behind a web server.
    Web(String),
}

impl Copies {
    /// What `from` surely is for these files; none where it may have packages.
    pub(crate) fn of(from: &From, tasks: &[Task]) -> Option<Copies> {
        if let From::Path(path) = from
            && path.is_dir()
        {
            let other = Sysroot::open(path).ok()?;
            let has = |task: &Task| other.symlink_metadata(&task.entry.path).is_ok();
            return tasks.iter().any(has).then_some(Copies::Tree(other));
        }
        let of = |task: &Task| from.as_file(task.entry.path.file_name()?);
        tasks.iter().find_map(of).map(Copies::One)
    }

    /// What is at a place that has no packages; and what was asked for in vain.
    pub(crate) fn behind(from: &From, tasks: &[Task]) -> (Option<Copies>, Vec<String>) {
        let mut vain = Vec::new();
        let began = Instant::now();
        for task in tasks.iter().take(TRIES) {
            let copy = match from {
                From::Url(url) => Copy::below(url, &task.entry.path),
                From::Path(path) => Copy::Inside(path.clone(), task.entry.path.clone()),
            };
            let why = match (copy.is_there(), from) {
                (Ok(true), From::Url(url)) => return (Some(Copies::Web(url.clone())), vain),
                (Ok(_), _) => "it is not there".to_string(),
                (Err(why), _) => why,
            };
            vain.push(format!("{}: {why}", copy.shown()));
            if began.elapsed() > PATIENCE {
                break;
            }
        }
        (None, vain)
    }

    /// Where the file of a task lies.
    pub(crate) fn of_task(&self, task: &Task) -> Copy {
        match self {
            Copies::One(copy) => copy.clone(),
            Copies::Tree(other) => Copy::Inside(other.path().into(), task.entry.path.clone()),
            Copies::Web(url) => Copy::below(url, &task.entry.path),
        }
    }
}
