//! Whose signatures a source's Release may have.

use super::entries::Entry;
use crate::openpgp::Keyring;
use crate::query::Query;

/// The longest keyring that is read.
const MOST: u64 = 16 << 20;

/// Where distributions keep the keys of their archives; looked at when apt itself has none.
const OF_DISTRIBUTIONS: [&str; 2] = [
    "usr/share/keyrings/debian-archive-keyring.gpg",
    "usr/share/keyrings/ubuntu-archive-keyring.gpg",
];

/// The keys for `entry`; an empty keyring when it needs none.
pub(super) fn of(query: &mut Query, entry: &Entry) -> Result<Keyring, String> {
    let mut keyring = Keyring::default();
    if entry.trusted {
        return Ok(keyring);
    }
    let signed_by = entry.signed_by.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    if let Some(inline) = &signed_by.inline {
        let added = keyring.add(inline.as_bytes(), &entry.said_in);
        wrong.extend(added.err().map(|why| format!("Signed-By: {why}")));
    } else if signed_by.files.is_empty() {
        for file in everybodys(query) {
            wrong.extend(add(query, &mut keyring, &file));
        }
        if keyring.is_empty() {
            for file in OF_DISTRIBUTIONS {
                if query.root.exists(file.as_ref()) {
                    wrong.extend(add(query, &mut keyring, file));
                }
            }
        }
    } else {
        for file in &signed_by.files {
            wrong.extend(add(query, &mut keyring, &file.to_string_lossy()));
        }
    }
    if !signed_by.fingerprints.is_empty() {
        keyring.retain(|certificate| {
            let mut prints = certificate.fingerprints();
            prints.any(|print| signed_by.fingerprints.contains(&print))
        });
        if keyring.is_empty() && wrong.is_empty() {
            wrong.push("the keys that Signed-By names are in no keyring".into());
        }
    }
    if keyring.is_empty() {
        if wrong.is_empty() {
            wrong.push("there is no keyring in etc/apt/trusted.gpg.d".into());
        }
        return Err(format!(
            "no key to check its signature: {}",
            wrong.join("; ")
        ));
    }
    Ok(keyring)
}

/// The keyrings of sources that name none.
fn everybodys(query: &Query) -> Vec<String> {
    let mut files = Vec::new();
    if query.root.exists("etc/apt/trusted.gpg".as_ref()) {
        files.push("etc/apt/trusted.gpg".to_owned());
    }
    for file in query.in_folder("etc/apt/trusted.gpg.d", &["gpg", "asc"]) {
        files.push(file.to_string_lossy().into_owned());
    }
    files
}

/// Adds a file's keys; or what is wrong with it.
fn add(query: &Query, keyring: &mut Keyring, file: &str) -> Option<String> {
    let bytes = match query.root.read(file.as_ref(), MOST) {
        Ok(bytes) => bytes,
        Err(error) => return Some(error.to_string()),
    };
    // An empty trusted.gpg is what apt-key leaves behind.
    if bytes.is_empty() {
        return None;
    }
    let outside = query.root.outside(file.as_ref());
    let added = keyring.add(&bytes, &format!("/{}", file.trim_start_matches('/')));
    added
        .err()
        .map(|why| format!("{}: {why}", outside.display()))
}
