//! An address with the length of its prefix, and what follows from it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An interface address: `192.0.2.7/24`, `2001:db8::7/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// The whole address, host part included.
    pub address: IpAddr,
    length: u8,
}

impl Prefix {
    /// `None` when the family has not so many bits.
    pub fn new(address: IpAddr, length: u8) -> Option<Prefix> {
        (length <= bits(address)).then_some(Prefix { address, length })
    }

    /// The address by itself: /32 or /128.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix {
            address,
            length: bits(address),
        }
    }

    /// Bits of the prefix.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether the prefix is the whole address, so that nobody else is on the link by it.
    pub fn is_host(&self) -> bool {
        self.length == bits(self.address)
    }

    /// Whether `other` has the same prefix.
    pub fn contains(&self, other: IpAddr) -> bool {
        same_family(self.address, other)
            && masked(self.address, self.length) == masked(other, self.length)
    }

    /// The prefix with a host part of zero.
    pub fn network(&self) -> IpAddr {
        masked(self.address, self.length)
    }

    /// The IPv4 address of everybody in the prefix; there is none in /31 (RFC 3021) and /32.
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        match self.network() {
            IpAddr::V4(network) if self.length < 31 => {
                Some(Ipv4Addr::from(u32::from(network) | u32::MAX >> self.length))
            }
            _ => None,
        }
    }
}

impl FromStr for Prefix {
    type Err = ();

    /// An address and, after a slash, a length or a netmask.
    fn from_str(text: &str) -> Result<Prefix, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let address: IpAddr = unbracketed(address).parse().map_err(|_| ())?;
        Prefix::new(address, length_or_netmask(length, address).ok_or(())?).ok_or(())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// `[::1]` without the brackets.
pub(crate) fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text)
}

/// A prefix length (`24`), or for IPv4 a netmask (`255.255.255.0`).
pub(crate) fn length_or_netmask(text: &str, family: IpAddr) -> Option<u8> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|&length| length <= bits(family));
    }
    if family.is_ipv6() {
        return None;
    }
    let mask = u32::from(text.parse::<Ipv4Addr>().ok()?);
    let length = mask.leading_ones();
    // Ones, then zeros, and nothing else.
    (mask.count_ones() == length).then_some(length as u8)
}

/// How many bits an address of this family has.
pub(crate) fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

pub(crate) fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}

/// The first `length` bits of an address, the others zero.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            Ipv4Addr::from(u32::from(v4) & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Ipv6Addr::from(u128::from(v6) & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn lengths_and_netmasks() {
        let v4 = ip("192.0.2.1");
        for (text, length) in [
            ("24", Some(24)),
            ("0", Some(0)),
            ("32", Some(32)),
            ("33", None),
            ("255.255.255.0", Some(24)),
            ("255.255.255.255", Some(32)),
            ("0.0.0.0", Some(0)),
            ("255.0.255.0", None),
            ("0.0.0.255", None),
            ("", None),
            ("-1", None),
            ("+24", None),
            ("999999999999", None),
        ] {
            assert_eq!(length_or_netmask(text, v4), length, "{text}");
        }
        assert_eq!(length_or_netmask("64", ip("::1")), Some(64));
        assert_eq!(length_or_netmask("129", ip("::1")), None);
        assert_eq!(length_or_netmask("255.255.255.0", ip("::1")), None);
    }

    #[test]
    fn what_follows_from_a_prefix() {
        let prefix: Prefix = "192.0.2.7/24".parse().unwrap();
        assert!(prefix.contains(ip("192.0.2.255")) && !prefix.contains(ip("192.0.3.1")));
        assert!(!prefix.contains(ip("::1")));
        assert_eq!(prefix.network(), ip("192.0.2.0"));
        assert_eq!(prefix.broadcast(), Some(Ipv4Addr::new(192, 0, 2, 255)));
        let whole: Prefix = "[2001:db8::7]/0".parse().unwrap();
        assert!(whole.contains(ip("fe80::1")));
        assert_eq!(whole.broadcast(), None);
        let host = Prefix::host(ip("192.0.2.7"));
        assert!(host.is_host() && host.broadcast().is_none() && !host.contains(ip("192.0.2.8")));
        let any: Prefix = "0.0.0.0/0".parse().unwrap();
        assert_eq!(any.broadcast(), Some(Ipv4Addr::BROADCAST));
    }
}
