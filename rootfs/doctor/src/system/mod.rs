//! `doctor ROOT`: looks over a whole installed system, at what it cannot start, be logged in to or be repaired without.
//!
//! It reads a few hundred files. What lies outside of them is for `verify`.

mod boot;
mod dates;
mod fstab;
mod libraries;
mod places;

use std::path::{Path, PathBuf};

use kedge_packages::Database;
use kedge_sysroot::Sysroot;

use crate::links::FOLDERS;
use crate::program::{Diagnosis, diagnose};
use crate::trouble::{Trouble, sort};

/// What a machine starts, lets people in, and is repaired with.
const PROGRAMS: &[&str] = &[
    "init",
    "sh",
    "bash",
    "login",
    "agetty",
    "getty",
    "sulogin",
    "sshd",
    "su",
    "sudo",
    "mount",
    "umount",
    "fsck",
    "e2fsck",
    "xfs_repair",
    "modprobe",
    "kmod",
    "udevadm",
    "ldconfig",
    "ip",
    "ifup",
    "dhclient",
    "dhcpcd",
    "udhcpc",
    "NetworkManager",
    "wget",
    "curl",
    "dpkg",
    "apt-get",
    "rpm",
    "dnf",
    "dnf5",
    "microdnf",
    "yum",
    "zypper",
    "pacman",
    "apk",
    "cryptsetup",
    "lvm",
    "mdadm",
    "dbus-daemon",
    "cron",
    "crond",
    "rsyslogd",
    "busybox",
    "openrc",
    "update-initramfs",
    "dracut",
    "mkinitcpio",
    "grub-install",
];
/// systemd's own, which are in no `PATH`.
const SERVICES: &[&str] = &[
    "systemd",
    "systemd-udevd",
    "systemd-journald",
    "systemd-logind",
    "systemd-networkd",
    "systemd-resolved",
    "systemd-remount-fs",
    "systemd-fsck",
];
const SERVICE_FOLDERS: &[&str] = &["usr/lib/systemd", "lib/systemd"];

/// Looks over all.
pub(crate) fn look_over(root: &Sysroot, databases: &[Box<dyn Database + '_>]) -> Diagnosis {
    if let Some(diagnosis) = without_usr(root) {
        return diagnosis;
    }
    let (programs, gone) = programs(root, databases);
    let mut diagnosis = diagnose(root, databases, &programs);
    let (suspects, unreadable) = libraries::suspects(root);
    for trouble in gone
        .into_iter()
        .chain(unreadable)
        .chain(libraries::examine(root, databases, &suspects))
        .chain(places::all(root))
        .chain(boot::all(root))
        .chain(dates::burst(root, databases))
    {
        let known = |t: &Trouble| {
            let same_path = t.path.is_some() && t.path == trouble.path;
            let same_next = !t.next.is_empty() && t.next == trouble.next;
            // What is done about a disk is the same for all that it has lost.
            same_path || same_next && !trouble.is_lost()
        };
        if !diagnosis.troubles.iter().any(known) {
            diagnosis.troubles.push(trouble);
        }
    }
    let damage = databases.iter().flat_map(|database| database.complaints());
    diagnosis.complaints.extend(damage);
    sort(&mut diagnosis.troubles);
    diagnosis
}

/// Where `/usr` is a file system of its own and not mounted, everything would be said to be gone.
fn without_usr(root: &Sysroot) -> Option<Diagnosis> {
    let lines = fstab::lines(root);
    let line = lines.iter().find(|line| line.folder == Path::new("usr"))?;
    let unseen = "programs and libraries were not looked at; mount it first";
    let mut troubles = line
        .is_unmounted(root)
        .then(|| vec![line.trouble(root, unseen)])?;
    troubles.extend(places::all(root));
    sort(&mut troubles);
    Some(Diagnosis {
        troubles,
        complaints: vec!["no program was looked at: /usr is not mounted".into()],
        ..Diagnosis::default()
    })
}

/// What the configuration of a system is read as: for the fuzz targets.
pub(crate) fn fuzz(root: &Sysroot) {
    places::all(root);
    boot::all(root);
}

/// Those programs that are there; and those that a package has, and that are not there.
fn programs(root: &Sysroot, databases: &[Box<dyn Database + '_>]) -> (Vec<PathBuf>, Vec<Trouble>) {
    let mut found = Vec::new();
    let mut wanted: Vec<PathBuf> = Vec::new();
    let lists = [(PROGRAMS, FOLDERS), (SERVICES, SERVICE_FOLDERS)];
    for (names, folders) in lists {
        for name in names {
            let places: Vec<PathBuf> = folders.iter().map(|f| Path::new(f).join(name)).collect();
            // What the file system does not give is there, and is looked at.
            let there = |place: &&PathBuf| match root.symlink_metadata(place) {
                Ok(_) => true,
                Err(error) => !error.is_missing(),
            };
            match places.iter().find(there) {
                Some(place) => found.push(place.clone()),
                None => wanted.extend(places),
            }
        }
    }
    let asked: Vec<&Path> = wanted.iter().map(PathBuf::as_path).collect();
    let mut gone: Vec<PathBuf> = Vec::new();
    for database in databases {
        let owners = database.owners(&asked).unwrap_or_default();
        let owned = wanted.iter().zip(owners).filter(|(_, o)| !o.is_empty());
        for (path, _) in owned {
            // With and without the merge of /usr it is one file.
            if !gone
                .iter()
                .any(|other| other.file_name() == path.file_name())
            {
                gone.push(path.clone());
            }
        }
    }
    let troubles = gone.iter().filter_map(|path| {
        let examined = crate::examine(root, databases, path).ok()?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Trouble::of(
            &examined,
            root.path(),
            &format!("is not there: {name} cannot be started"),
        )
    });
    (found, troubles.collect())
}

#[cfg(test)]
mod tests;
