//! primary.xml: the packages of a repository. Read once, as it comes; believed only when all of it was seen to be what
//! repomd.xml says.

use std::collections::HashSet;
use std::io::{self, BufRead};

use kedge_digest::Digest;
use kedge_packages::{Family, Package};

use super::repomd::{Primary, checksum};
use crate::query::Query;
use crate::tally::Tally;
use crate::transport::Place;
use crate::unpacked;
use crate::xml::{Event, Xml};

/// The longest list that is fetched when nobody says its length, and the most packages of it that are kept.
const MOST: u64 = 256 << 20;
const MOST_HITS: usize = 10_000;
/// The longest name, version or path of one: nobody signs most lists, and what is kept of one must fit into memory.
const MOST_TEXT: usize = 1024;

/// A package that a list has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) package: Package,
    /// Below the mirror, or below this.
    pub(super) file: String,
    pub(super) base: Option<String>,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// What the list of a mirror has of what is looked for.
pub(super) fn read(query: &mut Query, mirror: &Place, list: &Primary) -> Result<Vec<Hit>, String> {
    let names = query.names();
    let from = mirror.join(&list.file).open();
    let from = from.map_err(|trouble| trouble.to_string())?;
    let mut packed = Tally::new(from, list.digest, list.size, MOST, query.progress());
    let most = list.unpacked.unwrap_or(u64::MAX).min(unpacked::MOST);
    let parsed = unpacked::of(&mut packed, most).and_then(|unpacked| hits(unpacked, &names));
    // What is another file cannot be unpacked either: that it is another file is said first.
    packed.finish()?;
    parsed.map_err(|error| error.to_string())
}

pub(super) fn hits(from: impl BufRead, names: &HashSet<String>) -> io::Result<Vec<Hit>> {
    let mut xml = Xml::new(from);
    let mut hits = Vec::new();
    let mut package: Option<Parts> = None;
    let (mut element, mut kind) = (String::new(), String::new());
    while let Some(event) = xml.next()? {
        match &event {
            Event::Start(name, _) if name == "package" => package = Some(Parts::default()),
            Event::Start(name, _) => {
                if let Some(package) = &mut package {
                    package.start(name, &event);
                }
                element.clone_from(name);
                kind = event.attribute("type").unwrap_or_default().to_owned();
            }
            Event::Text(text) => {
                if let Some(package) = &mut package {
                    package.text(&element, &kind, text);
                }
            }
            Event::End(name) if name == "package" => {
                let whole = package.take().and_then(Parts::whole);
                hits.extend(whole.filter(|hit| names.contains(&hit.package.name)));
                if hits.len() >= MOST_HITS {
                    break;
                }
            }
            Event::End(_) => element.clear(),
        }
    }
    Ok(hits)
}

/// What was seen of a package.
#[derive(Default)]
struct Parts {
    name: Option<String>,
    architecture: Option<String>,
    version: Option<String>,
    digest: Option<Digest>,
    size: Option<u64>,
    file: Option<(Option<String>, String)>,
}

impl Parts {
    fn start(&mut self, name: &str, event: &Event) {
        let attribute = |name: &str| event.attribute(name);
        match name {
            "version" => {
                let (version, release) = (attribute("ver"), attribute("rel"));
                if let (Some(version), Some(release)) = (version, release) {
                    let epoch = attribute("epoch").filter(|&epoch| epoch != "0");
                    let epoch = epoch.map_or(String::new(), |epoch| format!("{epoch}:"));
                    self.version = Some(format!("{epoch}{version}-{release}"));
                }
            }
            "size" => self.size = attribute("package").and_then(|size| size.parse().ok()),
            "location" => {
                let base = attribute("base").map(str::to_owned);
                self.file = attribute("href").map(|file| (base, file.to_owned()));
            }
            _ => {}
        }
    }

    fn text(&mut self, element: &str, kind: &str, text: &str) {
        match element {
            // Files and dependencies have names as well, but as attributes.
            "name" => self.name = Some(text.to_owned()),
            "arch" => self.architecture = Some(text.to_owned()),
            "checksum" => self.digest = checksum(kind, text),
            _ => {}
        }
    }

    fn whole(self) -> Option<Hit> {
        let (base, file) = self.file?;
        let (name, version, architecture) = (self.name?, self.version?, self.architecture?);
        let texts = [&name, &version, &architecture, &file];
        let long = |text: &String| text.len() > MOST_TEXT;
        if texts.into_iter().any(long) || base.as_ref().is_some_and(long) {
            return None;
        }
        Some(Hit {
            package: Package {
                family: Family::Rpm,
                name,
                version,
                architecture,
            },
            file,
            base,
            size: self.size?,
            digest: self.digest?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"<metadata xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="2">
        <package type="rpm"><name>bash</name><arch>x86_64</arch><version epoch="0" ver="5.1" rel="9.el9"/>
        <checksum type="sha256" pkgid="YES">ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad</checksum>
        <size package="12" installed="3" archive="4"/><location href="Packages/b/bash.rpm"/>
        <format><rpm:provides><rpm:entry name="bash" flags="EQ" epoch="0" ver="5.1"/></rpm:provides></format></package>
        <package type="rpm"><name>zlib</name><arch>i686</arch><version epoch="2" ver="1" rel="2"/></package></metadata>"#;

    #[test]
    fn packages_of_a_list() {
        let names = ["bash".to_owned(), "zlib".to_owned()].into();
        let found = hits(LIST.as_bytes(), &names).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].package.version, "5.1-9.el9");
        assert_eq!(
            (found[0].size, &*found[0].file),
            (12, "Packages/b/bash.rpm")
        );
        let list = LIST.replace("epoch=\"0\" ver=\"5.1\" rel", "epoch=\"1\" ver=\"5.1\" rel");
        let found = hits(list.as_bytes(), &names).unwrap();
        assert_eq!(found[0].package.version, "1:5.1-9.el9");
        let long = LIST.replace("Packages/b", &"x".repeat(MOST_TEXT));
        assert!(hits(long.as_bytes(), &names).unwrap().is_empty());
        assert!(
            hits(LIST.as_bytes(), &["gzip".to_owned()].into())
                .unwrap()
                .is_empty()
        );
    }
}
