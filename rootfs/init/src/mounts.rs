//! The file systems of the kernel's that every program expects, and what hangs on them.
//!
//! All of it may be done twice: a second `mount` over what is there is noticed and left out, so
//! init can run this again after it restarted itself. What fails is said, and init goes on.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;

use kedge_message::{info, warning};

/// One file system to mount.
struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    data: &'static CStr,
    /// Mounted only where the kernel offers the directory, which is no failure otherwise.
    optional: bool,
}

const fn mount(
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    data: &'static CStr,
) -> Mount {
    Mount {
        kind,
        target,
        flags,
        data,
        optional: false,
    }
}

const fn optional(mut mount: Mount) -> Mount {
    mount.optional = true;
    mount
}

const NOSUID: MountFlags = MountFlags::NOSUID;
const NODEV: MountFlags = NOSUID.union(MountFlags::NODEV);
const NOEXEC: MountFlags = NODEV.union(MountFlags::NOEXEC);
const TTY: MountFlags = NOSUID.union(MountFlags::NOEXEC);

/// In this order: the later ones are mounted inside the earlier ones.
const MOUNTS: [Mount; 9] = [
    mount("proc", "/proc", NOEXEC, c""),
    mount("sysfs", "/sys", NOEXEC, c""),
    mount("devtmpfs", "/dev", NOSUID, c"mode=0755"),
    // gid 5 is tty in skeleton/etc/group.
    mount("devpts", "/dev/pts", TTY, c"gid=5,mode=0620,ptmxmode=0666"),
    mount("tmpfs", "/dev/shm", NODEV, c"mode=1777"),
    mount("tmpfs", "/run", NODEV, c"mode=0755"),
    mount("tmpfs", "/tmp", NODEV, c"mode=1777"),
    optional(mount("efivarfs", "/sys/firmware/efi/efivars", NOEXEC, c"")),
    // What the kernel that ran before left of its own crash: the reason to be here, at times.
    optional(mount("pstore", "/sys/fs/pstore", NOEXEC, c"")),
];

/// Mounts everything that is not mounted yet, and makes the links that point into it.
pub(crate) fn mount_all() {
    for mount in &MOUNTS {
        mount_one(mount);
    }
    // With the default (`ratelimit`) the kernel drops our messages after ten in five seconds.
    let _ = fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        match symlink(target, link) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => warning!("cannot link {link} to {target}: {e}"),
        }
    }
    // Where the shells' state and the log go.
    for (directory, mode) in [("/run/kedge", 0o755), ("/var/log", 0o755), ("/root", 0o700)] {
        let made = fs::create_dir_all(directory)
            .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(mode)));
        if let Err(e) = made {
            warning!("cannot make {directory}: {e}");
        }
    }
}

fn mount_one(mount: &Mount) {
    let Mount { kind, target, .. } = mount;
    if mount.optional && !Path::new(target).is_dir() {
        return;
    }
    // The root of any file system but the first differs in device from the directory above it.
    if is_mount_point(Path::new(target)) {
        return;
    }
    if !mount.optional {
        let _ = fs::create_dir(target);
    }
    match rustix::mount::mount(*kind, *target, *kind, mount.flags, mount.data) {
        Ok(()) => {}
        // Already there, by the kernel itself (devtmpfs with CONFIG_DEVTMPFS_MOUNT).
        Err(Errno::BUSY) => {}
        Err(e @ (Errno::NODEV | Errno::OPNOTSUPP)) if mount.optional => {
            info!("{kind} is not mounted on {target}: {e}");
        }
        Err(e) => warning!("cannot mount {kind} on {target}: {e}; going on without it"),
    }
}

/// Whether something is mounted on `path` (not for bind mounts of the same file system).
fn is_mount_point(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Some(above) = path.parent() else {
        return true;
    };
    match (fs::metadata(path), fs::metadata(above)) {
        (Ok(here), Ok(above)) => here.dev() != above.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_seen() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(Path::new("/proc/self")));
        assert!(!is_mount_point(Path::new("/nonexistent")));
    }

    #[test]
    fn each_mount_comes_after_the_one_it_is_in() {
        for (at, inner) in MOUNTS.iter().enumerate() {
            for outer in &MOUNTS[at + 1..] {
                assert!(!Path::new(inner.target).starts_with(outer.target));
            }
        }
    }
}
