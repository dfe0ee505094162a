//! What is mounted (`/proc/self/mountinfo`, proc_pid_mountinfo(5)), as far as a shutdown cares.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// `major:minor` of the device; 0:n for those without one.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) target: PathBuf,
    /// What is mounted: `/dev/sda1`, `server:/export`.
    pub(crate) source: String,
    /// The file system's type.
    kind: String,
}

/// File systems that live in memory: nothing of them is lost at the end.
const VIRTUAL: [&str; 22] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "ramfs",
    "rootfs",
    "securityfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// The mounts that have to go before the end, in the order in which they can: those of real file
/// systems, and all that is mounted below one (a chroot's /proc and /dev keep it busy).
pub(crate) fn to_unmount(mountinfo: &[u8]) -> Vec<Mounted> {
    let mut found: Vec<Mounted> = Vec::new();
    for line in mountinfo.split(|&b| b == b'\n') {
        let Some(mount) = parse(line) else { continue };
        let real = !VIRTUAL.contains(&mount.kind.as_str());
        let inside = found
            .iter()
            .any(|outer| mount.target.starts_with(&outer.target) && mount.target != outer.target);
        if real || inside {
            found.push(mount);
        }
    }
    found.reverse();
    found
}

impl Mounted {
    /// Whether there is data of it to write out.
    pub(crate) fn is_real(&self) -> bool {
        !VIRTUAL.contains(&self.kind.as_str())
    }
}

fn parse(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|&b| b == b' ');
    let device = fields.nth(2)?;
    let target = fields.nth(1)?;
    // Optional fields end with a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let source = fields.next()?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    Some(Mounted {
        device: text(device),
        target: PathBuf::from(OsString::from_vec(unescape(target))),
        source: text(source),
        kind: text(kind),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                rest = &after[3..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out
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
        assert!(last.is_real());
    }

    #[test]
    fn garbage_is_left_out() {
        assert_eq!(to_unmount(b"\n - - - -\n\xff\\9 \\ a b c d e - x"), []);
        assert_eq!(unescape(b"\\04\\999\\"), b"\\04\\999\\");
    }
}
