//! What the kernel says about disks: a repair on a disk that is failing may cost what is still readable on it.
//!
//! Only what is certain counts: that a request failed, a checksum was wrong, a file system found itself damaged. Link
//! resets and retries that went well do not.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// More records than the kernel's buffer holds.
const MOST_RECORDS: usize = 1 << 20;

/// What is in trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The disk could not read or write.
    Disk,
    /// The file system is not what it should be.
    FileSystem,
}

/// One line about one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) trouble: Trouble,
    /// As the kernel calls it: `sda`, `dm-0`, `nvme0`.
    pub(crate) device: String,
    /// The line.
    pub(crate) text: String,
}

/// What the log at `path` (`/dev/kmsg`) says about the devices called `names`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn complaints(path: &Path, names: &BTreeSet<String>) -> std::io::Result<Vec<Complaint>> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    let mut found = Vec::new();
    // One record a read; shorter buffers are an error.
    let mut record = vec![0; 64 << 10];
    for _ in 0..MOST_RECORDS {
        let length = match log.read(&mut record) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // What was to be read next was overwritten; goes on with the oldest.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let text = String::from_utf8_lossy(&record[..length]);
        for text in text.lines().filter_map(message) {
            if let Some(device) = attached(text) {
                found.retain(|complaint: &Complaint| complaint.device != device);
            }
            found.extend(complaint(text));
        }
    }
    found.retain(|complaint| names.contains(&complaint.device));
    Ok(found)
}

/// The kernel's own message in a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg): `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT`.
/// What a program wrote there has a facility above the priority's three bits.
fn message(line: &str) -> Option<&str> {
    let (prefix, text) = line.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    (priority < 8).then_some(text)
}

/// The device that is another one from now on: loop and network block devices are numbers that are given to image after
/// image (`set_capacity_and_notify()` in block/genhd.c). A disk that comes back under its name is the same disk.
fn attached(text: &str) -> Option<&str> {
    let (device, _) = text.split_once(": detected capacity change from 0 to ")?;
    let is_number = device.starts_with("loop") || device.starts_with("nbd");
    is_number.then_some(device)
}

/// What a message says about a device, if it says that it fails.
fn complaint(text: &str) -> Option<Complaint> {
    use Trouble::{Disk, FileSystem};
    let between = |before: &str, after: &[char]| {
        let (_, rest) = text.split_once(before)?;
        let end = rest.find(after).unwrap_or(rest.len());
        Some(&rest[..end])
    };
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let (trouble, device) = if says(&[
        "I/O error, dev ",
        "critical medium error, dev ",
        "critical target error, dev ",
    ]) {
        // block/blk-core.c, blk_print_req_error()
        (Disk, between("error, dev ", &[','])?)
    } else if says(&["Buffer I/O error on dev "]) {
        // fs/buffer.c
        (Disk, between("Buffer I/O error on dev ", &[','])?)
    } else if says(&["Buffer I/O error on device "]) {
        // fs/ext4/page-io.c
        (Disk, between("Buffer I/O error on device ", &[','])?)
    } else if says(&["JBD2: Detected IO errors while flushing file data on "]) {
        let device = between("file data on ", &[' '])?;
        // The journal's inode follows.
        (Disk, device.rsplit_once('-')?.0)
    } else if text.starts_with("nvme ")
        && says(&[
            "timeout",
            "controller is down",
            "Removing after probe failure",
        ])
    {
        // drivers/nvme/host/pci.c
        (Disk, between("nvme ", &[':'])?)
    } else if text.starts_with("md/") && says(&["Disk failure on "]) {
        (Disk, between("Disk failure on ", &[',', ' '])?)
    } else if text.starts_with("EXT4-fs error (device ")
        || text.starts_with("EXT4-fs warning (device ") && says(&["I/O error"])
    {
        // "device sda2: inode #12" or "device sda2)": fs/ext4/super.c
        (FileSystem, between("(device ", &[')', ':'])?)
    } else if text.starts_with("XFS (")
        && says(&[
            "orruption",
            "etadata I/O error",
            "log I/O error",
            "CRC error",
            "Unmount and run xfs_repair",
        ])
    {
        (FileSystem, between("XFS (", &[')'])?)
    } else if text.starts_with("BTRFS error (device ")
        || text.starts_with("BTRFS critical (device ")
        || text.starts_with("BTRFS warning (device ") && says(&["csum failed", "checksum"])
    {
        (FileSystem, between("(device ", &[')', ':', ' '])?)
    } else {
        return None;
    };
    Some(Complaint {
        trouble,
        device: device.to_string(),
        text: text.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of real kernels, 5.4 to 6.12.
    const LINES: &[(&str, Trouble, &str)] = &[
        (
            "I/O error, dev sda, sector 123456 op 0x0:(READ) flags 0x80700 phys_seg 1 prio class 2",
            Trouble::Disk,
            "sda",
        ),
        (
            "blk_update_request: I/O error, dev vdb, sector 2048 op 0x0:(READ) flags 0x0",
            Trouble::Disk,
            "vdb",
        ),
        (
            "critical medium error, dev sdb, sector 5860533160 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
            Trouble::Disk,
            "sdb",
        ),
        (
            "blk_update_request: critical target error, dev nvme0n1, sector 0 op 0x3:(DISCARD)",
            Trouble::Disk,
            "nvme0n1",
        ),
        (
            "Buffer I/O error on dev dm-0, logical block 12, async page read",
            Trouble::Disk,
            "dm-0",
        ),
        (
            "Buffer I/O error on device sda1, logical block 1081345",
            Trouble::Disk,
            "sda1",
        ),
        (
            "JBD2: Detected IO errors while flushing file data on dm-3-8",
            Trouble::Disk,
            "dm-3",
        ),
        (
            "nvme nvme0: I/O 128 (I/O Cmd) QID 2 timeout, aborting",
            Trouble::Disk,
            "nvme0",
        ),
        (
            "nvme nvme1: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff",
            Trouble::Disk,
            "nvme1",
        ),
        (
            "md/raid1:md0: Disk failure on sdc1, disabling device.",
            Trouble::Disk,
            "sdc1",
        ),
        (
            "EXT4-fs error (device sda2): ext4_lookup:1855: inode #131: comm ls: iget: checksum invalid",
            Trouble::FileSystem,
            "sda2",
        ),
        (
            "EXT4-fs warning (device dm-1): ext4_end_bio:343: I/O error 10 writing to inode 12 starting block 5)",
            Trouble::FileSystem,
            "dm-1",
        ),
        (
            "XFS (dm-0): Metadata corruption detected at xfs_inode_buf_verify+0x14d/0x160 [xfs], xfs_inode block 0x80",
            Trouble::FileSystem,
            "dm-0",
        ),
        (
            "XFS (sda3): metadata I/O error in \"xfs_buf_ioend\" at daddr 0x1 len 1 error 5",
            Trouble::FileSystem,
            "sda3",
        ),
        (
            "BTRFS warning (device sdd1): csum failed root 5 ino 257 off 0 csum 0x8941f998 expected csum 0x1 mirror 1",
            Trouble::FileSystem,
            "sdd1",
        ),
        (
            "BTRFS error (device sdd1 state EA): bdev /dev/sdd1 errs: wr 1, rd 2, flush 0, corrupt 0, gen 0",
            Trouble::FileSystem,
            "sdd1",
        ),
    ];

    #[test]
    fn complaints_of_real_kernels_name_their_device() {
        for &(text, trouble, device) in LINES {
            let found = complaint(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((found.trouble, &*found.device), (trouble, device), "{text}");
        }
    }

    #[test]
    fn what_is_no_complaint_is_none() {
        for text in [
            "EXT4-fs (sda2): mounted filesystem 5f5c with ordered data mode. Quota mode: none.",
            "EXT4-fs (sda2): recovery complete",
            "sd 0:0:0:0: [sda] Attached SCSI disk",
            "ata1.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen",
            "XFS (dm-0): Ending clean mount",
            "BTRFS info (device sdd1): using crc32c (crc32c-generic) checksum algorithm",
            "nvme nvme0: 8/0/0 default/read/poll queues",
            "",
        ] {
            assert_eq!(complaint(text), None, "{text}");
        }
    }

    #[test]
    fn what_an_image_said_is_not_told_of_the_next_one() {
        let path = std::env::temp_dir().join(format!("kedge-repair-loop-{}", std::process::id()));
        let lines = [
            "3,1,10,-;EXT4-fs error (device loop0): ext4_lookup:1: inode #2: comm ls: iget: checksum invalid",
            "3,2,11,-;I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
            "6,3,20,-;loop0: detected capacity change from 0 to 1310720",
            "6,4,21,-;sda: detected capacity change from 0 to 1310720",
            "3,5,30,-;EXT4-fs error (device loop0): ext4_lookup:1: inode #9: comm ls: iget: checksum invalid",
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let names = BTreeSet::from(["loop0".to_string(), "sda".to_string()]);
        let found = complaints(&path, &names).unwrap();
        let texts: Vec<&str> = found.iter().map(|complaint| &*complaint.text).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].contains("sector 8") && texts[1].contains("inode #9"));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn only_the_kernels_own_words_about_these_disks_count() {
        let path = std::env::temp_dir().join(format!("kedge-repair-kmsg-{}", std::process::id()));
        let lines = [
            "3,100,5000,-;I/O error, dev sda, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
            " SUBSYSTEM=block",
            "3,101,5001,-;I/O error, dev sr0, sector 8 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2",
            // logger -t, echo > /dev/kmsg
            "12,102,5002,-;I/O error, dev sda, sector 9",
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let names = BTreeSet::from(["sda".to_string(), "sda2".to_string()]);
        let found = complaints(&path, &names).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.contains("sector 8"));
        std::fs::remove_file(&path).unwrap();
    }
}
