//! What a `kedge.toml` puts into the image, read with the field's reference tools: `cargo xtask build`
//! in this checkout, into a folder of the test's own.
//!
//! The kernel comes from the cache and kedge from the build before, so it is the media that take time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::child::{Child, output};
use kedge_tests::ssh_key::{SshKey, fingerprint};
use kedge_tests::{Folder, scenario};

/// Generous: cargo may have to build its own command line first, beside other scenarios.
const BUILD: Duration = Duration::from_secs(900);

#[test]
fn what_is_configured_is_in_the_image_and_its_secrets_are_the_builders() {
    scenario(|folder| {
        let site = Site::new(folder)?;
        site.build("first", &[])?.must_say("PRIVATE KEY")?;
        holds_what_was_asked_for(&site)?;
        is_readable_by_its_owner_only(&site)?;
        is_described_without_secrets(&site)?;
        site.build("second", &[])?.must_say("nothing has changed")?;
        notices_a_change(&site)?;
        leaves_the_artefacts_when_a_wish_is_wrong(&site)
    });
}

/// A folder with a kedge.toml and what it names, and `out/` beside it.
struct Site {
    folder: PathBuf,
    host: SshKey,
    admin: SshKey,
}

/// A build that ended, and what it said.
struct Ended {
    status: ExitStatus,
    said: String,
}

impl Ended {
    fn must_say(&self, words: &str) -> Result<()> {
        ensure!(self.status.success(), "{}: {}", self.status, self.said);
        ensure!(self.said.contains(words), "no {words:?} in: {}", self.said);
        Ok(())
    }
}

impl Site {
    fn new(folder: &Folder) -> Result<Self> {
        // A blank, for a path that is not quoted to show.
        let folder = folder.folder("a site")?;
        let site = Self {
            host: SshKey::new(&folder, "host")?,
            admin: SshKey::new(&folder, "admin")?,
            folder,
        };
        site.configure("192.0.2.7")?;
        Ok(site)
    }

    fn configure(&self, address: &str) -> Result<()> {
        let text = format!(
            "hostname = \"rescue\"\nssh_key_files = [\"admin.pub\"]\nhost_key = \"host\"\n\
             ip = [\"{address}::192.0.2.1:24::eth0:none\"]\nntp = \"192.0.2.1, 192.0.2.2\"\n\
             beacon = [\"https://me:hunter2@beacon.example.org/\"]\n"
        );
        Ok(fs::write(self.folder.join("kedge.toml"), text)?)
    }

    fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    fn build(&self, log: &str, more: &[&str]) -> Result<Ended> {
        let log = self.folder.join(format!("{log}.log"));
        let mut command = Command::new("cargo");
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .args(["xtask", "build", "--config"])
            .arg(self.folder.join("kedge.toml"))
            .arg("--out")
            .arg(self.out())
            .args(more)
            // The tests' own build must not show through.
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_MANIFEST_DIR");
        let status = Child::spawn(&mut command, &log, None)?.wait(BUILD)?;
        let said = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
        Ok(Ended {
            status,
            said: String::from_utf8_lossy(&said).into_owned(),
        })
    }

    fn sums(&self) -> Result<String> {
        Ok(fs::read_to_string(self.out().join("SHA256SUMS"))?)
    }

    /// The initramfs, unpacked by xz.
    fn archive(&self) -> Result<PathBuf> {
        let archive = self.folder.join("initramfs.cpio");
        let packed = self.out().join("netboot/initramfs.cpio.xz");
        let mut xz = Command::new("xz");
        // Behind the stream is room for stamps.
        xz.args(["--decompress", "--stdout", "--single-stream"])
            .arg(packed);
        fs::write(&archive, output(&mut xz, None)?)?;
        Ok(archive)
    }

    /// One file of the image, taken out by cpio.
    fn file(&self, archive: &Path, name: &str) -> Result<String> {
        let mut cpio = Command::new("cpio");
        cpio.args(["-i", "--to-stdout", "--quiet", "-F"])
            .arg(archive)
            .arg(name);
        Ok(String::from_utf8(output(&mut cpio, None)?)?)
    }
}

fn holds_what_was_asked_for(site: &Site) -> Result<()> {
    let archive = site.archive()?;
    let mut cpio = Command::new("cpio");
    cpio.args(["-tv", "--quiet", "--numeric-uid-gid", "-F"])
        .arg(&archive);
    let list = String::from_utf8(output(&mut cpio, None)?)?;
    for (mode, name) in [
        ("-rw-------", "etc/kedge/settings"),
        ("drwx------", "root/.ssh"),
        ("-rw-------", "root/.ssh/authorized_keys"),
        ("-rw-------", "etc/ssh/ssh_host_ed25519_key"),
        ("-rw-r--r--", "etc/ssh/ssh_host_ed25519_key.pub"),
    ] {
        let line = list
            .lines()
            .find(|line| line.ends_with(&format!(" {name}")));
        let line = line.with_context(|| format!("no /{name} in:\n{list}"))?;
        let words: Vec<_> = line.split_whitespace().collect();
        ensure!(words[0] == mode && words[2..4] == ["0", "0"], "{line}");
    }
    let settings = site.file(&archive, "etc/kedge/settings")?;
    let expected = "kedge.hostname=rescue\nip=192.0.2.7::192.0.2.1:24::eth0:none\n\
                    kedge.ntp=\"192.0.2.1, 192.0.2.2\"\n\
                    kedge.beacon=https://me:hunter2@beacon.example.org/\n";
    ensure!(settings == expected, "{settings}");
    let keys = site.file(&archive, "root/.ssh/authorized_keys")?;
    ensure!(keys.trim_end() == site.admin.public(), "{keys}");
    let key = site.file(&archive, "etc/ssh/ssh_host_ed25519_key")?;
    ensure!(
        key == fs::read_to_string(site.host.private())?,
        "the host's key is not the one that was given"
    );
    let public = site.file(&archive, "etc/ssh/ssh_host_ed25519_key.pub")?;
    ensure!(public.trim_end() == site.host.public(), "{public}");
    Ok(())
}

fn is_readable_by_its_owner_only(site: &Site) -> Result<()> {
    let mode = |path: &Path| Ok::<_, anyhow::Error>(fs::metadata(path)?.permissions().mode());
    ensure!(mode(&site.out())? & 0o777 == 0o700, "out/ is open");
    for name in [
        "kedge.iso",
        "kedge.efi",
        "netboot/kedge.efi",
        "netboot/initramfs.cpio.xz",
    ] {
        let found = mode(&site.out().join(name))? & 0o777;
        ensure!(found == 0o600, "{name} has mode {found:o}");
    }
    Ok(())
}

fn is_described_without_secrets(site: &Site) -> Result<()> {
    let manifest = fs::read_to_string(site.out().join("manifest.json"))?;
    for part in [
        "kedge.hostname=rescue",
        "kedge.beacon=https://beacon.example.org/",
        &fingerprint(site.host.public())?,
        &fingerprint(site.admin.public())?,
    ] {
        ensure!(manifest.contains(part), "no {part} in:\n{manifest}");
    }
    ensure!(
        !manifest.contains("hunter2"),
        "a password is in:\n{manifest}"
    );
    let key = fs::read_to_string(site.host.private())?;
    // The last whole line is of the key's private half.
    let secret = key.lines().rev().nth(1).context("a key of several lines")?;
    ensure!(
        !manifest.contains(secret),
        "the private key is in:\n{manifest}"
    );
    Ok(())
}

fn notices_a_change(site: &Site) -> Result<()> {
    let before = site.sums()?;
    site.configure("192.0.2.8")?;
    site.build("changed", &[])?.must_say("kedge.iso")?;
    ensure!(
        site.sums()? != before,
        "another address, but the same bytes"
    );
    let settings = site.file(&site.archive()?, "etc/kedge/settings")?;
    ensure!(settings.contains("ip=192.0.2.8:"), "{settings}");
    Ok(())
}

fn leaves_the_artefacts_when_a_wish_is_wrong(site: &Site) -> Result<()> {
    let before = site.sums()?;
    let refused = |log, more: &[&str], words: &str| {
        let build = site.build(log, more)?;
        ensure!(
            build.status.code() == Some(1),
            "{}: {}",
            build.status,
            build.said
        );
        ensure!(
            build.said.contains(words),
            "no {words:?} in: {}",
            build.said
        );
        ensure!(site.sums()? == before, "{log} changed the artefacts");
        Ok(())
    };
    let private = site.admin.private().display().to_string();
    refused("private", &["--ssh-key", &private], "is a PRIVATE key")?;
    site.configure("192.0.2.800")?;
    refused("malformed", &[], "kedge.toml, line 4, ip: ")
}
