//! Makes the bonds, VLANs and bridges that the command line asks for, as soon as the links are there that
//! they are made of.

use std::fs;
use std::io;
use std::path::Path;

use kedge_message::{info, warning};

use crate::config::Config;
use crate::config::devices::Bond;
use crate::links::{self, Link};
use crate::rtnetlink::{Change, Master, Rtnetlink};

/// Makes what can be made now and is not there yet. Each failure is told once.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    failed: Vec<String>,
}

impl Devices {
    pub(crate) fn make(&mut self, rtnetlink: &mut Rtnetlink, config: &Config) {
        for bond in &config.bonds {
            let present = bond.legs.iter().any(|leg| links::link(leg).is_some());
            if present && links::link(&bond.name).is_none() {
                let made = rtnetlink
                    .make_master(&bond.name, Master::Bond)
                    .and_then(|()| self.set_up_bond(rtnetlink, bond));
                self.note(&bond.name, "make the bond", made);
            }
            self.add_legs(rtnetlink, &bond.name, &bond.legs, true);
        }
        for bridge in &config.bridges {
            let present = bridge.ports.iter().any(|port| links::link(port).is_some());
            if present && links::link(&bridge.name).is_none() {
                let made = rtnetlink.make_master(&bridge.name, Master::Bridge);
                self.note(&bridge.name, "make the bridge", made);
                up(rtnetlink, &bridge.name);
            }
            self.add_legs(rtnetlink, &bridge.name, &bridge.ports, false);
        }
        for vlan in &config.vlans {
            let Some(on) = links::link(&vlan.on) else {
                continue;
            };
            if links::link(&vlan.name).is_none() {
                let made = rtnetlink.make_vlan(&vlan.name, vlan.id, on.index);
                self.note(&vlan.name, "make the VLAN", made);
                up(rtnetlink, &vlan.name);
            }
        }
    }

    /// Its options are files in sysfs, which take the words of the documentation.
    fn set_up_bond(&mut self, rtnetlink: &mut Rtnetlink, bond: &Bond) -> io::Result<()> {
        let folder = Path::new("/sys/class/net").join(&bond.name).join("bonding");
        for (name, value) in &bond.options {
            // Lists take what is to be added after a plus sign.
            let list = name == "arp_ip_target" || name == "ns_ip6_target";
            let value = if list {
                format!("+{value}")
            } else {
                value.clone()
            };
            // The primary leg must be a leg already: done when it is added.
            if name == "primary" {
                continue;
            }
            if let Err(e) = fs::write(folder.join(name), &value) {
                warning!(
                    "{}: no option {name}={value}: {e}; the others apply",
                    bond.name
                );
            }
        }
        if let (Some(mtu), Some(link)) = (bond.mtu, links::link(&bond.name)) {
            rtnetlink.change_link(link.index, Change::Mtu(mtu))?;
        }
        up(rtnetlink, &bond.name);
        Ok(())
    }

    fn add_legs(&mut self, rtnetlink: &mut Rtnetlink, master: &str, legs: &[String], bond: bool) {
        let Some(master) = links::link(master) else {
            return;
        };
        for leg in legs {
            let Some(link) = links::link(leg).filter(|link| link.master.is_none()) else {
                continue;
            };
            // Nothing of its own: the master has the addresses.
            links::set_ipv6(leg, false, false);
            let added = add_leg(rtnetlink, &link, &master, bond);
            if added.is_ok() {
                info!("{leg} belongs to {}", master.name);
            }
            self.note(leg, "add it to its bond or bridge", added);
        }
    }

    fn note(&mut self, name: &str, what: &str, result: io::Result<()>) {
        if let Err(e) = result
            && !self.failed.iter().any(|failed| failed == name)
        {
            warning!("{name}: cannot {what}: {e}");
            self.failed.push(name.to_owned());
        }
    }
}

/// A bond takes legs that are down only, and brings them up itself.
fn add_leg(rtnetlink: &mut Rtnetlink, leg: &Link, master: &Link, bond: bool) -> io::Result<()> {
    if bond {
        rtnetlink.change_link(leg.index, Change::Up(false))?;
    }
    let added = rtnetlink.change_link(leg.index, Change::Master(master.index));
    rtnetlink.change_link(leg.index, Change::Up(true))?;
    added
}

/// Silent at first, as every link.
fn up(rtnetlink: &mut Rtnetlink, name: &str) {
    links::set_ipv6(name, false, false);
    if let Some(link) = links::link(name)
        && let Err(e) = rtnetlink.change_link(link.index, Change::Up(true))
    {
        warning!("{name}: cannot bring it up: {e}");
    }
}
