//! One Ethernet frame, told in words: who sent what to whom.
//!
//! What it is, is found out in `dissect`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(to, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// ARP (RFC 826); a probe (RFC 5227) is from 0.0.0.0.
    Arp {
        /// Whether it asks.
        request: bool,
        /// Who speaks.
        sender: Ipv4Addr,
        /// Who is asked for.
        target: Ipv4Addr,
    },
    /// DHCPv4: "DISCOVER", "REQUEST" … (RFC 2132, option 53).
    Dhcp4 {
        /// From a client, and not from a server.
        client: bool,
        /// The message's type.
        message: &'static str,
    },
    /// DHCPv6: "SOLICIT", "REQUEST" … (RFC 8415, 7.3).
    Dhcp6 {
        /// From a client, and not from a server.
        client: bool,
        /// The message's type.
        message: &'static str,
    },
    /// "Is there a router?" (RFC 4861).
    RouterSolicitation,
    /// A router speaks.
    RouterAdvertisement,
    /// "Who has this address?"; duplicate address detection is from `::`.
    NeighbourSolicitation {
        /// Who asks.
        sender: Ipv6Addr,
        /// Who is asked for.
        target: Ipv6Addr,
    },
    /// "I have this address."
    NeighbourAdvertisement {
        /// Which.
        target: Ipv6Addr,
    },
    /// Multicast listener discovery (RFC 2710, RFC 3810).
    Mld,
    /// Its like of IPv4.
    Igmp,
    /// Any other message of ICMP or ICMPv6.
    Icmp {
        /// Who speaks.
        from: IpAddr,
        /// To whom.
        to: IpAddr,
        /// The message's type.
        kind: u8,
    },
    /// DNS over UDP or TCP, to or from port 53.
    Dns {
        /// Who speaks.
        from: SocketAddr,
        /// To whom.
        to: SocketAddr,
        /// The first name that is asked for; empty over TCP.
        name: String,
    },
    /// NTP, to or from port 123.
    Ntp {
        /// Who speaks.
        from: SocketAddr,
        /// To whom.
        to: SocketAddr,
    },
    /// Any other TCP.
    Tcp {
        /// Who speaks.
        from: SocketAddr,
        /// To whom.
        to: SocketAddr,
        /// Whether it opens a connection: SYN without ACK.
        opens: bool,
    },
    /// Any other UDP.
    Udp {
        /// Who speaks.
        from: SocketAddr,
        /// To whom.
        to: SocketAddr,
    },
    /// IP of any other protocol, and fragments that are not the first.
    Ip {
        /// Who speaks.
        from: IpAddr,
        /// To whom.
        to: IpAddr,
        /// The protocol's number.
        protocol: u8,
    },
    /// IEEE 802.3 with LLC: spanning tree and such; `dsap` is the destination's service.
    Llc {
        /// Destination service access point.
        dsap: u8,
    },
    /// Any other EtherType (LLDP is 0x88cc).
    Ether {
        /// Which.
        ethertype: u16,
    },
    /// A header that ends too early.
    CutShort {
        /// Of what.
        what: &'static str,
    },
}

impl Kind {
    /// The four messages by which IPv6 hosts find each other and routers.
    pub fn is_neighbour_discovery(&self) -> bool {
        matches!(
            self,
            Self::RouterSolicitation
                | Self::RouterAdvertisement
                | Self::NeighbourSolicitation { .. }
                | Self::NeighbourAdvertisement { .. }
        )
    }

    /// Whether it is an ARP request for `target`.
    pub fn asks_for4(&self, target: Ipv4Addr) -> bool {
        matches!(self, Self::Arp { request: true, target: asked, .. } if *asked == target)
    }

    /// Whether it is a neighbour solicitation for `target`.
    pub fn asks_for6(&self, target: Ipv6Addr) -> bool {
        matches!(self, Self::NeighbourSolicitation { target: asked, .. } if *asked == target)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = |client: bool| if client { "client" } else { "server" };
        match self {
            Self::Arp {
                request: true,
                sender,
                target,
            } => write!(to, "ARP: who has {target}? tell {sender}"),
            Self::Arp { sender, .. } => write!(to, "ARP: {sender} is here"),
            Self::Dhcp4 { client, message } => write!(to, "DHCPv4 {} {message}", who(*client)),
            Self::Dhcp6 { client, message } => write!(to, "DHCPv6 {} {message}", who(*client)),
            Self::RouterSolicitation => write!(to, "router solicitation"),
            Self::RouterAdvertisement => write!(to, "router advertisement"),
            Self::NeighbourSolicitation { sender, target } => {
                write!(
                    to,
                    "neighbour solicitation: who has {target}? tell {sender}"
                )
            }
            Self::NeighbourAdvertisement { target } => {
                write!(to, "neighbour advertisement: {target} is here")
            }
            Self::Mld => write!(to, "MLD"),
            Self::Igmp => write!(to, "IGMP"),
            Self::Icmp { from, to: at, kind } => write!(to, "ICMP type {kind} from {from} to {at}"),
            Self::Dns { from, to: at, name } => write!(to, "DNS from {from} to {at}: {name:?}"),
            Self::Ntp { from, to: at } => write!(to, "NTP from {from} to {at}"),
            Self::Tcp {
                from,
                to: at,
                opens,
            } => {
                let what = if *opens { "TCP connection" } else { "TCP" };
                write!(to, "{what} from {from} to {at}")
            }
            Self::Udp { from, to: at } => write!(to, "UDP from {from} to {at}"),
            Self::Ip {
                from,
                to: at,
                protocol,
            } => write!(to, "IP protocol {protocol} from {from} to {at}"),
            Self::Llc { dsap } => write!(to, "LLC for service {dsap:#04x}"),
            Self::Ether { ethertype } => write!(to, "EtherType {ethertype:#06x}"),
            Self::CutShort { what } => write!(to, "{what} that ends too early"),
        }
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it passed; in QEMU's captures, of the machine's own clock.
    pub at: Duration,
    /// Who sent it.
    pub source: Mac,
    /// To whom.
    pub destination: Mac,
    /// The VLANs it is tagged with, the outermost first.
    pub vlans: Vec<u16>,
    /// What it is.
    pub kind: Kind,
    /// All of it.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Frame {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} > {} ", self.source, self.destination)?;
        for vlan in &self.vlans {
            write!(to, "VLAN {vlan} ")?;
        }
        write!(to, "{}", self.kind)
    }
}
