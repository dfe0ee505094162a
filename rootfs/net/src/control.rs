//! What the daemon is told: by DHCP clients, and by `net up`. One datagram a message, on a socket that
//! only root can write to.
//!
//! The form is text, one `name=value` a line, the kind first; it never leaves the machine, and both ends
//! are the same program.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::prefix::Prefix;

/// Where the daemon listens.
pub const SOCKET: &str = "/run/kedge/net/control";

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A DHCPv4 server gave or renewed an address.
    Lease4 {
        /// The link's name.
        link: String,
        /// What it gave.
        lease: Lease4,
    },
    /// There is no lease any more: it ran out, or the server took it back.
    Expired4 {
        /// The link's name.
        link: String,
    },
    /// A DHCPv6 server gave or renewed addresses.
    Lease6 {
        /// The link's name.
        link: String,
        /// Each with the seconds for which it is preferred, and valid.
        addresses: Vec<(Ipv6Addr, u32, u32)>,
        /// DNS servers.
        nameservers: Vec<Ipv6Addr>,
        /// Time servers.
        ntp: Vec<Ipv6Addr>,
    },
    /// The DHCPv6 lease ran out.
    Expired6 {
        /// The link's name.
        link: String,
    },
    /// The operator has set up this link; DHCP clients leave it alone.
    Manual {
        /// The link's name.
        link: String,
        /// The operator's DNS servers; the ones told before go.
        nameservers: Vec<IpAddr>,
    },
    /// The operator wants this link to be set up by asking.
    Automatic {
        /// The link's name.
        link: String,
    },
    /// Something that the daemon started is done.
    Wake,
}

/// A DHCPv4 lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease4 {
    /// The address.
    pub address: Prefix,
    /// Who gave it.
    pub server: Option<Ipv4Addr>,
    /// The gateway; the first, where there are several.
    pub gateway: Option<Ipv4Addr>,
    /// RFC 3442; where there are any, they take the gateway's place.
    pub routes: Vec<(Prefix, Ipv4Addr)>,
    /// DNS servers.
    pub nameservers: Vec<Ipv4Addr>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The link's largest packet in bytes.
    pub mtu: Option<u32>,
    /// How many seconds it lasts.
    pub lifetime: Option<u32>,
}

/// The socket on which the daemon is told.
pub(crate) fn listen() -> io::Result<UnixDatagram> {
    let path = Path::new(SOCKET);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let socket = UnixDatagram::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Tells the daemon.
///
/// # Errors
/// When there is none.
pub fn tell(message: &Message) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.send_to(message.to_text().as_bytes(), SOCKET)?;
    Ok(())
}

/// The next message, `None` when there is none now.
pub(crate) fn next(socket: &UnixDatagram) -> Option<Message> {
    let mut buffer = [0; 8192];
    loop {
        let length = socket.recv(&mut buffer).ok()?;
        let text = String::from_utf8_lossy(buffer.get(..length)?);
        if let Some(message) = Message::from_text(&text) {
            return Some(message);
        }
    }
}

fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    values.join(" ")
}

impl Message {
    fn to_text(&self) -> String {
        match self {
            Message::Lease4 { link, lease } => {
                let optional =
                    |value: Option<Ipv4Addr>| value.map_or(String::new(), |v| v.to_string());
                let routes: Vec<String> = lease
                    .routes
                    .iter()
                    .map(|(to, gateway)| format!("{to} {gateway}"))
                    .collect();
                format!(
                    "lease4\nlink={link}\naddress={}\nserver={}\ngateway={}\nroutes={}\ndns={}\nntp={}\nmtu={}\nlifetime={}\n",
                    lease.address,
                    optional(lease.server),
                    optional(lease.gateway),
                    routes.join(" "),
                    list(&lease.nameservers),
                    list(&lease.ntp),
                    lease.mtu.map_or(String::new(), |mtu| mtu.to_string()),
                    lease
                        .lifetime
                        .map_or(String::new(), |seconds| seconds.to_string()),
                )
            }
            Message::Expired4 { link } => format!("expired4\nlink={link}\n"),
            Message::Lease6 {
                link,
                addresses,
                nameservers,
                ntp,
            } => {
                let addresses: Vec<String> = addresses
                    .iter()
                    .map(|(address, preferred, valid)| format!("{address} {preferred} {valid}"))
                    .collect();
                format!(
                    "lease6\nlink={link}\naddresses={}\ndns={}\nntp={}\n",
                    addresses.join(" "),
                    list(nameservers),
                    list(ntp)
                )
            }
            Message::Expired6 { link } => format!("expired6\nlink={link}\n"),
            Message::Manual { link, nameservers } => {
                format!("manual\nlink={link}\ndns={}\n", list(nameservers))
            }
            Message::Automatic { link } => format!("automatic\nlink={link}\n"),
            Message::Wake => "wake\n".into(),
        }
    }

    fn from_text(text: &str) -> Option<Message> {
        let (kind, rest) = text.split_once('\n')?;
        let fields: BTreeMap<&str, &str> = rest
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default();
        let link = field("link").to_owned();
        Some(match kind {
            "lease4" => Message::Lease4 {
                link,
                lease: Lease4 {
                    address: field("address").parse().ok()?,
                    server: field("server").parse().ok(),
                    gateway: field("gateway").parse().ok(),
                    routes: routes(field("routes")),
                    nameservers: words(field("dns")),
                    ntp: words(field("ntp")),
                    mtu: field("mtu").parse().ok(),
                    lifetime: field("lifetime").parse().ok(),
                },
            },
            "expired4" => Message::Expired4 { link },
            "lease6" => {
                let words: Vec<&str> = field("addresses").split(' ').collect();
                let addresses = words
                    .chunks_exact(3)
                    .map(|w| Some((w[0].parse().ok()?, w[1].parse().ok()?, w[2].parse().ok()?)))
                    .collect::<Option<Vec<_>>>()?;
                Message::Lease6 {
                    link,
                    addresses,
                    nameservers: self::words(field("dns")),
                    ntp: self::words(field("ntp")),
                }
            }
            "expired6" => Message::Expired6 { link },
            "manual" => Message::Manual {
                link,
                nameservers: words(field("dns")),
            },
            "automatic" => Message::Automatic { link },
            "wake" => Message::Wake,
            _ => return None,
        })
    }
}

/// Every word that is what it should be.
pub(crate) fn words<T: std::str::FromStr>(text: &str) -> Vec<T> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// `NET/LENGTH GATEWAY NET/LENGTH GATEWAY ...`
pub(crate) fn routes(text: &str) -> Vec<(Prefix, Ipv4Addr)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .chunks_exact(2)
        .filter_map(|pair| Some((pair[0].parse().ok()?, pair[1].parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let link = || "eth0".to_owned();
        for message in [
            Message::Lease4 {
                link: link(),
                lease: Lease4 {
                    address: "192.0.2.7/24".parse().unwrap(),
                    server: Some(Ipv4Addr::new(192, 0, 2, 1)),
                    gateway: None,
                    routes: vec![("0.0.0.0/0".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 1))],
                    nameservers: words("192.0.2.53 192.0.2.54"),
                    ntp: words("192.0.2.123"),
                    mtu: Some(1400),
                    lifetime: Some(3600),
                },
            },
            Message::Lease6 {
                link: link(),
                addresses: vec![("2001:db8::7".parse().unwrap(), 1, 2)],
                nameservers: words("2001:db8::53"),
                ntp: vec![],
            },
            Message::Expired4 { link: link() },
            Message::Expired6 { link: link() },
            Message::Manual {
                link: link(),
                nameservers: words("192.0.2.53 2001:db8::53"),
            },
            Message::Automatic { link: link() },
            Message::Wake,
        ] {
            assert_eq!(Message::from_text(&message.to_text()), Some(message));
        }
        assert_eq!(Message::from_text("lease4\nlink=eth0\naddress=x\n"), None);
        assert_eq!(Message::from_text(""), None);
    }
}
