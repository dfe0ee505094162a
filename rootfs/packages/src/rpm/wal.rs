//! The log beside a SQLite database (sqlite.org/fileformat2.html#walformat): pages as they are after changes that have not
//! come into the database yet. A machine that lost its power leaves one behind.

use std::collections::HashMap;

use crate::Error;
use crate::store::{Complaints, Store};

/// The lowest bit says in which byte order the checksums are computed.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

/// The pages of all changes that were completed.
#[derive(Debug)]
pub(super) struct Wal {
    store: Store,
    /// Where the newest version of a page is.
    pages: HashMap<u32, u64>,
    /// How many pages the database has with these changes.
    count: u32,
}

impl Wal {
    /// `None` when there is no change in it.
    pub(super) fn open(
        store: Store,
        page_size: u64,
        complaints: &Complaints,
    ) -> Result<Option<Wal>, Error> {
        if store.length() < HEADER {
            return Ok(None);
        }
        let mut header = [0; HEADER as usize];
        store.read_at(0, &mut header)?;
        let magic = be32(&header, 0);
        let mut sum = Sum::new(magic & 1 == 1);
        sum.update(&header[..24]);
        if magic & !1 != MAGIC || !sum.is(&header[24..32]) {
            complaints.add(
                store
                    .damaged(0, "the log has no header that makes sense; it was left out")
                    .to_string(),
            );
            return Ok(None);
        }
        if be32(&header, 4) != VERSION || u64::from(be32(&header, 8)) != page_size {
            complaints.add(
                store
                    .damaged(4, "the log is not of this database; it was left out")
                    .to_string(),
            );
            return Ok(None);
        }
        let mut wal = Wal {
            store,
            pages: HashMap::new(),
            count: 0,
        };
        wal.read_frames(&header[16..24], sum, page_size)?;
        Ok((wal.count > 0).then_some(wal))
    }

    /// Frames count up to the last one that ends a change; what comes after the first that does not fit is of older logs.
    fn read_frames(&mut self, salt: &[u8], mut sum: Sum, page_size: u64) -> Result<(), Error> {
        let mut frame = vec![0; (FRAME_HEADER + page_size) as usize];
        let mut pending = Vec::new();
        let mut at = HEADER;
        while at + frame.len() as u64 <= self.store.length() {
            self.store.read_at(at, &mut frame)?;
            let (page, count) = (be32(&frame, 0), be32(&frame, 4));
            if page == 0 || &frame[8..16] != salt {
                break;
            }
            sum.update(&frame[..8]);
            sum.update(&frame[FRAME_HEADER as usize..]);
            if !sum.is(&frame[16..24]) {
                break;
            }
            pending.push((page, at + FRAME_HEADER));
            if count > 0 {
                self.pages.extend(pending.drain(..));
                self.count = count;
            }
            at += frame.len() as u64;
        }
        Ok(())
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn pages(&self) -> u32 {
        self.count
    }

    pub(super) fn find(&self, page: u32) -> Option<u64> {
        self.pages.get(&page).copied()
    }
}

/// SQLite's checksum over pairs of 32-bit numbers.
struct Sum {
    big_endian: bool,
    value: (u32, u32),
}

impl Sum {
    fn new(big_endian: bool) -> Sum {
        Sum {
            big_endian,
            value: (0, 0),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        let (mut a, mut b) = self.value;
        for pair in bytes.chunks_exact(8) {
            let number = |at: usize| {
                let number = be32(pair, at);
                if self.big_endian {
                    number
                } else {
                    number.swap_bytes()
                }
            };
            a = a.wrapping_add(number(0)).wrapping_add(b);
            b = b.wrapping_add(number(4)).wrapping_add(a);
        }
        self.value = (a, b);
    }

    fn is(&self, stored: &[u8]) -> bool {
        self.value == (be32(stored, 0), be32(stored, 4))
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_be_bytes)
}
