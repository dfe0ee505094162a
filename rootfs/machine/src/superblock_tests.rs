//! Superblocks of the reference tools' making, and of nobody's.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::reader::{Answer, Wish, read_all};

const MIB: u64 = 1 << 20;

/// An image file that goes when the test does.
struct Disk {
    path: PathBuf,
    size: u64,
}

impl Disk {
    fn new(name: &str, size: u64) -> Disk {
        let path =
            std::env::temp_dir().join(format!("kedge-superblock-{}-{name}", std::process::id()));
        File::create(&path).unwrap().set_len(size).unwrap();
        Disk { path, size }
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }

    /// Runs a tool of the package on the image.
    fn made_by(self, package: &str, tool: &str, arguments: &[&str]) -> Disk {
        let output = Command::new(tool)
            .args(arguments)
            .arg(&self.path)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap_or_else(|e| panic!("{tool} (Debian package {package}): {e}"));
        assert!(output.status.success(), "{tool}: {output:?}");
        self
    }

    /// What the image is found to be, read as a disk is.
    fn content(&self) -> Option<Content> {
        let wish = Wish {
            path: self.path.clone(),
            pieces: pieces(self.size),
        };
        match read_all(&[vec![wish]], Duration::from_secs(20)).remove(0) {
            Answer::Read(mut wishes) => identify(self.size, &wishes.remove(0)),
            Answer::NoAnswer => panic!("{} was not read", self.path.display()),
        }
    }

    fn is(&self, kind: &str, label: Option<&str>) {
        let content = self
            .content()
            .unwrap_or_else(|| panic!("{kind} was not recognised"));
        assert_eq!((content.kind, content.label.as_deref()), (kind, label));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[test]
fn ext_of_three_generations() {
    for (kind, label) in [
        ("ext2", "two"),
        ("ext3", "three"),
        ("ext4", "sixteen-letters."),
    ] {
        Disk::new(kind, 16 * MIB)
            .made_by(
                "e2fsprogs",
                "mke2fs",
                &["-q", "-F", "-t", kind, "-L", label],
            )
            .is(kind, Some(label));
    }
    Disk::new("ext4-plain", 16 * MIB)
        .made_by("e2fsprogs", "mke2fs", &["-q", "-F", "-t", "ext4"])
        .is("ext4", None);
    Disk::new("jbd", 16 * MIB)
        .made_by("e2fsprogs", "mke2fs", &["-q", "-F", "-O", "journal_dev"])
        .is("jbd", None);
}

#[test]
fn xfs() {
    Disk::new("xfs", 300 * MIB)
        .made_by("xfsprogs", "mkfs.xfs", &["-q", "-L", "twelvetwelve"])
        .is("xfs", Some("twelvetwelve"));
}

#[test]
fn btrfs() {
    Disk::new("btrfs", 128 * MIB)
        .made_by("btrfs-progs", "mkfs.btrfs", &["-q", "-L", "pool one"])
        .is("btrfs", Some("pool one"));
}

#[test]
fn vfat_of_each_width() {
    for (width, size) in [("12", MIB), ("16", 16 * MIB), ("32", 64 * MIB)] {
        Disk::new(&format!("fat{width}"), size)
            .made_by("dosfstools", "mkfs.fat", &["-F", width, "-n", "EFI"])
            .is("vfat", Some("EFI"));
        Disk::new(&format!("fat{width}-plain"), size)
            .made_by("dosfstools", "mkfs.fat", &["-F", width])
            .is("vfat", None);
    }
}

#[test]
fn swap() {
    Disk::new("swap", 4 * MIB)
        .made_by("util-linux", "mkswap", &["-L", "swap0"])
        .is("swap", Some("swap0"));
}

#[test]
fn luks1() {
    let disk = Disk::new("luks1", 0);
    let mut create = Command::new("qemu-img");
    create
        .args([
            "create",
            "-q",
            "-f",
            "luks",
            "--object",
            "secret,id=s,data=secret",
        ])
        .args(["-o", "key-secret=s,iter-time=10"])
        .arg(&disk.path)
        .arg("1M");
    // It measures this computer's speed, and gives up when something else takes the time slice.
    let output = (0..10)
        .map(|_| {
            create
                .output()
                .unwrap_or_else(|e| panic!("qemu-img (Debian package qemu-utils): {e}"))
        })
        .find(|output| !String::from_utf8_lossy(&output.stderr).contains("accurate CPU usage"))
        .expect("qemu-img cannot measure this computer's speed");
    assert!(output.status.success(), "{output:?}");
    let size = std::fs::metadata(&disk.path).unwrap().len();
    Disk {
        path: disk.path.clone(),
        size,
    }
    .is("LUKS1", None);
}

#[test]
fn iso9660() {
    let disk = Disk::new("iso", 0);
    std::fs::remove_file(&disk.path).unwrap();
    let output = Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-V", "KEDGE", "-o"])
        .arg(&disk.path)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .output()
        .unwrap_or_else(|e| panic!("xorriso (Debian package xorriso): {e}"));
    assert!(output.status.success(), "{output:?}");
    let size = std::fs::metadata(&disk.path).unwrap().len();
    Disk {
        path: disk.path.clone(),
        size,
    }
    .is("iso9660", Some("KEDGE"));
}

/// `struct mdp_superblock_1` as far as it counts.
fn md_1(disk: &Disk, offset: u64) {
    disk.write(offset, b"\xfc\x4e\x2b\xa9\x01\0\0\0");
    disk.write(offset + 32, b"host:0");
    disk.write(offset + 144, &(offset / 512).to_le_bytes());
}

#[test]
fn members_of_arrays_are_not_taken_for_what_is_on_the_array() {
    // A mirror's member with its superblock at the end starts like the file system on it.
    for (kind, size, offset) in [
        ("md 1.0", 16 * MIB + 512, 16 * MIB - 8192),
        ("md 1.1", 16 * MIB, 0),
        ("md 1.2", 16 * MIB, 4096),
    ] {
        let disk = Disk::new(kind, size).made_by("e2fsprogs", "mke2fs", &["-q", "-F"]);
        md_1(&disk, offset);
        disk.is(kind, Some("host:0"));
    }
    let disk = Disk::new("md 0.90", 16 * MIB + 4096).made_by("e2fsprogs", "mke2fs", &["-q", "-F"]);
    disk.write(16 * MIB - 65536, b"\xfc\x4e\x2b\xa9\0\0\0\0\x5a\0\0\0");
    disk.is("md 0.90", None);
}

#[test]
fn a_superblock_that_says_it_is_elsewhere_is_another_partitions() {
    let disk = Disk::new("md-elsewhere", 16 * MIB);
    let at = md_10_offset(disk.size).unwrap();
    md_1(&disk, at);
    disk.write(at + 144, &(at / 512 + 2048).to_le_bytes());
    assert_eq!(disk.content(), None);
}

#[test]
fn kinds_by_their_specification() {
    let disk = Disk::new("luks2", MIB);
    disk.write(0, b"LUKS\xba\xbe\x00\x02");
    disk.write(0x18, b"crypt");
    disk.is("LUKS2", Some("crypt"));

    let disk = Disk::new("lvm", MIB);
    disk.write(512, b"LABELONE");
    disk.is("LVM2", None);

    let disk = Disk::new("zfs", MIB);
    let mut label = vec![1, 1, 0, 0];
    for word in [0u32, 1, 36, 32, 7] {
        label.extend(word.to_be_bytes());
    }
    label.truncate(20);
    label.extend(b"\0\0\0\x07version\0");
    for word in [8u32, 1, 0, 5000, 32, 32, 4] {
        label.extend(word.to_be_bytes());
    }
    label.extend(b"name");
    for word in [9u32, 1, 5] {
        label.extend(word.to_be_bytes());
    }
    label.extend(b"rpool\0\0\0");
    disk.write(16 << 10, &label);
    disk.is("zfs", Some("rpool"));
}

#[test]
fn every_row_is_within_what_is_read() {
    let size = 1 << 40;
    let zeroes: Pieces = pieces(size)
        .into_iter()
        .map(|(at, length)| (at, vec![0; length]))
        .collect();
    let image = Image(&zeroes);
    for row in &TABLE {
        assert!(
            image.bytes(row.magic.0, row.magic.1.len()).is_some(),
            "{}",
            row.kind
        );
        if let Label::At(offset, length) = row.label {
            assert!(
                image.bytes(offset, length).is_some(),
                "label of {}",
                row.kind
            );
        }
    }
}

#[test]
fn an_empty_disk_holds_nothing() {
    for size in [0, 512, 8192, 65536, 131_072, MIB] {
        assert_eq!(Disk::new(&format!("empty-{size}"), size).content(), None);
    }
}

#[test]
fn hostile_bytes_neither_panic_nor_reach_a_terminal() {
    // A generator of its own (Numerical Recipes' LCG): the same bytes in every run.
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    for round in 0..2000 {
        let size = 1 << 20;
        let mut pieces: Pieces = pieces(size)
            .into_iter()
            .map(|(at, length)| (at, (0..length).map(|_| random() as u8).collect()))
            .collect();
        let row = &TABLE[round % TABLE.len()];
        for (at, bytes) in &mut pieces {
            // Some pieces end early, as on a disk with bad sectors.
            if random() < 64 {
                bytes.truncate(random() as usize);
            }
            if let Some(from) = row.magic.0.checked_sub(*at)
                && let Some(to) = bytes.get_mut(from as usize..from as usize + row.magic.1.len())
            {
                to.copy_from_slice(row.magic.1);
            }
        }
        if let Some(Content {
            label: Some(label), ..
        }) = identify(size, &pieces)
        {
            assert!(
                label.bytes().all(|b| (b' '..=b'~').contains(&b)),
                "{label:?}"
            );
            assert!(label.len() <= 256);
        }
    }
}
