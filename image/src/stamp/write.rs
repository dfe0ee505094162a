//! A stamped file in place of another, or beside it: whoever looks finds the old one or the new one.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::ioctl_ficlone;

use crate::sha256::Digest;

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

/// Where nothing stands in so many bytes, nothing is written.
const HOLE: usize = 4096;
/// Read at a time: what the processor's cache holds.
const CHUNK: usize = 256 << 10;

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
                // Only then: what was truncated, were it empty, ext4 writes back when it is closed.
                let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
                if !is_empty {
                    file.set_len(0).map_err(failed("write", &path))?;
                }
                return Ok(New {
                    file,
                    path,
                    target: target.to_path_buf(),
                    is_done: false,
                });
            }
        }
    }

    /// Makes it the same as `source` with `patch` at `offset`: sharing what stays where the file system
    /// can, without its holes elsewhere. Gives the digest of what it is then.
    pub(super) fn copy(
        &mut self,
        source: &File,
        offset: usize,
        patch: &[u8],
    ) -> Result<String, Error> {
        self.try_copy(source, offset, patch)
            .map_err(failed("write", &self.path))
    }

    fn try_copy(&mut self, source: &File, offset: usize, patch: &[u8]) -> io::Result<String> {
        let is_clone = ioctl_ficlone(&self.file, source).is_ok();
        let length = source.metadata()?.len();
        self.file.set_len(length)?;
        let mut digest = Digest::default();
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        while at < length {
            let size = usize::try_from(length - at).map_or(CHUNK, |rest| rest.min(CHUNK));
            let chunk = &mut chunk[..size];
            source.read_exact_at(chunk, at)?;
            let start = usize::try_from(at).map_err(io::Error::other)?;
            let (from, to) = (offset.max(start), (offset + patch.len()).min(start + size));
            if from < to {
                chunk[from - start..to - start].copy_from_slice(&patch[from - offset..to - offset]);
            }
            digest.update(chunk);
            if !is_clone {
                self.write_sparsely(at, chunk)?;
            }
            at += size as u64;
        }
        if is_clone {
            self.file.write_all_at(patch, offset as u64)?;
        }
        Ok(digest.hex())
    }

    /// Writes `bytes` at `start`, but for blocks of zeros.
    fn write_sparsely(&self, start: u64, bytes: &[u8]) -> io::Result<()> {
        let is_hole = |block: &[u8]| block == &[0; HOLE][..block.len()];
        let mut at = 0;
        // Runs of blocks with something in them, each in one write.
        while at < bytes.len() {
            let rest = &bytes[at..];
            let run = rest.chunks(HOLE).take_while(|block| !is_hole(block));
            let length: usize = run.map(<[u8]>::len).sum();
            self.file.write_all_at(&rest[..length], start + at as u64)?;
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
        // Over the border of two chunks, and where zeros end.
        let offset = 3 * CHUNK - 10;
        let digest = new.copy(&source, offset, &[7; 20]).unwrap();
        new.finish(0o640, true).unwrap();
        new.commit().unwrap();
        bytes[offset..offset + 20].fill(7);
        assert_eq!(digest, crate::sha256::hex(&bytes));
        assert_eq!(fs::read(&to).unwrap(), bytes);
        let metadata = fs::metadata(&to).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
        assert!(
            metadata.blocks() * 512 < 300_000,
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
