//! Where files lie, so that a disk with heads moves them seldom.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::{FileType, Stat};

use super::Folders;
use crate::device::Device;
use crate::extent;

/// A device: a number of ours for it, and whether it rotates.
#[derive(Clone, Copy)]
struct Known {
    number: u64,
    rotates: bool,
}

/// What was found out about devices so far.
#[derive(Default)]
pub(crate) struct Devices(Mutex<HashMap<u64, Known>>);

/// Says in which order files are read.
pub(crate) struct DiskOrder<'a> {
    devices: &'a Devices,
    /// The device of the file before: mostly it is this one's.
    last: Option<(u64, Known)>,
}

impl DiskOrder<'_> {
    pub(crate) fn new(devices: &Devices) -> DiskOrder<'_> {
        DiskOrder {
            devices,
            last: None,
        }
    }

    /// The smaller, the earlier it is read: by device, and on it by place where it rotates, by inode elsewhere.
    pub(crate) fn place(&mut self, path: &Path, stat: &Stat, folders: &mut Folders) -> u64 {
        let Known { number, rotates } = self.device(stat);
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
        number << 56 | place
    }

    fn device(&mut self, stat: &Stat) -> Known {
        if let Some((device, known)) = self.last
            && device == stat.st_dev
        {
            return known;
        }
        let known = self.devices.of(stat);
        self.last = Some((stat.st_dev, known));
        known
    }
}

impl Devices {
    fn of(&self, stat: &Stat) -> Known {
        let mut devices = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        let number = devices.len() as u64;
        *devices.entry(stat.st_dev).or_insert_with(|| Known {
            number,
            rotates: Device::of(stat).is_some_and(|device| device.rotates()),
        })
    }
}
