//! Who has an address on a link: ARP (RFC 826, RFC 5227) and neighbour solicitation (RFC 4861).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::links::Link;
use crate::mac::{BROADCAST, Mac};
use crate::packet::{ETH_P_ARP, ETH_P_IPV6, PacketSocket};

/// How often is asked, and how long is waited for an answer each time. RFC 5227 has three probes, one to
/// two seconds apart; who waits for an address waits for these, and a neighbour answers in milliseconds.
const TRIES: u32 = 3;
const WAIT: Duration = Duration::from_millis(400);

/// Asks a link who has `target`. `source` is this machine's address there; without one the question is a
/// probe, which no neighbour keeps in mind.
///
/// # Errors
/// When no frame can be sent or received on the link.
pub fn who_has(link: &Link, target: IpAddr, source: Option<IpAddr>) -> io::Result<Option<Mac>> {
    let (protocol, frame) = match (target, source) {
        (IpAddr::V4(target), source) => {
            let source = match source {
                Some(IpAddr::V4(source)) => source,
                _ => Ipv4Addr::UNSPECIFIED,
            };
            (ETH_P_ARP, arp_request(link.mac, source, target))
        }
        (IpAddr::V6(target), source) => {
            let source = match source {
                Some(IpAddr::V6(source)) => source,
                _ => Ipv6Addr::UNSPECIFIED,
            };
            (ETH_P_IPV6, solicitation(link.mac, source, target))
        }
    };
    let socket = PacketSocket::open(link.index, protocol)?;
    for _ in 0..TRIES {
        socket.send(&frame)?;
        let deadline = Instant::now() + WAIT;
        while let Some(frame) = socket.receive(deadline)? {
            let holder = match target {
                IpAddr::V4(target) => arp_holder(&frame, target, source.is_none()),
                IpAddr::V6(target) => advertised(&frame, target),
            };
            // Our own question comes back to us as well.
            if let Some(mac) = holder.filter(|&mac| mac != link.mac && mac.is_a_links()) {
                return Ok(Some(mac));
            }
        }
    }
    Ok(None)
}

fn arp_request(mac: Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(BROADCAST.0);
    frame.extend(mac.0);
    frame.extend(ETH_P_ARP.to_be_bytes());
    // Ethernet, IPv4, six and four bytes of address, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// Who says in this frame that it has `target`; when we probe, a probe of somebody else's for the same
/// address counts too (RFC 5227, section 2.1.1).
fn arp_holder(frame: &[u8], target: Ipv4Addr, probing: bool) -> Option<Mac> {
    let arp = frame.get(14..42)?;
    if arp[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let sender = Mac(arp[8..14].try_into().ok()?);
    let address = |at: usize| {
        Some(Ipv4Addr::from(
            <[u8; 4]>::try_from(arp.get(at..at + 4)?).ok()?,
        ))
    };
    let has = address(14)? == target;
    let probes = probing && address(14)?.is_unspecified() && address(24)? == target;
    (has || probes).then_some(sender)
}

/// The group of those whose addresses end alike (RFC 4291, section 2.7.1).
fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let low = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low)
}

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// RFC 4861, section 4.3. From the unspecified address it is duplicate address detection, and carries no
/// link-layer address (RFC 4862, section 5.4.2).
fn solicitation(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let group = solicited_node(target);
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !source.is_unspecified() {
        message.extend([1, 1]);
        message.extend(mac.0);
    }
    let sum = checksum(source, group, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let [.., a, b, c, d] = group.octets();
    let mut frame = vec![0x33, 0x33, a, b, c, d];
    frame.extend(mac.0);
    frame.extend(ETH_P_IPV6.to_be_bytes());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(group.octets());
    frame.extend(message);
    frame
}

/// Who advertises `target` in this frame (RFC 4861, sections 4.4 and 7.1.2).
fn advertised(frame: &[u8], target: Ipv6Addr) -> Option<Mac> {
    let sender = Mac(frame.get(6..12)?.try_into().ok()?);
    let packet = frame.get(14..)?;
    let message = packet.get(40..)?;
    // From this very link: the hop limit is untouched.
    if packet[6] != ICMPV6 || packet[7] != 255 || *message.first()? != ADVERTISEMENT {
        return None;
    }
    if message.get(8..24)? != target.octets() {
        return None;
    }
    let mut options = message.get(24..)?;
    while let [kind, units, ..] = *options {
        let option = options.get(..usize::from(units) * 8)?;
        if kind == 2 && units == 1 {
            return Some(Mac(option.get(2..8)?.try_into().ok()?));
        }
        // A length of zero is hostile: it would never end.
        options = options.get(option.len().max(8)..)?;
    }
    Some(sender)
}

/// RFC 1071, with the pseudo-header of RFC 8200, section 8.1.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let mut sum = u32::from(ICMPV6) + message.len() as u32;
    let words = [&source.octets()[..], &destination.octets(), message];
    for pair in words.into_iter().flat_map(|bytes| bytes.chunks(2)) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn arp_reply(of: Ipv4Addr) -> Vec<u8> {
        let mut frame = arp_request(THEIRS, of, Ipv4Addr::new(192, 0, 2, 7));
        frame[21] = 2;
        frame
    }

    #[test]
    fn an_arp_answer_names_the_holder_and_other_frames_do_not() {
        let target = Ipv4Addr::new(192, 0, 2, 7);
        let other = Ipv4Addr::new(192, 0, 2, 8);
        assert_eq!(arp_holder(&arp_reply(target), target, true), Some(THEIRS));
        assert_eq!(arp_holder(&arp_reply(other), target, true), None);
        let probe = arp_request(THEIRS, Ipv4Addr::UNSPECIFIED, target);
        assert_eq!(arp_holder(&probe, target, true), Some(THEIRS));
        assert_eq!(arp_holder(&probe, target, false), None);
        for cut in 0..42 {
            assert_eq!(arp_holder(&arp_reply(target)[..cut], target, true), None);
        }
    }

    fn advertisement(target: Ipv6Addr, option: &[u8]) -> Vec<u8> {
        let mut frame = solicitation(THEIRS, Ipv6Addr::UNSPECIFIED, target);
        frame[54] = ADVERTISEMENT;
        frame.extend(option);
        frame
    }

    #[test]
    fn a_neighbour_advertisement_names_the_holder() {
        let target = "2001:db8::7".parse().unwrap();
        let mac = [2, 1, 2, 0, 0, 0, 0, 8];
        assert_eq!(
            advertised(&advertisement(target, &mac), target),
            Some(Mac([2, 0, 0, 0, 0, 8]))
        );
        assert_eq!(
            advertised(&advertisement(target, &[]), target),
            Some(THEIRS)
        );
        let other = "2001:db8::8".parse().unwrap();
        assert_eq!(advertised(&advertisement(other, &mac), target), None);
        let mut far = advertisement(target, &mac);
        far[21] = 64;
        assert_eq!(advertised(&far, target), None);
        for option in [
            &[0, 0][..],
            &[2, 0, 1],
            &[9, 255],
            &[1, 0, 0, 0, 0, 0, 0, 0, 2, 1],
        ] {
            let frame = advertisement(target, option);
            for cut in 0..=frame.len() {
                let _ = advertised(&frame[..cut], target);
            }
        }
    }

    #[test]
    fn a_solicitation_has_the_checksum_of_rfc_8200() {
        let target = "fe80::1".parse().unwrap();
        let frame = solicitation(OURS, Ipv6Addr::UNSPECIFIED, target);
        assert_eq!(frame.len(), 14 + 40 + 24);
        // A message with its right checksum sums up to zero.
        let group = solicited_node(target);
        assert_eq!(checksum(Ipv6Addr::UNSPECIFIED, group, &frame[54..]), 0);
        assert_eq!(group, "ff02::1:ff00:1".parse::<Ipv6Addr>().unwrap());
    }
}
