//! The signature in an .rpm: over its header, which names the digest of its content (rpm, docs/manual/format_v4.md).

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

use kedge_digest::{Algorithm, Digest, Hasher};

use crate::openpgp::{Detached, Keyring, Signer};
use crate::query::Query;

const LEAD: u64 = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// rpm's own limits of a header.
const MOST_TAGS: u32 = 0xffff;
const MOST_DATA: u32 = 256 << 20;
const MOST_SIGNATURES: u32 = 64 << 20;

/// Tags of the signature header (rpmtag.h): signatures over the header, EdDSA and DSA, RSA; all of them in Base64 (rpm 6).
const DSA_HEADER: u32 = 267;
const RSA_HEADER: u32 = 268;
/// Tags of the header: the digest of the packed content, and of which kind.
const PAYLOAD_DIGEST: u32 = 5092;
const PAYLOAD_DIGEST_ALGORITHM: u32 = 5093;

const INT32: u32 = 4;
const BINARY: u32 = 7;
const STRING: u32 = 6;
const STRING_ARRAY: u32 = 8;

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
    let signatures = Header::read(file, MOST_SIGNATURES).map_err(broken)?;
    let padding = signatures.bytes.len().wrapping_neg() % 8;
    file.read_exact(&mut vec![0; padding]).map_err(broken)?;
    let header = Header::read(file, MOST_DATA).map_err(broken)?;
    let mut found = Vec::new();
    for tag in [RSA_HEADER, DSA_HEADER] {
        if let Some(bytes) = signatures.binary(tag) {
            found.extend(Detached::all(bytes)?);
        }
    }
    if found.is_empty() {
        return Err("it is not signed (there is no signature over its header)".into());
    }
    let signer = keys.verify(&found, &header.bytes, now)?;
    // Before rpm 4.14 headers do not name it; they name the digest of each file.
    if let Some(text) = header.text(PAYLOAD_DIGEST) {
        const SHA256: u32 = 8;
        if header.number(PAYLOAD_DIGEST_ALGORITHM).unwrap_or(SHA256) == SHA256 {
            let named = Digest::from_hex(Algorithm::Sha256, text)
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

/// A header, as it is signed.
struct Header {
    /// With its magic number.
    bytes: Vec<u8>,
    tags: usize,
}

impl Header {
    fn read(from: &mut dyn Read, most: u32) -> io::Result<Header> {
        let mut bytes = vec![0; 16];
        from.read_exact(&mut bytes)?;
        let (tags, data) = (number(&bytes[8..12]), number(&bytes[12..16]));
        if bytes[..4] != MAGIC || tags > MOST_TAGS || data > most {
            return Err(io::Error::other("a header of it makes no sense"));
        }
        let length = u64::from(tags) * 16 + u64::from(data);
        // Not all at once: the length is only its own word.
        if from.take(length).read_to_end(&mut bytes)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Header {
            bytes,
            tags: tags as usize,
        })
    }

    /// What stands where the values of a tag begin, and how many there are.
    fn value(&self, tag: u32, kinds: &[u32]) -> Option<(&[u8], usize)> {
        let (index, data) = self.bytes[16..].split_at(self.tags * 16);
        let entry = index
            .chunks_exact(16)
            .find(|entry| number(&entry[..4]) == tag)?;
        let count = number(&entry[12..]) as usize;
        let offset = number(&entry[8..12]) as usize;
        let fits = kinds.contains(&number(&entry[4..8]));
        fits.then(|| data.get(offset..))?.map(|data| (data, count))
    }

    fn binary(&self, tag: u32) -> Option<&[u8]> {
        let (data, count) = self.value(tag, &[BINARY])?;
        data.get(..count)
    }

    fn number(&self, tag: u32) -> Option<u32> {
        let (data, _) = self.value(tag, &[INT32])?;
        data.get(..4).map(number)
    }

    fn text(&self, tag: u32) -> Option<&str> {
        let (data, _) = self.value(tag, &[STRING, STRING_ARRAY])?;
        let end = data.iter().position(|&b| b == 0)?;
        std::str::from_utf8(&data[..end]).ok()
    }
}

/// Big endian.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, &b| sum << 8 | u32::from(b))
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
