//! Package files and copies while they are needed: in memory, or in a folder that the operator named. Never on the disk that is being
//! repaired.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;

use kedge_doctor::memory;
use kedge_progress::{Progress, bytes};
use kedge_sources::Candidate;
use rustix::fs::{MemfdFlags, Mode, OFlags};

use crate::Error;

/// What the rest of the system needs meanwhile: decoders, and what it ran before.
const RESERVE: u64 = 192 << 20;

/// Fetches and proves a package or a copy. What only the whole could tell is in `candidate` then.
pub(crate) fn fetch(
    candidate: &mut Candidate,
    scratch: Option<&Path>,
    progress: &mut Progress,
) -> Result<File, Error> {
    let (mut file, room) = match scratch {
        Some(folder) => (unnamed(folder)?, u64::MAX),
        None => in_memory(candidate)?,
    };
    kedge_sources::fetch(candidate, &mut file, room, progress)
        .map_err(|error| Error::Source(Box::new(error)))?;
    file.seek(SeekFrom::Start(0))
        .map_err(|error| Error::Word(format!("cannot read what was fetched: {error}")))?;
    Ok(file)
}

/// A file without a name, which goes with this process.
fn unnamed(folder: &Path) -> Result<File, Error> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|errno| Error::System {
            doing: "keep what is fetched in",
            path: folder.into(),
            errno,
        })
}

/// A file in memory, and how long it may become.
fn in_memory(candidate: &Candidate) -> Result<(File, u64), Error> {
    let available = memory::available().unwrap_or(u64::MAX);
    let room = available.saturating_sub(RESERVE);
    if let Some(size) = candidate.size
        && size > room
    {
        return Err(Error::Word(format!(
            "{} has {}, and {} of memory are available, of which {} are needed for other things: name a folder of \
             another disk by --scratch FOLDER",
            candidate.location,
            bytes(size),
            bytes(available),
            bytes(RESERVE)
        )));
    }
    rustix::fs::memfd_create("kedge-package", MemfdFlags::CLOEXEC)
        .map(|file| (File::from(file), room))
        .map_err(|errno| Error::Word(format!("cannot keep what is fetched in memory: {errno}")))
}
