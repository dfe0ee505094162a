//! The folder of artefacts: written beside, then put in place in one rename, by one build at a
//! time.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::manifest::MANIFEST;
use crate::progress::Progress;

/// Why the folder cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}")]
pub struct Error {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Something that failed with `path`.
fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error {
        what,
        path: path.to_path_buf(),
        source,
    }
}

/// The right to build in a checkout; given up when dropped, also when the process is killed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until no other build runs that uses the lock file at `path`.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub fn take(path: &Path, progress: &dyn Progress) -> Result<Lock, Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
        }
        let file = File::create(path).map_err(failed("make the lock file", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                progress.note("another build runs in this checkout; waiting until it has ended");
                file.lock().map_err(failed("lock", path))?;
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", path)(source)),
        }
        Ok(Lock { _file: file })
    }
}

/// A folder in the making. Dropped without [`Staging::commit`], it goes away.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    target: PathBuf,
    readers: Readers,
}

/// Who may read the folder and its files, as far as the umask lets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Everybody on the build host.
    Everybody,
    /// The user that builds, from the first byte on: there is a secret in it.
    Owner,
}

impl Staging {
    /// Starts a new `target`, removing what an interrupted build left. The caller holds the
    /// [`Lock`].
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn start(target: &Path, readers: Readers) -> Result<Staging, Error> {
        let _gate = gate();
        clear_abandoned(target)?;
        let folder = staging_folder(target);
        let mode = match readers {
            Readers::Everybody => 0o777,
            Readers::Owner => 0o700,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&folder)
            .map_err(failed("make the folder", &folder))?;
        Ok(Staging {
            folder,
            target: target.to_path_buf(),
            readers,
        })
    }

    /// Where to write.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file at `name` in the folder, and the folders above it.
    ///
    /// # Errors
    /// When it cannot be written whole: a full disk, above all.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
        let _gate = gate();
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
        }
        // The folder keeps others out; a file that is copied elsewhere takes its mode along.
        let mode = match self.readers {
            Readers::Everybody => 0o666,
            Readers::Owner => 0o600,
        };
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(content))
            .map_err(failed("write", &path))?;
        Ok(path)
    }

    /// Puts the folder in place of the target in one step. What was there is removed after.
    ///
    /// # Errors
    /// When the disk is full or the rename fails; the old target is whole then.
    pub fn commit(self) -> Result<(), Error> {
        sync_tree(&self.folder)?;
        let _gate = gate();
        if self.target.exists() {
            renameat_with(CWD, &self.folder, CWD, &self.target, RenameFlags::EXCHANGE)
                .map_err(|errno| failed("replace", &self.target)(errno.into()))?;
        } else {
            fs::rename(&self.folder, &self.target).map_err(failed("put in place", &self.target))?;
        }
        if let Some(parent) = self.target.parent() {
            File::open(parent)
                .and_then(|folder| folder.sync_all())
                .map_err(failed("write back", parent))?;
        }
        Ok(()) // dropping self removes the old folder, which now has the staging folder's name
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next build.
        let _ = remove(&self.folder);
    }
}

/// Held while a folder in the making is written or put in place, so that [`abandon`] never removes
/// what has just become the target.
static GATE: Mutex<()> = Mutex::new(());

fn gate() -> MutexGuard<'static, ()> {
    // Whoever panicked under it left the file system as a killed process would.
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives up the new `target` that another thread is making: for a handler of ctrl-C, which ends the
/// process next. The other thread writes nothing after this.
pub fn abandon(target: &Path) {
    let gate = gate();
    // Programs that were started may still write for a moment, until the signal has ended them.
    for _ in 0..100 {
        if remove(&staging_folder(target)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::mem::forget(gate);
}

/// Removes what an interrupted build of `target` left. The caller holds the [`Lock`].
///
/// # Errors
/// When it cannot be removed.
pub fn clear_abandoned(target: &Path) -> Result<(), Error> {
    remove(&staging_folder(target))
}

/// Where a new `target` is made: beside it, so that a rename is enough.
pub fn staging_folder(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    target.with_file_name(name)
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove the left-over folder", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Writes back every file and folder, so that a power cut after the rename finds them whole, and
/// a full disk is noticed before it.
fn sync_tree(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(failed("write back", &path))?;
        }
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("write back", folder))
}

/// Refuses to replace a folder that holds something else than artefacts, such as somebody's home.
///
/// # Errors
/// When it does, or cannot be read.
pub fn refuse_foreign(target: &Path) -> Result<(), Error> {
    let is_empty = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("replace", target)(error)),
    };
    // As little of it as every version writes.
    let is_ours = fs::read_to_string(target.join(MANIFEST))
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .is_some_and(|manifest| manifest["name"] == "kedge");
    if is_empty || is_ours {
        return Ok(());
    }
    let why = "it holds no artefacts of kedge's, but something else; name another folder";
    Err(failed("replace", target)(io::Error::other(why)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_commit_replaces_the_whole_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("out");
        for (name, content) in [("old", "1"), ("netboot/new", "2")] {
            let staging = Staging::start(&target, Readers::Everybody).unwrap();
            staging.write(name, content.as_bytes()).unwrap();
            staging.commit().unwrap();
        }
        assert_eq!(fs::read_to_string(target.join("netboot/new")).unwrap(), "2");
        assert!(!target.join("old").exists());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_abandoned_build_leaves_the_old_folder_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("out");
        let staging = Staging::start(&target, Readers::Everybody).unwrap();
        staging.write("file", b"whole").unwrap();
        staging.commit().unwrap();
        let staging = Staging::start(&target, Readers::Everybody).unwrap();
        staging.write("file", b"half").unwrap();
        drop(staging);
        assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "whole");
        // And killed, so that nothing was dropped:
        fs::create_dir(staging_folder(&target)).unwrap();
        fs::write(staging_folder(&target).join("debris"), "x").unwrap();
        Staging::start(&target, Readers::Everybody)
            .unwrap()
            .commit()
            .unwrap();
        assert!(!target.join("debris").exists());
    }

    #[test]
    fn a_full_disk_names_the_file_and_leaves_the_old_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("out");
        Staging::start(&target, Readers::Everybody)
            .unwrap()
            .commit()
            .unwrap();
        let staging = Staging::start(&target, Readers::Everybody).unwrap();
        std::os::unix::fs::symlink("/dev/full", staging.folder().join("kedge.iso")).unwrap();
        let error = staging.write("kedge.iso", b"bytes").unwrap_err();
        assert!(
            error.to_string().contains("kedge.iso: No space left"),
            "{error}"
        );
        drop(staging);
        assert!(target.exists());
    }

    #[test]
    fn what_holds_a_secret_is_the_owners_from_its_first_byte_on() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("out");
        // There is an open one already, which is replaced.
        let staging = Staging::start(&target, Readers::Everybody).unwrap();
        staging.write("netboot/file", b"open").unwrap();
        staging.commit().unwrap();
        assert_eq!(mode(&target) & 0o500, 0o500);
        let staging = Staging::start(&target, Readers::Owner).unwrap();
        assert_eq!(mode(staging.folder()), 0o700);
        let file = staging.write("netboot/file", b"secret").unwrap();
        assert_eq!(mode(&file), 0o600);
        staging.commit().unwrap();
        assert_eq!(mode(&target), 0o700);
        assert_eq!(mode(&target.join("netboot/file")), 0o600);
    }

    #[test]
    fn a_folder_of_somebody_elses_is_not_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("out");
        refuse_foreign(&target).unwrap();
        fs::create_dir(&target).unwrap();
        refuse_foreign(&target).unwrap();
        fs::write(target.join("thesis.tex"), "years of work").unwrap();
        let error = refuse_foreign(&target).unwrap_err().to_string();
        assert!(error.contains("no artefacts"), "{error}");
        fs::write(target.join(MANIFEST), r#"{"name": "somebody else's"}"#).unwrap();
        assert!(refuse_foreign(&target).is_err());
        fs::write(target.join(MANIFEST), r#"{"name": "kedge"}"#).unwrap();
        refuse_foreign(&target).unwrap();
        assert!(refuse_foreign(&target.join("thesis.tex")).is_err());
    }

    #[test]
    fn builds_take_turns() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        let first = Lock::take(&path, &Silent).unwrap();
        let released = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _lock = Lock::take(&path, &Silent).unwrap();
                assert!(
                    released.load(Ordering::SeqCst),
                    "the second build did not wait"
                );
            });
            std::thread::sleep(Duration::from_millis(300));
            released.store(true, Ordering::SeqCst);
            drop(first);
            second.join().unwrap();
        });
    }
}
