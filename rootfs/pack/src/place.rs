//! Where everything is: the system that packs are loaded into, and what tells about it.

use std::path::{Path, PathBuf};

/// The folders that this crate looks into. In the image they are what they are called; tests have their own.
#[derive(Clone, Debug)]
pub struct Place {
    /// The root that files are put into.
    pub root: PathBuf,
    /// sysfs.
    pub sys: PathBuf,
    /// procfs.
    pub proc: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
}

impl Place {
    /// The running system.
    pub fn here() -> Place {
        Place {
            root: "/".into(),
            sys: "/sys".into(),
            proc: "/proc".into(),
            dev: "/dev".into(),
        }
    }

    /// An absolute path of the system, as a path here.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What sysfs says about a block device; nothing when it says nothing.
    pub(crate) fn attribute(&self, device: &str, name: &str) -> Option<String> {
        let path = self.block(device).join(name);
        Some(std::fs::read_to_string(path).ok()?.trim().to_string())
    }

    /// The folder of a block device in sysfs.
    pub(crate) fn block(&self, device: &str) -> PathBuf {
        self.sys.join("class/block").join(device)
    }

    /// The name that the kernel has for the device behind a node, where it is one.
    pub(crate) fn device_of(&self, node: &Path) -> Option<String> {
        let node = node.canonicalize().ok()?;
        let name = node.file_name()?.to_str()?;
        self.block(name).exists().then(|| name.to_string())
    }
}
