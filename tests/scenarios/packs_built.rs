//! Packs of the operator's own, and packs in the image itself: `cargo xtask build` in this checkout, into a folder
//! of the test's own, and a machine that has what was asked for.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::child::Child;
use kedge_tests::{Folder, Machine, scenario};

/// Generous: cargo may have to build its own command line first, beside other scenarios.
const BUILD: Duration = Duration::from_secs(900);
/// How long loading may take on a busy machine.
const LOADING: Duration = Duration::from_secs(120);

/// Builds with these options; whether it went well, and what it said.
fn build(folder: &Folder, name: &str, options: &[&str]) -> Result<(bool, String, PathBuf)> {
    let (out, log) = (
        folder.path().join(name),
        folder.path().join(format!("{name}.log")),
    );
    let mut command = Command::new("cargo");
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["xtask", "build", "--no-config", "--out"])
        .arg(&out)
        .args(options)
        // The tests' own build must not show through.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_MANIFEST_DIR");
    let status = Child::spawn(&mut command, &log, None)?.wait(BUILD)?;
    Ok((status.success(), std::fs::read_to_string(&log)?, out))
}

#[test]
fn packs_of_ones_own_are_loaded_and_packs_in_the_image_need_no_loading() {
    scenario(|folder| {
        let options = ["--with", "xfs_repair,less", "--pack", "mine=htop,strace"];
        let (done, said, out) = build(folder, "out", &options)?;
        ensure!(done, "{said}");
        ensure!(
            said.contains("not in packs.lock") && said.contains("htop"),
            "{said}"
        );

        let machine = Machine::new(folder, "machine");
        let [kernel, initramfs] =
            ["vmlinuz", "initramfs.cpio.xz"].map(|name| out.join("netboot").join(name));
        let machine = machine
            .load(&kernel, &initramfs, "")
            .cd("cd", &out.join("kedge.iso"));
        let mut machine = machine.start()?;
        machine.wait_for_shell()?;
        // Before anything could be read from anywhere.
        for (command, says) in [
            ("xfs_repair -V", "xfs_repair version "),
            ("less --version", "Copyright"),
            ("pack load xfs_repair", "loaded already"),
        ] {
            let text = machine.run(command)?;
            ensure!(text.contains(says), "`{command}` says {text:?}");
        }
        let missing = machine.console()?.try_run("htop --version")?;
        ensure!(
            missing.status == 127 && missing.text.contains("in pack \"mine\""),
            "{missing:?}"
        );
        let loaded = machine.console()?.run_within("pack load mine", LOADING)?;
        ensure!(loaded.status == 0, "{loaded:?}");
        for (command, says) in [
            ("htop --version", "htop 3"),
            ("strace -V", "strace -- version"),
        ] {
            let text = machine.run(command)?;
            ensure!(text.contains(says), "`{command}` says {text:?}");
        }
        machine.power_off()
    });
}

#[test]
fn what_cannot_be_a_pack_is_named_and_nothing_is_built() {
    scenario(|folder| {
        for (options, words) in [
            (["--pack", "Mine=htop"], "up to 8 lower-case letters"),
            (["--pack", "net=htop"], "two packs \"net\""),
            (["--pack", "mine="], "names no package"),
            (["--pack", "mine"], "NAME=PACKAGE"),
            (
                ["--pack", "mine=kedge-no-such-package"],
                "no Debian package kedge-no-such-package, which pack \"mine\" asks for",
            ),
            // A package of which nothing can be run.
            (
                ["--pack", "mine=libinih1"],
                "package libinih1 has no programs",
            ),
            (["--with", "no-such-pack"], "there are the packs boot, edit"),
        ] {
            let (done, said, out) = build(folder, "out", &options)?;
            ensure!(!done && said.contains(words), "{options:?}: {said}");
            ensure!(!out.exists(), "{options:?} left something");
        }
        Ok(())
    });
}
