//! Addresses on the machine's own links, and the kernel's table of neighbours.
//!
//! The kernel asks by ARP or neighbour discovery who has such an address, and keeps an entry in a
//! table for at least three seconds, answered or not. When the table is full (`gc_thresh3`, 1024 by
//! default, for all of them together) it drops packets without a word, and a host that is there would
//! be missed. So no more than a part of the table is asked for at a time.

use std::collections::VecDeque;
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// An entry without an answer: three questions, a second apart (`mcast_solicit`, `retrans_time`).
const KEPT: Duration = Duration::from_millis(3200);
/// `gc_thresh3`, when it cannot be read: it belongs to the machine, not to a network namespace.
const DEFAULT_TABLE: usize = 1024;

/// Which addresses have no gateway before them, and how many of them are being asked for.
#[derive(Debug)]
pub(crate) struct Neighbours {
    routes: Vec<Route>,
    asked: VecDeque<Instant>,
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
        routes.sort_by_key(|route| std::cmp::Reverse(route.length));
        let table = read("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
            .trim()
            .parse()
            .unwrap_or(DEFAULT_TABLE);
        Neighbours {
            routes,
            asked: VecDeque::new(),
            // The rest is for whoever else talks to neighbours.
            room: (table / 4 * 3).max(1),
        }
    }

    /// Whether a connection to `address` may begin now. It counts when it may.
    pub(crate) fn admit(&mut self, address: IpAddr, now: Instant) -> bool {
        if !self.on_link(address) {
            return true;
        }
        while self.asked.front().is_some_and(|since| now - *since > KEPT) {
            self.asked.pop_front();
        }
        let room = self.asked.len() < self.room;
        if room {
            self.asked.push_back(now);
        }
        room
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
        routes.sort_by_key(|route| std::cmp::Reverse(route.length));
        Neighbours {
            routes,
            asked: VecDeque::new(),
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
    fn the_table_is_not_overrun() {
        let mut neighbours = neighbours(2);
        let (near, far) = (
            "192.0.2.7".parse().unwrap(),
            "198.51.100.7".parse().unwrap(),
        );
        let now = Instant::now();
        assert!(neighbours.admit(near, now));
        assert!(neighbours.admit(near, now));
        assert!(!neighbours.admit(near, now));
        assert!(neighbours.admit(far, now));
        let later = now + KEPT + Duration::from_millis(1);
        assert!(neighbours.admit(near, later));
    }
}
