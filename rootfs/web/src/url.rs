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
        if host.is_empty() || host.starts_with(':') {
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
