//! One package file: its members stream by, and those that are wanted go to their places.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kedge_archive::{Member, MemberKind};
use kedge_packages::{Database, Kind};
use kedge_progress::interrupt;

use crate::plan::Task;
use crate::replace::{Done, Source, Workshop, digest};
use crate::{Error, folder};

/// More folders than any package's are not remembered.
const MOST_FOLDERS: usize = 1 << 16;

/// What became of each task, in their order.
pub(crate) type Results = Vec<Result<Done, Error>>;

/// Repairs `tasks`, all of one package, out of `file`.
pub(crate) fn repair(
    workshop: &Workshop,
    tasks: &[&Task],
    source: &Source,
    file: &mut File,
) -> Results {
    let mut pass = Pass {
        workshop,
        tasks,
        source,
        wanted: HashMap::new(),
        folders: HashMap::new(),
        links: Vec::new(),
        results: tasks.iter().map(|_| None).collect(),
    };
    for (index, task) in tasks.iter().enumerate() {
        pass.wanted.insert(merged(&task.member), index);
    }
    let first = pass.read(file);
    // Hard links lead to members that came before: their content is there now, or is read once more.
    let second = match std::mem::take(&mut pass.links) {
        links if links.is_empty() || first.is_err() => Ok(()),
        links => pass.link(links).and_then(|()| pass.read(file)),
    };
    let failed = first.and(second).err();
    let interrupted = matches!(failed, Some(Error::Interrupted));
    let mut failed = failed.map(|error| error.to_string());
    let result = |(task, result): (&&Task, Option<Result<Done, Error>>)| {
        result.unwrap_or_else(|| match &mut failed {
            _ if interrupted => Err(Error::Interrupted),
            Some(why) => Err(Error::Word(why.clone())),
            None => Err(Error::NotInside {
                package: source.location.into(),
                path: task.member.clone(),
            }),
        })
    };
    let results = std::mem::take(&mut pass.results);
    tasks.iter().zip(results).map(result).collect()
}

/// Whether every file in a package file has the checksum that the local database has: then it is the very package that was
/// installed. How many were compared; or why not.
pub(crate) fn is_installed(
    database: &dyn Database,
    package: usize,
    file: &mut File,
) -> Result<usize, String> {
    let mut known = HashMap::new();
    database
        .entries(package, &mut |entry| {
            if let Kind::File {
                digest: Some(digest),
                ..
            } = entry.kind
            {
                known.insert(merged(&entry.path), digest);
            }
        })
        .map_err(|error| error.to_string())?;
    file.seek(SeekFrom::Start(0))
        .map_err(|error| error.to_string())?;
    let (mut same, mut other) = (0, None);
    let read = kedge_archive::read(file, &mut |member, content| {
        if interrupt::pressed_already() {
            return Ok(ControlFlow::Break(()));
        }
        if matches!(member.kind, MemberKind::File(_))
            && let Some(must) = known.get(&merged(&member.path))
        {
            if digest(content, must.algorithm())? != *must {
                other = Some(member.path.clone());
                return Ok(ControlFlow::Break(()));
            }
            same += 1;
        }
        Ok(ControlFlow::Continue(()))
    });
    read.map_err(|error| error.to_string())?;
    match other {
        Some(path) => Err(format!(
            "{} in it is not what was installed",
            path.display()
        )),
        None if same == 0 => Err("none of its files has a checksum in the local database".into()),
        None => Ok(same),
    }
}

struct Pass<'a> {
    workshop: &'a Workshop<'a>,
    tasks: &'a [&'a Task],
    source: &'a Source<'a>,
    /// What is still to come, by the name in the package.
    wanted: HashMap<PathBuf, usize>,
    folders: HashMap<PathBuf, Member>,
    /// Hard links that are wanted, and where they lead.
    links: Vec<(usize, Member, PathBuf)>,
    results: Vec<Option<Result<Done, Error>>>,
}

impl Pass<'_> {
    fn read(&mut self, file: &mut File) -> Result<(), Error> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let fail = |source: kedge_archive::Error| Error::Archive {
            location: self.source.location.into(),
            source: Box::new(source),
        };
        file.seek(SeekFrom::Start(0))
            .map_err(|error| fail(error.into()))?;
        let location = self.source.location.to_string();
        let read = kedge_archive::read(file, &mut |member, content| {
            if interrupt::pressed_already() {
                return Err(kedge_archive::Error::Caller(Box::new(Error::Interrupted)));
            }
            self.member(member, content);
            Ok(match self.wanted.is_empty() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        });
        match read {
            Ok(_) => Ok(()),
            Err(_) if interrupt::pressed_already() => Err(Error::Interrupted),
            Err(source) => Err(Error::Archive {
                location,
                source: Box::new(source),
            }),
        }
    }

    fn member(&mut self, member: &Member, content: &mut dyn Read) {
        if member.kind == MemberKind::Directory && self.folders.len() < MOST_FOLDERS {
            self.folders.insert(member.path.clone(), member.clone());
        }
        let Some(index) = self.wanted.remove(&merged(&member.path)) else {
            return;
        };
        if let MemberKind::HardLink(leads) = &member.kind {
            self.links.push((index, member.clone(), leads.clone()));
            return;
        }
        self.results[index] = Some(self.put(index, member, content));
    }

    fn put(&self, index: usize, member: &Member, content: &mut dyn Read) -> Result<Done, Error> {
        let (task, workshop) = (self.tasks[index], self.workshop);
        let (vouched, noun) = (self.source.vouched, self.source.noun);
        let (root, accounts) = (workshop.root, workshop.accounts);
        let above = folder::make_above(root, accounts, &task.path, &self.folders, vouched, noun)?;
        let mut done = match folder::is_of(task, member) {
            true => folder::put(root, accounts, task, member, vouched, noun)?,
            false => workshop.replace(task, self.source, member, content)?,
        };
        done.notes.extend(above);
        Ok(done)
    }

    /// Makes hard links to what is right already; what cannot be linked is wanted again, under the name that it leads to.
    fn link(&mut self, links: Vec<(usize, Member, PathBuf)>) -> Result<(), Error> {
        for (index, member, leads) in links {
            if interrupt::pressed_already() {
                return Err(Error::Interrupted);
            }
            let task = self.tasks[index];
            let workshop = self.workshop;
            let (root, accounts) = (workshop.root, workshop.accounts);
            let (vouched, noun) = (self.source.vouched, self.source.noun);
            let made = folder::make_above(root, accounts, &task.path, &self.folders, vouched, noun)
                .and_then(|_| workshop.link(task, self.source, &member, &leads));
            match made {
                Ok(Some(done)) => self.results[index] = Some(Ok(done)),
                Ok(None) => {
                    self.wanted.insert(merged(&leads), index);
                }
                Err(error) => self.results[index] = Some(Err(error)),
            }
        }
        Ok(())
    }
}

/// A name that is the same whether the package, or the database, knows that `/bin` is `/usr/bin`.
fn merged(path: &Path) -> PathBuf {
    let first = path.components().next();
    let moved = first.is_some_and(|first| {
        matches!(
            first.as_os_str().to_str(),
            Some("bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32")
        )
    });
    match moved {
        true => Path::new("usr").join(path),
        false => path.to_path_buf(),
    }
}
