//! Release: which indices a suite has, by their digests, and who says so.

use std::collections::HashMap;

use kedge_digest::{Algorithm, Digest};

use super::entries::Entry;
use super::fields;
use crate::date;
use crate::openpgp::{Cleartext, Detached, Keyring, Signer};
use crate::proof::stranger;
use crate::query::Query;
use crate::transport::Trouble;

/// The longest that is read. Debian's have 200 kB.
pub(super) const MOST: u64 = 16 << 20;
/// How far ahead of this machine's clock a Release may be dated.
const AHEAD: u64 = 24 * 3600;

/// How Packages may be packed, the smallest first.
const PACKINGS: [&str; 4] = [".xz", ".zst", ".gz", ""];

/// What a Release says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Named {
    /// The name under which a mirror keeps this very content.
    pub(super) fn by_hash(&self, name: &str) -> String {
        let (folder, _) = name.rsplit_once('/').unwrap_or((".", ""));
        let text = self.digest.to_string();
        let (algorithm, hex) = text.split_once(':').unwrap_or_default();
        let algorithm = algorithm.to_ascii_uppercase();
        format!("{folder}/by-hash/{algorithm}/{hex}")
    }
}

/// A Release that is believed.
#[derive(Clone, Debug)]
pub(super) struct Release {
    /// The indices, by their names.
    files: HashMap<String, Named>,
    /// Whether indices can be asked for by their digests.
    pub(super) by_hash: bool,
    /// Why it is believed.
    pub(super) trust: Vec<String>,
}

impl Release {
    /// Reads `InRelease`, or `Release` and `Release.gpg`, and checks who signed it, and when. `name` is the suite's for people.
    pub(super) fn believed(
        query: &mut Query,
        entry: &Entry,
        keys: &Keyring,
        name: &str,
        read: &dyn Fn(&str) -> Result<Vec<u8>, Trouble>,
    ) -> Result<Release, String> {
        let fail = |file: &'static str| move |why: String| format!("{file}: {why}");
        let (text, trust) = match read("InRelease") {
            Ok(bytes) => {
                let cleartext = Cleartext::parse(&bytes)
                    .map_err(|why| format!("InRelease: {why}{}", stranger(&bytes)));
                match cleartext {
                    Err(_) if entry.trusted => (bytes, None),
                    Err(why) => return Err(why),
                    Ok(cleartext) if entry.trusted => (cleartext.signed, None),
                    Ok(Cleartext { signed, signatures }) => {
                        let by = Detached::all(&signatures)
                            .and_then(|signatures| signer(query, keys, &signatures, &signed))
                            .map_err(fail("InRelease"))?;
                        (signed, Some(("InRelease", by)))
                    }
                }
            }
            Err(Trouble::Missing) => {
                let cannot = |trouble: Trouble| format!("Release: {trouble}");
                let release = read("Release").map_err(cannot)?;
                if entry.trusted {
                    (release, None)
                } else {
                    let signature = read("Release.gpg")
                        .map_err(|trouble| format!("Release is not signed: {trouble}"))?;
                    let by = crate::openpgp::dearmored(&signature)
                        .and_then(|signature| Detached::all(&signature))
                        .and_then(|signatures| signer(query, keys, &signatures, &release))
                        .map_err(fail("Release.gpg"))?;
                    (release, Some(("Release", by)))
                }
            }
            Err(trouble) => return Err(format!("InRelease: {trouble}")),
        };
        let trust = match trust {
            Some((file, by)) => {
                let day = date::day(by.signed);
                format!("{file} of {name}, of {day}, is signed by {by}")
            }
            None => format!(
                "{} says trusted=yes of {name}: no signature was asked for",
                entry.said_in
            ),
        };
        let text = String::from_utf8_lossy(&text);
        let release = Release::parse(&text, trust)?;
        in_time(query, entry, &text)?;
        if let Some(other) = other_suite(entry, &text) {
            // A warning for apt as well.
            query.note(&format!("{name}: it says to be {other}"));
        }
        Ok(release)
    }

    pub(super) fn parse(text: &str, trust: String) -> Result<Release, String> {
        let stanzas = fields::whole(text);
        let stanza = stanzas.first().ok_or("the Release is empty")?;
        let (algorithm, list) = [Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find_map(|algorithm| {
                let name = algorithm.to_string();
                Some((algorithm, fields::value(stanza, &name)?))
            })
            .ok_or("the Release has neither SHA256 nor SHA512")?;
        let mut files = HashMap::new();
        for line in list.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(digest), Some(size), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let (Some(digest), Ok(size)) = (Digest::from_hex(algorithm, digest), size.parse())
            else {
                continue;
            };
            let name = name.strip_prefix("./").unwrap_or(name);
            let last = name.rsplit('/').next().unwrap_or_default();
            if last.starts_with("Packages") {
                files.insert(name.to_owned(), Named { digest, size });
            }
        }
        let by_hash = fields::value(stanza, "acquire-by-hash") == Some("yes");
        Ok(Release {
            files,
            by_hash,
            trust: vec![trust],
        })
    }

    /// The packed file of an index that is best read.
    pub(super) fn packed(&self, index: &str) -> Option<(&str, &Named)> {
        PACKINGS.iter().find_map(|packing| {
            let (name, named) = self.files.get_key_value(&format!("{index}{packing}"))?;
            Some((&**name, named))
        })
    }

    /// What a Release says of the index itself, before it was packed.
    pub(super) fn plain(&self, index: &str) -> Option<(&str, &Named)> {
        let (name, named) = self.files.get_key_value(index)?;
        Some((name, named))
    }

    /// To how much an index unpacks at most.
    pub(super) fn unpacked(&self, index: &str) -> u64 {
        let named = self.files.get(index);
        named.map_or(crate::unpacked::MOST, |named| {
            named.size.min(crate::unpacked::MOST)
        })
    }

    /// Whether it names any index: that of a suite without packages does not.
    pub(super) fn lists_any(&self) -> bool {
        !self.files.is_empty()
    }
}

/// Who signed it: by a key that is good still, unless somebody accepts another.
fn signer(
    query: &mut Query,
    keys: &Keyring,
    signatures: &[Detached],
    signed: &[u8],
) -> Result<Signer, String> {
    match keys.verify_lasting(signatures, signed, query.now) {
        Err(why) if query.options.accept_expired => {
            let by = keys.verify(signatures, signed, query.now)?;
            query.note(&why);
            Ok(by)
        }
        result => result,
    }
}

/// Whether it is valid at this time.
fn in_time(query: &mut Query, entry: &Entry, text: &str) -> Result<(), String> {
    let stanzas = fields::whole(text);
    let Some(stanza) = stanzas.first() else {
        return Ok(());
    };
    let at = |name| fields::value(stanza, name).and_then(date::parse);
    let today = date::day(query.now);
    if let Some(made) = at("date").filter(|&made| made > query.now.saturating_add(AHEAD)) {
        return Err(format!(
            "the Release is of {}, and this machine's clock says {today}: it is wrong, or the mirror is (clock shows \
             it, and sets it)",
            date::day(made)
        ));
    }
    let end = at("valid-until").filter(|&end| end < query.now);
    if let Some(end) = end.filter(|_| entry.check_valid_until) {
        let end = date::day(end);
        if !query.options.accept_expired {
            return Err(format!(
                "the Release is valid until {end} only (Valid-Until), and this machine's clock says {today}: the mirror \
                 is no longer kept up to date, or the clock is wrong (clock shows it, and sets it); --accept-expired \
                 believes it all the same"
            ));
        }
        query.note(&format!("the Release was valid until {end} only"));
    }
    Ok(())
}

/// What the Release says to be, if that is not what was asked for.
fn other_suite(entry: &Entry, text: &str) -> Option<String> {
    let stanzas = fields::whole(text);
    let stanza = stanzas.first()?;
    let names: Vec<&str> = ["suite", "codename"]
        .into_iter()
        .filter_map(|name| fields::value(stanza, name))
        .collect();
    // "buster/updates" says to be "buster".
    let wanted = entry.suite.trim_end_matches('/');
    let short = wanted.split('/').next().unwrap_or(wanted);
    if entry.suite.ends_with('/') || names.is_empty() {
        return None;
    }
    let fits = names.iter().any(|&name| name == wanted || name == short);
    (!fits).then(|| crate::words::shown(&names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Suite: stable\nCodename: bookworm\nAcquire-By-Hash: yes\nMD5Sum:\n \
        d41d8cd98f00b204e9800998ecf8427e 0 main/binary-amd64/Packages\nSHA256:\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 7 main/binary-amd64/Packages\n \
        ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 main/binary-amd64/Packages.gz\n \
        ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad x main/binary-amd64/Packages.xz\n \
        ba7816bf 3 main/binary-amd64/Packages.xz\n \
        ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad 3 main/Contents-amd64.gz\n";

    #[test]
    fn indices_by_their_digests() {
        let release = Release::parse(TEXT, "by me".into()).unwrap();
        let index = "main/binary-amd64/Packages";
        let (name, named) = release.packed(index).unwrap();
        assert_eq!(name, "main/binary-amd64/Packages.gz");
        assert_eq!(
            named.by_hash(name),
            "main/binary-amd64/by-hash/SHA256/ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(release.unpacked(index), 7);
        assert_eq!(release.files.len(), 2);
        assert!(release.by_hash);
    }

    #[test]
    fn md5_alone_is_not_enough() {
        let (text, _) = TEXT.split_once("SHA256").unwrap();
        assert!(Release::parse(text, String::new()).is_err());
        assert!(Release::parse("", String::new()).is_err());
    }
}
