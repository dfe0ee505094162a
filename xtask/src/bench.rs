//! `cargo xtask bench`: the benchmarks under tests/bench/, each a program of its own.

use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::{Args, ValueEnum};
use kedge_image::build::Request;
use kedge_image::host::{self, Need};

use crate::progress::Terminal;
use crate::{cargo, require_artefacts};

#[derive(Args)]
pub(crate) struct Arguments {
    /// What to measure
    what: Benchmark,
}

#[derive(Clone, Copy, ValueEnum)]
enum Benchmark {
    /// Power-on to shell: kedge.iso under BIOS and UEFI, from a local disk and over a slow link
    Boot,
    /// kedge.iso beside Debian's netboot installer on the same slow virtual CD: half an hour, and a chart
    Media,
    /// The form of packs: what would have to be fetched and kept in each form that was thought of
    Packs,
    /// The SSH server beside OpenSSH's: how fast bytes go both ways, and what an idle session takes
    Ssh,
    /// A thousand stamps of kedge.iso, on xfs with reflinks and on the checkout's file system
    Stamp,
    /// Nothing: the story of the corrupted ELF is told and recorded anew for README (tests/pictures/story.svg)
    Story,
    /// verify and doctor beside debsums and md5sum over a Debian of 1 GB, from a cold and a warm cache: be root
    Verify,
}

pub(crate) fn run(
    request: &Request,
    arguments: &Arguments,
    progress: &Terminal,
) -> anyhow::Result<ExitCode> {
    host::ensure(&[Need::Build, Need::Test], progress)?;
    require_artefacts(request)?;
    let program = match arguments.what {
        Benchmark::Boot => "bench-boot",
        Benchmark::Media => "bench-media",
        Benchmark::Packs => "bench-packs",
        Benchmark::Ssh => "bench-ssh",
        Benchmark::Stamp => "bench-stamp",
        Benchmark::Story => "bench-story",
        Benchmark::Verify => "bench-verify",
    };
    let status = Command::new(cargo())
        .current_dir(&request.root)
        .env("KEDGE_OUT", &request.out)
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "kedge-tests",
            "--bin",
            program,
        ])
        .status()
        .context("cannot start cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
