//! A network of the test's own: a namespace with one tap device, servers in it, and no way out.
//!
//! The namespace belongs to a child process and to nobody else: it has no name, and when the test ends
//! the kernel takes it away with everything in it. As root it needs nothing; as a user it needs user
//! namespaces and a /dev/net/tun that can be opened.
//!
//! The host's end is 192.0.2.1/24 (TEST-NET-1, RFC 5737) on `tap0`.

use std::io::BufRead;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::{Child, Namespaces, output};

/// The host's address, and the servers'.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The first address that the DHCP server gives out; the last is .199.
pub const FIRST_LEASE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// A namespace with a tap device, and the servers in it.
#[derive(Debug)]
pub struct Network {
    // Servers go before the namespace does.
    servers: Vec<Child>,
    namespaces: Namespaces,
    /// How many DHCP servers there have been: each has a log.
    started: u32,
    folder: PathBuf,
    _holder: Child,
}

impl Network {
    /// Makes the network; its servers' files and logs go to `folder`.
    pub fn new(folder: &Path) -> Result<Self> {
        let root = rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--net");
        if !root {
            command.arg("--map-root-user");
        }
        command.args(["--", "sh", "-c", "echo ready; exec sleep infinity"]);
        let mut holder =
            Child::spawn_as_is(command.stdin(Stdio::null()).stdout(Stdio::piped()), None)?;
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
        let namespaces = Namespaces::of(holder.id(), !root)?;
        let network = Self {
            servers: Vec::new(),
            namespaces,
            started: 0,
            folder: folder.to_owned(),
            _holder: holder,
        };
        network.ip(&["tuntap", "add", "dev", "tap0", "mode", "tap"])?;
        network.ip(&["address", "add", &format!("{HOST}/24"), "dev", "tap0"])?;
        network.ip(&["link", "set", "lo", "up"])?;
        network.ip(&["link", "set", "tap0", "up"])?;
        Ok(network)
    }

    fn ip(&self, arguments: &[&str]) -> Result<()> {
        output(Command::new("ip").args(arguments), Some(&self.namespaces))
            .context("setting up the test's own network")?;
        Ok(())
    }

    pub(crate) fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Runs a program in the network to its end; gives its standard output.
    pub fn run(&self, command: &mut Command) -> Result<Vec<u8>> {
        output(command, Some(&self.namespaces))
    }

    /// Starts a DHCP and TFTP server; `options` are dnsmasq's, `tftp` is the folder it serves.
    ///
    /// Gives the server's log: it names each lease and each file sent.
    pub fn serve_dhcp(&mut self, tftp: &Path, options: &[&str]) -> Result<PathBuf> {
        let log = self.folder.join(format!("dnsmasq{}.log", self.started));
        self.started += 1;
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--conf-file=/dev/null",
                "--keep-in-foreground",
                "--log-facility=-",
            ])
            // Staying who we are: see `child`.
            .args(["--user=root", "--group=root", "--pid-file="])
            .args([
                "--port=0",
                "--interface=tap0",
                "--bind-interfaces",
                "--log-dhcp",
            ])
            .args(["--dhcp-range=192.0.2.100,192.0.2.199,255.255.255.0,1h"])
            // No other server is there to be asked.
            .args(["--dhcp-authoritative", "--no-ping", "--enable-tftp"])
            .arg(format!(
                "--dhcp-leasefile={}",
                self.folder.join("leases").display()
            ))
            .arg(format!("--tftp-root={}", tftp.display()))
            .args(options);
        let mut server = Child::spawn(&mut command, &log, Some(&self.namespaces))?;
        wait_for(&mut server, &log, "TFTP root is")?;
        self.servers.push(server);
        Ok(log)
    }

    /// Starts an HTTP server (busybox's) for the files under `root`; gives its log, which has a line
    /// `url:/path` for each request.
    pub fn serve_http(&mut self, root: &Path) -> Result<PathBuf> {
        let log = self.folder.join("http.log");
        let mut command = Command::new("/bin/busybox");
        command
            .args(["httpd", "-f", "-vv", "-p", &format!("{HOST}:80"), "-h"])
            .arg(root);
        let mut server = Child::spawn(&mut command, &log, Some(&self.namespaces))?;
        // It does not say when it listens; its network does (proc(5), /proc/net/tcp: state 0A).
        let sockets = format!("/proc/{}/net/tcp", server.id());
        let listens = |table: String| {
            table
                .lines()
                .any(|line| line.contains(":0050 ") && line.contains(" 0A "))
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !std::fs::read_to_string(&sockets).is_ok_and(listens) {
            server.must_run()?;
            if Instant::now() > deadline {
                bail!("httpd did not start within 30 s:\n{}", server.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.servers.push(server);
        Ok(log)
    }

    /// Ends the server that was started last.
    pub fn stop_last_server(&mut self) {
        self.servers.pop();
    }
}

/// Waits until a server has written `text`.
fn wait_for(server: &mut Child, log: &Path, text: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(log)
        .unwrap_or_default()
        .contains(text)
    {
        server.must_run()?;
        if Instant::now() > deadline {
            bail!(
                "{text:?} did not come from the server:\n{}",
                server.log_tail()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_has_one_device_and_no_way_out() -> Result<()> {
        let network = Network::new(&std::env::temp_dir())?;
        let links = network.run(Command::new("ip").args(["-brief", "link"]))?;
        let links = String::from_utf8(links)?;
        assert_eq!(links.lines().count(), 2, "{links}");
        assert!(links.contains("tap0"), "{links}");
        let routes = network.run(Command::new("ip").args(["route", "show", "default"]))?;
        assert_eq!(String::from_utf8(routes)?, "");
        Ok(())
    }
}
