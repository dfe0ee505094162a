//! Puts a fixed address on a link: checks that nobody else has it, then address, routes, and whether the
//! gateway is there.

use std::io;
use std::net::IpAddr;

use crate::advice::{self, usual_gateways};
use crate::config::ip::Fixed;
use crate::links::{self, Link};
use crate::mac::Mac;
use crate::neighbour::who_has;
use crate::prefix::Prefix;
use crate::rtnetlink::{Change, Origin, Route, Rtnetlink};

/// Why the address was not used.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It can be no host's, or is the gateway's.
    #[error("{0}")]
    Implausible(String),
    /// Somebody else has it.
    #[error("{address} is held by {mac} on {link}: not used")]
    Duplicate {
        /// The address.
        address: IpAddr,
        /// Whose.
        mac: Mac,
        /// Where.
        link: String,
    },
    /// The kernel did not take it.
    #[error("cannot {what} on {link}: {source}")]
    Kernel {
        /// What was being done.
        what: &'static str,
        /// Where.
        link: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What there is to say about an address that is used.
#[derive(Debug, Default)]
pub struct Assigned {
    /// Oddities, in sentences.
    pub remarks: Vec<String>,
}

/// Whether the operator insists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insist {
    /// What is implausible or taken is refused.
    No,
    /// It is used all the same.
    Yes,
}

/// Gives `link`, which must be up, an address and its routes.
///
/// Takes a good second: whether somebody has the address is asked three times.
///
/// # Errors
/// See [`Refusal`]; nothing was changed then, but for what the kernel refused half-way.
pub fn assign(
    rtnetlink: &mut Rtnetlink,
    link: &Link,
    fixed: &Fixed,
    metric: u32,
    origin: Origin,
    insist: Insist,
) -> Result<Assigned, Refusal> {
    let address = fixed.address.address;
    let kernel = |what: &'static str| {
        let link = link.name.clone();
        move |source| Refusal::Kernel { what, link, source }
    };
    let mut assigned = Assigned::default();
    for advice in advice::advise(fixed) {
        if advice.fatal && insist == Insist::No {
            return Err(Refusal::Implausible(advice.text));
        }
        assigned.remarks.push(advice.text);
    }
    if link.carrier {
        let holder = who_has(link, address, None).map_err(kernel("ask who has the address"))?;
        if let Some(mac) = holder {
            let link = link.name.clone();
            let refusal = Refusal::Duplicate { address, mac, link };
            if insist == Insist::No {
                return Err(refusal);
            }
            assigned
                .remarks
                .push(format!("{address} is held by {mac}, too"));
        }
    }
    if address.is_ipv6() {
        // Routers may answer nobody whose address is not of their link.
        links::enable_link_local(&link.name);
    }
    rtnetlink
        .add_address(link.index, fixed.address, fixed.peer, origin, None)
        .map_err(kernel("add the address"))?;
    if let Some(gateway) = fixed.gateway {
        add_gateway(rtnetlink, link, &[fixed.address], gateway, metric, origin)
            .map_err(kernel("add the route"))?;
        if link.carrier {
            assigned
                .remarks
                .extend(silent_gateway(link, fixed, gateway));
        }
    }
    Ok(assigned)
}

/// Adds the route to everybody; a gateway outside of the link's prefixes gets a route of its own first
/// (as Hetzner and OVH have it).
pub(crate) fn add_gateway(
    rtnetlink: &mut Rtnetlink,
    link: &Link,
    prefixes: &[Prefix],
    gateway: IpAddr,
    metric: u32,
    origin: Origin,
) -> io::Result<()> {
    let mut route = Route::default(gateway, link.index, metric, origin);
    let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let inside = |prefix: &Prefix| !prefix.is_host() && prefix.contains(gateway);
    if !link_local && !prefixes.iter().any(inside) {
        rtnetlink.add_route(&Route {
            to: Prefix::host(gateway),
            gateway: None,
            link: link.index,
            metric,
            origin,
            on_link: false,
        })?;
        route.on_link = true;
    }
    rtnetlink.add_route(&route)
}

/// A remark when nobody answers for the gateway's address; and who does at the usual ones.
fn silent_gateway(link: &Link, fixed: &Fixed, gateway: IpAddr) -> Option<String> {
    // Asked for as a probe when the source is not known to the neighbour's kernel anyway (IPv6: our own
    // address is still tentative).
    let source = fixed.address.address;
    let source = source.is_ipv4().then_some(source);
    if !matches!(who_has(link, gateway, source), Ok(None)) {
        return None;
    }
    let other = usual_gateways(fixed.address)
        .into_iter()
        .filter(|&usual| usual != gateway)
        .find_map(|usual| Some((usual, who_has(link, usual, source).ok()??)));
    let hint = match other {
        Some((usual, mac)) => format!("{usual} does ({mac}): is that the gateway?"),
        None => "is it the right address, link and VLAN?".into(),
    };
    Some(format!(
        "the gateway {gateway} does not answer on {}; {hint}",
        link.name
    ))
}

/// Sets a link's largest packet and hardware address, for which many drivers want it down.
pub(crate) fn prepare(
    rtnetlink: &mut Rtnetlink,
    link: &Link,
    mtu: Option<u32>,
    mac: Option<Mac>,
) -> io::Result<()> {
    if let Some(mac) = mac.filter(|&mac| mac != link.mac) {
        rtnetlink.change_link(link.index, Change::Up(false))?;
        let changed = rtnetlink.change_link(link.index, Change::Mac(mac));
        rtnetlink.change_link(link.index, Change::Up(true))?;
        changed?;
    }
    match mtu {
        Some(mtu) => rtnetlink.change_link(link.index, Change::Mtu(mtu)),
        None => Ok(()),
    }
}
