//! dnf and zypper: from `.repo` files over repomd.xml to an .rpm with a signature of its own.
//!
//! As they have it: dnf.conf(5), and createrepo's metadata. Most repositories do not sign repomd.xml; that a package is right,
//! the signature in it says (`gpgcheck=1`), by a key of `gpgkey=` or of `/etc/pki/rpm-gpg`.

mod package;
mod primary;
mod repomd;
mod repositories;
mod variables;

use std::collections::HashSet;
use std::io::Cursor;
use std::sync::Arc;

use kedge_packages::Family;

use crate::openpgp::{Detached, Keyring};
use crate::proof::Proof;
use crate::query::Query;
use crate::transport::{Place, Trouble};
use crate::{Candidate, From};

pub(crate) use package::check;
use repositories::Repository;

/// The longest keyring, signature, repomd.xml and list of mirrors that are read.
const MOST_KEYS: u64 = 16 << 20;
const MOST_SIGNATURE: u64 = 64 << 10;
const MOST_REPOMD: u64 = 8 << 20;

/// Where distributions keep the keys of their packages.
const KEYS: [(&str, &[&str]); 3] = [
    ("usr/lib/rpm/gnupg/keys", &["asc", "gpg"]),
    ("usr/share/distribution-gpg-keys", &["asc", "gpg"]),
    ("etc/pki/rpm-gpg", &[]),
];

/// Asks the repositories of dnf and zypper, or the mirror that stands in for them.
pub(crate) fn search(query: &mut Query, from: Option<&From>) {
    let repositories = repositories::read(query);
    if let Some(from) = from {
        let place = match from {
            From::Url(url) => Place::Url(url.trim_end_matches('/').to_owned()),
            From::Path(path) => Place::File(path.clone()),
        };
        // One that stands in is signed as those of the system are.
        let mut keys = Keyring::default();
        for repository in &repositories {
            let _ = add_keys(query, repository, &mut keys);
        }
        let own = Repository::stand_in(&place);
        add_everybodys(query, &mut keys);
        ask_and_say(query, &own, &place, &Arc::new(keys));
        return;
    }
    if repositories.is_empty() {
        query.failed(
            "dnf has no repository (etc/yum.repos.d and etc/zypp/repos.d are empty)".into(),
        );
    }
    for mut repository in repositories {
        let repository = &mut repository;
        if !query.lacks(Family::Rpm) {
            break;
        }
        let mut keys = Keyring::default();
        let wrong = add_keys(query, repository, &mut keys);
        add_everybodys(query, &mut keys);
        if keys.is_empty() && repository.package_signed {
            let why = wrong.unwrap_or_else(|| "no key is in etc/pki/rpm-gpg".into());
            query.failed(format!("{}: {why}", repository.name));
            continue;
        }
        let keys = Arc::new(keys);
        let mirrors = match repositories::mirrors(query, repository) {
            Ok(mirrors) => mirrors,
            Err(why) => {
                query.failed(format!("{}: {why}", repository.name));
                continue;
            }
        };
        for mirror in mirrors {
            if ask_and_say(query, repository, &mirror, &keys) {
                break;
            }
        }
    }
}

/// The keys that a repository names.
fn add_keys(query: &mut Query, repository: &Repository, keys: &mut Keyring) -> Option<String> {
    let mut wrong = None;
    for file in &repository.keys {
        let added = query
            .root
            .read(file.as_ref(), MOST_KEYS)
            .map_err(|error| error.to_string())
            .and_then(|bytes| keys.add(&bytes, file));
        if let Err(why) = added {
            wrong = Some(format!("{file}: {why}"));
        }
    }
    wrong
}

/// The keys that are believed whatever the repository.
fn add_everybodys(query: &mut Query, keys: &mut Keyring) {
    for (folder, endings) in KEYS {
        let files = if endings.is_empty() {
            query.all_in_folder(folder)
        } else {
            query.in_folder(folder, endings)
        };
        for file in files {
            if let Ok(bytes) = query.root.read(&file, MOST_KEYS) {
                let _ = keys.add(&bytes, &format!("/{}", file.display()));
            }
        }
    }
}

/// Whether the mirror could be asked.
fn ask_and_say(
    query: &mut Query,
    repository: &Repository,
    mirror: &Place,
    keys: &Arc<Keyring>,
) -> bool {
    query.note(&format!("asking {} ({})", mirror.shown(), repository.name));
    match ask(query, repository, mirror, keys) {
        Ok(()) => true,
        Err(why) => {
            query.failed(format!("{}: {why}", mirror.shown()));
            false
        }
    }
}

/// Asks one mirror.
fn ask(
    query: &mut Query,
    repository: &Repository,
    mirror: &Place,
    keys: &Arc<Keyring>,
) -> Result<(), String> {
    let place = mirror.join("repodata/repomd.xml");
    let fail = |why: String| format!("repodata/repomd.xml: {why}");
    let bytes = place
        .read(MOST_REPOMD)
        .map_err(|trouble| fail(trouble.to_string()))?;
    let mut trust = Vec::new();
    if repository.index_signed {
        let signature = place.sibling(".asc").read(MOST_SIGNATURE);
        let signature = signature.map_err(|trouble| match trouble {
            Trouble::Missing => fail("it is not signed, and repo_gpgcheck=1 asks for that".into()),
            other => fail(other.to_string()),
        })?;
        let by = crate::openpgp::dearmored(&signature)
            .and_then(|signature| Detached::all(&signature))
            .and_then(|signatures| keys.verify(&signatures, &bytes, query.now))
            .map_err(fail)?;
        trust.push(format!(
            "repomd.xml of {} is signed by {by}",
            mirror.shown()
        ));
    } else if let Some(digest) = repository.expected(&bytes) {
        let is = digest.1;
        if !digest.0 {
            return Err(fail(format!("it is {is}, and the metalink names another")));
        }
        trust.push(format!("the metalink names repomd.xml by {is}"));
    }
    let primary = repomd::primary(&bytes).map_err(fail)?;
    if !trust.is_empty() {
        trust.push(format!("it names {} by {}", primary.file, primary.digest));
    }
    let hits =
        primary::read(query, mirror, &primary).map_err(|why| format!("{}: {why}", primary.file))?;
    for hit in hits {
        let mut trust = trust.clone();
        if !trust.is_empty() {
            trust.push(format!("that names {} by {}", hit.file, hit.digest));
        }
        let mut proof = Proof {
            digests: vec![hit.digest],
            ..Proof::default()
        };
        if repository.package_signed {
            trust.push(within(keys));
            proof.signed_within = Some(Arc::clone(keys));
        }
        let place = match &hit.base {
            Some(base) if Place::Url(base.clone()).is_web() => Place::Url(base.clone()),
            _ => mirror.clone(),
        };
        let place = place.join(&hit.file);
        let candidate = Candidate {
            location: place.shown(),
            package: hit.package,
            size: Some(hit.size),
            trust,
            place,
            proof,
        };
        let names = package::cached_names(query, &hit.file);
        query.offer_cached(&candidate, &names);
        query.offer(&candidate);
    }
    Ok(())
}

/// What the signature in a package is to a candidate.
fn within(keys: &Keyring) -> String {
    let count = keys.certificates().len();
    let first = keys.certificates().first();
    let origin = first.map_or("no keyring", |key| key.origin());
    match count {
        1 => format!("it has to have a signature in it, by the key in {origin}"),
        _ => format!(
            "it has to have a signature in it, by one of {count} keys, in {origin} and elsewhere"
        ),
    }
}

/// What vouches for an .rpm that somebody names: the signature in it.
pub(crate) fn vouched(query: &mut Query) -> (Vec<String>, Proof) {
    let mut keys = Keyring::default();
    for repository in repositories::read(query) {
        let _ = add_keys(query, &repository, &mut keys);
    }
    add_everybodys(query, &mut keys);
    if keys.is_empty() {
        return (Vec::new(), Proof::default());
    }
    let trust = vec![within(&keys)];
    let proof = Proof {
        signed_within: Some(Arc::new(keys)),
        ..Proof::default()
    };
    (trust, proof)
}

/// What the parsers of `.repo` files make of any bytes: for the fuzz targets.
pub(crate) fn fuzz_sources(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let known = variables::Variables::known(&[("releasever", "9"), ("basearch", "x86_64")]);
    repositories::repositories(&text, (false, true), &known);
}

/// repomd.xml, its list of packages and a metalink: the same bytes as each.
pub(crate) fn fuzz_metadata(data: &[u8], names: &HashSet<String>) {
    let _ = repomd::primary(data);
    let _ = primary::hits(data, names);
    repositories::metalink(data);
}

/// A package with its signature.
pub(crate) fn fuzz_package(data: &[u8]) {
    let _ = check(&mut Cursor::new(data), &Keyring::default(), 0);
}
