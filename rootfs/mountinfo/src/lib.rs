//! What is mounted: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mount {
    /// The mount's number, as statx(2) has it in `stx_mnt_id`.
    pub id: u64,
    /// `major:minor` of the device; 0:n for those without one.
    pub device: String,
    /// Where it is mounted.
    pub target: PathBuf,
    /// The file system's type: `ext4`.
    pub kind: String,
    /// What is mounted: `/dev/sda1`, `server:/export`.
    pub source: String,
}

/// File systems that live in memory, or are views of the kernel's.
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

impl Mount {
    /// Whether nothing of it is on any disk or server.
    pub fn is_virtual(&self) -> bool {
        VIRTUAL.contains(&self.kind.as_str())
    }
}

/// All mounts that this process sees, in the order of mounting; none when /proc does not say.
pub fn mounts() -> Vec<Mount> {
    parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// The mounts that a `mountinfo` has; lines that make no sense are left out.
pub fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&b| b == b'\n').filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = fields.nth(1)?;
    let target = fields.nth(1)?;
    // Optional fields end with a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = fields.next()?;
    let source = fields.next()?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescaped(field)).into_owned();
    Some(Mount {
        id,
        device: text(device),
        target: PathBuf::from(OsString::from_vec(unescaped(target))),
        kind: text(kind),
        source: text(source),
    })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
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
    fn fields_of_a_mount() {
        let info = b"22 1 0:2 / / rw - rootfs rootfs rw\n\
            30 22 8:2 /sub /mnt/a\\040b rw,relatime shared:1 master:2 - ext4 /dev/sda2 rw\n\
            nonsense\n";
        let mounts = parse(info);
        assert_eq!(
            mounts[1],
            Mount {
                id: 30,
                device: "8:2".into(),
                target: "/mnt/a b".into(),
                kind: "ext4".into(),
                source: "/dev/sda2".into(),
            }
        );
        assert_eq!(mounts.len(), 2);
        assert!(mounts[0].is_virtual() && !mounts[1].is_virtual());
    }

    #[test]
    fn garbage_is_left_out() {
        assert_eq!(parse(b"\n - - - -\n\xff\\9 \\ a b c d e - x"), []);
        assert_eq!(unescaped(b"a\\1\\13\\04\\999\\"), b"a\\1\\13\\04\\999\\");
    }

    #[test]
    fn this_machine_has_a_proc() {
        assert!(mounts().iter().any(|mount| mount.kind == "proc"));
    }
}
