//! The block device under a file: what it is called, where a partition begins, whether it turns.
//!
//! Out of `/sys/dev/block` (Documentation/ABI/stable/sysfs-block) of the running kernel, not of ROOT's.

use std::fmt;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Stat, major, minor};

use crate::extent;

/// `BTRFS_SUPER_MAGIC`: what its FIEMAP says is no place on a device, but an address that it maps itself.
const BTRFS_SUPER_MAGIC: u64 = 0x9123_683e;

/// A place on a device, in sectors of 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sector {
    /// The device of the file system: `sda2`, `dm-0`.
    pub device: String,
    /// Counted from its beginning.
    pub sector: u64,
    /// The disk that `device` is a partition of, and the sector counted from the disk's beginning: what the kernel's log and SMART
    /// call it.
    pub disk: Option<(String, u64)>,
}

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sector {} of {}", self.sector, self.device)?;
        match &self.disk {
            Some((disk, sector)) => write!(f, ", which is sector {sector} of {disk}"),
            None => Ok(()),
        }
    }
}

impl Sector {
    /// Where the file's byte `offset` lies, if the file system says so.
    pub(crate) fn of(file: &File, offset: u64) -> Option<Sector> {
        let kind = rustix::fs::fstatfs(file.as_fd()).ok()?;
        if kind.f_type as u64 == BTRFS_SUPER_MAGIC {
            return None;
        }
        let sector = extent::physical(file, offset)? / 512;
        let stat = rustix::fs::fstat(file).ok()?;
        Device::of(&stat)?.at(sector)
    }
}

/// A block device.
pub(crate) struct Device {
    /// Its folder in `/sys/devices`.
    folder: PathBuf,
}

impl Device {
    /// The one that the file with this `stat` is on.
    pub(crate) fn of(stat: &Stat) -> Option<Device> {
        let number = format!("{}:{}", major(stat.st_dev), minor(stat.st_dev));
        // Without a device of its own (btrfs, overlays) the mount's source says which it is.
        let folder = fs::canonicalize(format!("/sys/dev/block/{number}"));
        folder
            .or_else(|_| fs::canonicalize(format!("/sys/class/block/{}", source(&number))))
            .ok()
            .map(|folder| Device { folder })
    }

    fn at(&self, sector: u64) -> Option<Sector> {
        let name = |folder: &Path| Some(folder.file_name()?.to_str()?.to_string());
        let start = || -> Option<u64> {
            let text = fs::read_to_string(self.folder.join("start")).ok()?;
            text.trim().parse().ok()
        };
        let partition = self.folder.join("partition").exists();
        let disk = || Some((name(self.folder.parent()?)?, start()?.checked_add(sector)?));
        Some(Sector {
            device: name(&self.folder)?,
            sector,
            disk: partition.then(disk).flatten(),
        })
    }

    /// Whether it is a disk with heads, for which the order of reading matters. Linux says so of every virtio and Xen disk,
    /// because it cannot know: what order such a disk would like is its host's business.
    pub(crate) fn rotates(&self) -> bool {
        let name = self.folder.file_name().unwrap_or_default().as_bytes();
        if name.starts_with(b"vd") || name.starts_with(b"xvd") {
            return false;
        }
        let says = |folder: &Path| fs::read_to_string(folder.join("queue/rotational")).ok();
        let text = says(&self.folder).or_else(|| says(self.folder.parent()?));
        text.is_some_and(|text| text.trim() == "1")
    }
}

/// What is mounted of the file system `number`, without `/dev/`; empty when that is no device.
fn source(number: &str) -> String {
    let mounts = kedge_mountinfo::mounts();
    let mount = mounts.iter().find(|mount| mount.device == number);
    let name = mount.and_then(|mount| mount.source.strip_prefix("/dev/"));
    name.filter(|name| !name.contains(".."))
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_told_with_its_disk() {
        let folder = std::env::temp_dir().join(format!("kedge-device-{}", std::process::id()));
        let partition = folder.join("sda/sda2");
        fs::create_dir_all(partition.join("queue")).unwrap();
        fs::write(partition.join("partition"), "2\n").unwrap();
        fs::write(partition.join("start"), "2048\n").unwrap();
        fs::create_dir_all(folder.join("sda/queue")).unwrap();
        fs::remove_dir(partition.join("queue")).unwrap();
        fs::write(folder.join("sda/queue/rotational"), "1\n").unwrap();
        let device = Device { folder: partition };
        assert_eq!(
            device.at(100).unwrap().to_string(),
            "sector 100 of sda2, which is sector 2148 of sda"
        );
        assert!(device.rotates());
        fs::write(folder.join("sda/queue/rotational"), "0\n").unwrap();
        assert!(!device.rotates());
        let folder_of = |name: &str| Device {
            folder: folder.join(name),
        };
        for (name, rotates) in [("sdb", true), ("vda", false), ("xvda", false)] {
            fs::create_dir_all(folder.join(name).join("queue")).unwrap();
            fs::write(folder.join(name).join("queue/rotational"), "1\n").unwrap();
            assert_eq!(folder_of(name).rotates(), rotates, "{name}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
