//! The form of `kedge.toml`: its fields, and the line at which each value stands.
//!
//! A list of one may be written without brackets. Paths are relative to the file's folder; `~/` is the
//! home folder.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU16;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use super::{Error, Place, Wish};
use crate::packs::description::Custom;

/// What the file asks for, with places, not judged yet.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Name of the word in the image, and its value.
    pub(super) words: Vec<(&'static str, Wish<String>)>,
    pub(super) ssh_keys: Vec<Wish<String>>,
    pub(super) ssh_key_files: Vec<Wish<PathBuf>>,
    pub(super) host_key: Option<Wish<PathBuf>>,
    pub(super) root_ca: Vec<Wish<PathBuf>>,
    pub(super) packs: Vec<Custom>,
    pub(super) with: Vec<String>,
    pub(super) stamp_area: Option<Wish<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    hostname: Option<Spanned<String>>,
    ssh_keys: Option<Spanned<Many>>,
    ssh_key_files: Option<Spanned<Many>>,
    host_key: Option<Spanned<String>>,
    ssh_port: Option<Spanned<NonZeroU16>>,
    ip: Option<Spanned<Many>>,
    vlan: Option<Spanned<Many>>,
    bond: Option<Spanned<Many>>,
    bridge: Option<Spanned<Many>>,
    nameserver: Option<Spanned<Many>>,
    route: Option<Spanned<Many>>,
    ntp: Option<Spanned<Many>>,
    beacon: Option<Spanned<Many>>,
    root_ca: Option<Spanned<Many>>,
    with: Option<Spanned<Many>>,
    #[serde(default)]
    packs: BTreeMap<String, Many>,
    stamp_area: Option<Spanned<String>>,
}

/// A string, or a list of strings.
enum Many {
    One(String),
    List(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Many, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Many;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<Many, E> {
                Ok(Many::One(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Many, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = list.next_element()? {
                    all.push(text);
                }
                Ok(Many::List(all))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

impl Many {
    fn into_values(self) -> Vec<String> {
        match self {
            Many::One(text) => vec![text],
            Many::List(all) => all.into_iter().map(Spanned::into_inner).collect(),
        }
    }
}

/// Reads the file at `path`.
pub(super) fn read(path: &Path) -> Result<Wishes, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Wishes, Error> {
    let file = File { path, text };
    let mut fields: Fields = toml::from_str(text).map_err(|error| {
        let line = file.line(&error.span().unwrap_or_default());
        Error::Form {
            path: path.into(),
            line,
            text: text.lines().nth(line - 1).unwrap_or_default().trim().into(),
            why: error.message().into(),
        }
    })?;
    let mut wishes = Wishes::default();
    if let Some(name) = fields.hostname {
        let wish = file.wish("hostname", name.span(), name.into_inner());
        wishes.words.push(("kedge.hostname", wish));
    }
    if let Some(port) = fields.ssh_port {
        let wish = file.wish("ssh_port", port.span(), port.into_inner().to_string());
        wishes.words.push(("kedge.ssh_port", wish));
    }
    for (field, word, values) in [
        ("ip", "ip", fields.ip.take()),
        ("vlan", "vlan", fields.vlan.take()),
        ("bond", "bond", fields.bond.take()),
        ("bridge", "bridge", fields.bridge.take()),
        ("nameserver", "nameserver", fields.nameserver.take()),
        ("route", "rd.route", fields.route.take()),
        ("ntp", "kedge.ntp", fields.ntp.take()),
        ("beacon", "kedge.beacon", fields.beacon.take()),
    ] {
        let values = file.many(field, values);
        wishes.words.extend(values.map(|wish| (word, wish)));
    }
    wishes.ssh_keys = file.many("ssh_keys", fields.ssh_keys).collect();
    wishes.ssh_key_files = file.paths("ssh_key_files", fields.ssh_key_files);
    wishes.root_ca = file.paths("root_ca", fields.root_ca);
    let with = file.many("with", fields.with);
    wishes.with = with.map(|wish| wish.value).collect();
    wishes.packs = fields
        .packs
        .into_iter()
        .map(|(name, packages)| Custom {
            name,
            packages: packages.into_values(),
        })
        .collect();
    wishes.stamp_area = fields
        .stamp_area
        .map(|size| file.wish("stamp_area", size.span(), size.into_inner()));
    wishes.host_key = fields.host_key.map(|name| {
        let path = file.resolve(name.get_ref());
        file.wish("host_key", name.span(), path)
    });
    Ok(wishes)
}

/// The file in hand.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// The line, from 1, at which a stretch of the text begins.
    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    fn wish<T>(&self, field: &'static str, span: Range<usize>, value: T) -> Wish<T> {
        Wish {
            value,
            place: Place::Field {
                file: self.path.into(),
                line: self.line(&span),
                field,
            },
        }
    }

    fn many(
        &self,
        field: &'static str,
        values: Option<Spanned<Many>>,
    ) -> impl Iterator<Item = Wish<String>> {
        let values = match values.map(|values| (values.span(), values.into_inner())) {
            None => Vec::new(),
            Some((span, Many::One(text))) => vec![(span, text)],
            Some((_, Many::List(list))) => list
                .into_iter()
                .map(|text| (text.span(), text.into_inner()))
                .collect(),
        };
        values
            .into_iter()
            .map(move |(span, text)| self.wish(field, span, text))
    }

    fn paths(&self, field: &'static str, values: Option<Spanned<Many>>) -> Vec<Wish<PathBuf>> {
        self.many(field, values)
            .map(|wish| Wish {
                value: self.resolve(&wish.value),
                place: wish.place,
            })
            .collect()
    }

    fn resolve(&self, name: &str) -> PathBuf {
        match (name.strip_prefix("~/"), std::env::var_os("HOME")) {
            (Some(rest), Some(home)) => Path::new(&home).join(rest),
            _ => self.path.parent().unwrap_or(Path::new("")).join(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Wishes, Error> {
        parse(Path::new("folder/kedge.toml"), text)
    }

    #[test]
    fn each_value_knows_its_line() {
        let wishes = of("# first\nip = [\n  'a',\n\n  'b',\n]\nntp = 'off'\n").unwrap();
        let found: Vec<_> = wishes
            .words
            .iter()
            .map(|(name, wish)| (*name, wish.value.as_str(), wish.place.to_string()))
            .collect();
        let place = |line, field| format!("folder/kedge.toml, line {line}, {field}");
        assert_eq!(
            found,
            [
                ("ip", "a", place(3, "ip")),
                ("ip", "b", place(5, "ip")),
                ("kedge.ntp", "off", place(7, "ntp")),
            ]
        );
    }

    #[test]
    fn a_wrong_form_names_file_line_and_what_was_expected() {
        for (text, line, parts) in [
            ("\nhost = 'a'", 2, ["`host`", "`hostname`"]),
            ("hostname = 3", 1, ["hostname = 3", "a string"]),
            ("ip = 4", 1, ["ip = 4", "a string or a list of strings"]),
            ("ip = [\n'a',\n4]", 3, ["4]", "a string"]),
            ("ssh_port = 0", 1, ["ssh_port = 0", "nonzero"]),
            ("ssh_port = 65536", 1, ["ssh_port = 65536", "u16"]),
            ("[network]\nip = 'dhcp'", 1, ["[network]", "unknown field"]),
            ("hostname = ", 1, ["hostname =", "string"]),
            (
                "hostname = 'a'\nhostname = 'b'",
                2,
                ["hostname", "duplicate key"],
            ),
        ] {
            let error = of(text).unwrap_err().to_string();
            let place = format!("folder/kedge.toml, line {line}: ");
            assert!(error.starts_with(&place), "{text:?}: {error}");
            for part in parts {
                assert!(error.contains(part), "{text:?}: {part} is not in: {error}");
            }
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let wishes = of("ssh_key_files = ['a.pub', '/b.pub', '~/c.pub']").unwrap();
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        let paths: Vec<_> = wishes.ssh_key_files.into_iter().map(|w| w.value).collect();
        assert_eq!(
            paths,
            [
                PathBuf::from("folder/a.pub"),
                "/b.pub".into(),
                home.join("c.pub")
            ]
        );
    }
}
