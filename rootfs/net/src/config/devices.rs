//! `vlan=`, `bond=` and `bridge=`: links that are made of others.
//!
//! ```text
//! vlan=NAME:LINK                       NAME: vlan5, vlan0005, eth0.5, eth0.0005
//! bond=NAME[:LINK,LINK[:OPTIONS[:MTU]]]  default bond0:eth0,eth1:mode=balance-rr
//! bridge=NAME:LINK,LINK                default br0:eth0
//! ```

use super::Wrong;
use super::fields::fields;
use super::ip::link_name;

/// A VLAN (IEEE 802.1Q).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Its name.
    pub name: String,
    /// Its number, 1 to 4094.
    pub id: u16,
    /// The link that carries it.
    pub on: String,
}

/// Several links as one (Documentation/networking/bonding.rst).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bond {
    /// Its name.
    pub name: String,
    /// Its legs.
    pub legs: Vec<String>,
    /// Options and values, as they are written into the bond's directory in sysfs.
    pub options: Vec<(String, String)>,
    /// Its largest packet in bytes.
    pub mtu: Option<u32>,
}

/// A bridge (IEEE 802.1D), without spanning tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its ports.
    pub ports: Vec<String>,
}

impl Vlan {
    pub(crate) fn parse(value: &str) -> Result<Vlan, Wrong> {
        let fields = fields(value);
        let [name, on] = fields.as_slice() else {
            return Err(Wrong::new(value, "a VLAN NAME:LINK such as eth0.5:eth0"));
        };
        let name = link_name(name)?;
        // The digits at the end, whatever stands before them.
        let digits = name
            .trim_start_matches(|c: char| c != '.')
            .trim_start_matches('.');
        let digits = if digits.is_empty() {
            name.trim_start_matches(|c: char| !c.is_ascii_digit())
        } else {
            digits
        };
        let id = digits
            .parse()
            .ok()
            .filter(|id| (1..=4094).contains(id))
            .ok_or_else(|| Wrong::new(&name, "a name that ends in a VLAN's number, 1 to 4094"))?;
        Ok(Vlan {
            id,
            on: link_name(on)?,
            name,
        })
    }
}

impl Bond {
    pub(crate) fn parse(value: &str) -> Result<Bond, Wrong> {
        let fields = fields(value);
        let field = |n: usize| fields.get(n).map(String::as_str).filter(|f| !f.is_empty());
        if fields.len() > 4 {
            return Err(Wrong::new(&fields[4], "expected after a bond's MTU"));
        }
        let mut options = field(2).map_or(Ok(Vec::new()), bond_options)?;
        if !options.iter().any(|(name, _)| name == "mode") {
            options.insert(0, ("mode".into(), "balance-rr".into()));
        }
        // Without it a leg that lost its carrier is used on.
        if !options
            .iter()
            .any(|(name, _)| name == "miimon" || name == "arp_interval")
        {
            options.push(("miimon".into(), "100".into()));
        }
        // The mode decides which others there are.
        options.sort_by_key(|(name, _)| name != "mode");
        Ok(Bond {
            name: link_name(field(0).unwrap_or("bond0"))?,
            legs: names(field(1).unwrap_or("eth0,eth1"))?,
            options,
            mtu: field(3)
                .map(|mtu| {
                    mtu.parse()
                        .ok()
                        .filter(|mtu| (68..=65_535).contains(mtu))
                        .ok_or_else(|| Wrong::new(mtu, "an MTU"))
                })
                .transpose()?,
        })
    }
}

/// `NAME=VALUE,NAME=VALUE`; several values of one option are separated by semicolons
/// (`arp_ip_target=192.0.2.1;192.0.2.2`).
fn bond_options(text: &str) -> Result<Vec<(String, String)>, Wrong> {
    let mut options: Vec<(String, String)> = Vec::new();
    for part in text.split(',') {
        let wrong = || Wrong::new(part, "a bond's option NAME=VALUE");
        let (name, value) = part.split_once('=').ok_or_else(wrong)?;
        // It becomes a file's name.
        let fine = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if !fine || value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong());
        }
        options.extend(value.split(';').map(|value| (name.into(), value.into())));
    }
    Ok(options)
}

impl Bridge {
    pub(crate) fn parse(value: &str) -> Result<Bridge, Wrong> {
        let fields = fields(value);
        let field = |n: usize| fields.get(n).map(String::as_str).filter(|f| !f.is_empty());
        if fields.len() > 2 {
            return Err(Wrong::new(&fields[2], "expected after a bridge's links"));
        }
        Ok(Bridge {
            name: link_name(field(0).unwrap_or("br0"))?,
            ports: names(field(1).unwrap_or("eth0"))?,
        })
    }
}

fn names(list: &str) -> Result<Vec<String>, Wrong> {
    list.split(',').map(link_name).collect()
}
