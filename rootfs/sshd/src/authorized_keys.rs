//! `authorized_keys` (sshd(8), section AUTHORIZED_KEYS FILE FORMAT): who may log in.
//!
//! A restriction that is not known here makes its line worthless: it is never left out silently.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::base64;
use crate::public_key::{self, Unusable};

/// One key, and what its owner may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key as it is sent.
    pub(crate) key: Vec<u8>,
    /// What its owner may do.
    pub(crate) options: Options,
    /// Whose it is, as far as the line says.
    pub(crate) comment: String,
}

/// What a login may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// This command runs, whatever is asked for.
    pub(crate) command: Option<String>,
    /// Terminals may be had.
    pub(crate) terminal: bool,
    /// TCP connections may be forwarded.
    pub(crate) forwarding: bool,
    /// Addresses that it may come from; all when there is none.
    from: Vec<Network>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            command: None,
            terminal: true,
            forwarding: true,
            from: Vec::new(),
        }
    }
}

impl Options {
    /// Whether this key may be used from `address`.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let matches = |negated| {
            self.from
                .iter()
                .any(|network| network.negated == negated && network.holds(address))
        };
        self.from.is_empty() || (matches(false) && !matches(true))
    }
}

/// An address, or a prefix of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    length: u32,
    negated: bool,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (text, negated) = match text.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().ok().filter(|&n| n <= longest)?,
            None => longest,
        };
        Some(Self {
            address,
            length,
            negated,
        })
    }

    fn holds(&self, other: IpAddr) -> bool {
        let (width, ours, theirs) = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (32, u128::from(a.to_bits()), u128::from(b.to_bits()))
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => (128, a.to_bits(), b.to_bits()),
            _ => return false,
        };
        // A shift by the whole width is no shift.
        (ours ^ theirs)
            .checked_shr(width - self.length)
            .is_none_or(|different| different == 0)
    }
}

/// Why a line is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// A secret was about to be shown to the world.
    #[error(
        "that is a PRIVATE key: it stays with its owner, and should be replaced now that it was \
         shown; what belongs here is the line of the .pub file"
    )]
    Private,
    /// Nothing in it looks like a key.
    #[error("there is no public key in it; it looks like this: ssh-ed25519 AAAAC3Nza... name")]
    NoKey,
    /// The type in front is not the type inside.
    #[error("it says {0}, but its key is of another type")]
    Mismatch(String),
    /// A key that cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// An option that is not kept here.
    #[error("the option '{0}' is not known here, so the key does not count")]
    Option(String),
}

impl From<Unusable> for Wrong {
    fn from(why: Unusable) -> Self {
        Self::Unusable(why.to_string())
    }
}

/// Reads one line; `None` for an empty one or a comment.
pub(crate) fn parse(line: &str) -> Result<Option<Entry>, Wrong> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.contains("PRIVATE KEY") || line.starts_with("PuTTY-User-Key-File") {
        return Err(Wrong::Private);
    }
    if let Some(entry) = key(line, Options::default()) {
        return entry.map(Some);
    }
    // Options come first, without blanks but in quotes.
    let end = end_of_options(line);
    let (options, rest) = line.split_at(end);
    let rest = rest.trim_start();
    match key(rest, Options::default()) {
        None => Err(Wrong::NoKey),
        Some(Err(wrong)) => Err(wrong),
        Some(Ok(mut entry)) => {
            entry.options = parse_options(options)?;
            Ok(Some(entry))
        }
    }
}

/// `TYPE BASE64 COMMENT`, or the base64 alone. `None` when it does not begin with that.
fn key(text: &str, options: Options) -> Option<Result<Entry, Wrong>> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    // Every key begins with the length of its type: three zeros, "AAAA".
    let (name, digits) = if first.starts_with("AAAA") {
        (None, first)
    } else {
        let known = ["ssh-", "ecdsa-", "sk-"];
        if !known.iter().any(|prefix| first.starts_with(prefix)) || first.contains(['=', '"']) {
            return None;
        }
        match words.next() {
            Some(digits) => (Some(first), digits),
            None => return Some(Err(Unusable::Damaged.into())),
        }
    };
    let comment = words.collect::<Vec<_>>().join(" ");
    let Some(key) = base64::decode(digits.as_bytes()) else {
        return Some(Err(Unusable::Damaged.into()));
    };
    if let Err(why) = public_key::check(&key) {
        return Some(Err(why.into()));
    }
    if let Some(name) = name
        && public_key::type_of(&key) != Some(name)
    {
        return Some(Err(Wrong::Mismatch(name.chars().take(50).collect())));
    }
    Some(Ok(Entry {
        key,
        options,
        comment,
    }))
}

fn end_of_options(line: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (place, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => return place,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    line.len()
}

fn parse_options(text: &str) -> Result<Options, Wrong> {
    let mut options = Options::default();
    let mut rest = text;
    while !rest.is_empty() {
        let end = end_of_option(rest);
        let (option, after) = rest.split_at(end);
        rest = after.strip_prefix(',').unwrap_or(after);
        let unknown = || Wrong::Option(option.chars().take(60).collect());
        // In place of what was no UTF-8: a command would be another one than was written.
        if option.contains(char::REPLACEMENT_CHARACTER) {
            return Err(unknown());
        }
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => {
                let value = value
                    .strip_prefix('"')
                    .and_then(|value| value.strip_suffix('"'))
                    .ok_or_else(unknown)?;
                (name, Some(value.replace("\\\"", "\"")))
            }
            None => (option, None),
        };
        match (name.to_ascii_lowercase().as_str(), value) {
            ("restrict", None) => {
                options.terminal = false;
                options.forwarding = false;
            }
            ("pty", None) => options.terminal = true,
            ("no-pty", None) => options.terminal = false,
            ("port-forwarding", None) => options.forwarding = true,
            ("no-port-forwarding", None) => options.forwarding = false,
            // Neither is to be had here anyway.
            ("no-agent-forwarding" | "no-x11-forwarding" | "no-user-rc", None) => {}
            ("command", Some(command)) => options.command = Some(command),
            ("from", Some(list)) => {
                for item in list.split(',') {
                    let network = Network::parse(item.trim()).ok_or_else(unknown)?;
                    options.from.push(network);
                }
            }
            _ => return Err(unknown()),
        }
    }
    Ok(options)
}

fn end_of_option(text: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ',' if !quoted => return place,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Every key in the file that counts; none when there is no file.
pub(crate) fn load(path: &Path) -> io::Result<Vec<Entry>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let text = String::from_utf8_lossy(&text);
    Ok(text
        .lines()
        .filter_map(|line| parse(line).ok().flatten())
        .collect())
}

/// Adds lines whose keys are not there yet, and gives how many were added.
pub(crate) fn add(path: &Path, lines: &[String]) -> io::Result<usize> {
    let mut known: Vec<Vec<u8>> = load(path)?.into_iter().map(|entry| entry.key).collect();
    let mut text = String::new();
    let mut added = 0;
    for line in lines {
        if let Ok(Some(entry)) = parse(line)
            && !known.contains(&entry.key)
        {
            let line = line.trim();
            // A bare key gets its type in front, as other programs expect it.
            if line.starts_with("AAAA") {
                text.push_str(public_key::type_of(&entry.key).unwrap_or_default());
                text.push(' ');
                text.push_str(&base64::encode(&entry.key));
            } else {
                text.push_str(line);
            }
            text.push('\n');
            known.push(entry.key);
            added += 1;
        }
    }
    if added > 0 {
        let before = fs::read(path).unwrap_or_default();
        let gap = if before.last().is_none_or(|&b| b == b'\n') {
            ""
        } else {
            "\n"
        };
        write(path, &[&before, gap.as_bytes(), text.as_bytes()].concat())?;
    }
    Ok(added)
}

/// Takes every key out whose fingerprint or comment is `which`, and gives how many there were.
pub(crate) fn remove(path: &Path, which: &str) -> io::Result<usize> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e),
    };
    let mut removed = 0;
    let mut rest = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        let readable = String::from_utf8_lossy(line);
        let gone = parse(&readable).ok().flatten().is_some_and(|entry| {
            let fingerprint = public_key::fingerprint(&entry.key);
            which == "all" || fingerprint == which || entry.comment == which
        });
        if gone {
            removed += 1;
        } else {
            rest.extend_from_slice(line);
        }
    }
    if removed > 0 {
        write(path, &rest)?;
    }
    Ok(removed)
}

/// In one step: a login meanwhile reads the old file or the new one.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let new = path.with_extension(format!("new{}", std::process::id()));
    let _ = fs::remove_file(&new);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?
        .write_all(bytes)?;
    fs::rename(&new, path)
}

#[cfg(test)]
#[path = "authorized_keys_tests.rs"]
mod tests;
