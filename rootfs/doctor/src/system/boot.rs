//! What the boot loader starts: the kernel and the initramfs that its configuration names.

use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use crate::trouble::Trouble;
use crate::{Gravity, shown};

const LONGEST: u64 = 4 << 20;
const CONFIGURATIONS: &[&str] = &[
    "boot/grub/grub.cfg",
    "boot/grub2/grub.cfg",
    "boot/extlinux/extlinux.conf",
    "boot/extlinux.conf",
];
const ENTRIES: &[&str] = &[
    "boot/loader/entries",
    "boot/efi/loader/entries",
    "efi/loader/entries",
];

/// How many kernels and initramfs are looked for: more are in no configuration that somebody wrote.
const MOST: usize = 1000;

/// A kernel or an initramfs, and which file names it.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    path: String,
    from: PathBuf,
    what: &'static str,
}

pub(super) fn all(root: &Sysroot) -> Vec<Trouble> {
    let mut named = Vec::new();
    for file in CONFIGURATIONS.iter().map(Path::new) {
        named.extend(read(root, file));
    }
    for folder in ENTRIES.iter().map(Path::new) {
        let names = root.read_dir(folder).unwrap_or_default();
        let entries = names
            .iter()
            .filter(|n| n.name.extension().is_some_and(|e| e == "conf"));
        for entry in entries {
            named.extend(read(root, &folder.join(&entry.name)));
        }
    }
    named.truncate(MOST);
    if named.is_empty() {
        return separate(root).into_iter().collect();
    }
    let mut troubles: Vec<Trouble> = Vec::new();
    for one in &named {
        if let Some(trouble) = missing(root, one)
            && !troubles
                .iter()
                .any(|known| known.headline == trouble.headline)
        {
            troubles.push(trouble);
        }
    }
    troubles
}

fn read(root: &Sysroot, file: &Path) -> Vec<Named> {
    let text = root.read(file, LONGEST).unwrap_or_default();
    parse(&String::from_utf8_lossy(&text), file)
}

/// `linux /vmlinuz-6.1 root=…`, `initrd /initrd.img` (GRUB, Boot Loader Specification), `append initrd=…` (extlinux).
fn parse(text: &str, from: &Path) -> Vec<Named> {
    let mut named = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let what = match words.next().map(str::to_ascii_lowercase).as_deref() {
            Some("linux" | "linuxefi" | "linux16" | "kernel") => "kernel",
            Some("initrd" | "initrdefi" | "initrd16") => "initramfs",
            _ => continue,
        };
        let count = if what == "kernel" { 1 } else { usize::MAX };
        for word in words.take(count) {
            let path = word.strip_prefix("($root)").unwrap_or(word);
            // Variables and devices are the boot loader's own.
            if path.starts_with('/') && !path.contains(['$', '(']) {
                named.push(Named {
                    path: path.into(),
                    from: from.into(),
                    what,
                });
            }
        }
    }
    named
}

/// The path counts from the file system that it is on: ROOT's, or one that is mounted at its `/boot` or ESP, or a btrfs's.
fn missing(root: &Sysroot, named: &Named) -> Option<Trouble> {
    let name = named.path.trim_start_matches('/');
    let mut places: Vec<PathBuf> = ["", "boot", "boot/efi", "efi"]
        .iter()
        .map(|f| Path::new(f).join(name))
        .collect();
    if let Some(at) = name.find("boot/") {
        places.push(name[at..].into());
    }
    let found = places.iter().find_map(|place| root.metadata(place).ok());
    let what = named.what;
    let fault = match found {
        Some(stat) if stat.st_size > 0 => return None,
        Some(_) => "is empty",
        None => "is not there",
    };
    let path = shown::text(&named.path);
    let from = shown::path(&named.from);
    let next = match what {
        "kernel" => {
            "install the kernel's package again, in a chroot or after a boot with another kernel"
                .into()
        }
        _ => format!(
            "chroot {} update-initramfs -u   (or dracut, mkinitcpio)",
            shown::typed(root.path())
        ),
    };
    Some(
        Trouble::new(
            Gravity::Damaged,
            format!("the {what} {path} {fault}; {from} names it"),
        )
        .next(next),
    )
}

/// `/boot` on a file system of its own, which nobody has mounted.
fn separate(root: &Sysroot) -> Option<Trouble> {
    let fstab = root.read(Path::new("etc/fstab"), LONGEST).ok()?;
    let fstab = String::from_utf8_lossy(&fstab).into_owned();
    let line = fstab
        .lines()
        .map(str::trim)
        .find(|line| !line.starts_with('#') && line.split_whitespace().nth(1) == Some("/boot"))?;
    let boot = root.metadata(Path::new("boot")).ok();
    let own = root.metadata(Path::new("")).ok();
    let mounted = boot
        .zip(own)
        .is_some_and(|(boot, own)| boot.st_dev != own.st_dev);
    if mounted {
        return None;
    }
    let device = line.split_whitespace().next().unwrap_or_default();
    let outside = shown::typed(&root.outside(Path::new("boot")));
    Some(
        Trouble::new(Gravity::Odd, "/boot is a file system of its own, and not mounted: kernel and initramfs were not looked at")
            .next(format!("mount -o ro {} {outside}", shown::text(device))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_read_from_every_kind_of_configuration() {
        let text = "menuentry 'x' {\n\tlinux\t/boot/vmlinuz-6.1 root=/dev/sda1 ro\n\tinitrd /boot/initrd.img-6.1 /boot/ucode\n\
            \tlinux ($root)/vmlinuz $x\n\tinitrd $other\n}\nLINUX /v\n";
        let names: Vec<String> = parse(text, Path::new("f"))
            .into_iter()
            .map(|n| n.path)
            .collect();
        assert_eq!(
            names,
            [
                "/boot/vmlinuz-6.1",
                "/boot/initrd.img-6.1",
                "/boot/ucode",
                "/vmlinuz",
                "/v"
            ]
        );
    }
}
