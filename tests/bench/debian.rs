//! Debian's netboot installer on a CD of its own, to be measured beside kedge.iso.
//!
//! Kernel and initrd are those of Debian's package, booted by the isolinux that kedge.iso has too, so that
//! the two differ in what is loaded and not in how.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kedge_tests::child::output;
use kedge_tests::out::host_file;

const PACKAGE: &str = "debian-installer-12-netboot-amd64";

/// Where the package keeps kernel and initrd of the text installer.
const FILES: &str = "./usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64";

/// The installer's own words for its rescue mode, on a serial line instead of a framebuffer.
const COMMAND_LINE: &str = "console=ttyS0,115200 rescue/enable=true --- quiet";

/// The title of the installer's first dialogue.
pub(crate) const FIRST_DIALOGUE: &str = "Select a language";

/// The CD and what is on it.
#[derive(Debug)]
pub(crate) struct Debian {
    pub(crate) iso: PathBuf,
    /// The package's version.
    pub(crate) version: String,
}

impl Debian {
    /// Gets the package by apt-get, without installing it, and makes the CD in `folder` (an empty one).
    pub(crate) fn make(folder: &Path) -> Result<Debian> {
        let package = download(folder)?;
        let version = output(
            Command::new("dpkg-deb")
                .arg("-f")
                .arg(&package)
                .arg("Version"),
            None,
        )?;
        let tree = folder.join("tree");
        let loader = tree.join("isolinux");
        fs::create_dir_all(&loader)?;
        // The whole package is 400 MB: two files of it are wanted.
        output(
            Command::new("sh")
                .args(["-c", "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --strip-components=10 \"$3/linux\" \"$3/initrd.gz\"", "sh"])
                .args([&package, &tree])
                .arg(FILES),
            None,
        )?;
        fs::remove_file(&package)?;
        for (path, of) in [
            ("/usr/lib/ISOLINUX/isolinux.bin", "isolinux"),
            (
                "/usr/lib/syslinux/modules/bios/ldlinux.c32",
                "syslinux-common",
            ),
        ] {
            let path = host_file(path, of)?;
            fs::copy(&path, loader.join(path.file_name().unwrap_or_default()))?;
        }
        let config = format!(
            "default rescue\nprompt 0\nlabel rescue\n  kernel /linux\n  initrd /initrd.gz\n  append {COMMAND_LINE}\n"
        );
        fs::write(loader.join("isolinux.cfg"), config)?;
        let iso = folder.join("debian.iso");
        // As image/src/iso.rs does for BIOS.
        output(
            Command::new("xorriso")
                .args(["-as", "mkisofs", "-quiet", "-iso-level", "1", "-o"])
                .arg(&iso)
                .args(["-c", "isolinux/boot.cat", "-b", "isolinux/isolinux.bin"])
                .args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
                .arg(&tree),
            None,
        )?;
        Ok(Debian {
            iso,
            version: String::from_utf8(version)?.trim().to_owned(),
        })
    }
}

/// The package's file.
fn download(folder: &Path) -> Result<PathBuf> {
    let get = || {
        let mut get = Command::new("apt-get");
        // Its own user could not write where only root may.
        get.args(["-q", "-o", "APT::Sandbox::User=root", "download", PACKAGE])
            .current_dir(folder);
        output(&mut get, None)
    };
    // A fresh machine has no lists of packages, and old ones name files that are gone.
    if get().is_err() {
        output(Command::new("apt-get").args(["-q", "update"]), None)
            .and_then(|_| get())
            .with_context(|| format!("cannot get {PACKAGE} (is there a network, and may apt-get update run: are you root?)"))?;
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            return Ok(path);
        }
    }
    anyhow::bail!("apt-get brought no {PACKAGE}")
}
