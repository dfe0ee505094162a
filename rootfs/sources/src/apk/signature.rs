//! Who signed an APKINDEX: RSA keys in PEM, and a signature in a gzip member of its own.

use std::io::Read;
use std::ops::ControlFlow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaParameters, UnparsedPublicKey,
};

use super::members::first_member;
use crate::proof::stranger;
use crate::query::Query;

const MOST_KEY: u64 = 64 << 10;

/// How a signature's member is called, and how it was made.
const KINDS: [(&str, &RsaParameters); 3] = [
    (".SIGN.RSA.", &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
    (".SIGN.RSA256.", &RSA_PKCS1_2048_8192_SHA256),
    (".SIGN.RSA512.", &RSA_PKCS1_2048_8192_SHA512),
];

/// The name of the key in `/etc/apk/keys` that signed the index `file`, and what it signed: what stands beside the signature
/// is anybody's.
pub(super) fn key_of<'a>(query: &Query, file: &'a [u8]) -> Result<(String, &'a [u8]), String> {
    let length = first_member(file).map_err(|why| format!("{why}{}", stranger(file)))?;
    let (mut first, signed) = file.split_at(length);
    let mut signatures = Vec::new();
    kedge_archive::archive(&mut first, &mut |member, content| {
        let mut bytes = Vec::new();
        content.take(MOST_KEY).read_to_end(&mut bytes)?;
        signatures.push((member.path.to_string_lossy().into_owned(), bytes));
        let enough = signatures.len() == 16;
        Ok(if enough {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })
    .map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    for (name, signature) in &signatures {
        let Some((key, with)) = KINDS
            .iter()
            .find_map(|(prefix, with)| Some((name.strip_prefix(prefix)?, *with)))
        else {
            continue;
        };
        match made_by(query, key, with, signed, signature) {
            Ok(()) => return Ok((crate::words::shown(key), signed)),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() {
        wrong.push("it is not signed".into());
    }
    Err(wrong.join("; "))
}

fn made_by(
    query: &Query,
    name: &str,
    with: &'static RsaParameters,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    let shown = crate::words::shown(name);
    // The name is the signature's own word.
    if name.contains('/') || name.starts_with('.') {
        return Err(format!("its key has the name {shown}"));
    }
    let path = format!("etc/apk/keys/{name}");
    let pem =
        query
            .root
            .read(path.as_ref(), MOST_KEY)
            .map_err(|error| match error.is_missing() {
                true => format!("it is signed by {shown}, and no such key is in etc/apk/keys"),
                false => error.to_string(),
            })?;
    let key = public_key(&pem).ok_or_else(|| format!("{path} is no RSA key in PEM"))?;
    UnparsedPublicKey::new(with, key)
        .verify(signed, signature)
        .map_err(|_| {
            format!(
                "its signature by {shown} does not fit: it was changed since, or is another file"
            )
        })
}

/// RSAPublicKey (RFC 8017, A.1.1) out of a SubjectPublicKeyInfo (RFC 5280, 4.1) in PEM.
pub(super) fn public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----")?;
    let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (info, _) = der_value(&der, SEQUENCE)?;
    let (_, rest) = der_value(info, SEQUENCE)?;
    let (bits, _) = der_value(rest, BIT_STRING)?;
    // No unused bits.
    bits.strip_prefix(&[0]).map(<[u8]>::to_vec)
}

/// The value of this type in front, and what follows it.
fn der_value(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = digits.iter().fold(0, |sum, &b| sum << 8 | usize::from(b));
            (length, rest)
        }
        _ => return None,
    };
    (first == kind).then(|| rest.split_at_checked(length))?
}
