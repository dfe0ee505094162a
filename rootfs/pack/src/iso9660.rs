//! As much of ISO 9660 (ECMA-119) as it takes to find `/PACKS/NAME.XZ` on a medium: plain names, files in one
//! extent. Not parsed: Joliet, Rock Ridge, multi-extent files, volumes of several discs.
//!
//! A medium is a stranger's: any bytes give a result, and lengths are bounded.

/// Bytes of a logical sector, which is also the unit of extents on every medium in use.
pub(crate) const SECTOR: u64 = 2048;
/// Where the primary volume descriptor is.
pub(crate) const DESCRIPTOR: u64 = 16 * SECTOR;
/// Its application identifier (8.4.20).
const APPLICATION: std::ops::Range<usize> = 574..702;
/// The root directory's record in it (8.4.18).
const ROOT: usize = 156;
/// No directory here is larger than this.
const LONGEST_DIRECTORY: u64 = 64 << 10;

// Fields of a directory record (9.1).
const LENGTH: usize = 0;
const EXTENT: usize = 2;
const SIZE: usize = 10;
const FLAGS: usize = 25;
const NAME_LENGTH: usize = 32;
const NAME: usize = 33;
const IS_DIRECTORY: u8 = 2;

/// Where a file or directory is, in bytes from the medium's begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Its name without version: `STORAGE.XZ`.
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) offset: u64,
    /// How long it is.
    pub(crate) size: u64,
    directory: bool,
}

impl Extent {
    /// Whether this is a directory that can be read.
    pub(crate) fn is_directory(&self) -> bool {
        self.directory && self.size > 0 && self.size <= LONGEST_DIRECTORY
    }
}

/// What the descriptor says: the application identifier, and the root directory.
pub(crate) fn descriptor(sector: &[u8]) -> Option<(String, Extent)> {
    // Type 1, "CD001", version 1 (8.4.1 to 8.4.3).
    if sector.len() < SECTOR as usize || !sector.starts_with(b"\x01CD001\x01") {
        return None;
    }
    let application = String::from_utf8_lossy(&sector[APPLICATION]);
    let application = application.trim_end_matches([' ', '\0']).to_string();
    Some((application, record(&sector[ROOT..])?))
}

/// What is in a directory.
pub(crate) fn entries(directory: &[u8]) -> Vec<Extent> {
    let mut found = Vec::new();
    for sector in directory.chunks(SECTOR as usize) {
        let mut rest = sector;
        // 6.8.1.1: records do not cross sectors; zeros fill one up.
        while let Some(extent) = record(rest) {
            found.push(extent);
            rest = &rest[usize::from(rest[LENGTH])..];
        }
    }
    found
}

fn record(bytes: &[u8]) -> Option<Extent> {
    let length = usize::from(*bytes.first()?);
    let record = bytes.get(..length).filter(|_| length > NAME)?;
    let name_length = usize::from(record[NAME_LENGTH]);
    let name = record.get(NAME..NAME + name_length)?;
    let name = String::from_utf8_lossy(name);
    let name = name.split(';').next().unwrap_or_default();
    let number = |at: usize| {
        u64::from(u32::from_le_bytes([
            record[at],
            record[at + 1],
            record[at + 2],
            record[at + 3],
        ]))
    };
    Some(Extent {
        name: name.to_ascii_uppercase(),
        offset: number(EXTENT) * SECTOR,
        size: number(SIZE),
        directory: record[FLAGS] & IS_DIRECTORY != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_the_parser_panic() {
        let mut sector = vec![0; 2048];
        sector[..7].copy_from_slice(b"\x01CD001\x01");
        for length in 0..=255 {
            for name in [0, 1, 33, 200, 255] {
                sector[ROOT] = length;
                sector[ROOT + NAME_LENGTH] = name;
                let _ = descriptor(&sector);
                for start in [0, ROOT, 1800, 2047] {
                    let mut directory = sector.clone();
                    directory[start] = length;
                    let _ = entries(&directory);
                    let _ = entries(&directory[..start]);
                }
            }
        }
        assert!(descriptor(&sector[..2047]).is_none());
    }
}
