//! How a victim is installed.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kedge_digest::{Algorithm, Hasher};

use super::{ADDRESS, Disk, MIRROR};
use crate::child::output;
use crate::keyring::new_key;
use crate::mirror::Mirror;
use crate::ssh_key::SshKey;

/// To be raised when this file makes something else of the same words.
const EDITION: u32 = 2;

/// Debian 12's name.
const SUITE: &str = "bookworm";

/// What every victim has beside minbase.
const SERVER: &[&str] = &[
    "openssh-server",
    "linux-image-cloud-amd64",
    // See ../victim.rs.
    "sysvinit-core",
    "udev",
    "ifupdown",
    "iproute2",
];

/// What makes one large, in files of every size.
const LARGE: &[&str] = &[
    "build-essential",
    "emacs-nox",
    "gdb",
    "git",
    "golang-go",
    "perl",
    "python3-numpy",
    "python3-pip",
    "vim",
];

/// A virtual machine's modules and no others: half of the boot would be unpacking.
const INITRAMFS: &str = r#"mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/modules"
hook="$1/etc/initramfs-tools/hooks/virtio"
cat >"$hook" <<'END'
#!/bin/sh
[ "$1" = prereqs ] && exit
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk virtio_net ext4
END
chmod 755 "$hook""#;

/// Whoever sits at the serial line is root: sshd's init script says nothing when sshd does not even start.
const TERMINAL: &str = "S0:23:respawn:/sbin/agetty --autologin root -L 115200 ttyS0 vt100\n";

const INTERFACES: &str = "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n";

/// What to install, and what to make of it.
pub(super) struct Recipe {
    name: &'static str,
    packages: Vec<&'static str>,
    /// Of the disk, in bytes; none is made without.
    disk: Option<u64>,
}

impl Recipe {
    pub(super) fn server() -> Self {
        Self {
            name: "server",
            packages: SERVER.to_vec(),
            disk: Some(640 << 20),
        }
    }

    pub(super) fn large() -> Self {
        Self {
            name: "large",
            packages: [SERVER, LARGE].concat(),
            disk: None,
        }
    }

    /// The name under which it is kept: another one when anything of the recipe is another.
    pub(super) fn name(&self) -> String {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let numbers = format!("{EDITION} {:?} {SUITE} {ADDRESS} {MIRROR}", self.disk);
        for text in [
            &numbers,
            INITRAMFS,
            TERMINAL,
            INTERFACES,
            &self.packages.join(" "),
        ] {
            hasher.update(text.as_bytes());
            hasher.update(b"\0");
        }
        let digest = hasher.finish();
        let short: String = digest.bytes()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}-{short}", self.name)
    }

    /// Makes it in the empty folder `place`.
    pub(super) fn make(&self, place: &Path) -> Result<()> {
        let root = place.join("root");
        self.install(&root)?;
        configure(&root, place)?;
        let archives = root.join("var/cache/apt/archives");
        if self.disk.is_some() {
            Mirror::make(&archives, &place.join("mirror"), place)?;
        }
        for folder in [archives, root.join("var/lib/apt/lists")] {
            empty(&folder)?;
        }
        if let Some(size) = self.disk {
            for (from, to) in [("vmlinuz-", "vmlinuz"), ("initrd.img-", "initrd.img")] {
                copy_from_boot(&root, from, &place.join(to))?;
            }
            Disk::make(&place.join("disk.img"), size, &root)?;
        }
        Ok(())
    }

    fn install(&self, root: &Path) -> Result<()> {
        let mut command = Command::new("mmdebstrap");
        command
            .args(["--quiet", "--mode=root", "--variant=minbase"])
            // The packages stay: they become the mirror.
            .args(["--skip=essential/unlink,cleanup/apt"])
            .arg("--aptopt=APT::Keep-Downloaded-Packages \"true\"")
            .arg(format!("--include={}", self.packages.join(",")))
            .arg(format!("--essential-hook={INITRAMFS}"))
            .arg(SUITE)
            .arg(root)
            .args(sources()?);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        output(&mut command, None).context("installing a Debian (is there a network?)")?;
        Ok(())
    }
}

/// This host's own sources of the suite, as apt has read them.
fn sources() -> Result<Vec<String>> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format"]);
    command.arg("$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)");
    let said = String::from_utf8(output(command.arg("Created-By: Packages"), None)?)?;
    let mut lines: Vec<String> = said.lines().filter_map(source).collect();
    lines.sort();
    lines.dedup();
    ensure!(
        lines
            .iter()
            .any(|line| line.contains(&format!(" {SUITE} "))),
        "this host's apt sources do not have Debian's {SUITE}"
    );
    Ok(lines)
}

/// One line of sources.list(5), where it is one of Debian's.
fn source(target: &str) -> Option<String> {
    let mut words = target.split(' ');
    let (uri, suite, component) = (words.next()?, words.next()?, words.next()?);
    let ours = suite == SUITE || suite.strip_prefix(SUITE)?.starts_with('-');
    if !ours || component != "main" {
        return None;
    }
    Some(match words.next() {
        Some(key) if key.starts_with('/') => format!("deb [signed-by={key}] {uri} {suite} main"),
        _ => format!("deb {uri} {suite} main"),
    })
}

/// Makes of a fresh installation the machine that the scenarios know: who it is, who may log in, whom it asks.
fn configure(root: &Path, place: &Path) -> Result<()> {
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text))
            .with_context(|| format!("writing {}", path.display()))
    };
    write("etc/hostname", "victim\n")?;
    write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 victim\n")?;
    write("etc/resolv.conf", "nameserver 192.0.2.1\n")?;
    write("etc/fstab", "/dev/vda1 / ext4 errors=remount-ro 0 1\n")?;
    write(
        "etc/network/interfaces",
        &format!("{INTERFACES}\taddress {ADDRESS}/24\n\tgateway 192.0.2.1\n"),
    )?;
    let inittab = fs::read_to_string(root.join("etc/inittab"))?;
    write("etc/inittab", &(inittab + TERMINAL))?;
    let key = SshKey::new(place, "operator")?;
    write("root/.ssh/authorized_keys", &format!("{}\n", key.public()))?;
    for (name, mode) in [("root/.ssh", 0o700), ("root/.ssh/authorized_keys", 0o600)] {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode))?;
    }
    let keyring = "etc/apt/keyrings/mirror.asc";
    let public = new_key(place, "signing.asc")?;
    write(keyring, &public)?;
    empty(&root.join("etc/apt/sources.list.d"))?;
    write(
        "etc/apt/sources.list",
        &format!("deb [signed-by=/{keyring}] http://{MIRROR}/debian {SUITE} main\n"),
    )?;
    // mmdebstrap's own: what it was told of this host.
    let told = root.join("etc/apt/apt.conf.d/99mmdebstrap");
    if told.exists() {
        fs::remove_file(told)?;
    }
    Ok(())
}

/// Removes the files of a folder, and keeps folders in it: packages own them.
fn empty(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies the one file in /boot whose name begins so.
fn copy_from_boot(root: &Path, prefix: &str, to: &Path) -> Result<()> {
    let boot = root.join("boot");
    let names: Vec<OsString> = fs::read_dir(&boot)?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<_>>()?;
    let name = names
        .iter()
        .find(|name| name.to_string_lossy().starts_with(prefix))
        .with_context(|| format!("there is no {prefix}… in {}", boot.display()))?;
    fs::copy(boot.join(name), to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_s_own_suites_are_taken_of_this_host_s_sources() {
        let key = "/usr/share/keyrings/k.gpg";
        assert_eq!(
            source(&format!(
                "http://a.example/debian/ bookworm-updates main {key}"
            ))
            .as_deref(),
            Some(
                "deb [signed-by=/usr/share/keyrings/k.gpg] http://a.example/debian/ bookworm-updates main"
            )
        );
        assert!(source("http://a.example/debian/ bookworm main ").is_some());
        for other in [
            "http://a.example/node/ nodistro main",
            "http://a.example/ trixie main",
            "http://a.example/ bookworm contrib",
        ] {
            assert_eq!(source(other), None, "{other}");
        }
    }
}
