//! A segment: one Ethernet, with the test's end of it, the taps of machines, and neighbours.
//!
//! It is a plain bridge of the kernel. Guests' cards are taps in it, so two cards of one machine can be
//! on one segment (a bond), and machines see each other. The test's end is the bridge's own interface:
//! servers bind to it. A bridge passes tagged frames on as they are; what
//! knows VLANs is [`Switch`](crate::Switch).
//!
//! ```ignore
//! let lan2 = network.segment("lan2", &["198.51.100.1/24", "2001:db8:2::1/64"])?;
//! let machine = Machine::new(folder, "machine").nic_on(&lan2, Nic::Virtio);
//! let holder = lan2.neighbour(&["198.51.100.7/24"])?; // has the address that the guest is to get
//! println!("{}", holder.mac());
//! ```

use std::net::IpAddr;
use std::ops::Deref;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;

/// An interface on a segment that belongs to the test: servers and clients run at it.
#[derive(Debug, Clone)]
pub struct Station {
    namespace: Arc<Namespace>,
    device: String,
    mac: String,
    addresses: Vec<(IpAddr, u8)>,
}

impl Station {
    /// The interface's name.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Its MAC address ("02:00:00:00:01:00").
    pub fn mac(&self) -> &str {
        &self.mac
    }

    /// Its addresses and the lengths of their prefixes, in the order in which they were given.
    pub fn addresses(&self) -> &[(IpAddr, u8)] {
        &self.addresses
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Runs a program there to its end; gives its standard output.
    pub fn run(&self, command: &mut Command) -> Result<Vec<u8>> {
        self.namespace.run(command)
    }

    /// Takes one more address ("192.0.2.9/24"), at once and without duplicate address detection.
    pub fn add_address(&mut self, address: &str) -> Result<()> {
        let (ip, prefix) = address
            .split_once('/')
            .with_context(|| format!("{address} has no prefix length"))?;
        let ip: IpAddr = ip.parse().with_context(|| format!("reading {address}"))?;
        let prefix: u8 = prefix
            .parse()
            .with_context(|| format!("reading {address}"))?;
        let nodad = if ip.is_ipv6() { "nodad" } else { "" };
        self.namespace.ip(&format!(
            "address add {address} dev {} {nodad}",
            self.device
        ))?;
        self.addresses.push((ip, prefix));
        Ok(())
    }

    /// Reaches `to` ("192.0.2.77", "2001:db8:9::/48") on this segment without a router: a guest with an
    /// address outside of every prefix here, as hosters with /32 addresses have it.
    pub fn route_to(&self, to: &str) -> Result<()> {
        self.namespace
            .ip(&format!("route add {to} dev {}", self.device))?;
        Ok(())
    }

    /// Reaches everything by this router, as a host does that is not one itself.
    pub fn route_by(&self, router: IpAddr) -> Result<()> {
        self.namespace.ip(&format!(
            "route add default via {router} dev {}",
            self.device
        ))?;
        Ok(())
    }

    /// Reaches `to` ("10.64.0.0/18") by this router.
    pub fn route_through(&self, to: &str, router: IpAddr) -> Result<()> {
        self.namespace
            .ip(&format!("route add {to} via {router} dev {}", self.device))?;
        Ok(())
    }

    /// Holds addresses ("198.51.100.1", "2001:db8:ffff::1") that are on no segment: others reach them only
    /// by a route to this station, which is the router in front of them.
    pub fn world(&self, addresses: &[&str]) -> Result<()> {
        for address in addresses {
            self.namespace
                .ip(&format!("address add {address} dev lo"))?;
        }
        Ok(())
    }

    /// Is the router to a network ("10.64.0.0/18") in which nobody answers, not even with "unreachable";
    /// but for [`Self::world`]'s addresses. It takes no memory for each address, as ARP does.
    pub fn swallow(&self, network: &str) -> Result<()> {
        let script = "echo 1 >/proc/sys/net/ipv4/ip_forward &&
            echo 1 >/proc/sys/net/ipv6/conf/all/forwarding";
        self.run(Command::new("sh").args(["-c", script]))?;
        self.namespace
            .ip(&format!("route add blackhole {network}"))?;
        Ok(())
    }
}

/// One Ethernet; a clone is the same one. It is also the test's end of it: see [`Station`].
#[derive(Debug, Clone)]
pub struct Segment {
    station: Station,
}

impl Deref for Segment {
    type Target = Station;

    fn deref(&self) -> &Station {
        &self.station
    }
}

impl Segment {
    /// Makes the segment; without addresses the test's end of it is silent and deaf.
    pub(crate) fn new(namespace: &Arc<Namespace>, name: &str, addresses: &[&str]) -> Result<Self> {
        let n = namespace.number();
        let mac = format!("02:00:00:00:01:{n:02x}");
        namespace.ip(&format!(
            "link add {name} address {mac} type bridge stp_state 0 forward_delay 0"
        ))?;
        // A bridge that snoops multicast reports its own membership on every segment. A kernel that
        // refuses to be told has no snooping.
        let _ = namespace.ip(&format!("link set {name} type bridge mcast_snooping 0"));
        // A bridge without a port has no carrier, and without it no link-local address and no servers:
        // one port is always up, and nobody is at its other end.
        namespace.ip(&format!("link add keep{n} type veth peer name none{n}"))?;
        for end in ["keep", "none"] {
            namespace.ip(&format!("link set {end}{n} addrgenmode none"))?;
            namespace.ip(&format!("link set {end}{n} up"))?;
        }
        namespace.ip(&format!("link set keep{n} master {name}"))?;
        if addresses.is_empty() {
            namespace.ip(&format!("link set {name} addrgenmode none arp off"))?;
        }
        namespace.ip(&format!("link set {name} up"))?;
        let mut station = Station {
            namespace: Arc::clone(namespace),
            device: name.to_owned(),
            mac,
            addresses: Vec::new(),
        };
        for address in addresses {
            station.add_address(address)?;
        }
        Ok(Self { station })
    }

    /// The test's end of it, to keep.
    pub fn station(&self) -> &Station {
        &self.station
    }

    /// The test's end of it, to give it more addresses.
    pub fn station_mut(&mut self) -> &mut Station {
        &mut self.station
    }

    /// A name for a tap that [`Self::make_tap`] is going to make.
    pub(crate) fn tap_name(&self) -> String {
        format!("tap{}", self.namespace.number())
    }

    /// Makes a tap for a machine's card or a switch's port, and plugs it in.
    pub(crate) fn make_tap(&self, tap: &str) -> Result<()> {
        let name = &self.device;
        self.namespace
            .ip(&format!("tuntap add dev {tap} mode tap"))?;
        self.namespace
            .ip(&format!("link set {tap} addrgenmode none"))?;
        self.namespace
            .ip(&format!("link set {tap} master {name} up"))?;
        Ok(())
    }

    /// Waits until the bridge passes frames from and to a port that has its carrier: it learns of that
    /// a moment after, and what is sent before is lost.
    pub(crate) fn wait_until_it_passes(&self, port: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let show = format!("-details -oneline link show dev {port}");
        while !self.namespace.ip(&show)?.contains("state forwarding") {
            ensure!(
                Instant::now() < deadline,
                "{port} in {} has no carrier",
                self.device
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Another host on the segment, in a namespace of its own with a MAC address of its own: it holds
    /// addresses that are to be found taken, or runs a server that is the wrong one.
    ///
    /// It answers at once, and ends when it is dropped.
    pub fn neighbour(&self, addresses: &[&str]) -> Result<Neighbour> {
        let n = self.namespace.number();
        let own = Namespace::new(self.namespace.folder(), Some(&self.namespace))?;
        let mac = format!("02:00:00:00:02:{n:02x}");
        self.namespace.ip(&format!(
            "link add peer{n} type veth peer name eth0 address {mac} netns {}",
            own.holder()
        ))?;
        self.namespace
            .ip(&format!("link set peer{n} addrgenmode none"))?;
        self.namespace
            .ip(&format!("link set peer{n} master {} up", self.device))?;
        own.ip("link set eth0 up")?;
        self.wait_until_it_passes(&format!("peer{n}"))?;
        let mut station = Station {
            namespace: own,
            device: "eth0".into(),
            mac,
            addresses: Vec::new(),
        };
        for address in addresses {
            station.add_address(address)?;
        }
        Ok(Neighbour {
            station,
            segment: self.clone(),
            plug: format!("peer{n}"),
        })
    }
}

/// Another host on a segment: see [`Segment::neighbour`].
#[derive(Debug)]
pub struct Neighbour {
    station: Station,
    segment: Segment,
    /// The segment's end of its cable.
    plug: String,
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // At once: the kernel takes a namespace apart some time after its last process.
        let _ = self
            .segment
            .namespace
            .ip(&format!("link delete {}", self.plug));
    }
}

impl Neighbour {
    /// Its interface, to give it more addresses.
    pub fn station_mut(&mut self) -> &mut Station {
        &mut self.station
    }
}

impl Deref for Neighbour {
    type Target = Station;

    fn deref(&self) -> &Station {
        &self.station
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Folder, Network, sockets};

    fn network(name: &str) -> Result<(Folder, Network)> {
        let folder = Folder::new(&format!("unit.segment.{name}"))?;
        let network = Network::new(folder.path())?;
        Ok((folder, network))
    }

    /// Asks who has `address`, as a host does that wants it; gives who answers.
    fn arping(from: &Station, address: &str) -> String {
        let mut command = Command::new("/bin/busybox");
        command.args([
            "arping",
            "-c",
            "1",
            "-w",
            "1",
            "-D",
            "-I",
            from.device(),
            address,
        ]);
        // It fails when somebody answers.
        match from.run(&mut command) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        }
    }

    fn ping(from: &Station, to: &str) -> Result<()> {
        from.run(Command::new("/bin/busybox").args(["ping", "-c", "1", "-W", "5", to]))?;
        Ok(())
    }

    #[test]
    fn a_neighbour_holds_its_addresses_with_its_own_mac() -> Result<()> {
        let (_folder, network) = network("neighbour")?;
        let holder = network
            .lan()
            .neighbour(&["192.0.2.7/24", "2001:db8::7/64"])?;
        ping(network.lan(), "192.0.2.7")?;
        let known = network.run(Command::new("ip").args(["neighbour", "show", "192.0.2.7"]))?;
        let known = String::from_utf8(known)?;
        assert!(known.contains(holder.mac()), "{known}");
        drop(holder);
        assert!(ping(network.lan(), "192.0.2.7").is_err());
        Ok(())
    }

    #[test]
    fn segments_do_not_answer_for_each_other() -> Result<()> {
        let (_folder, network) = network("apart")?;
        let other = network.segment("other", &["198.51.100.1/24"])?;
        let guest = other.neighbour(&["192.0.2.9/24"])?;
        assert_eq!(arping(&guest, "192.0.2.1"), "");
        assert_ne!(arping(&guest, "198.51.100.1"), "");
        Ok(())
    }

    #[test]
    fn a_segment_without_addresses_is_only_its_guests() -> Result<()> {
        let (_folder, network) = network("silent")?;
        let wire = network.segment("wire", &[])?;
        let a = wire.neighbour(&["192.0.2.8/24", "2001:db8::8/64"])?;
        let _b = wire.neighbour(&["192.0.2.9/24", "2001:db8::9/64"])?;
        ping(&a, "192.0.2.9")?;
        ping(&a, "2001:db8::9")?;
        let addresses = wire.namespace().ip("-o address show dev wire")?;
        assert_eq!(addresses, "");
        Ok(())
    }

    #[test]
    fn a_swallowed_network_is_silent_but_for_its_hosts() -> Result<()> {
        let (_folder, network) = network("swallow")?;
        let router = network.lan().neighbour(&["192.0.2.2/24"])?;
        router.swallow("10.64.0.0/18")?;
        router.world(&["10.64.17.3"])?;
        network
            .lan()
            .route_through("10.64.0.0/18", "192.0.2.2".parse()?)?;
        let at = "10.64.17.3:22".parse()?;
        let _listener = sockets::listen_tcp(router.namespace(), at)?;
        let connect = |to: &str| {
            let patience = Duration::from_secs(2);
            sockets::connect_tcp(network.namespace(), to.parse()?, patience)
        };
        connect("10.64.17.3:22")?;
        let error = |to| format!("{:#}", connect(to).unwrap_err());
        assert!(error("10.64.17.3:23").contains("refused"));
        // Neither refused nor unreachable: connect(2) gives up while it is still in progress.
        let silent = error("10.64.17.4:22");
        assert!(silent.contains("in progress"), "{silent}");
        Ok(())
    }
}
