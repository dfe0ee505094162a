//! A network namespace that belongs to one child process and to nobody else: it has no name, and when
//! the test ends the kernel takes it away with everything in it.
//!
//! As root it needs nothing; as a user it needs user namespaces and a /dev/net/tun that can be opened.

use std::fs::File;
use std::io::{BufRead, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};

use crate::child::{Child, Namespaces, output};

/// What an interface of the test's side must not do by itself (Documentation/networking/ip-sysctl.rst
/// in the kernel). Several segments end in one namespace, and each must look like a host of its own:
/// ARP is answered, and asked with an address, only on the segment the address is on. And the host
/// neither waits for duplicate address detection nor takes in what routers advertise.
const HABITS: &str = "for conf in all default; do
echo 1 >/proc/sys/net/ipv4/conf/$conf/arp_ignore &&
echo 2 >/proc/sys/net/ipv4/conf/$conf/arp_announce &&
echo 0 >/proc/sys/net/ipv4/conf/$conf/rp_filter &&
echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_dad &&
echo 0 >/proc/sys/net/ipv6/conf/$conf/accept_ra &&
echo 0 >/proc/sys/net/ipv6/conf/$conf/router_solicitations || exit 1
done";

/// A namespace, and the folder for the logs of what runs in it.
#[derive(Debug)]
pub struct Namespace {
    namespaces: Namespaces,
    folder: PathBuf,
    /// How many names were given out so far, for logs and devices alike.
    names: AtomicUsize,
    holder: Child,
}

impl Namespace {
    /// Makes a namespace; as a user, one made inside of another shares its user namespace.
    pub(crate) fn new(folder: &Path, inside: Option<&Self>) -> Result<Arc<Self>> {
        let user = !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--net");
        if user && inside.is_none() {
            command.arg("--map-root-user");
        }
        command.args(["--", "sh", "-c", "echo ready; exec sleep infinity"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = Child::spawn_as_is(&mut command, inside.map(Self::namespaces))?;
        let mut said = String::new();
        let stdout = holder
            .streams()
            .stdout
            .take()
            .context("unshare was given a pipe")?;
        std::io::BufReader::new(stdout).read_line(&mut said)?;
        if said != "ready\n" {
            bail!("no network namespace (as a user, user namespaces must be allowed; or be root)");
        }
        let namespace = Self {
            namespaces: Namespaces::of(holder.id(), user)?,
            folder: folder.to_owned(),
            names: AtomicUsize::new(0),
            holder,
        };
        namespace
            .run(Command::new("sh").args(["-c", HABITS]))
            .context("the namespace's own settings in /proc/sys/net cannot be written")?;
        namespace.ip("link set lo up")?;
        Ok(Arc::new(namespace))
    }

    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The process that holds the namespace, for `ip link set … netns`.
    pub(crate) fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// The next number for a device's name.
    pub(crate) fn number(&self) -> usize {
        self.names.fetch_add(1, Ordering::Relaxed)
    }

    /// Where logs and files of what runs in the namespace go.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new empty file for a log or a server's data that is called `name`, or name2, name3 … when
    /// there is one.
    pub(crate) fn file(&self, name: &str, extension: &str) -> PathBuf {
        let mut path = self.folder.join(format!("{name}.{extension}"));
        let mut n = 2;
        // What else is wrong with the folder is said by whoever writes to the file.
        while File::create_new(&path).is_err_and(|error| error.kind() == ErrorKind::AlreadyExists) {
            path = self.folder.join(format!("{name}{n}.{extension}"));
            n += 1;
        }
        path
    }

    /// Runs a program in the namespace to its end; gives its standard output.
    pub fn run(&self, command: &mut Command) -> Result<Vec<u8>> {
        output(command, Some(&self.namespaces))
    }

    /// Runs ip(8) with these words: `ip("address add 192.0.2.9/24 dev lan")`.
    pub fn ip(&self, words: &str) -> Result<String> {
        let out = self
            .run(Command::new("ip").args(words.split_whitespace()))
            .context("setting up the test's own network")?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Starts a program in the namespace; what it prints goes to `log`.
    pub fn spawn(&self, command: &mut Command, log: &Path) -> Result<Child> {
        Child::spawn(command, log, Some(&self.namespaces))
    }
}
