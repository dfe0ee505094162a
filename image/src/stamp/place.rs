//! Where in a finished file the initramfs lies, and in it the area.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::area;
use crate::{iso, iso9660, uki, xz};

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ISO 9660 image, such as kedge.iso.
    Iso,
    /// A UKI, such as kedge.efi.
    Uki,
    /// An initramfs by itself.
    Initramfs,
}

/// Why there is nothing to stamp in a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It begins as none of them does.
    #[error("it is neither an ISO, nor an EFI image, nor an initramfs")]
    Unknown,
    /// An ISO, but not kedge's.
    #[error(transparent)]
    Iso(#[from] iso9660::Error),
    /// An EFI program, but no UKI.
    #[error("it is no unified kernel image: {0}")]
    Uki(uki::Error),
    /// A UKI without the section.
    #[error("it is no unified kernel image with an initramfs (section .initrd)")]
    NoInitramfs,
    /// An image of before there were areas, or built without.
    #[error(
        "its initramfs has no room for a stamp; build it anew (`stamp_area` in kedge.toml is not \"0\")"
    )]
    NoArea,
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] io::Error),
}

/// As much of a file as holds every header: the directories of an ISO come before its files.
const HEAD: usize = 1 << 20;
/// As much of an initramfs' end as is looked at first.
const TAIL: usize = 256 << 10;

/// Finds the area in a file; nothing but headers and the end of the initramfs is read.
///
/// # Errors
/// When it is no image of kedge's, has no area, or cannot be read.
pub(super) fn find(file: &File) -> Result<(Kind, Range<usize>), Error> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let read = |range: Range<usize>| {
        let mut bytes = vec![0; range.len()];
        file.read_exact_at(&mut bytes, range.start as u64)?;
        Ok::<_, io::Error>(bytes)
    };
    let (kind, initramfs) = initramfs(&read(0..length.min(HEAD))?, length)?;
    // The area is a whole number of times 4 from the initramfs' start, and so is where this starts.
    let tail = initramfs.len().saturating_sub(TAIL).next_multiple_of(4);
    for start in [initramfs.start + tail, initramfs.start] {
        if let Some(area) = area::find(&read(start..initramfs.end)?) {
            return Ok((kind, start + area..initramfs.end));
        }
    }
    Err(Error::NoArea)
}

/// Where the initramfs is in a file of `length` bytes that begins with `head`.
fn initramfs(head: &[u8], length: usize) -> Result<(Kind, Range<usize>), Error> {
    if head.starts_with(xz::MAGIC) {
        return Ok((Kind::Initramfs, 0..length));
    }
    if iso9660::is_image(head) {
        let file = iso9660::find_by_head(head, length, iso::INITRD)?;
        return Ok((Kind::Iso, file.offset..file.offset + file.size));
    }
    if head.starts_with(uki::MAGIC) {
        let section = uki::find(head, length, ".initrd").map_err(Error::Uki)?;
        let section = section.ok_or(Error::NoInitramfs)?;
        return Ok((Kind::Uki, section.offset..section.offset + section.size));
    }
    Err(Error::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn find_in(bytes: &[u8]) -> Result<(Kind, Range<usize>), Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        find(&file)
    }

    #[test]
    fn an_initramfs_a_uki_and_what_is_neither() {
        for room in [5000, 3 * TAIL] {
            let main = xz::compress(b"main").unwrap();
            let built = area::append(main, room);
            let (kind, place) = find_in(&built).unwrap();
            assert_eq!((kind, place.end), (Kind::Initramfs, built.len()));
            assert_eq!(Some(place.start), area::find(&built));

            let stub = std::fs::read(crate::host::EFI_STUB).unwrap();
            let uki = uki::build(&stub, &[(".linux", b"x"), (".initrd", &built)]).unwrap();
            let (kind, in_uki) = find_in(&uki.bytes).unwrap();
            assert_eq!(kind, Kind::Uki);
            assert_eq!(uki.bytes[in_uki], built[place]);
        }
        let stub = std::fs::read(crate::host::EFI_STUB).unwrap();
        assert!(matches!(find_in(b"text"), Err(Error::Unknown)));
        assert!(matches!(find_in(b""), Err(Error::Unknown)));
        assert!(matches!(find_in(&stub), Err(Error::NoInitramfs)));
        assert!(matches!(find_in(&stub[..200]), Err(Error::Uki(_))));
        let plain = xz::compress(b"main").unwrap();
        assert!(matches!(find_in(&plain), Err(Error::NoArea)));
    }
}
