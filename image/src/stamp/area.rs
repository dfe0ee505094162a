//! The room at the end of an initramfs into which a finished image is stamped.
//!
//! ```text
//! initramfs   the main xz stream, that of the link /whole (see `crate::gate`), zeros up to a multiple of 4
//! area        header      a cpio archive of kind 070702, whose file names the area's size
//!             stamp       an xz stream of a cpio archive; nothing where nothing is stamped
//!             zeros       the kernel skips them (unpack_to_rootfs() in init/initramfs.c)
//!             bootconfig  at the very end, where the kernel looks for it; or nothing
//! ```
//!
//! The whole is a multiple of [`ALIGNMENT`] long: loaders round an initramfs up, and what follows a
//! bootconfig hides it. The header says nothing of the stamp, so an area whose rest is zeros is the
//! area as it was built.

use std::io::{self, Write};

use cpio::newc;

use super::bootconfig;
use crate::boot::EPOCH;
use crate::xz;

/// The whole initramfs is a multiple of so many bytes long.
pub const ALIGNMENT: usize = 4096;
/// The least room that an area has, in bytes, where nobody chose another.
pub const DEFAULT_ROOM: usize = 32 << 10;
/// The largest room that can be chosen: all of it is loaded at each boot.
pub const LARGEST_ROOM: usize = 64 << 20;

/// The file in the header's archive.
const NAME: &str = "etc/kedge/stamp-area";
/// cpio's kind whose files have checksums, which the kernel compares.
const MAGIC: &[u8] = b"070702";
/// Archives start at multiples of this.
const CPIO_ALIGNMENT: usize = 4;
/// More than that no stamp unpacks to: whatever it is, it is none of ours.
const LARGEST_STAMP: u64 = 1 << 30;

/// What is stamped, as it lies in the area.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    /// An xz stream of a cpio archive, or nothing.
    pub archive: Vec<u8>,
    /// A bootconfig with its footer, or nothing.
    pub bootconfig: Vec<u8>,
}

/// What is in an area.
#[derive(Debug, PartialEq, Eq)]
pub struct Held {
    /// The cpio archive, unpacked; `None` where nothing is stamped.
    pub archive: Option<Vec<u8>>,
    /// Bytes that the stamp takes, header and bootconfig apart.
    pub used: usize,
}

/// Why a stamp cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stamp takes {needed} bytes, and there is room for {room}; for more, say `stamp_area = \
     \"{} KiB\"` in kedge.toml and build the image again",
    enough(*needed)
)]
pub struct TooLarge {
    /// Bytes of the stamp.
    pub needed: usize,
    /// Bytes that fit.
    pub room: usize,
}

/// A `stamp_area`, in KiB, that such a stamp fits into.
fn enough(needed: usize) -> usize {
    (needed + header(0).len()).div_ceil(16 << 10) * 16
}

/// `initramfs` with an area of at least `room` bytes behind it; as it is when that is 0.
#[must_use]
pub fn append(mut initramfs: Vec<u8>, room: usize) -> Vec<u8> {
    if room == 0 {
        return initramfs;
    }
    initramfs.resize(initramfs.len().next_multiple_of(CPIO_ALIGNMENT), 0);
    let start = initramfs.len();
    let end = (start + room.max(header(0).len())).next_multiple_of(ALIGNMENT);
    initramfs.extend(header(end - start));
    initramfs.resize(end, 0);
    initramfs
}

/// Where the area of `initramfs` starts; it reaches to the end.
pub fn find(initramfs: &[u8]) -> Option<usize> {
    // From the end: what is stamped lies behind it, and could hold anything.
    let last = initramfs.len().checked_sub(header(0).len())?;
    (0..=last / CPIO_ALIGNMENT)
        .rev()
        .map(|step| step * CPIO_ALIGNMENT)
        .find(|&at| {
            let rest = &initramfs[at..];
            rest.starts_with(MAGIC) && rest.starts_with(&header(rest.len()))
        })
}

/// Bytes that a stamp can have in an area of `size` bytes.
pub fn room(size: usize) -> usize {
    size.saturating_sub(header(size).len())
}

/// An area of `size` bytes that holds `stamp`.
///
/// # Errors
/// When it does not fit.
pub fn fill(size: usize, stamp: &Packed) -> Result<Vec<u8>, TooLarge> {
    let (needed, room) = (stamp.archive.len() + stamp.bootconfig.len(), room(size));
    if needed > room {
        return Err(TooLarge { needed, room });
    }
    let mut area = header(size);
    area.extend(&stamp.archive);
    area.resize(size - stamp.bootconfig.len(), 0);
    area.extend(&stamp.bootconfig);
    Ok(area)
}

/// What `area` holds.
///
/// # Errors
/// When what is stamped is damaged.
pub fn read(area: &[u8]) -> io::Result<Held> {
    let rest = &area[header(area.len()).len().min(area.len())..];
    let bootconfig = bootconfig::length_at_the_end_of(rest)?;
    let rest = &rest[..rest.len() - bootconfig];
    if rest.iter().all(|&byte| byte == 0) {
        return Ok(Held {
            archive: None,
            used: bootconfig,
        });
    }
    let (archive, length) = xz::decompress_first(rest, LARGEST_STAMP)?;
    if rest[length..].iter().any(|&byte| byte != 0) {
        return Err(io::Error::other("something follows the stamp"));
    }
    Ok(Held {
        archive: Some(archive),
        used: length + bootconfig,
    })
}

/// The archive at the start of an area of `size` bytes. Its length does not depend on the size.
fn header(size: usize) -> Vec<u8> {
    let text = format!(
        "room for `cargo xtask stamp`, in bytes: {size:>10}\n\
         stamped.json beside this says what is stamped, where something is\n"
    );
    let mut archive = Vec::with_capacity(1024);
    let entry = |name: &str, mode: u32, nlink: u32| {
        newc::Builder::new(name)
            .mode(mode)
            .nlink(nlink)
            .mtime(EPOCH)
    };
    // The kernel makes no folders by itself, and an image that is not configured has no such one.
    for (name, mode, content) in [
        ("etc/kedge", 0o040_755, ""),
        (NAME, 0o100_644, text.as_str()),
        ("TRAILER!!!", 0, ""),
    ] {
        let nlink = if mode == 0o040_755 { 2 } else { 1 };
        let sum = content.bytes().map(u32::from).sum();
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let mut writer = entry(name, mode, nlink).write_crc(&mut archive, length, sum);
        let written = writer
            .write_all(content.as_bytes())
            .and_then(|()| writer.finish().map(|_| ()));
        debug_assert!(written.is_ok(), "writing to memory does not fail");
    }
    archive
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn initramfs(room: usize) -> Vec<u8> {
        append(xz::compress(b"the main archive").unwrap(), room)
    }

    fn sample() -> Packed {
        Packed {
            archive: xz::compress(b"what is stamped").unwrap(),
            bootconfig: bootconfig::of(&[("nomodeset".into(), None)]).unwrap(),
        }
    }

    #[test]
    fn the_whole_is_whole_pages_and_the_area_is_found_again() {
        for room in [1, 600, 4096, DEFAULT_ROOM, 1 << 20] {
            let initramfs = initramfs(room);
            assert_eq!(initramfs.len() % ALIGNMENT, 0);
            let start = find(&initramfs).unwrap();
            assert_eq!(start % CPIO_ALIGNMENT, 0);
            assert!((room..room + ALIGNMENT + 600).contains(&(initramfs.len() - start)));
            let held = read(&initramfs[start..]).unwrap();
            assert_eq!((held.archive, held.used), (None, 0));
        }
        assert_eq!(append(b"xz".to_vec(), 0), b"xz");
        assert_eq!(find(b""), None);
        assert_eq!(find(&vec![b'0'; 10_000]), None);
    }

    #[test]
    fn what_was_filled_in_is_read_back_and_an_empty_stamp_is_the_area_as_built() {
        let mut initramfs = initramfs(8192);
        let built = initramfs.clone();
        let start = find(&initramfs).unwrap();
        let size = initramfs.len() - start;
        let stamp = sample();
        initramfs[start..].copy_from_slice(&fill(size, &stamp).unwrap());
        assert_eq!(find(&initramfs), Some(start));
        assert!(initramfs.ends_with(b"#BOOTCONFIG\n"));
        let held = read(&initramfs[start..]).unwrap();
        assert_eq!(held.archive.as_deref(), Some(&b"what is stamped"[..]));
        assert_eq!(held.used, stamp.archive.len() + stamp.bootconfig.len());
        initramfs[start..].copy_from_slice(&fill(size, &Packed::default()).unwrap());
        assert_eq!(initramfs, built);
    }

    #[test]
    fn an_area_that_is_stamped_into_an_area_is_not_taken_for_it() {
        let mut initramfs = initramfs(32 << 10);
        let start = find(&initramfs).unwrap();
        let size = initramfs.len() - start;
        // Stored as it is, so that the bytes show.
        let archive = [header(4096), header(size), header(size - 4)].concat();
        let stamp = Packed {
            archive,
            bootconfig: Vec::new(),
        };
        initramfs[start..].copy_from_slice(&fill(size, &stamp).unwrap());
        assert_eq!(find(&initramfs), Some(start));
    }

    #[test]
    fn what_fits_to_the_byte_is_taken_and_a_byte_more_is_not() {
        let size = 4096;
        let of = |length| Packed {
            archive: vec![1; length],
            bootconfig: Vec::new(),
        };
        assert_eq!(fill(size, &of(room(size))).unwrap().len(), size);
        let error = fill(size, &of(room(size) + 1)).unwrap_err();
        assert_eq!((error.needed, error.room), (room(size) + 1, room(size)));
        assert!(error.to_string().contains("stamp_area = \"16 KiB\""));
    }

    #[test]
    fn damage_is_noticed() {
        let size = 8192;
        let whole = fill(size, &sample()).unwrap();
        let start = header(size).len();
        for (at, damaged) in [(start + 20, true), (size - 14, true), (start - 1, false)] {
            let mut area = whole.clone();
            area[at] ^= 4;
            assert_eq!(read(&area).is_err(), damaged, "byte {at}");
        }
        let mut area = whole;
        area[start + sample().archive.len() + 100] = 1;
        assert!(read(&area).is_err());
    }

    #[test]
    fn gnu_cpio_reads_the_header_and_compares_its_checksum() {
        let list = |archive: &[u8]| {
            let mut child = Command::new("cpio")
                .args(["-i", "--only-verify-crc", "--verbose"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(archive).unwrap();
            let output = child.wait_with_output().unwrap();
            String::from_utf8(output.stderr).unwrap()
        };
        let mut archive = header(36_864);
        let said = list(&archive);
        assert!(said.contains(NAME) && !said.contains("checksum"), "{said}");
        let at = archive
            .windows(5)
            .position(|word| word == b"36864")
            .unwrap();
        archive[at] = b'4';
        let said = list(&archive);
        assert!(said.contains("checksum"), "{said}");
    }
}
