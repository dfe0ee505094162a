//! What is odd about an address and its gateway, and which typing error it most likely is.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::ip::Fixed;
use crate::prefix::Prefix;

/// One remark about a fixed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// It cannot work: refused, unless the operator insists.
    pub fatal: bool,
    /// What is wrong, and what was probably meant.
    pub text: String,
}

fn fatal(text: String) -> Advice {
    Advice { fatal: true, text }
}

fn odd(text: String) -> Advice {
    Advice { fatal: false, text }
}

/// Looks at an address before it is used. Nothing is sent.
pub fn advise(fixed: &Fixed) -> Vec<Advice> {
    let prefix = fixed.address;
    let mut all = Vec::new();
    if let Some(text) = no_hosts(prefix) {
        all.push(fatal(text));
    }
    if let Some(gateway) = fixed.gateway {
        all.extend(about_gateway(prefix, gateway));
    }
    all
}

/// Why the address can be no host's.
fn no_hosts(prefix: Prefix) -> Option<String> {
    let address = prefix.address;
    let length = prefix.length();
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Some(format!("{address} can be no host's address"));
    }
    let IpAddr::V4(v4) = address else {
        return None;
    };
    if v4.octets()[0] == 0 || v4.octets()[0] >= 240 {
        return Some(format!("{v4} can be no host's address"));
    }
    let broadcast = prefix.broadcast()?;
    let hint = match length {
        24 => "is the last number missing or wrong, or is the prefix not /24?".to_owned(),
        _ => format!("is the prefix /{length} right?"),
    };
    if prefix.network() == address {
        return Some(format!(
            "{v4} is the address of the network {prefix} itself, not of a host: {hint}"
        ));
    }
    (broadcast == v4).then(|| {
        format!(
            "{v4} is the broadcast address of {}/{length}, not a host's: {hint}",
            prefix.network()
        )
    })
}

fn about_gateway(prefix: Prefix, gateway: IpAddr) -> Option<Advice> {
    let length = prefix.length();
    if gateway == prefix.address {
        return Some(fatal(format!(
            "the gateway {gateway} is the host's own address: one of the two is wrong"
        )));
    }
    if gateway.is_unspecified() || gateway.is_multicast() || gateway.is_loopback() {
        return Some(fatal(format!("{gateway} can be no gateway's address")));
    }
    // By nature outside of every prefix.
    let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if prefix.is_host() || link_local {
        return None;
    }
    if prefix.contains(gateway) {
        let broadcast = prefix.broadcast()?;
        let what = if prefix.network() == gateway {
            "the network's own address"
        } else if IpAddr::from(broadcast) == gateway {
            "the broadcast address"
        } else {
            return None;
        };
        return Some(odd(format!(
            "the gateway {gateway} is {what} of {}/{length}",
            prefix.network()
        )));
    }
    let mut text = format!(
        "the gateway {gateway} is outside of {}/{length}; it is used as if it were on the link",
        prefix.network()
    );
    if let Some(guess) = likely(prefix, gateway) {
        text.push_str(&format!(" (a typing error: is it {guess}?)"));
    } else if let Some(shorter) = shorter(prefix, gateway) {
        text.push_str(&format!(" (is the prefix /{shorter}?)"));
    }
    Some(odd(text))
}

/// The gateway inside the prefix that differs from what was typed as little as a typing error does: in
/// one number, or in two numbers that were exchanged.
fn likely(prefix: Prefix, gateway: IpAddr) -> Option<Ipv4Addr> {
    let (IpAddr::V4(network), IpAddr::V4(typed)) = (prefix.network(), gateway) else {
        return None;
    };
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.length()))?;
    // The network's part of the address, the host's part of the gateway.
    let mended = Ipv4Addr::from(u32::from(network) | u32::from(typed) & !mask);
    let differing = |a: Ipv4Addr, b: Ipv4Addr| {
        let pairs = a.octets().into_iter().zip(b.octets());
        pairs.filter(|(a, b)| a != b).count()
    };
    let inside = mended != network && prefix.broadcast() != Some(mended);
    if inside && differing(mended, typed) == 1 {
        return Some(mended);
    }
    let mut exchanged = typed.octets();
    (0..3).find_map(|at| {
        exchanged = typed.octets();
        exchanged.swap(at, at + 1);
        let exchanged = Ipv4Addr::from(exchanged);
        prefix.contains(exchanged.into()).then_some(exchanged)
    })
}

/// The longest prefix that holds both, when it is one that hosters use.
fn shorter(prefix: Prefix, gateway: IpAddr) -> Option<u8> {
    let least = if gateway.is_ipv4() { 16 } else { 32 };
    (least..prefix.length())
        .rev()
        .find(|&length| Prefix::new(prefix.address, length).is_some_and(|p| p.contains(gateway)))
}

/// Addresses at which gateways usually are: the first and the last of the prefix.
pub fn usual_gateways(prefix: Prefix) -> Vec<IpAddr> {
    match (prefix.network(), prefix.broadcast()) {
        (IpAddr::V4(network), Some(broadcast)) => [
            u32::from(network).wrapping_add(1),
            u32::from(broadcast).wrapping_sub(1),
        ]
        .map(|address| Ipv4Addr::from(address).into())
        .into_iter()
        .filter(|&address| address != prefix.address)
        .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remarks(address: &str, gateway: &str) -> Vec<(bool, String)> {
        let fixed = Fixed {
            address: address.parse().unwrap(),
            peer: None,
            gateway: (!gateway.is_empty()).then(|| gateway.parse().unwrap()),
        };
        let advice = advise(&fixed).into_iter();
        advice.map(|a| (a.fatal, a.text)).collect()
    }

    #[track_caller]
    fn one(address: &str, gateway: &str, fatal: bool, words: &str) {
        let all = remarks(address, gateway);
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].0, fatal, "{all:?}");
        assert!(all[0].1.contains(words), "{:?} lacks {words:?}", all[0].1);
    }

    #[test]
    fn what_is_right_is_not_remarked_on() {
        for (address, gateway) in [
            ("192.0.2.7/24", "192.0.2.1"),
            ("192.0.2.7/24", ""),
            ("192.0.2.7/32", "203.0.113.1"),
            ("192.0.2.0/31", "192.0.2.1"),
            ("2001:db8::7/64", "fe80::1"),
            ("2001:db8::7/64", "2001:db8::1"),
            ("2001:db8::7/128", "2001:db8:ffff::1"),
        ] {
            assert_eq!(remarks(address, gateway), [], "{address} {gateway}");
        }
    }

    #[test]
    fn addresses_that_are_no_hosts_are_refused() {
        one(
            "192.0.2.0/24",
            "192.0.2.1",
            true,
            "of the network 192.0.2.0/24 itself",
        );
        one(
            "192.0.2.255/24",
            "192.0.2.1",
            true,
            "broadcast address of 192.0.2.0/24",
        );
        one("192.0.2.63/26", "", true, "is the prefix /26 right?");
        one("224.0.0.5/24", "", true, "no host's address");
        one("0.0.0.0/8", "", true, "no host's address");
        one("192.0.2.1/24", "192.0.2.1", true, "one of the two is wrong");
    }

    #[test]
    fn a_gateway_outside_comes_with_the_likely_typing_error() {
        one("192.0.2.7/24", "192.0.3.1", false, "is it 192.0.2.1?");
        one("192.0.2.7/24", "129.0.2.1", false, "is it 192.0.2.1?");
        one("192.0.2.7/24", "192.2.0.1", false, "is it 192.0.2.1?");
        one("192.0.2.7/27", "192.0.2.129", false, "is it 192.0.2.1?");
        one("10.1.4.7/24", "10.1.7.9", false, "is it 10.1.4.9?");
        one("10.1.4.7/24", "10.1.7.0", false, "is the prefix /22?");
        one(
            "2001:db8:0:1::7/64",
            "2001:db8::1",
            false,
            "is the prefix /63?",
        );
        one(
            "192.0.2.7/24",
            "192.0.2.255",
            false,
            "the broadcast address",
        );
        one(
            "192.0.2.7/24",
            "198.51.100.1",
            false,
            "outside of 192.0.2.0/24",
        );
    }

    #[test]
    fn usual_gateways_are_the_first_and_the_last() {
        let usual = usual_gateways("192.0.2.1/24".parse().unwrap());
        assert_eq!(usual, ["192.0.2.254".parse::<IpAddr>().unwrap()]);
    }
}
