//! rpm's own database, `Packages.db` of SUSE (`lib/backend/ndb/rpmpkg.c`): a table of slots at the beginning says where each
//! header is; each header has an Adler-32 checksum behind it. Numbers are little-endian.

use super::chain::{Blob, Blobs, Pages, Piece};
use crate::Error;
use crate::store::{Complaints, Store};

/// "RpmP", "Slot", "BlbS", "BlbE".
const HEADER: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT: u32 = u32::from_le_bytes(*b"Slot");
const BLOB_HEAD: u32 = u32::from_le_bytes(*b"BlbS");
const BLOB_TAIL: u32 = u32::from_le_bytes(*b"BlbE");

const HEADER_SIZE: u64 = 32;
const SLOT_SIZE: usize = 16;
const BLOCK: u64 = 16;
const PAGE: u64 = 4096;
const HEAD_SIZE: u64 = 16;
const TAIL_SIZE: u64 = 12;

/// The file.
#[derive(Debug)]
pub(super) struct Ndb {
    store: Store,
    slots: u64,
}

impl Ndb {
    pub(super) fn open(store: Store) -> Result<Ndb, Error> {
        let mut header = [0; HEADER_SIZE as usize];
        store.read_at(0, &mut header)?;
        if le32(&header, 0) != HEADER || le32(&header, 4) != 0 {
            return Err(store.damaged(
                0,
                "it is no rpm database of version 0 (\"RpmP\" is missing)",
            ));
        }
        let slots = u64::from(le32(&header, 12)) * PAGE;
        if slots > store.length() || slots == 0 {
            return Err(store.damaged(12, "the table of slots does not fit"));
        }
        Ok(Ndb { store, slots })
    }

    /// What `slot` leads to; `None` when it is free.
    fn blob(&self, slot: &[u8], at: u64) -> Result<Option<Blob>, Error> {
        let damaged = |why: &str| Err(self.store.damaged(at, why));
        let (package, block, count) = (le32(slot, 4), le32(slot, 8), le32(slot, 12));
        if le32(slot, 0) != SLOT {
            return damaged("there is no slot (\"Slot\" is missing)");
        }
        if package == 0 {
            return Ok(None);
        }
        let (from, room) = (u64::from(block) * BLOCK, u64::from(count) * BLOCK);
        if from < self.slots || room < HEAD_SIZE + TAIL_SIZE || from + room > self.store.length() {
            return damaged("a slot leads out of the file");
        }
        let mut head = [0; HEAD_SIZE as usize];
        self.store.read_at(from, &mut head)?;
        let length = u64::from(le32(&head, 12));
        if le32(&head, 0) != BLOB_HEAD || le32(&head, 4) != package {
            let why = format!("the header of package number {package} is not where its slot says");
            return Err(self.store.damaged(from, why));
        }
        if length > room - HEAD_SIZE - TAIL_SIZE {
            return damaged("a header does not fit into its room");
        }
        Ok(Some(Blob {
            length,
            first: Piece {
                in_log: false,
                offset: from + HEAD_SIZE,
                length,
                next: 0,
            },
        }))
    }
}

impl Pages for Ndb {
    fn store(&self, _log: bool) -> &Store {
        &self.store
    }

    fn piece(&self, _page: u32) -> Result<Piece, Error> {
        Err(self.store.damaged(0, "a record goes on nowhere"))
    }

    fn blobs(&self, complaints: &Complaints) -> Result<Vec<Blob>, Error> {
        let mut blobs = Blobs::new(self.store.length());
        let mut page = vec![0; PAGE as usize];
        let mut from = HEADER_SIZE;
        while from < self.slots {
            let length = (PAGE - from % PAGE) as usize;
            self.store.read_at(from, &mut page[..length])?;
            for (index, slot) in page[..length].chunks_exact(SLOT_SIZE).enumerate() {
                match self.blob(slot, from + (index * SLOT_SIZE) as u64) {
                    Ok(Some(blob)) => blobs.push(blob, &self.store)?,
                    Ok(None) => {}
                    Err(error) => complaints.add(error.to_string()),
                }
            }
            from += length as u64;
        }
        // As they lie on the disk.
        let mut blobs = blobs.into_vec();
        blobs.sort_by_key(|blob| blob.first.offset);
        Ok(blobs)
    }

    /// Adler-32 (RFC 1950) over everything from the head to the tail, with what fills up the last block.
    fn check(&self, blob: &Blob) -> Result<(), Error> {
        let mut at = blob.first.offset - HEAD_SIZE;
        let tail =
            (blob.first.offset + blob.length + TAIL_SIZE).next_multiple_of(BLOCK) - TAIL_SIZE;
        let mut sum = Adler(1, 0);
        let mut buffer = vec![0; 32 << 10];
        while at < tail {
            let some = (tail - at).min(buffer.len() as u64) as usize;
            self.store.read_at(at, &mut buffer[..some])?;
            sum.update(&buffer[..some]);
            at += some as u64;
        }
        let mut stored = [0; TAIL_SIZE as usize];
        self.store.read_at(tail, &mut stored)?;
        if le32(&stored, 8) != BLOB_TAIL || le32(&stored, 0) != sum.value() {
            let why = "the header of a package is not as it was written (Adler-32)";
            return Err(self.store.damaged(blob.first.offset, why));
        }
        Ok(())
    }
}

struct Adler(u32, u32);

impl Adler {
    const MODULUS: u32 = 65521;

    fn update(&mut self, bytes: &[u8]) {
        // As many as fit before a sum overflows.
        for some in bytes.chunks(5552) {
            for &byte in some {
                self.0 += u32::from(byte);
                self.1 += self.0;
            }
            self.0 %= Self::MODULUS;
            self.1 %= Self::MODULUS;
        }
    }

    fn value(&self) -> u32 {
        self.1 << 16 | self.0
    }
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_le_bytes)
}
