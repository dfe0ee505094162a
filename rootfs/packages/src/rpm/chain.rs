//! Records that lie in a file in pieces: each piece says where the next one is.

use crate::Error;
use crate::store::Store;

/// Where bytes of a record are.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// In the log beside the file (SQLite's WAL) and not in the file itself.
    pub(super) in_log: bool,
    /// Where its bytes are.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) length: u64,
    /// The page that has the next piece, if there is one.
    pub(super) next: u32,
}

/// A record: the header of one package.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    /// All of it.
    pub(super) length: u64,
    /// Its beginning.
    pub(super) first: Piece,
}

/// A file of records.
pub(super) trait Pages: Send + Sync {
    /// The file, or the log beside it.
    fn store(&self, log: bool) -> &Store;

    /// The piece of a record on this page.
    fn piece(&self, page: u32) -> Result<Piece, Error>;

    /// All records; what is damaged is complained of, and the others are told.
    fn blobs(&self, complaints: &crate::store::Complaints) -> Result<Vec<Blob>, Error>;

    /// Compares a checksum of the record, where the format has one.
    fn check(&self, blob: &Blob) -> Result<(), Error> {
        let _ = blob;
        Ok(())
    }
}

/// Reads a record from its beginning.
pub(super) struct Reader<'a> {
    pages: &'a dyn Pages,
    piece: Piece,
    left: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(pages: &'a dyn Pages, blob: &Blob) -> Reader<'a> {
        Reader {
            pages,
            piece: blob.first.clone(),
            left: blob.length,
        }
    }

    /// What is still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    pub(super) fn damaged(&self, why: impl Into<String>) -> Error {
        let store = self.pages.store(self.piece.in_log);
        store.damaged(self.piece.offset, why)
    }

    /// The next `length` bytes. Memory is taken as they come: no length is believed.
    pub(super) fn read(&mut self, length: u64) -> Result<Vec<u8>, Error> {
        if length > self.left {
            return Err(self.damaged("a record is shorter than it says"));
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            if self.piece.length == 0 {
                if self.piece.next == 0 {
                    return Err(self.damaged("a record ends too early"));
                }
                let next = self.pages.piece(self.piece.next)?;
                if next.length == 0 {
                    return Err(self.damaged("a record goes on with nothing"));
                }
                self.piece = next;
            }
            let from = bytes.len();
            let count = self.piece.length.min(length - from as u64);
            bytes.resize(from + count as usize, 0);
            let store = self.pages.store(self.piece.in_log);
            store.read_at(self.piece.offset, &mut bytes[from..])?;
            self.piece.offset += count;
            self.piece.length -= count;
            self.left -= count;
        }
        Ok(bytes)
    }
}

/// More packages than any system has.
const MOST_BLOBS: usize = 1 << 18;

/// The records that were found. They do not overlap: together they cannot be longer than the file, whatever it says.
pub(super) struct Blobs {
    all: Vec<Blob>,
    room: u64,
}

impl Blobs {
    /// `room` is how long the file is.
    pub(super) fn new(room: u64) -> Blobs {
        Blobs {
            all: Vec::new(),
            room,
        }
    }

    pub(super) fn push(&mut self, blob: Blob, store: &Store) -> Result<(), Error> {
        let too_many = |why: &str| Err(store.damaged(blob.first.offset, why));
        if self.all.len() == MOST_BLOBS {
            return too_many("there are more packages than make sense");
        }
        match self.room.checked_sub(blob.length) {
            Some(room) => self.room = room,
            None => return too_many("its records are longer than itself"),
        }
        self.all.push(blob);
        Ok(())
    }

    pub(super) fn into_vec(self) -> Vec<Blob> {
        self.all
    }
}
