//! Which file system a folder of ROOT is on, as proc_pid_mountinfo(5) says.

use std::ffi::OsString;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, StatVfsMountFlags, StatxFlags};

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mounted {
    /// Where.
    pub(crate) point: PathBuf,
    /// `ext4`.
    pub(crate) kind: String,
    /// What: `/dev/sda2`, for most.
    pub(crate) source: PathBuf,
    /// `st_dev`, as the kernel's `MAJOR:MINOR`.
    pub(crate) device: String,
}

/// What `folder` is on; nothing when /proc does not say.
pub(crate) fn of(folder: impl AsFd) -> Option<Mounted> {
    let stat = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    find(&mounts, stat.stx_mnt_id)
}

/// Whether nothing can be written there.
pub(crate) fn is_read_only(folder: impl AsFd) -> bool {
    let stat = rustix::fs::fstatvfs(folder);
    stat.is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn find(mounts: &[u8], id: u64) -> Option<Mounted> {
    mounts.split(|&b| b == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        if *fields.first()? != id.to_string().as_bytes() {
            return None;
        }
        let dash = fields.iter().position(|field| *field == b"-")?;
        let path = |field: &[u8]| PathBuf::from(OsString::from_vec(unescaped(field)));
        Some(Mounted {
            point: path(fields.get(4)?),
            kind: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
            source: path(fields.get(dash + 2)?),
            device: String::from_utf8_lossy(fields.get(2)?).into_owned(),
        })
    })
}

/// `\040` is a blank.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = || {
            let digits = std::str::from_utf8(after.get(..3)?).ok()?;
            u8::from_str_radix(digits, 8).ok()
        };
        match octal().filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_number() {
        let mounts = b"22 1 0:2 / / rw - rootfs rootfs rw\n\
            30 22 8:2 /sub /mnt/a\\040b rw,relatime shared:1 master:2 - ext4 /dev/sda2 rw\n";
        let found = find(mounts, 30).unwrap();
        assert_eq!(
            (found.point, found.source),
            ("/mnt/a b".into(), "/dev/sda2".into())
        );
        assert_eq!((&*found.kind, &*found.device), ("ext4", "8:2"));
        assert_eq!(find(mounts, 3), None);
    }

    #[test]
    fn this_folder_is_on_something() {
        let here = std::fs::File::open("/proc").unwrap();
        assert_eq!(of(&here).unwrap().kind, "proc");
    }
}
