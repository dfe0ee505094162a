//! dnsmasq on a segment: DHCPv4, DHCPv6, router advertisements, DNS, TFTP; each of them only when asked
//! for. Several run at once, on different segments or, as the wrong server, at a neighbour on the same.
//!
//! ```ignore
//! let dhcp = Dnsmasq::new("2m")
//!     .range4("192.0.2.100", "192.0.2.199")
//!     .advertise("2001:db8:1::", Addresses::Stateless)
//!     .dns()
//!     .name("news.example", "192.0.2.1")
//!     .ntp("192.0.2.1")
//!     .start(network.lan())?;
//! assert!(dhcp.said("DHCPACK")?);
//! // The same, but nobody answers before 40 s are over:
//! let dhcp = Dnsmasq::new("2m").range4("192.0.2.100", "192.0.2.199").start_late(network.lan(), Duration::from_secs(40))?;
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::segment::Station;

/// How hosts behind a router get their IPv6 addresses (RFC 4861, 4.2 and 4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// They make them themselves (flag A); DHCPv6 is not spoken of.
    Slaac,
    /// They make them themselves and ask DHCPv6 for the rest (flags A and O).
    Stateless,
    /// DHCPv6 gives them, ::100 to ::1ff of the prefix, and the rest (flags M and O, not A).
    Stateful,
    /// Both: DHCPv6 gives them, and they may make more (flags M, O and A).
    Both,
}

/// A server to be started: nothing is served but what is asked for here.
#[derive(Debug, Clone)]
pub struct Dnsmasq {
    lease: String,
    ranges4: Vec<(String, String)>,
    ranges6: Vec<(String, Addresses)>,
    tftp: Option<PathBuf>,
    dns: bool,
    options: Vec<String>,
}

impl Dnsmasq {
    /// A server whose leases are for `lease` ("2m" is the shortest that dnsmasq gives; "1h").
    pub fn new(lease: &str) -> Self {
        Self {
            lease: lease.to_owned(),
            ranges4: Vec::new(),
            ranges6: Vec::new(),
            tftp: None,
            dns: false,
            options: Vec::new(),
        }
    }

    /// Gives out the IPv4 addresses from `first` to `last`, which are in the prefix of an address of the
    /// station's; that address is the router and, with [`Self::dns`], the name server.
    pub fn range4(mut self, first: &str, last: &str) -> Self {
        self.ranges4.push((first.to_owned(), last.to_owned()));
        self
    }

    /// Advertises the router and the /64 `prefix` ("2001:db8:1::"), which is that of an address of the
    /// station's. With [`Self::dns`] the advertisement has an RDNSS (RFC 8106) that names the station.
    pub fn advertise(mut self, prefix: &str, addresses: Addresses) -> Self {
        self.ranges6.push((prefix.to_owned(), addresses));
        self
    }

    /// Answers DNS for the names given by [`Self::name`], and NXDOMAIN for all others.
    pub fn dns(mut self) -> Self {
        self.dns = true;
        self
    }

    /// A name and its address, v4 or v6.
    pub fn name(self, name: &str, address: &str) -> Self {
        self.option(&format!("--host-record={name},{address}"))
    }

    /// Names a time server in DHCPv4 (option 42).
    pub fn ntp(self, address: &str) -> Self {
        self.option(&format!("--dhcp-option=option:ntp-server,{address}"))
    }

    /// Serves the files in `folder` by TFTP.
    pub fn tftp(mut self, folder: &Path) -> Self {
        self.tftp = Some(folder.to_owned());
        self
    }

    /// One more option of dnsmasq(8).
    pub fn option(self, option: &str) -> Self {
        self.options(&[option])
    }

    /// More options of dnsmasq(8).
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options
            .extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// Starts it at a segment's end or a neighbour, and waits until it serves.
    pub fn start(&self, at: &Station) -> Result<Server> {
        let mut server = self.start_late(at, Duration::ZERO)?;
        server.wait_until_it_serves()?;
        Ok(server)
    }

    /// Starts it after `delay`; gives the server at once.
    pub fn start_late(&self, at: &Station, delay: Duration) -> Result<Server> {
        let log = at.namespace().file("dnsmasq", "log");
        let mut command = if delay.is_zero() {
            Command::new("dnsmasq")
        } else {
            // The same process all the time, so that it ends with the test also while it waits: a
            // shell's `sleep` would not. (perl-base is on every Debian.)
            let mut command = Command::new("perl");
            command
                .args([
                    "-e",
                    "select undef, undef, undef, shift; exec @ARGV or die $!",
                ])
                .arg(delay.as_secs_f64().to_string())
                .arg("dnsmasq");
            command
        };
        command.args(self.arguments(at)?);
        let child = at.namespace().spawn(&mut command, &log)?;
        Ok(Server { child, log })
    }

    fn arguments(&self, at: &Station) -> Result<Vec<String>> {
        let mut arguments: Vec<String> = [
            "--conf-file=/dev/null",
            "--keep-in-foreground",
            "--log-facility=-",
            // Staying who we are: see `child`. In a user's namespace groups cannot be set at all.
            "--user=root",
            "--group=",
            "--pid-file=",
            "--bind-interfaces",
            "--log-dhcp",
            // No other server is there to be asked, and nobody is pinged before a lease.
            "--dhcp-authoritative",
            "--no-ping",
            // What is not known here is known nowhere.
            "--no-resolv",
            "--no-hosts",
            "--log-queries",
        ]
        .map(String::from)
        .into();
        arguments.push(format!("--interface={}", at.device()));
        arguments.push(format!(
            "--dhcp-leasefile={}",
            at.namespace().file("leases", "db").display()
        ));
        if self.dns {
            arguments.push("--port=53".into());
            // Unknown names are answered by it, not by servers that are not there.
            arguments.push("--local=//".into());
            arguments.push("--address=/#/".into());
        } else {
            arguments.push("--port=0".into());
        }
        for (first, last) in &self.ranges4 {
            let mask = mask_of(at, first)?;
            let lease = &self.lease;
            arguments.push(format!("--dhcp-range={first},{last},{mask},{lease}"));
        }
        if !self.ranges6.is_empty() {
            arguments.push("--enable-ra".into());
        }
        for (prefix, addresses) in &self.ranges6 {
            let base: Ipv6Addr = prefix
                .parse()
                .with_context(|| format!("reading the prefix {prefix}"))?;
            let [first, last] = [0x100, 0x1ff].map(|n| Ipv6Addr::from(u128::from(base) | n));
            let lease = &self.lease;
            arguments.push(match addresses {
                Addresses::Slaac => format!("--dhcp-range={prefix},ra-only,64,{lease}"),
                Addresses::Stateless => format!("--dhcp-range={prefix},ra-stateless,64,{lease}"),
                Addresses::Stateful => format!("--dhcp-range={first},{last},64,{lease}"),
                Addresses::Both => format!("--dhcp-range={first},{last},slaac,64,{lease}"),
            });
        }
        if let Some(folder) = &self.tftp {
            arguments.push("--enable-tftp".into());
            arguments.push(format!("--tftp-root={}", folder.display()));
        }
        arguments.extend(self.options.iter().cloned());
        Ok(arguments)
    }
}

/// The netmask of the station's address in whose prefix `first` is.
fn mask_of(at: &Station, first: &str) -> Result<Ipv4Addr> {
    let first: Ipv4Addr = first
        .parse()
        .with_context(|| format!("reading the address {first}"))?;
    for (address, prefix) in at.addresses() {
        let IpAddr::V4(address) = address else {
            continue;
        };
        let mask = u32::MAX
            .checked_shl(32 - u32::from(*prefix))
            .unwrap_or_default();
        if u32::from(*address) & mask == u32::from(first) & mask {
            return Ok(mask.into());
        }
    }
    bail!(
        "{} has no address in the prefix of {first}, so dnsmasq would not serve it",
        at.device()
    )
}

/// A running dnsmasq; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Its log, which names each message, lease, query and file sent.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it has logged so far.
    pub fn text(&self) -> Result<String> {
        let text =
            std::fs::read(&self.log).with_context(|| format!("reading {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether `text` is in its log by now.
    pub fn said(&self, text: &str) -> Result<bool> {
        Ok(self.text()?.contains(text))
    }

    /// Waits until `text` is in its log.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while !self.said(text)? {
            self.child.must_run()?;
            if Instant::now() > deadline {
                bail!(
                    "{text:?} did not come from the server within {timeout:?}:\n{}",
                    self.child.log_tail()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// It opens its sockets first, then says that it has started.
    fn wait_until_it_serves(&mut self) -> Result<()> {
        self.wait_for("started, version", Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests;
