//! The program under test, images of its own making, and damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kedge_tests::Folder;
use kedge_tests::child::Child;

/// Generous: cargo may have to build its own command line first, beside other scenarios.
const BUILD: Duration = Duration::from_secs(900);

/// `xtask`, beside which this test was built.
pub(crate) struct Stamper {
    program: PathBuf,
    folder: PathBuf,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Stamper {
    pub(crate) fn new(folder: &Folder) -> Result<Self> {
        let test = std::env::current_exe()?;
        // target/debug/deps/stamp-…
        let built = test
            .ancestors()
            .nth(2)
            .context("a folder of what was built")?;
        let program = built.join("xtask");
        ensure!(
            program.is_file(),
            "there is no {}: `cargo build -p xtask`, or run this by `cargo xtask test`",
            program.display()
        );
        Ok(Self {
            program,
            folder: folder.path().into(),
        })
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// In a folder that is no checkout, with no other program in reach.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", "/nowhere")
            .current_dir(&self.folder)
            .arg("stamp")
            .args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Ended> {
        let output = self.command(arguments).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ended {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Must succeed; what it said.
    pub(crate) fn must(&self, arguments: &[&str]) -> Result<Ended> {
        let ended = self.run(arguments)?;
        ensure!(ended.code == Some(0), "{arguments:?}: {}", ended.stderr);
        Ok(ended)
    }

    /// Must fail with 1 and these words.
    pub(crate) fn must_not(&self, arguments: &[&str], words: &str) -> Result<()> {
        let ended = self.run(arguments)?;
        ensure!(
            ended.code == Some(1),
            "{arguments:?} did not fail: {}",
            ended.stderr
        );
        ensure!(
            ended.stderr.contains(words),
            "no {words:?} in: {}",
            ended.stderr
        );
        Ok(())
    }

    /// Stamps `image`, in place or into a copy.
    pub(crate) fn stamp(
        &self,
        image: &Path,
        options: &[String],
        to: Option<&Path>,
    ) -> Result<Ended> {
        let image = image.display().to_string();
        let to = to.map(|to| to.display().to_string());
        let mut arguments = vec![image.as_str()];
        arguments.extend(options.iter().map(String::as_str));
        arguments.extend(to.iter().flat_map(|to| ["-o", to]));
        self.must(&arguments)
    }
}

/// An image by `cargo xtask build` from this kedge.toml: its folder.
pub(crate) fn build(folder: &Folder, text: &str) -> Result<PathBuf> {
    let (config, out) = (folder.path().join("kedge.toml"), folder.path().join("out"));
    fs::write(&config, text)?;
    let log = folder.path().join("build.log");
    let mut command = Command::new("cargo");
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["xtask", "build", "--config"])
        .arg(&config)
        .arg("--out")
        .arg(&out)
        .env_remove("CARGO_MANIFEST_DIR");
    let status = Child::spawn(&mut command, &log, None)?.wait(BUILD)?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    ensure!(status.success(), "{status}: {said}");
    Ok(out)
}

/// Where in a stamped initramfs a bit can be turned over.
pub(crate) mod flip {
    use super::{Context, Result, bail};

    /// The file of the area's header.
    const TEXT: &[u8] = b"room for `cargo xtask stamp`";
    const XZ: &[u8] = b"\xfd7zXZ\0";

    fn last(bytes: &[u8], what: &[u8]) -> Option<usize> {
        bytes.windows(what.len()).rposition(|window| window == what)
    }

    pub(crate) fn header(initramfs: &[u8]) -> Result<usize> {
        last(initramfs, TEXT).context("the area")
    }

    /// In the middle of the stamp's xz stream.
    pub(crate) fn archive(initramfs: &[u8]) -> Result<usize> {
        let start = last(initramfs, XZ).context("a stamp")?;
        if start < header(initramfs)? {
            bail!("nothing is stamped");
        }
        let length = initramfs[start..]
            .windows(8)
            .position(|window| window == [0; 8]);
        Ok(start + length.context("room behind the stamp")? / 2)
    }

    /// In the words before the 20 bytes of the footer.
    pub(crate) fn bootconfig(initramfs: &[u8]) -> usize {
        initramfs.len() - 28
    }
}
