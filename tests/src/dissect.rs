//! Finds out what a frame is.
//!
//! It looks at what the frame says it is (EtherType, protocol, port), and into the first bytes of the
//! protocols that get a machine its address. It does not reassemble fragments, and checks no sums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::frame::{Frame, Kind, Mac};

impl Frame {
    /// Reads a frame from its destination address on, without its checksum.
    pub fn new(at: Duration, bytes: &[u8]) -> Self {
        let mut source = [0; 6];
        let mut destination = [0; 6];
        let mut vlans = Vec::new();
        let kind = match bytes.split_at_checked(12) {
            Some((addresses, rest)) => {
                destination.copy_from_slice(&addresses[..6]);
                source.copy_from_slice(&addresses[6..]);
                after_addresses(rest, &mut vlans)
            }
            None => None,
        };
        Self {
            at,
            source: Mac(source),
            destination: Mac(destination),
            vlans,
            kind: kind.unwrap_or(Kind::CutShort { what: "Ethernet" }),
            bytes: bytes.to_owned(),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn address4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(four.into())
}

fn address6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let sixteen: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(sixteen.into())
}

/// From the EtherType or the length on.
fn after_addresses(mut rest: &[u8], vlans: &mut Vec<u16>) -> Option<Kind> {
    loop {
        let (ethertype, body) = (word(rest, 0)?, &rest[2..]);
        let (what, kind) = match ethertype {
            // 802.1Q and 802.1ad: priority and VLAN, then again an EtherType.
            0x8100 | 0x88a8 => {
                vlans.push(word(body, 0)? & 0xfff);
                rest = &body[2..];
                continue;
            }
            0..0x600 => ("LLC", body.first().map(|dsap| Kind::Llc { dsap: *dsap })),
            0x0806 => ("ARP", arp(body)),
            0x0800 => ("IPv4", ipv4(body)),
            0x86dd => ("IPv6", ipv6(body)),
            _ => ("", Some(Kind::Ether { ethertype })),
        };
        return Some(kind.unwrap_or(Kind::CutShort { what }));
    }
}

fn arp(body: &[u8]) -> Option<Kind> {
    Some(Kind::Arp {
        request: word(body, 6)? == 1,
        sender: address4(body, 14)?,
        target: address4(body, 24)?,
    })
}

fn ipv4(body: &[u8]) -> Option<Kind> {
    let header = usize::from(body.first()? & 0xf) * 4;
    let (from, to) = (address4(body, 12)?, address4(body, 16)?);
    let fragment = word(body, 6)? & 0x1fff != 0;
    let protocol = *body.get(9)?;
    inside(
        from.into(),
        to.into(),
        protocol,
        fragment,
        body.get(header..)?,
    )
}

fn ipv6(body: &[u8]) -> Option<Kind> {
    let (from, to) = (address6(body, 8)?, address6(body, 24)?);
    let mut next = *body.get(6)?;
    let mut rest = body.get(40..)?;
    let mut fragment = false;
    // Hop-by-hop (MLD has it), routing, destination options: length in 8 bytes, the first not counted.
    loop {
        let length = match next {
            0 | 43 | 60 => 8 + usize::from(*rest.get(1)?) * 8,
            44 => {
                fragment = word(rest, 2)? & 0xfff8 != 0;
                8
            }
            _ => break,
        };
        next = *rest.first()?;
        rest = rest.get(length..)?;
        if fragment {
            break;
        }
    }
    inside(from.into(), to.into(), next, fragment, rest)
}

/// What is inside of IP.
fn inside(from: IpAddr, to: IpAddr, protocol: u8, fragment: bool, rest: &[u8]) -> Option<Kind> {
    match protocol {
        _ if fragment => Some(Kind::Ip { from, to, protocol }),
        1 => Some(Kind::Icmp {
            from,
            to,
            kind: *rest.first()?,
        }),
        2 => Some(Kind::Igmp),
        6 => {
            let (from, to) = ports(from, to, rest)?;
            let flags = *rest.get(13)?;
            Some(if is(&from, &to, 53) {
                let name = String::new();
                Kind::Dns { from, to, name }
            } else {
                let opens = flags & 0x12 == 0x02;
                Kind::Tcp { from, to, opens }
            })
        }
        17 => {
            let (from, to) = ports(from, to, rest)?;
            udp(from, to, rest.get(8..)?)
        }
        58 => icmp6(from, to, rest),
        _ => Some(Kind::Ip { from, to, protocol }),
    }
}

fn ports(from: IpAddr, to: IpAddr, rest: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let ends = [(from, word(rest, 0)?), (to, word(rest, 2)?)];
    let [from, to] = ends.map(SocketAddr::from);
    Some((from, to))
}

fn is(from: &SocketAddr, to: &SocketAddr, port: u16) -> bool {
    from.port() == port || to.port() == port
}

fn udp(from: SocketAddr, to: SocketAddr, data: &[u8]) -> Option<Kind> {
    Some(match (from.port(), to.port()) {
        (68, 67) | (67, 67 | 68) => Kind::Dhcp4 {
            client: from.port() == 68,
            message: dhcp4(data),
        },
        (546, 547) | (547, 546 | 547) => Kind::Dhcp6 {
            client: from.port() == 546,
            message: dhcp6(*data.first()?),
        },
        _ if is(&from, &to, 53) => Kind::Dns {
            from,
            to,
            name: dns_name(data),
        },
        _ if is(&from, &to, 123) => Kind::Ntp { from, to },
        _ => Kind::Udp { from, to },
    })
}

/// The message's type: option 53, behind the fixed part of 236 bytes and the cookie.
fn dhcp4(data: &[u8]) -> &'static str {
    const MESSAGES: [&str; 8] = [
        "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM",
    ];
    let mut options = data.get(240..).unwrap_or_default();
    loop {
        match options {
            [0, rest @ ..] => options = rest,
            [53, 1, kind, ..] => {
                let kind = usize::from(*kind).wrapping_sub(1);
                return MESSAGES.get(kind).unwrap_or(&"of an unknown type");
            }
            [255, ..] => return "BOOTP",
            [_, length, rest @ ..] if rest.len() >= usize::from(*length) => {
                options = &rest[usize::from(*length)..];
            }
            _ => return "BOOTP",
        }
    }
}

fn dhcp6(kind: u8) -> &'static str {
    const MESSAGES: [&str; 11] = [
        "SOLICIT",
        "ADVERTISE",
        "REQUEST",
        "CONFIRM",
        "RENEW",
        "REBIND",
        "REPLY",
        "RELEASE",
        "DECLINE",
        "RECONFIGURE",
        "INFORMATION-REQUEST",
    ];
    let kind = usize::from(kind).wrapping_sub(1);
    MESSAGES.get(kind).unwrap_or(&"of an unknown type")
}

/// The name of the first question (RFC 1035, 4.1.2); it is never compressed.
fn dns_name(data: &[u8]) -> String {
    let mut rest = data.get(12..).unwrap_or_default();
    let mut labels = Vec::new();
    while let [length @ 1..=63, after @ ..] = rest {
        let Some(label) = after.get(..usize::from(*length)) else {
            break;
        };
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = &after[label.len()..];
    }
    labels.join(".")
}

fn icmp6(from: IpAddr, to: IpAddr, rest: &[u8]) -> Option<Kind> {
    Some(match (*rest.first()?, from) {
        (133, _) => Kind::RouterSolicitation,
        (134, _) => Kind::RouterAdvertisement,
        (135, IpAddr::V6(sender)) => Kind::NeighbourSolicitation {
            sender,
            target: address6(rest, 8)?,
        },
        (136, _) => Kind::NeighbourAdvertisement {
            target: address6(rest, 8)?,
        },
        (130..=132 | 143, _) => Kind::Mld,
        (kind, _) => Kind::Icmp { from, to, kind },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capture;

    /// What tcpdump wrote down while a Linux host with udhcpc, nslookup, ping and nc, and a script that
    /// sends an NTP request, met dnsmasq and another Linux.
    fn real() -> Vec<Frame> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dissect.pcap");
        Capture::read(std::path::Path::new(path)).unwrap().frames
    }

    /// A frame with these bytes behind the addresses.
    fn made(rest: &[u8]) -> Frame {
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(rest);
        Frame::new(Duration::ZERO, &bytes)
    }

    #[test]
    fn what_a_host_sends_is_told_as_tcpdump_tells_it() {
        let sent: Vec<_> = real()
            .iter()
            .filter(|frame| frame.source.to_string() == "52:54:00:00:00:00")
            .map(|frame| frame.kind.to_string())
            .collect();
        let wanted = [
            "MLD",
            "MLD",
            "neighbour solicitation: who has fe80::5054:ff:fe00:0? tell ::",
            "MLD",
            "router solicitation",
            "neighbour advertisement: fe80::5054:ff:fe00:0 is here",
            "neighbour solicitation: who has 2001:db8::5054:ff:fe00:0? tell ::",
            "MLD",
            "DHCPv4 client DISCOVER",
            "DHCPv4 client REQUEST",
            "ARP: who has 192.0.2.1? tell 192.0.2.155",
            "DNS from 192.0.2.155:50445 to 192.0.2.1:53: \"news.example\"",
            "DNS from 192.0.2.155:50445 to 192.0.2.1:53: \"news.example\"",
            "neighbour solicitation: who has 2001:db8::1? tell 2001:db8::5054:ff:fe00:0",
            "DNS from [2001:db8::5054:ff:fe00:0]:58254 to [2001:db8::1]:53: \"news.example\"",
            "DNS from [2001:db8::5054:ff:fe00:0]:58254 to [2001:db8::1]:53: \"news.example\"",
            "ICMP type 8 from 192.0.2.155 to 192.0.2.1",
            "ICMP type 128 from 2001:db8::5054:ff:fe00:0 to 2001:db8::1",
            // What is left of pings with 2000 bytes.
            "IP protocol 1 from 192.0.2.155 to 192.0.2.1",
            "IP protocol 58 from 2001:db8::5054:ff:fe00:0 to 2001:db8::1",
            "TCP connection from 192.0.2.155:53254 to 192.0.2.1:22",
            "NTP from 192.0.2.155:58509 to 192.0.2.1:123",
        ];
        assert_eq!(sent, wanted);
    }

    #[test]
    fn what_servers_send_is_known_too() {
        let kinds: Vec<_> = real()
            .iter()
            .filter(|frame| frame.source.to_string() == "02:00:00:00:01:00")
            .map(|frame| frame.kind.to_string())
            .collect();
        for wanted in [
            "router advertisement",
            "DHCPv4 server OFFER",
            "DHCPv4 server ACK",
            "ARP: 192.0.2.1 is here",
            // The answer of a closed port is no connection.
            "TCP from 192.0.2.1:22 to 192.0.2.155:53254",
        ] {
            assert!(
                kinds.iter().any(|kind| kind == wanted),
                "{wanted}: {kinds:#?}"
            );
        }
    }

    #[test]
    fn tags_are_read_from_the_outermost_on() {
        let frame = made(b"\x88\xa8\x00\x0a\x81\x00\xe0\x14\x88\xcc\x02");
        assert_eq!(frame.vlans, [10, 20]);
        assert_eq!(frame.kind, Kind::Ether { ethertype: 0x88cc });
        assert!(
            frame
                .to_string()
                .contains("VLAN 10 VLAN 20 EtherType 0x88cc")
        );
    }

    #[test]
    fn lengths_are_not_ethertypes() {
        assert_eq!(made(b"\0\x26\x42\x42\x03").kind, Kind::Llc { dsap: 0x42 });
    }

    #[test]
    fn dhcp6_is_told_by_its_ports() {
        let mut packet = b"\x86\xdd\x60\0\0\0\0\x0c\x11\x01".to_vec();
        packet.extend([0xfe; 32]);
        packet.extend(b"\x02\x22\x02\x23\0\x0c\0\0\x01abc");
        let message = "SOLICIT";
        let client = true;
        assert_eq!(made(&packet).kind, Kind::Dhcp6 { client, message });
    }

    #[test]
    fn igmp_is_told_by_its_protocol() {
        let mut packet = b"\x08\0\x46\xc0\0\x28\0\0\0\0\x01\x02\0\0".to_vec();
        packet.extend(b"\xc0\0\x02\x07\xe0\0\0\x16\x94\x04\0\0\x22\0");
        assert_eq!(made(&packet).kind, Kind::Igmp);
    }

    #[test]
    fn a_frame_that_ends_anywhere_is_no_trouble() {
        let mut cut = 0;
        for frame in real() {
            for length in 0..frame.bytes.len() {
                let kind = Frame::new(frame.at, &frame.bytes[..length]).kind;
                cut += usize::from(matches!(kind, Kind::CutShort { .. }));
            }
        }
        assert!(cut > 1000, "{cut}");
    }
}
