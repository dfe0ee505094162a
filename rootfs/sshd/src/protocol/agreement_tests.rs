//! The client's side, and damaged shares.

use ml_kem::kem::{Decapsulate, KeyExport};
use ring::agreement::PublicKey;

use super::*;
use kedge_ssh_wire::Reader;

/// A client's private halves, and what it sends.
pub(crate) struct Client {
    lattice: ml_kem::DecapsulationKey<MlKem768>,
    curve: EphemeralPrivateKey,
    pub(crate) share: Vec<u8>,
}

impl Client {
    pub(crate) fn new(method: Method) -> Self {
        let lattice = ml_kem::DecapsulationKey::<MlKem768>::from_seed([7; 64].into());
        let curve = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap();
        let point: PublicKey = curve.compute_public_key().unwrap();
        let mut share = Vec::new();
        if method == Method::Hybrid {
            share.extend_from_slice(&lattice.encapsulation_key().to_bytes());
        }
        share.extend_from_slice(point.as_ref());
        Self {
            lattice,
            curve,
            share,
        }
    }

    /// The secret as it is hashed.
    pub(crate) fn secret(self, method: Method, server_share: &[u8]) -> Vec<u8> {
        let (text, point) = server_share.split_at(server_share.len() - 32);
        let peer = UnparsedPublicKey::new(&X25519, point);
        let mut secret = Vec::new();
        agree_ephemeral(self.curve, &peer, |curve| match method {
            Method::Curve => secret.put_mpint(curve),
            Method::Hybrid => {
                let text = ml_kem::Ciphertext::<MlKem768>::try_from(text).unwrap();
                let both = [&self.lattice.decapsulate(&text)[..], curve].concat();
                secret.put_string(digest(&SHA256, &both).as_ref());
            }
        })
        .unwrap();
        secret
    }
}

#[test]
fn both_sides_have_the_same_secret() {
    for (name, method) in METHODS {
        let client = Client::new(method);
        let agreement = method.agree(&client.share).unwrap();
        let sizes = (client.share.len(), agreement.share.len());
        let expected = match method {
            Method::Hybrid => (1184 + 32, 1088 + 32),
            Method::Curve => (32, 32),
        };
        assert_eq!(sizes, expected, "{name}");
        let secret = client.secret(method, &agreement.share);
        assert_eq!(secret, agreement.secret, "{name}");
        if method == Method::Hybrid {
            assert_eq!(Reader::new(&secret).string().unwrap().len(), 32);
        }
    }
}

/// Against `printf | sha256sum`: 32 bytes of 1, 32 bytes of 2.
#[test]
fn the_hybrid_secret_is_the_hash_of_both_the_lattices_first() {
    let hash = combine(&[1; 32], &[2; 32]);
    let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        text,
        "f818afd37a6dc3bc92fb44731011277006db4efa6e9023cd7468c02335d22a4d"
    );
}

#[test]
fn a_share_that_gives_zeros_or_is_of_another_length_is_refused() {
    assert!(Method::Curve.agree(&[0; 32]).is_err());
    assert!(Method::Curve.agree(&[9; 31]).is_err());
    assert!(Method::Curve.agree(&[9; 32]).is_ok());
    let share = Client::new(Method::Hybrid).share;
    assert!(Method::Hybrid.agree(&share).is_ok());
    for length in 0..share.len() {
        assert!(Method::Hybrid.agree(&share[..length]).is_err());
    }
    assert!(Method::Hybrid.agree(&[&share[..], &[0]].concat()).is_err());
    let no_point = [&share[..ENCAPSULATION_KEY], &[0; 32]].concat();
    assert!(Method::Hybrid.agree(&no_point).is_err());
    // Numbers that are not below the modulus (FIPS 203, section 7.2).
    let mut too_large = share.clone();
    too_large[..3].fill(0xff);
    assert!(Method::Hybrid.agree(&too_large).is_err());
}
