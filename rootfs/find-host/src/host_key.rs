//! Host keys: their kinds, their fingerprints, and whether a signature is theirs.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};

use kedge_ssh_wire::{Malformed, Reader, ecdsa_fixed};

/// A kind of host key: a server has at most one key of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256` or `-nistp384`: a server has one of them.
    Ecdsa,
    /// `ssh-rsa`
    Rsa,
}

impl Family {
    /// All of them, the usual first.
    pub const ALL: [Family; 3] = [Family::Ed25519, Family::Ecdsa, Family::Rsa];

    /// The kind of a key of this type; `None` for those that are not known here.
    pub(crate) fn of(kind: &str) -> Option<Family> {
        match kind {
            "ssh-ed25519" => Some(Family::Ed25519),
            "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" => Some(Family::Ecdsa),
            "ssh-rsa" => Some(Family::Rsa),
            _ => None,
        }
    }

    /// The ways to sign with such a key, best first. SHA-1 for servers from before 2016.
    pub(crate) fn algorithms(self) -> &'static [&'static str] {
        match self {
            Family::Ed25519 => &["ssh-ed25519"],
            Family::Ecdsa => &["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"],
            Family::Rsa => &["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"],
        }
    }
}

/// A key's type, which its bytes begin with.
pub(crate) fn type_of(blob: &[u8]) -> Option<&str> {
    Reader::new(blob).text().ok()
}

/// `SHA256:...`, as OpenSSH prints it.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    format!(
        "SHA256:{}",
        STANDARD_NO_PAD.encode(digest(&SHA256, blob).as_ref())
    )
}

/// A key out of the base64 of a public key file, if it is of the type that stands before it there.
pub(crate) fn decode(kind: &str, base64: &str) -> Option<Vec<u8>> {
    let blob = STANDARD.decode(base64).ok()?;
    // The type, and at least one value.
    let mut reader = Reader::new(&blob);
    (reader.text().ok()? == kind && !reader.string().ok()?.is_empty()).then_some(blob)
}

/// Whether `signature` over `text` was made by the owner of the key, in the way that `algorithm` names.
pub(crate) fn verify(
    blob: &[u8],
    algorithm: &str,
    text: &[u8],
    signature: &[u8],
) -> Result<bool, Malformed> {
    let mut signature = Reader::new(signature);
    if signature.text()? != algorithm {
        return Ok(false);
    }
    let bytes = signature.string()?;
    signature.end()?;
    let mut key = Reader::new(blob);
    let kind = key.text()?;
    if !Family::of(kind).is_some_and(|family| family.algorithms().contains(&algorithm)) {
        return Ok(false);
    }
    match kind {
        "ssh-ed25519" => {
            let point = key.string()?;
            key.end()?;
            let key = UnparsedPublicKey::new(&ED25519, point);
            Ok(key.verify(text, bytes).is_ok())
        }
        "ssh-rsa" => {
            let (e, n) = (key.positive()?, key.positive()?);
            key.end()?;
            let parameters = match algorithm {
                "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
                "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                _ => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            };
            // Some leave leading zeros out; RFC 8332, section 3, wants the full length.
            let mut full = vec![0; n.len().saturating_sub(bytes.len())];
            full.extend_from_slice(bytes);
            let key = RsaPublicKeyComponents { n, e };
            Ok(key.verify(parameters, text, &full).is_ok())
        }
        ecdsa => {
            let (curve, point) = (key.text()?, key.string()?);
            key.end()?;
            if ecdsa != algorithm || !ecdsa.ends_with(curve) {
                return Ok(false);
            }
            let (parameters, length) = match curve {
                "nistp256" => (&ECDSA_P256_SHA256_FIXED, 32),
                "nistp384" => (&ECDSA_P384_SHA384_FIXED, 48),
                _ => return Ok(false),
            };
            let key = UnparsedPublicKey::new(parameters, point);
            Ok(key.verify(text, &ecdsa_fixed(bytes, length)?).is_ok())
        }
    }
}
