//! Disks: model, size, how they are attached, their partitions, and what is on each.
//!
//! What is not read by itself: CD drives never, and neither what is removable or attached by USB
//! ([`Looked::No`]), because it may be the medium that this system came from, at the end of a
//! line where each read takes seconds, or gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::reader::{Answer, Wish, read_all};
use crate::superblock::{Content, identify, pieces};
use crate::text::printable;
use crate::tree::{Tree, attribute, names, number};

/// All disks are given so long to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// The unit of sizes in sysfs, whatever the disk's own sector is.
const SECTOR: u64 = 512;

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name: `sda`.
    pub name: String,
    /// Its model; empty where it has none (virtio).
    pub model: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// How it is attached, in a word or two.
    pub bus: String,
    /// Whether it is a disk that rotates, by what it says.
    pub rotates: bool,
    /// Whether it was read.
    pub looked: Looked,
    /// What is on it as a whole, without partitions.
    pub content: Option<Content>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name: `sda1`.
    pub name: String,
    /// Its number.
    pub number: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is on it.
    pub content: Option<Content>,
}

/// Whether a disk was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It was.
    Yes,
    /// It was not: it is removable, or attached by USB.
    No,
    /// It was tried, and no answer came.
    NoAnswer,
    /// It was tried, and not even its first bytes could be read.
    Unreadable,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Read removable disks and those attached by USB, too.
    pub removable: bool,
    /// List what is made of disks as well (md, dm), and CD drives, which are never read.
    pub everything: bool,
}

/// Names of devices that are not disks.
const NO_DISKS: [&str; 5] = ["loop", "ram", "zram", "fd", "mtdblock"];
/// What is made of disks.
const MADE: [&str; 2] = ["dm-", "md"];

/// The disks that there are.
pub fn disks(tree: &Tree, scope: Scope) -> Vec<Disk> {
    let block = tree.sys.join("block");
    let mut disks: Vec<Disk> = names(&block)
        .into_iter()
        .filter(|name| !NO_DISKS.iter().any(|other| is_kind(name, other)))
        .filter(|name| {
            scope.everything || !is_cd(name) && !MADE.iter().any(|made| is_kind(name, made))
        })
        .filter_map(|name| disk(&block.join(&name), name, scope))
        .collect();
    look(tree, &mut disks);
    disks
}

/// `dm-0` is of the kind `dm-`, `loop12` of `loop`; `mdx` is not of `md`.
fn is_kind(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_digit()) || kind == "md" && rest.starts_with('_')
    })
}

fn is_cd(name: &str) -> bool {
    is_kind(name, "sr")
}

fn disk(path: &Path, name: String, scope: Scope) -> Option<Disk> {
    let bytes = number::<u64>(&path.join("size"))?.saturating_mul(SECTOR);
    let cd = is_cd(&name);
    // An nbd device that nobody has connected, a card reader without a card.
    if bytes == 0 && !cd {
        return None;
    }
    let attached = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let bus = bus(&attached, &name);
    let removable = number::<u8>(&path.join("removable")) == Some(1) || bus == "USB";
    let mut partitions: Vec<Partition> = names(path)
        .into_iter()
        .filter_map(|partition| {
            let path = path.join(&partition);
            Some(Partition {
                number: number(&path.join("partition"))?,
                bytes: number::<u64>(&path.join("size"))?.saturating_mul(SECTOR),
                name: partition,
                content: None,
            })
        })
        .collect();
    partitions.sort_by_key(|partition| partition.number);
    Some(Disk {
        model: model(path),
        bytes,
        bus: if cd { "CD drive".into() } else { bus },
        rotates: number::<u8>(&path.join("queue/rotational")) == Some(1),
        looked: if cd || removable && !scope.removable {
            Looked::No
        } else {
            Looked::Yes
        },
        content: None,
        partitions,
        name,
    })
}

/// Vendor and model; libata says `ATA` for every vendor.
fn model(path: &Path) -> String {
    let device = path.join("device");
    let model = ["device/model", "device/name", "dm/name", "md/level"]
        .iter()
        .find_map(|file| attribute(&path.join(file)))
        .unwrap_or_default();
    match attribute(&device.join("vendor")) {
        Some(vendor) if is_vendor(&vendor) && !model.starts_with(&vendor) => {
            format!("{vendor} {model}").trim().to_string()
        }
        _ => model,
    }
}

/// A SCSI vendor's name, as opposed to `ATA`, and to a PCI vendor's number (virtio).
fn is_vendor(vendor: &str) -> bool {
    vendor != "ATA" && !vendor.starts_with("0x")
}

/// Told by the devices that it hangs on: the path in `/sys/devices`.
fn bus(path: &Path, name: &str) -> String {
    let on = |kind: &str| {
        path.components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            part.strip_prefix(kind)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    if on("usb") {
        return "USB".into();
    }
    if on("nvme") || name.starts_with("nvme") {
        return "NVMe".into();
    }
    if on("ata") {
        return "SATA".into();
    }
    if let Some(driver) = scsi_driver(path) {
        return driver;
    }
    for (kind, bus) in [("virtio", "virtio"), ("mmc", "MMC"), ("vbd-", "Xen")] {
        if on(kind) {
            return bus.into();
        }
    }
    for (kind, bus) in [("dm-", "device mapper"), ("md", "array"), ("nbd", "NBD")] {
        if is_kind(name, kind) {
            return bus.into();
        }
    }
    String::new()
}

/// The driver of the SCSI host: `megaraid_sas` says more than "SCSI".
fn scsi_driver(path: &Path) -> Option<String> {
    let host = path.ancestors().find(|part| {
        part.file_name().is_some_and(|name| {
            name.to_string_lossy()
                .strip_prefix("host")
                .is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        })
    })?;
    let name = host.file_name()?;
    let driver = attribute(&host.join("scsi_host").join(name).join("proc_name"))
        .filter(|driver| driver != "<NULL>" && driver != "(null)");
    Some(driver.unwrap_or_else(|| "SCSI".into()))
}

/// Reads all disks that may be read, at the same time.
fn look(tree: &Tree, disks: &mut [Disk]) {
    let node = |name: &str| -> PathBuf {
        // In sysfs a slash in a device's name is written as an exclamation mark (cciss!c0d0).
        tree.dev.join(name.replace('!', "/"))
    };
    let wanted: Vec<&mut Disk> = disks
        .iter_mut()
        .filter(|disk| disk.looked == Looked::Yes)
        .collect();
    let wishes: Vec<Vec<Wish>> = wanted
        .iter()
        .map(|disk| {
            let whole = disk
                .partitions
                .is_empty()
                .then_some((&disk.name, disk.bytes));
            let parts = disk.partitions.iter().map(|part| (&part.name, part.bytes));
            whole
                .into_iter()
                .chain(parts)
                .map(|(name, bytes)| Wish {
                    path: node(name),
                    pieces: pieces(bytes),
                })
                .collect()
        })
        .collect();
    for (disk, answer) in wanted.into_iter().zip(read_all(&wishes, ANSWER)) {
        let Answer::Read(mut read) = answer else {
            disk.looked = Looked::NoAnswer;
            continue;
        };
        // Bad sectors elsewhere only hide what is there.
        if read
            .iter()
            .all(|pieces| pieces.iter().all(|(_, bytes)| bytes.is_empty()))
        {
            disk.looked = Looked::Unreadable;
        }
        if disk.partitions.is_empty() {
            disk.content = read.pop().and_then(|read| identify(disk.bytes, &read));
        }
        for (part, read) in disk.partitions.iter_mut().zip(read) {
            part.content = identify(part.bytes, &read);
        }
    }
}

impl Content {
    /// `ext4 "root"`.
    pub fn words(&self) -> String {
        match &self.label {
            Some(label) => format!("{} \"{label}\"", self.kind),
            None => self.kind.into(),
        }
    }
}

impl Disk {
    /// Its name, fit to be shown.
    pub fn shown_name(&self) -> String {
        printable(self.name.as_bytes())
    }
}
