//! Paths as databases write them, and what they are below ROOT.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kedge_sysroot::Sysroot;
use rustix::fs::FileType;

/// Folders that usr-merge made links to their namesakes in `/usr`.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// How long a path can be (`PATH_MAX`).
pub(crate) const LONGEST: usize = 4096;

/// `/usr/./bin/x`, `./usr/bin/x`, `usr/bin/` without what is not needed. `None` for what is no path of a package: with
/// `..`, a NUL or a line's end in it, or longer than paths can be.
pub(crate) fn clean(raw: &[u8]) -> Option<PathBuf> {
    let raw = trim(raw);
    let (mut last, mut plain) = (b'/', true);
    for &byte in raw {
        if byte == 0 || byte == b'\n' {
            return None;
        }
        plain &= last != b'/' || (byte != b'/' && byte != b'.');
        last = byte;
    }
    if raw.len() > LONGEST {
        return None;
    }
    if plain {
        return Some(OsStr::from_bytes(raw).into());
    }
    let mut path = PathBuf::new();
    for part in raw.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            part => path.push(OsStr::from_bytes(part)),
        }
    }
    Some(path)
}

/// Without `/` at both ends and `./` in front; the form in which names are compared. ROOT itself is empty.
pub(crate) fn trim(raw: &[u8]) -> &[u8] {
    let mut raw = raw;
    loop {
        raw = match raw {
            [b'/', rest @ ..] | [b'.', b'/', rest @ ..] | [rest @ .., b'/'] => rest,
            b"." => b"",
            _ => return raw,
        };
    }
}

/// A line as a complaint shows it: what is in the place of one can be megabytes of zeros.
pub(crate) fn shown(raw: &[u8]) -> String {
    const MOST: usize = 100;
    match raw.get(..MOST) {
        Some(head) if raw.len() > MOST => format!("{}...", head.escape_ascii()),
        _ => raw.escape_ascii().to_string(),
    }
}

/// Folders that are links, and where they really are: how a path can be written in more than one way.
#[derive(Debug)]
pub(crate) struct Aliases(Vec<(PathBuf, PathBuf)>);

impl Aliases {
    /// Looks for them where distributions have them: in ROOT, `/usr` and `/var`.
    pub(crate) fn of(root: &Sysroot) -> Aliases {
        let mut found = Vec::new();
        for folder in ["", "usr", "var"] {
            for name in root.read_dir(Path::new(folder)).unwrap_or_default() {
                if matches!(name.kind, FileType::Symlink | FileType::Unknown) {
                    let link = Path::new(folder).join(name.name);
                    match root.real_path(&link) {
                        Ok(real) if real != link => found.push((link, real)),
                        _ => {}
                    }
                }
            }
        }
        for name in MERGED {
            let link = Path::new(name);
            // What became of the link does not matter, as long as it is no folder of its own.
            let folder = root
                .symlink_metadata(link)
                .is_ok_and(|known| FileType::from_raw_mode(known.st_mode) == FileType::Directory);
            if !folder && !found.iter().any(|(known, _)| known == link) {
                found.push((link.into(), Path::new("usr").join(name)));
            }
        }
        Aliases(found)
    }

    /// All ways in which a database may write `path`; it itself is the first.
    pub(crate) fn of_path(&self, root: &Sysroot, path: &Path) -> Vec<PathBuf> {
        let path = clean(path.as_os_str().as_bytes()).unwrap_or_default();
        let mut all = vec![path.clone()];
        let mut add = |path: PathBuf| {
            if !all.contains(&path) {
                all.push(path);
            }
        };
        let real = real(root, &path);
        for (link, folder) in &self.0 {
            if let Ok(rest) = path.strip_prefix(link) {
                add(folder.join(rest));
            }
            for path in [&path, &real] {
                match path.strip_prefix(folder) {
                    Ok(rest) if !rest.as_os_str().is_empty() => add(link.join(rest)),
                    _ => {}
                }
            }
        }
        add(real);
        all
    }
}

/// With its folders resolved as far as they are there; the last name stays as it is.
fn real(root: &Sysroot, path: &Path) -> PathBuf {
    let mut folder = path.parent();
    while let Some(there) = folder {
        if there.as_os_str().is_empty() {
            break;
        }
        if let (Ok(real), Ok(rest)) = (root.real_path(there), path.strip_prefix(there)) {
            return real.join(rest);
        }
        folder = there.parent();
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_of_a_package_is_refused() {
        for (raw, expected) in [
            ("/usr/bin/x", Some("usr/bin/x")),
            ("./usr//bin/./x", Some("usr/bin/x")),
            ("usr/share/doc/", Some("usr/share/doc")),
            ("/.", Some("")),
            ("/", Some("")),
            ("/...", Some("...")),
            ("/etc/..", None),
            ("../etc", None),
            ("a\0b", None),
            ("a\nb", None),
        ] {
            assert_eq!(clean(raw.as_bytes()), expected.map(PathBuf::from), "{raw}");
        }
        assert_eq!(clean(&[b'a'; 5000]), None);
    }

    #[test]
    fn a_file_has_all_the_names_that_links_give_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for folder in ["usr/lib", "usr/bin", "run"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        std::fs::create_dir(at("var")).unwrap();
        std::os::unix::fs::symlink("usr/lib", at("lib")).unwrap();
        std::os::unix::fs::symlink("bin", at("usr/sbin")).unwrap();
        std::os::unix::fs::symlink("/run", at("var/run")).unwrap();
        // What was a link once.
        std::fs::write(at("sbin"), "").unwrap();
        // A system whose /lib64 is not merged.
        std::fs::create_dir(at("lib64")).unwrap();

        let root = Sysroot::open(folder.path()).unwrap();
        let aliases = Aliases::of(&root);
        let names = |path: &str| -> Vec<String> {
            let mut names: Vec<String> = aliases
                .of_path(&root, Path::new(path))
                .iter()
                .map(|path| path.to_str().unwrap().to_string())
                .collect();
            assert_eq!(names[0], path);
            names.sort();
            names
        };
        assert_eq!(names("usr/lib/a/x"), ["lib/a/x", "usr/lib/a/x"]);
        assert_eq!(names("lib/a/x"), ["lib/a/x", "usr/lib/a/x"]);
        assert_eq!(names("sbin/x"), ["sbin/x", "usr/sbin/x"]);
        assert_eq!(names("lib64/x"), ["lib64/x"]);
        assert_eq!(names("run/x"), ["run/x", "var/run/x"]);
        assert_eq!(
            names("usr/sbin/x"),
            ["bin/x", "sbin/x", "usr/bin/x", "usr/sbin/x"]
        );
    }
}
