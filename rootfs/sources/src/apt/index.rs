//! Packages: what an index has of what is looked for. Read once, as it comes; believed only when all of it was seen to be
//! what Release says.

use std::collections::HashSet;
use std::io::{self, Read};

use kedge_digest::{Algorithm, Digest};
use kedge_packages::{Family, Package};

use super::fields;
use super::release::Named;
use crate::query::Query;
use crate::tally::Tally;
use crate::transport::{Place, Trouble};
use crate::unpacked;

/// A package that an index has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) package: Package,
    /// Below the mirror.
    pub(super) file: String,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// The most packages of one index that are kept.
const MOST: usize = 10_000;
/// The longest version, architecture or path of one: what is kept before the index is believed must fit into memory.
const MOST_TEXT: usize = 1024;

const FIELDS: [&str; 7] = [
    "Package",
    "Version",
    "Architecture",
    "Filename",
    "Size",
    "SHA256",
    "SHA512",
];

/// What the index at `place` has of what is looked for.
pub(super) fn read(
    query: &mut Query,
    place: &Place,
    named: &Named,
    most: u64,
) -> Result<Vec<Hit>, Trouble> {
    let names = query.names();
    let Named { digest, size } = *named;
    let mut packed = Tally::new(place.open()?, digest, Some(size), size, query.progress());
    let parsed = hits(&mut packed, most, &names);
    // What is another file cannot be unpacked either: that it is another file is said first.
    packed.finish().map_err(Trouble::Other)?;
    parsed.map_err(|error| Trouble::Other(error.to_string()))
}

/// The packages of these names in a file. Not to be believed before the file's digest is.
pub(super) fn hits(
    packed: &mut dyn Read,
    most: u64,
    names: &HashSet<String>,
) -> io::Result<Vec<Hit>> {
    let mut hits = Vec::new();
    let mut unpacked = unpacked::of(packed, most)?;
    fields::stanzas(&mut unpacked, &FIELDS, &mut |stanza| {
        if names.contains(&stanza[0]) {
            hits.extend(hit(stanza));
        }
        hits.len() < MOST
    })?;
    Ok(hits)
}

fn hit(stanza: &[String]) -> Option<Hit> {
    let [name, version, architecture, file, size, sha256, sha512] = stanza else {
        return None;
    };
    let digest = Digest::from_hex(Algorithm::Sha256, sha256)
        .or_else(|| Digest::from_hex(Algorithm::Sha512, sha512))?;
    let texts = [name, version, architecture, file];
    if texts.into_iter().any(|text| text.len() > MOST_TEXT) {
        return None;
    }
    if file.is_empty() || version.is_empty() {
        return None;
    }
    Some(Hit {
        package: Package {
            family: Family::Dpkg,
            name: name.clone(),
            version: version.clone(),
            architecture: architecture.clone(),
        },
        file: file.strip_prefix("./").unwrap_or(file).to_owned(),
        size: size.parse().ok()?,
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_an_index_that_fit_into_memory() {
        let stanza = format!(
            "Package: hello\nVersion: 1\nArchitecture: all\nFilename: pool/hello.deb\nSize: 3\nSHA256: {}\n\n",
            "0".repeat(64)
        );
        let names = ["hello".to_owned()].into();
        let found = |text: &str| hits(&mut text.as_bytes(), 1 << 30, &names).unwrap();
        assert_eq!(found(&stanza).len(), 1);
        for (what, of) in [
            ("Version", "1"),
            ("Architecture", "all"),
            ("Filename", "pool/hello.deb"),
        ] {
            let long = |length| format!("{what}: {}\n", "1".repeat(length));
            let with = |length| stanza.replace(&format!("{what}: {of}\n"), &long(length));
            assert_eq!(found(&with(MOST_TEXT)).len(), 1, "{what}");
            assert_eq!(found(&with(MOST_TEXT + 1)).len(), 0, "{what}");
        }
    }
}
