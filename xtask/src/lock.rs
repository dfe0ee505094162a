//! `cargo xtask lock`: packs.lock, renewed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kedge_image::build::Request;
use kedge_image::cache::Cache;
use kedge_image::configuration::{Configuration, FILE, Sources};
use kedge_image::host::{self, Need};
use kedge_image::packs::debian;
use kedge_image::packs::description::Custom;
use kedge_image::packs::lock::Lock;
use kedge_image::{packs, userland};

use crate::progress::Terminal;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Take the packs of this file instead of those of kedge.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Lock the packages of this pack, too (may be repeated)
    #[arg(long, value_name = "NAME=PACKAGE,...", value_parser = crate::build::custom_pack)]
    pack: Vec<Custom>,
    /// Only show what would change, and end with 1 if something would
    #[arg(long)]
    check: bool,
    /// Leave packs.lock alone as long as the archive still has every version in it
    #[arg(long, conflicts_with = "check")]
    if_gone: bool,
}

pub(crate) fn run(
    request: &Request,
    arguments: &Arguments,
    progress: &Terminal,
) -> anyhow::Result<ExitCode> {
    host::ensure(&[Need::Build], progress)?;
    let own = request.root.join(FILE);
    let configuration = Configuration::read(&Sources {
        file: arguments
            .config
            .clone()
            .or_else(|| own.exists().then_some(own)),
        packs: arguments.pack.clone(),
        ..Sources::default()
    })?;
    let cache = Cache::open()?;
    let old = Lock::read(&request.root)?;
    if arguments.if_gone {
        let gone = debian::gone(&old, &cache)?;
        if gone.is_empty() {
            eprintln!("packs.lock: the archive has every version");
            return Ok(ExitCode::SUCCESS);
        }
        for (name, version) in gone {
            eprintln!("note: the archive no longer has {name} {version}");
        }
    }
    let applets = userland::applets()?;
    let in_image = |name: &str| applets.contains(name);
    let new = packs::renew(
        &request.root,
        configuration.packs(),
        &cache,
        &in_image,
        progress,
    )?;
    let changes = old.changes(&new);
    for change in &changes {
        println!("{change}");
    }
    match (changes.is_empty(), arguments.check) {
        (true, _) => eprintln!(
            "packs.lock is what the archive has: {} packages",
            new.package.len()
        ),
        (false, true) => return Ok(ExitCode::FAILURE),
        (false, false) => {
            new.write(&request.root)?;
            eprintln!("packs.lock: {} packages", new.package.len());
        }
    }
    Ok(ExitCode::SUCCESS)
}
