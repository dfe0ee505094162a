//! For tests: every file of a database cut short and with flipped bits, one after the other.

use std::path::{Path, PathBuf};

/// Calls `look` after each of about `count` cuts and as many flips of every file below `root`, which is restored.
pub(crate) fn each(root: &Path, count: usize, look: &mut dyn FnMut()) {
    let mut files = Vec::new();
    collect(root, &mut files);
    for file in files {
        let good = std::fs::read(&file).unwrap();
        let step = good.len().div_ceil(count).max(1);
        // Another bit each time, and not always the same byte of a record.
        for (round, at) in (0..good.len()).step_by(step).enumerate() {
            std::fs::write(&file, &good[..at]).unwrap();
            look();
            let mut bad = good.clone();
            let at = (at + round % step).min(bad.len() - 1);
            bad[at] ^= 1 << (round % 8);
            std::fs::write(&file, &bad).unwrap();
            look();
            bad[at] = [0, 0xff, b'\n', b'/'][round % 4];
            std::fs::write(&file, &bad).unwrap();
            look();
        }
        std::fs::write(&file, &good).unwrap();
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
