//! A system with every kind of damage at once, and its own repository: what is damaged becomes what it was, and all else stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kedge_tests::{Folder, ImageTool, Network};
use serde_json::Value;

use super::manifest::{self, Manifest};
use super::repositories::{self, Repository};
use super::trees::Tree;
use super::{DAMAGES, Damage, Found, PATIENCE, verify_finds};

/// What repair itself keeps in ROOT.
const KEPT: &str = "var/lib/kedge";

/// A file where a folder belongs: repair says how to take it away, and does not.
const IN_THE_WAY: &str = "usr/share/tool/folder";
/// How that is told.
const ADVICE: &str = "where a folder belongs: mv";

/// What an undo puts back: another content, and what is left of a link.
const UNDONE: [&str; 2] = ["usr/lib/libtool.so.1.2", "usr/lib/libtool.so.1"];

/// Exit codes of `repair`.
const GOOD: i32 = 0;
const NOT_ALL: i32 = 1;

/// A tree, where its package comes from, and the network between them.
struct Bench {
    kedge: ImageTool,
    tree: Tree,
    repository: Repository,
    network: Network,
    /// What the web server was asked for.
    log: PathBuf,
}

/// What `repair` told.
struct Told {
    exit: Option<i32>,
    /// By path, as the system names it.
    files: BTreeMap<String, Value>,
    /// What is about no file in particular.
    others: Vec<String>,
    /// All of it, for people.
    all: String,
}

impl Bench {
    fn repair(&self, arguments: &[&str]) -> Result<Told> {
        let root = self.tree.root.to_str().context("a path in UTF-8")?;
        let arguments = [&["repair", root, "--json"], arguments].concat();
        let lan = self.network.lan();
        let said = self.kedge.run_at(Some(lan), &arguments, PATIENCE)?;
        let all = format!("{}\n{}", said.text(), said.stderr);
        let report: Value = serde_json::from_slice(&said.stdout).with_context(|| all.clone())?;
        let mut files = BTreeMap::new();
        for file in report["files"].as_array().context("files")? {
            let path = file["path"].as_str().context("path")?;
            let before = files.insert(path.to_owned(), file.clone());
            ensure!(before.is_none(), "{path} is told twice: {all}");
        }
        let says = |other: &Value| Some(other["says"].as_str()?.to_owned());
        let others = report["others"].as_array().context("others")?;
        Ok(Told {
            exit: said.status,
            files,
            others: others.iter().filter_map(says).collect(),
            all,
        })
    }

    fn manifest(&self) -> Result<Manifest> {
        manifest::of(&self.tree.root, KEPT)
    }

    /// How often the package was asked for.
    fn asked(&self) -> Result<usize> {
        let log = fs::read_to_string(&self.log)?;
        let line = format!("url:/{}", self.repository.package);
        Ok(log.lines().filter(|asked| asked.contains(&line)).count())
    }

    fn believe(&self, keys: &[(&str, Vec<u8>)]) -> Result<()> {
        repositories::put(&self.tree.root, keys)
    }

    fn verify_finds(&self, expected: &Found) -> Result<()> {
        verify_finds(&self.kedge, &self.tree, expected)
    }

    /// By a key that did not sign it, nothing is repaired, and why is told.
    fn a_stranger_s_signature_is_refused(&self, damaged: &Found) -> Result<()> {
        self.believe(&self.repository.others)?;
        let before = self.manifest()?;
        let told = self.repair(&["--all-damaged"])?;
        ensure!(told.exit == Some(NOT_ALL), "{:?}: {}", told.exit, told.all);
        told.has_files(damaged)?;
        for (path, file) in &told.files {
            let why = file["why"].as_str().unwrap_or_default();
            ensure!(file["result"] == "failed", "{path}: {}", told.all);
            ensure!(why.contains(self.repository.refused), "{path}: {why}");
        }
        let changed = manifest::differing(&before, &self.manifest()?);
        ensure!(changed.is_empty(), "it changed {changed:?}");
        let undo = self.repair(&["--undo"])?;
        ensure!(undo.others == ["nothing was replaced here"], "{}", undo.all);
        self.believe(&self.repository.keys)
    }

    /// All but what is behind a file in the way, by one package file that is fetched once.
    fn all_is_repaired(&self, damaged: &Found) -> Result<Told> {
        let before = self.asked()?;
        let told = self.repair(&["--all-damaged"])?;
        ensure!(told.exit == Some(NOT_ALL), "{:?}: {}", told.exit, told.all);
        told.has_files(damaged)?;
        let behind = self.found_of(&[IN_THE_WAY]);
        for (path, file) in &told.files {
            if behind.contains_key(path) {
                let why = file["why"].as_str().unwrap_or_default();
                ensure!(file["result"] == "failed", "{path}: {}", told.all);
                ensure!(why.contains(ADVICE), "{path}: {why}");
            } else {
                self.is_repaired(path, file)?;
            }
        }
        let asked = self.asked()? - before;
        ensure!(asked == 1, "the package was asked for {asked} times");
        Ok(told)
    }

    /// What was in the way is moved away, as it was told to.
    fn the_rest_is_repaired(&self) -> Result<()> {
        let in_the_way = self.tree.root.join(IN_THE_WAY);
        fs::rename(in_the_way, self.tree.root.with_extension("old"))?;
        let told = self.repair(&["--all-damaged"])?;
        ensure!(told.exit == Some(GOOD), "{:?}: {}", told.exit, told.all);
        told.has_files(&self.found_of(&[IN_THE_WAY]))?;
        for (path, file) in &told.files {
            self.is_repaired(path, file)?;
        }
        Ok(())
    }

    /// What `verify` says of the damage to these.
    fn found_of(&self, paths: &[&str]) -> Found {
        let mut found = Found::new();
        for damage in DAMAGES {
            if paths.contains(&damage.path) {
                damage.expect(&self.tree, &mut found);
            }
        }
        found
    }

    /// It came from the system's own source, whose key vouches for it.
    fn is_repaired(&self, path: &str, file: &Value) -> Result<()> {
        ensure!(file["result"] == "repaired", "{path}: {file}");
        ensure!(file["vouched"] == true, "{path}: {file}");
        ensure!(file["from"] == self.repository.url(), "{path}: {file}");
        let notes = file["notes"].as_array().context("notes")?;
        ensure!(notes.is_empty(), "{path}: {notes:?}");
        Ok(())
    }

    /// All is as it was but for what stays as the damage left it; `verify` and `repair` find nothing more.
    fn is_right(&self, stay: &[PathBuf], whole: &Manifest, damaged: &Manifest) -> Result<()> {
        self.verify_finds(&Found::new())?;
        let now = self.manifest()?;
        let left = manifest::differing(whole, &now);
        ensure!(left == stay, "not as it was: {left:?}, not only {stay:?}");
        for path in left {
            let (is, was) = (now.get(&path), damaged.get(&path));
            ensure!(is == was, "{} is {is:?}, and was {was:?}", path.display());
        }
        let again = self.repair(&["--all-damaged"])?;
        ensure!(again.exit == Some(GOOD), "{}", again.all);
        ensure!(again.files.is_empty(), "{}", again.all);
        let nothing = ["nothing is damaged, by the package database"];
        ensure!(again.others == nothing, "{}", again.all);
        Ok(())
    }

    /// Puts back what was replaced, and repairs it once more.
    fn what_was_replaced_comes_back(&self, told: &Told, damaged: &Manifest) -> Result<()> {
        for path in UNDONE {
            let number = &told.files[&format!("/{path}")]["kept"];
            let undo = self.repair(&["--undo", &number.to_string()])?;
            ensure!(undo.exit == Some(GOOD), "{path}: {}", undo.all);
        }
        let now = self.manifest()?;
        for path in UNDONE {
            let (is, was) = (now.get(Path::new(path)), damaged.get(Path::new(path)));
            ensure!(is == was, "{path} is {is:?}, and was {was:?}");
        }
        let found = self.found_of(&UNDONE);
        self.verify_finds(&found)?;
        let again = self.repair(&["--all-damaged"])?;
        ensure!(again.exit == Some(GOOD), "{}", again.all);
        again.has_files(&found)
    }

    /// What nobody may replace unasked, or nobody could tell: a named file is looked up in its package. But of one whose
    /// content is right, the mode is all that could be wrong, and that only the database could tell.
    fn what_stays_is_repaired_by_name(&self, stay: &[PathBuf], whole: &Manifest) -> Result<()> {
        let names = stay.iter().map(|path| format!("/{}", path.display()));
        let names: Vec<String> = names.collect();
        let told = self.repair(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        ensure!(told.exit == Some(GOOD), "{:?}: {}", told.exit, told.all);
        for (path, file) in &told.files {
            self.is_repaired(path, file)?;
        }
        let left = manifest::differing(whole, &self.manifest()?);
        let untold: &[&Path] = match self.tree.knows.modes {
            true => &[],
            false => &[Path::new("usr/bin/tool")],
        };
        ensure!(left == untold, "not as it was: {left:?}");
        Ok(())
    }
}

impl Told {
    /// It told of the files that `verify` found, and of no others.
    fn has_files(&self, found: &Found) -> Result<()> {
        let same = self.files.keys().eq(found.keys());
        ensure!(same, "not {:?}, but {}", found.keys(), self.all);
        Ok(())
    }
}

/// What its database does not tell is not found, and stays as it is; so does a configuration file that was changed.
fn stays(damage: &Damage, tree: &Tree) -> bool {
    (damage.words)(tree.knows).is_empty()
}

/// The whole story.
pub(crate) fn is_whole_again(
    folder: &Folder,
    install: fn(&Path) -> Result<Tree>,
    publish: fn(&Path, &Tree) -> Result<Repository>,
) -> Result<()> {
    let tree = install(folder.path())?;
    let repository = publish(folder.path(), &tree)?;
    let mut network = Network::new(&folder.folder("network")?)?;
    let bench = Bench {
        kedge: ImageTool::extract(folder.path())?,
        log: network.serve_http(&repository.web)?,
        tree,
        repository,
        network,
    };
    bench.believe(&bench.repository.keys)?;
    let whole = bench.manifest()?;

    let mut found = Found::new();
    for damage in DAMAGES {
        damage.inflict(&bench.tree, &mut found)?;
    }
    bench.verify_finds(&found)?;
    let damaged = bench.manifest()?;
    bench.a_stranger_s_signature_is_refused(&found)?;
    let told = bench.all_is_repaired(&found)?;
    bench.the_rest_is_repaired()?;

    let stay = DAMAGES.iter().filter(|damage| stays(damage, &bench.tree));
    let mut stay: Vec<PathBuf> = stay.map(|damage| damage.path.into()).collect();
    stay.sort();
    bench.is_right(&stay, &whole, &damaged)?;
    bench.what_was_replaced_comes_back(&told, &damaged)?;
    bench.is_right(&stay, &whole, &damaged)?;
    bench.what_stays_is_repaired_by_name(&stay, &whole)?;
    println!(
        "{}: {} files repaired from {}, {stay:?} only by name",
        bench.tree.family,
        found.len(),
        bench.repository.url()
    );
    Ok(())
}
