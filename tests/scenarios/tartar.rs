//! What several `tar` into one folder left behind: files of no bytes and mode 000 where packages have symbolic links. They are found,
//! although dpkg has no checksum of a link, and the links come back from the packages.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::{Chance, Folder, ImageTool, Network, Tree, Victim, scenario};
use serde_json::Value;

/// How many links are damaged.
const DAMAGED: usize = 24;

const PATIENCE: Duration = Duration::from_secs(240);

/// Links that packages have in a tree, in order.
fn links(tree: &Tree) -> Result<Vec<String>> {
    let mut links = Vec::new();
    for entry in fs::read_dir(tree.path().join("var/lib/dpkg/info"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "list") {
            continue;
        }
        for name in fs::read_to_string(&path)?
            .lines()
            .filter(|name| *name != "/.")
        {
            // Below the folders that are links themselves, each has a second name.
            let below_usr = name.starts_with("/usr/");
            if below_usr && tree.change(name, |path| Ok(path.is_symlink()))? {
                links.push(name.to_owned());
            }
        }
    }
    links.sort();
    links.dedup();
    Ok(links)
}

fn target(tree: &Tree, name: &str) -> Result<PathBuf> {
    tree.change(name, |path| fs::read_link(path))
}

/// The paths that `verify` finds.
fn verify(kedge: &ImageTool, tree: &Tree) -> Result<Vec<String>> {
    let said = kedge.run(&["verify", "--json", tree.text()?], PATIENCE)?;
    let answer: Value = serde_json::from_slice(&said.stdout)
        .with_context(|| format!("verify ended with {:?}: {}", said.status, said.stderr))?;
    let damaged = answer["damaged"].as_array().context("no list")?;
    ensure!(
        said.status == Some(i32::from(!damaged.is_empty())),
        "{said:?}"
    );
    let paths = damaged.iter().filter_map(|one| one["path"].as_str());
    let mut paths: Vec<String> = paths.map(str::to_owned).collect();
    paths.sort();
    Ok(paths)
}

#[test]
fn empty_files_in_place_of_links_are_found_and_repaired() {
    scenario(|folder: &Folder| {
        let kedge = ImageTool::extract(folder.path())?;
        let victim = Victim::server()?;
        let tree = victim.tree(&folder.path().join("tree"))?;
        let mut network = Network::new(&folder.folder("network")?)?;
        let mirror = victim.mirror(&folder.path().join("web"))?;
        network.serve_http(mirror.folder())?;
        ensure!(
            verify(&kedge, &tree)?.is_empty(),
            "a whole system is damaged"
        );

        let all = links(&tree)?;
        let mut chance = Chance::told(1);
        let mut damaged: Vec<&String> = Vec::new();
        while damaged.len() < DAMAGED {
            let one = chance.one(&all);
            if !damaged.contains(&one) {
                damaged.push(one);
            }
        }
        damaged.sort();
        let targets: Vec<PathBuf> = damaged
            .iter()
            .map(|name| target(&tree, name))
            .collect::<Result<_>>()?;
        for name in &damaged {
            tree.change(name, |path| {
                fs::remove_file(path)?;
                fs::write(path, "")?;
                fs::set_permissions(path, Permissions::from_mode(0o000))
            })?;
        }
        let found = verify(&kedge, &tree)?;
        ensure!(
            found.iter().eq(damaged.iter().copied()),
            "damaged are {damaged:?}, found is {found:?}"
        );

        let from = "http://192.0.2.1/debian";
        let repair = ["repair", tree.text()?, "--all-damaged", "--from", from];
        kedge
            .run_at(Some(network.lan()), &repair, PATIENCE)?
            .success()?;
        for (name, before) in damaged.iter().zip(&targets) {
            ensure!(target(&tree, name)? == *before, "{name} leads elsewhere");
        }
        ensure!(
            verify(&kedge, &tree)?.is_empty(),
            "something is damaged still"
        );
        println!(
            "{DAMAGED} of {} links were damaged, found and repaired",
            all.len()
        );
        fs::remove_dir_all(tree.path())?;
        Ok(())
    });
}
