//! Systems of all four package families, rpm's with each kind of database, with damage of each kind: `verify` names what was
//! damaged, and how, and nothing else.
//!
//! dpkg, rpm and pacman install the packages themselves; apk is not in Debian, its database is written as it writes it.
//!
//! What a database does not tell, cannot be found: dpkg's knows owners and modes only of statoverrides, and never where a
//! link leads; only pacman's and rpm's know lengths. It needs root: files have owners.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::{Folder, ImageTool, scenario};

// The file that the reader of these databases is tested with.
#[path = "../../rootfs/packages/src/rpm/kinds.rs"]
mod kinds;
#[path = "families/trees.rs"]
mod trees;

use trees::{Knows, Tree};

/// A tree has thirty files.
const PATIENCE: Duration = Duration::from_secs(60);

/// One kind of damage to one file, and the words that `verify` has for it.
struct Damage {
    path: &'static str,
    damage: fn(&Path) -> Result<()>,
    words: fn(Knows) -> &'static [&'static str],
}

/// All of them; what happens to a configuration file is no damage.
const DAMAGES: &[Damage] = &[
    Damage {
        path: "usr/lib/libtool.so.1.2",
        damage: flip_a_bit,
        words: |_| &["content"],
    },
    Damage {
        path: "usr/share/tool/longer",
        damage: |path| write(path, &[fs::read(path)?.as_slice(), b"more"].concat()),
        words: |knows| {
            if knows.sizes {
                &["content", "size"]
            } else {
                &["content"]
            }
        },
    },
    Damage {
        path: "usr/share/tool/zeros",
        damage: |path| write(path, &vec![0; fs::read(path)?.len()]),
        words: |_| &["content"],
    },
    Damage {
        path: "usr/share/tool/mode",
        damage: |path| Ok(fs::set_permissions(path, Permissions::from_mode(0o666))?),
        words: |_| &["mode"],
    },
    Damage {
        path: "usr/bin/tool",
        damage: |path| Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?),
        words: |knows| if knows.modes { &["mode"] } else { &[] },
    },
    Damage {
        path: "usr/share/tool/owner",
        damage: |path| Ok(std::os::unix::fs::chown(path, Some(1), Some(1))?),
        words: |_| &["owner"],
    },
    Damage {
        path: "usr/lib/libtool.so.1",
        damage: become_a_husk,
        words: |_| &["type"],
    },
    Damage {
        path: "usr/share/tool/husk",
        damage: become_a_husk,
        words: |knows| {
            if knows.modes {
                &["mode", "type"]
            } else {
                &["type"]
            }
        },
    },
    Damage {
        path: "usr/share/tool/folder",
        damage: |path| {
            fs::remove_dir_all(path)?;
            write(path, b"a file")
        },
        words: |knows| {
            if knows.modes {
                &["mode", "type"]
            } else {
                &["type"]
            }
        },
    },
    Damage {
        path: "usr/share/tool/linked",
        damage: |path| {
            fs::remove_file(path)?;
            Ok(symlink("/etc/shadow", path)?)
        },
        words: |knows| if knows.targets { &["target"] } else { &[] },
    },
    Damage {
        path: "usr/share/tool/gone",
        damage: |path| Ok(fs::remove_file(path)?),
        words: |_| &["missing"],
    },
    Damage {
        path: "etc/tool/changed.conf",
        damage: |path| write(path, b"by hand"),
        words: |_| &[],
    },
];

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

fn flip_a_bit(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    write(path, &bytes)
}

/// What two `tar`s that unpack into one folder leave of a link.
fn become_a_husk(path: &Path) -> Result<()> {
    fs::remove_file(path)?;
    write(path, b"")?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o000))?)
}

/// By path, which words `verify` has.
type Found = BTreeMap<String, BTreeSet<String>>;

fn verify(kedge: &ImageTool, tree: &Tree) -> Result<(Option<i32>, Found)> {
    let root = tree.root.to_str().context("a path in UTF-8")?;
    let said = kedge.run(&["verify", root, "--json"], PATIENCE)?;
    let report: serde_json::Value = serde_json::from_slice(&said.stdout)
        .with_context(|| format!("{}\n{}", said.text(), said.stderr))?;
    let mut found = Found::new();
    for damaged in report["damaged"].as_array().context("damaged")? {
        let path = damaged["path"].as_str().context("path")?;
        let differences = damaged["differences"].as_array().context("differences")?;
        let words = differences
            .iter()
            .filter_map(|difference| difference["kind"].as_str());
        let words = words.map(str::to_string).collect();
        ensure!(
            found.insert(path.to_string(), words).is_none(),
            "{path} is named twice"
        );
        let known = ["package", "version", "family"].map(|key| damaged[key].as_str());
        let wanted = [tree.package, tree.version, tree.family].map(Some);
        ensure!(known == wanted, "{known:?} {wanted:?}");
    }
    let complaints = report["complaints"].as_array().context("complaints")?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    Ok((said.status, found))
}

fn is_told_apart(folder: &Folder, tree: &Tree) -> Result<()> {
    let kedge = ImageTool::extract(folder.path())?;
    let (status, found) = verify(&kedge, tree)?;
    ensure!(found.is_empty(), "before any damage: {found:?}");
    ensure!(status == Some(0), "it ended with {status:?}");

    // One after the other: nothing hides anything else.
    let mut expected = Found::new();
    for damage in DAMAGES {
        (damage.damage)(&tree.root.join(damage.path))
            .with_context(|| format!("damaging {}", damage.path))?;
        let words: BTreeSet<String> = (damage.words)(tree.knows)
            .iter()
            .map(|w| w.to_string())
            .collect();
        if !words.is_empty() {
            expected.insert(format!("/{}", damage.path), words);
        }
        // Below what is no folder any more there is nothing.
        if damage.path.ends_with("/folder") {
            let inside = format!("/{}/inside", damage.path);
            expected.insert(inside, BTreeSet::from(["missing".to_string()]));
        }
        let (status, found) = verify(&kedge, tree)?;
        ensure!(
            found == expected,
            "{} of {}: {found:?}, expected {expected:?}",
            damage.path,
            tree.family
        );
        let wanted = if expected.is_empty() { 0 } else { 1 };
        ensure!(status == Some(wanted), "it ended with {status:?}");
    }
    println!(
        "{}: {} kinds of damage told apart",
        tree.family,
        expected.len()
    );
    Ok(())
}

#[test]
fn dpkg_s_files_are_told_apart() {
    scenario(|folder| is_told_apart(folder, &trees::debian(folder.path())?));
}

#[test]
fn rpm_s_files_are_told_apart_with_sqlite() {
    scenario(|folder| is_told_apart(folder, &trees::fedora(folder.path())?));
}

#[test]
fn rpm_s_files_are_told_apart_with_ndb() {
    scenario(|folder| {
        let tree = trees::fedora(folder.path())?;
        kinds::make_ndb(&tree.root.join("var/lib/rpm"));
        is_told_apart(folder, &tree)
    });
}

#[test]
fn rpm_s_files_are_told_apart_with_berkeley_db() {
    scenario(|folder| {
        let tree = trees::fedora(folder.path())?;
        kinds::make_berkeley(&tree.root.join("var/lib/rpm"), 0, 4096);
        is_told_apart(folder, &tree)
    });
}

#[test]
fn pacman_s_files_are_told_apart() {
    scenario(|folder| is_told_apart(folder, &trees::arch(folder.path())?));
}

#[test]
fn apk_s_files_are_told_apart() {
    scenario(|folder| is_told_apart(folder, &trees::alpine(folder.path())?));
}
