//! Where files lie, so that a disk with heads moves them seldom.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{FileType, Stat};

use super::Folders;
use crate::device::Device;
use crate::extent;

/// What was found out about devices so far: a number for each, and whether it rotates.
#[derive(Default)]
pub(crate) struct DiskOrder {
    devices: Mutex<HashMap<u64, (u64, bool)>>,
}

impl DiskOrder {
    /// The smaller, the earlier it is read: by device, and on it by place where it rotates, by inode elsewhere.
    pub(crate) fn place(&self, path: &Path, stat: &Stat, folders: &mut Folders) -> u64 {
        let (device, rotates) = self.device(stat);
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let place = match rotates {
            true if regular => {
                let file = folders.open_regular(path).ok();
                file.and_then(|(file, _)| extent::physical(&file, 0))
            }
            _ => Some(stat.st_ino),
        };
        // Nobody has more than 2^56 bytes, or 256 file systems in one tree; if so, the order is not the best.
        let place = place.unwrap_or(0) & (u64::MAX >> 8);
        device << 56 | place
    }

    fn device(&self, stat: &Stat) -> (u64, bool) {
        let Ok(mut devices) = self.devices.lock() else {
            return (0, false);
        };
        let number = devices.len() as u64;
        *devices.entry(stat.st_dev).or_insert_with(|| {
            let rotates = Device::of(stat).is_some_and(|device| device.rotates());
            (number, rotates)
        })
    }
}
