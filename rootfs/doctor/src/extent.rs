//! Where on its device a file lies: `FIEMAP` (linux/fiemap.h, Documentation/filesystems/fiemap.rst).

use std::fs::File;

use rustix::ioctl::{Updater, opcode};

/// `struct fiemap` with room for one `struct fiemap_extent`.
#[repr(C)]
#[derive(Default)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extent: FiemapExtent,
}

#[repr(C)]
#[derive(Default)]
struct FiemapExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `_IOWR('f', 11, struct fiemap)`: the size is that of the head, without extents.
const FS_IOC_FIEMAP: rustix::ioctl::Opcode = opcode::read_write::<[u8; 32]>(b'f', 11);
/// `FIEMAP_EXTENT_UNKNOWN`, `_DELALLOC`, `_ENCODED` (compressed), `_DATA_INLINE`: the data are not there as they are.
const ELSEWHERE: u32 = 0x2 | 0x4 | 0x8 | 0x200;

/// The byte of the file system's device at which the file's byte `offset` lies. `None` for holes, for what is not yet
/// written, compressed or kept in the inode, and where the file system does not say.
pub(crate) fn physical(file: &File, offset: u64) -> Option<u64> {
    let mut map = Fiemap {
        start: offset,
        length: 1,
        extent_count: 1,
        ..Fiemap::default()
    };
    // SAFETY: the opcode's argument is a `struct fiemap` with `extent_count` extents behind it, and `Fiemap` has one;
    // the kernel writes no more extents than that.
    let asked = unsafe {
        let ioctl = Updater::<{ FS_IOC_FIEMAP }, Fiemap>::new(&mut map);
        rustix::ioctl::ioctl(file, ioctl)
    };
    let extent = &map.extent;
    if asked.is_err() || map.mapped_extents == 0 || extent.flags & ELSEWHERE != 0 {
        return None;
    }
    let into = offset.checked_sub(extent.logical)?;
    (into < extent.length).then(|| extent.physical.saturating_add(into))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout of linux/fiemap.h on every architecture.
    #[test]
    fn the_structures_have_the_sizes_of_the_header() {
        assert_eq!(size_of::<FiemapExtent>(), 56);
        assert_eq!(size_of::<Fiemap>(), 32 + 56);
        assert_eq!(FS_IOC_FIEMAP, 0xc020_660b);
    }
}
