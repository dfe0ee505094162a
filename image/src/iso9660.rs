//! Directory records of an ISO 9660 image: found by path, and pointed at another extent.
//!
//! Read: the primary volume descriptor and its directory tree (ECMA-119, 8.4 and 9.1), names
//! without version suffix, letters of either case. Not read: Joliet, Rock Ridge names, path
//! tables, files of several extents, anything but 2048-byte sectors.

/// Bytes in a logical sector; extents start at multiples of it.
pub const SECTOR: usize = 2048;

/// ECMA-119 6.2.1: the volume descriptors start at logical sector 16.
const FIRST_DESCRIPTOR: usize = 16 * SECTOR;
/// ECMA-119 8.4: descriptor type 1, standard identifier CD001.
const PRIMARY: &[u8] = b"\x01CD001";
/// ECMA-119 8.4.18: the root's directory record inside the descriptor.
const ROOT_RECORD: usize = 156;
// ECMA-119 9.1: fields of a directory record. Numbers are stored little-endian, then
// big-endian.
const RECORD_LENGTH: usize = 0;
const RECORD_EXTENT: usize = 2;
const RECORD_SIZE: usize = 10;
const RECORD_FLAGS: usize = 25;
const RECORD_NAME_LENGTH: usize = 32;
const RECORD_NAME: usize = 33;
/// ECMA-119 9.1.6: the entry is a directory.
const FLAG_DIRECTORY: u8 = 2;

/// Why an image cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No primary volume descriptor where it must be.
    #[error("this is no ISO 9660 image: sector 16 holds no primary volume descriptor")]
    NotIso,
    /// A record or extent points outside of the image.
    #[error("the ISO 9660 directory tree is damaged: {0}")]
    Damaged(&'static str),
    /// There is no such file.
    #[error("the ISO has no /{0}")]
    NotFound(String),
    /// Extents are counted in sectors.
    #[error("offset {0} is no multiple of 2048, so no extent can start there")]
    Unaligned(usize),
    /// The extent does not fit into the record's 32-bit numbers, or ends after the image.
    #[error("an extent of {size} bytes at {offset} does not lie inside the image")]
    Outside {
        /// Byte offset.
        offset: usize,
        /// Bytes.
        size: usize,
    },
}

/// One directory record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Byte offset of the record itself in the image.
    at: usize,
    /// Byte offset of the content.
    pub offset: usize,
    /// Length of the content in bytes.
    pub size: usize,
    /// Whether the content is a directory.
    pub is_directory: bool,
}

/// Whether `image` has a primary volume descriptor where it must be.
pub fn is_image(image: &[u8]) -> bool {
    image.get(FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + PRIMARY.len()) == Some(PRIMARY)
}

/// Finds the file or directory at `path` (no leading slash).
///
/// # Errors
/// When the image is none, is damaged, or has no such entry.
pub fn find(image: &[u8], path: &str) -> Result<Record, Error> {
    find_by_head(image, image.len(), path)
}

/// As [`find`], by no more than the first bytes of an image that is `length` bytes long: those with the
/// descriptor and the directories, which come before the files.
///
/// # Errors
/// As [`find`].
pub fn find_by_head(head: &[u8], length: usize, path: &str) -> Result<Record, Error> {
    if !is_image(head) {
        return Err(Error::NotIso);
    }
    let mut record = read(head, length, FIRST_DESCRIPTOR + ROOT_RECORD)?;
    for name in path.split('/') {
        record = entry(head, length, record, name)?.ok_or_else(|| Error::NotFound(path.into()))?;
    }
    Ok(record)
}

/// Makes the file at `path` consist of the `size` bytes at `offset`.
///
/// # Errors
/// As [`find`]; and when the extent does not start at a sector or lies outside of the image.
pub fn point(image: &mut [u8], path: &str, offset: usize, size: usize) -> Result<(), Error> {
    let record = find(image, path)?;
    if !offset.is_multiple_of(SECTOR) {
        return Err(Error::Unaligned(offset));
    }
    let outside = Error::Outside { offset, size };
    if offset.checked_add(size).is_none_or(|end| end > image.len()) {
        return Err(outside);
    }
    let (Ok(sector), Ok(length)) = (u32::try_from(offset / SECTOR), u32::try_from(size)) else {
        return Err(outside);
    };
    for (field, value) in [(RECORD_EXTENT, sector), (RECORD_SIZE, length)] {
        let at = record.at + field;
        image[at..at + 4].copy_from_slice(&value.to_le_bytes());
        image[at + 4..at + 8].copy_from_slice(&value.to_be_bytes());
    }
    Ok(())
}

/// The record called `name` in `directory`.
fn entry(
    image: &[u8],
    image_length: usize,
    directory: Record,
    name: &str,
) -> Result<Option<Record>, Error> {
    if !directory.is_directory {
        return Ok(None);
    }
    let end = directory.offset + directory.size;
    let mut at = directory.offset;
    while at < end {
        let length = usize::from(
            *image
                .get(at)
                .ok_or(Error::Damaged("a directory is cut off"))?,
        );
        if length == 0 {
            // ECMA-119 6.8.1.1: records do not cross sectors; the rest of this one is unused.
            at = (at / SECTOR + 1) * SECTOR;
            continue;
        }
        let record = read(image, image_length, at)?;
        let name_length = usize::from(image[at + RECORD_NAME_LENGTH]);
        if RECORD_NAME + name_length > length {
            return Err(Error::Damaged("a name is longer than its record"));
        }
        let found = &image[at + RECORD_NAME..at + RECORD_NAME + name_length];
        if plain(found).eq_ignore_ascii_case(name.as_bytes()) {
            return Ok(Some(record));
        }
        at += length;
    }
    Ok(None)
}

/// A name without `;1` and without the dot that level 1 puts after names without suffix.
fn plain(name: &[u8]) -> &[u8] {
    let name = name.split(|byte| *byte == b';').next().unwrap_or(name);
    name.strip_suffix(b".").unwrap_or(name)
}

/// The record at `at`; it and its extent lie inside the image, of `image_length` bytes.
fn read(image: &[u8], image_length: usize, at: usize) -> Result<Record, Error> {
    let record = image.get(at..).unwrap_or_default();
    let length = usize::from(*record.get(RECORD_LENGTH).unwrap_or(&0));
    if length <= RECORD_NAME || record.len() < length {
        return Err(Error::Damaged("a record is cut off"));
    }
    let number = |field: usize| {
        u32::from_le_bytes([
            record[field],
            record[field + 1],
            record[field + 2],
            record[field + 3],
        ]) as usize
    };
    let (offset, size) = (number(RECORD_EXTENT) * SECTOR, number(RECORD_SIZE));
    if offset + size > image_length {
        return Err(Error::Damaged("an extent ends after the image"));
    }
    Ok(Record {
        at,
        offset,
        size,
        is_directory: record[RECORD_FLAGS] & FLAG_DIRECTORY != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// An ISO by xorriso: a.txt, and boot/ with 100 files, so that it needs several sectors.
    fn image(scratch: &Path) -> Vec<u8> {
        let tree = scratch.join("tree");
        std::fs::create_dir_all(tree.join("boot")).unwrap();
        std::fs::write(tree.join("a.txt"), "the first").unwrap();
        for index in 0..100 {
            std::fs::write(
                tree.join(format!("boot/f{index}.bin")),
                format!("number {index}"),
            )
            .unwrap();
        }
        let iso = scratch.join("image.iso");
        let output = Command::new("xorriso")
            .args(["-as", "mkisofs", "-quiet", "-o"])
            .arg(&iso)
            .arg(&tree)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::read(iso).unwrap()
    }

    #[test]
    fn files_are_found_by_path_also_behind_the_first_sector_of_a_directory() {
        let scratch = tempfile::tempdir().unwrap();
        let image = image(scratch.path());
        for (path, content) in [
            ("a.txt", "the first"),
            ("boot/f0.bin", "number 0"),
            ("BOOT/F99.BIN", "number 99"),
        ] {
            let record = find(&image, path).unwrap();
            assert_eq!(
                &image[record.offset..record.offset + record.size],
                content.as_bytes()
            );
        }
        assert!(find(&image, "boot").unwrap().is_directory);
        assert!(matches!(find(&image, "boot/none"), Err(Error::NotFound(_))));
        assert!(matches!(
            find(&image, "a.txt/below"),
            Err(Error::NotFound(_))
        ));
    }

    #[test]
    fn xorriso_reads_the_other_extent() {
        let scratch = tempfile::tempdir().unwrap();
        let mut image = image(scratch.path());
        let other = find(&image, "boot/f42.bin").unwrap();
        point(&mut image, "a.txt", other.offset, other.size).unwrap();
        let iso = scratch.path().join("patched.iso");
        std::fs::write(&iso, &image).unwrap();
        let copy = scratch.path().join("copy");
        let output = Command::new("xorriso")
            .args(["-osirrox", "on", "-indev"])
            .arg(&iso)
            .args(["-extract", "/a.txt"])
            .arg(&copy)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(std::fs::read_to_string(copy).unwrap(), "number 42");
    }

    #[test]
    fn extents_outside_or_between_sectors_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let mut image = image(scratch.path());
        assert!(matches!(
            point(&mut image, "a.txt", 100, 1),
            Err(Error::Unaligned(100))
        ));
        let beyond = image.len() / SECTOR * SECTOR;
        assert!(matches!(
            point(&mut image, "a.txt", beyond, SECTOR),
            Err(Error::Outside { .. })
        ));
    }

    #[test]
    fn damaged_images_are_refused_without_a_panic() {
        let scratch = tempfile::tempdir().unwrap();
        let whole = image(scratch.path());
        assert!(matches!(find(&[0; 40_000], "a.txt"), Err(Error::NotIso)));
        let root = find(&whole, "boot").unwrap();
        for at in (FIRST_DESCRIPTOR..FIRST_DESCRIPTOR + 190).chain(root.offset..root.offset + 300) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut image = whole.clone();
                image[at] = value;
                let _ = find(&image, "boot/f99.bin");
            }
        }
        for end in (FIRST_DESCRIPTOR..whole.len()).step_by(997) {
            let _ = find(&whole[..end], "boot/f99.bin");
        }
    }
}
