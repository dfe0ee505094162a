//! What apt fetched before: indices in `/var/lib/apt/lists`, packages in `/var/cache/apt/archives`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kedge_packages::Family;

use super::entries::Entry;
use super::release::{MOST, Release};
use super::{cached_name, candidate, index, keys, offer};
use crate::Candidate;
use crate::proof::Proof;
use crate::query::Query;
use crate::tally::Tally;
use crate::transport::{Place, Trouble};

const LISTS: &str = "var/lib/apt/lists";

/// Looks into the indices of `entry` that are there. What is not good of them is not worth a word, as the mirror is asked next.
pub(super) fn search(query: &mut Query, entry: &Entry, architectures: &BTreeSet<String>) {
    for candidate in listed(query, entry, architectures).0 {
        let wanted = query.lacking(Family::Dpkg).any(|wanted| {
            wanted.name == candidate.package.name
                && crate::version::same(wanted, &candidate.package)
        });
        // A mirror keeps the newest version only, and this index may be old.
        if wanted && !matches!(candidate.place.probe(), Err(Trouble::Missing)) {
            offer(query, &candidate);
        }
    }
}

/// What the indices of `entry` that are there have of what is looked for, as it is at the mirror, and why others of them are not
/// believed. They are checked as those of a mirror are.
pub(super) fn listed(
    query: &mut Query,
    entry: &Entry,
    architectures: &BTreeSet<String>,
) -> (Vec<Candidate>, Vec<String>) {
    let is_there = |query: &Query, file: &str| {
        let path = Path::new(LISTS).join(file_name(entry, file));
        query.root.exists(&path)
    };
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    if !["InRelease", "Release"]
        .iter()
        .any(|file| is_there(query, file))
    {
        return (found, wrong);
    }
    let name = format!("{} {}", entry.uri, entry.suite);
    let here = query.inside(LISTS);
    let read = |file: &str| here.join(&file_name(entry, file)).read(MOST);
    let release = keys::of(query, entry)
        .and_then(|keys| Release::believed(query, entry, &keys, &name, &read));
    let release = match release {
        Ok(release) => release,
        Err(why) => {
            wrong.push(format!("{name}, in /{LISTS}: {why}"));
            return (found, wrong);
        }
    };
    for (index, _) in entry.indices(architectures) {
        let Some((listed, named)) = release.plain(&index) else {
            continue;
        };
        if !is_there(query, listed) {
            continue;
        }
        match hits(query, &here.join(&file_name(entry, listed)), named) {
            Ok(hits) => found.extend(
                hits.into_iter()
                    .map(|hit| candidate(&release, listed, named, hit, &entry.place)),
            ),
            Err(why) => wrong.push(format!("{name}, in /{LISTS}: {listed}: {why}")),
        }
    }
    (found, wrong)
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
