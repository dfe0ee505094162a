//! `ip=`, in the forms of dracut.cmdline(7).
//!
//! ```text
//! ip=METHOD
//! ip=LINK:METHOD[:[MTU][:MAC]]
//! ip=CLIENT:[PEER]:[GATEWAY]:[MASK]:[HOSTNAME]:[LINK]:METHOD[:[MTU][:MAC]]
//! ip=CLIENT:[PEER]:[GATEWAY]:[MASK]:[HOSTNAME]:[LINK]:METHOD[:[DNS][:[DNS]]]
//! ```
//!
//! IPv6 addresses stand in brackets. MASK is a netmask or a prefix length; without one the address is a
//! /32 or /128, with the gateway on the link: that reaches everybody by the gateway, whatever the
//! prefix. LINK is a name, or (beyond dracut) a MAC address; without it the link is found, see
//! [`crate::daemon`].

use std::net::IpAddr;

use super::fields::fields;
use super::{Wrong, address};
use crate::mac::Mac;
use crate::prefix::{Prefix, length_or_netmask, same_family};

/// Which link is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The one of this name.
    Name(String),
    /// The one with this hardware address.
    Mac(Mac),
}

/// What one `ip=` wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// On which link; `None` for a fixed address on the link that has its gateway, and for the
    /// automatic methods on every link.
    pub on: Option<Selector>,
    /// How.
    pub method: Method,
    /// The host's name.
    pub hostname: Option<String>,
    /// DNS servers.
    pub nameservers: Vec<IpAddr>,
    /// The link's largest packet in bytes.
    pub mtu: Option<u32>,
    /// The hardware address that the link is to have.
    pub mac: Option<Mac>,
}

/// How a link gets its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// This one.
    Fixed(Fixed),
    /// By asking.
    Automatic(Automatic),
    /// Not at all.
    Off,
}

/// A fixed address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The address.
    pub address: Prefix,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// The way to everybody else.
    pub gateway: Option<IpAddr>,
}

/// Who is asked for addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Automatic {
    /// A DHCPv4 server.
    pub dhcp4: bool,
    /// Routers (RFC 4861); without it the link has no link-local address either.
    pub routers: bool,
    /// A DHCPv6 server.
    pub dhcp6: bool,
}

impl Automatic {
    /// Everybody.
    pub const ALL: Automatic = Automatic {
        dhcp4: true,
        routers: true,
        dhcp6: true,
    };
}

const METHODS: &str =
    "a method (dhcp, on, any, dhcp6, auto6, either6, link6, none, off), or an address";

/// Reads what follows `ip=`: one wish, or two when a fixed address goes with a method that asks.
pub(crate) fn parse(value: &str) -> Result<Vec<Wanted>, Wrong> {
    let fields = fields(value);
    let parts: Vec<&str> = fields.iter().map(String::as_str).collect();
    match parts.as_slice() {
        [method] => Ok(vec![wanted(None, by_name(method)?)]),
        [link, method, options @ ..] if by_name(method).is_ok() && options.len() <= 2 => {
            let mut wanted = wanted(Some(Selector::parse(link)?), by_name(method)?);
            take_options(&mut wanted, options)?;
            Ok(vec![wanted])
        }
        [client, peer, rest @ ..] if client.is_empty() || address(client).is_ok() => {
            long_form(client, peer, rest)
        }
        // Few fields: a link and a method were meant; many: an address.
        [link, method] | [link, method, _] | [link, method, _, _]
            if Selector::parse(link).is_ok() =>
        {
            Err(Wrong::new(method, METHODS))
        }
        [client, ..] => Err(Wrong::new(client, METHODS)),
        [] => Err(Wrong::new("", METHODS)),
    }
}

fn wanted(on: Option<Selector>, method: Method) -> Wanted {
    Wanted {
        on,
        method,
        hostname: None,
        nameservers: Vec::new(),
        mtu: None,
        mac: None,
    }
}

/// Everything after CLIENT and PEER.
fn long_form(client: &str, peer: &str, rest: &[&str]) -> Result<Vec<Wanted>, Wrong> {
    let field = |n: usize| rest.get(n).copied().unwrap_or_default();
    let [gateway, mask, hostname, link, method] = [0, 1, 2, 3, 4].map(field);
    let on = (!link.is_empty())
        .then(|| Selector::parse(link))
        .transpose()?;
    // dracut takes a missing method for a fixed address, too.
    let asked = match method {
        "" => Method::Off,
        method => by_name(method)?,
    };
    let mut all = Vec::new();
    if !client.is_empty() {
        let fixed = fixed(client, peer, gateway, mask)?;
        all.push(wanted(on.clone(), Method::Fixed(fixed)));
    }
    if asked != Method::Off || client.is_empty() {
        all.push(wanted(on, asked));
    }
    if let Some(first) = all.first_mut() {
        if !hostname.is_empty() {
            first.hostname = Some(host_name(hostname)?);
        }
        take_options(first, rest.get(5..).unwrap_or_default())?;
    }
    Ok(all)
}

fn fixed(client: &str, peer: &str, gateway: &str, mask: &str) -> Result<Fixed, Wrong> {
    let client = address(client)?;
    let optional = |text: &str, what: &'static str| match text {
        "" => Ok(None),
        text => match address(text) {
            Ok(other) if same_family(client, other) => Ok(Some(other)),
            _ => Err(Wrong::new(text, what)),
        },
    };
    let address = match mask {
        "" => Prefix::host(client),
        mask => length_or_netmask(mask, client)
            .and_then(|length| Prefix::new(client, length))
            .ok_or_else(|| Wrong::new(mask, "a netmask or prefix length"))?,
    };
    Ok(Fixed {
        address,
        // iPXE and the kernel name the boot server here; only a /32 can have a peer.
        peer: optional(peer, "a peer's address of the same family")?.filter(|_| address.is_host()),
        gateway: optional(gateway, "a gateway's address of the same family")?,
    })
}

/// `[MTU][:MAC]` or `[DNS][:DNS]`.
fn take_options(wanted: &mut Wanted, options: &[&str]) -> Result<(), Wrong> {
    if options.len() > 2 {
        return Err(Wrong::new(options[2], "expected after two options"));
    }
    for option in options.iter().filter(|option| !option.is_empty()) {
        if let Ok(server) = address(option) {
            wanted.nameservers.push(server);
        } else if let Ok(mac) = option.parse::<Mac>() {
            wanted.mac = Some(mac);
        } else {
            // The least that IPv4 links carry (RFC 791), and the largest packet there can be.
            let mtu = option
                .parse()
                .ok()
                .filter(|mtu| (68..=65_535).contains(mtu));
            let wrong = Wrong::new(option, "an MTU, a MAC address or a DNS server's address");
            wanted.mtu = Some(mtu.ok_or(wrong)?);
        }
    }
    Ok(())
}

fn by_name(method: &str) -> Result<Method, Wrong> {
    let asking = |dhcp4, routers, dhcp6| {
        Ok(Method::Automatic(Automatic {
            dhcp4,
            routers,
            dhcp6,
        }))
    };
    match method {
        "dhcp" | "dhcp4" | "single-dhcp" => asking(true, false, false),
        "on" | "any" => asking(true, true, true),
        // A DHCPv6 server gives addresses; only a router gives the way out.
        "dhcp6" | "either6" => asking(false, true, true),
        "auto6" | "link6" => asking(false, true, false),
        "none" | "off" => Ok(Method::Off),
        _ => Err(Wrong::new(method, METHODS)),
    }
}

impl Selector {
    /// A link's name, or its MAC address.
    pub fn parse_text(text: &str) -> Option<Selector> {
        Selector::parse(text).ok()
    }

    pub(crate) fn parse(text: &str) -> Result<Selector, Wrong> {
        if let Ok(mac) = text.parse() {
            return Ok(Selector::Mac(mac));
        }
        link_name(text).map(Selector::Name)
    }
}

/// What the kernel takes for a link's name (`dev_valid_name()`), and a shell without quotes.
pub(crate) fn link_name(text: &str) -> Result<String, Wrong> {
    let fine = (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b));
    fine.then(|| text.to_owned())
        .ok_or_else(|| Wrong::new(text, "a link's name such as eth0, or a MAC address"))
}

fn host_name(text: &str) -> Result<String, Wrong> {
    let fine = text.len() <= 64
        && text.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
    fine.then(|| text.to_owned())
        .ok_or_else(|| Wrong::new(text, "a host name"))
}
