//! `cargo xtask check`: format and lints, with warnings as errors.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::cargo;

pub(crate) fn run(root: &Path) -> anyhow::Result<ExitCode> {
    for arguments in [
        &["fmt", "--all", "--", "--check"][..],
        &[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ] {
        let status = Command::new(cargo())
            .current_dir(root)
            .args(arguments)
            .status()
            .with_context(|| format!("cannot start cargo {}", arguments[0]))?;
        if !status.success() {
            eprintln!("error: cargo {} found something (above)", arguments[0]);
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
