//! The whole disks under a file system: through partitions, device mapper, md, and btrfs' several devices.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use kedge_mountinfo::Mount;

/// Deeper than anybody stacks them.
const DEEPEST: usize = 16;

/// The kernel's names of everything that `mounted` lies on, such as `dm-0`, `sda2`, `sda`.
pub(crate) fn under(mounted: &Mount, sys: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut numbers = vec![mounted.device.clone()];
    // btrfs has a number of its own; its source is one of its devices, and that one's file system names the others.
    if let Ok(source) = fs::metadata(&mounted.source)
        && source.file_type().is_block_device()
    {
        let (major, minor) = (
            rustix::fs::major(source.rdev()),
            rustix::fs::minor(source.rdev()),
        );
        numbers.push(format!("{major}:{minor}"));
    }
    for number in numbers {
        if let Ok(folder) = sys.join("dev/block").join(number).canonicalize() {
            collect(&folder, DEEPEST, &mut names);
        }
    }
    if mounted.kind == "btrfs" {
        for folder in siblings(sys, &names) {
            collect(&folder, DEEPEST, &mut names);
        }
    }
    names
}

fn collect(folder: &Path, deeper: usize, names: &mut BTreeSet<String>) {
    let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
        return;
    };
    if deeper == 0 || !names.insert(name.to_string()) {
        return;
    }
    if folder.join("partition").exists()
        && let Some(disk) = folder.parent()
    {
        collect(disk, deeper - 1, names);
    }
    for below in fs::read_dir(folder.join("slaves"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(below) = below.path().canonicalize() {
            collect(&below, deeper - 1, names);
        }
    }
    // What complains is the controller, for NVMe: nvme0, not nvme0n1.
    if let Some(controller) = name
        .strip_prefix("nvme")
        .and_then(|rest| rest.split('n').next())
    {
        names.insert(format!("nvme{controller}"));
    }
}

/// All devices of the btrfs that has one of `names`.
fn siblings(sys: &Path, names: &BTreeSet<String>) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for system in fs::read_dir(sys.join("fs/btrfs"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let devices: Vec<_> = fs::read_dir(system.path().join("devices"))
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        let ours = |entry: &fs::DirEntry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| names.contains(name))
        };
        if devices.iter().any(ours) {
            folders.extend(
                devices
                    .iter()
                    .filter_map(|entry| entry.path().canonicalize().ok()),
            );
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A volume on LUKS on two partitions, as sysfs shows it.
    #[test]
    fn what_is_stacked_is_followed_down_to_the_disks() {
        let sys = std::env::temp_dir().join(format!("kedge-repair-sys-{}", std::process::id()));
        let _ = fs::remove_dir_all(&sys);
        let block = sys.join("devices/virtual/block");
        for device in [
            "sda/sda2",
            "sdb/sdb1",
            "dm-0/slaves",
            "dm-1/slaves",
            "nvme0n1/nvme0n1p3",
        ] {
            fs::create_dir_all(block.join(device)).unwrap();
        }
        for partition in ["sda/sda2", "sdb/sdb1", "nvme0n1/nvme0n1p3"] {
            fs::write(block.join(partition).join("partition"), "1\n").unwrap();
        }
        symlink(block.join("dm-0"), block.join("dm-1/slaves/dm-0")).unwrap();
        symlink(block.join("sda/sda2"), block.join("dm-0/slaves/sda2")).unwrap();
        symlink(block.join("sdb/sdb1"), block.join("dm-0/slaves/sdb1")).unwrap();
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        symlink(block.join("dm-1"), sys.join("dev/block/254:1")).unwrap();
        symlink(block.join("nvme0n1/nvme0n1p3"), sys.join("dev/block/259:3")).unwrap();
        let names = |device: &str| {
            let mounted = Mount {
                device: device.into(),
                ..Mount::default()
            };
            under(&mounted, &sys).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(
            names("254:1"),
            ["dm-0", "dm-1", "sda", "sda2", "sdb", "sdb1"]
        );
        assert_eq!(names("259:3"), ["nvme0", "nvme0n1", "nvme0n1p3"]);
        assert!(names("1:1").is_empty());
        fs::remove_dir_all(&sys).unwrap();
    }
}
