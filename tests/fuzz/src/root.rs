//! A system of which one file is whatever the fuzzer says.

use std::path::Path;

use kedge_sysroot::Sysroot;
use tempfile::TempDir;

/// A folder that stands for an installed system. One a thread: making it takes longer than reading it.
pub(crate) struct Root {
    folder: TempDir,
    pub(crate) sysroot: Sysroot,
}

impl Root {
    /// With these files.
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Root {
        let folder = TempDir::with_prefix("kedge-fuzz-").expect("a folder can be made");
        let sysroot = Sysroot::open(folder.path()).expect("it can be opened");
        let root = Root { folder, sysroot };
        for (path, content) in files {
            root.write(path, content);
        }
        root
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let path = self.folder.path().join(path);
        if std::fs::write(&path, content).is_err() {
            let folder = path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(folder).expect("a folder can be made");
            std::fs::write(&path, content).expect("a file can be written");
        }
    }
}
