//! `cargo xtask build`: which configuration, and what came out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use kedge_image::build::{Outcome, Request, build};
use kedge_image::configuration::{FILE, Sources};
use kedge_image::out::abandon;
use kedge_image::packs::description::Custom;

use crate::progress::Terminal;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Take this file instead of kedge.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Leave kedge.toml aside
    #[arg(long, conflicts_with = "config")]
    no_config: bool,
    /// Let the keys of this .pub or authorized_keys file log in, too (may be repeated)
    #[arg(long, value_name = "FILE")]
    ssh_key: Vec<PathBuf>,
    /// Give the host this private key, so that known_hosts stays true
    ///
    /// In OpenSSH's format, ed25519, without a passphrase, as this makes it:
    /// ssh-keygen -t ed25519 -N '' -f FILE
    #[arg(long, value_name = "FILE")]
    host_key: Option<PathBuf>,
    /// Put these packs or programs into the image, to be there without being loaded (may be repeated)
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    with: Vec<String>,
    /// Make a pack of these Debian packages (may be repeated)
    #[arg(long, value_name = "NAME=PACKAGE,...", value_parser = custom_pack)]
    pack: Vec<Custom>,
    /// Take the packages that the archive has today, whatever packs.lock says
    #[arg(long)]
    unlocked: bool,
    /// Write the artefacts to this folder instead of out/
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// `NAME=PACKAGE,PACKAGE`.
pub(crate) fn custom_pack(text: &str) -> Result<Custom, String> {
    let (name, packages) = text
        .split_once('=')
        .ok_or("this is not of the form NAME=PACKAGE,PACKAGE")?;
    Ok(Custom {
        name: name.into(),
        packages: packages
            .split(',')
            .filter(|package| !package.is_empty())
            .map(str::to_string)
            .collect(),
    })
}

impl Arguments {
    fn sources(&self, root: &Path) -> Sources {
        let own = root.join(FILE);
        Sources {
            file: match &self.config {
                Some(file) => Some(file.clone()),
                None => (!self.no_config && own.exists()).then_some(own),
            },
            ssh_keys: self.ssh_key.clone(),
            host_key: self.host_key.clone(),
            packs: self.pack.clone(),
            with: self.with.clone(),
        }
    }
}

pub(crate) fn run(
    mut request: Request,
    arguments: &Arguments,
    progress: &Terminal,
) -> anyhow::Result<ExitCode> {
    request.sources = arguments.sources(&request.root);
    request.unlocked = arguments.unlocked;
    if let Some(out) = &arguments.out {
        request.out = std::path::absolute(out)
            .with_context(|| format!("cannot write to {}", out.display()))?;
    }
    let name = arguments.out.as_deref().unwrap_or(Path::new("out"));
    remove_debris_on_signal(&request.out, name)?;
    let outcome = build(&request, progress)?;
    if let Some(file) = &request.sources.file {
        eprintln!("configured by {}", file.display());
    }
    match outcome {
        Outcome::Unchanged => eprintln!("nothing has changed: {}/ is up to date", name.display()),
        Outcome::Built => report(&request.out, name)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what came out.
fn report(out: &Path, name: &Path) -> anyhow::Result<()> {
    for artefact in [
        "kedge.iso",
        "kedge.efi",
        "netboot/vmlinuz",
        "netboot/initramfs.cpio.xz",
    ] {
        let path = out.join(artefact);
        let size = std::fs::metadata(&path)
            .with_context(|| format!("cannot look at {}", path.display()))?
            .len();
        eprintln!("{size:>10}  {}", name.join(artefact).display());
    }
    if name == Path::new("out") {
        eprintln!("boot it: cargo xtask run; test it: cargo xtask test");
    } else {
        eprintln!("boot it: cargo xtask run --out {}", name.display());
    }
    Ok(())
}

/// ctrl-C and SIGTERM remove the half-made folder before the process ends; the programs that it
/// started end with it.
fn remove_debris_on_signal(out: &Path, name: &Path) -> anyhow::Result<()> {
    let (out, name) = (out.to_path_buf(), name.to_path_buf());
    ctrlc::set_handler(move || {
        abandon(&out);
        // Standard error may be gone with the terminal; a panic here would keep the process alive.
        let _ = writeln!(
            std::io::stderr(),
            "\ninterrupted: {}/ is as it was before",
            name.display()
        );
        std::process::exit(130);
    })
    .context("cannot watch for ctrl-C")
}
