//! What the build and the tests need on the build host, and why: Debian packages.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::program;
use crate::progress::Progress;

/// systemd's EFI stub, to which the UKI's sections are appended.
pub const EFI_STUB: &str = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub";
/// Debian's static busybox.
pub const BUSYBOX: &str = "/bin/busybox";

/// Which command needs a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// `cargo xtask build`.
    Build,
    /// `cargo xtask test` and `cargo xtask run`.
    Test,
}

/// A Debian package that is needed.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name in Debian 12.
    pub name: &'static str,
    /// Which command needs it.
    pub need: Need,
    /// What for.
    pub why: &'static str,
}

const fn build(name: &'static str, why: &'static str) -> Package {
    Package {
        name,
        need: Need::Build,
        why,
    }
}

const fn test(name: &'static str, why: &'static str) -> Package {
    Package {
        name,
        need: Need::Test,
        why,
    }
}

/// Everything that is needed beside git and a Rust toolchain.
pub const PACKAGES: &[Package] = &[
    build("linux-source-6.12", "the kernel's source"),
    build("gcc", "compiles the kernel"),
    build(
        "libc6-dev",
        "links kedge and the kernel's build tools; its static libc goes into kedge",
    ),
    build("make", "runs the kernel's build"),
    build("bc", "the kernel's build computes constants with it"),
    build("bison", "the kernel's build: Kconfig's parser"),
    build("flex", "the kernel's build: Kconfig's lexer"),
    build("libelf-dev", "the kernel's build: objtool reads ELF"),
    build(
        "xz-utils",
        "unpacks the kernel's source and compresses the kernel",
    ),
    build(
        "cpio",
        "the kernel's build, and the tests list the initramfs with it",
    ),
    build(
        "binutils",
        "as and ld for the kernel, strip for kedge, objdump and objcopy for tests",
    ),
    build(
        "busybox-static",
        "the shell and the small tools of the image",
    ),
    build("systemd-boot-efi", "the EFI stub of the UKI"),
    build("isolinux", "the BIOS loader on the ISO"),
    build("syslinux-common", "isolinux' second stage"),
    build("xorriso", "writes the ISO"),
    build("dosfstools", "makes the EFI partition"),
    build("mtools", "fills the EFI partition"),
    test("qemu-system-x86", "the machines that boot the image"),
    test("qemu-utils", "makes disk images and LUKS volumes"),
    test("ovmf", "UEFI firmware for the machines"),
    test("ipxe", "iPXE as a boot file and as a kernel"),
    test(
        "ipxe-qemu",
        "iPXE in the ROM of the machines' network cards",
    ),
    test(
        "nbdkit",
        "media that are slow, and a log of what is read from them",
    ),
    test(
        "dnsmasq-base",
        "DHCP and TFTP in the scenarios' own networks",
    ),
    test(
        "openssh-client",
        "logs in to the machines: ssh, sftp, scp, ssh-keyscan",
    ),
    test(
        "openssh-server",
        "the host that is found by its key in the scenarios' own networks",
    ),
    test("nginx", "the web server that a beacon reaches by HTTPS"),
    test(
        "g++",
        "compiles libFuzzer, where there is a nightly toolchain",
    ),
    test("curl", "what the benchmark of fetch compares it with"),
    test("openssl", "certificates and TLS servers of the tests' own"),
    test("chrony", "the time server in the scenarios' own networks"),
    test("iproute2", "makes the scenarios' own networks"),
    test("util-linux", "unshare, mkswap"),
    test(
        "rpm",
        "rpmbuild, whose packages are read, and rpm, whose databases are",
    ),
    test(
        "libarchive-tools",
        "bsdtar, with which Arch's packages are made",
    ),
    test("libcap2-bin", "setcap, whose attributes are compared"),
    test("zstd", "packs what is unpacked"),
    test("procps", "kill, for the builds that are interrupted"),
    test("e2fsprogs", "file systems that the banner has to recognise"),
    test(
        "xfsprogs",
        "file systems that the banner has to recognise, and one with reflinks for stamps",
    ),
    test(
        "btrfs-progs",
        "file systems that the banner has to recognise",
    ),
    test("sqlite3", "leaves logs beside rpm's SQLite databases"),
    test("db5.3-util", "makes rpm databases of the Berkeley DB kind"),
    test(
        "pacman-package-manager",
        "makes pacman databases for the doctor",
    ),
    test("fakeroot", "pacman asks whether it is root"),
    test(
        "mmdebstrap",
        "installs the systems that are broken and repaired",
    ),
    test("apt-utils", "apt-ftparchive makes the index of a mirror"),
    test("gpg", "signs the index of a mirror"),
    test("debsums", "what verify is measured beside"),
];

/// Packages that would start a server on this host, and its unit: it is masked before the package
/// comes, since the scenarios start the program themselves, in networks of their own.
const SERVERS: &[(&str, &str)] = &[
    ("openssh-server", "ssh.service"),
    ("nginx", "nginx.service"),
    ("chrony", "chrony.service"),
];

/// Where the machine stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// The package.
    pub package: Package,
    /// Its version where it is installed.
    pub version: Option<String>,
}

/// Why the host is not ready.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user may not install, so nothing was started.
    #[error(
        "Debian packages are missing. Nothing was started. Run this, then the same command again:\n\n    \
         {}\n\n`cargo xtask doctor-host` tells what each is for.",
        install_line(names)
    )]
    Missing {
        /// Which.
        names: Vec<&'static str>,
    },
    /// apt-get failed.
    #[error(
        "could not install {names} with apt-get (is there a network, and do its sources work?)\n{source}"
    )]
    Install {
        /// Names, apart by blanks.
        names: String,
        /// What apt-get said.
        source: program::Error,
    },
    /// There is no dpkg.
    #[error("cannot ask dpkg what is installed (kedge is built on Debian 12): {0}")]
    Dpkg(program::Error),
}

/// Looks up every package that `needs` name.
///
/// # Errors
/// When there is no dpkg.
pub fn status(needs: &[Need]) -> Result<Vec<Status>, Error> {
    let wanted: Vec<Package> = PACKAGES
        .iter()
        .filter(|package| needs.contains(&package.need))
        .copied()
        .collect();
    let versions = versions(
        &wanted
            .iter()
            .map(|package| package.name)
            .collect::<Vec<_>>(),
    )?;
    let version = |package: &Package| versions.get(package.name).cloned();
    Ok(wanted
        .into_iter()
        .map(|package| Status {
            version: version(&package),
            package,
        })
        .collect())
}

/// The versions of those of `names` that are installed.
///
/// # Errors
/// When there is no dpkg.
pub fn versions(names: &[&str]) -> Result<BTreeMap<String, String>, Error> {
    let output = Command::new("dpkg-query")
        .args([
            "--show",
            "--showformat",
            "${db:Status-Status} ${Package} ${Version}\\n",
        ])
        .args(names)
        .output()
        .map_err(|source| {
            Error::Dpkg(program::Error::Start {
                program: "dpkg-query".into(),
                source,
            })
        })?;
    // It ends with 1 when one is unknown, and prints the others all the same.
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("installed"), Some(name), Some(version)) => {
                    Some((name.to_string(), version.to_string()))
                }
                _ => None,
            }
        })
        .collect())
}

/// Sees to it that all packages that `needs` name are installed: by apt-get when the user is
/// root; otherwise it says what to type.
///
/// # Errors
/// When something is missing and could not be, or must not be, installed.
pub fn ensure(needs: &[Need], progress: &dyn Progress) -> Result<(), Error> {
    let missing: Vec<&'static str> = status(needs)?
        .iter()
        .filter(|status| status.version.is_none())
        .map(|status| status.package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::Missing { names: missing });
    }
    let names = missing.join(" ");
    progress.step(&format!("installing Debian packages: {names}"));
    // A fresh machine has no package lists, and old lists name files that are gone: a first
    // failure is answered with new lists.
    if install(&missing).is_ok() {
        return Ok(());
    }
    program::run(Command::new("apt-get").args(["-q", "update"]))
        .and_then(|_| install(&missing))
        .map_err(|source| Error::Install { names, source })
}

/// The line that installs `names`, for somebody who is not root.
pub fn install_line(names: &[&str]) -> String {
    let units = units(names);
    let mask = match units.as_slice() {
        [] => String::new(),
        // Their servers are for the scenarios, and not for this host.
        units => format!("sudo systemctl mask {}; ", units.join(" ")),
    };
    format!(
        "{mask}sudo apt-get update && sudo apt-get install --no-install-recommends -y {}",
        names.join(" ")
    )
}

fn units(names: &[&str]) -> Vec<&'static str> {
    let of = SERVERS.iter().filter(|(name, _)| names.contains(name));
    of.map(|(_, unit)| *unit).collect()
}

/// What keeps the packages' scripts from starting servers, while it is there (policy-rc.d, as invoke-rc.d
/// asks it), and afterwards (systemd's mask).
struct Kept(Option<&'static Path>);

impl Kept {
    fn from_starting(names: &[&str]) -> Kept {
        let units = units(names);
        for unit in &units {
            let link = Path::new("/etc/systemd/system").join(unit);
            // One that is there is the administrator's; without systemd there is no such folder.
            let _ = std::os::unix::fs::symlink("/dev/null", link);
        }
        let policy = Path::new("/usr/sbin/policy-rc.d");
        // 101: an action forbidden by policy. An own one of this host's stays.
        let made = !units.is_empty()
            && !policy.exists()
            && std::fs::write(policy, "#!/bin/sh\nexit 101\n").is_ok()
            && std::fs::set_permissions(policy, Permissions::from_mode(0o755)).is_ok();
        Kept(made.then_some(policy))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            let _ = std::fs::remove_file(policy);
        }
    }
}

fn install(names: &[&str]) -> Result<(), program::Error> {
    let _kept = Kept::from_starting(names);
    program::run(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-y", "--no-install-recommends", "install"])
            .args(names),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_have_a_version_and_unknown_ones_none() {
        let versions = versions(&["dpkg", "kedge-no-such-package"]).unwrap();
        assert!(versions.contains_key("dpkg"));
        assert!(!versions.contains_key("kedge-no-such-package"));
    }

    #[test]
    fn servers_are_kept_from_starting() {
        let line = install_line(&["xorriso", "nginx"]);
        assert!(
            line.starts_with("sudo systemctl mask nginx.service; "),
            "{line}"
        );
        assert!(!install_line(&["xorriso"]).contains("mask"));
        for (name, _) in SERVERS {
            assert!(
                PACKAGES.iter().any(|package| package.name == *name),
                "{name}"
            );
        }
    }

    #[test]
    fn no_package_is_named_twice() {
        let mut names: Vec<&str> = PACKAGES.iter().map(|package| package.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PACKAGES.len());
    }
}
