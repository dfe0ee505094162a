//! The hybrid ISO: BIOS and UEFI, CD and USB stick, with kernel and initramfs on it once.
//!
//! UEFI reads the UKI from the EFI partition image. BIOS's isolinux reads `/vmlinuz` and
//! `/initrd.xz`, whose directory records point at the UKI's sections inside that image. xorriso
//! writes the ISO with placeholders; their records are changed after.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::boot::{COMMAND_LINE, EPOCH, KERNEL};
use crate::esp::Esp;
use crate::packs::Packs;
use crate::program;
use crate::uki::Uki;
use crate::{iso9660, sha256};

/// From Debian's isolinux: the loader that an El Torito BIOS boot starts.
pub const ISOLINUX: &str = "/usr/lib/ISOLINUX/isolinux.bin";
/// From Debian's isolinux: the boot sector that makes the ISO start from a stick.
pub const ISOHDPFX: &str = "/usr/lib/ISOLINUX/isohdpfx.bin";
/// From Debian's syslinux-common: isolinux' second stage.
pub const LDLINUX: &str = "/usr/lib/syslinux/modules/bios/ldlinux.c32";

/// The initramfs on the ISO: 8.3, because isolinux reads plain ISO 9660 names.
pub const INITRD: &str = "initrd.xz";
const ESP: &str = "esp.img";
/// The folder of the packs' archives, each in one piece and called NAME.XZ.
const PACKS: &str = "packs";

/// Why the ISO cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// xorriso failed.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// What xorriso wrote is not as expected.
    #[error("the ISO that xorriso wrote: {0}")]
    Image(#[from] iso9660::Error),
    /// A file cannot be read or written.
    #[error("cannot use {path} for the ISO: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The UKI has no such section.
    #[error("the UKI has no section {0}")]
    NoSection(&'static str),
    /// The EFI partition image does not lie in the ISO as it was given.
    #[error("the EFI partition image is not in the ISO as it was given")]
    EspMoved,
}

/// Makes the ISO in `scratch` (an empty folder) and returns its bytes.
///
/// # Errors
/// When xorriso fails, or what it wrote does not hold the EFI partition in one piece.
pub fn build(scratch: &Path, uki: &Uki, esp: &Esp, packs: &Packs) -> Result<Vec<u8>, Error> {
    let tree = scratch.join("tree");
    let loader = tree.join("isolinux");
    let iso = scratch.join("kedge.iso");
    let write = |path: PathBuf, content: &[u8]| {
        std::fs::write(&path, content).map_err(|source| Error::File { path, source })
    };
    std::fs::create_dir_all(&loader).map_err(|source| Error::File {
        path: loader.clone(),
        source,
    })?;
    for source_path in [ISOLINUX, LDLINUX] {
        let content = std::fs::read(source_path).map_err(|source| Error::File {
            path: source_path.into(),
            source,
        })?;
        let name = Path::new(source_path).file_name().unwrap_or_default();
        write(loader.join(name), &content)?;
    }
    write(loader.join("isolinux.cfg"), isolinux_cfg(uki).as_bytes())?;
    write(tree.join(ESP), &esp.bytes)?;
    for name in [KERNEL, INITRD] {
        write(tree.join(name), format!("becomes {name}").as_bytes())?;
    }

    let folder = tree.join(PACKS);
    std::fs::create_dir_all(&folder).map_err(|source| Error::File {
        path: folder.clone(),
        source,
    })?;
    for (name, content) in packs.index.archives.iter().zip(&packs.archives) {
        write(folder.join(format!("{name}.xz")), content)?;
    }

    program::run(
        Command::new("xorriso")
            // Volume times, the volume's identifier for GRUB and the GPT's GUIDs follow from it.
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .env("TZ", "UTC")
            .args(["-as", "mkisofs", "-quiet", "-o"])
            .arg(&iso)
            .args([
                "-volid",
                &volume_id(uki),
                "-publisher",
                "KEDGE",
                // By this the image finds the medium that its packs are on.
                "-appid",
                &packs.index.application_id(),
                "-iso-level",
                "1",
            ])
            .args([
                "-uid",
                "0",
                "-gid",
                "0",
                "--set_all_file_dates",
                &format!("={EPOCH}"),
            ])
            .args(["-isohybrid-mbr", ISOHDPFX])
            .args(["-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin"])
            .args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
            .args([
                "-eltorito-alt-boot",
                "-e",
                ESP,
                "-no-emul-boot",
                "-isohybrid-gpt-basdat",
            ])
            .arg(&tree),
    )?;

    let mut bytes = std::fs::read(&iso).map_err(|source| Error::File {
        path: iso.clone(),
        source,
    })?;
    let placed = iso9660::find(&bytes, ESP)?;
    if bytes[placed.offset..placed.offset + placed.size] != esp.bytes {
        return Err(Error::EspMoved);
    }
    let base = placed.offset + esp.uki_offset;
    for (name, section_name) in [(KERNEL, ".linux"), (INITRD, ".initrd")] {
        let section = uki
            .sections
            .iter()
            .find(|section| section.name == section_name)
            .ok_or(Error::NoSection(section_name))?;
        iso9660::point(&mut bytes, name, base + section.offset, section.size)?;
    }
    Ok(bytes)
}

/// The volume's name: tells this very image from others, so that what was booted can be found
/// again among the machine's media.
fn volume_id(uki: &Uki) -> String {
    format!("KEDGE_{}", sha256::hex(&uki.bytes)[..8].to_uppercase())
}

/// isolinux' configuration: starts at once, because every second counts and there is one choice.
fn isolinux_cfg(uki: &Uki) -> String {
    let megabytes = uki.bytes.len() as f64 / 1e6;
    format!(
        "default kedge\nprompt 0\n\
         say kedge: loading {megabytes:.1} MB (about {:.0} s at 250 kB/s)\n\
         label kedge\n  kernel /{KERNEL}\n  initrd /{INITRD}\n  append {COMMAND_LINE}\n",
        megabytes * 4.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{esp, uki};

    const KERNEL_BYTES: &[u8] = b"MZ not really a kernel";

    fn packs() -> Packs {
        let mut packs = Packs::default();
        packs.index.id = "0123456789abcdef0123456789abcdef".into();
        packs.index.archives = vec!["shared".into(), "storage".into()];
        packs.archives = vec![vec![1; 5000], vec![2; 3000]];
        packs
    }

    fn made() -> (Vec<u8>, Uki, Vec<u8>) {
        let scratch = tempfile::tempdir().unwrap();
        let stub = std::fs::read(crate::host::EFI_STUB).unwrap();
        let initrd: Vec<u8> = (0..5_000_001u32).map(|i| (i % 249) as u8).collect();
        let sections: [(&str, &[u8]); 2] = [(".linux", KERNEL_BYTES), (".initrd", &initrd)];
        let uki = uki::build(&stub, &sections).unwrap();
        let file = scratch.path().join("kedge.efi");
        std::fs::write(&file, &uki.bytes).unwrap();
        let esp = esp::build(scratch.path(), &file, &uki.bytes, EPOCH).unwrap();
        let bytes = build(scratch.path(), &uki, &esp, &packs()).unwrap();
        (bytes, uki, initrd)
    }

    fn extract(iso: &[u8], path: &str) -> Vec<u8> {
        let scratch = tempfile::tempdir().unwrap();
        let (image, copy) = (
            scratch.path().join("kedge.iso"),
            scratch.path().join("copy"),
        );
        std::fs::write(&image, iso).unwrap();
        program::run(
            Command::new("xorriso")
                .args(["-osirrox", "on", "-indev"])
                .arg(&image)
                .args(["-extract", path])
                .arg(&copy),
        )
        .unwrap();
        std::fs::read(copy).unwrap()
    }

    #[test]
    fn xorriso_reads_kernel_and_initramfs_which_are_there_once() {
        let (iso, uki, initrd) = made();
        assert!(extract(&iso, "/vmlinuz") == KERNEL_BYTES);
        assert!(extract(&iso, "/initrd.xz") == initrd);
        assert!(
            iso.len() < uki.bytes.len() + 1_500_000,
            "{} bytes for a UKI of {}: is the initramfs on it twice?",
            iso.len(),
            uki.bytes.len()
        );
    }

    #[test]
    fn the_packs_are_on_it_and_it_says_which() {
        let (iso, ..) = made();
        assert_eq!(extract(&iso, "/packs/storage.xz"), vec![2; 3000]);
        // ECMA-119, 8.4.20: the application identifier of the primary volume descriptor.
        let id = &iso[16 * 2048 + 574..][..128];
        let id = String::from_utf8_lossy(id);
        assert_eq!(id.trim_end(), packs().index.application_id());
    }

    #[test]
    fn the_same_input_gives_the_same_iso_a_second_later() {
        let first = made().0;
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert!(first == made().0);
    }
}
