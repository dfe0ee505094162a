//! A file of a database: read at places, bounded, and every error says which file and where in it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kedge_sysroot::Sysroot;
use rustix::io::Errno;

use crate::Error;

/// The most of a line that is looked at.
const LONGEST_LINE: u64 = 64 << 10;
/// The most of a file that is taken into memory: a list of the paths of one package has seldom more than a megabyte.
pub(crate) const LARGEST: u64 = 32 << 20;
/// More complaints than that help nobody.
const MOST_COMPLAINTS: usize = 100;

/// An open file of a database.
#[derive(Debug)]
pub(crate) struct Store {
    file: File,
    path: PathBuf,
    length: u64,
}

impl Store {
    pub(crate) fn open(root: &Sysroot, path: &Path) -> Result<Store, Error> {
        let file = root.open_file(path)?;
        let path = root.outside(path);
        match file.metadata() {
            Ok(known) => Ok(Store {
                length: known.len(),
                file,
                path,
            }),
            Err(error) => Err(unread(&path, &error)),
        }
    }

    /// As seen from outside.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn damaged(&self, offset: u64, why: impl Into<String>) -> Error {
        damaged(&self.path, offset, why)
    }

    /// Fills `buffer` from `offset` on.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                let why = format!("{} bytes are wanted there; it ends before", buffer.len());
                Err(self.damaged(offset, why))
            }
            Err(error) => Err(unread(&self.path, &error)),
        }
    }

    /// Its lines from `offset` on.
    pub(crate) fn lines(&self, offset: u64) -> Lines<'_> {
        Lines {
            reader: BufReader::with_capacity(64 << 10, At(self, offset)),
            path: &self.path,
            line: Vec::new(),
            next: offset,
        }
    }
}

/// A reader that leaves the file's own position alone: several threads read one file.
struct At<'a>(&'a Store, u64);

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.file.read_at(buffer, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

/// Lines, without their ends. What is longer than [`LONGEST_LINE`] is cut off.
pub(crate) struct Lines<'a> {
    reader: BufReader<At<'a>>,
    path: &'a Path,
    line: Vec<u8>,
    next: u64,
}

impl Lines<'_> {
    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.next
    }

    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.line.clear();
        let fail = |error: std::io::Error| unread(self.path, &error);
        let mut taken = (&mut self.reader).take(LONGEST_LINE);
        let read = taken.read_until(b'\n', &mut self.line).map_err(fail)?;
        if read == 0 {
            return Ok(None);
        }
        self.next += read as u64;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else {
            self.next += self.reader.skip_until(b'\n').map_err(fail)? as u64;
        }
        Ok(Some(&self.line))
    }
}

/// A small file that need not be there; what keeps it from being read is complained of.
pub(crate) fn read_optional(
    root: &Sysroot,
    path: &str,
    complaints: &Complaints,
) -> Option<Vec<u8>> {
    match root.read(Path::new(path), LARGEST) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.is_missing() => None,
        Err(error) => {
            complaints.add(error.to_string());
            None
        }
    }
}

pub(crate) fn damaged(path: &Path, offset: u64, why: impl Into<String>) -> Error {
    Error::Damaged {
        path: path.to_path_buf(),
        offset,
        why: why.into(),
    }
}

pub(crate) fn unread(path: &Path, error: &std::io::Error) -> Error {
    Error::Read(kedge_sysroot::Error::System {
        path: path.to_path_buf(),
        errno: Errno::from_io_error(error).unwrap_or(Errno::IO),
    })
}

/// Damage that did not keep the rest from being read.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<Vec<String>>);

impl Complaints {
    pub(crate) fn add(&self, complaint: impl Into<String>) {
        let complaint = complaint.into();
        let mut complaints = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if complaints.len() < MOST_COMPLAINTS && !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }

    pub(crate) fn list(&self) -> Vec<String> {
        let complaints = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        complaints.clone()
    }
}
