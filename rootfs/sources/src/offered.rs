//! Packages that somebody names: a file, a folder of files, the URL of one.

use std::path::Path;

use crate::openpgp::Detached;
use crate::proof::Proof;
use crate::query::Query;
use crate::transport::{Place, Trouble};
use crate::{Candidate, From, listed, pacman, rpm};

use kedge_packages::Family;

/// How many files of a folder are looked at.
const MOST: usize = 100_000;
/// The longest signature beside a package.
const MOST_SIGNATURE: u64 = 64 << 10;

/// Offers what was named, if it is a package or a folder with packages. Whether it can be nothing else.
pub(crate) fn search(query: &mut Query, from: &From) -> bool {
    let nothing_else = offer_all(query, from);
    listed::vouch(query);
    nothing_else
}

fn offer_all(query: &mut Query, from: &From) -> bool {
    match from {
        From::Url(url) => {
            if from.is_package() {
                offer(query, Place::Url(url.clone()));
            }
            from.is_package()
        }
        From::Path(path) if path.is_dir() => {
            folder(query, path);
            false
        }
        From::Path(path) => {
            offer(query, Place::File(path.clone()));
            true
        }
    }
}

impl From {
    /// Whether it is one package file, and neither a mirror nor a folder.
    pub fn is_package(&self) -> bool {
        match self {
            From::Url(url) => is_package(url.split(['?', '#']).next().unwrap_or_default()),
            From::Path(path) => !path.is_dir(),
        }
    }
}

/// Whether a file of that name is a package.
pub(crate) fn is_package(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    [".deb", ".rpm", ".apk"].iter().any(|e| last.ends_with(e))
        || last.contains(".pkg.tar") && !last.ends_with(".sig")
}

/// The packages in a folder whose names begin as those that are looked for.
fn folder(query: &mut Query, folder: &Path) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            query.failed(format!("{}: {error}", folder.display()));
            return;
        }
    };
    let names = query.names();
    let mut files: Vec<_> = entries
        .flatten()
        .take(MOST)
        .map(|entry| entry.file_name())
        .filter(|file| {
            let file = file.to_string_lossy();
            is_package(&file) && names.iter().any(|name| file.starts_with(&**name))
        })
        .collect();
    files.sort();
    for file in files {
        offer(query, Place::File(folder.join(file)));
    }
}

/// Offers the package at `place`, whatever its name.
fn offer(query: &mut Query, place: Place) {
    let mut from = match place.open() {
        Ok(from) => from,
        Err(trouble) => {
            query.failed(format!("{}: {trouble}", place.shown()));
            return;
        }
    };
    let package = match kedge_archive::identify(&mut from) {
        Ok(package) => package,
        Err(error) => {
            query.failed(format!("{}: {error}", place.shown()));
            return;
        }
    };
    drop(from);
    let (trust, proof) = match package.family {
        // It has its signature in it.
        Family::Rpm => rpm::vouched(query),
        Family::Pacman => beside(query, &place),
        // A .deb has none; that of an .apk is by whoever built it, and apk does not look at it where an index is. An index may
        // vouch for them later.
        Family::Dpkg | Family::Apk => (Vec::new(), Proof::default()),
    };
    query.offer(&Candidate {
        location: place.shown(),
        package,
        size: None,
        trust,
        place,
        proof,
    });
}

/// A signature in a file of its own, as pacman has it.
fn beside(query: &mut Query, place: &Place) -> (Vec<String>, Proof) {
    let signature = match place.sibling(".sig").read(MOST_SIGNATURE) {
        Ok(signature) => signature,
        Err(Trouble::Missing) => return (Vec::new(), Proof::default()),
        Err(trouble) => {
            query.note(&format!("{}.sig: {trouble}", place.shown()));
            return (Vec::new(), Proof::default());
        }
    };
    let signatures = crate::openpgp::dearmored(&signature).and_then(|s| Detached::all(&s));
    let keys = pacman::keys(query);
    match (signatures, keys) {
        (Ok(signatures), Ok(keys)) => pacman::signed(keys, signatures),
        (Err(why), _) | (_, Err(why)) => {
            query.note(&format!("{}.sig: {why}", place.shown()));
            (Vec::new(), Proof::default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_package;

    #[test]
    fn packages_by_their_names() {
        for (name, expected) in [
            ("http://h/a_1_amd64.deb", true),
            ("a-1-1.x86_64.rpm", true),
            ("a-1-1-any.pkg.tar.zst", true),
            ("a-1-1-any.pkg.tar.zst.sig", false),
            ("a-1-r0.apk", true),
            ("http://h/debian", false),
            ("http://h.deb/debian/", false),
        ] {
            assert_eq!(is_package(name), expected, "{name}");
        }
    }
}
