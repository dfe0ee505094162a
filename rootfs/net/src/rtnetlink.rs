//! Addresses, routes and links of the kernel, by rtnetlink (rtnetlink(7)).
//!
//! Of links only what is to change is sent this way; what they are is read from sysfs ([`crate::links`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    DecodeError, Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, Parseable,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteScope, RouteType,
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use crate::mac::Mac;
use crate::prefix::Prefix;

// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNDUSEROPT: u16 = 68;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
const RTNLGRP_ND_USEROPT: u32 = 20;

/// The kernel gives at most so much at once (`NLMSG_GOODSIZE`, or what was asked for with a dump).
const LARGEST: usize = 64 << 10;

/// Where an address or a route came from. The kernel keeps it with each (IFA_PROTO, rtm_protocol);
/// the numbers are those of routes (`RTPROT_*`, linux/rtnetlink.h) where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel itself: loopback, link-local, routes of prefixes.
    Kernel,
    /// A router's advertisement.
    Router,
    /// A DHCPv4 or DHCPv6 server.
    Dhcp,
    /// `ip=` on the command line.
    CommandLine,
    /// `net up` or `net setup`.
    Operator,
    /// Something else, such as `ip address add`.
    Other,
}

/// Of the range that is free for anybody (above `RTPROT_STATIC` and the routing daemons).
const OPERATOR: u8 = 75;
const DHCP: u8 = 16;
const COMMAND_LINE: u8 = 4;

impl Origin {
    /// In one or two words.
    pub fn words(self) -> &'static str {
        match self {
            Origin::Kernel => "kernel",
            Origin::Router => "router advertisement",
            Origin::Dhcp => "DHCP",
            Origin::CommandLine => "command line",
            Origin::Operator => "net up",
            Origin::Other => "by hand",
        }
    }

    fn number(self) -> u8 {
        match self {
            Origin::Kernel => 2,
            Origin::Router => 9,
            Origin::Dhcp => DHCP,
            Origin::CommandLine => COMMAND_LINE,
            Origin::Operator => OPERATOR,
            Origin::Other => 3,
        }
    }

    fn of_route(number: u8) -> Origin {
        match number {
            2 => Origin::Kernel,
            9 => Origin::Router,
            DHCP => Origin::Dhcp,
            COMMAND_LINE => Origin::CommandLine,
            OPERATOR => Origin::Operator,
            _ => Origin::Other,
        }
    }

    fn of_address(protocol: Option<AddressProtocol>) -> Origin {
        match protocol {
            Some(AddressProtocol::Loopback | AddressProtocol::LinkLocal) => Origin::Kernel,
            Some(AddressProtocol::RouterAnnouncement) => Origin::Router,
            Some(AddressProtocol::Other(number)) if number > 3 => Origin::of_route(number),
            _ => Origin::Other,
        }
    }
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// The address.
    pub prefix: Prefix,
    /// Who gave it.
    pub origin: Origin,
    /// Whether everybody can reach it: not of this machine or link alone.
    pub global: bool,
    /// It is still being checked for duplicates.
    pub tentative: bool,
    /// Somebody else has it.
    pub duplicate: bool,
}

impl Address {
    /// Whether others can reach this machine by it, now.
    pub fn is_usable(&self) -> bool {
        self.global && !self.tentative && !self.duplicate
    }
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; a length of zero is everywhere.
    pub to: Prefix,
    /// By whom; `None` for what is on the link.
    pub gateway: Option<IpAddr>,
    /// By which link, by its number.
    pub link: u32,
    /// The lowest wins.
    pub metric: u32,
    /// Who gave it.
    pub origin: Origin,
    /// The gateway is on the link although no prefix says so.
    pub on_link: bool,
}

impl Route {
    /// The route to everybody.
    pub fn default(gateway: IpAddr, link: u32, metric: u32, origin: Origin) -> Route {
        let any: IpAddr = if gateway.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        Route {
            to: Prefix::new(any, 0).unwrap_or(Prefix::host(any)),
            gateway: Some(gateway),
            link,
            metric,
            origin,
            on_link: false,
        }
    }

    /// Whether it is a route to everybody.
    pub fn is_default(&self) -> bool {
        self.to.length() == 0
    }
}

/// A socket of rtnetlink's.
pub struct Rtnetlink {
    socket: Socket,
    sequence: u32,
}

impl Rtnetlink {
    /// A socket for requests.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open() -> io::Result<Rtnetlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        Ok(Rtnetlink {
            socket,
            sequence: 0,
        })
    }

    fn request(&mut self, flags: u16, request: Request) -> io::Result<Vec<Event>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut buffer = vec![0; message.buffer_len()];
        message.serialize(&mut buffer);
        self.socket
            .send_to(&buffer, &netlink_sys::SocketAddr::new(0, 0), 0)?;
        let mut found = Vec::new();
        loop {
            for (sequence, payload) in receive(self.socket.as_fd())? {
                if sequence != self.sequence {
                    continue;
                }
                match payload {
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(e) if e.code.is_none() => return Ok(found),
                    NetlinkPayload::Error(e) => return Err(e.to_io()),
                    NetlinkPayload::InnerMessage(event) => found.push(event),
                    _ => {}
                }
            }
        }
    }

    /// Every address of every link.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let found = self.request(NLM_F_DUMP, Request::Addresses)?;
        Ok(found
            .into_iter()
            .filter_map(|event| match event {
                Event::NewAddress(message) => address(&message),
                _ => None,
            })
            .collect())
    }

    /// The main table's routes, without those to single addresses of this machine.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn routes(&mut self) -> io::Result<Vec<Route>> {
        let found = self.request(NLM_F_DUMP, Request::Routes)?;
        Ok(found
            .into_iter()
            .filter_map(|event| match event {
                Event::NewRoute(message) => route(&message),
                _ => None,
            })
            .collect())
    }

    /// Gives a link an address, or changes how long it lasts. `lifetime`: seconds for which it is
    /// preferred, and valid; `None` for ever.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_address(
        &mut self,
        link: u32,
        prefix: Prefix,
        peer: Option<IpAddr>,
        origin: Origin,
        lifetime: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let mut message = address_message(link, prefix);
        message
            .attributes
            .push(AddressAttribute::Local(prefix.address));
        message
            .attributes
            .push(AddressAttribute::Address(peer.unwrap_or(prefix.address)));
        if let Some(broadcast) = prefix.broadcast() {
            message
                .attributes
                .push(AddressAttribute::Broadcast(broadcast));
        }
        if let Some((preferred, valid)) = lifetime {
            let mut info = CacheInfo::default();
            (info.ifa_preferred, info.ifa_valid) = (preferred, valid);
            message.attributes.push(AddressAttribute::CacheInfo(info));
        }
        message
            .attributes
            .push(AddressAttribute::Protocol(AddressProtocol::Other(
                origin.number(),
            )));
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.request(flags, Request::NewAddress(message)).map(drop)
    }

    /// Takes an address from a link. That it has none is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_address(&mut self, link: u32, prefix: Prefix) -> io::Result<()> {
        let mut message = address_message(link, prefix);
        message
            .attributes
            .push(AddressAttribute::Local(prefix.address));
        gone(self.request(NLM_F_ACK, Request::RemoveAddress(message)))
    }

    /// Adds a route, or changes the one to the same place with the same metric.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_route(&mut self, route: &Route) -> io::Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.request(flags, Request::NewRoute(route_message(route)))
            .map(drop)
    }

    /// Removes a route. That there is none is no error.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_route(&mut self, route: &Route) -> io::Result<()> {
        gone(self.request(NLM_F_ACK, Request::RemoveRoute(route_message(route))))
    }

    /// Makes a bond or a bridge, which is down.
    ///
    /// # Errors
    /// What the kernel says; not that there is a link of this name already.
    pub fn make_master(&mut self, name: &str, kind: Master) -> io::Result<()> {
        let kind = match kind {
            Master::Bond => InfoKind::Bond,
            Master::Bridge => InfoKind::Bridge,
        };
        self.make(name, vec![LinkInfo::Kind(kind)], None)
    }

    /// Makes a VLAN on a link, which is down.
    ///
    /// # Errors
    /// As of [`Rtnetlink::make_master`].
    pub fn make_vlan(&mut self, name: &str, id: u16, on: u32) -> io::Result<()> {
        let data = InfoData::Vlan(vec![InfoVlan::Id(id)]);
        let info = vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)];
        self.make(name, info, Some(on))
    }

    fn make(&mut self, name: &str, info: Vec<LinkInfo>, on: Option<u32>) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        if let Some(on) = on {
            message.attributes.push(LinkAttribute::Link(on));
        }
        message.attributes.push(LinkAttribute::LinkInfo(info));
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        match self.request(flags, Request::Link(message)) {
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Changes a link.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn change_link(&mut self, link: u32, change: Change) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = link;
        match change {
            Change::Up(up) => {
                message.header.change_mask = LinkFlags::Up;
                if up {
                    message.header.flags = LinkFlags::Up;
                }
            }
            Change::Master(master) => message.attributes.push(LinkAttribute::Controller(master)),
            Change::Mtu(mtu) => message.attributes.push(LinkAttribute::Mtu(mtu)),
            Change::Mac(Mac(mac)) => message.attributes.push(LinkAttribute::Address(mac.into())),
        }
        self.request(NLM_F_ACK, Request::Link(message)).map(drop)
    }
}

/// What can be made of several links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// IEEE 802.1AX, or the kernel's other ways.
    Bond,
    /// IEEE 802.1D.
    Bridge,
}

/// A change of a link.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// Switches it on or off.
    Up(bool),
    /// Puts it under a bond or bridge, by its number.
    Master(u32),
    /// Its largest packet in bytes.
    Mtu(u32),
    /// Its hardware address.
    Mac(Mac),
}

/// That something changed.
pub struct Watch(Socket);

/// What changed.
#[derive(Debug)]
pub enum Changed {
    /// Links, addresses or routes: look again.
    Something,
    /// A router on this link told its DNS servers (RFC 8106), for so many seconds.
    DnsServers {
        /// The link's number.
        link: u32,
        /// The servers.
        servers: Vec<Ipv6Addr>,
        /// 0: no longer.
        lifetime: u32,
    },
}

impl Watch {
    /// A socket that can be read when links, addresses or routes changed.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn open() -> io::Result<Watch> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        for group in [
            RTNLGRP_LINK,
            RTNLGRP_IPV4_IFADDR,
            RTNLGRP_IPV4_ROUTE,
            RTNLGRP_IPV6_IFADDR,
            RTNLGRP_IPV6_ROUTE,
            RTNLGRP_ND_USEROPT,
        ] {
            socket.add_membership(group)?;
        }
        Ok(Watch(socket))
    }

    /// Everything since the last time; empty when there was nothing.
    pub fn take(&self) -> Vec<Changed> {
        let mut changes = Vec::new();
        loop {
            match receive(self.0.as_fd()) {
                Ok(messages) => {
                    changes.extend(messages.into_iter().map(|(_, payload)| match payload {
                        NetlinkPayload::InnerMessage(Event::DnsServers {
                            link,
                            servers,
                            lifetime,
                        }) => Changed::DnsServers {
                            link,
                            servers,
                            lifetime,
                        },
                        _ => Changed::Something,
                    }));
                }
                // More happened than was kept: it is looked at as a whole anyway.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {
                    changes.push(Changed::Something);
                }
                Err(_) => return changes,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// One datagram's messages. A message that makes no sense to the crate is left out: a newer kernel's
/// must not hide the others.
fn receive(socket: BorrowedFd) -> io::Result<Vec<(u32, NetlinkPayload<Event>)>> {
    let mut buffer = vec![0; LARGEST];
    let flags = rustix::net::RecvFlags::empty();
    let length = loop {
        match rustix::net::recv(socket, &mut buffer, flags) {
            Ok((_, length)) => break length,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    };
    let mut rest = buffer.get(..length).unwrap_or(&buffer);
    let mut messages = Vec::new();
    while let Some(header) = rest.get(..16) {
        let size = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(bytes) = rest.get(..size).filter(|_| size >= 16) else {
            break;
        };
        if let Ok(message) = NetlinkMessage::<Event>::deserialize(bytes) {
            messages.push((message.header.sequence_number, message.payload));
        }
        // NLMSG_ALIGN
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(messages)
}

fn gone(result: io::Result<Vec<Event>>) -> io::Result<()> {
    const NOT_THERE: [i32; 3] = [libc::EADDRNOTAVAIL, libc::ESRCH, libc::ENODEV];
    match result {
        Err(e) if e.raw_os_error().is_some_and(|e| NOT_THERE.contains(&e)) => Ok(()),
        result => result.map(drop),
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn address_message(link: u32, prefix: Prefix) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(prefix.address);
    message.header.prefix_len = prefix.length();
    message.header.index = link;
    message
}

fn address(message: &AddressMessage) -> Option<Address> {
    let mut address = None;
    let mut local = None;
    let mut protocol = None;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            // Of a point-to-point link, IFA_ADDRESS is the peer's.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(from) => protocol = Some(*from),
            _ => {}
        }
    }
    Some(Address {
        link: message.header.index,
        prefix: Prefix::new(local.or(address)?, message.header.prefix_len)?,
        origin: Origin::of_address(protocol),
        global: u8::from(message.header.scope) == 0,
        tentative: flags.contains(AddressFlags::Tentative),
        duplicate: flags.contains(AddressFlags::Dadfailed),
    })
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.to.address);
    message.header.destination_prefix_length = route.to.length();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = route.origin.number().into();
    message.header.kind = RouteType::Unicast;
    message.header.scope = if route.gateway.is_none() && route.to.address.is_ipv4() {
        RouteScope::Link
    } else {
        RouteScope::Universe
    };
    if route.on_link {
        message.header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    if !route.is_default() {
        attributes.push(RouteAttribute::Destination(route.to.network().into()));
    }
    if let Some(gateway) = route.gateway {
        attributes.push(RouteAttribute::Gateway(gateway.into()));
    }
    attributes.push(RouteAttribute::Oif(route.link));
    attributes.push(RouteAttribute::Priority(route.metric));
    message
}

fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let any: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = Route {
        to: Prefix::new(any, header.destination_prefix_length)?,
        gateway: None,
        link: 0,
        metric: 0,
        origin: Origin::of_route(header.protocol.into()),
        on_link: header.flags.contains(RouteFlags::Onlink),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.to = Prefix::new(ip(to)?, header.destination_prefix_length)?;
            }
            RouteAttribute::Gateway(gateway) => route.gateway = ip(gateway),
            RouteAttribute::Oif(link) => route.link = *link,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// What is asked of the kernel.
enum Request {
    Addresses,
    NewAddress(AddressMessage),
    RemoveAddress(AddressMessage),
    Routes,
    NewRoute(RouteMessage),
    RemoveRoute(RouteMessage),
    Link(LinkMessage),
}

/// What the kernel says.
enum Event {
    NewAddress(AddressMessage),
    NewRoute(RouteMessage),
    DnsServers {
        link: u32,
        servers: Vec<Ipv6Addr>,
        lifetime: u32,
    },
    /// Something that only its happening matters of.
    Other,
}

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        match self {
            Request::Addresses => RTM_GETADDR,
            Request::NewAddress(_) => RTM_NEWADDR,
            Request::RemoveAddress(_) => RTM_DELADDR,
            Request::Routes => RTM_GETROUTE,
            Request::NewRoute(_) => RTM_NEWROUTE,
            Request::RemoveRoute(_) => RTM_DELROUTE,
            Request::Link(_) => RTM_NEWLINK,
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Request::Addresses => AddressMessage::default().buffer_len(),
            Request::Routes => RouteMessage::default().buffer_len(),
            Request::NewAddress(message) | Request::RemoveAddress(message) => message.buffer_len(),
            Request::NewRoute(message) | Request::RemoveRoute(message) => message.buffer_len(),
            Request::Link(message) => message.buffer_len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Request::Addresses => AddressMessage::default().emit(buffer),
            Request::Routes => RouteMessage::default().emit(buffer),
            Request::NewAddress(message) | Request::RemoveAddress(message) => message.emit(buffer),
            Request::NewRoute(message) | Request::RemoveRoute(message) => message.emit(buffer),
            Request::Link(message) => message.emit(buffer),
        }
    }
}

impl NetlinkDeserializable for Event {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Event, DecodeError> {
        Ok(match header.message_type {
            RTM_NEWADDR => Event::NewAddress(AddressMessage::parse(payload)?),
            RTM_NEWROUTE => Event::NewRoute(RouteMessage::parse(payload)?),
            RTM_NEWNDUSEROPT => dns_servers(payload).unwrap_or(Event::Other),
            _ => Event::Other,
        })
    }
}

/// `struct nduseroptmsg` (linux/rtnetlink.h), then one option of a router advertisement as it came: the
/// kernel has checked where from, not what it says. RFC 8106, section 5.1: type 25, length in units of
/// 8 bytes, 2 bytes reserved, lifetime in seconds, addresses.
fn dns_servers(payload: &[u8]) -> Option<Event> {
    const HEADER: usize = 16;
    const RDNSS: u8 = 25;
    let index = payload.get(4..8)?;
    let link = u32::from_ne_bytes(index.try_into().ok()?);
    let option = payload.get(HEADER..)?;
    let (&kind, &units) = (option.first()?, option.get(1)?);
    let option = option.get(..usize::from(units) * 8)?;
    if kind != RDNSS {
        return None;
    }
    let lifetime = u32::from_be_bytes(option.get(4..8)?.try_into().ok()?);
    let servers = option
        .get(8..)?
        .chunks_exact(16)
        .filter_map(|bytes| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)))
        .collect();
    Some(Event::DnsServers {
        link,
        servers,
        lifetime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_servers_of_a_router_are_read_and_garbage_is_not() {
        let mut payload = vec![10, 0, 24, 0, 3, 0, 0, 0, 134, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([25, 3, 0, 0, 0, 0, 0x0e, 0x10]);
        payload.extend("2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
        let Some(Event::DnsServers {
            link,
            servers,
            lifetime,
        }) = dns_servers(&payload)
        else {
            panic!("not read");
        };
        assert_eq!((link, lifetime, servers.len()), (3, 3600, 1));
        for cut in 0..payload.len() {
            let _ = dns_servers(&payload[..cut]);
        }
        for value in [0, 1, 2, 4, 255] {
            payload[17] = value;
            let _ = dns_servers(&payload);
        }
    }

    #[test]
    fn the_kernel_answers() {
        let mut rtnetlink = Rtnetlink::open().unwrap();
        let addresses = rtnetlink.addresses().unwrap();
        assert!(addresses.iter().any(|a| a.prefix.address.is_loopback()));
        rtnetlink.routes().unwrap();
    }
}
