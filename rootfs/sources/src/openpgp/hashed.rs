//! One signature packet, and the bytes that it signs.

use digest::DynDigest;
use pgp::packet::{PacketHeader, Signature, SignatureConfig, SubpacketData};
use pgp::types::{SignatureBytes, Tag};

use super::key::Key;
use super::packet::{Packets, tag};

/// A signature, of whatever it is.
#[derive(Clone, Debug)]
pub(crate) struct Detached(Signature);

impl Detached {
    /// Out of a packet's body.
    pub(super) fn of(body: &[u8]) -> Result<Detached, String> {
        let length = u32::try_from(body.len()).map_err(|_| "it is too long".to_owned())?;
        let header = PacketHeader::new_fixed(Tag::Signature, length);
        let signature = Signature::try_from_reader(header, body)
            .map_err(|_| "the signature makes no sense".to_owned())?;
        Ok(Detached(signature))
    }

    /// All signatures in a file or a section of one, which holds nothing else.
    pub(crate) fn all(bytes: &[u8]) -> Result<Vec<Detached>, String> {
        let mut found = Vec::new();
        for packet in Packets::of(bytes) {
            let (tag, body) = packet?;
            if tag != tag::SIGNATURE {
                return Err(format!(
                    "there is a packet of type {tag} where only signatures belong"
                ));
            }
            found.push(Detached::of(body)?);
        }
        if found.is_empty() {
            return Err("there is no signature in it".into());
        }
        Ok(found)
    }

    fn config(&self) -> Result<&SignatureConfig, String> {
        self.0
            .config()
            .ok_or_else(|| "the signature is of an unknown version".to_owned())
    }

    /// What it says about the data: see [`super::kind`].
    pub(crate) fn kind(&self) -> Option<u8> {
        Some(u8::from(self.0.typ()?))
    }

    /// The hash algorithm's number (RFC 9580, section 9.5).
    pub(super) fn hash(&self) -> Option<u8> {
        Some(u8::from(self.0.hash_alg()?))
    }

    /// Seconds since 1970; it is required, and signed.
    pub(crate) fn created(&self) -> Option<u64> {
        Some(u64::from(self.0.created()?.as_secs()))
    }

    /// Until when it is valid, where it says so.
    pub(super) fn expires(&self) -> Option<u64> {
        let after = u64::from(self.0.signature_expiration_time()?.as_secs());
        (after != 0).then_some(self.created()?.saturating_add(after))
    }

    /// How many seconds after its creation the key of this self-signature expires.
    pub(super) fn key_expires_after(&self) -> Option<u64> {
        let after = u64::from(self.0.key_expiration_time()?.as_secs());
        (after != 0).then_some(after)
    }

    /// Whether the key of this self-signature may sign data; None where it does not say.
    pub(super) fn key_may_sign(&self) -> Option<bool> {
        let config = self.0.config()?;
        config.hashed_subpackets().find_map(|p| match &p.data {
            SubpacketData::KeyFlags(flags) => Some(flags.sign()),
            _ => None,
        })
    }

    /// The signature of a subkey in its binding to the primary key.
    pub(super) fn embedded(&self) -> Option<Detached> {
        self.0.embedded_signature().cloned().map(Detached)
    }

    /// Whether it says to be by this key; a hint, no proof. It is by one, and by none where it does not say, as GnuPG has it:
    /// nobody can make every key try it.
    pub(super) fn names(&self, key: &Key) -> bool {
        let print = key.fingerprint();
        match (
            self.0.issuer_fingerprint().first(),
            self.0.issuer_key_id().first(),
        ) {
            (Some(named), _) => named.as_bytes() == print,
            (None, Some(id)) => id.as_ref() == &print[12..],
            (None, None) => false,
        }
    }

    /// Whether it says by which key it is.
    pub(super) fn names_any(&self) -> bool {
        !self.0.issuer_fingerprint().is_empty() || !self.0.issuer_key_id().is_empty()
    }

    /// Who says to have made it, for people: a fingerprint or a key ID.
    pub(super) fn issuer(&self) -> String {
        let print = self.0.issuer_fingerprint();
        if let Some(print) = print.first() {
            return super::key::hex(print.as_bytes());
        }
        match self.0.issuer_key_id().first() {
            Some(id) => super::key::hex(id.as_ref()),
            None => "an unnamed key".into(),
        }
    }

    /// What is hashed behind the data (RFC 9580, section 5.2.4).
    pub(super) fn trailer(&self) -> Result<Vec<u8>, String> {
        let config = self.config()?;
        let criticals = config.hashed_subpackets().filter(|p| p.is_critical);
        for packet in criticals {
            // It asks not to be believed by those who do not understand it.
            if let SubpacketData::Notation(_) | SubpacketData::Experimental(..) = packet.data {
                return Err("the signature demands something unknown here".into());
            }
        }
        let wrong = |_| "the signature makes no sense".to_owned();
        let mut all: Box<dyn DynDigest + Send> = Box::new(Everything(Vec::new()));
        let length = config.hash_signature_data(&mut all).map_err(wrong)?;
        let mut bytes = all.finalize_reset().into_vec();
        bytes.extend(config.trailer(length).map_err(wrong)?);
        Ok(bytes)
    }

    /// Whether `key` made it over `data`, of which the trailer is part already.
    pub(super) fn verify(&self, key: &Key, data: &[u8]) -> Result<(), String> {
        let wrong = || "the signature makes no sense".to_owned();
        let algorithm = u8::from(self.config()?.pub_alg);
        let hash = self.hash().ok_or_else(wrong)?;
        let numbers: Vec<&[u8]> = match self.0.signature().ok_or_else(wrong)? {
            SignatureBytes::Mpis(mpis) => mpis.iter().map(AsRef::as_ref).collect(),
            SignatureBytes::Native(bytes) => vec![bytes],
        };
        key.verify(algorithm, hash, data, &numbers)
    }
}

/// A "digest" that is the whole of what it was given: `pgp` hashes as it goes, and ring wants the whole message.
#[derive(Clone)]
struct Everything(Vec<u8>);

impl DynDigest for Everything {
    fn update(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    fn finalize_into(self, buffer: &mut [u8]) -> Result<(), digest::InvalidBufferSize> {
        let mut this = self;
        this.finalize_into_reset(buffer)
    }

    fn finalize_into_reset(&mut self, buffer: &mut [u8]) -> Result<(), digest::InvalidBufferSize> {
        if buffer.len() != self.0.len() {
            return Err(digest::InvalidBufferSize);
        }
        buffer.copy_from_slice(&self.0);
        self.0.clear();
        Ok(())
    }

    fn reset(&mut self) {
        self.0.clear();
    }

    fn output_size(&self) -> usize {
        self.0.len()
    }

    fn box_clone(&self) -> Box<dyn DynDigest> {
        Box::new(self.clone())
    }
}
