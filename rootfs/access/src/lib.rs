//! How to get in, in three lines for the banner of every console: the addresses, the ssh line to type,
//! and the fingerprint to compare. Looked up anew each time, unlike what the machine is.

use std::net::IpAddr;

use kedge_net::rtnetlink::Address;
use kedge_net::status::Status;
use kedge_sshd::access;

/// Columns, as in the rest of the banner.
const WIDTH: usize = 79;

/// What there is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Access {
    /// Link, address with prefix, and who gave it; the best to connect to first.
    addresses: Vec<(String, String, &'static str)>,
    /// The first of them by itself.
    host: Option<IpAddr>,
    fingerprint: Option<String>,
    port: Option<u16>,
    /// Somebody may log in.
    key: bool,
}

/// The lines of this machine, each with its line feed.
pub fn text() -> String {
    lines(&look())
}

fn look() -> Access {
    let mut access = Access {
        fingerprint: access::fingerprint(),
        port: access::port(),
        key: access::has_key(),
        ..Access::default()
    };
    let Ok(status) = Status::look() else {
        return access;
    };
    let link = |address: &Address| {
        let links = status.links.iter();
        links.into_iter().find(|link| link.index == address.link)
    };
    // The link that has the default route is the one that can be reached from afar.
    let rank = |address: &Address| {
        let ipv6 = address.prefix.address.is_ipv6();
        let metrics = status.routes.iter().filter(|route| {
            route.is_default() && route.link == address.link && route.to.address.is_ipv6() == ipv6
        });
        (metrics.map(|r| r.metric).min().unwrap_or(u32::MAX), ipv6)
    };
    let mut usable: Vec<&Address> = status
        .addresses
        .iter()
        .filter(|a| a.is_usable() && link(a).is_some())
        .collect();
    usable.sort_by_key(|address| {
        let (metric, ipv6) = rank(address);
        (ipv6, metric)
    });
    access.host = usable.first().map(|address| address.prefix.address);
    access.addresses = usable
        .iter()
        .map(|address| {
            let name = link(address).map_or(String::new(), |link| link.name.clone());
            (name, address.prefix.to_string(), address.origin.words())
        })
        .collect();
    access
}

fn lines(access: &Access) -> String {
    let mut text = String::new();
    let mut line = |title: &str, content: &str| {
        let mut line = format!("{title:<9}{content}");
        if line.len() > WIDTH {
            line.truncate(WIDTH - 3);
            line.push_str("...");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    if access.addresses.is_empty() {
        line("Network", "no address yet; type: net, or net setup");
    } else {
        let all: Vec<String> = access
            .addresses
            .iter()
            .map(|(link, address, origin)| format!("{link} {address} ({origin})"))
            .collect();
        line("Network", &all.join(", "));
    }
    match (access.host, access.port) {
        (_, _) if !access.key => line("SSH", "nobody may log in yet; type: ssh-allow"),
        (Some(host), Some(22)) => line("SSH", &format!("ssh root@{host}")),
        (Some(host), Some(port)) => line("SSH", &format!("ssh -p {port} root@{host}")),
        (None, _) => line("SSH", "ready, once there is an address"),
        (_, None) => line("SSH", "not running: see dmesg"),
    }
    if let Some(fingerprint) = &access.fingerprint {
        line("", &format!("host key {fingerprint}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access {
            addresses: vec![("eth0".into(), "192.0.2.7/24".into(), "DHCP")],
            host: "192.0.2.7".parse().ok(),
            fingerprint: Some(format!("SHA256:{}", "x".repeat(43))),
            port: Some(22),
            key: true,
        }
    }

    #[test]
    fn the_exact_line_to_type_and_the_fingerprint() {
        let text = lines(&access());
        assert!(text.contains("SSH      ssh root@192.0.2.7\n"), "{text}");
        assert!(text.contains("         host key SHA256:xxx"), "{text}");
        let other = Access {
            port: Some(2222),
            ..access()
        };
        assert!(lines(&other).contains("ssh -p 2222 root@192.0.2.7\n"));
    }

    #[test]
    fn without_a_key_or_an_address_it_says_what_to_type() {
        let closed = Access {
            key: false,
            port: None,
            ..access()
        };
        assert!(lines(&closed).contains("ssh-allow"));
        let nowhere = Access {
            addresses: vec![],
            host: None,
            ..access()
        };
        assert!(lines(&nowhere).contains("net setup"));
    }

    #[test]
    fn three_lines_of_79_columns_at_most() {
        let mut many = access();
        many.addresses = vec![("eth0".into(), "2001:db8:1:2:3:4:5:6/64".into(), "DHCP"); 9];
        let text = lines(&many);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.len() <= WIDTH));
    }
}
