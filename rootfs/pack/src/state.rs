//! What is loaded, and how fast it came: in `/run/kedge/packs`, which ends with the system as the files do.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::place::Place;
use kedge_progress::interrupt;

use crate::Error;

/// The folder.
const FOLDER: &str = "run/kedge/packs";
/// How often somebody who waits for the lock looks.
const GLANCE: Duration = Duration::from_millis(200);

/// The folder of this system.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
    /// Which packs: what was loaded by another index is not known.
    id: String,
}

/// Held by who loads; others wait. The kernel releases it, whatever becomes of its holder.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its end")] File);

impl State {
    pub(crate) fn of(place: &Place, id: &str) -> State {
        State {
            folder: place.at(FOLDER),
            id: id.into(),
        }
    }

    /// Waits until nobody else loads; says so once by `waiting`.
    pub(crate) fn lock(&self, waiting: impl FnOnce()) -> Result<Lock, Error> {
        let path = self.folder.join("lock");
        let fail = |source| Error::State {
            path: path.clone(),
            source,
        };
        fs::create_dir_all(&self.folder).map_err(fail)?;
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .append(true)
            .open(&path)
            .map_err(fail)?;
        let mut waiting = Some(waiting);
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(errno) => return Err(fail(errno.into())),
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            if interrupt::pressed_already() {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The groups that are loaded.
    pub(crate) fn loaded(&self) -> BTreeSet<usize> {
        let text = fs::read_to_string(self.folder.join("loaded")).unwrap_or_default();
        match text.split_once('\n') {
            Some((id, groups)) if id == self.id => {
                groups.lines().filter_map(|l| l.parse().ok()).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Notes which groups are loaded.
    pub(crate) fn save_loaded(&self, groups: &BTreeSet<usize>) -> Result<(), Error> {
        let mut text = format!("{}\n", self.id);
        for group in groups {
            text += &format!("{group}\n");
        }
        self.write("loaded", &text)
    }

    /// Bytes a second, as last measured.
    pub(crate) fn rate(&self) -> Option<f64> {
        let text = fs::read_to_string(self.folder.join("rate")).ok()?;
        let rate: f64 = text.trim().parse().ok()?;
        (rate.is_finite() && rate >= 1.0).then_some(rate)
    }

    /// Notes how fast it was. A failure is none of the load's.
    pub(crate) fn save_rate(&self, bytes: u64, time: Duration) {
        let rate = bytes as f64 / time.as_secs_f64().max(0.001);
        let _ = fs::create_dir_all(&self.folder);
        let _ = self.write("rate", &format!("{rate:.0}\n"));
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.folder.join(name);
        let new = self.folder.join(format!("{name}.new"));
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| Error::State { path, source })
    }
}
