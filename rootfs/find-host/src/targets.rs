//! Which addresses: networks, and the order in which they are tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest prefix that an IPv6 network may be short of: 65,536 addresses.
const SHORTEST_IPV6: u32 = 112;

/// Why an argument names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither an address nor a network.
    #[error("'{0}' is no address and no network, such as 192.0.2.0/24")]
    NoNetwork(String),
    /// The bits after the prefix are not zero.
    #[error("'{given}' has bits after its prefix; is {meant} meant?")]
    HostBits {
        /// What was given.
        given: String,
        /// The network that it is in.
        meant: String,
    },
    /// More addresses than anybody can try.
    #[error(
        "'{0}' has too many addresses to try; IPv6 networks may be /112 or longer, or give a list \
         of addresses"
    )]
    TooLarge(String),
}

/// Addresses that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    v6: bool,
    first: u128,
    last: u128,
}

impl Range {
    fn parse(text: &str) -> Result<Range, Error> {
        let no_network = || Error::NoNetwork(text.escape_debug().to_string());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| no_network())?;
        let (v6, bits, first) = match address {
            IpAddr::V4(v4) => (false, 32, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (true, 128, v6.to_bits()),
        };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| no_network())?
            }
            Some(_) => return Err(no_network()),
        };
        if prefix > bits {
            return Err(no_network());
        }
        if v6 && prefix < SHORTEST_IPV6 {
            return Err(Error::TooLarge(text.into()));
        }
        let hosts = (1u128 << (bits - prefix)) - 1;
        if first & hosts != 0 {
            let network = Range {
                v6,
                first: first & !hosts,
                last: first,
            };
            return Err(Error::HostBits {
                given: text.into(),
                meant: format!("{}/{prefix}", network.address(0)),
            });
        }
        Ok(Range {
            v6,
            first,
            last: first + hosts,
        })
    }

    fn count(&self) -> u64 {
        (self.last - self.first + 1) as u64
    }

    fn address(&self, index: u64) -> IpAddr {
        let bits = self.first + u128::from(index);
        if self.v6 {
            Ipv6Addr::from_bits(bits).into()
        } else {
            Ipv4Addr::from_bits(bits as u32).into()
        }
    }
}

/// A set of addresses, each of them once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    ranges: Vec<Range>,
    count: u64,
}

impl Targets {
    /// From addresses and networks in CIDR notation, which may overlap.
    ///
    /// # Errors
    /// The first argument that is none, or too large.
    pub fn parse<'a>(networks: impl Iterator<Item = &'a str>) -> Result<Targets, Error> {
        let mut ranges = networks.map(Range::parse).collect::<Result<Vec<_>, _>>()?;
        ranges.sort();
        let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(before) if before.v6 == range.v6 && range.first <= before.last => {
                    before.last = before.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        let count = merged.iter().map(Range::count).sum();
        Ok(Targets {
            ranges: merged,
            count,
        })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The address of that number, counted from 0.
    fn address(&self, mut index: u64) -> Option<IpAddr> {
        for range in &self.ranges {
            if index < range.count() {
                return Some(range.address(index));
            }
            index -= range.count();
        }
        None
    }

    /// All of them, in an order that `seed` decides. It takes no memory per address.
    pub fn shuffled(&self, seed: u64) -> impl Iterator<Item = IpAddr> + '_ {
        Shuffle::new(self.count, seed).filter_map(|index| self.address(index))
    }
}

/// The numbers below a count in an order that looks random: a Feistel network is a permutation
/// of the numbers of an even count of bits, whatever its round function; those that are not below
/// the count are skipped.
#[derive(Debug)]
struct Shuffle {
    count: u64,
    half: u32,
    keys: [u64; 4],
    next: u64,
}

impl Shuffle {
    fn new(count: u64, seed: u64) -> Shuffle {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        let mut state = seed;
        Shuffle {
            count,
            half: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                mix(state)
            }),
            next: 0,
        }
    }

    fn permuted(&self, number: u64) -> u64 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix(right ^ key) & mask));
        }
        left << self.half | right
    }
}

impl Iterator for Shuffle {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.next < 1 << (2 * self.half) {
            let number = self.permuted(self.next);
            self.next += 1;
            if number < self.count {
                return Some(number);
            }
        }
        None
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit in decides about every bit out.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn targets(networks: &[&str]) -> Targets {
        Targets::parse(networks.iter().copied()).unwrap()
    }

    #[test]
    fn every_address_is_tried_once() {
        for networks in [
            &["192.0.2.1"][..],
            &["10.0.0.0/18"],
            &["10.0.0.0/23", "10.0.1.0/24", "10.0.1.7", "10.0.2.0/31"],
            &["2001:db8::/116", "2001:db8::1", "0.0.0.1"],
        ] {
            let targets = targets(networks);
            let tried: Vec<_> = targets.shuffled(7).collect();
            assert_eq!(tried.len() as u64, targets.count(), "{networks:?}");
            let once: HashSet<_> = tried.iter().collect();
            assert_eq!(once.len(), tried.len(), "{networks:?}");
        }
        assert_eq!(
            targets(&["10.0.0.0/23", "10.0.1.0/24", "10.0.2.0/31"]).count(),
            514
        );
        assert_eq!(targets(&["0.0.0.0/0"]).count(), 1 << 32);
        let last = Ipv4Addr::BROADCAST.into();
        assert_eq!(targets(&["0.0.0.0/0"]).address((1 << 32) - 1), Some(last));
    }

    #[test]
    fn the_order_is_another_each_time_and_not_that_of_the_addresses() {
        let targets = targets(&["10.0.0.0/18"]);
        let first: Vec<_> = targets.shuffled(1).collect();
        assert_ne!(first, targets.shuffled(2).collect::<Vec<_>>());
        // In a random order, half of the neighbours go up, and hardly any are one apart.
        let apart = |two: &[IpAddr]| match (two[0], two[1]) {
            (IpAddr::V4(a), IpAddr::V4(b)) => i64::from(b.to_bits()) - i64::from(a.to_bits()),
            _ => 0,
        };
        let up = first.windows(2).filter(|two| apart(two) > 0).count();
        let close = first.windows(2).filter(|two| apart(two).abs() < 16).count();
        assert!((7000..9400).contains(&up), "{up}");
        assert!(close < 200, "{close}");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let error = |text: &str| Targets::parse([text].into_iter()).unwrap_err();
        for text in [
            "",
            "/",
            "a/24",
            "192.0.2.0/",
            "192.0.2.0/33",
            "192.0.2.0/-1",
            "192.0.2.0/+8",
            "192.0.2.0/0x18",
            "192.0.2.0/999999999999",
            "192.0.2",
            "2001:db8::/129",
            "1.2.3.4/8/8",
        ] {
            assert!(matches!(error(text), Error::NoNetwork(_)), "{text}");
        }
        assert_eq!(
            error("192.0.2.7/24").to_string(),
            "'192.0.2.7/24' has bits after its prefix; is 192.0.2.0/24 meant?"
        );
        assert!(matches!(error("2001:db8::/64"), Error::TooLarge(_)));
        assert!(matches!(error("::/0"), Error::TooLarge(_)));
    }
}
