//! apk: from `/etc/apk/repositories` over a signed APKINDEX to an .apk (apk-repositories(5), apk-package(5), the formats of apk-tools 2).
//!
//! An index is a gzip member with a signature, and then what is signed: only that is read. It names a package by the digest of its control
//! part, and that names the digest of its content. Alpine signs with RSA over SHA-1, which is what its own apk believes as well.

mod members;
mod signature;

use std::collections::{BTreeSet, HashSet};
use std::io::{Cursor, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kedge_digest::{Algorithm, Digest};
use kedge_packages::{Family, Package};

use crate::proof::Proof;
use crate::query::Query;
use crate::transport::Place;
use crate::{Candidate, From};

pub(crate) use members::check;

/// The longest configuration, and the longest index that is read; Alpine's have 2 MB, and unpack to 12.
const MOST_TEXT: u64 = 1 << 20;
const MOST_INDEX: u64 = 64 << 20;
const MOST_UNPACKED: u64 = 512 << 20;
const MOST_REPOSITORIES: usize = 100;
/// Where apk keeps what it fetched.
const CACHES: [&str; 2] = ["var/cache/apk", "etc/apk/cache"];

/// Asks the repositories of apk, or the mirror that stands in for them.
pub(crate) fn search(query: &mut Query, from: Option<&From>) {
    let repositories = repositories(query);
    if repositories.is_empty() {
        query.failed("apk has no repository (etc/apk/repositories is empty)".into());
    }
    let architectures = architectures(query);
    for repository in repositories {
        for architecture in &architectures {
            if !query.lacks(Family::Apk) {
                return;
            }
            let place = match from {
                None => Place::Url(repository.clone()),
                Some(From::Url(url)) => Place::Url(url.clone()).join(&branch(&repository)),
                Some(From::Path(path)) => Place::File(path.clone()).join(&branch(&repository)),
            };
            let place = place.join(architecture);
            query.note(&format!("asking {}", place.shown()));
            if let Err(why) = ask(query, &place, from.is_none()) {
                query.failed(format!("{}/APKINDEX.tar.gz: {why}", place.shown()));
            }
        }
    }
}

/// What follows the mirror in a repository's URL: the version, and main or community.
fn branch(repository: &str) -> String {
    let mut parts: Vec<&str> = repository.rsplit('/').take(2).collect();
    parts.reverse();
    parts.join("/")
}

fn repositories(query: &mut Query) -> Vec<String> {
    let mut files = vec![PathBuf::from("etc/apk/repositories")];
    files.extend(query.in_folder("etc/apk/repositories.d", &["list"]));
    let mut found = Vec::new();
    for file in files {
        let Some(text) = query.text(&file, MOST_TEXT) else {
            continue;
        };
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // "@tag URL" is only for packages that somebody asked for with that tag.
            let url = match line.strip_prefix('@') {
                Some(tagged) => tagged.split_once(' ').map_or("", |(_, url)| url.trim()),
                None => line,
            };
            let url = url.trim_end_matches('/').to_owned();
            if !url.starts_with("http://") && !url.starts_with("https://") {
                let url = crate::words::shown(&url);
                query.failed(format!("{url} is not asked: only http and https are"));
            } else if found.len() < MOST_REPOSITORIES && !found.contains(&url) {
                found.push(url);
            }
        }
    }
    found
}

fn architectures(query: &Query) -> BTreeSet<String> {
    let mut wanted: BTreeSet<String> = query
        .lacking(Family::Apk)
        .map(|package| package.architecture.clone())
        .collect();
    if wanted.remove("noarch") | wanted.remove("") {
        let own = query.text("etc/apk/arch".as_ref(), MOST_TEXT);
        let own = own.map(|text| text.trim().to_owned());
        wanted.insert(own.unwrap_or_else(|| std::env::consts::ARCH.into()));
    }
    wanted
}

/// Asks one repository.
fn ask(query: &mut Query, place: &Place, with_cache: bool) -> Result<(), String> {
    let index = place
        .join("APKINDEX.tar.gz")
        .read(MOST_INDEX)
        .map_err(|trouble| trouble.to_string())?;
    for (control, candidate) in candidates(query, &index, place)? {
        if with_cache {
            query.offer_cached(&candidate, &cached_names(&candidate, control));
        }
        query.offer(&candidate);
    }
    Ok(())
}

/// What the indices that apk fetched before have of what is looked for, and why others of them are not believed. Asks nobody.
pub(crate) fn listed(query: &mut Query) -> (Vec<Candidate>, Vec<String>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    let mut files = Vec::new();
    for folder in CACHES.map(Path::new) {
        // Packages may be there as well, many of them.
        let names = query.root.read_dir(folder).unwrap_or_default();
        let names = names.into_iter().map(|name| name.name);
        files.extend(
            names
                .filter(|name| is_index(name))
                .map(|name| folder.join(name)),
        );
    }
    for file in files.into_iter().take(MOST_REPOSITORIES) {
        let place = query.inside(file);
        let read = place.read(MOST_INDEX).map_err(|t| t.to_string());
        match read.and_then(|index| candidates(query, &index, &place)) {
            Ok(candidates) => found.extend(candidates.into_iter().map(|(_, candidate)| candidate)),
            Err(why) => wrong.push(format!("{}: {why}", place.shown())),
        }
    }
    (found, wrong)
}

/// Whether apk calls an index so in its cache: with the first bytes of its repository's digest.
fn is_index(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.starts_with("APKINDEX.") && name.ends_with(".tar.gz")
}

/// What an index of the repository at `place` has of what is looked for, if it is well signed.
fn candidates(
    query: &Query,
    index: &[u8],
    place: &Place,
) -> Result<Vec<(Digest, Candidate)>, String> {
    let (key, signed) = signature::key_of(query, index)?;
    let signed_by = format!(
        "APKINDEX of {} is signed by /etc/apk/keys/{key}",
        place.shown()
    );
    let candidate = |entry: Entry| {
        let Package { name, version, .. } = &entry.package;
        let file = format!("{name}-{version}.apk");
        let place = place.join(&file);
        let control = entry.control;
        let candidate = Candidate {
            location: place.shown(),
            place,
            size: Some(entry.size),
            trust: vec![
                signed_by.clone(),
                format!("it names the control part of {file} by {control}"),
                "that names the content by SHA-256".into(),
            ],
            proof: Proof {
                apk: Some(control),
                ..Proof::default()
            },
            package: entry.package,
        };
        (control, candidate)
    };
    let entries = entries(signed, &query.names())?;
    Ok(entries.into_iter().map(candidate).collect())
}

/// What a package is called in apk's cache: with the first bytes of its checksum.
fn cached_names(candidate: &Candidate, control: Digest) -> Vec<PathBuf> {
    let Package { name, version, .. } = &candidate.package;
    let first = &control.bytes()[..4];
    let hex: String = first.iter().map(|b| format!("{b:02x}")).collect();
    CACHES
        .map(|folder| format!("{folder}/{name}-{version}.{hex}.apk").into())
        .to_vec()
}

/// A package that an index has.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    package: Package,
    size: u64,
    control: Digest,
}

/// The packages of the wanted names, in what is signed of an index.
fn entries(index: &[u8], names: &HashSet<String>) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    let mut from = crate::unpacked::limited(index, MOST_INDEX);
    kedge_archive::archive(&mut from, &mut |member, content| {
        if member.path.as_os_str() != "APKINDEX" {
            return Ok(ControlFlow::Continue(()));
        }
        let mut text = String::new();
        content.take(MOST_UNPACKED).read_to_string(&mut text)?;
        let stanzas = text.split("\n\n");
        entries.extend(stanzas.filter_map(|stanza| entry(stanza, names)));
        Ok(ControlFlow::Break(()))
    })
    .map_err(|error| error.to_string())?;
    Ok(entries)
}

fn entry(stanza: &str, names: &HashSet<String>) -> Option<Entry> {
    let field = |key: &str| {
        let mut lines = stanza.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
    };
    let name = field("P").filter(|&name| names.contains(name))?;
    Some(Entry {
        package: Package {
            family: Family::Apk,
            name: name.to_owned(),
            version: field("V")?.to_owned(),
            architecture: field("A")?.to_owned(),
        },
        size: field("S")?.parse().ok()?,
        control: checksum(field("C")?)?,
    })
}

/// "Q1" and SHA-1, or "Q2" and SHA-256, in Base64.
fn checksum(text: &str) -> Option<Digest> {
    let (kind, encoded) = text.split_at_checked(2)?;
    let bytes = STANDARD.decode(encoded).ok()?;
    match kind {
        "Q1" => Digest::from_bytes(Algorithm::Sha1, &bytes),
        "Q2" => Digest::from_bytes(Algorithm::Sha256, &bytes),
        _ => None,
    }
}

/// What these parsers make of any bytes: for the fuzz targets.
pub(crate) fn fuzz(data: &[u8], names: &HashSet<String>) {
    if let Ok(length) = members::first_member(data) {
        assert!(length <= data.len());
    }
    let _ = entries(data, names);
    let text = String::from_utf8_lossy(data);
    for stanza in text.split("\n\n") {
        entry(stanza, names);
    }
    signature::public_key(data);
    let _ = members::check(&mut Cursor::new(data), Digest::Sha1([0; 20]));
    members::fuzz(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_of_an_index() {
        let names = ["musl".to_owned()].into();
        let stanza =
            "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:musl\nV:1.2.5-r0\nA:x86_64\nS:405000\nT:x\n";
        let found = entry(stanza, &names).unwrap();
        assert_eq!(found.control, Digest::Sha1([0; 20]));
        assert_eq!((&*found.package.version, found.size), ("1.2.5-r0", 405_000));
        for (what, instead) in [
            ("P:musl", "P:musl-dev"),
            ("Q1A", "Q3A"),
            ("Q1A", "Q2A"),
            ("S:4", "S:x"),
        ] {
            assert_eq!(
                entry(&stanza.replace(what, instead), &names),
                None,
                "{instead}"
            );
        }
        assert_eq!(branch("https://h/alpine/v3.20/main"), "v3.20/main");
    }
}
