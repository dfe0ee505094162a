//! Users' public keys: their types, their signatures, their fingerprints.

use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};

use crate::base64;
use kedge_ssh_wire::{Malformed, Put, Reader, ecdsa_fixed};

/// The signatures that are checked here, as RFC 8308 lists them. Not `ssh-rsa`, which is SHA-1.
pub(crate) const SIGNATURES: &str = "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,\
                                     ecdsa-sha2-nistp384,sk-ecdsa-sha2-nistp256@openssh.com,\
                                     rsa-sha2-512,rsa-sha2-256";

/// Somebody touched the token: a signature without is one that nobody knows of.
const USER_PRESENT: u8 = 1;

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the key is cut short or damaged; copy the whole line of the .pub file")]
    Damaged,
    #[error(
        "DSA keys are broken, and no client uses them any more; make one with ssh-keygen -t ed25519"
    )]
    Dsa,
    #[error(
        "an RSA key of {0} bits: 2048 to 8192 can be used; make one with ssh-keygen -t ed25519"
    )]
    RsaSize(usize),
    #[error("keys of type {0} are not known here; make one with ssh-keygen -t ed25519")]
    Type(String),
}

/// `SHA256:...`, as ssh-keygen prints it.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    let hash = digest(&SHA256, blob);
    format!("SHA256:{}", base64::encode_unpadded(hash.as_ref()))
}

/// A key's type, which its bytes begin with.
pub(crate) fn type_of(blob: &[u8]) -> Option<&str> {
    Reader::new(blob).text().ok()
}

/// A key that signatures can be checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key<'a> {
    Ed25519(&'a [u8]),
    P256(&'a [u8]),
    P384(&'a [u8]),
    Rsa {
        exponent: &'a [u8],
        modulus: &'a [u8],
    },
    /// On a FIDO token, with the application that it is for (OpenSSH's PROTOCOL.u2f).
    TokenEd25519(&'a [u8], &'a [u8]),
    TokenP256(&'a [u8], &'a [u8]),
}

impl<'a> Key<'a> {
    fn parse(blob: &'a [u8]) -> Result<Result<Self, Unusable>, Malformed> {
        let mut reader = Reader::new(blob);
        let name = reader.text()?;
        let mut curve = |name: &str, length| {
            let fits = reader.string()? == name.as_bytes();
            let point = reader.string()?;
            // Uncompressed (SEC 1, section 2.3.3).
            if fits && point.len() == length && point[0] == 4 {
                Ok(point)
            } else {
                Err(Malformed)
            }
        };
        let key = match name {
            "ssh-ed25519" => Self::Ed25519(ed25519(&mut reader)?),
            "sk-ssh-ed25519@openssh.com" => {
                let point = ed25519(&mut reader)?;
                Self::TokenEd25519(point, reader.string()?)
            }
            "ecdsa-sha2-nistp256" => Self::P256(curve("nistp256", 65)?),
            "ecdsa-sha2-nistp384" => Self::P384(curve("nistp384", 97)?),
            "sk-ecdsa-sha2-nistp256@openssh.com" => {
                let point = curve("nistp256", 65)?;
                Self::TokenP256(point, reader.string()?)
            }
            "ssh-rsa" => {
                let (exponent, modulus) = (reader.positive()?, reader.positive()?);
                let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
                if !(2048..=8192).contains(&bits) {
                    return Ok(Err(Unusable::RsaSize(bits)));
                }
                Self::Rsa { exponent, modulus }
            }
            "ssh-dss" => return Ok(Err(Unusable::Dsa)),
            other => {
                let other = other.chars().take(50).filter(|c| c.is_ascii_graphic());
                return Ok(Err(Unusable::Type(other.collect())));
            }
        };
        reader.end()?;
        Ok(Ok(key))
    }
}

fn ed25519<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let point = reader.string()?;
    if point.len() == 32 {
        Ok(point)
    } else {
        Err(Malformed)
    }
}

/// Whether a key can be used to log in, and if not, why.
pub(crate) fn check(blob: &[u8]) -> Result<(), Unusable> {
    match Key::parse(blob) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => Err(why),
        Err(Malformed) => Err(Unusable::Damaged),
    }
}

/// Whether such a key signs in the way that `algorithm` names: RSA with SHA-2 only (RFC 8332).
pub(crate) fn fits(blob: &[u8], algorithm: &str) -> bool {
    match type_of(blob) {
        Some("ssh-rsa") => matches!(algorithm, "rsa-sha2-256" | "rsa-sha2-512"),
        kind => kind == Some(algorithm),
    }
}

/// Whether `signature` over `text` was made by the owner of the key, in the way that `algorithm`
/// names (RFC 4252, section 7).
pub(crate) fn verify(blob: &[u8], algorithm: &str, text: &[u8], signature: &[u8]) -> bool {
    verified(blob, algorithm, text, signature) == Ok(true)
}

fn verified(
    blob: &[u8],
    algorithm: &str,
    text: &[u8],
    signature: &[u8],
) -> Result<bool, Malformed> {
    let mut reader = Reader::new(signature);
    if reader.text()? != algorithm || !fits(blob, algorithm) {
        return Ok(false);
    }
    let bytes = reader.string()?;
    let Ok(key) = Key::parse(blob)? else {
        return Ok(false);
    };
    // What a token signs.
    let mut token = |application: &[u8]| {
        let (flags, counter) = (reader.byte()?, reader.u32()?);
        let mut signed = digest(&SHA256, application).as_ref().to_vec();
        signed.put_byte(flags);
        signed.put_u32(counter);
        signed.extend_from_slice(digest(&SHA256, text).as_ref());
        Ok((flags & USER_PRESENT != 0).then_some(signed))
    };
    let ok = match key {
        Key::Ed25519(point) => UnparsedPublicKey::new(&ED25519, point)
            .verify(text, bytes)
            .is_ok(),
        Key::P256(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(text, &ecdsa_fixed(bytes, 32)?)
            .is_ok(),
        Key::P384(point) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
            .verify(text, &ecdsa_fixed(bytes, 48)?)
            .is_ok(),
        Key::Rsa { exponent, modulus } => {
            let (n, e) = (modulus, exponent);
            let parameters = match algorithm {
                "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
                _ => &RSA_PKCS1_2048_8192_SHA512,
            };
            // Some clients leave leading zeros out; RFC 8332, section 3, wants the full length.
            let mut full = vec![0; modulus.len().saturating_sub(bytes.len())];
            full.extend_from_slice(bytes);
            RsaPublicKeyComponents { n, e }
                .verify(parameters, text, &full)
                .is_ok()
        }
        Key::TokenEd25519(point, application) => match token(application)? {
            Some(signed) => UnparsedPublicKey::new(&ED25519, point)
                .verify(&signed, bytes)
                .is_ok(),
            None => false,
        },
        Key::TokenP256(point, application) => match token(application)? {
            Some(signed) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(&signed, &ecdsa_fixed(bytes, 32)?)
                .is_ok(),
            None => false,
        },
    };
    reader.end()?;
    Ok(ok)
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

    use super::*;

    fn ed25519(seed: u8) -> (Ed25519KeyPair, Vec<u8>) {
        let key = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let mut blob = Vec::new();
        blob.put_string(b"ssh-ed25519");
        blob.put_string(key.public_key().as_ref());
        (key, blob)
    }

    fn wire(algorithm: &str, bytes: &[u8], more: &[u8]) -> Vec<u8> {
        let mut signature = Vec::new();
        signature.put_string(algorithm.as_bytes());
        signature.put_string(bytes);
        signature.extend_from_slice(more);
        signature
    }

    #[test]
    fn only_the_owners_signature_over_this_text_counts() {
        let name = "ssh-ed25519";
        let ((key, blob), (_, other)) = (ed25519(1), ed25519(2));
        let signature = wire(name, key.sign(b"text").as_ref(), b"");
        assert!(verify(&blob, name, b"text", &signature));
        assert!(!verify(&blob, name, b"another", &signature));
        assert!(!verify(&other, name, b"text", &signature));
        assert!(!verify(&blob, "ssh-rsa", b"text", &signature));
        assert!(!verify(
            &blob,
            name,
            b"text",
            &[&signature[..], b"x"].concat()
        ));
        for length in 0..signature.len() {
            assert!(!verify(&blob, name, b"text", &signature[..length]));
            assert!(!verify(
                &blob[..length.min(blob.len() - 1)],
                name,
                b"text",
                &signature
            ));
        }
        // What it says of itself has to be what it was asked for as.
        let renamed = wire("rsa-sha2-512", key.sign(b"text").as_ref(), b"");
        assert!(!verify(&blob, "rsa-sha2-512", b"text", &renamed));
    }

    #[test]
    fn a_tokens_signature_counts_when_somebody_touched_it() {
        let (key, plain) = ed25519(3);
        let name = "sk-ssh-ed25519@openssh.com";
        let mut blob = Vec::new();
        blob.put_string(name.as_bytes());
        blob.put_string(&plain[plain.len() - 32..]);
        blob.put_string(b"ssh:");
        let signed = |flags: u8| {
            let mut text = digest(&SHA256, b"ssh:").as_ref().to_vec();
            text.put_byte(flags);
            text.put_u32(9);
            text.extend_from_slice(digest(&SHA256, b"text").as_ref());
            wire(name, key.sign(&text).as_ref(), &[flags, 0, 0, 0, 9])
        };
        assert!(verify(&blob, name, b"text", &signed(USER_PRESENT)));
        assert!(!verify(&blob, name, b"text", &signed(0)));
        assert!(!verify(&blob, name, b"other", &signed(USER_PRESENT)));
    }

    #[test]
    fn an_ecdsa_signature_is_two_numbers_of_any_length() {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let name = "ecdsa-sha2-nistp256";
        let mut blob = Vec::new();
        blob.put_string(name.as_bytes());
        blob.put_string(b"nistp256");
        blob.put_string(key.public_key().as_ref());
        // One in 256 begins with a zero, which is left out on the wire.
        for _ in 0..600 {
            let signature = key.sign(&random, b"text").unwrap();
            let (r, s) = signature.as_ref().split_at(32);
            let mut numbers = Vec::new();
            numbers.put_mpint(r);
            numbers.put_mpint(s);
            assert!(verify(&blob, name, b"text", &wire(name, &numbers, b"")));
            assert!(!verify(&blob, name, b"test", &wire(name, &numbers, b"")));
        }
        let mut zeros = Vec::new();
        zeros.put_mpint(&[0]);
        zeros.put_mpint(&[0]);
        assert!(!verify(&blob, name, b"text", &wire(name, &zeros, b"")));
    }
}
