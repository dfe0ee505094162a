//! What was typed.

use std::path::PathBuf;
use std::time::Duration;

use kedge_digest::{Algorithm, Digest};
use kedge_progress::interrupt;
use kedge_web::Address;
use kedge_web::download::{Resolve, Settings};

use crate::name;

/// What to fetch, and to where.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) from: From,
    pub(crate) to: To,
    /// What the bytes must be.
    pub(crate) digests: Vec<Digest>,
    /// Whether a file that is there may be replaced.
    pub(crate) force: bool,
    /// Whether only failures are told.
    pub(crate) quiet: bool,
    pub(crate) settings: Settings,
}

/// Where the bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// `http://` or `https://`.
    Web(String),
    /// `tcp://`.
    Tcp { host: String, port: u16 },
}

/// Where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Stdout,
    /// A file, or a folder, in which it gets this name.
    Path(PathBuf, Option<String>),
}

pub(crate) fn parse(arguments: &[String]) -> Result<Wish, String> {
    let (mut url, mut output) = (None, None);
    let (mut force, mut quiet) = (false, false);
    let mut digests = Vec::new();
    let mut silence = None;
    let mut settings = Settings {
        stop: Some(interrupt::pressed_already),
        ..Settings::default()
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (option, mut attached) = match argument.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value)),
            _ => (argument.as_str(), None),
        };
        let mut value = |what: &str| {
            let value = attached.take().or_else(|| rest.next().map(String::as_str));
            value.ok_or(format!("{option} needs {what}"))
        };
        match option {
            "-o" | "--output" => output = Some(value("a file, a folder, or - for stdout")?),
            "--md5" => digests.push(digest(Algorithm::Md5, value("32 hex digits")?)?),
            "--sha1" => digests.push(digest(Algorithm::Sha1, value("40 hex digits")?)?),
            "--sha256" => digests.push(digest(Algorithm::Sha256, value("64 hex digits")?)?),
            "--sha512" => digests.push(digest(Algorithm::Sha512, value("128 hex digits")?)?),
            "--resolve" => {
                let text = value("HOST:ADDRESS")?;
                let resolve = Resolve::parse(text);
                settings.resolve.push(resolve.ok_or_else(|| {
                    let text = text.escape_debug();
                    format!(
                        "--resolve takes HOST:ADDRESS, such as example.org:192.0.2.1, not '{text}'"
                    )
                })?);
            }
            "--timeout" => {
                let seconds = value("seconds")?
                    .parse()
                    .ok()
                    .filter(|s| (1..=86400).contains(s));
                let seconds = seconds.ok_or("--timeout takes seconds, from 1 to 86400")?;
                silence = Some(Duration::from_secs(seconds));
            }
            "--insecure" => settings.insecure = true,
            "-f" | "--force" => force = true,
            "-q" | "--quiet" => quiet = true,
            option if option.starts_with('-') && option.len() > 1 => {
                return Err(format!("no option '{}' here", option.escape_debug()));
            }
            _ if url.is_some() => return Err("one URL at a time".into()),
            _ => url = Some(argument.as_str()),
        }
        if attached.is_some() {
            return Err(format!("{option} takes no value"));
        }
    }
    let url = url.ok_or("fetch what? a URL: http://, https:// or tcp://")?;
    let from = source(url)?;
    match (&from, silence) {
        (_, Some(silence)) => settings.silence = silence,
        // Nobody says how long somebody needs at the other end to begin.
        (From::Tcp { .. }, None) => settings.silence = Duration::MAX,
        (From::Web(_), None) => {}
    }
    let own_name = match &from {
        From::Web(url) => name::of(url),
        From::Tcp { .. } => None,
    };
    let to = match output {
        Some("-") => To::Stdout,
        Some(path) if !path.is_empty() => To::Path(path.into(), own_name),
        _ => match own_name {
            Some(name) => To::Path(name.into(), None),
            None => return Err("there is no file name in that URL: say -o FILE".into()),
        },
    };
    Ok(Wish {
        from,
        to,
        digests,
        force,
        quiet,
        settings,
    })
}

fn source(url: &str) -> Result<From, String> {
    let scheme = url
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http" | "https") => match Address::parse(url) {
            Ok(_) => Ok(From::Web(url.into())),
            Err(problem) => Err(format!("{}: {problem}", kedge_web::shown(url))),
        },
        Some("tcp") => {
            let (host, port) = kedge_web::raw_address(url)?;
            Ok(From::Tcp { host, port })
        }
        Some(scheme) => Err(format!(
            "no '{}' here: http, https and tcp",
            scheme.escape_debug()
        )),
        None => Err("a URL begins with http://, https:// or tcp://".into()),
    }
}

fn digest(algorithm: Algorithm, text: &str) -> Result<Digest, String> {
    Digest::from_hex(algorithm, text.trim()).ok_or_else(|| {
        let text = text.escape_debug();
        format!("'{text}' is no value of {algorithm}: it must be hexadecimal digits, all of them")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Wish, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        parse(&words)
    }

    #[test]
    fn options_take_their_value_with_or_without_an_equals_sign() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let wish = typed(&format!("--md5={md5} http://h/a/b.deb --resolve h:::1 -f")).unwrap();
        assert_eq!(wish.from, From::Web("http://h/a/b.deb".into()));
        assert_eq!(wish.to, To::Path("b.deb".into(), None));
        assert_eq!(wish.digests[0].to_string(), format!("md5:{md5}"));
        assert_eq!(wish.settings.resolve, [Resolve::parse("h:::1").unwrap()]);
        assert!(wish.force && !wish.settings.insecure);
        let wish = typed("http://h/a?x=y -o -").unwrap();
        assert_eq!(wish.to, To::Stdout);
    }

    #[test]
    fn raw_tcp_is_a_host_and_a_port() {
        let tcp = |host: &str| From::Tcp {
            host: host.into(),
            port: 9000,
        };
        let from = |url: &str| typed(&format!("{url} -o f")).map(|wish| wish.from);
        assert_eq!(from("tcp://a.b:9000"), Ok(tcp("a.b")));
        assert_eq!(from("TCP://[::1]:9000/"), Ok(tcp("::1")));
        for url in [
            "tcp://a",
            "tcp://a:0",
            "tcp://:1",
            "tcp://a:b",
            "tcp://[x]:1",
            "tcp://u@h:1",
        ] {
            assert!(from(url).is_err(), "{url}");
        }
        assert!(typed("tcp://a:1").unwrap_err().contains("-o FILE"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "example.org/x",
            "ftp://h/x",
            "http://h/",
            "http:///a",
            "http://h:99999/a",
            "http://h/a http://h/b",
            "http://h/a --md5 x",
            "http://h/a --sha256 d41d8cd98f00b204e9800998ecf8427e",
            "http://h/a --md5",
            "http://h/a --resolve h",
            "http://h/a --timeout 0",
            "http://h/a --force=yes",
            "http://h/a --wat",
        ] {
            assert!(typed(line).is_err(), "{line}");
        }
    }
}
