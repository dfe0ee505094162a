//! Which system is meant when nobody says: what was mounted last.

use std::fs;
use std::path::{Path, PathBuf};

use kedge_mountinfo::Mount;
use kedge_sysroot::Sysroot;

/// The system at `given`, or what was mounted last; says which it took.
pub(crate) fn root(tool: &str, given: Option<PathBuf>) -> Result<Sysroot, String> {
    let path = match given {
        Some(path) => path,
        None => {
            let path = last().ok_or(
                "no ROOT given, and nothing is mounted that looks like an installed system: \
                 mount one (mount -o ro /dev/sda2 /mnt), then give its folder",
            )?;
            say!("{tool}: looking at {}", crate::shown::typed(&path));
            path
        }
    };
    Sysroot::open(&path).map_err(|error| format!("no system can be looked at there: {error}"))
}

/// Whether there is anything of an installed system, whatever is broken of it.
pub(crate) fn looks_installed(root: &Sysroot) -> bool {
    ["usr", "etc", "var/lib", "bin"]
        .iter()
        .any(|name| root.exists(Path::new(name)))
}

/// What is said where no package manager ever was.
pub(crate) fn no_database(root: &Path) -> String {
    format!(
        "there is no database of dpkg, rpm, pacman or apk in {}; is /var on a file system of its own, that is not mounted?",
        root.display()
    )
}

/// The last mounted file system of a disk that has a `usr` and an `etc`; the machine's own root is none.
fn last() -> Option<PathBuf> {
    let looks = |path: &PathBuf| {
        let has = |name| fs::symlink_metadata(path.join(name)).is_ok();
        has("usr") && has("etc")
    };
    candidates(kedge_mountinfo::mounts()).find(looks)
}

/// Where something of a disk or a server is mounted, the last first.
fn candidates(mounts: Vec<Mount>) -> impl Iterator<Item = PathBuf> {
    mounts
        .into_iter()
        .rev()
        .filter(|mount| !mount.is_virtual() && mount.target != Path::new("/"))
        .map(|mount| mount.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_made_itself_is_no_system() {
        let mounts = b"22 1 0:2 / / rw - rootfs rootfs rw\n\
            23 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
            30 22 8:2 / /mnt rw,relatime shared:1 master:2 - ext4 /dev/sda2 rw\n\
            31 22 0:40 /@ /mnt2 ro - btrfs /dev/sdb1 ro\n";
        let found: Vec<PathBuf> = candidates(kedge_mountinfo::parse(mounts)).collect();
        assert_eq!(found, [PathBuf::from("/mnt2"), PathBuf::from("/mnt")]);
    }
}
