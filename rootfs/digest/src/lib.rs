//! Digests of files: which algorithm, its value, and computing it piece by piece.
//!
//! MD5 and SHA-1 are no proof against a forger; they are what dpkg's and apk's databases hold, against which a file is
//! compared for damage.

pub mod lanes;
pub mod variants;

use std::fmt;

use md5::Digest as _;

/// The value that a content must have.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Digest {
    /// RFC 1321. dpkg; rpm before 4.6.
    Md5([u8; 16]),
    /// FIPS 180-4. apk; rpm seldom.
    Sha1([u8; 20]),
    /// FIPS 180-4. rpm, pacman.
    Sha256([u8; 32]),
    /// FIPS 180-4. rpm, where somebody chose it.
    Sha512([u8; 64]),
}

/// Which algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 1321.
    Md5,
    /// FIPS 180-4.
    Sha1,
    /// FIPS 180-4.
    Sha256,
    /// FIPS 180-4.
    Sha512,
}

impl Digest {
    /// Which algorithm this is a value of.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Digest::Md5(_) => Algorithm::Md5,
            Digest::Sha1(_) => Algorithm::Sha1,
            Digest::Sha256(_) => Algorithm::Sha256,
            Digest::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The value.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Digest::Md5(bytes) => bytes,
            Digest::Sha1(bytes) => bytes,
            Digest::Sha256(bytes) => bytes,
            Digest::Sha512(bytes) => bytes,
        }
    }

    /// Out of as many bytes as the algorithm has.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Digest> {
        Some(match algorithm {
            Algorithm::Md5 => Digest::Md5(bytes.try_into().ok()?),
            Algorithm::Sha1 => Digest::Sha1(bytes.try_into().ok()?),
            Algorithm::Sha256 => Digest::Sha256(bytes.try_into().ok()?),
            Algorithm::Sha512 => Digest::Sha512(bytes.try_into().ok()?),
        })
    }

    /// Out of hexadecimal digits, upper or lower case.
    pub fn from_hex(algorithm: Algorithm, text: &str) -> Option<Digest> {
        let digit = |c: u8| char::from(c).to_digit(16);
        // No digest is longer; a package database has a hundred thousand of them, and nothing is allocated for one.
        let (mut bytes, mut length) = ([0; 64], 0);
        for pair in text.as_bytes().chunks(2) {
            let &[high, low] = pair else {
                return None;
            };
            *bytes.get_mut(length)? = (digit(high)? << 4 | digit(low)?) as u8;
            length += 1;
        }
        Digest::from_bytes(algorithm, &bytes[..length])
    }
}

/// `md5:d41d8cd98f00b204e9800998ecf8427e`.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        self.bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        })
    }
}

/// Computes one digest.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Md5(md5::Md5),
    Ring(Algorithm, ring::digest::Context),
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(algorithm: Algorithm) -> Hasher {
        use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
        let ring = |with| State::Ring(algorithm, Context::new(with));
        Hasher(match algorithm {
            Algorithm::Md5 => State::Md5(md5::Md5::new()),
            Algorithm::Sha1 => ring(&SHA1_FOR_LEGACY_USE_ONLY),
            Algorithm::Sha256 => ring(&SHA256),
            Algorithm::Sha512 => ring(&SHA512),
        })
    }

    /// More of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Md5(md5) => md5.update(bytes),
            State::Ring(_, context) => context.update(bytes),
        }
    }

    /// The digest of everything.
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Md5(md5) => Digest::Md5(md5.finalize().into()),
            State::Ring(algorithm, context) => {
                let digest = context.finish();
                match Digest::from_bytes(algorithm, digest.as_ref()) {
                    Some(digest) => digest,
                    None => unreachable!("ring's {algorithm} has another length"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1321, A.5; FIPS 180-4's example "abc".
    #[test]
    fn the_values_of_the_standards() {
        for (algorithm, expected) in [
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                Algorithm::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Algorithm::Sha512,
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
        ] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"a");
            hasher.update(b"bc");
            let digest = hasher.finish();
            assert_eq!(Some(digest), Digest::from_hex(algorithm, expected));
            assert_eq!(digest.to_string(), format!("{algorithm}:{expected}"));
        }
    }

    #[test]
    fn only_whole_values_are_taken() {
        for text in [
            "",
            "90",
            "900150983cd24fb0d6963f7d28e17f7",
            "90015098 cd24fb0d6963f7d28e17f72",
            &"90".repeat(65),
        ] {
            assert_eq!(Digest::from_hex(Algorithm::Md5, text), None, "{text}");
        }
    }
}
