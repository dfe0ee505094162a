//! What is told: one JSON object.

use std::net::IpAddr;
use std::path::Path;

use kedge_json::{array, number, object, optional, text};
use kedge_machine::{Plate, Tree};

use crate::whereabouts::Link;

/// What `sshd` leaves for others: the fingerprint of its host key, and where it listens.
const FINGERPRINT: &str = "/run/kedge/ssh/fingerprint";
const PORT: &str = "/run/kedge/ssh/port";

/// A datagram of this size needs no fragments on any link that carries IPv6 with a tunnel or two.
pub const DATAGRAM: usize = 1400;
/// The longest text that is taken from the firmware.
const LONGEST: usize = 64;

/// What others may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    hostname: String,
    plate: Plate,
    fingerprint: Option<String>,
    port: Option<u16>,
    uptime: Option<u64>,
    links: Vec<Link>,
}

impl Facts {
    /// This machine, with the links that were found.
    pub fn of(links: Vec<Link>) -> Facts {
        let tree = Tree::here();
        let line = |path: &str| {
            let text = std::fs::read_to_string(Path::new(path)).ok()?;
            text.lines().next().map(|line| line.trim().to_string())
        };
        let uptime = std::fs::read_to_string(tree.proc.join("uptime")).ok();
        let short = |text: Option<String>| text.map(|text| text.chars().take(LONGEST).collect());
        let plate = Plate::read(&tree);
        Facts {
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            plate: Plate {
                vendor: short(plate.vendor),
                product: short(plate.product),
                serial: short(plate.serial),
            },
            fingerprint: short(line(FINGERPRINT)),
            port: line(PORT).and_then(|port| port.parse().ok()),
            uptime: uptime.and_then(|text| text.split('.').next()?.parse().ok()),
            links,
        }
    }

    /// The object, on one line.
    pub fn json(&self) -> String {
        self.json_with(&self.links, false)
    }

    /// The object in at most [`DATAGRAM`] bytes, with `"shortened":true` when something had to be
    /// left out: addresses from the last link on, of each link the last first; then links.
    pub fn datagram(&self) -> String {
        let mut json = self.json();
        if json.len() <= DATAGRAM {
            return json;
        }
        // More than this cannot fit, and taking it away one by one would take long.
        let mut links: Vec<Link> = self.links.iter().take(64).cloned().collect();
        let share = (128 / links.len().max(1)).max(1);
        for link in &mut links {
            link.addresses.truncate(share);
        }
        while json.len() > DATAGRAM {
            match links.iter().rposition(|link| link.addresses.len() > 1) {
                Some(at) => drop(links[at].addresses.pop()),
                None if links.pop().is_some() => {}
                None => break,
            }
            json = self.json_with(&links, true);
        }
        json
    }

    fn json_with(&self, links: &[Link], shortened: bool) -> String {
        let address = |address: &IpAddr| text(&address.to_string());
        let links = links.iter().map(|link| {
            object(&[
                ("name", text(&link.name)),
                ("mac", text(&link.mac)),
                ("addresses", array(link.addresses.iter().map(address))),
            ])
        });
        let mut members = vec![
            ("version", text(env!("CARGO_PKG_VERSION"))),
            ("hostname", text(&self.hostname)),
            ("vendor", optional(self.plate.vendor.as_deref())),
            ("product", optional(self.plate.product.as_deref())),
            ("serial", optional(self.plate.serial.as_deref())),
            ("fingerprint", optional(self.fingerprint.as_deref())),
            ("port", number(self.port)),
            ("uptime", number(self.uptime)),
            ("links", array(links)),
        ];
        if shortened {
            members.push(("shortened", "true".into()));
        }
        object(&members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    fn facts(links: usize, addresses: u16) -> Facts {
        let long = || Some("\u{1}".repeat(LONGEST));
        Facts {
            hostname: "h".repeat(64),
            plate: Plate {
                vendor: long(),
                product: None,
                serial: Some("7XK2P53".into()),
            },
            fingerprint: Some("SHA256:CDbKTkvfF8UN3IEmz0UQ2qOrnJjgcXOlhmeBeSUPt88".into()),
            port: Some(22),
            uptime: Some(4_000_000),
            links: (0..links)
                .map(|link| Link {
                    name: format!("eth{link}"),
                    mac: "52:54:00:00:00:01".into(),
                    addresses: (0..addresses)
                        .map(|n| Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0x1234, 5, 6, n).into())
                        .collect(),
                })
                .collect(),
        }
    }

    #[test]
    fn a_datagram_is_never_longer_than_a_packet_and_keeps_the_first_address() {
        for (links, addresses) in [(0, 0), (1, 1), (1, 300), (4, 3), (40, 1), (300, 20)] {
            let datagram = facts(links, addresses).datagram();
            assert!(datagram.len() <= DATAGRAM, "{links} {addresses}");
            let whole = facts(links, addresses).json().len() <= DATAGRAM;
            assert_eq!(datagram.contains("\"shortened\":true"), !whole);
            if links > 0 {
                assert!(
                    datagram.contains("\"2001:db8:1:2:1234:5:6:0\""),
                    "{datagram}"
                );
            }
        }
    }

    #[test]
    fn the_object_is_what_programs_expect() {
        let mut facts = facts(1, 1);
        facts.plate.vendor = None;
        facts.hostname = "web1".into();
        assert_eq!(
            facts.json(),
            concat!(
                r#"{"version":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","hostname":"web1","vendor":null,"product":null,"serial":"7XK2P53","#,
                r#""fingerprint":"SHA256:CDbKTkvfF8UN3IEmz0UQ2qOrnJjgcXOlhmeBeSUPt88","port":22,"#,
                r#""uptime":4000000,"links":[{"name":"eth0","mac":"52:54:00:00:00:01","#,
                r#""addresses":["2001:db8:1:2:1234:5:6:0"]}]}"#
            )
        );
    }
}
