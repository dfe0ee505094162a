//! Folders and files that every system has, and the room on its file systems.

use std::path::Path;

use kedge_sysroot::{Error, Sysroot};
use rustix::fs::{FileType, StatVfsMountFlags};

use super::fstab::{self, Line};
use crate::trouble::Trouble;
use crate::{Gravity, shown};

/// Without these a system does not start, or nobody gets in.
const FOLDERS: &[(&str, &str)] = &[
    ("dev", "the kernel mounts its devices there"),
    ("proc", "init mounts it, and everything reads it"),
    ("sys", "init mounts it, and udev reads it"),
    ("run", "services keep their sockets there"),
    ("tmp", "programs need it, and it needs mode 1777"),
    ("var", "services keep their state there"),
    ("var/tmp", "programs need it, and it needs mode 1777"),
    ("var/log", "services write there"),
    ("etc", "the whole configuration"),
    ("root", "root's own"),
];
/// Where a file system may be of its own, and full.
const MOUNTS: &[&str] = &[
    "", "var", "var/log", "var/lib", "tmp", "boot", "usr", "home",
];
const LONGEST: u64 = 16 << 20;

pub(super) fn all(root: &Sysroot) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    folders(root, &mut troubles);
    accounts(root, &mut troubles);
    texts(root, &mut troubles);
    room(root, &mut troubles);
    troubles
}

fn folders(root: &Sysroot, troubles: &mut Vec<Trouble>) {
    let unmounted: Vec<Line> = fstab::lines(root)
        .into_iter()
        .filter(|line| line.is_unmounted(root))
        .collect();
    for (folder, why) in FOLDERS {
        // What such a folder has while nothing is mounted there says nothing.
        let covers = |line: &&Line| Path::new(folder).starts_with(&line.folder);
        if let Some(line) = unmounted.iter().find(covers) {
            if line.folder == Path::new(folder) {
                let unseen = "what is in it was not looked at; mount it first";
                troubles.push(line.trouble(root, unseen));
            }
            continue;
        }
        let outside = shown::typed(&root.outside(Path::new(folder)));
        let mode = if folder.ends_with("tmp") {
            0o1777
        } else {
            0o755
        };
        let fault = match root.metadata(Path::new(folder)) {
            Err(error) if error.is_missing() => "is not there",
            Err(error) => {
                troubles.push(Trouble::unreadable(Path::new(folder), &error));
                continue;
            }
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
                "is no folder"
            }
            Ok(stat) if mode == 0o1777 && stat.st_mode & 0o1777 != 0o1777 => {
                let is = format!("is {:04o}", stat.st_mode & 0o7777);
                troubles.push(
                    Trouble::new(Gravity::Rights, format!("/{folder} is not for everybody"))
                        .fact("mode", format!("{is}; {why}"))
                        .next(format!("chmod 1777 {outside}")),
                );
                continue;
            }
            Ok(_) => continue,
        };
        troubles.push(
            Trouble::new(Gravity::Fatal, format!("/{folder} {fault}"))
                .fact("why", *why)
                .next(format!("mkdir -m {mode:04o} {outside}")),
        );
    }
}

/// passwd(5), shadow(5): nobody logs in without root's line.
fn accounts(root: &Sysroot, troubles: &mut Vec<Trouble>) {
    let mut shadowed = false;
    for file in ["etc/passwd", "etc/group", "etc/shadow"] {
        if file == "etc/shadow" && !shadowed {
            continue;
        }
        let fault = match root.read(Path::new(file), LONGEST) {
            Err(error) if error.is_missing() => "is not there".to_string(),
            Err(error) => format!("cannot be read: {error}"),
            Ok(text) if text.is_empty() => "is empty".into(),
            Ok(text) if text.contains(&0) => {
                let at = text.iter().position(|&b| b == 0).unwrap_or(0);
                format!("has a zero byte at {at}: a block of it was lost")
            }
            Ok(text) => {
                let line = text
                    .split(|&b| b == b'\n')
                    .find(|line| line.starts_with(b"root:"));
                match line {
                    Some(line) => {
                        shadowed |= line.starts_with(b"root:x:") && file == "etc/passwd";
                        continue;
                    }
                    None => "has no line for root".into(),
                }
            }
        };
        let mut trouble = Trouble::new(
            Gravity::Fatal,
            format!("/{file} {fault}: nobody can log in"),
        );
        trouble.path = Some(file.into());
        // shadow-, passwd-: what the tools keep of before the last change.
        let before = format!("{file}-");
        if root
            .read(Path::new(&before), LONGEST)
            .is_ok_and(|text| text.starts_with(b"root:"))
        {
            let outside = |file: &str| shown::typed(&root.outside(Path::new(file)));
            trouble = trouble
                .fact(
                    "before",
                    format!("/{before} is what it was before the last change of an account"),
                )
                .next(format!("cp -a {} {}", outside(&before), outside(file)));
        }
        troubles.push(trouble);
    }
}

/// Files of text that a lost block shows in.
fn texts(root: &Sysroot, troubles: &mut Vec<Trouble>) {
    for (file, why) in [
        ("etc/fstab", "what is mounted at start"),
        ("etc/hostname", "the machine's name"),
        ("etc/nsswitch.conf", "where users and hosts are looked up"),
        ("etc/ssh/sshd_config", "sshd ends when it cannot read it"),
        ("etc/resolv.conf", "the name servers"),
        ("etc/ld.so.conf", "where libraries are looked for"),
        (
            "etc/default/grub",
            "what the boot loader's configuration is made of",
        ),
    ] {
        let path = Path::new(file);
        let text = match root.read(path, LONGEST) {
            Ok(text) => text,
            Err(error) if error.is_missing() => continue,
            // A link to /dev/null is how some files are switched off.
            Err(Error::NotAFile {
                kind: FileType::CharacterDevice,
                ..
            }) => continue,
            Err(error) => {
                troubles.push(Trouble::unreadable(path, &error).fact("why", why));
                continue;
            }
        };
        if let Some(at) = text.iter().position(|&b| b == 0) {
            let mut trouble = Trouble::new(
                Gravity::Damaged,
                format!("/{file} has a zero byte at {at}: a block of it was lost"),
            )
            .fact("why", why);
            trouble.path = Some(path.into());
            troubles.push(trouble);
        }
    }
    let cache = Path::new("etc/ld.so.cache");
    let has_glibc = root.exists(Path::new("etc/ld.so.conf"));
    if has_glibc && root.metadata(cache).map_or(true, |stat| stat.st_size == 0) {
        troubles.push(
            Trouble::new(Gravity::Damaged, "/etc/ld.so.cache is not there, or empty")
                .fact(
                    "why",
                    "libraries outside of the default folders are not found",
                )
                .next(format!("chroot {} ldconfig", shown::typed(root.path()))),
        );
    }
}

/// Blocks and inodes, and whether it is mounted read-only.
fn room(root: &Sysroot, troubles: &mut Vec<Trouble>) {
    let mut seen = Vec::new();
    for mount in MOUNTS {
        let path = Path::new(mount);
        let (Ok(stat), Ok(room)) = (root.metadata(path), root.file_system(path)) else {
            continue;
        };
        if seen.contains(&stat.st_dev) {
            continue;
        }
        seen.push(stat.st_dev);
        let name = shown::path(path);
        let full = |what: &str, free: u64, all: u64| {
            let gravity = match free {
                0 => Gravity::Damaged,
                // A hundredth is gone in an hour of logs.
                free if free < all / 100 => Gravity::Odd,
                _ => return None,
            };
            let headline = format!("the file system of {name} has {free} of {all} {what} left");
            let outside = shown::typed(&root.outside(path));
            let look = format!("du -x -d 2 {outside} | sort -n | tail");
            Some(
                Trouble::new(gravity, headline)
                    .fact("why", "services that cannot write end, and logins fail")
                    .next(look),
            )
        };
        // An image of squashfs or iso9660 is full by nature.
        let read_only = room.f_flag.contains(StatVfsMountFlags::RDONLY);
        if room.f_blocks > 0 && !read_only {
            troubles.extend(full("blocks", room.f_bavail, room.f_blocks));
        }
        if room.f_files > 0 && !read_only {
            troubles.extend(full("inodes", room.f_ffree, room.f_files));
        }
        if read_only {
            let outside = shown::typed(&root.outside(path));
            troubles.push(
                Trouble::new(Gravity::Odd, format!("the file system of {name} is mounted read-only"))
                    .fact("why", "right for looking; a repair needs to write, and a kernel that found errors does the same")
                    .next(format!("dmesg | tail -n 50; then, if there are no errors: mount -o remount,rw {outside}")),
            );
        }
    }
}
