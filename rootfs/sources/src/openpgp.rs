//! Who signed it: OpenPGP signatures (RFC 4880, RFC 9580) against keyrings of an installed system.
//!
//! Signature packets are taken apart, and put together again for hashing, by the crate `pgp`; the arithmetic is ring's, which
//! TLS brings anyway. Key packets (version 4) are read here: `pgp`'s own keys would bring DSA, Ed448, three further curves
//! and a big integer library, 300 kB compressed.
//!
//! Not supported, and said so when it is met: DSA, Ed448, Brainpool curves, RSA below 2048 bits, keys of version 3, 5 and 6,
//! and signatures over SHA-1, MD5 or SHA-224 of data. (SHA-1 where a key signs itself is believed: the keyring is the
//! administrator's, and older distributions have such keys.)

mod armor;
mod cleartext;
mod hashed;
mod key;
mod keyring;
mod packet;
mod signed;
mod web_of_trust;

pub(crate) use armor::bytes as dearmored;
pub(crate) use cleartext::Cleartext;
pub(crate) use hashed::Detached;
pub(crate) use keyring::{Keyring, Signer};
pub(crate) use web_of_trust::OwnerTrust;

/// Signature types (RFC 9580, section 5.2.1).
pub(crate) mod kind {
    pub(crate) const BINARY: u8 = 0x00;
    pub(crate) const TEXT: u8 = 0x01;
    pub(crate) const CERTIFICATION_FIRST: u8 = 0x10;
    pub(crate) const CERTIFICATION_LAST: u8 = 0x13;
    pub(crate) const SUBKEY_BINDING: u8 = 0x18;
    pub(crate) const PRIMARY_KEY_BINDING: u8 = 0x19;
    pub(crate) const DIRECT_KEY: u8 = 0x1f;
    pub(crate) const KEY_REVOCATION: u8 = 0x20;
    pub(crate) const SUBKEY_REVOCATION: u8 = 0x28;
}

#[cfg(test)]
mod tests;
