//! What has to be unmounted before the end.

use kedge_mountinfo::{Mount, parse};

/// The mounts that have to go before the end, in the order in which they can: those of real file
/// systems, and all that is mounted below one (a chroot's /proc and /dev keep it busy).
pub(crate) fn to_unmount(mountinfo: &[u8]) -> Vec<Mount> {
    let mut found: Vec<Mount> = Vec::new();
    for mount in parse(mountinfo) {
        let inside = found
            .iter()
            .any(|outer| mount.target.starts_with(&outer.target) && mount.target != outer.target);
        if !mount.is_virtual() || inside {
            found.push(mount);
        }
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_ones_and_what_is_inside_them_innermost_first() {
        let info = b"\
1 1 0:2 / / rw - rootfs none rw
20 1 0:19 / /proc rw,nosuid - proc proc rw
21 1 0:20 / /tmp rw - tmpfs tmpfs rw
30 1 8:1 / /mnt rw,relatime - ext4 /dev/sda1 rw
31 30 0:19 / /mnt/proc rw - proc proc rw
32 30 0:30 / /mnt/home rw shared:5 master:1 - btrfs /dev/sdb rw
33 21 8:17 / /tmp/a\\040b rw - xfs /dev/sdb1 rw
34 1 0:40 / /nfs rw - nfs4 srv:/x rw
garbage
";
        let targets: Vec<String> = to_unmount(info)
            .iter()
            .map(|m| m.target.display().to_string())
            .collect();
        assert_eq!(
            targets,
            ["/nfs", "/tmp/a b", "/mnt/home", "/mnt/proc", "/mnt"]
        );
        let last = to_unmount(info).pop().unwrap();
        assert_eq!(
            (last.device.as_str(), last.source.as_str()),
            ("8:1", "/dev/sda1")
        );
        assert!(!last.is_virtual());
    }
}
