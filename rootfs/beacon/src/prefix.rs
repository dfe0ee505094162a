//! `prefix=`: other hosts that share the delegated IPv6 prefix and keep their own end of the address.
//!
//! `LENGTH:HOST=ID[,HOST=ID...]`. The first LENGTH bits of each host's address are this machine's;
//! the rest is ID:
//!
//! * `::5:1234:5678:9abc:def0`: an address whose first LENGTH bits are zero: the rest as it stands,
//!   subnet and interface identifier;
//! * `00:11:22:33:44:55`: a MAC, whose interface identifier is made as routers' clients make it (modified
//!   EUI-64, RFC 4291 appendix A), in this machine's own /64;
//! * `00:11:22:33:44:55/5`: the same in subnet 5 (hexadecimal), the bits between LENGTH and 64.

use std::net::Ipv6Addr;

use kedge_net::mac::Mac;

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name at the dynamic DNS server.
    pub name: String,
    length: u32,
    id: Id,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    /// Everything after the prefix.
    Rest(u128),
    /// The lower 64 bits; the subnet is ours.
    Interface(u64),
}

impl Host {
    /// Its address, beside ours.
    pub fn address(&self, own: Ipv6Addr) -> Ipv6Addr {
        let (kept, rest) = match self.id {
            Id::Rest(rest) => (self.length, rest),
            Id::Interface(id) => (64, u128::from(id)),
        };
        let mask = u128::MAX << (128 - kept);
        Ipv6Addr::from_bits(own.to_bits() & mask | rest & !mask)
    }
}

/// Parses the value of one `prefix=`. The error says what is wrong with which part.
///
/// # Errors
/// When it is not of that form.
pub fn parse(value: &str) -> Result<Vec<Host>, String> {
    let form = || format!("prefix={value}: expected LENGTH:HOST=ID[,HOST=ID...]");
    let (length, hosts) = value.split_once(':').ok_or_else(form)?;
    let length: u32 = length.parse().map_err(|_| form())?;
    if !(16..=64).contains(&length) {
        return Err(format!("prefix={value}: the prefix has from 16 to 64 bits"));
    }
    hosts
        .split(',')
        .map(|host| {
            let (name, id) = host.split_once('=').ok_or_else(form)?;
            if !is_host_name(name) {
                return Err(format!("prefix={value}: '{name}' is no host name"));
            }
            let id = parse_id(id, length).ok_or_else(|| {
                format!(
                    "prefix={value}: '{id}' is no address that is zero in its first {length} bits \
                     (::1:2:3:4), and no MAC (00:11:22:33:44:55, or with /SUBNET)"
                )
            })?;
            Ok(Host {
                name: name.into(),
                length,
                id,
            })
        })
        .collect()
}

fn parse_id(id: &str, length: u32) -> Option<Id> {
    if let Ok(address) = id.parse::<Ipv6Addr>() {
        let bits = address.to_bits();
        return (bits != 0 && bits >> (128 - length) == 0).then_some(Id::Rest(bits));
    }
    let (mac, subnet) = match id.split_once('/') {
        Some((mac, subnet)) => (mac, Some(subnet)),
        None => (id, None),
    };
    let id = eui64(mac.parse().ok()?);
    let Some(subnet) = subnet else {
        return Some(Id::Interface(id));
    };
    let subnet = u64::from_str_radix(subnet, 16).ok()?;
    let fits = length < 64 && subnet >> (64 - length) == 0;
    fits.then(|| Id::Rest(u128::from(subnet) << 64 | u128::from(id)))
}

/// The modified EUI-64 of a MAC: ff:fe in its middle, and its universal bit the other way round.
fn eui64(Mac([a, b, c, d, e, f]): Mac) -> u64 {
    u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

pub(crate) fn is_host_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'*' | b'@');
    (1..=253).contains(&name.len()) && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "2001:db8:aa:bb07:1:2:3:4";

    fn addresses(value: &str) -> Vec<String> {
        let own = OWN.parse().unwrap();
        let hosts = parse(value).unwrap();
        hosts
            .iter()
            .map(|host| format!("{} {}", host.name, host.address(own)))
            .collect()
    }

    #[test]
    fn hosts_keep_their_own_end() {
        assert_eq!(
            addresses("64:nas=::1234:5678:9abc:def0,tv.example=00:11:22:33:44:55"),
            [
                "nas 2001:db8:aa:bb07:1234:5678:9abc:def0",
                "tv.example 2001:db8:aa:bb07:211:22ff:fe33:4455"
            ]
        );
        assert_eq!(
            addresses("56:a=::5:0:0:0:1,b=02:11:22:33:44:55/ff,c=00:11:22:33:44:55"),
            [
                "a 2001:db8:aa:bb05::1",
                "b 2001:db8:aa:bbff:11:22ff:fe33:4455",
                "c 2001:db8:aa:bb07:211:22ff:fe33:4455"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for wrong in [
            "",
            "64",
            "64:",
            "64:nas",
            "64:=::1",
            "x:nas=::1",
            "0:nas=::1",
            "65:nas=::1",
            "128:nas=::1",
            "-1:nas=::1",
            "64:nas=",
            "64:nas=::",
            "64:n s=::1",
            "64:n&s=::1",
            "64:nas=::1,",
            "64:nas=::5:0:0:0:1",
            "64:nas=2001:db8::1",
            "64:nas=00:11:22:33:44",
            "64:nas=00:11:22:33:44:55/1",
            "56:nas=00:11:22:33:44:55/100",
            "56:nas=00:11:22:33:44:55/",
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.starts_with("prefix="), "{wrong}: {error}");
        }
    }
}
