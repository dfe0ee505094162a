//! Which system is meant when nobody says: what was mounted last.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

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

/// The last mounted file system of a disk that has a `usr` and an `etc`, the machine's own root last of all.
fn last() -> Option<PathBuf> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    let looks = |path: &PathBuf| {
        let has = |name| fs::symlink_metadata(path.join(name)).is_ok();
        has("usr") && has("etc")
    };
    mount_points(&mounts).into_iter().rev().find(looks)
}

/// Mount points of file systems with files of their own, in the order of mounting (proc_pid_mountinfo(5)), `/` left out.
fn mount_points(mounts: &[u8]) -> Vec<PathBuf> {
    let point = |line: &[u8]| -> Option<PathBuf> {
        let mut fields = line.split(|&b| b == b' ');
        let point = fields.nth(4)?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let ours = [
            "proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "rootfs", "cgroup2", "cgroup",
        ];
        let real = !ours.iter().any(|name| name.as_bytes() == kind) && point != b"/";
        real.then(|| PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
    };
    mounts.split(|&b| b == b'\n').filter_map(point).collect()
}

/// `\040` is a blank.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = |digits: &[u8]| {
            let digit = |b: u8| (b'0'..=b'7').contains(&b).then(|| u32::from(b - b'0'));
            digits.iter().try_fold(0, |n, &b| Some(n * 8 + digit(b)?))
        };
        match after.get(..3).filter(|_| first == b'\\').and_then(octal) {
            Some(byte) => {
                out.push(byte as u8);
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
    fn what_the_kernel_made_itself_is_no_system() {
        let mounts = b"22 1 0:2 / / rw - rootfs rootfs rw\n\
            23 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
            30 22 8:2 / /mnt/a\\040b rw,relatime shared:1 master:2 - ext4 /dev/sda2 rw\n\
            31 22 0:40 /@ /mnt2 ro - btrfs /dev/sdb1 ro\n\
            nonsense\n";
        assert_eq!(
            mount_points(mounts),
            [PathBuf::from("/mnt/a b"), PathBuf::from("/mnt2")]
        );
        assert_eq!(unescape(b"a\\1\\13"), b"a\\1\\13");
    }
}
