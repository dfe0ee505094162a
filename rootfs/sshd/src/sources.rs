//! Where keys come from: `kedge.ssh_key=` in the build's settings or on the kernel's command line,
//! and what is typed or pasted to `ssh-allow`.
//!
//! | word | meaning |
//! |---|---|
//! | `kedge.ssh_key=BASE64` | base64 of a whole line of a .pub file (either alphabet, padding or not) |
//! | `kedge.ssh_key=AAAA...` | the key alone, as it stands second in that line |
//! | `kedge.ssh_key=URL` | http or https: every line that is fetched from there |
//! | `kedge.ssh_port=PORT` | instead of 22 |

use std::path::Path;
use std::time::Duration;

use kedge_settings::Words;

use crate::authorized_keys::{self, Wrong};
use crate::base64;
use crate::say;

/// The words.
const KEY: &str = "kedge.ssh_key";
const PORT: &str = "kedge.ssh_port";

/// Some hundred keys.
const LARGEST: u64 = 64 << 10;

/// How long one attempt to fetch may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The waits between attempts: the first, and the longest, for as long as it takes.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Here it is: a line of `authorized_keys`.
    Line(String),
    /// It has to be fetched.
    Url(String),
}

impl Source {
    /// Understands one value of `kedge.ssh_key=`.
    pub(crate) fn of_word(value: &[u8]) -> Result<Self, Wrong> {
        let text = std::str::from_utf8(value).map_err(|_| Wrong::NoKey)?.trim();
        if is_url(text) {
            return Ok(Self::Url(text.to_string()));
        }
        // The key alone is base64 too, of something that is no line.
        if let Some(bytes) = base64::decode(text.as_bytes())
            && let Ok(line) = String::from_utf8(bytes)
            && !text.starts_with("AAAA")
        {
            let line = line.trim();
            return authorized_keys::parse(line)?
                .map(|_| Self::Line(line.to_string()))
                .ok_or(Wrong::NoKey);
        }
        Self::of_line(text)
    }

    /// Understands what somebody typed: a line of `authorized_keys`, or an URL.
    pub(crate) fn of_line(text: &str) -> Result<Self, Wrong> {
        let text = text.trim();
        if is_url(text) {
            return Ok(Self::Url(text.to_string()));
        }
        authorized_keys::parse(text)?
            .map(|_| Self::Line(text.to_string()))
            .ok_or(Wrong::NoKey)
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The lines of keys at an URL, and what was wrong with the others.
pub(crate) fn fetch(url: &str) -> Result<(Vec<String>, Vec<Wrong>), String> {
    let bytes = kedge_web::get(url, LARGEST, PATIENCE).map_err(|e| e.to_string())?;
    let (lines, wrong) = lines_of(&String::from_utf8_lossy(&bytes));
    match (lines.is_empty(), wrong.first()) {
        (true, Some(wrong)) => Err(format!("{url}: {wrong}")),
        (true, None) => Err(format!("{url}: there is no key in it")),
        _ => Ok((lines, wrong)),
    }
}

/// The lines of a file that are keys, and what was wrong with the others.
pub(crate) fn lines_of(text: &str) -> (Vec<String>, Vec<Wrong>) {
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for line in text.lines() {
        match authorized_keys::parse(line) {
            Ok(Some(_)) => lines.push(line.trim().to_string()),
            Ok(None) => {}
            Err(why) => {
                let secret = why == Wrong::Private;
                wrong.push(why);
                // Each further line of it would be one more complaint.
                if secret {
                    break;
                }
            }
        }
    }
    (lines, wrong)
}

/// The port that was asked for, if it is one.
pub(crate) fn port(words: &Words) -> Option<u16> {
    let value = words.last(PORT)?;
    let port = std::str::from_utf8(value).ok()?.parse().ok();
    let port = port.filter(|&port| port > 0);
    if port.is_none() {
        say::warning(format_args!(
            "ssh: '{PORT}={}' is no port, 1 to 65535; it is 22",
            value.escape_ascii()
        ));
    }
    port
}

/// Adds the keys that the words name, at once or as soon as they can be fetched.
pub(crate) fn add_all(words: &Words, authorized_keys: &Path) {
    let mut lines = Vec::new();
    for value in words.all(KEY) {
        match Source::of_word(value) {
            Ok(Source::Line(line)) => lines.push(line),
            Ok(Source::Url(url)) => {
                let path = authorized_keys.to_path_buf();
                let name = url.clone();
                let started =
                    std::thread::Builder::new().spawn(move || fetch_until_it_works(&url, &path));
                if let Err(e) = started {
                    say::warning(format_args!("ssh: cannot fetch {name}: {e}"));
                }
            }
            Err(why) => say::warning(format_args!("ssh: a {KEY}= is skipped: {why}")),
        }
    }
    add(&lines, authorized_keys);
}

fn fetch_until_it_works(url: &str, authorized_keys: &Path) {
    let mut wait = FIRST_WAIT;
    loop {
        match fetch(url) {
            Ok((lines, wrong)) => {
                for why in wrong {
                    say::warning(format_args!("ssh: a key of {url} is skipped: {why}"));
                }
                return add(&lines, authorized_keys);
            }
            Err(why) => {
                // Once as it happens, then where it can be looked up.
                if wait == FIRST_WAIT {
                    say::notice(format_args!("ssh: no keys yet, trying on: {why}"));
                } else {
                    say::info(format_args!("ssh: no keys yet, trying on: {why}"));
                }
            }
        }
        std::thread::sleep(wait);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn add(lines: &[String], authorized_keys: &Path) {
    if lines.is_empty() {
        return;
    }
    match authorized_keys::add(authorized_keys, lines) {
        Ok(added) => say::info(format_args!(
            "ssh: {added} of {} keys added to {}",
            lines.len(),
            authorized_keys.display()
        )),
        Err(e) => say::warning(format_args!(
            "ssh: cannot add a key to {}: {e}",
            authorized_keys.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kedge_ssh_wire::Put;

    fn line() -> String {
        let mut blob = Vec::new();
        blob.put_string(b"ssh-ed25519");
        blob.put_string(&[0xfb; 32]);
        format!("ssh-ed25519 {} me", base64::encode(&blob))
    }

    #[test]
    fn a_word_is_a_line_a_key_or_an_url() {
        let line = line();
        let whole = base64::encode(line.as_bytes());
        let url_safe = whole.replace('+', "-").replace('/', "_");
        let bare = line.split(' ').nth(1).unwrap().to_string();
        for word in [&whole, &url_safe, whole.trim_end_matches('=')] {
            let source = Source::of_word(word.as_bytes()).unwrap();
            assert_eq!(source, Source::Line(line.clone()));
        }
        let source = Source::of_word(bare.as_bytes()).unwrap();
        assert_eq!(source, Source::Line(bare));
        let source = Source::of_word(b"https://example.org/k").unwrap();
        assert_eq!(source, Source::Url("https://example.org/k".into()));
        for wrong in [
            b"" as &[u8],
            b"\xff",
            b"hello",
            b"ftp://example.org",
            b"AAAA",
        ] {
            assert!(Source::of_word(wrong).is_err(), "{wrong:?}");
        }
        let private = base64::encode(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA");
        assert_eq!(Source::of_word(private.as_bytes()), Err(Wrong::Private));
    }

    #[test]
    fn a_file_of_keys_gives_those_that_can_be_used() {
        let (lines, wrong) = lines_of(&format!("# mine\n\n{}\nssh-dss AAAA x\n", line()));
        assert_eq!(lines, [line()]);
        assert_eq!(wrong.len(), 1);
        let (lines, wrong) = lines_of("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn\nAAAA\n");
        assert_eq!((lines.len(), wrong), (0, vec![Wrong::Private]));
    }

    #[test]
    fn a_port_is_a_port() {
        let port = |line: &str| port(&Words::parse(b"", line.as_bytes()));
        assert_eq!(port("kedge.ssh_port=2222"), Some(2222));
        assert_eq!(port("kedge.ssh_port=0"), None);
        assert_eq!(port("kedge.ssh_port=x"), None);
        assert_eq!(port("quiet"), None);
    }
}
