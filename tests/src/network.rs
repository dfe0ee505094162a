//! A network of the test's own: a namespace with Ethernet segments, servers in it, and no way out.
//!
//! The first segment is `lan`, where the test's end is 192.0.2.1/24 (TEST-NET-1, RFC 5737); a test adds
//! what more it needs. Addresses for tests are 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 and
//! 2001:db8::/32 (RFC 3849).
//!
//! ```ignore
//! let mut network = Network::new(&folder.folder("network")?)?;
//! let lan2 = network.segment("lan2", &["203.0.113.1/32", "2001:db8:2::1/64"])?;
//! // A router whose address is outside of the guest's prefix, and a world behind it.
//! lan2.route_to("192.0.2.77")?;
//! lan2.world(&["198.51.100.1"])?;
//! let _dhcp = Dnsmasq::new("2m").range4("192.0.2.100", "192.0.2.199").start(network.lan())?;
//! let machine = Machine::new(folder, "machine")
//!     .nic_on(network.lan(), Nic::E1000)
//!     .nic_on(&lan2, Nic::Virtio);
//! ```

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::child::Child;
use crate::dnsmasq::{Dnsmasq, Server};
use crate::namespace::Namespace;
use crate::segment::Segment;

/// The host's address on the first segment, and the servers'.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The first address that [`Network::serve_dhcp`] gives out; the last is .199.
pub const FIRST_LEASE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// A namespace with segments, and the servers in it.
#[derive(Debug)]
pub struct Network {
    // Servers go before the namespace does.
    servers: Vec<Kept>,
    lan: Segment,
    namespace: Arc<Namespace>,
}

/// A server that runs as long as its network.
#[derive(Debug)]
enum Kept {
    Dnsmasq(#[expect(dead_code, reason = "held for its end")] Server),
    Httpd(#[expect(dead_code, reason = "held for its end")] Child),
}

impl Network {
    /// Makes the network with its first segment; its servers' files and logs go to `folder`.
    pub fn new(folder: &Path) -> Result<Self> {
        let namespace = Namespace::new(folder, None)?;
        let lan = Segment::new(&namespace, "lan", &[&format!("{HOST}/24")])?;
        Ok(Self {
            servers: Vec::new(),
            lan,
            namespace,
        })
    }

    /// The first segment.
    pub fn lan(&self) -> &Segment {
        &self.lan
    }

    /// Makes one more segment, separate from the others. Its name is that of the test's end and has at
    /// most 15 characters; `addresses` ("203.0.113.1/32", "2001:db8::1/64") are the test's end's. Without
    /// any the test is not there: what is heard on it comes from guests and neighbours.
    pub fn segment(&self, name: &str, addresses: &[&str]) -> Result<Segment> {
        Segment::new(&self.namespace, name, addresses)
    }

    /// The namespace of all its segments.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Runs a program in the network to its end; gives its standard output.
    pub fn run(&self, command: &mut Command) -> Result<Vec<u8>> {
        self.namespace.run(command)
    }

    /// Starts a DHCP and TFTP server on the first segment; `options` are dnsmasq's, `tftp` is the folder
    /// it serves. For anything else see [`Dnsmasq`].
    ///
    /// Gives the server's log: it names each lease and each file sent.
    pub fn serve_dhcp(&mut self, tftp: &Path, options: &[&str]) -> Result<PathBuf> {
        let last = format!("{}", Ipv4Addr::from(u32::from(FIRST_LEASE) + 99));
        let server = Dnsmasq::new("1h")
            .range4(&FIRST_LEASE.to_string(), &last)
            .tftp(tftp)
            .options(options)
            .start(&self.lan)?;
        let log = server.log().to_owned();
        self.servers.push(Kept::Dnsmasq(server));
        Ok(log)
    }

    /// Starts an HTTP server (busybox's) for the files under `root`; gives its log, which has a line
    /// `url:/path` for each request.
    pub fn serve_http(&mut self, root: &Path) -> Result<PathBuf> {
        let log = self.namespace.file("http", "log");
        let mut command = Command::new("/bin/busybox");
        command
            .args(["httpd", "-f", "-vv", "-p", &format!("{HOST}:80"), "-h"])
            .arg(root);
        let mut server = self.namespace.spawn(&mut command, &log)?;
        until_it_listens(&mut server, 80)?;
        self.servers.push(Kept::Httpd(server));
        Ok(log)
    }

    /// Ends the server that was started last by [`Self::serve_dhcp`] or [`Self::serve_http`].
    pub fn stop_last_server(&mut self) {
        self.servers.pop();
    }
}

/// Waits until a program listens at a TCP port. Many do not say when; their network does (proc(5), /proc/net/tcp: state 0A).
///
/// # Errors
/// When it ended, or does not within 30 s.
pub fn until_it_listens(server: &mut Child, port: u16) -> Result<()> {
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{}/net/{table}", server.id()));
    let word = format!(":{port:04X} ");
    let listens = |table: String| {
        table
            .lines()
            .any(|line| line.contains(&word) && line.contains(" 0A "))
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while !tables
        .iter()
        .any(|table| std::fs::read_to_string(table).is_ok_and(listens))
    {
        server.must_run()?;
        if Instant::now() > deadline {
            bail!(
                "nothing listens at port {port} after 30 s:\n{}",
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

    fn folder(name: &str) -> Result<crate::Folder> {
        crate::Folder::new(&format!("unit.network.{name}"))
    }

    #[test]
    fn the_network_has_no_device_of_the_host_and_no_way_out() -> Result<()> {
        let folder = folder("way_out")?;
        let network = Network::new(folder.path())?;
        let links = network.run(Command::new("ip").args(["-brief", "link"]))?;
        let links = String::from_utf8(links)?;
        let names: Vec<_> = links
            .lines()
            .filter_map(|line| line.split(['@', ' ']).next())
            .collect();
        for name in &names {
            assert!(["lo", "lan", "keep0", "none0"].contains(name), "{links}");
        }
        assert!(names.contains(&"lan"), "{links}");
        let routes = network.run(Command::new("ip").args(["route", "show", "default"]))?;
        assert_eq!(String::from_utf8(routes)?, "");
        Ok(())
    }

    #[test]
    fn a_world_behind_a_router_outside_the_prefix_answers() -> Result<()> {
        let folder = folder("world")?;
        let network = Network::new(folder.path())?;
        let wan = network.segment("wan", &["203.0.113.1/32", "fe80::1/64"])?;
        wan.route_to("192.0.2.77")?;
        wan.route_to("2001:db8:77::77")?;
        wan.world(&["198.51.100.1", "2001:db8:ffff::1"])?;
        // What a guest with these addresses has to do.
        let guest = wan.neighbour(&["192.0.2.77/32", "2001:db8:77::77/128"])?;
        let ping =
            |to: &str| guest.run(Command::new("/bin/busybox").args(["ping", "-c1", "-W5", to]));
        assert!(ping("198.51.100.1").is_err(), "there was a route already");
        guest.route_to("203.0.113.1")?;
        guest.route_by("203.0.113.1".parse()?)?;
        ping("198.51.100.1")?;
        guest.route_by("fe80::1".parse()?)?;
        ping("2001:db8:ffff::1")?;
        Ok(())
    }
}
