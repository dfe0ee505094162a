//! `net status`: links, addresses, routes and DNS servers, and where each came from.

use std::fmt::Write;
use std::io;
use std::net::IpAddr;

use kedge_json::{array, number, object, optional, text};

use crate::links::{self, Link};
use crate::resolv;
use crate::rtnetlink::{Address, Route, Rtnetlink};

/// All there is.
#[derive(Debug)]
pub struct Status {
    /// Ethernet links, sorted by name.
    pub links: Vec<Link>,
    /// Their addresses.
    pub addresses: Vec<Address>,
    /// The main table's routes, in the order of their metrics.
    pub routes: Vec<Route>,
    /// DNS servers, and who told each.
    pub nameservers: Vec<(IpAddr, String)>,
}

impl Status {
    /// Looks.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn look() -> io::Result<Status> {
        let mut rtnetlink = Rtnetlink::open()?;
        let mut routes = rtnetlink.routes()?;
        routes.sort_by_key(|route| {
            (
                route.to.address.is_ipv6(),
                !route.is_default(),
                route.metric,
            )
        });
        Ok(Status {
            links: links::links(),
            addresses: rtnetlink.addresses()?,
            routes,
            nameservers: resolv::nameservers(),
        })
    }

    /// The addresses of a link.
    pub fn addresses_of<'a>(&'a self, link: &'a Link) -> impl Iterator<Item = &'a Address> {
        self.addresses
            .iter()
            .filter(move |address| address.link == link.index)
    }

    /// The routes by a link that say more than its prefixes do.
    fn routes_of<'a>(&'a self, link: &'a Link) -> impl Iterator<Item = &'a Route> {
        self.routes
            .iter()
            .filter(move |route| route.link == link.index && route.gateway.is_some())
    }

    /// The gateway that everything goes to by this link.
    pub fn gateway(&self, link: &Link, ipv6: bool) -> Option<IpAddr> {
        self.routes_of(link)
            .filter(|route| route.is_default())
            .filter_map(|route| route.gateway)
            .find(|gateway| gateway.is_ipv6() == ipv6)
    }

    /// For people: at most 79 columns of ASCII.
    pub fn words(&self) -> String {
        let mut out = String::new();
        if self.links.is_empty() {
            out.push_str("no Ethernet link: no network hardware that this kernel knows\n");
        }
        for link in &self.links {
            let _ = write!(out, "{:<9} {:<12} {}", link.name, carrier(link), link.mac);
            match (&link.driver, &link.master) {
                (Some(driver), _) => drop(write!(out, "  {driver}")),
                (None, _) => out.push_str("  made here"),
            }
            if let Some(master) = &link.master {
                let _ = write!(out, ", belongs to {master}");
            }
            out.push('\n');
            for address in self.addresses_of(link) {
                let state = match (address.duplicate, address.tentative) {
                    (true, _) => ", held by somebody else: not used",
                    (_, true) => ", being checked",
                    _ => "",
                };
                let origin = address.origin.words();
                let _ = writeln!(
                    out,
                    "          {:<40} {origin}{state}",
                    address.prefix.to_string()
                );
            }
            for route in self.routes_of(link) {
                let to = match route.is_default() {
                    true => "default".into(),
                    false => route.to.to_string(),
                };
                let gateway = route.gateway.map_or(String::new(), |g| format!(" via {g}"));
                let _ = writeln!(
                    out,
                    "          {:<40} {}",
                    to + &gateway,
                    route.origin.words()
                );
            }
        }
        match self.nameservers.as_slice() {
            [] => out.push_str("DNS       no server known\n"),
            servers => {
                for (server, by) in servers {
                    let _ = writeln!(out, "DNS       {:<40} {by}", server.to_string());
                }
            }
        }
        out
    }

    /// One JSON object: speeds in Mb/s, what is not known `null`.
    pub fn json(&self) -> String {
        let links = self.links.iter().map(|link| {
            let addresses = self.addresses_of(link).map(|address| {
                object(&[
                    ("address", text(&address.prefix.address.to_string())),
                    ("length", address.prefix.length().to_string()),
                    ("origin", text(address.origin.words())),
                    ("global", address.global.to_string()),
                    ("tentative", address.tentative.to_string()),
                    ("duplicate", address.duplicate.to_string()),
                ])
            });
            let routes = self.routes_of(link).map(|route| {
                let gateway = route.gateway.map(|gateway| gateway.to_string());
                object(&[
                    ("to", text(&route.to.to_string())),
                    ("gateway", optional(gateway.as_deref())),
                    ("metric", route.metric.to_string()),
                    ("origin", text(route.origin.words())),
                ])
            });
            object(&[
                ("name", text(&link.name)),
                ("mac", text(&link.mac.to_string())),
                ("driver", optional(link.driver.as_deref())),
                ("up", link.up.to_string()),
                ("carrier", link.carrier.to_string()),
                ("speed", number(link.speed)),
                ("master", optional(link.master.as_deref())),
                ("addresses", array(addresses)),
                ("routes", array(routes)),
            ])
        });
        let nameservers = self.nameservers.iter().map(|(server, by)| {
            object(&[("address", text(&server.to_string())), ("origin", text(by))])
        });
        object(&[("links", array(links)), ("nameservers", array(nameservers))]) + "\n"
    }
}

fn carrier(link: &Link) -> String {
    match (link.up, link.carrier, link.speed) {
        (false, ..) => "down".into(),
        (_, false, _) => "no carrier".into(),
        (_, _, Some(speed)) if speed < 1000 => format!("up {speed} Mb/s"),
        (_, _, Some(speed)) => format!("up {} Gb/s", f64::from(speed) / 1000.0),
        _ => "up".into(),
    }
}
