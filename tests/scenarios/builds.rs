//! Builds that go wrong, twice at once, or elsewhere: `cargo xtask build` in a copy of the checkout.
//!
//! The kernel comes from the cache, so a build here is the userland's and the media's. One test,
//! one copy: each step needs what the one before left.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kedge_tests::child::Child;
use kedge_tests::{Folder, out, scenario};

/// How long one build may take: cargo compiles two workspaces' worth beside other scenarios. Not long
/// enough for a kernel, which must be in the cache.
const BUILD: Duration = Duration::from_secs(840);

#[test]
fn a_build_elsewhere_gives_the_same_bytes_and_survives_what_may_happen() {
    scenario(|folder| {
        let copy = Checkout::copy(folder)?;
        gives_the_same_bytes(&copy)?;
        is_quick_when_nothing_changed(&copy)?;
        leaves_the_old_artefacts_when_interrupted(&copy)?;
        takes_turns_with_another(&copy)?;
        names_the_file_when_the_disk_is_full(&copy, folder)?;
        names_what_it_cannot_fetch(&copy, folder)
    });
}

/// A copy of the checkout, with its own target/ and out/.
struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Copies what git knows or would take: neither target/ nor out/.
    fn copy(folder: &Folder) -> Result<Self> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        // Another length, and a blank, so that a path in an artefact shows.
        let root = folder.folder("another checkout")?;
        let listing = Command::new("git")
            .current_dir(&from)
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .output()
            .context("listing the checkout's files with git")?;
        ensure!(listing.status.success(), "git ls-files: {listing:?}");
        for name in String::from_utf8(listing.stdout)?.split_terminator('\0') {
            let (from, to) = (from.join(name), root.join(name));
            // What git knows may be deleted here.
            let Ok(kind) = fs::symlink_metadata(&from) else {
                continue;
            };
            fs::create_dir_all(to.parent().context("a file without folder")?)?;
            let copied = if kind.is_symlink() {
                fs::read_link(&from).and_then(|target| symlink(target, &to))
            } else {
                fs::copy(&from, &to).map(drop)
            };
            copied.with_context(|| format!("copying {name}"))?;
        }
        Ok(Self { root })
    }

    /// `cargo xtask build` in it, in a process group of its own, as a terminal would start it.
    fn build(&self) -> Command {
        let mut command = Command::new("cargo");
        command
            .current_dir(&self.root)
            .args(["xtask", "build"])
            // The tests' own build must not show through.
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_MANIFEST_DIR")
            .process_group(0);
        command
    }

    /// Starts `command`, whose output goes to a file called `log` beside the copy.
    fn start(&self, mut command: Command, log: &str) -> Result<Build> {
        let log = self.root.with_file_name(log);
        let child = Child::spawn(&mut command, &log, None)?;
        Ok(Build { child, log })
    }

    /// Runs a build to its end, well or not.
    fn run(&self, command: Command, log: &str) -> Result<Ended> {
        self.start(command, log)?.ended()
    }

    fn sums(&self) -> Result<String> {
        let path = self.root.join("out/SHA256SUMS");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Whether every artefact is what SHA256SUMS says.
    fn is_whole(&self) -> Result<()> {
        let check = Command::new("sha256sum")
            .current_dir(self.root.join("out"))
            .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
            .output()
            .context("starting sha256sum")?;
        ensure!(
            check.status.success(),
            "out/ is not whole: {}",
            said(&check)
        );
        Ok(())
    }

    /// Makes the next build make everything anew.
    fn change_something(&self) -> Result<()> {
        let stamp = self.root.join("target/out.stamp");
        fs::write(&stamp, "something else").with_context(|| format!("writing {}", stamp.display()))
    }
}

/// A build under way; it ends with the test.
struct Build {
    child: Child,
    log: PathBuf,
}

/// A build that ended, and what it said.
struct Ended {
    status: ExitStatus,
    said: String,
}

impl Build {
    fn ended(mut self) -> Result<Ended> {
        let status = self.child.wait(BUILD);
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let status = status.with_context(|| {
            format!(
                "is the kernel in the cache? `cargo xtask build` puts it there. It said:\n{said}"
            )
        })?;
        Ok(Ended { status, said })
    }
}

impl Ended {
    fn must_be_fine(&self) -> Result<()> {
        ensure!(self.status.success(), "{}: {}", self.status, self.said);
        Ok(())
    }
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn gives_the_same_bytes(copy: &Checkout) -> Result<()> {
    copy.run(copy.build(), "first.log")?.must_be_fine()?;
    copy.is_whole()?;
    let here = String::from_utf8(out::read("SHA256SUMS")?)?;
    let there = copy.sums()?;
    ensure!(
        here == there,
        "the checkout's out/ has\n{here}and the copy's\n{there}(is out/ older than the sources? \
         run `cargo xtask build`)"
    );
    Ok(())
}

fn is_quick_when_nothing_changed(copy: &Checkout) -> Result<()> {
    let started = Instant::now();
    let build = copy.run(copy.build(), "unchanged.log")?;
    let took = started.elapsed();
    build.must_be_fine()?;
    ensure!(build.said.contains("nothing has changed"), "{}", build.said);
    println!("a build with nothing changed took {took:?}");
    // The promise is 5 s on an idle machine; this one may be busy with other scenarios.
    ensure!(took < Duration::from_secs(30), "it took {took:?}");
    Ok(())
}

/// ctrl-C at ten points of a build: it goes to the whole process group.
fn leaves_the_old_artefacts_when_interrupted(copy: &Checkout) -> Result<()> {
    let before = copy.sums()?;
    let mut interrupted = 0;
    for tenth in 0..10 {
        copy.change_something()?;
        let build = copy.start(copy.build(), "interrupted.log")?;
        sleep(Duration::from_millis(300 + 700 * tenth));
        let ctrl_c = Command::new("kill")
            .args(["-INT", "--", &format!("-{}", build.child.id())])
            .status()?;
        let build = build.ended()?;
        if ctrl_c.success() && !build.status.success() {
            interrupted += 1;
        }
        copy.is_whole()
            .with_context(|| format!("after ctrl-C: {}", build.said))?;
        ensure!(copy.sums()? == before, "ctrl-C changed out/");
        ensure!(
            !copy.root.join("out.new").exists(),
            "ctrl-C left out.new behind: {}",
            build.said
        );
    }
    ensure!(
        interrupted >= 3,
        "only {interrupted} of 10 builds were interrupted"
    );
    // A build that is killed leaves its folder; the next one takes it away.
    fs::create_dir(copy.root.join("out.new"))?;
    fs::write(copy.root.join("out.new/kedge.iso"), "half")?;
    copy.run(copy.build(), "after.log")?.must_be_fine()?;
    ensure!(
        !copy.root.join("out.new").exists(),
        "out.new is still there"
    );
    copy.is_whole()
}

fn takes_turns_with_another(copy: &Checkout) -> Result<()> {
    copy.change_something()?;
    let builds = ["one.log", "other.log"].map(|log| copy.start(copy.build(), log));
    let mut waited = 0;
    for build in builds {
        let build = build?.ended()?;
        build.must_be_fine()?;
        waited += usize::from(build.said.contains("another build runs in this checkout"));
    }
    ensure!(waited == 1, "{waited} of two builds waited for the other");
    copy.is_whole()
}

/// The copy's out/ on a file system that has room for the old artefacts, but not for the new ones.
fn names_the_file_when_the_disk_is_full(copy: &Checkout, folder: &Folder) -> Result<()> {
    copy.change_something()?;
    // Room for the artefacts that are there, and for a few of the new ones.
    let mut bytes = 10_000_000;
    for line in copy.sums()?.lines() {
        let (_, name) = line.split_once("  ").context("a line of SHA256SUMS")?;
        bytes += out::size(name)?;
    }
    // A mount namespace of its own: nobody else sees the small file system.
    let script = format!(
        "set -e; cd \"$1\"; mkdir -p \"$2\"; mount --bind \"$1\" \"$2\"; \
         mount -t tmpfs -o size={bytes} none \"$1\"; \
         for part in \"$2\"/* \"$2\"/.cargo; do ln -s \"$part\" \"$1\"/; done; \
         rm \"$1\"/out; cp -r \"$2\"/out \"$1\"/out; cd \"$1\"; \
         status=0; ./target/debug/xtask build || status=$?; \
         cd out; sha256sum --check --strict --quiet SHA256SUMS; ls -d \"$1\"/out.new && exit 99; \
         exit $status"
    );
    let aside = folder.path().join("aside");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(&copy.root)
        .arg(aside)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .context("starting unshare")?;
    let said = said(&output);
    ensure!(
        output.status.code() == Some(1),
        "{:?}: {said}",
        output.status
    );
    ensure!(said.contains("No space left on device"), "{said}");
    ensure!(said.contains("out.new/"), "the file is not named: {said}");
    ensure!(!said.contains("FAILED"), "out/ was damaged: {said}");
    copy.is_whole()
}

/// No network and no crates in Cargo's home: the error names the crate that cannot be had.
fn names_what_it_cannot_fetch(copy: &Checkout, folder: &Folder) -> Result<()> {
    let cargo_home = folder.folder("empty cargo home")?;
    let mut command = Command::new("unshare");
    command
        .current_dir(&copy.root)
        .args(["--net", "cargo", "xtask", "build"])
        .env("CARGO_HOME", cargo_home)
        .env("CARGO_NET_RETRY", "0")
        .env_remove("CARGO_TARGET_DIR");
    let build = copy.run(command, "offline.log")?;
    let said = build.said;
    ensure!(!build.status.success(), "{said}");
    ensure!(
        said.contains("failed to download") || said.contains("failed to get"),
        "what could not be fetched is not named: {said}"
    );
    copy.is_whole()
}
