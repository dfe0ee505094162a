//! The signature in an .rpm: over its header, which names the digest of its content (rpm, docs/manual/format_v4.md).

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use kedge_digest::{Algorithm, Digest, Hasher};
use kedge_rpm_header::{Header, tag};

use crate::openpgp::{Detached, Keyring, Signer};
use crate::query::Query;

const LEAD: u64 = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Folders of caches, in each of which every repository has one, and packages below that.
const CACHES: [(&str, &str); 4] = [
    ("var/cache/dnf", "packages"),
    ("var/cache/libdnf5", "packages"),
    ("var/cache/yum", "packages"),
    ("var/cache/zypp/packages", ""),
];

/// Whether the package `file` is signed by one of `keys`.
pub(crate) fn check(
    file: &mut (impl Read + Seek),
    keys: &Keyring,
    now: u64,
) -> Result<Signer, String> {
    let broken = |error: io::Error| format!("it is no whole .rpm: {error}");
    file.seek(SeekFrom::Start(0)).map_err(broken)?;
    let mut lead = [0; LEAD as usize];
    file.read_exact(&mut lead).map_err(broken)?;
    if lead[..4] != LEAD_MAGIC {
        return Err("it is no .rpm".into());
    }
    let makes_no_sense = |error: kedge_rpm_header::Error| format!("a header of it: {error}");
    let signatures = kedge_rpm_header::read_padded(file).map_err(broken)?;
    let signatures = Header::parse(&signatures).map_err(makes_no_sense)?;
    let signed = kedge_rpm_header::read(file).map_err(broken)?;
    let header = Header::parse(&signed).map_err(makes_no_sense)?;
    let mut found = Vec::new();
    for tag in [tag::RSAHEADER, tag::DSAHEADER] {
        if let Some(bytes) = signatures.binary(tag) {
            found.extend(Detached::all(bytes)?);
        }
    }
    if found.is_empty() {
        return Err("it is not signed (there is no signature over its header)".into());
    }
    let signer = keys.verify(&found, &signed, now)?;
    // Before rpm 4.14 headers do not name it; they name the digest of each file.
    if let Some(text) = header.text(tag::PAYLOADDIGEST) {
        const SHA256: u64 = 8;
        if header.number(tag::PAYLOADDIGESTALGO).unwrap_or(SHA256) == SHA256 {
            let named = Digest::from_hex(Algorithm::Sha256, &text)
                .ok_or("its header names no digest of its content")?;
            let mut hasher = Hasher::new(Algorithm::Sha256);
            let mut buffer = vec![0; 64 << 10];
            loop {
                let count = file.read(&mut buffer).map_err(broken)?;
                if count == 0 {
                    break;
                }
                hasher.update(&buffer[..count]);
            }
            let is = hasher.finish();
            if is != named {
                return Err(format!("its content is {is}, not {named}"));
            }
        }
    }
    Ok(signer)
}

/// Where a package may lie in the caches of dnf, yum and zypper.
pub(super) fn cached_names(query: &Query, file: &str) -> Vec<PathBuf> {
    let name = file.rsplit('/').next().unwrap_or_default();
    let mut paths = Vec::new();
    for (cache, below) in CACHES {
        for repository in query.all_in_folder(cache) {
            let mut path = repository;
            if !below.is_empty() {
                path.push(below);
                path.push(name);
            } else {
                // zypper has them as the mirror has.
                path.push(file.trim_start_matches('/'));
            }
            paths.push(path);
        }
    }
    paths
}
