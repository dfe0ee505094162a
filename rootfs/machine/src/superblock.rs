//! Tells by its superblock what a disk or partition holds. One table; each row names where its
//! numbers come from. Nothing that is read is trusted: it is compared, or shown as printable text.

use crate::reader::Pieces;
use crate::text::printable;

/// What is on a disk or partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its kind, by the name that `mount -t` or the field has for it: `ext4`, `LUKS2`, `LVM2`.
    pub kind: &'static str,
    /// Its label, if it has one; for members of an array or pool, that one's name.
    pub label: Option<String>,
}

/// The pieces that [`identify`] looks at, for a device of so many bytes: offset and length.
pub fn pieces(size: u64) -> Vec<(u64, usize)> {
    let mut pieces = vec![
        (0, 8192),
        (16 << 10, 512),
        (32 << 10, 2048),
        (64 << 10, 4096),
    ];
    pieces.extend(md_090_offset(size).map(|at| (at, 512)));
    pieces.extend(md_10_offset(size).map(|at| (at, 512)));
    pieces
}

/// `MD_NEW_SIZE_SECTORS` (linux/raid/md_p.h): the last whole 64 KiB before the last 64 KiB.
fn md_090_offset(size: u64) -> Option<u64> {
    (size & !0xffff).checked_sub(64 << 10).filter(|&at| at > 0)
}

/// `super_1_load` (drivers/md/md.c), minor version 0: 8 KiB before the end, at a multiple of 4 KiB.
fn md_10_offset(size: u64) -> Option<u64> {
    Some((size / 512).checked_sub(16)? & !7)
        .filter(|&at| at > 0)
        .map(|at| at * 512)
}

/// Where a kind keeps its label.
#[derive(Clone, Copy)]
enum Label {
    None,
    /// Bytes at an offset.
    At(u64, usize),
    /// What a function finds.
    By(fn(&Image<'_>) -> Option<String>),
}

/// One kind.
struct Row {
    kind: &'static str,
    /// Offset and bytes by which it is known.
    magic: (u64, &'static [u8]),
    /// What else must hold.
    also: fn(&Image<'_>) -> bool,
    label: Label,
}

const fn row(kind: &'static str, offset: u64, magic: &'static [u8], label: Label) -> Row {
    Row {
        kind,
        magic: (offset, magic),
        also: |_| true,
        label,
    }
}

const fn and(mut row: Row, also: fn(&Image<'_>) -> bool) -> Row {
    row.also = also;
    row
}

const KIB: u64 = 1 << 10;

/// In this order: containers first, for a mirror's member looks like what is on the mirror.
#[rustfmt::skip]
const TABLE: [Row; 29] = [
    // LUKS on-disk format specification, 1.2.3 and 2.1: magic, then the version, big-endian.
    row("LUKS1", 0, b"LUKS\xba\xbe\x00\x01", Label::None),
    row("LUKS2", 0, b"LUKS\xba\xbe\x00\x02", Label::At(0x18, 48)),
    // linux/raid/md_p.h: MD_SB_MAGIC and the major version; `set_name` of version 1.
    row("md 1.1", 0, b"\xfc\x4e\x2b\xa9\x01\0\0\0", Label::At(32, 32)),
    row("md 1.2", 4 * KIB, b"\xfc\x4e\x2b\xa9\x01\0\0\0", Label::At(4 * KIB + 32, 32)),
    // LVM2, lib/format_text/layout.h: a label in one of the first four sectors.
    row("LVM2", 512, b"LABELONE", Label::None),
    row("LVM2", 0, b"LABELONE", Label::None),
    row("LVM2", 1024, b"LABELONE", Label::None),
    row("LVM2", 1536, b"LABELONE", Label::None),
    // OpenZFS, vdev_impl.h and the XDR nvlist that a vdev label keeps 16 KiB in: first the pair
    // "version", then "name", the pool's.
    row("zfs", 16 * KIB + 20, b"\0\0\0\x07version", Label::By(zfs_pool)),
    // linux/bcache-ondisk.h and fs/bcachefs/bcachefs_format.h.
    row("bcache", 4 * KIB + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", Label::None),
    row("bcachefs", 4 * KIB + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", Label::At(4 * KIB + 72, 32)),
    // Ceph, os/bluestore/BlueStore.cc.
    row("ceph", 0, b"bluestore block device\n", Label::None),
    // linux/swap.h: the end of the first page.
    row("swap", 4 * KIB - 10, b"SWAPSPACE2", Label::At(KIB + 28, 16)),
    row("swap", 4 * KIB - 10, b"SWAP-SPACE", Label::None),
    row("hibernated", 4 * KIB - 10, b"S1SUSPEND\0", Label::None),
    // fs/xfs/libxfs/xfs_format.h: `sb_fname`.
    row("xfs", 0, b"XFSB", Label::At(108, 12)),
    // fs/btrfs/btrfs_tree.h: `struct btrfs_super_block`.
    row("btrfs", 64 * KIB + 64, b"_BHRfS_M", Label::At(64 * KIB + 0x12b, 256)),
    // fs/ext4/ext4.h: `s_magic`; which of them is told by the features.
    and(row("jbd", KIB + 56, b"\x53\xef", Label::At(KIB + 120, 16)), |image| image.u32(KIB + 0x60) & 0x8 != 0),
    and(row("ext4", KIB + 56, b"\x53\xef", Label::At(KIB + 120, 16)), is_ext4),
    and(row("ext3", KIB + 56, b"\x53\xef", Label::At(KIB + 120, 16)), |image| image.u32(KIB + 0x5c) & 0x4 != 0),
    row("ext2", KIB + 56, b"\x53\xef", Label::At(KIB + 120, 16)),
    // include/linux/f2fs_fs.h.
    row("f2fs", KIB, b"\x10\x20\xf5\xf2", Label::None),
    // fs/squashfs/squashfs_fs.h; ECMA-119, 8.4: volume descriptors from sector 16 on.
    row("squashfs", 0, b"hsqs", Label::None),
    row("iso9660", 32 * KIB + 1, b"CD001", Label::At(32 * KIB + 40, 32)),
    // Boot sectors: the name of the system that formatted it, or the file system's.
    row("ntfs", 3, b"NTFS    ", Label::None),
    row("exfat", 3, b"EXFAT   ", Label::None),
    row("BitLocker", 3, b"-FVE-FS-", Label::None),
    and(row("vfat", 82, b"FAT32   ", Label::By(|image| fat_label(image, 71))), has_boot_signature),
    and(row("vfat", 54, b"FAT1", Label::By(|image| fat_label(image, 43))), has_boot_signature),
];

/// Says what the pieces are of, `None` when it is nothing that the table knows.
pub fn identify(size: u64, pieces: &Pieces) -> Option<Content> {
    let image = Image(pieces);
    if let Some(found) = md_at_end(size, &image) {
        return Some(found);
    }
    TABLE
        .iter()
        .find(|row| image.has(row.magic.0, row.magic.1) && (row.also)(&image))
        .map(|row| Content {
            kind: row.kind,
            label: match row.label {
                Label::None => None,
                Label::At(offset, length) => image.text(offset, length),
                Label::By(find) => find(&image),
            },
        })
}

/// The bytes that were read.
struct Image<'a>(&'a Pieces);

impl Image<'_> {
    fn bytes(&self, offset: u64, length: usize) -> Option<&[u8]> {
        self.0.iter().find_map(|(start, bytes)| {
            let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get(from..from.checked_add(length)?)
        })
    }

    fn has(&self, offset: u64, magic: &[u8]) -> bool {
        self.bytes(offset, magic.len()) == Some(magic)
    }

    /// 0 where nothing was read.
    fn u32(&self, offset: u64) -> u32 {
        self.bytes(offset, 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    }

    fn text(&self, offset: u64, length: usize) -> Option<String> {
        Some(printable(self.bytes(offset, length)?)).filter(|text| !text.is_empty())
    }
}

/// Array members that keep their superblock at the end. Both formats are also at the end of the
/// disk for its last partition: version 1.0 says itself where it is.
fn md_at_end(size: u64, image: &Image<'_>) -> Option<Content> {
    if let Some(at) = md_10_offset(size)
        && image.has(at, b"\xfc\x4e\x2b\xa9\x01\0\0\0")
        && image.bytes(at + 144, 8) == Some(&(at / 512).to_le_bytes()[..])
    {
        return Some(Content {
            kind: "md 1.0",
            label: image.text(at + 32, 32),
        });
    }
    let at = md_090_offset(size)?;
    // Major version 0, minor version 90.
    image
        .has(at, b"\xfc\x4e\x2b\xa9\0\0\0\0\x5a\0\0\0")
        .then_some(Content {
            kind: "md 0.90",
            label: None,
        })
}

/// ext4 is what ext3 cannot mount: an incompatible feature beyond filetype, recover, journal
/// device and meta_bg, or a read-only one beyond sparse_super, large_file and btree_dir.
fn is_ext4(image: &Image<'_>) -> bool {
    image.u32(KIB + 0x60) & !0x1e != 0 || image.u32(KIB + 0x64) & !0x7 != 0
}

fn has_boot_signature(image: &Image<'_>) -> bool {
    image.has(510, b"\x55\xaa")
}

/// mkfs.fat's word for no label stands in the field itself.
fn fat_label(image: &Image<'_>, offset: u64) -> Option<String> {
    image.text(offset, 11).filter(|label| label != "NO NAME")
}

/// A string of XDR (RFC 4506): its length, big-endian, then its bytes.
fn zfs_pool(image: &Image<'_>) -> Option<String> {
    let pair = 16 * KIB + 48;
    if !image.has(pair + 8, b"\0\0\0\x04name") {
        return None;
    }
    let length = image.bytes(pair + 24, 4)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?.min(256);
    image.text(pair + 28, length)
}

#[cfg(test)]
#[path = "superblock_tests.rs"]
mod tests;
