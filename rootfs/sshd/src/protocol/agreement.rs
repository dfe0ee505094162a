//! The shared secret of a key exchange: by X25519 alone (RFC 8731), or together with ML-KEM-768, which
//! a quantum computer does not break (draft-ietf-sshm-mlkem-hybrid-kex). OpenSSH's client warns from
//! 10.1 on when it has to do without.

use ml_kem::MlKem768;
use ml_kem::kem::TryKeyInit;
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;

use super::{Error, random};
use kedge_ssh_wire::Put;

/// How to agree on a secret. All of these hash with SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Hybrid,
    Curve,
}

/// By their names, the best first.
pub(crate) const METHODS: [(&str, Method); 3] = [
    ("mlkem768x25519-sha256", Method::Hybrid),
    ("curve25519-sha256", Method::Curve),
    ("curve25519-sha256@libssh.org", Method::Curve),
];

/// ML-KEM-768's encapsulation key (FIPS 203, table 3), which a client's hybrid share begins with.
const ENCAPSULATION_KEY: usize = 1184;

/// What came of it.
pub(crate) struct Agreement {
    /// What the client is sent.
    pub(crate) share: Vec<u8>,
    /// As it is hashed: a number by the curve alone, a string by both.
    pub(crate) secret: Vec<u8>,
}

impl Method {
    /// Answers the client's share.
    pub(crate) fn agree(self, client_share: &[u8]) -> Result<Agreement, Error> {
        let mut encoded = Vec::new();
        match self {
            Self::Curve => {
                let (share, secret) = curve(client_share)?;
                encoded.put_mpint(&secret);
                Ok(Agreement {
                    share,
                    secret: encoded,
                })
            }
            Self::Hybrid => {
                let (key, point) = client_share
                    .split_at_checked(ENCAPSULATION_KEY)
                    .ok_or(Error::KeyExchange)?;
                let mut seed = [0; 32];
                random(&mut seed).map_err(Error::Random)?;
                let (mut share, lattice_secret) = encapsulate(key, seed)?;
                let (curve_share, curve_secret) = curve(point)?;
                share.extend_from_slice(&curve_share);
                encoded.put_string(&combine(&lattice_secret, &curve_secret));
                Ok(Agreement {
                    share,
                    secret: encoded,
                })
            }
        }
    }
}

/// Our share, and the secret.
fn curve(client_share: &[u8]) -> Result<(Vec<u8>, [u8; 32]), Error> {
    let random = SystemRandom::new();
    let private =
        EphemeralPrivateKey::generate(&X25519, &random).map_err(|_| Error::KeyExchange)?;
    let share = private
        .compute_public_key()
        .map_err(|_| Error::KeyExchange)?;
    let peer = UnparsedPublicKey::new(&X25519, client_share);
    // A share of the wrong length is refused, and so is one that would give nothing but zeros.
    let secret = agree_ephemeral(private, &peer, |secret| secret.try_into())
        .map_err(|_| Error::KeyExchange)?
        .map_err(|_| Error::KeyExchange)?;
    Ok((share.as_ref().to_vec(), secret))
}

/// The ciphertext, and the secret in it. A key that fails the check of FIPS 203, section 7.2, is refused.
fn encapsulate(key: &[u8], seed: [u8; 32]) -> Result<(Vec<u8>, [u8; 32]), Error> {
    let key = ml_kem::EncapsulationKey::<MlKem768>::new_from_slice(key)
        .map_err(|_| Error::KeyExchange)?;
    let (text, secret) = key.encapsulate_deterministic(&seed.into());
    Ok((text.to_vec(), secret.into()))
}

/// The draft's section 2.4: the post-quantum secret first.
fn combine(lattice: &[u8; 32], curve: &[u8; 32]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &[&lattice[..], curve].concat()).as_ref());
    hash
}

#[cfg(test)]
#[path = "agreement_tests.rs"]
pub(crate) mod tests;
