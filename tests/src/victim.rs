//! Victims: real Debian systems, installed by mmdebstrap, to be broken and repaired.
//!
//! ```ignore
//! let victim = Victim::server()?;                            // made once, in less than two minutes, and kept
//! let disk = victim.disk(&folder.path().join("disk.img"))?;  // a copy to be broken: MBR, /dev/vda1 with ext4
//! let machine = victim.machine(folder, "victim", &disk).nic_on(network.lan(), Nic::Virtio);
//! let tree = victim.tree(&folder.path().join("tree"))?;      // the same as a folder, for tools that run on this host
//! let mirror = victim.mirror(&folder.path().join("web"))?;   // its packages, with a signed index
//! ```
//!
//! They are kept in `~/.cache/kedge/victims/` by a digest of their recipe. Whatever apt sources this host has are
//! asked for packages; the victim itself knows only [`MIRROR`], which is a scenario's own. To be made, a victim needs root.
//!
//! **Why sysvinit.** Debian 12's systemd is linked with libcrypto (libsystemd-shared-252.so), so with a broken libcrypto
//! the kernel panics because init is gone, and no sshd dies of anything.

mod disk;
mod recipe;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

pub use disk::Disk;

use crate::child::output;
use crate::folder::Folder;
use crate::machine::{Controller, Machine};
use crate::mirror::Mirror;
use crate::out;
use recipe::Recipe;

/// The victim's address, on the segment on which the test is 192.0.2.1.
pub const ADDRESS: &str = "192.0.2.7";

/// The name of the mirror in the victim's sources; whoever plays it needs a name server that says where it is.
pub const MIRROR: &str = "mirror.example";

/// The kernel command line beside what [`Machine::load`] has: names of interfaces that stay when udevd is broken, and
/// messages of init's scripts on the serial line.
const WORDS: &str = "root=/dev/vda1 ro net.ifnames=0 console=ttyS0,115200";

/// A victim as it was installed, never changed.
#[derive(Debug, Clone)]
pub struct Victim {
    place: PathBuf,
}

impl Victim {
    /// A small server: openssh-server, sysvinit, ifupdown, a kernel. The test's key logs in as root.
    pub fn server() -> Result<Self> {
        Self::kept(&Recipe::server())
    }

    /// A server with compilers, interpreters and editors on it, about 1 GB: to be measured with, and never booted.
    pub fn large() -> Result<Self> {
        Self::kept(&Recipe::large())
    }

    fn kept(recipe: &Recipe) -> Result<Self> {
        let root = folder()?;
        let place = root.join(recipe.name());
        // Two tests that want the same one take turns: the second finds it made.
        let lock = File::create(root.join(format!("{}.lock", recipe.name())))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        if !place.exists() {
            let partial = root.join(format!("{}.partial", recipe.name()));
            if partial.exists() {
                fs::remove_dir_all(&partial)
                    .with_context(|| format!("removing {}", partial.display()))?;
            }
            fs::create_dir(&partial)?;
            eprintln!("installing a Debian into {} …", place.display());
            recipe.make(&partial)?;
            fs::rename(&partial, &place)?;
        }
        Ok(Self { place })
    }

    /// Its folder as it was installed: to be read only.
    pub fn pristine(&self) -> PathBuf {
        self.place.join("root")
    }

    /// A copy of its folder, to be broken.
    pub fn tree(&self, to: &Path) -> Result<PathBuf> {
        let mut command = Command::new("cp");
        command.args(["-a", "--reflink=auto"]);
        output(command.arg(self.pristine()).arg(to), None)?;
        Ok(to.to_owned())
    }

    /// A copy of its disk, to be broken.
    pub fn disk(&self, to: &Path) -> Result<Disk> {
        let mut command = Command::new("cp");
        command.args(["--sparse=always", "--reflink=auto"]);
        output(command.arg(self.place.join("disk.img")).arg(to), None)?;
        Ok(Disk::at(to))
    }

    /// Its packages as a mirror has them, to be served and to be broken.
    pub fn mirror(&self, to: &Path) -> Result<Mirror> {
        Mirror::copy(&self.place.join("mirror"), &self.signing_key(), to)
    }

    /// The OpenPGP key that its sources believe, with its secret part.
    pub fn signing_key(&self) -> PathBuf {
        self.place.join("signing.asc")
    }

    /// The private SSH key that logs in.
    pub fn key(&self) -> PathBuf {
        self.place.join("operator")
    }

    /// A machine that boots it from this disk, by its own kernel and initramfs.
    pub fn machine<'a>(&self, folder: &'a Folder, name: &str, disk: &Disk) -> Machine<'a> {
        Machine::new(folder, name)
            .disk(Controller::VirtioBlk, disk.path(), "VICTIM")
            .load(
                &self.place.join("vmlinuz"),
                &self.place.join("initrd.img"),
                WORDS,
            )
    }
}

/// Where victims are kept.
fn folder() -> Result<PathBuf> {
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME says where victims may be kept")?;
    let folder = base.join("kedge/victims");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    ensure!(
        rustix::process::geteuid().is_root(),
        "a victim's files belong to root and others: run this as root"
    );
    out::host_file("/usr/bin/mmdebstrap", "mmdebstrap")?;
    Ok(folder)
}
