//! `rpmdb.sqlite` of Fedora and RHEL 9: the tables of one SQLite database (sqlite.org/fileformat2.html) with the changes that
//! are still in its log. Numbers are big-endian.
//!
//! Not read: indices, text in UTF-16, rollback journals (rpm uses a log).

use super::chain::{Blob, Blobs, Pages, Piece, Reader};
use super::wal::Wal;
use crate::Error;
use crate::store::{Complaints, Store};

const MAGIC: &[u8; 16] = b"SQLite format 3\0";
const FILE_HEADER: usize = 100;

/// Types of B-tree pages.
const INTERIOR_TABLE: u8 = 5;
const LEAF_TABLE: u8 = 13;

/// No tree is as high: each page has at least two children.
const HIGHEST: u32 = 40;
/// After so many bad ones the rest of a page is left.
const MOST_BAD_CELLS: usize = 16;
/// As much of a record as its header and short columns take.
const SHORT_RECORD: u64 = 4096;

/// The file and its log.
#[derive(Debug)]
pub(super) struct Sqlite {
    store: Store,
    log: Option<Wal>,
    page_size: u64,
    /// Of a page, without what is reserved at its end.
    usable: u64,
    pages: u32,
}

/// A row of a table that is still in its pages.
struct Row {
    number: i64,
    record: Blob,
}

impl Sqlite {
    /// `log` is the file with `-wal` at the end of its name.
    pub(super) fn open(
        store: Store,
        log: Option<Store>,
        complaints: &Complaints,
    ) -> Result<Sqlite, Error> {
        let mut header = [0; FILE_HEADER];
        store.read_at(0, &mut header)?;
        if &header[..16] != MAGIC {
            return Err(store.damaged(0, "it is no SQLite database"));
        }
        let page_size = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
            1 => 65536,
            size if size.is_power_of_two() && size >= 512 => size,
            _ => return Err(store.damaged(16, "the size of its pages makes no sense")),
        };
        let usable = page_size - u64::from(header[20]);
        if usable < 480 {
            return Err(store.damaged(20, "too little of its pages is used"));
        }
        let log = match log {
            Some(log) => Wal::open(log, page_size, complaints)?,
            None => None,
        };
        let in_file = u32::try_from(store.length() / page_size).unwrap_or(u32::MAX);
        let pages = log.as_ref().map_or(in_file, |log| log.pages());
        Ok(Sqlite {
            store,
            log,
            page_size,
            usable,
            pages,
        })
    }

    /// Where a page is.
    fn place(&self, page: u32) -> Result<(bool, u64), Error> {
        if page == 0 || page > self.pages {
            let why = format!("there is no page {page}; it has {}", self.pages);
            return Err(self.store.damaged(0, why));
        }
        match self.log.as_ref().and_then(|log| log.find(page)) {
            Some(offset) => Ok((true, offset)),
            None => Ok((false, u64::from(page - 1) * self.page_size)),
        }
    }

    /// Calls `each` for every row of the table whose tree begins at page `root`, in the order of their numbers.
    fn rows(
        &self,
        root: u32,
        complaints: &Complaints,
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut left = self.pages;
        self.tree(root, HIGHEST, &mut left, complaints, each)
    }

    fn tree(
        &self,
        page: u32,
        height: u32,
        left: &mut u32,
        complaints: &Complaints,
        each: &mut dyn FnMut(Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (in_log, offset) = self.place(page)?;
        let damaged = |at: u64, why: &str| Err(self.store(in_log).damaged(offset + at, why));
        if *left == 0 || height == 0 {
            return damaged(0, "its pages go in a circle");
        }
        *left -= 1;
        let mut bytes = vec![0; self.page_size as usize];
        self.store(in_log).read_at(offset, &mut bytes)?;
        let start = if page == 1 { FILE_HEADER } else { 0 };
        let kind = bytes[start];
        let count = usize::from(be16(&bytes, start + 3));
        let pointers = match kind {
            INTERIOR_TABLE => start + 12,
            LEAF_TABLE => start + 8,
            _ => return damaged(start as u64, "there is no page of a table"),
        };
        if pointers + 2 * count > self.usable as usize {
            return damaged(start as u64 + 3, "a page has more cells than fit on it");
        }
        let mut bad = 0;
        for cell in 0..count {
            let at = usize::from(be16(&bytes, pointers + 2 * cell));
            let done = if kind == LEAF_TABLE {
                match self.row(&bytes, at, in_log, offset) {
                    Some(row) => each(row),
                    None => damaged(at as u64, "a row is not on its page"),
                }
            } else {
                self.tree(be32(&bytes, at), height - 1, left, complaints, each)
            };
            // The others may be good; of a page of nothing but garbage they are not looked at.
            if let Err(error) = done {
                complaints.add(error.to_string());
                bad += 1;
                if bad == MOST_BAD_CELLS {
                    break;
                }
            }
        }
        if kind == INTERIOR_TABLE {
            self.tree(be32(&bytes, start + 8), height - 1, left, complaints, each)?;
        }
        Ok(())
    }

    /// A leaf's cell: the payload's length, the row's number, the payload or its beginning, the page it goes on at.
    fn row(&self, bytes: &[u8], at: usize, in_log: bool, page: u64) -> Option<Row> {
        let (length, at) = varint(bytes, at)?;
        let (number, at) = varint(bytes, at)?;
        let most = self.usable - 35;
        let (local, next) = if length <= most {
            (length, 0)
        } else {
            let least = (self.usable - 12) * 32 / 255 - 23;
            let fitting = least + (length - least) % (self.usable - 4);
            let local = if fitting <= most { fitting } else { least };
            (local, be32(bytes, at + local as usize))
        };
        if at as u64 + local > self.usable {
            return None;
        }
        let first = Piece {
            in_log,
            offset: page + at as u64,
            length: local,
            next,
        };
        Some(Row {
            number: number as i64,
            record: Blob { length, first },
        })
    }

    /// The page at which the tree of a table begins.
    fn table(&self, name: &str, complaints: &Complaints) -> Result<u32, Error> {
        let mut found = None;
        self.rows(1, complaints, &mut |row| {
            let bytes = Reader::new(self, &row.record).read(row.record.length.min(SHORT_RECORD))?;
            let columns = columns(&bytes).unwrap_or_default();
            let text = |index: usize| columns.get(index).and_then(|column| column.bytes(&bytes));
            if text(0) == Some(b"table") && text(1) == Some(name.as_bytes()) {
                found = columns.get(3).and_then(|column| column.number(&bytes));
            }
            Ok(())
        })?;
        let page = found.and_then(|page| u32::try_from(page).ok());
        page.ok_or_else(|| self.store.damaged(0, format!("it has no table {name}")))
    }
}

impl Pages for Sqlite {
    fn store(&self, log: bool) -> &Store {
        match &self.log {
            Some(wal) if log => wal.store(),
            _ => &self.store,
        }
    }

    fn piece(&self, page: u32) -> Result<Piece, Error> {
        let (in_log, offset) = self.place(page)?;
        let mut next = [0; 4];
        self.store(in_log).read_at(offset, &mut next)?;
        Ok(Piece {
            in_log,
            offset: offset + 4,
            length: self.usable - 4,
            next: u32::from_be_bytes(next),
        })
    }

    /// `CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)`.
    fn blobs(&self, complaints: &Complaints) -> Result<Vec<Blob>, Error> {
        let root = self.table("Packages", complaints)?;
        let log = self.log.as_ref().map_or(0, |log| log.store().length());
        let mut blobs = Blobs::new(self.store.length() + log);
        self.rows(root, complaints, &mut |row| {
            let Blob { length, first } = row.record;
            let mut beginning = vec![0; first.length.min(64) as usize];
            self.store(first.in_log)
                .read_at(first.offset, &mut beginning)?;
            let column = columns(&beginning).and_then(|columns| columns.get(1).copied());
            match column {
                Some(Column { kind, from }) if kind >= 12 && from as u64 <= first.length => {
                    let skipped = from as u64;
                    let blob = Blob {
                        length: ((kind - 12) / 2).min(length - skipped),
                        first: Piece {
                            offset: first.offset + skipped,
                            length: first.length - skipped,
                            ..first
                        },
                    };
                    blobs.push(blob, self.store(first.in_log))
                }
                _ => {
                    let why = format!(
                        "row {} of the table Packages has no header in it",
                        row.number
                    );
                    Err(self.store(first.in_log).damaged(first.offset, why))
                }
            }
        })?;
        Ok(blobs.into_vec())
    }
}

/// A value in a record.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// SQLite's serial type.
    kind: u64,
    /// Where it begins in the record.
    from: usize,
}

/// The columns of a record; only its header need be there.
fn columns(record: &[u8]) -> Option<Vec<Column>> {
    let (header, mut at) = varint(record, 0)?;
    let header = usize::try_from(header).ok()?;
    let mut from = header;
    let mut columns = Vec::new();
    while at < header {
        let (kind, next) = varint(record.get(..header)?, at)?;
        columns.push(Column { kind, from });
        at = next;
        let length = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            _ => (kind.saturating_sub(12)) / 2,
        };
        from = from.checked_add(usize::try_from(length).ok()?)?;
    }
    Some(columns)
}

impl Column {
    /// Of text or a blob.
    fn bytes<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(self.kind.checked_sub(12)? / 2).ok()?;
        record.get(self.from..self.from.checked_add(length)?)
    }

    /// Of an integer that is not negative.
    fn number(&self, record: &[u8]) -> Option<u64> {
        let length = match self.kind {
            8 => return Some(0),
            9 => return Some(1),
            1..=4 => self.kind as usize,
            5 => 6,
            6 => 8,
            _ => return None,
        };
        let bytes = record.get(self.from..self.from.checked_add(length)?)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, &byte| number << 8 | u64::from(byte)),
        )
    }
}

/// SQLite's numbers of variable length: seven bits a byte, of the ninth all eight.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0;
    for index in 0..8 {
        let byte = *bytes.get(at + index)?;
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, at + index + 1));
        }
    }
    Some((number << 8 | u64::from(*bytes.get(at + 8)?), at + 9))
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    let two = bytes.get(at..at + 2).and_then(|two| two.try_into().ok());
    two.map_or(0, u16::from_be_bytes)
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    let four = bytes
        .get(at..at.saturating_add(4))
        .and_then(|four| four.try_into().ok());
    four.map_or(0, u32::from_be_bytes)
}
