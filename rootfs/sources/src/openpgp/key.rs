//! One public key: its packet, its fingerprint, and whether it made a signature.

use kedge_digest::{Algorithm, Hasher};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ED25519, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

/// Public-key algorithms (RFC 9580, section 9.1).
const RSA: u8 = 1;
const RSA_SIGN_ONLY: u8 = 3;
const DSA: u8 = 17;
const ECDSA: u8 = 19;
const EDDSA_LEGACY: u8 = 22;
const ED25519_KEY: u8 = 27;

/// Hash algorithms (RFC 9580, section 9.5).
pub(super) const SHA1: u8 = 2;
const SHA256: u8 = 8;
const SHA384: u8 = 9;
const SHA512: u8 = 10;

/// Curves by their object identifiers (RFC 9580, section 9.2).
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_ED25519: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// A version 4 public key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The packet's body.
    body: Vec<u8>,
    fingerprint: [u8; 20],
    created: u64,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The point, not compressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    /// Known, or not even that, and of no use here.
    Unsupported(String),
}

impl Key {
    /// Out of a packet's body. A key of an unsupported algorithm is one, and verifies nothing.
    pub(super) fn of(body: &[u8]) -> Result<Key, String> {
        let cut = || "the key is cut off".to_owned();
        let (&version, rest) = body.split_first().ok_or_else(cut)?;
        if version != 4 {
            return Err(format!("the key is of version {version}, not 4"));
        }
        let length = u16::try_from(body.len()).map_err(|_| "the key is too long".to_owned())?;
        let (created, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (&algorithm, rest) = rest.split_first().ok_or_else(cut)?;
        // Section 5.5.4.2.
        let mut hasher = Hasher::new(Algorithm::Sha1);
        hasher.update(&[0x99]);
        hasher.update(&length.to_be_bytes());
        hasher.update(body);
        let digest = hasher.finish();
        Ok(Key {
            body: body.to_vec(),
            fingerprint: digest.bytes().try_into().map_err(|_| cut())?,
            created: u64::from(u32::from_be_bytes(*created)),
            material: material(algorithm, rest).ok_or_else(cut)?,
        })
    }

    pub(super) fn fingerprint(&self) -> &[u8; 20] {
        &self.fingerprint
    }

    /// Seconds since 1970.
    pub(super) fn created(&self) -> u64 {
        self.created
    }

    /// How it is hashed when a key is signed (RFC 9580, section 5.2.4).
    pub(super) fn hashed(&self) -> Vec<u8> {
        // `of` saw to the length.
        let length = self.body.len() as u16;
        let mut bytes = vec![0x99];
        bytes.extend(length.to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// Whether this key made the signature (`numbers`, big-endian) over `data`.
    pub(super) fn verify(
        &self,
        algorithm: u8,
        hash: u8,
        data: &[u8],
        numbers: &[&[u8]],
    ) -> Result<(), String> {
        let unsupported = || {
            Err(format!(
                "it is over {}, which is not supported here",
                name(hash)
            ))
        };
        let good = match (&self.material, algorithm, numbers) {
            (Material::Rsa { n, e }, RSA | RSA_SIGN_ONLY, [signature]) => {
                let with = match hash {
                    SHA1 => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
                    SHA256 => &RSA_PKCS1_2048_8192_SHA256,
                    SHA384 => &RSA_PKCS1_2048_8192_SHA384,
                    SHA512 => &RSA_PKCS1_2048_8192_SHA512,
                    _ => return unsupported(),
                };
                if n.len() < 256 && hash != SHA1 {
                    let bits = n.len() * 8;
                    return Err(format!("its key is RSA of {bits} bits, too weak"));
                }
                // An MPI has no zeros in front; a signature is as long as the modulus.
                let signature = padded(signature, n.len());
                RsaPublicKeyComponents { n, e }
                    .verify(with, data, &signature)
                    .is_ok()
            }
            (Material::P256(point), ECDSA, [r, s]) => {
                let with = match hash {
                    SHA256 => &ECDSA_P256_SHA256_ASN1,
                    SHA384 => &ECDSA_P256_SHA384_ASN1,
                    _ => return unsupported(),
                };
                let key = UnparsedPublicKey::new(with, point);
                key.verify(data, &asn1(r, s)).is_ok()
            }
            (Material::P384(point), ECDSA, [r, s]) => {
                let with = match hash {
                    SHA256 => &ECDSA_P384_SHA256_ASN1,
                    SHA384 => &ECDSA_P384_SHA384_ASN1,
                    _ => return unsupported(),
                };
                let key = UnparsedPublicKey::new(with, point);
                key.verify(data, &asn1(r, s)).is_ok()
            }
            (Material::Ed25519(point), EDDSA_LEGACY, [r, s]) => {
                let Some(digest) = digest(hash, data) else {
                    return unsupported();
                };
                let signature = [padded(r, 32), padded(s, 32)].concat();
                let key = UnparsedPublicKey::new(&ED25519, point);
                key.verify(&digest, &signature).is_ok()
            }
            (Material::Ed25519(point), ED25519_KEY, [signature]) => {
                let Some(digest) = digest(hash, data) else {
                    return unsupported();
                };
                let key = UnparsedPublicKey::new(&ED25519, point);
                key.verify(&digest, signature).is_ok()
            }
            (Material::Unsupported(why), ..) => return Err(why.clone()),
            _ => false,
        };
        if good {
            Ok(())
        } else {
            Err("it does not fit: what was signed was changed since, or is another file".into())
        }
    }
}

/// Public key material (RFC 9580, section 5.5.5).
fn material(algorithm: u8, bytes: &[u8]) -> Option<Material> {
    let unsupported = |what: &str| {
        Some(Material::Unsupported(format!(
            "its key is {what}, which is not supported here"
        )))
    };
    match algorithm {
        RSA | RSA_SIGN_ONLY => {
            let (n, rest) = mpi(bytes)?;
            let (e, _) = mpi(rest)?;
            Some(Material::Rsa {
                n: n.to_vec(),
                e: e.to_vec(),
            })
        }
        ECDSA | EDDSA_LEGACY => {
            let (&length, rest) = bytes.split_first()?;
            let (curve, rest) = rest.split_at_checked(usize::from(length))?;
            let (point, _) = mpi(rest)?;
            match (algorithm, curve, point) {
                (ECDSA, OID_P256, [0x04, ..]) => Some(Material::P256(point.to_vec())),
                (ECDSA, OID_P384, [0x04, ..]) => Some(Material::P384(point.to_vec())),
                // 0x40 says "as the curve has it".
                (EDDSA_LEGACY, OID_ED25519, [0x40, point @ ..]) => {
                    Some(Material::Ed25519(point.to_vec()))
                }
                _ => unsupported("of another curve than P-256, P-384 and Ed25519"),
            }
        }
        ED25519_KEY => Some(Material::Ed25519(bytes.get(..32)?.to_vec())),
        DSA => unsupported("DSA"),
        _ => unsupported(&format!("of algorithm {algorithm}")),
    }
}

/// A multiprecision integer (RFC 9580, section 3.2), without zeros in front, and what follows it.
fn mpi(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (bits, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*bits)).div_ceil(8);
    let (number, rest) = rest.split_at_checked(length)?;
    Some((without_zeros(number), rest))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&b| b == 0).count();
    &number[zeros..]
}

/// With zeros in front, up to `length`.
fn padded(number: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length.saturating_sub(number.len())];
    bytes.extend_from_slice(number);
    bytes
}

/// ECDSA-Sig-Value (RFC 3279, section 2.2.3) of two numbers of at most 48 bytes; of others, nothing that fits.
fn asn1(r: &[u8], s: &[u8]) -> Vec<u8> {
    let mut both = Vec::new();
    for number in [r, s] {
        let number = without_zeros(number);
        if number.is_empty() || number.len() > 48 {
            return Vec::new();
        }
        let sign = usize::from(number[0] & 0x80 != 0);
        both.push(0x02);
        both.push((number.len() + sign) as u8);
        both.extend(&[0][..sign]);
        both.extend(number);
    }
    let mut sequence = vec![0x30, both.len() as u8];
    sequence.extend(both);
    sequence
}

fn digest(hash: u8, data: &[u8]) -> Option<Vec<u8>> {
    let with = match hash {
        SHA1 => &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        SHA256 => &ring::digest::SHA256,
        SHA384 => &ring::digest::SHA384,
        SHA512 => &ring::digest::SHA512,
        _ => return None,
    };
    Some(ring::digest::digest(with, data).as_ref().to_vec())
}

/// Whether the hash is good enough for data that others choose.
pub(super) fn strong(hash: u8) -> bool {
    matches!(hash, SHA256 | SHA384 | SHA512)
}

/// What a hash algorithm is called.
pub(super) fn name(hash: u8) -> String {
    match hash {
        1 => "MD5".into(),
        2 => "SHA-1".into(),
        3 => "RIPEMD-160".into(),
        8 => "SHA-256".into(),
        9 => "SHA-384".into(),
        10 => "SHA-512".into(),
        11 => "SHA-224".into(),
        _ => format!("hash algorithm {hash}"),
    }
}

/// Upper case, as fingerprints are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}
