//! Which file system a folder of ROOT is on.

use std::os::fd::AsFd;

use kedge_mountinfo::Mount;
use rustix::fs::{AtFlags, StatVfsMountFlags, StatxFlags};

/// What `folder` is on; nothing when /proc does not say.
pub(crate) fn of(folder: impl AsFd) -> Option<Mount> {
    let stat = rustix::fs::statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    let mut mounts = kedge_mountinfo::mounts().into_iter();
    mounts.find(|mount| mount.id == stat.stx_mnt_id)
}

/// Whether nothing can be written there.
pub(crate) fn is_read_only(folder: impl AsFd) -> bool {
    let stat = rustix::fs::fstatvfs(folder);
    stat.is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_folder_is_on_something() {
        let here = std::fs::File::open("/proc").unwrap();
        assert_eq!(of(&here).unwrap().kind, "proc");
    }
}
