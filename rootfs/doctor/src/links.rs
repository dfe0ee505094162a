//! Where ROOT's links lead when they lead nowhere, and what somebody means who types a path.

use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;

use crate::shown;

/// Where programs are, the first that has one counts.
pub(crate) const FOLDERS: &[&str] = &[
    "usr/sbin",
    "usr/bin",
    "sbin",
    "bin",
    "usr/local/sbin",
    "usr/local/bin",
];

/// What to type for a link that leads nowhere: what it leads to is what has to be put back.
pub(crate) fn repair_target(root: &Sysroot, link: &Path) -> Vec<String> {
    let path = end_of_links(root, link);
    let path = shown::typed(Path::new(&shown::path(&path)));
    vec![format!("repair {} {path}", shown::typed(root.path()))]
}

/// The folder in the root of a system with a merged `/usr` whose link is gone, where that is why `name` is not there.
pub(crate) fn lost_link(root: &Sysroot, name: &str) -> Option<&'static str> {
    let path = Path::new(name.strip_prefix('/')?);
    let end = end_of_links(root, path);
    ["bin", "sbin", "lib", "lib64"].into_iter().find(|folder| {
        let link = root.symlink_metadata(Path::new(folder));
        end.starts_with(folder)
            && link.is_err_and(|error| error.is_missing())
            && root.exists(&Path::new("usr").join(&end))
    })
}

/// The path below ROOT that somebody means who typed the path as it is seen from outside, or the name of a program.
pub(crate) fn meant(root: &Sysroot, typed: &Path) -> PathBuf {
    let missing = |path: &Path| root.symlink_metadata(path).is_err_and(|e| e.is_missing());
    if !missing(typed) {
        return typed.into();
    }
    let absolute = std::fs::canonicalize(root.path()).unwrap_or_default();
    let roots = [root.path(), &absolute].into_iter();
    let mut roots = roots.filter(|root| root.components().count() > 1 || root.is_relative());
    if let Some(below) = roots.find_map(|root| typed.strip_prefix(root).ok())
        && below != typed
    {
        return below.into();
    }
    let is_name = typed.components().count() == 1 && typed.is_relative();
    let folders = FOLDERS.iter().filter(|_| is_name);
    let mut places = folders.map(|folder| Path::new(folder).join(typed));
    places.find(|place| !missing(place)).unwrap_or(typed.into())
}

/// Where a chain of links ends, whether there is anything or not.
pub(crate) fn end_of_links(root: &Sysroot, link: &Path) -> PathBuf {
    let mut path = link.to_path_buf();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = root.read_link(&path) else {
            break;
        };
        let next = match target.strip_prefix("/") {
            Ok(absolute) => absolute.to_path_buf(),
            Err(_) => path.parent().unwrap_or(Path::new("")).join(&target),
        };
        path = without_links(root, &next);
    }
    path
}

/// The path with links of its folders followed, but not its last name.
pub(crate) fn without_links(root: &Sysroot, path: &Path) -> PathBuf {
    let folder = path.parent().map(|folder| root.real_path(folder));
    match (folder, path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path.into(),
    }
}
