//! The EFI system partition: a FAT image that holds the UKI in one piece.
//!
//! Made by mkfs.fat and mtools. Firmware reads a file fastest when it lies in one run of
//! clusters, and the ISO's own directory points into it, so that is checked and not assumed.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::program;

/// The path that firmware looks for on removable media (UEFI specification, 3.5.1.1, x86-64).
const REMOVABLE_MEDIA_PATH: [&str; 3] = ["::EFI", "::EFI/BOOT", "::EFI/BOOT/BOOTX64.EFI"];
/// Bytes in a cluster: an ISO 9660 sector, so that every cluster can start an extent.
const CLUSTER: usize = 2048;
/// FAT12 ends at 4084 clusters (Microsoft's FAT specification, "FAT Type Determination"); some
/// to spare for the folders.
const FAT12_CLUSTERS: usize = 4000;
/// FAT16 begins at 4085 clusters: with the FATs and the folders, what is larger than FAT12's is made
/// at least so large. The rest is zeros that nobody reads.
const FAT16_CLUSTERS: usize = 4160;
/// Room for the FATs, the root directory and two folders, beside the file.
const OVERHEAD: usize = 128 * 1024;
/// Below 8192 sectors mkfs.fat takes the image for a floppy disk and aligns nothing.
const SMALLEST: usize = 8192 * 512;

/// Why the partition cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// mkfs.fat or mtools failed.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// The image cannot be written or read back.
    #[error("cannot read the FAT image {path}: {source}")]
    Read {
        /// The image.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// mcopy scattered the file, or put it off the sector grid.
    #[error("the UKI does not lie in one piece at a multiple of 2048 in the FAT image")]
    Scattered,
}

/// A finished partition image.
#[derive(Debug)]
pub struct Esp {
    /// The bytes of the image.
    pub bytes: Vec<u8>,
    /// Byte offset of the UKI in it; a multiple of 2048.
    pub uki_offset: usize,
}

/// Makes the partition in `scratch` (an empty folder) from the file `uki`, whose content is
/// `content`; `epoch` (seconds since 1970) becomes the time of all that is in it.
///
/// # Errors
/// When a program fails, or the file does not lie in one piece.
pub fn build(scratch: &Path, uki: &Path, content: &[u8], epoch: u32) -> Result<Esp, Error> {
    let image = scratch.join("esp.img");
    let size = (content.len() + OVERHEAD)
        .max(SMALLEST)
        .next_multiple_of(CLUSTER);
    let (bits, size) = if size / CLUSTER > FAT12_CLUSTERS {
        ("16", size.max(FAT16_CLUSTERS * CLUSTER))
    } else {
        ("12", size)
    };
    let kib = size / 1024;
    program::run(
        Command::new("mkfs.fat")
            // Four sectors reserved: the FATs, and with them the clusters, start on the grid.
            .args([
                "--invariant",
                "-F",
                bits,
                "-s",
                "4",
                "-R",
                "4",
                "-f",
                "2",
                "-r",
                "256",
            ])
            .args(["-n", "KEDGE", "-C"])
            .arg(&image)
            .arg(kib.to_string()),
    )?;
    let [efi, boot, file] = REMOVABLE_MEDIA_PATH;
    for folder in [efi, boot] {
        program::run(mtools("mmd", epoch).arg("-i").arg(&image).arg(folder))?;
    }
    program::run(
        mtools("mcopy", epoch)
            .arg("-i")
            .arg(&image)
            .arg(uki)
            .arg(file),
    )?;
    let bytes = std::fs::read(&image).map_err(|source| Error::Read {
        path: image.display().to_string(),
        source,
    })?;
    let uki_offset = (0..bytes.len().saturating_sub(content.len()))
        .step_by(512)
        .find(|&at| bytes[at..at + content.len()] == *content)
        .filter(|at| at % CLUSTER == 0)
        .ok_or(Error::Scattered)?;
    Ok(Esp { bytes, uki_offset })
}

/// One of the mtools, with a fixed time and no questions about odd geometries.
fn mtools(name: &str, epoch: u32) -> Command {
    let mut command = Command::new(name);
    command
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("TZ", "UTC");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_of(content: &[u8]) -> Esp {
        let scratch = tempfile::tempdir().unwrap();
        let uki = scratch.path().join("kedge.efi");
        std::fs::write(&uki, content).unwrap();
        build(scratch.path(), &uki, content, 1_700_000_000).unwrap()
    }

    #[test]
    fn the_file_lies_in_one_piece_on_the_sector_grid() {
        // Both sides of the border between FAT12 and FAT16.
        for size in [
            5_000, 7_900_000, 8_060_000, 8_190_000, 8_240_000, 8_300_000, 9_000_000,
        ] {
            let content: Vec<u8> = (0..size)
                .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect();
            let esp = made_of(&content);
            assert_eq!(esp.uki_offset % 2048, 0);
            assert_eq!(&esp.bytes[esp.uki_offset..][..content.len()], content);
        }
    }

    #[test]
    fn mtools_reads_the_file_back_and_the_time_is_the_given_one() {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("esp.img");
        std::fs::write(&image, made_of(b"MZ and so on").bytes).unwrap();
        let listing =
            program::run(mtools("mdir", 0).args(["-i"]).arg(&image).arg("::EFI/BOOT")).unwrap();
        let listing = String::from_utf8(listing).unwrap();
        assert!(
            listing.contains("BOOTX64  EFI        12 2023-11-14"),
            "{listing}"
        );
        let content = program::run(
            mtools("mtype", 0)
                .arg("-i")
                .arg(&image)
                .arg("::EFI/BOOT/BOOTX64.EFI"),
        )
        .unwrap();
        assert_eq!(content, b"MZ and so on");
    }

    #[test]
    fn the_same_file_gives_the_same_image() {
        let first = made_of(b"content");
        std::thread::sleep(std::time::Duration::from_millis(2100)); // FAT counts in 2 s
        assert!(first.bytes == made_of(b"content").bytes);
    }
}
