//! The command line of kedge's build. The enum below is its documentation.

mod bench;
mod build;
mod check;
mod fuzz;
mod lock;
mod progress;
mod run;
mod sizes;
mod stamp;
mod test;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kedge_image::build::Request;
use kedge_image::configuration::Sources;
use kedge_image::host::{self, Need};

use crate::progress::Terminal;

/// Builds the kedge recovery image, and proves that it boots.
///
/// Exit codes: 0 done, 1 failed (the reason is on standard error), 2 wrong usage.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build everything: out/kedge.iso, out/kedge.efi, out/netboot/, out/packs/, manifest, checksums
    ///
    /// The first build compiles a kernel (about 15 minutes on two cores) and keeps it in
    /// ~/.cache/kedge; later ones take seconds. out/ is replaced in one rename: a build that is
    /// interrupted or fails leaves the old one whole. Missing Debian packages are installed when
    /// you are root; otherwise the line to run is printed and nothing is started.
    ///
    /// kedge.toml beside Cargo.toml, where it exists, says what the image knows from the start: who
    /// may log in, addresses, names. image/kedge.toml.example has every field. Artefacts that hold
    /// a private key or a password are readable by you alone.
    #[command(after_help = "Examples:
  cargo xtask build                                    with kedge.toml, if there is one
  cargo xtask build --ssh-key ~/.ssh/id_ed25519.pub    you may log in
  cargo xtask build --config a.toml --out out.a        one of several images
  cargo xtask build --no-config                        the image that everybody has
  cargo xtask build --with storage,nano                these are there without loading them
  cargo xtask build --pack mine=htop,strace            a pack of your own")]
    Build(build::Arguments),

    /// Renew packs.lock: today's versions of the Debian packages in the packs; prints what changes
    #[command(after_help = "Examples:
  cargo xtask lock
  cargo xtask lock --check                    would anything change?
  cargo xtask lock --if-gone                  only when a version has left the archive
  cargo xtask lock --pack mine=htop,strace    with a pack of your own")]
    Lock(lock::Arguments),

    /// Boot what was built under QEMU, on every path, and run all other tests
    #[command(after_help = "Examples:
  cargo xtask test                     everything
  cargo xtask test slow_virtual_media  tests whose name contains these words
  cargo xtask test --slow              also those that take very long
  cargo xtask test --partition 2/4     the second of four shares, for CI")]
    Test(test::Arguments),

    /// Boot what was built in QEMU, interactive on this terminal (ctrl-A X ends it)
    #[command(after_help = "Examples:
  cargo xtask run                      kernel and initramfs directly: the quickest
  cargo xtask run --iso                from a virtual USB CD under BIOS
  cargo xtask run --iso --uefi         the same under UEFI
  cargo xtask run --netboot            iPXE loads out/netboot/boot.ipxe
  cargo xtask run --disk victim.img    with a disk; what is done to it is lost at the end
  cargo xtask run --out out.a          what `cargo xtask build --out out.a` made
  cargo xtask run --iso --vga          the screen instead of a serial line")]
    Run(run::Arguments),

    /// Write settings of one machine into a finished image, in place or into a copy: builds nothing
    ///
    /// kedge.toml < stamp < kernel command line. Stamping a stamped image replaces all that was stamped.
    /// SHA256SUMS and manifest.json in the image's folder follow. A stamp that holds a secret makes the
    /// image readable by you alone.
    #[command(after_help = "Examples:
  cargo xtask stamp out/kedge.iso --ssh-key ~/.ssh/id_ed25519.pub -o rescue1.iso
  cargo xtask stamp out/kedge.iso --hostname rescue1 \\
      --ip 192.0.2.7::192.0.2.1:24::eth0:none --cmdline 'nameserver=192.0.2.53' -o rescue1.iso
  cargo xtask stamp out --cmdline console=ttyS1,115200    everything in out/, in place
  cargo xtask stamp rescue1.iso --show
  cargo xtask stamp out --clear")]
    Stamp(stamp::Arguments),

    /// Measure, and print a table: takes minutes, asserts nothing
    #[command(
        after_help = "Examples:\n  cargo xtask bench boot    power-on to shell, from fast and slow media\n  cargo xtask bench fetch   beside curl\n  cargo xtask bench media   beside Debian's installer, with a chart\n  cargo xtask bench ssh     the SSH server beside OpenSSH's\n  cargo xtask bench stamp   a thousand stamped copies\n  cargo xtask bench verify  a whole system checked, beside debsums"
    )]
    Bench(bench::Arguments),

    /// Give the parsers of hostile bytes what libFuzzer makes up; prints a table
    ///
    /// Needs a nightly toolchain, and does nothing without. Ends with 1 when one panics, hangs, or takes much memory. What it builds
    /// and finds is kept in ~/.cache/kedge/fuzz. tests/fuzz/README.md says more.
    #[command(after_help = "Examples:
  cargo xtask fuzz                          every target for 20 s
  cargo xtask fuzz elf dpkg --seconds 3600
  cargo xtask fuzz --seconds 180 --rounds 20 --jobs 1 --sanitizer address --log fuzz.log
  cargo xtask fuzz --table fuzz.log         what came of that so far")]
    Fuzz(fuzz::Arguments),

    /// Show what costs what: bytes as loaded, and seconds at 250 kB/s
    #[command(after_help = "Examples:
  cargo xtask sizes
  cargo xtask sizes --save before.json       … change something …
  cargo xtask sizes --compare before.json")]
    Sizes(sizes::Arguments),

    /// Show which Debian packages the build and the tests need, which are missing, and why
    ///
    /// Ends with 1 when one is missing.
    #[command(after_help = "Examples:\n  cargo xtask doctor-host")]
    DoctorHost,

    /// Check format and lints, as CI does
    #[command(after_help = "Examples:\n  cargo xtask check")]
    Check,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Task::Stamp(arguments) = &cli.command {
        return stamp::run(arguments); // needs no checkout
    }
    let request = request()?;
    let progress = Terminal::default();
    match cli.command {
        Task::Build(arguments) => build::run(request, &arguments, &progress),
        Task::Lock(arguments) => lock::run(&request, &arguments, &progress),
        Task::Stamp(arguments) => stamp::run(&arguments),
        Task::Test(arguments) => test::run(&request, &arguments, &progress),
        Task::Run(arguments) => run::run(request, &arguments, &progress),
        Task::Bench(arguments) => bench::run(&request, &arguments, &progress),
        Task::Fuzz(arguments) => fuzz::run(&request, &arguments),
        Task::Sizes(arguments) => sizes::run(&request, &arguments, &progress),
        Task::DoctorHost => doctor_host(),
        Task::Check => check::run(&request.root),
    }
}

fn request() -> anyhow::Result<Request> {
    // The xtask crate is a member of the workspace, one folder below its root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(PathBuf::from)
        .context("the workspace's root has no path")?;
    anyhow::ensure!(
        root.join("kernel-config").is_dir(),
        "the checkout that this xtask was compiled in, {}, is gone; run `cargo xtask` in a checkout",
        root.display()
    );
    Ok(Request {
        out: root.join("out"),
        root,
        // Whatever is configured: the tests and the sizes are about the image that everybody has.
        sources: Sources::default(),
        unlocked: false,
        version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// The cargo that runs this.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Says what to do where nothing was built yet.
fn require_artefacts(request: &Request) -> anyhow::Result<()> {
    anyhow::ensure!(
        request.out.join("SHA256SUMS").exists(),
        "there is no {}; run `cargo xtask build` first",
        request.out.display()
    );
    Ok(())
}

fn doctor_host() -> anyhow::Result<ExitCode> {
    let mut missing = Vec::new();
    for (need, command) in [
        (Need::Build, "cargo xtask build"),
        (Need::Test, "cargo xtask test"),
    ] {
        println!("for `{command}`:");
        for status in host::status(&[need])? {
            let version = status.version.as_deref().unwrap_or("MISSING");
            println!(
                "  {:<22} {:<32} {}",
                status.package.name, version, status.package.why
            );
            if status.version.is_none() {
                missing.push(status.package.name);
            }
        }
    }
    if missing.is_empty() {
        println!("everything is there");
        return Ok(ExitCode::SUCCESS);
    }
    println!("missing; the build installs them when you are root, or:\n");
    println!("    {}", host::install_line(&missing));
    Ok(ExitCode::FAILURE)
}
