//! Words of the kernel's command line, as the image's settings hold them.
//!
//! What reads them in the image judges them here, where it can be had. A word can be written only if it
//! reads back as it was: there is no way to write a double quote.

use kedge_net::config::Config;
use kedge_settings::{Words, is_hostname};

/// Why a value is none for the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It cannot be written.
    #[error("{0:?} holds a double quote or a control character, which these words cannot")]
    Unwritable(String),
    /// The network's own parser will not have it.
    #[error("{0}")]
    Network(String),
    /// Not RFC 1123.
    #[error("{0:?} is not a host name (letters, digits, hyphens, dots; at most 64)")]
    Hostname(String),
    /// Neither name nor address.
    #[error("{0:?} is not the name or address of a time server, nor \"off\"")]
    TimeServer(String),
    /// A beacon that is no URL.
    #[error(
        "{0:?} is not a URL that a beacon can be sent to; those begin with https://, http://, \
         udp:// or dyndns2://, then a host"
    )]
    Beacon(String),
    /// Not 1 to 65535.
    #[error("{0:?} is not a port, 1 to 65535")]
    Port(String),
}

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    name: &'static str,
    value: String,
}

/// What a beacon's URL can begin with.
const BEACONS: &[&str] = &["https", "http", "udp", "dyndns2", "dyndns2+http"];

impl Word {
    /// Checks a value.
    pub(super) fn new(name: &'static str, value: &str) -> Result<Word, Wrong> {
        let word = Word {
            name,
            value: value.into(),
        };
        let words = word.read_back()?;
        let fine = match name {
            "kedge.hostname" if !is_hostname(value) => Err(Wrong::Hostname(value.into())),
            "kedge.ntp" if !value.split(',').all(is_time_server) => {
                Err(Wrong::TimeServer(value.into()))
            }
            "kedge.beacon" if !is_beacon(value) => Err(Wrong::Beacon(shown_url(value))),
            "kedge.ssh_port" if !value.parse::<u16>().is_ok_and(|port| port > 0) => {
                Err(Wrong::Port(value.into()))
            }
            _ => Ok(()),
        };
        fine?;
        // It looks only at the words that are the network's.
        match Config::parse(&words).complaints.into_iter().next() {
            Some(complaint) => Err(Wrong::Network(without_consequence(&complaint))),
            None => Ok(word),
        }
    }

    /// The words as the image will read this line.
    fn read_back(&self) -> Result<Words, Wrong> {
        let unwritable = || Wrong::Unwritable(self.value.clone());
        if self.value.contains(|c: char| c == '"' || c.is_control()) {
            return Err(unwritable());
        }
        let words = Words::parse(self.line().as_bytes(), b"");
        let same = words
            .iter()
            .map(|word| (word.name.as_slice(), word.value.as_deref()))
            .eq([(self.name.as_bytes(), Some(self.value.as_bytes()))]);
        if same { Ok(words) } else { Err(unwritable()) }
    }

    /// As the kernel's command line has it.
    pub(super) fn line(&self) -> String {
        if self.value.contains(' ') {
            format!("{}=\"{}\"", self.name, self.value)
        } else {
            format!("{}={}", self.name, self.value)
        }
    }

    /// Whether there may be a password in it.
    pub(super) fn is_secret(&self) -> bool {
        matches!(
            self.name,
            "kedge.beacon" | "kedge.pack_url" | "kedge.ssh_key"
        ) && self.value.contains("://")
            && shown_url(&self.value) != self.value
    }

    /// The line, without what may be a secret.
    pub(super) fn shown(&self) -> String {
        if self.is_secret() {
            format!("{}={}", self.name, shown_url(&self.value))
        } else {
            self.line()
        }
    }
}

/// A URL without login and query: what a message may show of it. `kedge_web::shown` is the image's.
fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.chars().take(8).chain("...".chars()).collect();
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let more = if end < path.len() { "?..." } else { "" };
    format!("{scheme}://{host}{}{more}", &path[..end])
}

/// The network's complaint ends in what it does about it; a build does something else.
fn without_consequence(complaint: &str) -> String {
    let complaint = complaint.strip_suffix("; skipped").unwrap_or(complaint);
    complaint
        .strip_prefix("kernel argument ")
        .unwrap_or(complaint)
        .into()
}

/// `off`, a name or an address, with a port or without. Whether it can be reached shows in the image.
fn is_time_server(name: &str) -> bool {
    let name = name.trim_matches(' ');
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-:[]%".contains(&b))
}

fn is_beacon(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        BEACONS.contains(&scheme)
            && !host.is_empty()
            && !host.starts_with(':')
            && url.bytes().all(|b| b.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_blanks_is_quoted_and_one_that_cannot_be_written_is_refused() {
        let word = Word::new("kedge.ntp", "192.0.2.1, time.example.org").unwrap();
        assert_eq!(word.line(), "kedge.ntp=\"192.0.2.1, time.example.org\"");
        for value in ["a\"b", "\"", "a\nb", "a\tb", "\0", "a\u{85}"] {
            assert_eq!(
                Word::new("kedge.ntp", value),
                Err(Wrong::Unwritable(value.into()))
            );
        }
    }

    #[test]
    fn the_networks_parser_judges_its_words() {
        for (name, good, bad, part) in [
            (
                "ip",
                "192.0.2.7::192.0.2.1:24::eth0:none",
                "192.0.2.7::192.0.2.1:33::eth0:none",
                "'33'",
            ),
            (
                "ip",
                "[2001:db8::7]::[fe80::1]:64::eth0:none",
                "2001:db8::7",
                "'db8'",
            ),
            ("vlan", "eth0.5:eth0", "eth0.5000:eth0", "'eth0.5000'"),
            (
                "bond",
                "bond0:eth0,eth1:mode=active-backup",
                "bond0:eth0,:x",
                "'x'",
            ),
            ("bridge", "br0:eth0,eth1", "br0:eth0/", "'eth0/'"),
            ("nameserver", "192.0.2.53", "192.0.2.553", "'192.0.2.553'"),
            (
                "rd.route",
                "198.51.100.0/24:192.0.2.1",
                "198.51.100.0/24",
                "'198.51.100.0/24'",
            ),
        ] {
            assert_eq!(
                Word::new(name, good).unwrap().line(),
                format!("{name}={good}")
            );
            let why = Word::new(name, bad).unwrap_err().to_string();
            assert!(
                why.contains(part) && why.contains(&format!("'{name}={bad}'")),
                "{why}"
            );
            assert!(
                !why.contains("skipped") && !why.contains("kernel argument"),
                "{why}"
            );
        }
        for name in [
            "ip",
            "vlan",
            "nameserver",
            "rd.route",
            "kedge.hostname",
            "kedge.ntp",
        ] {
            assert!(Word::new(name, "").is_err(), "{name}");
        }
    }

    #[test]
    fn names_and_urls_are_judged() {
        for (name, good) in [
            ("kedge.hostname", "rescue-1.example.org"),
            ("kedge.ntp", "off"),
            ("kedge.ntp", "[2001:db8::123]:1123"),
            ("kedge.beacon", "udp://192.0.2.1:9"),
            (
                "kedge.beacon",
                "dyndns2://me:token@dyn.example.org/?hostname=a.example.org",
            ),
        ] {
            assert!(Word::new(name, good).is_ok(), "{good}");
        }
        for (name, bad) in [
            ("kedge.hostname", "-rescue"),
            ("kedge.hostname", "a b"),
            ("kedge.ssh_port", "0"),
            ("kedge.ssh_port", "65536"),
            ("kedge.ntp", "a,,b"),
            ("kedge.ntp", "http://time.example.org"),
            ("kedge.beacon", "example.org"),
            ("kedge.beacon", "ftp://example.org/"),
            ("kedge.beacon", "https://"),
            ("kedge.beacon", "https://:443/"),
            ("kedge.beacon", "https://example.org/a b"),
        ] {
            assert!(Word::new(name, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_not_shown() {
        for (value, shown) in [
            (
                "dyndns2://me:token@h/?hostname=a",
                "kedge.beacon=dyndns2://h/?...",
            ),
            ("https://h/a?key=token", "kedge.beacon=https://h/a?..."),
            ("https://token@h:8443/a", "kedge.beacon=https://h:8443/a"),
        ] {
            let word = Word::new("kedge.beacon", value).unwrap();
            assert!(word.is_secret());
            assert_eq!(word.shown(), shown);
            assert_eq!(word.line(), format!("kedge.beacon={value}"));
        }
        assert!(
            !Word::new("kedge.beacon", "https://h/a")
                .unwrap()
                .is_secret()
        );
        let wrong = Word::new("kedge.beacon", "ftp://me:token@h/").unwrap_err();
        assert!(!wrong.to_string().contains("token"), "{wrong}");
    }
}
