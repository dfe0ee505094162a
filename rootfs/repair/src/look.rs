//! Owner, mode, times and attributes of the file that takes the damaged one's place.
//!
//! What the local database says goes first, then what the package says. dpkg's database says nothing of a mode, and maintainer
//! scripts change some after unpacking (`chmod`, `chgrp`, `setcap`); so what the damaged file has beyond the package's is kept
//! and said, if the file looks as if only its content were damaged.

use std::fs::File;
use std::os::fd::AsRawFd;

use kedge_archive::Member;
use kedge_doctor::Accounts;
use kedge_packages::{Entry, Family, Owner};
use kedge_sysroot::Sysroot;
use rustix::fs::{FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

/// As Linux has it.
const LONGEST_ATTRIBUTE: usize = 64 << 10;

/// How a file shall look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) modified: i64,
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
    /// What the operator should know.
    pub(crate) notes: Vec<String>,
}

impl Look {
    /// For `member`, which takes the place of `old`.
    pub(crate) fn of(
        root: &Sysroot,
        accounts: &Accounts,
        family: Family,
        entry: &Entry,
        member: &Member,
        old: Option<&Stat>,
    ) -> Look {
        let mut notes = Vec::new();
        let mut mode = entry.mode.unwrap_or(member.mode);
        let user = entry
            .user
            .clone()
            .unwrap_or_else(|| named(&member.names.0, member.owner.0));
        let group = entry
            .group
            .clone()
            .unwrap_or_else(|| named(&member.names.1, member.owner.1));
        let unknown = |what: &str, owner: &Owner, number: u32| {
            format!("this system has no {what} {owner:?}; {number} was taken")
        };
        let mut owner = (
            accounts.user(&user).unwrap_or_else(|| {
                notes.push(unknown("user", &user, member.owner.0));
                member.owner.0
            }),
            accounts.group(&group).unwrap_or_else(|| {
                notes.push(unknown("group", &group, member.owner.1));
                member.owner.1
            }),
        );
        let is_file = |stat: &&Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let old = old.filter(is_file);
        if let Some(old) = old
            && family == Family::Dpkg
            && entry.mode.is_none()
            && old.st_size > 0
        {
            let has = old.st_mode & 0o7777;
            let same_owner = (old.st_uid, old.st_gid) == owner;
            if has & mode == mode && (has != mode || !same_owner) {
                notes.push(format!(
                    "mode {has:04o} and owner {}:{} are kept; the package has {mode:04o} and {}:{}, but its scripts may \
                     have changed that",
                    old.st_uid, old.st_gid, owner.0, owner.1
                ));
                (mode, owner) = (has, (old.st_uid, old.st_gid));
            }
        }
        let mut attributes = member.attributes.clone();
        for (name, value) in old.map(|_| attributes_of(root, entry)).unwrap_or_default() {
            let ours = attributes.iter().any(|(known, _)| *known == name);
            // These families' packages say which capabilities a file has; dpkg's scripts set them.
            let packaged = name == "security.capability" && family != Family::Dpkg;
            if !ours && !packaged {
                attributes.push((name, value));
            }
        }
        let labelled = attributes
            .iter()
            .any(|(name, _)| name == "security.selinux");
        if !labelled && root.exists(std::path::Path::new("etc/selinux/config")) {
            notes.push(
                "it has no SELinux label: restorecon it in the running system, or touch /.autorelabel before the boot"
                    .into(),
            );
        }
        Look {
            mode,
            owner,
            modified: member.modified,
            attributes,
            notes,
        }
    }

    /// Makes `file` look so. The owner goes first: a change of owner takes setuid and capabilities away.
    pub(crate) fn put_on(&self, file: &File) -> Result<(), Errno> {
        use rustix::process::{Gid, Uid};
        let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        rustix::fs::fchown(file, Some(user), Some(group))?;
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.attributes {
            rustix::fs::fsetxattr(file, name.as_str(), value, XattrFlags::empty())?;
        }
        rustix::fs::futimens(file, &self.times())
    }

    pub(crate) fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.modified,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

fn named(name: &str, number: u32) -> Owner {
    match name {
        "" => Owner::Number(number),
        name => Owner::Name(name.into()),
    }
}

/// The attributes of what is there; none where they cannot be read.
fn attributes_of(root: &Sysroot, entry: &Entry) -> Vec<(String, Vec<u8>)> {
    let Ok(handle) = root.handle(&entry.path, OFlags::NOFOLLOW) else {
        return Vec::new();
    };
    // O_PATH has no attributes; the file behind it has.
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    let mut names = vec![0; LONGEST_ATTRIBUTE];
    let Ok(length) = rustix::fs::listxattr(&*path, &mut names[..]) else {
        return Vec::new();
    };
    let mut attributes = Vec::new();
    for name in names[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let mut value = vec![0; LONGEST_ATTRIBUTE];
        if let Ok(length) = rustix::fs::getxattr(&*path, name, &mut value[..]) {
            value.truncate(length);
            attributes.push((name.to_string(), value));
        }
    }
    attributes
}
