//! What a client has open.

use std::collections::BTreeMap;
use std::fs::{File, ReadDir};
use std::path::PathBuf;

use super::{FAILURE, Failure};

/// So many at once. OpenSSH's number is what the kernel lets it; so is ours, nearly.
const MOST: usize = 1000;

/// A file or a folder.
#[derive(Debug)]
pub(super) enum Open {
    File(File),
    Folder { path: PathBuf, entries: ReadDir },
}

/// Everything that is open, by number.
#[derive(Debug, Default)]
pub(crate) struct Files {
    open: BTreeMap<u32, Open>,
    next: u32,
}

fn unknown() -> Failure {
    Failure::new(FAILURE, "no such handle")
}

impl Files {
    /// Keeps it, and gives the handle for it.
    pub(super) fn insert(&mut self, open: Open) -> Result<[u8; 4], Failure> {
        if self.open.len() >= MOST {
            return Err(Failure::new(FAILURE, "too many open files"));
        }
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(number, open);
        Ok(number.to_be_bytes())
    }

    pub(super) fn get(&mut self, handle: &[u8]) -> Result<&mut Open, Failure> {
        let number = u32::from_be_bytes(handle.try_into().map_err(|_| unknown())?);
        self.open.get_mut(&number).ok_or_else(unknown)
    }

    pub(super) fn file(&mut self, handle: &[u8]) -> Result<&File, Failure> {
        match self.get(handle)? {
            Open::File(file) => Ok(file),
            Open::Folder { .. } => Err(Failure::new(FAILURE, "that handle is a folder's")),
        }
    }

    /// Closes it.
    pub(super) fn remove(&mut self, handle: &[u8]) -> Result<(), Failure> {
        let number = u32::from_be_bytes(handle.try_into().map_err(|_| unknown())?);
        self.open.remove(&number).map(drop).ok_or_else(unknown)
    }
}
