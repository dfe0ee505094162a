//! What of a URL may be shown, and what in it is a secret.

use crate::Problem;

/// A URL of HTTP or HTTPS, taken apart as far as is needed here.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The URL without its login.
    pub url: String,
    /// User and password, where they were given.
    pub login: Option<(String, String)>,
    /// Whether it is HTTPS.
    pub secure: bool,
}

impl Address {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// When it does not begin with `http://` or `https://`, names no host, or holds what no URL holds.
    pub fn parse(url: &str) -> Result<Address, Problem> {
        let (scheme, rest) = url.split_once("://").ok_or(Problem::NoUrl)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(Problem::NoUrl),
        };
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Problem::NoUrl);
        }
        let (authority, path) = split_authority(rest);
        let (login, host) = match authority.rsplit_once('@') {
            Some((login, host)) => (Some(login), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') || !has_sane_port(host) {
            return Err(Problem::NoUrl);
        }
        let login = match login {
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                Some((decoded(user)?, decoded(password)?))
            }
            None => None,
        };
        // A fragment is never sent.
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Address {
            url: format!("{scheme}://{host}{slash}{path}"),
            login,
            secure,
        })
    }
}

/// Host and port of `tcp://HOST:PORT`, for [`download::raw`](crate::download::raw). An address of IPv6 stands in brackets, and
/// is given without.
///
/// # Errors
/// What it takes, for people.
pub fn raw_address(url: &str) -> Result<(String, u16), &'static str> {
    let what = "tcp:// takes a host and a port: tcp://192.0.2.1:9000, tcp://[2001:db8::1]:9000";
    let (scheme, rest) = url.split_once("://").ok_or(what)?;
    if !scheme.eq_ignore_ascii_case("tcp") {
        return Err(what);
    }
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or(what)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let known = |c: char| c.is_ascii_alphanumeric() || ".-_%".contains(c);
    let host = match bare {
        Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        None if !host.is_empty() && host.chars().all(known) => host,
        _ => return Err(what),
    };
    let port = port.parse().ok().filter(|&port| port > 0).ok_or(what)?;
    Ok((host.to_string(), port))
}

/// Whether what follows the name or address is a port that there is, or nothing: another one would be taken for none, and
/// the default be connected to.
fn has_sane_port(host: &str) -> bool {
    let after = match host.strip_prefix('[') {
        Some(address) => address.split_once(']').map(|(_, after)| after),
        None => Some(&host[host.find(':').unwrap_or(host.len())..]),
    };
    match after.map(|after| after.strip_prefix(':').unwrap_or(after)) {
        Some("") => true,
        Some(port) => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
        None => false,
    }
}

/// The authority, and the path, query and fragment that follow it.
fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// A URL as it may stand in a message: without login and query, which may be secrets.
pub fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // No URL. It may still be somebody's secret: as much of it as helps to find it.
        return url.chars().take(8).chain("...".chars()).collect();
    };
    let (authority, path) = split_authority(rest);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let more = if end < path.len() { "?..." } else { "" };
    format!("{scheme}://{host}{}{more}", &path[..end])
}

/// Where `location` (RFC 9110, 10.2.2) leads from `base`, a URL without login: RFC 3986, 5.2, for what redirects hold.
/// Bytes that no URL holds are percent-encoded, as browsers do it.
///
/// # Errors
/// When that is no URL of HTTP or HTTPS.
pub fn join(base: &str, location: &[u8]) -> Result<Address, Problem> {
    let elsewhere =
        || Problem::Elsewhere(String::from_utf8_lossy(location).escape_debug().collect());
    let mut text = String::with_capacity(location.len());
    for &byte in location.trim_ascii() {
        match byte {
            0x21..=0x7e => text.push(byte.into()),
            b' ' | 0x80.. => text.push_str(&format!("%{byte:02X}")),
            _ => return Err(elsewhere()),
        }
    }
    let (scheme, rest) = base.split_once("://").ok_or_else(elsewhere)?;
    let (host, path) = split_authority(rest);
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    let absolute = if has_scheme(&text) {
        text
    } else if text.starts_with("//") {
        format!("{scheme}:{text}")
    } else if text.starts_with('/') {
        format!("{scheme}://{host}{}", without_dots(&text))
    } else if text.is_empty() || text.starts_with(['?', '#']) {
        format!("{scheme}://{host}{path}{text}")
    } else {
        let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        format!(
            "{scheme}://{host}{}",
            without_dots(&format!("{folder}{text}"))
        )
    };
    Address::parse(&absolute).map_err(|_| elsewhere())
}

/// `scheme:` (RFC 3986, 3.1).
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// A path without its `.` and `..` (RFC 3986, 5.2.4); what follows it stays.
fn without_dots(path: &str) -> String {
    let (path, rest) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    let mut folder = false;
    for part in path.trim_start_matches('/').split('/') {
        folder = matches!(part, "." | "..");
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if folder && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}{rest}", parts.join("/"))
}

/// Percent-decoded text (RFC 3986, 2.1).
fn decoded(text: &str) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || (rest.next()? as char).to_digit(16);
                let (high, low) = (digit(), digit());
                match (high, low) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(Problem::NoUrl),
                }
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| Problem::NoUrl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_out_of_the_url() {
        let address = Address::parse("https://me:p%40ss%3a@example.org:8443/a?b=c#d").unwrap();
        assert_eq!(address.url, "https://example.org:8443/a?b=c");
        assert_eq!(address.login, Some(("me".into(), "p@ss:".into())));
        assert!(address.secure);
        assert_eq!(
            Address::parse("HTTP://[::1]?x").unwrap().url,
            "HTTP://[::1]/?x"
        );
    }

    /// RFC 3986, 5.4, as far as redirects have it.
    #[test]
    fn a_redirect_may_be_relative() {
        for (location, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("", "http://a/b/c/d;p"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../../../g", "http://a/g"),
            ("https://h:8/x#f", "https://h:8/x"),
            (" g h\u{e9} ", "http://a/b/c/g%20h%C3%A9"),
            ("g:8", ""),
            ("file:///etc/passwd", ""),
            ("g\r\nX: y", ""),
            ("http://", ""),
        ] {
            let joined = join("http://a/b/c/d;p?q", location.as_bytes());
            let joined = joined.map(|address| address.url);
            assert_eq!(
                joined.as_deref().unwrap_or_default(),
                expected,
                "{location}"
            );
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (url, expected) in [
            ("https://me:token@h:1/a/b?token=x", "https://h:1/a/b?..."),
            ("https://token@h#x", "https://h?..."),
            ("https://a@token@h", "https://h"),
            ("dyndns2://u:t@h/?hostname=x", "dyndns2://h/?..."),
            ("me:secret-token@h", "me:secre..."),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in [
            "",
            "example.org",
            "ftp://example.org/",
            "https://",
            "https:///x",
            "https://u:p@/x",
            "https://:443/",
            "https://h:65536/",
            "https://h:+1/",
            "https://h:1:2/",
            "https://[::1]:x/",
            "https://[::1]x/",
            "https://[::1/",
            "https://h/a b",
            "https://h/\r\nX: y",
            "https://u:%zz@h/",
            "https://u:%4@h/",
            "https://u:%ff@h/",
            "https://h\u{e9}/",
        ] {
            assert!(
                matches!(Address::parse(url), Err(Problem::NoUrl)),
                "{url:?}"
            );
        }
    }
}
