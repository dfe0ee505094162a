//! What the command line asks for, after dracut.cmdline(7): typed, with a complaint for each word that
//! makes no sense. The others still apply.
//!
//! | word | meaning |
//! |---|---|
//! | `ip=` | see [`ip`] |
//! | `vlan=`, `bond=`, `bridge=` | see [`devices`] |
//! | `nameserver=ADDRESS` | a DNS server; IPv6 with or without brackets |
//! | `BOOTIF=01-MAC` | the link that the machine was booted by |
//! | `rd.route=NET/LENGTH:GATEWAY[:LINK]` | one more route; IPv6 in brackets |

pub(crate) mod devices;
pub(crate) mod fields;
pub(crate) mod ip;

use std::net::IpAddr;

use kedge_settings::Words;
use kedge_settings::cmdline::Argument;

use crate::mac::Mac;
use crate::prefix::{Prefix, same_family, unbracketed};
use devices::{Bond, Bridge, Vlan};
use fields::fields;
use ip::{Selector, Wanted};

/// Everything, validated.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// What each `ip=` wants, in order.
    pub wanted: Vec<Wanted>,
    /// Whether there was any `ip=`, were it a malformed one: without, every link is tried.
    pub has_ip: bool,
    /// VLANs to make.
    pub vlans: Vec<Vlan>,
    /// Bonds to make.
    pub bonds: Vec<Bond>,
    /// Bridges to make.
    pub bridges: Vec<Bridge>,
    /// DNS servers, in order.
    pub nameservers: Vec<IpAddr>,
    /// The link that the machine was booted by.
    pub boot_link: Option<Mac>,
    /// Further routes.
    pub routes: Vec<ExtraRoute>,
    /// One sentence a word that was skipped.
    pub complaints: Vec<String>,
}

/// A route beside those of the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraRoute {
    /// Where to.
    pub to: Prefix,
    /// By whom.
    pub gateway: IpAddr,
    /// By which link; without, by the one that reaches the gateway.
    pub on: Option<Selector>,
}

/// Why a word makes no sense: the part of it that is wrong, and what it should have been.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    part: String,
    should: &'static str,
}

impl Wrong {
    pub(crate) fn new(part: &str, should: &'static str) -> Wrong {
        Wrong {
            part: part.into(),
            should,
        }
    }
}

impl Config {
    /// Reads the words.
    pub fn parse(words: &Words) -> Config {
        let mut config = Config::default();
        for word in words.iter() {
            if let Err(wrong) = config.take(word) {
                let whole = match &word.value {
                    Some(value) => [word.name.as_slice(), b"=", value].concat(),
                    None => word.name.clone(),
                };
                config.complaints.push(format!(
                    "kernel argument '{}': '{}' is not {}; skipped",
                    whole.escape_ascii(),
                    wrong.part.escape_debug(),
                    wrong.should
                ));
            }
        }
        config
    }

    fn take(&mut self, word: &Argument) -> Result<(), Wrong> {
        let name = word.name.as_slice();
        if !matches!(
            name,
            b"ip" | b"vlan" | b"bond" | b"bridge" | b"nameserver" | b"BOOTIF" | b"rd.route"
        ) {
            return Ok(());
        }
        self.has_ip |= name == b"ip";
        let value = String::from_utf8_lossy(word.value.as_deref().unwrap_or_default());
        match name {
            b"ip" => self.wanted.extend(ip::parse(&value)?),
            b"vlan" => self.vlans.push(Vlan::parse(&value)?),
            b"bond" => self.bonds.push(Bond::parse(&value)?),
            b"bridge" => self.bridges.push(Bridge::parse(&value)?),
            b"nameserver" => self.nameservers.push(address(&value)?),
            b"BOOTIF" => self.boot_link = Some(boot_link(&value)?),
            _ => self.routes.push(ExtraRoute::parse(&value)?),
        }
        Ok(())
    }
}

impl ExtraRoute {
    fn parse(value: &str) -> Result<ExtraRoute, Wrong> {
        let fields = fields(value);
        let (to, gateway, on) = match fields.as_slice() {
            [to, gateway] => (to, gateway, None),
            [to, gateway, on] => (to, gateway, Some(on)),
            _ => return Err(Wrong::new(value, "a route NET/LENGTH:GATEWAY[:LINK]")),
        };
        // The brackets may hold the length too: [2001:db8::/32].
        let to: Prefix = unbracketed(to)
            .parse()
            .map_err(|()| Wrong::new(to, "a network such as 198.51.100.0/24"))?;
        let gateway = address(gateway)?;
        if !same_family(to.address, gateway) {
            return Err(Wrong::new(
                &gateway.to_string(),
                "a gateway of the network's family",
            ));
        }
        Ok(ExtraRoute {
            to,
            gateway,
            on: on.map(|on| Selector::parse(on)).transpose()?,
        })
    }
}

/// An address, with or without brackets.
pub(crate) fn address(text: &str) -> Result<IpAddr, Wrong> {
    unbracketed(text)
        .parse()
        .map_err(|_| Wrong::new(text, "an IP address"))
}

/// PXELINUX' form: the ARP hardware type, then the address, with hyphens; the type may be missing.
fn boot_link(text: &str) -> Result<Mac, Wrong> {
    let digits = if text.len() == 20 {
        text.get(3..).unwrap_or_default()
    } else {
        text
    };
    digits
        .parse()
        .map_err(|()| Wrong::new(text, "a MAC address such as 01-52-54-00-00-00-01"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
