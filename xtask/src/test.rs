//! `cargo xtask test`: unit tests and scenarios, by cargo-nextest where it is there.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use clap::Args;
use kedge_image::build::Request;
use kedge_image::host::{self, Need};
use kedge_image::manifest::Configured;

use crate::progress::Terminal;
use crate::{cargo, require_artefacts};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tests whose name contains one of these
    filters: Vec<String>,
    /// Also the tests that take very long (virtual media at 52 kB/s)
    #[arg(long)]
    slow: bool,
    /// Run the K-th of N shares of the tests (needs cargo-nextest)
    #[arg(long, value_name = "K/N", value_parser = partition)]
    partition: Option<String>,
}

fn partition(text: &str) -> Result<String, String> {
    let numbers = text
        .split_once('/')
        .and_then(|(k, n)| Some((k.parse::<u32>().ok()?, n.parse::<u32>().ok()?)));
    match numbers {
        Some((k, n)) if 1 <= k && k <= n => Ok(text.to_string()),
        _ => Err("expected K/N with 1 <= K <= N, as in 2/4".into()),
    }
}

pub(crate) fn run(
    request: &Request,
    arguments: &Arguments,
    progress: &Terminal,
) -> anyhow::Result<ExitCode> {
    host::ensure(&[Need::Build, Need::Test], progress)?;
    require_artefacts(request)?;
    if crate::run::configured(&request.out) != Configured::default() {
        eprintln!(
            "note: out/ is configured by a kedge.toml or by options, and the scenarios are about the \
             image that everybody has: `cargo xtask build --no-config` makes that"
        );
    }
    let nextest = has_nextest(&request.root);
    let mut command = Command::new(cargo());
    command
        .current_dir(&request.root)
        .env("KEDGE_OUT", &request.out);
    if nextest {
        command.args(["nextest", "run"]);
    } else {
        eprintln!("note: cargo-nextest is not there; plain `cargo test` serves");
        command.arg("test");
    }
    command.args(["--locked", "--workspace"]);
    if arguments.slow {
        command.args(["--features", "kedge-tests/slow"]);
    }
    match (&arguments.partition, nextest) {
        (Some(share), true) => {
            command.args(["--partition", &format!("count:{share}")]);
        }
        (Some(_), false) => anyhow::bail!(
            "--partition needs cargo-nextest; install it with `cargo install --locked cargo-nextest`"
        ),
        (None, _) => {}
    }
    if nextest {
        command.args(&arguments.filters);
    } else {
        // One at a time: a scenario has a machine of its own, and there may be two cores.
        command
            .arg("--no-fail-fast")
            .arg("--")
            .args(["--test-threads", "2"]);
        command.args(&arguments.filters);
    }
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn has_nextest(root: &Path) -> bool {
    Command::new(cargo())
        .current_dir(root)
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
