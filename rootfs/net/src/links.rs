//! Links as sysfs shows them (Documentation/ABI/testing/sysfs-class-net).

use std::fs;
use std::path::Path;

use crate::config::ip::Selector;
use crate::mac::Mac;

const CLASS: &str = "/sys/class/net";

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its hardware address.
    pub mac: Mac,
    /// Whether it is switched on (`IFF_UP`).
    pub up: bool,
    /// Whether somebody is at the other end, as far as the driver knows.
    pub carrier: bool,
    /// The driver of its hardware; `None` for a link without any.
    pub driver: Option<String>,
    /// Megabits per second.
    pub speed: Option<u32>,
    /// The bond or bridge that it belongs to.
    pub master: Option<String>,
}

/// All Ethernet links but loopback, sorted by name.
pub fn links() -> Vec<Link> {
    let Ok(entries) = fs::read_dir(CLASS) else {
        return Vec::new();
    };
    let mut links: Vec<Link> = entries
        .filter_map(|entry| link(entry.ok()?.file_name().to_str()?))
        .collect();
    // eth2 before eth10.
    links.sort_by_key(|link| (link.name.len(), link.name.clone()));
    links
}

/// The link of this name, if it is an Ethernet link.
pub fn link(name: &str) -> Option<Link> {
    // A name with a slash, or "..", is no link's.
    if name.contains('/') || name.starts_with('.') {
        return None;
    }
    let folder = Path::new(CLASS).join(name);
    // ARPHRD_ETHER (linux/if_arp.h).
    if read(&folder, "type")? != "1" {
        return None;
    }
    let flags = read(&folder, "flags")?;
    let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
    Some(Link {
        name: name.to_owned(),
        index: read(&folder, "ifindex")?.parse().ok()?,
        mac: read(&folder, "address")?.parse().ok()?,
        // IFF_UP (linux/if.h).
        up: flags & 1 != 0,
        // Cannot be read while the link is switched off.
        carrier: read(&folder, "carrier").is_some_and(|carrier| carrier == "1"),
        driver: target(&folder.join("device/driver")),
        speed: read(&folder, "speed")
            .and_then(|speed| speed.parse().ok())
            .filter(|&speed| speed > 0 && speed != u32::MAX),
        master: target(&folder.join("master")),
    })
}

fn read(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    Some(text.trim().to_owned())
}

fn target(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

impl Link {
    /// Whether this is the link that is meant.
    pub fn is(&self, selector: &Selector) -> bool {
        match selector {
            Selector::Name(name) => self.name == *name,
            // A VLAN and a bond have the address of a link below them.
            Selector::Mac(mac) => self.mac == *mac && self.driver.is_some(),
        }
    }
}

/// Lets a link get an address of its own making and listen to routers, or keeps it from either.
///
/// Init has switched both off for every link, so that it is silent until it is to be used.
pub(crate) fn set_ipv6(name: &str, link_local: bool, routers: bool) {
    let folder = Path::new("/proc/sys/net/ipv6/conf").join(name);
    let yes_no = |yes: bool| if yes { "1" } else { "0" };
    // In this order: the first address makes the kernel ask for routers, once.
    for (file, value) in [
        ("accept_ra", yes_no(routers)),
        ("autoconf", yes_no(routers)),
        // IN6_ADDR_GEN_MODE_EUI64 and _NONE (linux/if_link.h): predictable, for who looks for it.
        ("addr_gen_mode", if link_local { "0" } else { "1" }),
    ] {
        if folder.exists()
            && let Err(e) = fs::write(folder.join(file), value)
        {
            kedge_message::warning!("cannot write {}: {e}", folder.join(file).display());
        }
    }
}

/// Lets a link get its link-local address, whatever it listens to.
pub(crate) fn enable_link_local(name: &str) {
    let file = format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode");
    if Path::new(&file).exists()
        && let Err(e) = fs::write(&file, "0")
    {
        kedge_message::warning!("cannot write {file}: {e}");
    }
}

/// Lets a second address of a prefix live on when the first is removed: without it the kernel removes
/// all of them (promote_secondaries, Documentation/networking/ip-sysctl.rst).
pub(crate) fn keep_second_addresses() {
    for which in ["all", "default"] {
        let file = format!("/proc/sys/net/ipv4/conf/{which}/promote_secondaries");
        if let Err(e) = fs::write(&file, "1") {
            kedge_message::warning!("cannot write {file}: {e}");
        }
    }
}

/// The metric of default routes that routers on this link advertise.
pub(crate) fn set_router_metric(name: &str, metric: u32) {
    let file = format!("/proc/sys/net/ipv6/conf/{name}/ra_defrtr_metric");
    let _ = fs::write(file, metric.to_string());
}
