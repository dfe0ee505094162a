//! The ciphers. Both authenticate what they encrypt, so no MAC is negotiated.
//!
//! Not offered: AES-CTR with HMAC. Every client that is younger than 2014 has one of these.

use std::fmt;

use ring::aead::chacha20_poly1305_openssh as chacha;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};

use super::Error;

/// Which cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    /// OpenSSH's PROTOCOL.chacha20poly1305.
    ChaCha,
    /// RFC 5647, as OpenSSH's PROTOCOL, section 1.6, corrects it.
    Aes128Gcm,
    /// The same with a longer key.
    Aes256Gcm,
}

/// By their names, the best first.
pub(crate) const CIPHERS: [(&str, Cipher); 3] = [
    ("chacha20-poly1305@openssh.com", Cipher::ChaCha),
    ("aes256-gcm@openssh.com", Cipher::Aes256Gcm),
    ("aes128-gcm@openssh.com", Cipher::Aes128Gcm),
];

impl Cipher {
    /// Bytes of a key.
    pub(crate) fn key_length(self) -> usize {
        match self {
            Self::ChaCha => chacha::KEY_LEN,
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm => 32,
        }
    }

    fn gcm(self, key: &[u8], nonce: &[u8]) -> Option<Gcm> {
        let algorithm = match self {
            Self::Aes128Gcm => &AES_128_GCM,
            _ => &AES_256_GCM,
        };
        Some(Gcm {
            key: LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?),
            nonce: *nonce.first_chunk()?,
        })
    }

    /// For what we send. `None` when key or nonce are too short.
    pub(crate) fn sealing(self, key: &[u8], nonce: &[u8]) -> Option<Sealing> {
        match self {
            Self::ChaCha => Some(Sealing::ChaCha(chacha::SealingKey::new(
                key.try_into().ok()?,
            ))),
            _ => Some(Sealing::Gcm(Box::new(self.gcm(key, nonce)?))),
        }
    }

    /// For what we are sent.
    pub(crate) fn opening(self, key: &[u8], nonce: &[u8]) -> Option<Opening> {
        match self {
            Self::ChaCha => Some(Opening::ChaCha(chacha::OpeningKey::new(
                key.try_into().ok()?,
            ))),
            _ => Some(Opening::Gcm(Box::new(self.gcm(key, nonce)?))),
        }
    }
}

/// AES-GCM with its counter.
pub(crate) struct Gcm {
    key: LessSafeKey,
    /// Four fixed bytes and a counter of eight (RFC 5647, section 7.1).
    nonce: [u8; 12],
}

impl Gcm {
    fn next_nonce(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        for byte in self.nonce[4..].iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
        nonce
    }
}

/// Decrypts.
pub(crate) enum Opening {
    /// Before the first key exchange.
    Clear,
    ChaCha(chacha::OpeningKey),
    Gcm(Box<Gcm>),
}

impl Opening {
    pub(crate) fn tag_length(&self) -> usize {
        match self {
            Self::Clear => 0,
            Self::ChaCha(_) | Self::Gcm(_) => 16,
        }
    }

    /// The length of a packet by its first four bytes.
    pub(crate) fn length(&self, sequence: u32, header: [u8; 4]) -> u32 {
        u32::from_be_bytes(match self {
            Self::Clear | Self::Gcm(_) => header,
            Self::ChaCha(key) => key.decrypt_packet_length(sequence, header),
        })
    }

    /// Checks and decrypts a whole packet, with its length in front and its tag behind.
    pub(crate) fn open(&mut self, sequence: u32, packet: &mut [u8]) -> Result<(), Error> {
        match self {
            Self::Clear => Ok(()),
            Self::ChaCha(key) => {
                let (text, tag) = packet.split_last_chunk_mut::<16>().ok_or(Error::Forged)?;
                key.open_in_place(sequence, text, tag)
                    .map_err(|_| Error::Forged)?;
                Ok(())
            }
            Self::Gcm(gcm) => {
                let nonce = gcm.next_nonce();
                let (header, text) = packet.split_first_chunk_mut::<4>().ok_or(Error::Forged)?;
                gcm.key
                    .open_in_place(nonce, Aad::from(*header), text)
                    .map_err(|_| Error::Forged)?;
                Ok(())
            }
        }
    }
}

/// Encrypts.
pub(crate) enum Sealing {
    /// Before the first key exchange.
    Clear,
    ChaCha(chacha::SealingKey),
    Gcm(Box<Gcm>),
}

impl Sealing {
    pub(crate) fn tag_length(&self) -> usize {
        match self {
            Self::Clear => 0,
            Self::ChaCha(_) | Self::Gcm(_) => 16,
        }
    }

    /// How many bytes of padding (RFC 4253, section 6: four or more, up to whole blocks). Where the
    /// length is not encrypted along with the rest it does not count.
    pub(crate) fn padding(&self, payload: usize) -> usize {
        let (counted, block) = match self {
            Self::Clear => (5, 8),
            Self::ChaCha(_) => (1, 8),
            Self::Gcm(_) => (1, 16),
        };
        let over = (counted + payload + 4) % block;
        4 + (block - over) % block
    }

    /// Encrypts a packet whose tag goes behind its first `length` bytes.
    pub(crate) fn seal(&mut self, sequence: u32, packet: &mut [u8], length: usize) {
        let (text, tag) = packet.split_at_mut(length);
        match self {
            Self::Clear => {}
            Self::ChaCha(key) => {
                if let Ok(tag) = tag.try_into() {
                    key.seal_in_place(sequence, text, tag);
                }
            }
            Self::Gcm(gcm) => {
                let nonce = gcm.next_nonce();
                let sealed: Option<Tag> = text.split_first_chunk_mut::<4>().and_then(|(h, t)| {
                    let aad = Aad::from(*h);
                    gcm.key.seal_in_place_separate_tag(nonce, aad, t).ok()
                });
                // It fails for texts of 64 GiB only.
                match sealed {
                    Some(sealed) => tag.copy_from_slice(sealed.as_ref()),
                    None => text.fill(0),
                }
            }
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening")
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_what_was_changed_does_not() {
        for (name, cipher) in CIPHERS {
            let key = vec![7; cipher.key_length()];
            let mut sealing = cipher.sealing(&key, &[9; 12]).unwrap();
            let mut opening = cipher.opening(&key, &[9; 12]).unwrap();
            let mut spoiled = cipher.opening(&key, &[9; 12]).unwrap();
            for sequence in 0..300 {
                let mut packet = vec![0, 0, 0, 16, 4];
                packet.extend_from_slice(b"hello world0000");
                let plain = packet.clone();
                packet.extend_from_slice(&[0; 16]);
                sealing.seal(sequence, &mut packet, 20);
                assert_ne!(packet[4..20], plain[4..20]);
                let mut wrong = packet.clone();
                wrong[(sequence % 36) as usize] ^= 1;
                assert!(spoiled.open(sequence, &mut wrong).is_err(), "{name}");
                let header = *packet.first_chunk().unwrap();
                assert_eq!(opening.length(sequence, header), 16, "{name}");
                opening.open(sequence, &mut packet).unwrap();
                assert_eq!(packet[4..20], plain[4..20], "{name}");
            }
        }
    }

    #[test]
    fn padding_fills_whole_blocks_with_four_bytes_at_least() {
        let gcm = Cipher::Aes256Gcm.sealing(&[0; 32], &[0; 12]).unwrap();
        let chacha = Cipher::ChaCha.sealing(&[0; 64], &[]).unwrap();
        for payload in 1..70 {
            for (sealing, counted, block) in
                [(&Sealing::Clear, 5, 8), (&chacha, 1, 8), (&gcm, 1, 16)]
            {
                let padding = sealing.padding(payload);
                assert!((4..4 + block).contains(&padding));
                assert_eq!((counted + payload + padding) % block, 0);
            }
        }
    }
}
