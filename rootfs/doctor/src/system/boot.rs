//! What the boot loader starts: the kernel and the initramfs that its configuration names.

use std::path::{Path, PathBuf};

use kedge_sysroot::{Error, Sysroot};

use super::fstab;
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
    let (mut named, mut troubles) = (Vec::new(), Vec::new());
    let own = own_uuids(root);
    let mut files: Vec<PathBuf> = CONFIGURATIONS.iter().map(PathBuf::from).collect();
    for folder in ENTRIES.iter().map(Path::new) {
        match root.read_dir(folder) {
            Ok(names) => {
                let is_entry = |path: &PathBuf| path.extension().is_some_and(|e| e == "conf");
                let paths = names.iter().map(|name| folder.join(&name.name));
                files.extend(paths.filter(is_entry));
            }
            Err(error) if error.is_missing() => {}
            Err(error) => troubles.push(Trouble::unreadable(folder, &error)),
        }
    }
    files.truncate(MOST);
    for file in &files {
        match root.read(file, LONGEST) {
            Ok(text) => named.extend(parse(&String::from_utf8_lossy(&text), file, &own)),
            Err(error) if error.is_missing() => {}
            Err(error) => troubles.push(Trouble::unreadable(file, &error)),
        }
    }
    named.truncate(MOST);
    if named.is_empty() {
        troubles.extend(separate(root));
        return troubles;
    }
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

/// The file systems that fstab(5) names by UUID.
fn own_uuids(root: &Sysroot) -> Vec<String> {
    let lines = fstab::lines(root);
    let uuids = lines.iter().filter_map(|line| {
        let uuid = line.device.strip_prefix("UUID=");
        uuid.or_else(|| line.device.strip_prefix("/dev/disk/by-uuid/"))
    });
    uuids
        .map(|uuid| uuid.trim_matches('"').to_ascii_lowercase())
        .collect()
}

/// `linux /vmlinuz-6.1 root=…`, `initrd /initrd.img` (GRUB, Boot Loader Specification), `append initrd=…` (extlinux).
/// Not what is another system's: what os-prober(1) has found, and what GRUB looks for on a file system that is none of
/// `own`, the UUIDs of this one's, if they are known.
fn parse(text: &str, from: &Path, own: &[String]) -> Vec<Named> {
    let mut named = Vec::new();
    let (mut others, mut elsewhere) = (false, false);
    for line in text.lines() {
        if let Some(script) = line.strip_prefix("### BEGIN ") {
            (others, elsewhere) = (script.contains("os-prober"), false);
        }
        let mut words = line.split_whitespace();
        let what = match words.next().map(str::to_ascii_lowercase).as_deref() {
            Some("menuentry" | "submenu") => {
                elsewhere = false;
                continue;
            }
            Some("search") if line.contains("--fs-uuid") => {
                let uuid = words.next_back().unwrap_or_default().to_ascii_lowercase();
                elsewhere = !own.is_empty() && !own.contains(&uuid);
                continue;
            }
            _ if others || elsewhere => continue,
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
    let mut found = places.iter().map(|place| (place, root.metadata(place)));
    let found = found.find(|(_, stat)| !stat.as_ref().is_err_and(Error::is_missing));
    let what = named.what;
    let fault = match found {
        Some((_, Ok(stat))) if stat.st_size > 0 => return None,
        Some((_, Ok(_))) => "is empty",
        Some((place, Err(error))) => return Some(Trouble::unreadable(place, &error)),
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
    let lines = fstab::lines(root);
    let line = lines.iter().find(|line| line.folder == Path::new("boot"))?;
    let unseen = "kernel and initramfs were not looked at";
    line.is_unmounted(root).then(|| line.trouble(root, unseen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_read_from_every_kind_of_configuration() {
        let text = "menuentry 'x' {\n\tlinux\t/boot/vmlinuz-6.1 root=/dev/sda1 ro\n\tinitrd /boot/initrd.img-6.1 /boot/ucode\n\
            \tlinux ($root)/vmlinuz $x\n\tinitrd $other\n}\nLINUX /v\n";
        let names: Vec<String> = parse(text, Path::new("f"), &[])
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

    #[test]
    fn kernels_of_other_systems_are_not_looked_for() {
        let text = "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'own' {\n\tsearch --no-floppy --fs-uuid --set=root Ab-1\n\
            \tlinux /boot/own\n}\nmenuentry 'other' {\n\tsearch --fs-uuid --set=root cd-2\n\tlinux /boot/other\n\
            \tinitrd /boot/other.img\n}\n### END /etc/grub.d/10_linux ###\n### BEGIN /etc/grub.d/30_os-prober ###\n\
            menuentry 'found' {\n\tlinux /boot/found\n}\n### END /etc/grub.d/30_os-prober ###\n\
            ### BEGIN /etc/grub.d/40_custom ###\nmenuentry 'c' {\n\tlinux /boot/custom\n}\n";
        let names = |own: &[String]| -> Vec<String> {
            let named = parse(text, Path::new("f"), own);
            named.into_iter().map(|one| one.path).collect()
        };
        assert_eq!(names(&["ab-1".into()]), ["/boot/own", "/boot/custom"]);
        // Without a UUID in fstab(5) nobody knows which is which.
        let all = [
            "/boot/own",
            "/boot/other",
            "/boot/other.img",
            "/boot/custom",
        ];
        assert_eq!(names(&[]), all);
    }
}
