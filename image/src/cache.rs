//! What takes long to make and may be kept: entries outside the checkout, checked by hash.
//!
//! An entry is a folder with a `SHA256SUMS` over its files. It is made beside its place and
//! renamed when it is complete; two builds that want the same one take turns.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::progress::Progress;
use crate::sha256;

/// The digests of an entry's files, written last.
const SUMS: &str = "SHA256SUMS";

/// Suffix of the folder in which an entry is being made.
const PARTIAL: &str = ".partial";

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no place for it.
    #[error("neither XDG_CACHE_HOME nor HOME is set, so there is no place for what a build keeps")]
    NoHome,
    /// It cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why there is no entry: the cache itself, or what makes the entry.
#[derive(Debug)]
pub enum EntryError<E> {
    /// The cache.
    Cache(Error),
    /// What `make` returned.
    Make(E),
}

/// Something that failed with `path`.
fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io {
        what,
        path: path.to_path_buf(),
        source,
    }
}

/// A folder of entries.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$XDG_CACHE_HOME/kedge`, or `~/.cache/kedge` (XDG Base Directory Specification).
    ///
    /// # Errors
    /// When neither variable is set, or the folder cannot be made.
    pub fn open() -> Result<Cache, Error> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
        };
        let base = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .ok_or(Error::NoHome)?;
        Cache::at(base.join("kedge"))
    }

    /// A cache in the folder `root`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn at(root: PathBuf) -> Result<Cache, Error> {
        fs::create_dir_all(&root).map_err(failed("make the folder", &root))?;
        Ok(Cache { root })
    }

    /// Where `name`'s log goes: it outlives a failed attempt.
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.log"))
    }

    /// A folder for files that are named by their digest, and checked by who uses them.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder).map_err(failed("make the folder", &folder))?;
        Ok(folder)
    }

    /// The folder of entry `name`. When it is not there, or damaged, `make` fills a new one.
    ///
    /// # Errors
    /// What `make` returned, or what kept the cache from keeping it.
    pub fn entry<E>(
        &self,
        name: &str,
        progress: &dyn Progress,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, EntryError<E>> {
        let _lock = self.lock(name, progress).map_err(EntryError::Cache)?;
        let place = self.root.join(name);
        match check(&place) {
            Ok(()) => return Ok(place),
            Err(Damage::Missing) => {}
            Err(Damage::Found(what)) => {
                progress.note(&format!(
                    "{what} in {} is damaged; making it anew",
                    place.display()
                ));
            }
        }
        self.clear_abandoned();
        let partial = self.root.join(format!("{name}{PARTIAL}"));
        let result = (|| {
            for folder in [&partial, &place] {
                remove(folder).map_err(EntryError::Cache)?;
            }
            fs::create_dir(&partial)
                .map_err(|source| EntryError::Cache(failed("make the folder", &partial)(source)))?;
            make(&partial).map_err(EntryError::Make)?;
            seal(&partial)
                .and_then(|()| fs::rename(&partial, &place).map_err(failed("put in place", &place)))
                .map_err(EntryError::Cache)
        })();
        // Whatever failed: what is half made is large, and no use to anybody.
        let _ = remove(&partial);
        result.map(|()| place)
    }

    /// Removes what builds left that were killed while they made an entry: gigabytes, and with
    /// another key nobody would come back to them. Only to save space, so what fails is passed over.
    fn clear_abandoned(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().and_then(|n| n.strip_suffix(PARTIAL)) else {
                continue;
            };
            // Whoever is still at it holds this; for our own entry we do, and clear it ourselves.
            let lock = File::open(self.root.join(format!("{name}.lock")));
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                let _ = remove(&entry.path());
            }
        }
    }

    fn lock(&self, name: &str, progress: &dyn Progress) -> Result<File, Error> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(failed("make the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                progress.note(&format!("another build is making {name}; waiting for it"));
                file.lock().map_err(failed("lock", &path))?;
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
        }
        Ok(file)
    }
}

/// What is wrong with an entry.
enum Damage {
    Missing,
    /// Which file.
    Found(String),
}

/// Reads every file of an entry and compares its digest.
fn check(place: &Path) -> Result<(), Damage> {
    let sums = match fs::read_to_string(place.join(SUMS)) {
        Ok(sums) => sums,
        Err(_) if !place.exists() => return Err(Damage::Missing),
        Err(_) => return Err(Damage::Found(SUMS.into())),
    };
    let mut count = 0;
    for line in sums.lines() {
        let (digest, name) = line
            .split_once("  ")
            .ok_or_else(|| Damage::Found(SUMS.to_string()))?;
        match sha256::of_file(&place.join(name)) {
            Ok((found, _)) if found == digest => count += 1,
            _ => return Err(Damage::Found(name.to_string())),
        }
    }
    if count == 0 {
        Err(Damage::Found(SUMS.into()))
    } else {
        Ok(())
    }
}

/// Writes the digests of all files of `folder`, which has no folders in it.
fn seal(folder: &Path) -> Result<(), Error> {
    let mut sums = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        let (digest, _) = sha256::of_file(&path).map_err(failed("read", &path))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        sums.push(format!("{digest}  {name}\n"));
    }
    sums.sort();
    let path = folder.join(SUMS);
    fs::write(&path, sums.concat()).map_err(failed("write", &path))
}

fn remove(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Makes an entry with one file, and counts how often.
    fn get(cache: &Cache, made: &AtomicU32) -> PathBuf {
        cache
            .entry("thing", &Silent, |folder| {
                made.fetch_add(1, Ordering::SeqCst);
                fs::write(folder.join("file"), "content")
            })
            .unwrap()
    }

    #[test]
    fn an_entry_is_made_once() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().into()).unwrap();
        let made = AtomicU32::new(0);
        let first = get(&cache, &made);
        assert_eq!(get(&cache, &made), first);
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "content");
    }

    #[test]
    fn a_damaged_entry_is_made_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().into()).unwrap();
        let made = AtomicU32::new(0);
        let damages: [fn(&Path); 4] = [
            |place| fs::write(place.join("file"), "cOntent").unwrap(),
            |place| fs::remove_file(place.join("file")).unwrap(),
            |place| fs::write(place.join(SUMS), "").unwrap(),
            |place| fs::write(place.join(SUMS), "no sums\n").unwrap(),
        ];
        for damage in damages {
            damage(&get(&cache, &made));
        }
        assert_eq!(
            fs::read_to_string(get(&cache, &made).join("file")).unwrap(),
            "content"
        );
        assert_eq!(made.load(Ordering::SeqCst), 5);
    }

    #[test]
    fn a_failed_attempt_leaves_nothing_but_its_log() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().into()).unwrap();
        let result = cache.entry("thing", &Silent, |folder| {
            fs::write(folder.join("half"), "x").unwrap();
            fs::write(cache.log("thing"), "why").unwrap();
            Err("failed")
        });
        assert!(matches!(result, Err(EntryError::Make("failed"))));
        let mut left: Vec<_> = fs::read_dir(scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["thing.lock", "thing.log"]);
    }

    #[test]
    fn what_a_killed_build_left_is_cleared_but_not_what_one_is_at() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().into()).unwrap();
        for name in ["killed", "running"] {
            let half = scratch.path().join(format!("{name}{PARTIAL}"));
            fs::create_dir(&half).unwrap();
            fs::write(half.join("half"), "x").unwrap();
        }
        drop(cache.lock("killed", &Silent).unwrap());
        let running = cache.lock("running", &Silent).unwrap();
        get(&cache, &AtomicU32::new(0));
        assert!(!scratch.path().join("killed.partial").exists());
        assert!(scratch.path().join("running.partial/half").exists());
        drop(running);
    }

    #[test]
    fn two_that_want_the_same_entry_take_turns() {
        let scratch = tempfile::tempdir().unwrap();
        let cache = Cache::at(scratch.path().into()).unwrap();
        let made = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| get(&cache, &made));
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }
}
