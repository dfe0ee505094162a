//! Where in a finished file the initramfs lies, and in it the area.

use std::ops::Range;

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
}

/// Finds the area in the bytes of a file.
///
/// # Errors
/// When it is no image of kedge's, or has no area.
pub(super) fn find(bytes: &[u8]) -> Result<(Kind, Range<usize>), Error> {
    let (kind, initramfs) = initramfs(bytes)?;
    let start = area::find(&bytes[initramfs.clone()]).ok_or(Error::NoArea)?;
    Ok((kind, initramfs.start + start..initramfs.end))
}

fn initramfs(bytes: &[u8]) -> Result<(Kind, Range<usize>), Error> {
    if bytes.starts_with(xz::MAGIC) {
        return Ok((Kind::Initramfs, 0..bytes.len()));
    }
    if bytes.starts_with(uki::MAGIC) && !iso9660::is_image(bytes) {
        let section = uki::find(bytes, ".initrd").map_err(Error::Uki)?;
        let section = section.ok_or(Error::NoInitramfs)?;
        return Ok((Kind::Uki, section.offset..section.offset + section.size));
    }
    if iso9660::is_image(bytes) {
        let file = iso9660::find(bytes, iso::INITRD)?;
        return Ok((Kind::Iso, file.offset..file.offset + file.size));
    }
    Err(Error::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initramfs_a_uki_and_what_is_neither() {
        let built = area::append(xz::compress(b"main").unwrap(), 5000);
        let (kind, place) = find(&built).unwrap();
        assert_eq!((kind, place.end), (Kind::Initramfs, built.len()));

        let stub = std::fs::read(crate::host::EFI_STUB).unwrap();
        let uki = uki::build(&stub, &[(".linux", b"x"), (".initrd", &built)]).unwrap();
        let (kind, in_uki) = find(&uki.bytes).unwrap();
        assert_eq!(kind, Kind::Uki);
        assert_eq!(uki.bytes[in_uki], built[place]);

        assert!(matches!(find(b"text"), Err(Error::Unknown)));
        assert!(matches!(find(b""), Err(Error::Unknown)));
        assert!(matches!(find(&stub), Err(Error::NoInitramfs)));
        assert!(matches!(find(&stub[..200]), Err(Error::Uki(_))));
        let plain = xz::compress(b"main").unwrap();
        assert!(matches!(find(&plain), Err(Error::NoArea)));
    }
}
