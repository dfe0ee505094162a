//! What apt fetched before: indices in `/var/lib/apt/lists`, packages in `/var/cache/apt/archives`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use kedge_packages::Family;

use super::entries::Entry;
use super::release::{MOST, Release};
use super::{cached_name, index, keys, offer};
use crate::Candidate;
use crate::proof::Proof;
use crate::query::Query;
use crate::tally::Tally;
use crate::transport::{Place, Trouble};

const LISTS: &str = "var/lib/apt/lists";

/// Looks into the indices of `entry` that are there. They are checked as those of a mirror are; what is not good is not
/// worth a word, as the mirror is asked next.
pub(super) fn search(query: &mut Query, entry: &Entry, architectures: &BTreeSet<String>) {
    let Ok(keys) = keys::of(query, entry) else {
        return;
    };
    let here = query.inside(LISTS);
    let read = |file: &str| here.join(&file_name(entry, file)).read(MOST);
    let name = format!("{} {}", entry.uri, entry.suite);
    let Ok(release) = Release::believed(query, entry, &keys, &name, &read) else {
        return;
    };
    for (index, _) in entry.indices(architectures) {
        let Some((listed, named)) = release.plain(&index) else {
            continue;
        };
        let Ok(hits) = hits(query, &here.join(&file_name(entry, listed)), named) else {
            continue;
        };
        for hit in hits {
            let wanted = query.lacking(Family::Dpkg).any(|wanted| {
                wanted.name == hit.package.name && crate::version::same(wanted, &hit.package)
            });
            let place = entry.place.join(&hit.file);
            // A mirror keeps the newest version only, and this index may be old.
            if wanted && !matches!(place.probe(), Err(Trouble::Missing)) {
                offer(query, &release, listed, named, hit, &entry.place);
            }
        }
    }
}

/// What an unpacked index has.
fn hits(
    query: &mut Query,
    place: &Place,
    named: &super::release::Named,
) -> Result<Vec<index::Hit>, String> {
    let names = query.names();
    let from = place.open().map_err(|trouble| trouble.to_string())?;
    let size = named.size;
    let mut tally = Tally::new(from, named.digest, Some(size), size, query.progress());
    let hits = index::hits(&mut tally, size, &names);
    tally.finish()?;
    hits.map_err(|error| error.to_string())
}

/// Packages in the cache for which no index vouches.
pub(super) fn unvouched(query: &mut Query) {
    let lacking: Vec<_> = query.lacking(Family::Dpkg).cloned().collect();
    for package in lacking {
        let path: PathBuf = cached_name(&package);
        if !query.root.exists(&path) {
            continue;
        }
        let place = query.inside(path);
        query.offer(&Candidate {
            package,
            location: place.shown(),
            size: None,
            trust: Vec::new(),
            place,
            proof: Proof::default(),
        });
    }
}

/// What apt calls a file of a mirror (URItoFileName in apt-pkg/contrib/strutl.cc).
fn file_name(entry: &Entry, file: &str) -> String {
    const QUOTED: &[u8] = b"\\|{}[]<>\"^~_=!@#$%^&*";
    let uri = entry.uri.split_once("://").map_or(&*entry.uri, |(_, r)| r);
    // Without a login.
    let (host, path) = uri.split_at(uri.find('/').unwrap_or(uri.len()));
    let host = host.rsplit('@').next().unwrap_or_default();
    let mut name = String::new();
    for byte in format!("{host}{path}/{}/{file}", entry.dist()).bytes() {
        match byte {
            b'/' => name.push('_'),
            b if QUOTED.contains(&b) || !(0x21..0x7f).contains(&b) => {
                name.push_str(&format!("%{b:02x}"));
            }
            b => name.push(char::from(b)),
        }
    }
    name
}
