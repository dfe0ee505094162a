//! A stamped file in place of another, or beside it: whoever looks finds the old one or the new one.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::ioctl_ficlone;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}: {source}", path.display())]
pub struct Error {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Something that failed with `path`.
pub(super) fn failed<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error {
        what,
        path: path.to_path_buf(),
        source,
    }
}

/// Where nothing stands, nothing is written.
const HOLE: usize = 4096;

/// A new file in the making, beside its target. Dropped without [`New::commit`], it goes away.
#[derive(Debug)]
pub(super) struct New {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_done: bool,
}

impl New {
    /// Starts a new `target`, readable by its owner alone until it is done.
    pub(super) fn start(target: &Path) -> Result<New, Error> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(".stamping");
        let path = target.with_file_name(name);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)
                .map_err(failed("write", &path))?;
            // What a killed process left is unlocked, and used again.
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let busy = io::Error::other("another stamp of it is being written");
                    return Err(failed("write", &path)(busy));
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
            }
            // Between opening and locking it may have become somebody's target.
            let same = fs::symlink_metadata(&path)
                .and_then(|named| Ok(named.ino() == file.metadata()?.ino()));
            if same.unwrap_or(false) {
                file.set_len(0).map_err(failed("write", &path))?;
                return Ok(New {
                    file,
                    path,
                    target: target.to_path_buf(),
                    is_done: false,
                });
            }
        }
    }

    /// Makes it the same as `source`, whose bytes are `bytes`, with `patch` at `offset`: sharing what
    /// stays where the file system can, without its holes elsewhere.
    pub(super) fn copy(
        &mut self,
        source: &File,
        bytes: &[u8],
        offset: usize,
        patch: &[u8],
    ) -> Result<(), Error> {
        let written = if ioctl_ficlone(&self.file, source).is_ok() {
            Ok(())
        } else {
            self.write_sparsely(bytes)
        };
        written
            .and_then(|()| self.file.write_all_at(patch, offset as u64))
            .map_err(failed("write", &self.path))
    }

    fn write_sparsely(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.set_len(bytes.len() as u64)?;
        let is_hole = |block: &[u8]| block == &[0; HOLE][..block.len()];
        let mut at = 0;
        // Runs of blocks with something in them, each in one write.
        while at < bytes.len() {
            let rest = &bytes[at..];
            let mut length = 0;
            for block in rest.chunks(HOLE).take_while(|block| !is_hole(block)) {
                length += block.len();
            }
            if length > 0 {
                self.file.seek(SeekFrom::Start(at as u64))?;
                self.file.write_all(&rest[..length])?;
            }
            at += length.max(HOLE);
        }
        Ok(())
    }

    /// Makes `content` its content.
    pub(super) fn fill(&mut self, content: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(content)
            .map_err(failed("write", &self.path))
    }

    /// Gives it this mode, and writes it back if `lasting`: so that a power cut after the rename
    /// finds it whole.
    pub(super) fn finish(&mut self, mode: u32, lasting: bool) -> Result<(), Error> {
        let finished = self
            .file
            .set_permissions(Permissions::from_mode(mode))
            .and_then(|()| {
                if lasting {
                    self.file.sync_all()
                } else {
                    Ok(())
                }
            });
        finished.map_err(failed("write back", &self.path))
    }

    /// Puts it in place of its target.
    pub(super) fn commit(mut self) -> Result<(), Error> {
        fs::rename(&self.path, &self.target).map_err(failed("replace", &self.target))?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if !self.is_done {
            // The next stamp of the same target takes over what cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Replaces `target`, with its mode.
pub(super) fn replace(target: &Path, content: &[u8], lasting: bool) -> Result<(), Error> {
    let mode = fs::metadata(target).map_or(0o644, |metadata| metadata.permissions().mode());
    let mut new = New::start(target)?;
    new.fill(content)?;
    new.finish(mode & 0o777, lasting)?;
    new.commit()
}

/// A copy of the folder at `source` and all that is in it, sharing the files' bytes where the file
/// system can.
pub(super) fn copy_folder(source: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir(to).map_err(failed("make the folder", to))?;
    let entries = fs::read_dir(source).map_err(failed("read", source))?;
    for entry in entries {
        let from = entry.map_err(failed("read", source))?.path();
        let to = to.join(from.file_name().unwrap_or_default());
        let metadata = fs::metadata(&from).map_err(failed("read", &from))?;
        if metadata.is_dir() {
            copy_folder(&from, &to)?;
            continue;
        }
        let file = File::open(&from).map_err(failed("read", &from))?;
        let new = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(metadata.permissions().mode() & 0o777)
            .open(&to)
            .map_err(failed("write", &to))?;
        if ioctl_ficlone(&new, &file).is_err() {
            fs::copy(&from, &to).map_err(failed("write", &to))?;
        }
    }
    let mode = fs::metadata(source).map_err(failed("read", source))?;
    fs::set_permissions(to, mode.permissions()).map_err(failed("write", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_patch_and_the_holes() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        let mut bytes = vec![0; 1 << 20];
        bytes[5000] = 1;
        bytes[900_000..].fill(2);
        fs::write(&from, &bytes).unwrap();
        let mut new = New::start(&to).unwrap();
        let source = File::open(&from).unwrap();
        new.copy(&source, &bytes, 899_990, &[7; 20]).unwrap();
        new.finish(0o640, true).unwrap();
        new.commit().unwrap();
        bytes[899_990..900_010].fill(7);
        assert_eq!(fs::read(&to).unwrap(), bytes);
        let metadata = fs::metadata(&to).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert!(
            metadata.blocks() * 512 < 400_000,
            "{} blocks",
            metadata.blocks()
        );
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_given_up_leaves_the_old_file_and_no_other() {
        let scratch = tempfile::tempdir().unwrap();
        let target = scratch.path().join("kedge.iso");
        fs::write(&target, "old").unwrap();
        let mut new = New::start(&target).unwrap();
        new.fill(b"half").unwrap();
        let error = New::start(&target).unwrap_err().to_string();
        assert!(error.contains("another stamp"), "{error}");
        drop(new);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
        // And killed, so that nothing was dropped:
        fs::write(scratch.path().join("kedge.iso.stamping"), "a longer half").unwrap();
        replace(&target, b"new", true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
