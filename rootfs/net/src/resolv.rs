//! `/etc/resolv.conf` (resolv.conf(5)), from everybody who told DNS servers; and the time servers that
//! DHCP told, for the clock.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// One address a line; what `clock` reads.
const TIME_SERVERS: &str = "/run/kedge/net/ntp";

/// Servers, and who told them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    by: String,
    nameservers: Vec<IpAddr>,
    ntp: Vec<IpAddr>,
}

/// Everybody's, in the order in which they were told; those of the command line first.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    told: Vec<Told>,
    written: Option<String>,
}

impl Servers {
    /// Takes what somebody told, in place of what they told before, and writes the files anew.
    pub(crate) fn set(&mut self, by: &str, nameservers: Vec<IpAddr>, ntp: Vec<IpAddr>) {
        let told = Told {
            by: by.to_owned(),
            nameservers,
            ntp,
        };
        match self.told.iter_mut().find(|told| told.by == by) {
            Some(before) => *before = told,
            None => self.told.push(told),
        }
        self.told
            .retain(|told| !told.nameservers.is_empty() || !told.ntp.is_empty());
        self.write();
    }

    /// Forgets what everybody on this link told.
    pub(crate) fn forget(&mut self, link: &str) {
        let prefix = format!("{link}, ");
        self.told.retain(|told| !told.by.starts_with(&prefix));
        self.write();
    }

    fn write(&mut self) {
        let text = self.resolv_conf();
        let times: String = self
            .told
            .iter()
            .flat_map(|told| &told.ntp)
            .map(|server| format!("{server}\n"))
            .collect();
        let both = format!("{text}{times}");
        if self.written.as_ref() == Some(&both) {
            return;
        }
        for (path, content) in [(RESOLV_CONF, &text), (TIME_SERVERS, &times)] {
            if let Err(e) = replace(Path::new(path), content) {
                kedge_message::warning!("cannot write {path}: {e}");
            }
        }
        self.written = Some(both);
    }

    fn resolv_conf(&self) -> String {
        let mut text = String::new();
        let mut seen = Vec::new();
        for told in &self.told {
            let new = |server: &&IpAddr| !seen.contains(*server);
            let servers: Vec<IpAddr> = told.nameservers.iter().filter(new).copied().collect();
            if servers.is_empty() {
                continue;
            }
            text.push_str(&format!("# {}\n", told.by));
            for server in servers {
                text.push_str(&format!("nameserver {server}\n"));
                seen.push(server);
            }
        }
        text
    }
}

/// Puts a new file in the place of an old one, so that nobody reads half of it.
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(&new, path)
}

/// The DNS servers of `/etc/resolv.conf`, each with who told it.
pub fn nameservers() -> Vec<(IpAddr, String)> {
    parse(&fs::read_to_string(RESOLV_CONF).unwrap_or_default())
}

fn parse(text: &str) -> Vec<(IpAddr, String)> {
    let mut by = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix('#') {
            by = comment.trim().to_owned();
        } else if let Some(server) = line.strip_prefix("nameserver")
            && let Ok(server) = server.trim().parse()
        {
            found.push((server, by.clone()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_listed_once_with_who_told_them() {
        let told = |by: &str, servers: &[&str]| Told {
            by: by.into(),
            nameservers: servers.iter().map(|s| s.parse().unwrap()).collect(),
            ntp: vec![],
        };
        let servers = Servers {
            told: vec![
                told("command line", &["192.0.2.53"]),
                told("eth0, DHCP", &["192.0.2.53", "2001:db8::53"]),
            ],
            written: None,
        };
        let text = servers.resolv_conf();
        assert_eq!(
            text,
            "# command line\nnameserver 192.0.2.53\n# eth0, DHCP\nnameserver 2001:db8::53\n"
        );
        let read = parse(&text);
        assert_eq!(
            read[1],
            ("2001:db8::53".parse().unwrap(), "eth0, DHCP".into())
        );
    }
}
