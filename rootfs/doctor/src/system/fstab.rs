//! fstab(5): which folders are file systems of their own, and whether they are mounted while the system is looked at.

use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use crate::trouble::Trouble;
use crate::{Gravity, shown};

const LONGEST: u64 = 4 << 20;
/// More lines are no administrator's.
const MOST: usize = 1000;
/// What is on no disk: the kernel or a server has it.
const VIRTUAL: &[&str] = &[
    "tmpfs", "proc", "sysfs", "devpts", "devtmpfs", "cgroup2", "swap", "none", "overlay", "debugfs",
];

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) device: String,
    /// Below ROOT, without leading `/`; empty for ROOT itself.
    pub(super) folder: PathBuf,
    /// Of the btrfs, `subvol=…`.
    subvolume: Option<String>,
}

/// File systems of disks, as `/etc/fstab` has them.
pub(super) fn lines(root: &Sysroot) -> Vec<Line> {
    let text = root.read(Path::new("etc/fstab"), LONGEST);
    parse(&String::from_utf8_lossy(&text.unwrap_or_default()))
}

fn parse(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let device = words.next().filter(|word| !word.starts_with('#'))?;
        let folder = words.next()?.strip_prefix('/')?;
        let kind = words.next()?;
        let mut options = words.next().unwrap_or_default().split(',');
        let bound = options.clone().any(|one| matches!(one, "bind" | "rbind"));
        let subvolume = options.find(|one| one.starts_with("subvol"));
        let is_disk_s = !VIRTUAL.contains(&kind) && !bound;
        is_disk_s.then(|| Line {
            device: device.into(),
            folder: folder.trim_end_matches('/').into(),
            subvolume: subvolume.map(str::to_string),
        })
    };
    text.lines().filter_map(line).take(MOST).collect()
}

impl Line {
    /// Whether the folder is there, and what is in it is the file system's around it.
    pub(super) fn is_unmounted(&self, root: &Sysroot) -> bool {
        if self.folder.as_os_str().is_empty() {
            return false;
        }
        let device = |path: &Path| root.metadata(path).map(|stat| stat.st_dev).ok();
        let around = self.folder.parent().unwrap_or(Path::new(""));
        let own = device(&self.folder);
        own.is_some() && own == device(around)
    }

    /// What is said of it; `unseen` is what could not be looked at.
    pub(super) fn trouble(&self, root: &Sysroot, unseen: &str) -> Trouble {
        let folder = shown::path(&self.folder);
        let outside = shown::typed(&root.outside(&self.folder));
        let device = shown::typed(Path::new(&self.device));
        let headline = format!("{folder} is a file system of its own, and not mounted: {unseen}");
        let subvolume = self.subvolume.iter().map(|one| format!(",{one}"));
        let options = format!("ro{}", subvolume.collect::<String>());
        let options = shown::typed(Path::new(&options));
        Trouble::new(Gravity::Odd, headline).next(format!("mount -o {options} {device} {outside}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_a_disk_is_a_file_system_of_its_own() {
        let text = "# words\nUUID=1 / ext4 defaults 0 1\nUUID=2 /var/ xfs ro\n/dev/sdb1 none swap sw\n\
            tmpfs /tmp tmpfs size=1G\n/srv/x /var/x none bind\n/home\n";
        let told: Vec<(String, PathBuf)> = parse(text)
            .into_iter()
            .map(|line| (line.device, line.folder))
            .collect();
        let expected = [("UUID=1", ""), ("UUID=2", "var")];
        assert_eq!(
            told,
            expected.map(|(d, f)| (d.to_string(), PathBuf::from(f)))
        );
    }
}
