//! Whom to tell, and telling once.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use crate::dyndns2::{LONGEST_ANSWER, Meaning, Server, meaning};
use crate::payload::Facts;
use crate::whereabouts::{Link, public};

/// How long one attempt may take.
const LONGEST: Duration = Duration::from_secs(30);
/// JSON is sent again so often when nothing changed.
const EVERY: Duration = Duration::from_secs(600);
/// A dynamic DNS server is told again so often: more would be abuse ...
const EVERY_DNS: Duration = Duration::from_secs(24 * 3600);
/// ... unless it alone can see which address this machine has.
const EVERY_DNS_BLIND: Duration = Duration::from_secs(3600);

/// Somebody who wants to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    /// Scheme and host, as it may be shown: paths, too, may hold tokens.
    name: String,
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Post { url: String },
    Datagram { host: String },
    Dyndns2(Server),
}

/// Why somebody could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In words, without secrets.
    pub why: String,
    /// It makes no sense to try again.
    pub permanent: bool,
    /// The least time until the next try.
    pub wait: Option<Duration>,
}

impl Failure {
    fn passing(why: impl ToString) -> Failure {
        Failure {
            why: why.to_string(),
            permanent: false,
            wait: None,
        }
    }
}

impl Destination {
    /// From one of the URLs that `kedge.beacon=` takes. Each host of a dynamic DNS server is one.
    ///
    /// # Errors
    /// What is wrong, with the URL as far as it may be shown.
    pub fn parse(url: &str) -> Result<Vec<Destination>, String> {
        let shown = kedge_web::shown(url);
        let fail = |why: String| format!("{shown} {why}");
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| fail("is no URL".into()))?;
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(fail("holds what no URL holds".into()));
        }
        let kinds = match scheme {
            "http" | "https" => {
                kedge_web::Address::parse(url).map_err(|e| fail(e.to_string()))?;
                vec![Kind::Post { url: url.into() }]
            }
            "udp" => {
                let host = rest.trim_end_matches('/');
                match host.rsplit_once(':') {
                    Some((name, port))
                        if !name.is_empty()
                            && !name.contains(['/', '@', '?'])
                            && port.parse::<u16>().is_ok_and(|port| port > 0) => {}
                    _ => return Err(fail("is not udp://HOST:PORT".into())),
                }
                vec![Kind::Datagram { host: host.into() }]
            }
            "dyndns2" => dyndns2(Server::parse("https", rest).map_err(fail)?),
            "dyndns2+http" => dyndns2(Server::parse("http", rest).map_err(fail)?),
            _ => {
                return Err(fail(
                    "is none of http://, https://, udp://, dyndns2:// and dyndns2+http://".into(),
                ));
            }
        };
        let host_end = shown.find("://").map_or(0, |at| at + 3);
        let host = shown[host_end..]
            .find('/')
            .map_or(shown.len(), |at| host_end + at);
        let host = shown[..host].trim_end_matches("?...");
        Ok(kinds
            .into_iter()
            .map(|kind| Destination {
                name: match &kind {
                    Kind::Dyndns2(server) => format!("{host} ({})", server.hosts()),
                    _ => host.to_string(),
                },
                kind,
            })
            .collect())
    }

    /// What would be sent now, for people; without secrets.
    pub fn show(&self, links: &[Link]) -> String {
        match &self.kind {
            Kind::Post { .. } => {
                format!("{}: POST {}\n", self.name, Facts::of(links.to_vec()).json())
            }
            Kind::Datagram { .. } => format!(
                "{}: datagram {}\n",
                self.name,
                Facts::of(links.to_vec()).datagram()
            ),
            Kind::Dyndns2(server) => {
                let requests = server.requests(links);
                if requests.is_empty() {
                    return format!("{}: nothing: no address to tell\n", self.name);
                }
                requests
                    .iter()
                    .map(|url| {
                        // Other parameters may be secrets.
                        let query = url.split_once('?').map_or("", |(_, query)| query);
                        let known: Vec<&str> = query
                            .split('&')
                            .filter(|p| p.starts_with("hostname=") || p.starts_with("myip"))
                            .collect();
                        format!("{}: GET {}\n", self.name, known.join("&"))
                    })
                    .collect()
            }
        }
    }

    /// What this destination wants to know of: it is told when this changes.
    pub fn interest(&self, links: &[Link]) -> Vec<String> {
        match &self.kind {
            Kind::Dyndns2(server) => server.requests(links),
            _ => links
                .iter()
                .flat_map(|link| {
                    link.addresses
                        .iter()
                        .map(|address| format!("{} {address}", link.name))
                })
                .collect(),
        }
    }

    /// How often it is told when nothing changed.
    pub fn every(&self, links: &[Link]) -> Duration {
        match (&self.kind, public(links)) {
            (Kind::Dyndns2(_), (None, None)) => EVERY_DNS_BLIND,
            (Kind::Dyndns2(_), _) => EVERY_DNS,
            _ => EVERY,
        }
    }

    /// Tells it. Blocks for 30 seconds at most for each request.
    ///
    /// # Errors
    /// Why it could not be told.
    pub fn tell(&self, links: &[Link]) -> Result<(), Failure> {
        match &self.kind {
            Kind::Post { url } => {
                let json = Facts::of(links.to_vec()).json();
                kedge_web::post(url, "application/json", json.as_bytes(), LONGEST)
                    .map_err(|error| Failure::passing(error.problem))
            }
            Kind::Datagram { host } => {
                let json = Facts::of(links.to_vec()).datagram();
                datagram(host, json.as_bytes())
            }
            Kind::Dyndns2(server) => server
                .requests(links)
                .iter()
                .try_for_each(|url| update(url)),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

fn dyndns2(server: Server) -> Vec<Kind> {
    server.split().into_iter().map(Kind::Dyndns2).collect()
}

fn update(url: &str) -> Result<(), Failure> {
    let answer = kedge_web::get_whatever(url, LONGEST_ANSWER, LONGEST)
        .map_err(|error| Failure::passing(error.problem))?;
    match meaning(&answer) {
        Meaning::Done => Ok(()),
        Meaning::Permanent(why) => Err(Failure {
            why,
            permanent: true,
            wait: None,
        }),
        Meaning::Later(why, wait) => Err(Failure {
            why,
            permanent: false,
            wait,
        }),
    }
}

/// Sends one datagram to the first address that takes it.
fn datagram(host: &str, payload: &[u8]) -> Result<(), Failure> {
    let addresses = host
        .to_socket_addrs()
        .map_err(|error| Failure::passing(format!("its name is not known: {error}")))?;
    let mut failure = Failure::passing("its name has no address");
    for address in addresses {
        let sent = match address {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
        }
        .and_then(|socket| socket.send_to(payload, address));
        match sent {
            Ok(_) => return Ok(()),
            Err(error) => failure = Failure::passing(format!("cannot send: {error}")),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_in_a_name() {
        for (url, name) in [
            (
                "https://h.example/T000/secret?x=secret",
                "https://h.example",
            ),
            ("http://u:secret@h:8080/", "http://h:8080"),
            ("udp://[2001:db8::1]:5", "udp://[2001:db8::1]:5"),
            ("dyndns2://u:secret@h?hostname=a", "dyndns2://h (a)"),
            (
                "dyndns2+http://u:secret@h/x?hostname=a,b&t=secret",
                "dyndns2+http://h (a,b)",
            ),
        ] {
            assert_eq!(Destination::parse(url).unwrap()[0].to_string(), name);
        }
    }

    #[test]
    fn each_host_of_a_server_is_told_on_its_own() {
        let url = "dyndns2://u:t@h?hostname=a,b&prefix=64:nas=::1,tv=::2";
        let names: Vec<String> = Destination::parse(url)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            names,
            ["dyndns2://h (a,b)", "dyndns2://h (nas)", "dyndns2://h (tv)"]
        );
    }

    #[test]
    fn what_cannot_be_told_is_refused_without_secrets() {
        for url in [
            "",
            "h.example",
            "ftp://u:secret@h/",
            "mailto:secret",
            "udp://h",
            "udp://h:0",
            "udp://h:99999",
            "udp://:5",
            "udp://u:secret@h:5",
            "https://u:secret@/",
            "https://h/a b?secret",
            "dyndns2://h/?hostname=secret",
            "dyndns2://u:secret@h/",
        ] {
            let error = Destination::parse(url)
                .err()
                .unwrap_or_else(|| panic!("{url}"));
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
