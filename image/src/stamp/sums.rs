//! Digests that follow a stamped file: lines of SHA256SUMS, entries of manifest.json.
//!
//! Their text is changed where the digest stands, and nowhere else: when a stamp is cleared they are
//! what they were, and what another version of kedge wrote there stays.

use std::fs;
use std::path::{Path, PathBuf};

use super::write::{self, failed, replace};
use crate::manifest::{MANIFEST, SUMS};
use crate::sha256;

/// Hexadecimal digits of a digest.
const DIGEST: usize = 64;

/// Corrects the lists in the folders of `files` (each with its new digest), and in the folders above
/// those.
pub(super) fn follow(files: &[(PathBuf, String)], lasting: bool) -> Result<(), write::Error> {
    let mut folders: Vec<&Path> = Vec::new();
    for (path, _) in files {
        for folder in path.ancestors().skip(1).take(2) {
            if !folders.contains(&folder) && folder.join(SUMS).is_file() {
                folders.push(folder);
            }
        }
    }
    for folder in folders {
        let (sums_path, manifest_path) = (folder.join(SUMS), folder.join(MANIFEST));
        let old = fs::read_to_string(&sums_path).map_err(failed("read", &sums_path))?;
        let mut sums = old.clone();
        let mut manifest = fs::read_to_string(&manifest_path).unwrap_or_default();
        for (path, digest) in files {
            let Some(name) = path.strip_prefix(folder).ok().and_then(Path::to_str) else {
                continue;
            };
            if set_line(&mut sums, name, digest) {
                set_entry(&mut manifest, name, digest);
            }
        }
        if sums == old {
            continue;
        }
        if set_line(&mut sums, MANIFEST, &sha256::hex(manifest.as_bytes())) {
            replace(&manifest_path, manifest.as_bytes(), lasting)?;
        }
        replace(&sums_path, sums.as_bytes(), lasting)?;
    }
    Ok(())
}

/// A line as sha256sum(1) writes it.
pub(super) fn line(digest: &str, name: &str) -> String {
    format!("{digest}  {name}\n")
}

/// Changes the digest of `name` in SHA256SUMS; `false` where it has no such line.
fn set_line(sums: &mut String, name: &str, digest: &str) -> bool {
    let mut start = 0;
    for line in sums.split_inclusive('\n') {
        let end = line.trim_end_matches('\n');
        if end.get(DIGEST..) == Some(&format!("  {name}")) {
            sums.replace_range(start..start + DIGEST, digest);
            return true;
        }
        start += line.len();
    }
    false
}

/// Changes the digest of the file `name` in manifest.json, whose entries have the path before it.
fn set_entry(manifest: &mut String, name: &str, digest: &str) {
    const FIELD: &str = "\"sha256\": \"";
    let Some(entry) = manifest.find(&format!("\"path\": \"{name}\",")) else {
        return;
    };
    let Some(field) = manifest[entry..].find(FIELD) else {
        return;
    };
    let start = entry + field + FIELD.len();
    let is_digest = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if manifest.get(start..start + DIGEST).is_some_and(is_digest) {
        manifest.replace_range(start..start + DIGEST, digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, describe, sums};
    use std::process::Command;

    #[test]
    fn sha256sum_and_the_manifest_agree_with_what_was_changed_and_go_back() {
        let scratch = tempfile::tempdir().unwrap();
        let out = scratch.path();
        fs::create_dir(out.join("netboot")).unwrap();
        let names = ["kedge.efi", "kedge.iso", "netboot/kedge.efi"];
        let write = |name: &str, content: &str| {
            fs::write(out.join(name), content).unwrap();
            (out.join(name), sha256::hex(content.as_bytes()))
        };
        // Twice the same content, so the same digest.
        for (name, content) in [(names[0], "efi"), (names[1], "iso"), (names[2], "efi")] {
            write(name, content);
        }
        let files = describe(out, &names.map(String::from)).unwrap();
        let manifest = Manifest {
            name: "kedge".into(),
            version: "0".into(),
            command_line: String::new(),
            configured: None,
            stamp_area: 0,
            parts: Vec::new(),
            files: files.clone(),
        };
        write(MANIFEST, &manifest.to_json().unwrap());
        let mut listed = files;
        listed.extend(describe(out, &[MANIFEST.into()]).unwrap());
        write(SUMS, &sums(&listed));
        let texts = || [SUMS, MANIFEST].map(|name| fs::read_to_string(out.join(name)).unwrap());
        let before = texts();
        let check = || {
            let mut sha256sum = Command::new("sha256sum");
            let status = sha256sum
                .args(["--check", "--quiet", SUMS])
                .current_dir(out)
                .status();
            let manifest = Manifest::from_json(&texts()[1]).unwrap();
            status.unwrap().success() && manifest.matches(out)
        };
        assert!(check());
        for name in names {
            let changed = write(name, "new");
            assert!(!check());
            follow(&[changed], false).unwrap();
            assert!(check(), "{name}");
        }
        assert!(texts() != before);
        let files: Vec<_> = names
            .iter()
            .map(|name| write(name, &name[name.len() - 3..]))
            .collect();
        follow(&files, false).unwrap();
        assert!(check());
        assert!(texts() == before);
    }

    #[test]
    fn lists_that_do_not_name_the_file_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let line = format!("{}  other\n", "0".repeat(DIGEST));
        fs::write(scratch.path().join(SUMS), &line).unwrap();
        let file = scratch.path().join("kedge.iso");
        follow(&[(file, "1".repeat(DIGEST))], false).unwrap();
        assert_eq!(fs::read_to_string(scratch.path().join(SUMS)).unwrap(), line);
    }
}
