//! Addresses on the machine's own links, and the kernel's table of neighbours.
//!
//! The kernel asks by ARP or neighbour discovery who has such an address, and keeps an entry in a
//! table for some seconds, answered or not. When the table is full (`gc_thresh3`, 1024 by default, for
//! all of them together) it drops packets without a word, and a host that is there would be missed:
//! measured in a silent /18 at 500 addresses a second, 5,000 of which were never asked for. So no more than
//! a part of the table is taken at a time; and root gives entries back as soon as they are of no
//! use ([`forget`]).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// An entry without an answer: three questions, a second apart (`mcast_solicit`, `retrans_time`).
const KEPT: Duration = Duration::from_millis(3200);
/// An entry with an answer: the kernel takes it away when it needs room, and it is this old.
const KEPT_ANSWERED: Duration = Duration::from_millis(5200);
/// A neighbour answers within milliseconds; in this time the kernel asks for it twice.
pub(crate) const LONGEST: Duration = Duration::from_millis(1500);
/// `gc_thresh3`, when it cannot be read: it belongs to the machine, not to a network namespace.
const DEFAULT_TABLE: usize = 1024;

/// Which addresses have no gateway before them, and how many of them are being asked for.
#[derive(Debug)]
pub(crate) struct Neighbours {
    routes: Vec<Route>,
    /// Neighbours that were known before: somebody talks to them, or has fixed their entries.
    known: HashSet<IpAddr>,
    /// Connections under way to them.
    active: usize,
    /// When entries go that could not be given back.
    kept: BinaryHeap<Reverse<Instant>>,
    room: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Route {
    v6: bool,
    bits: u128,
    length: u32,
    on_link: bool,
}

impl Neighbours {
    pub(crate) fn here() -> Neighbours {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut routes: Vec<Route> = read("/proc/net/route")
            .lines()
            .filter_map(route_v4)
            .chain(read("/proc/net/ipv6_route").lines().filter_map(route_v6))
            .collect();
        // The longest prefix decides.
        routes.sort_by_key(|route| Reverse(route.length));
        let table = read("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
            .trim()
            .parse()
            .unwrap_or(DEFAULT_TABLE);
        Neighbours {
            routes,
            known: read("/proc/net/arp").lines().filter_map(known).collect(),
            active: 0,
            kept: BinaryHeap::new(),
            // The rest is for whoever else talks to neighbours.
            room: (table / 4 * 3).max(1),
        }
    }

    /// Whether a connection to `address` may begin now.
    pub(crate) fn has_room(&mut self, address: IpAddr, now: Instant) -> bool {
        while self.kept.peek().is_some_and(|until| until.0 <= now) {
            self.kept.pop();
        }
        !self.on_link(address) || self.active + self.kept.len() < self.room
    }

    /// A connection to `address` began. Returns whether it is a neighbour.
    pub(crate) fn began(&mut self, address: IpAddr) -> bool {
        let on_link = self.on_link(address);
        self.active += usize::from(on_link);
        on_link
    }

    /// A connection to a neighbour ended, after so long, with or without an answer.
    pub(crate) fn ended(&mut self, address: IpAddr, answered: bool, took: Duration, now: Instant) {
        if !self.on_link(address) {
            return;
        }
        self.active = self.active.saturating_sub(1);
        if self.known.contains(&address) || !forget(address) {
            let kept = if answered { KEPT_ANSWERED } else { KEPT };
            self.kept.push(Reverse(now + kept.saturating_sub(took)));
        }
    }

    fn on_link(&self, address: IpAddr) -> bool {
        let (v6, bits) = match address {
            IpAddr::V4(v4) => (false, u128::from(v4.to_bits()) << 96),
            IpAddr::V6(v6) => (true, v6.to_bits()),
        };
        self.routes
            .iter()
            .find(|route| {
                route.v6 == v6
                    && (route.length == 0 || (route.bits ^ bits) >> (128 - route.length) == 0)
            })
            .is_some_and(|route| route.on_link)
    }
}

/// A line of `/proc/net/arp`, if there is an answer in it: its flags are not zero.
fn known(line: &str) -> Option<IpAddr> {
    let mut fields = line.split_whitespace();
    let (address, flags) = (fields.next()?, fields.nth(1)?);
    (flags != "0x0").then(|| address.parse().ok()).flatten()
}

/// Takes an address out of the kernel's table, as `arp -d` does. Returns whether it is out: that takes
/// root, and IPv4. Should somebody else talk to that neighbour, the kernel asks again.
fn forget(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => forget_v4(v4).is_ok(),
        IpAddr::V6(_) => false,
    }
}

fn forget_v4(address: Ipv4Addr) -> std::io::Result<()> {
    // Any socket of IPv4 will do.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let wanted = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: arpreq is numbers only, for which zero is a value; sockaddr_in is as long as sockaddr.
    let result = unsafe {
        let mut request: libc::arpreq = std::mem::zeroed();
        request.arp_pa = std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(wanted);
        libc::ioctl(socket.as_raw_fd(), libc::SIOCDARP, &raw const request)
    };
    match result {
        0 => Ok(()),
        _ => match std::io::Error::last_os_error() {
            // There is none.
            error if error.raw_os_error() == Some(libc::ENXIO) => Ok(()),
            error => Err(error),
        },
    }
}

/// A line of `/proc/net/route`: numbers in hexadecimal, addresses in the machine's byte order.
fn route_v4(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
    let (destination, gateway, mask) = (number(1)?, number(2)?, number(7)?);
    Some(Route {
        v6: false,
        bits: u128::from(u32::from_be(destination)) << 96,
        length: mask.count_ones(),
        on_link: gateway == 0 && fields[0] != "lo",
    })
}

/// A line of `/proc/net/ipv6_route`: numbers in hexadecimal, addresses as they are on the wire.
fn route_v6(line: &str) -> Option<Route> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let address = |at: usize| u128::from_str_radix(fields.get(at)?, 16).ok();
    Some(Route {
        v6: true,
        bits: address(0)?,
        length: u32::from_str_radix(fields.get(1)?, 16)
            .ok()
            .filter(|length| *length <= 128)?,
        on_link: address(4)? == 0 && *fields.get(9)? != "lo",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010200C0	0003	0	0	0	00000000	0	0	0
eth0	000200C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
";
    const V6: &str = "\
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001       lo
";

    fn neighbours(room: usize) -> Neighbours {
        let mut routes: Vec<Route> = V4
            .lines()
            .filter_map(route_v4)
            .chain(V6.lines().filter_map(route_v6))
            .collect();
        routes.sort_by_key(|route| Reverse(route.length));
        Neighbours {
            routes,
            known: HashSet::new(),
            active: 0,
            kept: BinaryHeap::new(),
            room,
        }
    }

    #[test]
    fn what_is_behind_a_gateway_is_told_from_neighbours() {
        let neighbours = neighbours(1);
        for (address, on_link) in [
            ("192.0.2.77", true),
            ("192.0.3.1", false),
            ("2001:db8::5", true),
            ("2001:db8:0:1::5", false),
            ("::1", false),
        ] {
            assert_eq!(
                neighbours.on_link(address.parse().unwrap()),
                on_link,
                "{address}"
            );
        }
    }

    #[test]
    fn entries_that_somebody_else_uses_are_told_from_others() {
        let table = "\
IP address       HW type     Flags       HW address            Mask     Device
192.0.2.1        0x1         0x2         02:00:00:00:01:00     *        eth0
192.0.2.2        0x1         0x6         02:00:00:00:01:01     *        eth0
192.0.2.3        0x1         0x0         00:00:00:00:00:00     *        eth0
";
        let known: Vec<_> = table.lines().filter_map(known).collect();
        let expected: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        assert_eq!(known, expected);
    }

    #[test]
    fn the_table_is_not_overrun() {
        let mut neighbours = neighbours(2);
        // Of IPv6, which root cannot give back either.
        let near: IpAddr = "2001:db8::5".parse().unwrap();
        let far = "198.51.100.7".parse().unwrap();
        let now = Instant::now();
        for _ in 0..2 {
            assert!(neighbours.has_room(near, now));
            assert!(neighbours.began(near));
        }
        assert!(!neighbours.has_room(near, now));
        assert!(neighbours.has_room(far, now));
        assert!(!neighbours.began(far));
        neighbours.ended(near, false, Duration::from_secs(2), now);
        neighbours.ended(near, true, Duration::ZERO, now);
        assert!(!neighbours.has_room(near, now + Duration::from_secs(1)));
        assert!(neighbours.has_room(near, now + Duration::from_secs(2)));
        assert_eq!(neighbours.kept.len(), 1);
    }
}
