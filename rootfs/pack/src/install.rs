//! From packed groups to files in their places: unpacked into a folder beside them, then renamed one by one.
//! Until the first rename nothing is to be seen, and what makes a rename fail is looked for before.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use xz2::read::XzDecoder;
use xz2::stream::Stream;

use crate::Error;
use crate::cpio::{self, Entry};
use crate::place::Place;

/// What the folder is called; a process number follows.
const STAGING: &str = ".pack-";
/// More than any dictionary here: the memory for it was checked before.
const DECODER_MEMORY: u64 = 1 << 30;

/// Files that wait to be renamed; those that are left go with it.
#[derive(Debug)]
pub(crate) struct Staging {
    root: PathBuf,
    folder: PathBuf,
    entries: Vec<Entry>,
}

impl Staging {
    /// Makes the folder, and removes those that a killed process left. The lock must be held.
    pub(crate) fn new(place: &Place) -> Result<Staging, Error> {
        let folder = place.root.join(format!("{STAGING}{}", std::process::id()));
        let fail = |source| Error::State {
            path: folder.clone(),
            source,
        };
        for entry in fs::read_dir(&place.root).map_err(fail)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(STAGING) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(fail)?;
        Ok(Staging {
            root: place.root.clone(),
            folder,
            entries: Vec::new(),
        })
    }

    /// Unpacks a group, whose digest was right.
    pub(crate) fn unpack(&mut self, packed: &[u8]) -> io::Result<()> {
        let stream = Stream::new_stream_decoder(DECODER_MEMORY, 0)?;
        let mut archive = XzDecoder::new_stream(packed, stream);
        cpio::unpack(&mut archive, &self.folder, &mut self.entries)
    }

    /// Puts everything in its place.
    pub(crate) fn install(self) -> Result<(), Error> {
        let root = self.root.canonicalize().map_err(|source| Error::State {
            path: self.root.clone(),
            source,
        })?;
        let device = fs::metadata(&self.folder).map_or(0, |m| m.dev());
        for entry in &self.entries {
            self.check(entry, &root, device)?;
        }
        for entry in &self.entries {
            let fail = |error: io::Error| Error::Install {
                path: entry.path.clone(),
                why: error.to_string(),
            };
            let to = self.root.join(&entry.path);
            match entry.directory {
                Some(mode) => {
                    if !to.is_dir() {
                        make_folders(&to).map_err(fail)?;
                        let mode = fs::Permissions::from_mode(mode);
                        fs::set_permissions(&to, mode).map_err(fail)?;
                    }
                }
                None => {
                    make_folders(to.parent().unwrap_or(&self.root)).map_err(fail)?;
                    fs::rename(self.folder.join(&entry.path), &to).map_err(fail)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a rename could fail, or do what nobody wants.
    fn check(&self, entry: &Entry, root: &Path, device: u64) -> Result<(), Error> {
        let fail = |why: String| Error::Install {
            path: entry.path.clone(),
            why,
        };
        let to = self.root.join(&entry.path);
        // Following links, as /sbin is one.
        let is_folder = to.is_dir();
        let is_there = fs::symlink_metadata(&to).is_ok();
        if entry.directory.is_some() && is_there && !is_folder {
            return Err(fail("a file is there, where a folder should be".into()));
        }
        if entry.directory.is_none() && is_folder {
            return Err(fail("a folder is there, where a file should be".into()));
        }
        // The nearest folder above that is there.
        let mut above = to.parent();
        while let Some(folder) = above
            && fs::symlink_metadata(folder).is_err()
        {
            above = folder.parent();
        }
        let folder = above.unwrap_or(&self.root);
        let real = folder
            .canonicalize()
            .map_err(|e| fail(format!("{}: {e}", folder.display())))?;
        let metadata = fs::metadata(&real).map_err(|e| fail(e.to_string()))?;
        if !metadata.is_dir() {
            return Err(fail(format!("{} is no folder", folder.display())));
        }
        if !real.starts_with(root) || metadata.dev() != device {
            return Err(fail(format!("{} is elsewhere", folder.display())));
        }
        Ok(())
    }
}

fn make_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
