//! Bytes to look at: a file or a disk, opened to read and nothing else, of which some cannot be read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// A disk's sector: what cannot be read is told in these.
pub(crate) const SECTOR: usize = 512;
/// The most of a file of no size (`/proc`) that is looked at.
const SIZELESS: u64 = 16 << 20;

/// Why something cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot open {}: {source}", crate::show_path(path))]
    Open { path: PathBuf, source: io::Error },
    #[error("{} is {what}; peek looks at files and disks", crate::show_path(path))]
    Kind { path: PathBuf, what: &'static str },
    #[error("cannot read {} at byte {offset}: {source}", crate::show_path(path))]
    Read {
        path: PathBuf,
        offset: u64,
        source: io::Error,
    },
    #[error("cannot write to stdout: {0}")]
    Stdout(io::Error),
}

/// Bytes by their offset.
pub(crate) trait Bytes {
    /// How many there are.
    fn size(&self) -> u64;
    /// As many as there are from `offset` on, up to the buffer's length.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The same into a vector. What cannot be read ends it.
    fn piece(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let count = self.read_at(offset, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }
}

impl Bytes for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|o| self.get(o..));
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl Bytes for &File {
    fn size(&self) -> u64 {
        self.metadata().map_or(0, |about| about.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(*self, buffer, offset)
    }
}

/// A file or disk.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    file: File,
    size: u64,
    /// What was read of a file that has no size.
    whole: Option<Vec<u8>>,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Source, Error> {
        let fail = |source| Error::Open {
            path: path.into(),
            source,
        };
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32)
            .open(path);
        let mut file = opened.map_err(fail)?;
        let about = file.metadata().map_err(fail)?;
        let kind = about.file_type();
        let what = match kind {
            kind if kind.is_file() || kind.is_block_device() => None,
            kind if kind.is_dir() => Some("a folder"),
            kind if kind.is_fifo() => Some("a pipe"),
            kind if kind.is_char_device() => Some("a device that is no disk"),
            _ => Some("a socket"),
        };
        if let Some(what) = what {
            let path = path.into();
            return Err(Error::Kind { path, what });
        }
        let mut size = match kind.is_block_device() {
            true => file.seek(SeekFrom::End(0)).map_err(fail)?,
            false => about.len(),
        };
        let mut whole = None;
        if size == 0 {
            let mut bytes = Vec::new();
            file.rewind().map_err(fail)?;
            (&file)
                .take(SIZELESS)
                .read_to_end(&mut bytes)
                .map_err(fail)?;
            size = bytes.len() as u64;
            whole = Some(bytes);
        }
        Ok(Source {
            path: path.into(),
            file,
            size,
            whole,
        })
    }
}

impl Bytes for Source {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(whole) = &self.whole {
            return whole.as_slice().read_at(offset, buffer);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // What came before it is read.
                Err(_) if filled > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(filled)
    }
}

/// A stretch of bytes, or one that cannot be read.
#[derive(Debug)]
pub(crate) enum Stretch {
    Read(Vec<u8>),
    Unreadable(u64, io::Error),
}

/// The next stretch from `offset` on, of at most `length` bytes; `None` at the end. After a failure it goes on with the
/// next sector.
pub(crate) fn stretch(bytes: &impl Bytes, offset: u64, length: usize) -> Option<Stretch> {
    let left = bytes.size().checked_sub(offset).filter(|&left| left > 0)?;
    let length = length.min(usize::try_from(left).unwrap_or(usize::MAX));
    let mut buffer = vec![0; length];
    let failed = match bytes.read_at(offset, &mut buffer) {
        // It has become shorter.
        Ok(0) => return None,
        Ok(count) => {
            buffer.truncate(count);
            return Some(Stretch::Read(buffer));
        }
        Err(error) => error,
    };
    // A page fails as a whole, also where only one sector of it is bad; and the first of many is not the reason.
    let sector = SECTOR - (offset % SECTOR as u64) as usize;
    buffer.truncate(sector.min(length));
    Some(match bytes.read_at(offset, &mut buffer) {
        Ok(count) if count > 0 => {
            buffer.truncate(count);
            Stretch::Read(buffer)
        }
        _ => Stretch::Unreadable(buffer.len() as u64, failed),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes of which one range fails.
    pub(crate) struct Bad(pub(crate) Vec<u8>, pub(crate) std::ops::Range<u64>);

    impl Bytes for Bad {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            let end = (offset + buffer.len() as u64).min(self.size());
            if offset < self.1.end && self.1.start < end {
                return Err(io::Error::from_raw_os_error(5));
            }
            self.0.as_slice().read_at(offset, buffer)
        }
    }

    #[test]
    fn what_cannot_be_read_is_one_sector_and_the_rest_is_read() {
        let bad = Bad(vec![7; 4096], 1024..1536);
        let (mut offset, mut seen) = (0, Vec::new());
        while let Some(stretch) = stretch(&bad, offset, 4096) {
            let (length, read) = match stretch {
                Stretch::Read(bytes) => (bytes.len() as u64, true),
                Stretch::Unreadable(length, _) => (length, false),
            };
            seen.push((offset, read));
            offset += length;
        }
        assert_eq!(seen, [(0, true), (512, true), (1024, false), (1536, true)]);
        assert_eq!(offset, 4096);
    }

    #[test]
    fn only_files_and_disks_are_opened() {
        for path in ["/", "/dev/null", "/nonexistent"] {
            assert!(Source::open(Path::new(path)).is_err(), "{path}");
        }
        let source = Source::open(Path::new("/proc/self/status")).unwrap();
        assert!(source.piece(0, 5) == b"Name:" && source.size() > 100);
    }
}
