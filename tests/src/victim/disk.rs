//! A victim's disk: a raw image with an MBR and one partition, ext4.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::child::output;

/// Where the partition begins, as partitioning tools have it today: 1 MiB.
const START: u64 = 1 << 20;

/// A sector of an MBR's numbers.
const SECTOR: u64 = 512;

/// The partition's type: Linux.
const LINUX: u8 = 0x83;

/// A disk image.
#[derive(Debug, Clone)]
pub struct Disk(PathBuf);

impl Disk {
    /// One that is there.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// A new one of `size` bytes, with what is in the folder `root`; nothing is mounted for it.
    pub(crate) fn make(path: &Path, size: u64, root: &Path) -> Result<Self> {
        let image =
            File::create_new(path).with_context(|| format!("creating {}", path.display()))?;
        image.set_len(START + size)?;
        image.write_all_at(&master_boot_record(size)?, 0)?;
        let mut mke2fs = Command::new("/sbin/mke2fs");
        mke2fs
            .args(["-q", "-F", "-t", "ext4", "-L", "victim", "-E"])
            .arg(format!("offset={START}"))
            .arg("-d")
            .args([root, path])
            .arg(format!("{}k", size / 1024));
        output(&mut mke2fs, None)?;
        Ok(Self(path.to_owned()))
    }

    /// The image.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Mounts the partition on this host, which replays the journal; it is unmounted when what is returned is dropped.
    pub fn mount(&self, on: &Path) -> Result<Mounted> {
        fs::create_dir_all(on)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "ext4", "-o", &format!("loop,offset={START}")]);
        output(mount.arg(&self.0).arg(on), None)?;
        Ok(Mounted(on.to_owned()))
    }

    /// Has e2fsck(8) look at all of the file system, once its journal was replayed.
    pub fn check(&self) -> Result<()> {
        let mut e2fsck = Command::new("/sbin/e2fsck");
        e2fsck.args(["-f", "-n"]);
        e2fsck.arg(format!("{}?offset={START}", self.0.display()));
        output(&mut e2fsck, None).map(drop)
    }

    /// What debugfs(8) says to `command`: the file system is read, and written where `write`, without being mounted.
    pub fn debugfs(&self, command: &str, write: bool) -> Result<Vec<u8>> {
        let mut debugfs = Command::new("/sbin/debugfs");
        if write {
            debugfs.arg("-w");
        }
        debugfs.args(["-R", command]);
        debugfs.arg(format!("{}?offset={START}", self.0.display()));
        output(&mut debugfs, None)
    }

    /// Changes bytes of a file where they lie on the disk, as failing hardware does: no size, time or owner tells.
    pub fn overwrite(&self, file: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let image = OpenOptions::new().read(true).write(true).open(&self.0)?;
        for (n, byte) in bytes.iter().enumerate() {
            let at = self.place_of(file, offset + n as u64)?;
            image.write_all_at(&[*byte], at)?;
        }
        Ok(())
    }

    /// Where byte `offset` of a file lies in the image.
    pub fn place_of(&self, file: &str, offset: u64) -> Result<u64> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let stats = text(self.debugfs("show_super_stats -h", false)?);
        let block_size: u64 = stats
            .lines()
            .find_map(|line| line.strip_prefix("Block size:"))
            .and_then(|size| size.trim().parse().ok())
            .context("debugfs does not tell the block size")?;
        let said = text(self.debugfs(&format!("bmap {file} {}", offset / block_size), false)?);
        let block: u64 = said
            .trim()
            .parse()
            .with_context(|| format!("debugfs does not tell where {file} lies: {said:?}"))?;
        Ok(START + block * block_size + offset % block_size)
    }
}

/// A partition that is mounted.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Where.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = output(Command::new("umount").arg(&self.0), None) {
            eprintln!("{error:#}");
        }
    }
}

/// An MBR with one entry: it has no boot code, and addresses by LBA only (cylinder, head and sector at their maximum).
fn master_boot_record(size: u64) -> Result<[u8; SECTOR as usize]> {
    let mut record = [0; SECTOR as usize];
    let entry = &mut record[446..462];
    entry[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[4] = LINUX;
    entry[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&u32::try_from(START / SECTOR)?.to_le_bytes());
    entry[12..16].copy_from_slice(&u32::try_from(size / SECTOR)?.to_le_bytes());
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;

    #[test]
    fn a_byte_is_changed_in_the_file_and_nowhere_else() -> Result<()> {
        let folder = Folder::new("unit.victim.disk")?;
        let root = folder.folder("root")?;
        fs::write(root.join("file"), vec![b'a'; 10_000])?;
        fs::write(root.join("other"), vec![b'a'; 10_000])?;
        let disk = Disk::make(&folder.path().join("disk.img"), 16 << 20, &root)?;
        disk.overwrite("/file", 9_000, b"xy")?;
        let mut expected = vec![b'a'; 10_000];
        expected[9_000..9_002].copy_from_slice(b"xy");
        assert!(disk.debugfs("cat /file", false)? == expected);
        assert!(disk.debugfs("cat /other", false)? == [b'a'; 10_000]);
        Ok(())
    }
}
