//! The dyndns2 update protocol: `GET /nic/update?hostname=...&myip=...` with basic authentication, and an
//! answer of one word a host. <https://help.dyn.com/remote-access-api/perform-update/>
//!
//! Servers call needless updates abuse, so this is sent when addresses change, and else once a day.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use kedge_web::Answer;

use crate::prefix::{self, Host, is_host_name};
use crate::whereabouts::{Link, public};

/// The longest answer.
pub(crate) const LONGEST_ANSWER: u64 = 4096;
/// How long a server wants to be left alone that has trouble ("911").
const TROUBLE: Duration = Duration::from_secs(1800);
/// Where the protocol has its place when the URL names none.
const PATH: &str = "/nic/update";

/// How IPv6 addresses are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum V6 {
    /// `myip=A,AAAA`: what most servers take.
    InMyip,
    /// `myip=A&myipv6=AAAA`.
    OwnParameter,
    /// Not at all.
    Off,
}

/// A server, and the hosts it is told about.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Up to the question mark, with the login.
    url: String,
    hostname: Option<String>,
    v4: bool,
    v6: V6,
    hosts: Vec<Host>,
    /// Parameters that go on as they are.
    others: Vec<String>,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// `good` or `nochg`.
    Done,
    /// It makes no sense to ask again before somebody has changed something.
    Permanent(String),
    /// It may work later; not before this time, where the protocol says so.
    Later(String, Option<Duration>),
}

impl Server {
    /// From what follows `dyndns2://` (then `scheme` is https) or `dyndns2+http://`.
    ///
    /// # Errors
    /// What is wrong, without the token.
    pub fn parse(scheme: &str, rest: &str) -> Result<Server, String> {
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        let url = format!("{scheme}://{base}");
        let address = kedge_web::Address::parse(&url).map_err(|e| e.to_string())?;
        if address.login.is_none() {
            return Err("has no user:token@ before its host".into());
        }
        // Where the path begins: after the authority.
        let url = match base.split_once('/') {
            None | Some((_, "")) => format!("{scheme}://{}{PATH}", base.trim_end_matches('/')),
            Some(_) => url,
        };
        let mut server = Server {
            url,
            hostname: None,
            v4: true,
            v6: V6::InMyip,
            hosts: Vec::new(),
            others: Vec::new(),
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("hostname", names) if names.split(',').all(is_host_name) => {
                    server.hostname = Some(names.into());
                }
                ("hostname", names) => return Err(format!("'{names}' is no host name")),
                ("prefix", value) => server.hosts.extend(prefix::parse(value)?),
                ("v4", "off") => server.v4 = false,
                ("v6", "off") => server.v6 = V6::Off,
                ("v6", "myipv6") => server.v6 = V6::OwnParameter,
                ("v4" | "v6", _) => {
                    return Err("takes v4=off, v6=off and v6=myipv6".into());
                }
                ("myip" | "myipv6", _) => {
                    return Err("sends this machine's addresses; without myip".into());
                }
                _ => server.others.push(parameter.into()),
            }
        }
        if server.hostname.is_none() && server.hosts.is_empty() {
            return Err("says no hostname= and no prefix=".into());
        }
        Ok(server)
    }

    /// One server for each request: what is wrong with one host must not keep the others from being
    /// told.
    pub fn split(self) -> Vec<Server> {
        let own = self.hostname.is_some().then(|| Server {
            hosts: Vec::new(),
            ..self.clone()
        });
        let others = self.hosts.iter().map(|host| Server {
            hostname: None,
            hosts: vec![host.clone()],
            ..self.clone()
        });
        own.into_iter().chain(others).collect()
    }

    /// Whom it is about.
    pub fn hosts(&self) -> String {
        let names = self.hosts.iter().map(|host| host.name.as_str());
        let all: Vec<&str> = self.hostname.as_deref().into_iter().chain(names).collect();
        all.join(",")
    }

    /// The requests that tell about these addresses: one for this machine, one for each host of
    /// `prefix=`. Without any address there is none.
    pub fn requests(&self, links: &[Link]) -> Vec<String> {
        let (v4, v6) = public(links);
        let has_any = links.iter().any(|link| !link.addresses.is_empty());
        let mut requests = Vec::new();
        if let Some(hostname) = &self.hostname
            && has_any
        {
            let v4 = v4.filter(|_| self.v4);
            let v6 = v6.filter(|_| self.v6 != V6::Off);
            requests.push(self.request(hostname, v4, v6));
        }
        if let Some(own) = v6 {
            for host in &self.hosts {
                requests.push(self.request(&host.name, None, Some(host.address(own))));
            }
        }
        requests
    }

    fn request(&self, hostname: &str, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> String {
        let mut url = format!("{}?hostname={hostname}", self.url);
        let (v4, v6) = (v4.map(|a| a.to_string()), v6.map(|a| a.to_string()));
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                url.push_str(&format!("&{name}={value}"));
            }
        };
        match (self.v6, v4, v6) {
            (V6::OwnParameter, v4, v6) => {
                add("myip", v4);
                add("myipv6", v6);
            }
            (_, Some(v4), Some(v6)) => add("myip", Some(format!("{v4},{v6}"))),
            // Without any, the server takes the address that the request comes from.
            (_, v4, v6) => add("myip", v4.or(v6)),
        }
        for parameter in &self.others {
            url.push('&');
            url.push_str(parameter);
        }
        url
    }
}

/// What a server answered. The worst of several lines counts.
pub fn meaning(answer: &Answer) -> Meaning {
    match answer.status {
        200..=299 => {}
        // Many servers say so in both ways, some in this only.
        401 => return permanent("badauth"),
        429 => return Meaning::Later("it is asked too often (429)".into(), Some(TROUBLE)),
        status => return Meaning::Later(format!("status {status}"), None),
    }
    let text = String::from_utf8_lossy(&answer.body);
    let mut meaning = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match (line_meaning(line), &meaning) {
            (Meaning::Done, None) => meaning = Some(Meaning::Done),
            (Meaning::Done, _) | (_, Some(Meaning::Permanent(_))) => {}
            (Meaning::Later(..), Some(Meaning::Later(..))) => {}
            (worse, _) => meaning = Some(worse),
        }
    }
    meaning.unwrap_or(Meaning::Later("an empty answer".into(), None))
}

fn line_meaning(line: &str) -> Meaning {
    let word = line.split_whitespace().next().unwrap_or_default();
    match word {
        "good" | "nochg" => Meaning::Done,
        "badauth" | "!donator" | "notfqdn" | "nohost" | "!yours" | "numhost" | "abuse"
        | "badagent" | "badsys" => permanent(word),
        "911" | "dnserr" => Meaning::Later(
            format!("the server has trouble of its own ({word})"),
            Some(TROUBLE),
        ),
        _ => {
            let shown: String = line.chars().take(60).collect();
            Meaning::Later(
                format!("an answer that is none: '{}'", shown.escape_debug()),
                None,
            )
        }
    }
}

fn permanent(word: &str) -> Meaning {
    let why = match word {
        "badauth" => "user or token is wrong",
        "!donator" => "this account may not do that",
        "notfqdn" => "the host name has no domain",
        "nohost" | "!yours" => "there is no such host in this account",
        "numhost" => "too many hosts at once",
        "abuse" => "the host is blocked for abuse",
        _ => "the server does not take such updates",
    };
    Meaning::Permanent(format!("{why} ({word})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(addresses: &[&str]) -> Vec<Link> {
        vec![Link {
            name: "eth0".into(),
            mac: "52:54:00:00:00:01".into(),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        }]
    }

    fn requests(rest: &str, addresses: &[&str]) -> Vec<String> {
        Server::parse("https", rest)
            .unwrap()
            .requests(&links(addresses))
    }

    const BOTH: [&str; 3] = ["10.0.0.1", "192.0.2.7", "2001:db8:0:7::1"];

    #[test]
    fn requests_are_as_the_protocol_has_them() {
        assert_eq!(
            requests(
                "u:t@h.example/?hostname=a.example,b.example&wildcard=ON",
                &BOTH
            ),
            [
                "https://u:t@h.example/nic/update?hostname=a.example,b.example\
              &myip=192.0.2.7,2001:db8:0:7::1&wildcard=ON"
            ]
        );
        assert_eq!(
            requests("u:t@h:8443/v3/update?hostname=a&v6=myipv6", &BOTH),
            ["https://u:t@h:8443/v3/update?hostname=a&myip=192.0.2.7&myipv6=2001:db8:0:7::1"]
        );
        assert_eq!(
            requests("u:t@h?hostname=a&v6=off", &BOTH),
            ["https://u:t@h/nic/update?hostname=a&myip=192.0.2.7"]
        );
        assert_eq!(
            requests("u:t@h?hostname=a&v4=off", &BOTH),
            ["https://u:t@h/nic/update?hostname=a&myip=2001:db8:0:7::1"]
        );
    }

    #[test]
    fn behind_a_translation_the_server_takes_the_address_it_sees() {
        assert_eq!(
            requests("u:t@h?hostname=a", &["192.168.1.5"]),
            ["https://u:t@h/nic/update?hostname=a"]
        );
        assert!(requests("u:t@h?hostname=a&prefix=64:b=::1", &[]).is_empty());
    }

    #[test]
    fn hosts_of_the_prefix_are_told_one_by_one() {
        assert_eq!(
            requests("u:t@h?prefix=64:nas=::9,tv=00:11:22:33:44:55", &BOTH),
            [
                "https://u:t@h/nic/update?hostname=nas&myip=2001:db8:0:7::9",
                "https://u:t@h/nic/update?hostname=tv&myip=2001:db8:0:7:211:22ff:fe33:4455"
            ]
        );
        assert!(requests("u:t@h?prefix=64:nas=::9", &["192.0.2.7"]).is_empty());
    }

    #[test]
    fn urls_that_cannot_work_are_refused_without_showing_the_token() {
        for wrong in [
            "h?hostname=a",
            "u:t0ken@h",
            "u:t0ken@h/?",
            "u:t0ken@h/?hostname=",
            "u:t0ken@h/?hostname=a b",
            "u:t0ken@h/?hostname=a,,b",
            "u:t0ken@h/?hostname=a&myip=1.2.3.4",
            "u:t0ken@h/?hostname=a&v6=on",
            "u:t0ken@h/?hostname=a&prefix=64",
            "u:t0ken@/?hostname=a",
            "",
        ] {
            let error = Server::parse("https", wrong).err();
            let error = error.unwrap_or_else(|| panic!("{wrong}"));
            assert!(!error.contains("t0ken"), "{error}");
        }
    }

    #[test]
    fn answers_are_understood() {
        let of = |status: u16, body: &str| {
            meaning(&Answer {
                date: None,
                status,
                body: body.as_bytes().to_vec(),
            })
        };
        assert_eq!(of(200, "good 192.0.2.7\r\n"), Meaning::Done);
        assert_eq!(of(200, "nochg 192.0.2.7"), Meaning::Done);
        assert_eq!(of(200, "good 1.2.3.4\nnochg 1.2.3.4\n"), Meaning::Done);
        for word in ["badauth", "nohost", "notfqdn", "abuse", "!donator"] {
            assert!(matches!(of(200, word), Meaning::Permanent(_)), "{word}");
            let second = format!("911\ngood 1.2.3.4\n{word}\ngood\n");
            assert!(matches!(of(200, &second), Meaning::Permanent(_)), "{word}");
        }
        assert!(matches!(of(401, "badauth"), Meaning::Permanent(_)));
        assert!(matches!(of(200, "911"), Meaning::Later(_, Some(_))));
        assert!(matches!(of(200, "good\n911"), Meaning::Later(_, Some(_))));
        for nothing in ["", "\n\n", "<html>\u{1b}[2J", "goodness"] {
            let Meaning::Later(why, None) = of(200, nothing) else {
                panic!("{nothing}");
            };
            assert!(why.is_ascii() && !why.contains('\u{1b}'), "{why}");
        }
        assert!(matches!(of(503, "good"), Meaning::Later(_, None)));
    }
}
