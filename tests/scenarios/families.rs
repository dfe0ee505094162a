//! Systems of all four package families, rpm's with each kind of database, with damage of each kind: `verify` names what was
//! damaged, and how, and nothing else; `repair` fetches the same version from the system's own source, and all is as it was.
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
#[path = "families/manifest.rs"]
mod manifest;
#[path = "families/repair.rs"]
mod repair;
#[path = "families/repositories.rs"]
mod repositories;
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
    /// What else is damaged by that.
    also: &'static [(&'static str, &'static str)],
}

/// All of them; what happens to a configuration file is no damage.
const DAMAGES: &[Damage] = &[
    Damage {
        path: "usr/lib/libtool.so.1.2",
        damage: flip_a_bit,
        words: |_| &["content"],
        also: &[],
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
        also: &[],
    },
    Damage {
        path: "usr/share/tool/zeros",
        damage: |path| write(path, &vec![0; fs::read(path)?.len()]),
        words: |_| &["content"],
        also: &[],
    },
    Damage {
        path: "usr/share/tool/mode",
        damage: |path| Ok(fs::set_permissions(path, Permissions::from_mode(0o666))?),
        words: |_| &["mode"],
        also: &[],
    },
    Damage {
        path: "usr/bin/tool",
        damage: |path| Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?),
        words: |knows| if knows.modes { &["mode"] } else { &[] },
        also: &[],
    },
    Damage {
        path: "usr/share/tool/owner",
        damage: |path| Ok(std::os::unix::fs::chown(path, Some(2), Some(2))?),
        words: |_| &["owner"],
        also: &[],
    },
    Damage {
        path: "usr/lib/libtool.so.1",
        damage: become_a_husk,
        words: |_| &["type"],
        also: &[],
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
        also: &[],
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
        // Below what is no folder any more there is nothing.
        also: &[("usr/share/tool/folder/inside", "missing")],
    },
    Damage {
        path: "usr/share/tool/linked",
        damage: |path| {
            fs::remove_file(path)?;
            Ok(symlink("/etc/shadow", path)?)
        },
        words: |knows| if knows.targets { &["target"] } else { &[] },
        also: &[],
    },
    Damage {
        path: "usr/share/tool/gone",
        damage: |path| Ok(fs::remove_file(path)?),
        words: |_| &["missing"],
        also: &[],
    },
    Damage {
        path: "usr/bin/gone",
        damage: |path| Ok(fs::remove_file(path)?),
        words: |_| &["missing"],
        also: &[],
    },
    Damage {
        // What writes to it takes its capability.
        path: "usr/bin/capable",
        damage: flip_a_bit,
        words: |knows| {
            if knows.capabilities {
                &["capabilities", "content"]
            } else {
                &["content"]
            }
        },
        also: &[],
    },
    Damage {
        path: "usr/share/tool/twice",
        damage: flip_a_bit,
        words: |_| &["content"],
        also: &[("usr/share/tool/twin", "content")],
    },
    Damage {
        path: "etc/tool/changed.conf",
        damage: |path| write(path, b"by hand"),
        words: |_| &[],
        also: &[],
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

/// `verify` says this, and nothing else.
fn verify_finds(kedge: &ImageTool, tree: &Tree, expected: &Found) -> Result<()> {
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
    let wanted = if expected.is_empty() { 0 } else { 1 };
    ensure!(found == *expected, "{found:?}, expected {expected:?}");
    ensure!(
        said.status == Some(wanted),
        "it ended with {:?}",
        said.status
    );
    Ok(())
}

impl Damage {
    /// Does it, and adds what `verify` must say of it.
    fn inflict(&self, tree: &Tree, expected: &mut Found) -> Result<()> {
        (self.damage)(&tree.root.join(self.path))
            .with_context(|| format!("damaging {}", self.path))?;
        self.expect(tree, expected);
        Ok(())
    }

    /// Adds what `verify` must say of it.
    fn expect(&self, tree: &Tree, expected: &mut Found) {
        let words = (self.words)(tree.knows).iter().map(|w| w.to_string());
        let words: BTreeSet<String> = words.collect();
        if !words.is_empty() {
            expected.insert(format!("/{}", self.path), words);
        }
        for (path, word) in self.also {
            expected.insert(format!("/{path}"), BTreeSet::from([word.to_string()]));
        }
    }
}

fn is_told_apart(folder: &Folder, tree: &Tree) -> Result<()> {
    let kedge = ImageTool::extract(folder.path())?;
    let mut expected = Found::new();
    verify_finds(&kedge, tree, &expected).context("before any damage")?;

    // One after the other: nothing hides anything else.
    for damage in DAMAGES {
        damage.inflict(tree, &mut expected)?;
        verify_finds(&kedge, tree, &expected)
            .with_context(|| format!("{} of {}", damage.path, tree.family))?;
    }
    println!(
        "{}: {} kinds of damage told apart",
        tree.family,
        expected.len()
    );
    Ok(())
}

/// rpm's, with the database in the format of SUSE's.
fn fedora_with_ndb(folder: &Path) -> Result<Tree> {
    let tree = trees::fedora(folder)?;
    kinds::make_ndb(&tree.root.join("var/lib/rpm"));
    Ok(tree)
}

/// rpm's, with the database in the format that it had before 2020.
fn fedora_with_berkeley_db(folder: &Path) -> Result<Tree> {
    let tree = trees::fedora(folder)?;
    kinds::make_berkeley(&tree.root.join("var/lib/rpm"), 0, 4096);
    Ok(tree)
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
    scenario(|folder| is_told_apart(folder, &fedora_with_ndb(folder.path())?));
}

#[test]
fn rpm_s_files_are_told_apart_with_berkeley_db() {
    scenario(|folder| is_told_apart(folder, &fedora_with_berkeley_db(folder.path())?));
}

#[test]
fn pacman_s_files_are_told_apart() {
    scenario(|folder| is_told_apart(folder, &trees::arch(folder.path())?));
}

#[test]
fn apk_s_files_are_told_apart() {
    scenario(|folder| is_told_apart(folder, &trees::alpine(folder.path())?));
}

#[test]
fn dpkg_s_files_are_repaired_from_a_signed_release() {
    scenario(|folder| repair::is_whole_again(folder, trees::debian, repositories::debian));
}

#[test]
fn rpm_s_files_are_repaired_from_a_signed_package() {
    scenario(|folder| repair::is_whole_again(folder, trees::fedora, repositories::fedora));
}

#[test]
fn rpm_s_files_are_repaired_with_ndb() {
    scenario(|folder| repair::is_whole_again(folder, fedora_with_ndb, repositories::fedora));
}

#[test]
fn rpm_s_files_are_repaired_with_berkeley_db() {
    scenario(|folder| {
        repair::is_whole_again(folder, fedora_with_berkeley_db, repositories::fedora)
    });
}

#[test]
fn pacman_s_files_are_repaired_from_a_package_whose_packager_is_vouched_for() {
    scenario(|folder| repair::is_whole_again(folder, trees::arch, repositories::arch));
}

#[test]
fn apk_s_files_are_repaired_from_a_signed_index() {
    scenario(|folder| repair::is_whole_again(folder, trees::alpine, repositories::alpine));
}
