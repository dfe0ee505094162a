//! Which mirrors and suites apt asks: sources.list(5), both styles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::fields;
use crate::query::Query;
use crate::transport::Place;

/// The longest configuration file that is read.
const MOST: u64 = 1 << 20;
/// How many sources are asked.
const MOST_ENTRIES: usize = 200;
/// How many components, architectures or keys of one of them, and the longest key in a source itself. A stanza multiplies
/// its words: without these, a file of 1 MB would become many gigabytes.
const MOST_WORDS: usize = 64;
const MOST_INLINE: usize = 256 << 10;

/// One suite of one mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The mirror, without a slash at its end.
    pub(super) uri: String,
    /// The same.
    pub(super) place: Place,
    /// "bookworm"; a path that ends with a slash has no components.
    pub(super) suite: String,
    pub(super) components: Vec<String>,
    /// Only these, where any are named.
    pub(super) architectures: Vec<String>,
    pub(super) signed_by: Option<SignedBy>,
    /// `trusted=yes`: no signature is asked for.
    pub(super) trusted: bool,
    /// `check-valid-until=no`: nothing expires.
    pub(super) check_valid_until: bool,
    /// `by-hash=no`: indices are asked for by their names only.
    pub(super) by_hash: bool,
    /// The file that says so.
    pub(super) said_in: String,
}

/// Whose signature is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SignedBy {
    /// Keyrings.
    pub(super) files: Vec<PathBuf>,
    /// Fingerprints of keys in the keyrings that are everybody's.
    pub(super) fingerprints: Vec<String>,
    /// A key that stands in the source itself.
    pub(super) inline: Option<String>,
}

impl Entry {
    /// The folder of its Release, below the mirror's.
    pub(super) fn dist(&self) -> String {
        if self.suite.ends_with('/') {
            self.suite.trim_matches('/').to_owned()
        } else {
            format!("dists/{}", self.suite)
        }
    }

    /// The indices that may have packages of these architectures, as Release names them unpacked, and the architecture of each.
    pub(super) fn indices(&self, architectures: &BTreeSet<String>) -> Vec<(String, String)> {
        if self.suite.ends_with('/') {
            return vec![("Packages".into(), String::new())];
        }
        let mut indices = Vec::new();
        for component in &self.components {
            for architecture in architectures {
                let fits = self.architectures.is_empty()
                    || self.architectures.contains(architecture)
                    || architecture == "all";
                if fits {
                    indices.push((
                        format!("{component}/binary-{architecture}/Packages"),
                        architecture.clone(),
                    ));
                }
            }
        }
        indices
    }
}

/// All entries that can be asked, and why others cannot.
pub(super) fn read(query: &Query) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for file in files(query) {
        let text = match query.root.read(&file, MOST) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.is_missing() => continue,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        let said_in = file.display().to_string();
        let found = if file.extension().is_some_and(|e| e == "sources") {
            stanzas(&text, &said_in)
        } else {
            lines(&text, &said_in)
        };
        for entry in found {
            match usable(query, entry) {
                Ok(entry) if entries.len() < MOST_ENTRIES && !entries.contains(&entry) => {
                    entries.push(entry);
                }
                Ok(_) => {}
                Err(why) => wrong.push(why),
            }
        }
    }
    (entries, wrong)
}

fn files(query: &Query) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("etc/apt/sources.list")];
    files.extend(query.in_folder("etc/apt/sources.list.d", &["list", "sources"]));
    files
}

/// An entry whose mirror can be asked, or why not.
fn usable(query: &Query, mut entry: Entry) -> Result<Entry, String> {
    if let Some(list) = entry.uri.strip_prefix("mirror+file:") {
        // Debian's images for clouds have that: a list of mirrors in a file of the system's own.
        let list = Path::new(list);
        let text = query.root.read(list, MOST).map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut lines = text.lines().map(str::trim);
        let first = lines.find(|line| line.starts_with("http"));
        let first = first.and_then(|line| line.split_ascii_whitespace().next());
        let first = first.ok_or_else(|| {
            format!(
                "{}: there is no mirror of HTTP in it",
                query.root.outside(list).display()
            )
        })?;
        entry.uri = first.trim_end_matches('/').to_owned();
    }
    let lower = entry.uri.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        entry.place = Place::Url(entry.uri.clone());
        return Ok(entry);
    }
    Err(format!(
        "{} of {} is not asked: only http and https are",
        crate::words::shown(&entry.uri),
        entry.said_in
    ))
}

/// The style of one line each.
pub(super) fn lines(text: &str, said_in: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines() {
        if entries.len() >= MOST_ENTRIES {
            break;
        }
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line
            .strip_prefix("deb")
            .filter(|r| r.starts_with([' ', '\t', '[']))
        else {
            continue;
        };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let options: Vec<(String, String)> = options
            .split_ascii_whitespace()
            .filter_map(|option| option.split_once('='))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.replace(',', " ")))
            .collect();
        let mut words = rest.split_ascii_whitespace();
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            continue;
        };
        let components: Vec<&str> = words.collect();
        entries.push(entry(uri, suite, &components, said_in, &|name| {
            // The names that deb822 has are others.
            let name = match name {
                "architectures" => "arch",
                name => name,
            };
            fields::value(&options, name)
        }));
    }
    entries
}

/// The style of stanzas.
pub(super) fn stanzas(text: &str, said_in: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for stanza in fields::whole(text) {
        let value = |name: &str| fields::value(&stanza, name);
        let list = |name: &str| -> Vec<&str> {
            value(name).map_or(Vec::new(), |v| v.split_ascii_whitespace().collect())
        };
        let enabled = value("enabled").and_then(truth).unwrap_or(true);
        if !enabled || !list("types").contains(&"deb") {
            continue;
        }
        for uri in list("uris") {
            for suite in list("suites") {
                if entries.len() >= MOST_ENTRIES {
                    return entries;
                }
                entries.push(entry(uri, suite, &list("components"), said_in, &value));
            }
        }
    }
    entries
}

fn entry<'a>(
    uri: &str,
    suite: &str,
    components: &[&str],
    said_in: &str,
    value: &dyn Fn(&str) -> Option<&'a str>,
) -> Entry {
    let uri = uri.trim_end_matches('/').to_owned();
    let owned = |words: &[&str]| {
        let words = words.iter().take(MOST_WORDS);
        words.map(|&word| word.to_owned()).collect()
    };
    let architectures: Vec<&str> = value("architectures")
        .unwrap_or_default()
        .split_ascii_whitespace()
        .take(MOST_WORDS)
        .collect();
    Entry {
        place: Place::Url(uri.clone()),
        uri,
        suite: suite.to_owned(),
        components: owned(components),
        architectures: owned(&architectures),
        signed_by: value("signed-by").map(signed_by),
        // Only a clear yes: a word that makes no sense must not do away with signatures.
        trusted: value("trusted").and_then(truth).unwrap_or(false),
        check_valid_until: value("check-valid-until").and_then(truth).unwrap_or(true),
        by_hash: value("by-hash").and_then(truth).unwrap_or(true),
        said_in: said_in.to_owned(),
    }
}

fn signed_by(value: &str) -> SignedBy {
    let mut signed_by = SignedBy::default();
    if value.contains("-----BEGIN") && value.len() <= MOST_INLINE {
        // A line of a dot is an empty one.
        let lines = value
            .lines()
            .map(|line| if line == "." { "" } else { line });
        signed_by.inline = Some(lines.collect::<Vec<_>>().join("\n"));
        return signed_by;
    }
    let words = value.split(|c: char| c.is_ascii_whitespace() || c == ',');
    for word in words.take(MOST_WORDS) {
        if word.starts_with('/') {
            signed_by.files.push(word.into());
        } else if !word.is_empty() {
            let print = word.trim_end_matches('!').to_ascii_uppercase();
            signed_by.fingerprints.push(print);
        }
    }
    signed_by
}

/// As apt reads it (StringToBool); None for what it does not know, which leaves things as they are without it.
fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "no" | "false" | "without" | "off" | "disable" | "0" => Some(false),
        "yes" | "true" | "with" | "on" | "enable" | "1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sources_list() {
        let text = "# deb http://a x main\n\
            deb http://h/debian/ bookworm main contrib # b\n\
            deb-src http://h/debian bookworm main\n\
            deb [arch=amd64,i386 signed-by=/k/a.gpg,ABC! trusted=yes check-valid-until=no] https://h/x ./\n\
            debian http://h x main\ndeb\ndeb http://h\n";
        let entries = lines(text, "f");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].uri, "http://h/debian");
        assert_eq!(entries[0].dist(), "dists/bookworm");
        assert_eq!(entries[0].components, ["main", "contrib"]);
        assert!(!entries[0].trusted && entries[0].check_valid_until && entries[0].by_hash);
        let both = BTreeSet::from(["all".to_owned(), "amd64".to_owned()]);
        let indices = entries[0].indices(&both);
        assert_eq!(indices[1].0, "main/binary-amd64/Packages");
        assert_eq!(indices.len(), 4);
        let signed_by = entries[1].signed_by.clone().unwrap();
        assert_eq!(signed_by.files, [PathBuf::from("/k/a.gpg")]);
        assert_eq!(signed_by.fingerprints, ["ABC"]);
        assert!(entries[1].trusted && !entries[1].check_valid_until);
        assert_eq!(entries[1].architectures, ["amd64", "i386"]);
        assert_eq!(entries[1].dist(), ".");
    }

    #[test]
    fn only_a_clear_yes_or_no_changes_anything() {
        for (word, truth) in [
            ("yes", Some(true)),
            ("True", Some(true)),
            ("with", Some(true)),
            ("ON", Some(true)),
            ("enable", Some(true)),
            ("1", Some(true)),
            ("no", Some(false)),
            ("FALSE", Some(false)),
            ("0", Some(false)),
            ("maybe", None),
            ("", None),
            ("2", None),
            ("yes!", None),
            ("force", None),
        ] {
            let options = format!("trusted={word} check-valid-until={word} by-hash={word}");
            let line = format!("deb [{options}] http://h/debian x main\n");
            let stanza = format!(
                "Types: deb\nURIs: http://h/debian\nSuites: x\nComponents: main\nEnabled: {word}\n\
                 Trusted: {word}\nCheck-Valid-Until: {word}\nBy-Hash: {word}\n"
            );
            let of_stanza = stanzas(&stanza, "f");
            assert_eq!(of_stanza.is_empty(), truth == Some(false), "{word}");
            for entry in [lines(&line, "f"), of_stanza].concat() {
                assert_eq!(entry.trusted, truth == Some(true), "{word}");
                assert_eq!(entry.check_valid_until, truth != Some(false), "{word}");
                assert_eq!(entry.by_hash, truth != Some(false), "{word}");
            }
        }
    }

    #[test]
    fn a_stanza_of_many_words_does_not_multiply_without_end() {
        let words = "x ".repeat(100_000);
        let text = format!("Types: deb\nURIs: {words}\nSuites: {words}\nComponents: {words}\n");
        let entries = stanzas(&text, "f");
        assert_eq!(entries.len(), MOST_ENTRIES);
        assert_eq!(entries[0].components.len(), MOST_WORDS);
    }

    #[test]
    fn stanzas_of_sources() {
        let text = "Types: deb deb-src\nURIs: http://h/a http://h/b\nSuites: x x-updates\n\
            Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n\n\
            Enabled: no\nTypes: deb\nURIs: http://h/c\nSuites: x\n\nTypes: deb-src\nURIs: http://h\nSuites: x\n";
        let entries = stanzas(text, "f");
        assert_eq!(entries.len(), 4);
        assert_eq!(
            (&*entries[3].uri, &*entries[3].suite),
            ("http://h/b", "x-updates")
        );
        let inline = entries[0].signed_by.clone().unwrap().inline.unwrap();
        assert!(inline.contains("BLOCK-----\n\nmQ"), "{inline}");
    }
}
