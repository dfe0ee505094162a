//! `Packages` of RHEL 8 and older: a hash of Berkeley DB (`dbinc/db_page.h`), from the number of a header to the header, which
//! mostly lies on overflow pages. The byte order is that of the machine that made it.
//!
//! Not read: encrypted and checksummed databases, and B-trees; rpm makes none.

use super::chain::{Blob, Blobs, Pages, Piece};
use crate::Error;
use crate::store::{Complaints, Store};

/// `DB_HASHMAGIC`, and the versions whose pages look like this.
const HASH_MAGIC: u32 = 0x0006_1561;
const VERSIONS: std::ops::RangeInclusive<u32> = 7..=10;

/// Page types.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH_META: u8 = 8;
const HASH: u8 = 13;

/// Item types on a hash page.
const KEY_DATA: u8 = 1;
const OFF_PAGE: u8 = 3;

const PAGE_HEADER: usize = 26;
const OFF_PAGE_SIZE: usize = 12;

/// The file.
#[derive(Debug)]
pub(super) struct Berkeley {
    store: Store,
    page_size: u64,
    pages: u32,
    big_endian: bool,
    /// The first page of each bucket.
    buckets: Vec<u32>,
}

impl Berkeley {
    pub(super) fn open(store: Store) -> Result<Berkeley, Error> {
        let mut meta = [0; 512];
        store.read_at(0, &mut meta)?;
        let big_endian = u32_at(&meta, 12, true) == HASH_MAGIC;
        let number = |at| u32_at(&meta, at, big_endian);
        if number(12) != HASH_MAGIC || meta[25] != HASH_META {
            return Err(store.damaged(12, "it is no hash of Berkeley DB"));
        }
        if !VERSIONS.contains(&number(16)) {
            let why = format!("version {} of Berkeley DB's hash is not known", number(16));
            return Err(store.damaged(16, why));
        }
        let page_size = u64::from(number(20));
        if !page_size.is_power_of_two() || !(512..=65536).contains(&page_size) {
            return Err(store.damaged(20, "the size of its pages makes no sense"));
        }
        if meta[24] != 0 {
            return Err(store.damaged(24, "it is encrypted"));
        }
        let pages = u32::try_from(store.length() / page_size).unwrap_or(u32::MAX);
        let (last_bucket, spares) = (number(72), 96);
        if last_bucket >= pages {
            return Err(store.damaged(72, "it has more buckets than pages"));
        }
        let buckets = (0..=last_bucket).map(|bucket| {
            let generation = (bucket + 1).next_power_of_two().trailing_zeros() as usize;
            bucket.wrapping_add(number(spares + 4 * generation))
        });
        Ok(Berkeley {
            page_size,
            pages,
            big_endian,
            buckets: buckets.collect(),
            store,
        })
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        u32_at(bytes, at, self.big_endian)
    }

    fn u16(&self, bytes: &[u8], at: usize) -> usize {
        let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
        let convert = if self.big_endian {
            u16::from_be_bytes
        } else {
            u16::from_le_bytes
        };
        two.map_or(0, convert).into()
    }

    fn offset(&self, page: u32) -> u64 {
        u64::from(page) * self.page_size
    }

    /// Checks that `page` says to be itself and of one of `types`.
    fn check_page(&self, page: u32, header: &[u8], types: &[u8]) -> Result<(), Error> {
        let damaged = |why: String| Err(self.store.damaged(self.offset(page), why));
        if self.u32(header, 8) != page {
            return damaged(format!(
                "there is not page {page}, but what calls itself page {}",
                self.u32(header, 8)
            ));
        }
        if !types.contains(&header[25]) {
            return damaged(format!(
                "page {page} has type {}, which is not expected there",
                header[25]
            ));
        }
        Ok(())
    }

    /// The records on one page, and the page that the bucket goes on with.
    fn hash_page(&self, page: u32, buffer: &mut [u8]) -> Result<(Vec<Blob>, u32), Error> {
        if page == 0 || page >= self.pages {
            return Err(self
                .store
                .damaged(self.offset(page), format!("there is no page {page}")));
        }
        self.store.read_at(self.offset(page), buffer)?;
        // A bucket that was never used.
        if buffer[8..PAGE_HEADER].iter().all(|&byte| byte == 0) {
            return Ok((Vec::new(), 0));
        }
        self.check_page(page, buffer, &[HASH, HASH_UNSORTED])?;
        let damaged =
            |at: usize, why: &str| Err(self.store.damaged(self.offset(page) + at as u64, why));
        let count = self.u16(buffer, 20);
        if PAGE_HEADER + count * 2 > buffer.len() || !count.is_multiple_of(2) {
            return damaged(20, "a page has more items than fit on it");
        }
        let mut blobs = Vec::new();
        // Items lie from the page's end to its front; a key, its value, the next key …
        let mut end = buffer.len();
        for index in 0..count {
            let from = self.u16(buffer, PAGE_HEADER + index * 2);
            if from >= end || from < PAGE_HEADER + count * 2 {
                return damaged(PAGE_HEADER + index * 2, "an item is not on its page");
            }
            let item = &buffer[from..end];
            let value = index % 2 == 1;
            let key = index
                .checked_sub(1)
                .map(|key| self.u16(buffer, PAGE_HEADER + key * 2));
            end = from;
            // Number 0 is no package: the highest number is kept there.
            let number = key.map_or(0, |key| self.u32(buffer, key + 1));
            if !value || number == 0 {
                continue;
            }
            let blob = match item[0] {
                KEY_DATA => Blob {
                    length: item.len() as u64 - 1,
                    first: self.in_place(page, from + 1, item.len() - 1),
                },
                OFF_PAGE if item.len() >= OFF_PAGE_SIZE => Blob {
                    length: self.u32(item, 8).into(),
                    first: Piece {
                        next: self.u32(item, 4),
                        ..self.in_place(page, from, 0)
                    },
                },
                _ => return damaged(from, "an item has a type that is not known"),
            };
            blobs.push(blob);
        }
        Ok((blobs, self.u32(buffer, 16)))
    }

    fn in_place(&self, page: u32, from: usize, length: usize) -> Piece {
        Piece {
            in_log: false,
            offset: self.offset(page) + from as u64,
            length: length as u64,
            next: 0,
        }
    }
}

impl Pages for Berkeley {
    fn store(&self, _log: bool) -> &Store {
        &self.store
    }

    fn piece(&self, page: u32) -> Result<Piece, Error> {
        let mut header = [0; PAGE_HEADER];
        self.store.read_at(self.offset(page), &mut header)?;
        self.check_page(page, &header, &[OVERFLOW])?;
        let length = self.u16(&header, 22);
        if length as u64 > self.page_size - PAGE_HEADER as u64 {
            return Err(self
                .store
                .damaged(self.offset(page) + 22, "more bytes than fit on a page"));
        }
        Ok(Piece {
            next: self.u32(&header, 16),
            ..self.in_place(page, PAGE_HEADER, length)
        })
    }

    fn blobs(&self, complaints: &Complaints) -> Result<Vec<Blob>, Error> {
        let mut blobs = Blobs::new(self.store.length());
        let mut buffer = vec![0; self.page_size as usize];
        // No page is in two buckets, or twice in one.
        let mut left = self.pages;
        for &bucket in &self.buckets {
            let mut page = bucket;
            while page != 0 || page == bucket {
                if left == 0 {
                    return Err(self
                        .store
                        .damaged(self.offset(bucket), "its buckets go in a circle"));
                }
                left -= 1;
                match self.hash_page(page, &mut buffer) {
                    Ok((some, next)) => {
                        for blob in some {
                            blobs.push(blob, &self.store)?;
                        }
                        page = next;
                    }
                    Err(error) => {
                        complaints.add(error.to_string());
                        break;
                    }
                }
            }
        }
        // Nearly as they lie on the disk: a header is written in one go.
        let mut blobs = blobs.into_vec();
        blobs.sort_by_key(|blob| (blob.first.next, blob.first.offset));
        Ok(blobs)
    }
}

fn u32_at(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    let convert = if big_endian {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    four.map_or(0, convert)
}
