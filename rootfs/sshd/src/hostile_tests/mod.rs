//! Messages that somebody has damaged on purpose: every parser on every beginning of a valid message,
//! and on 100,000 mutations of it. Nothing panics, and what is checked by a signature never passes.
//!
//! The mutations are the same at each run.

mod connections;

use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use crate::authorized_keys;
use crate::base64;
use crate::connection::tests::{open, talking};
use crate::host_key::HostKey;
use crate::protocol::key_exchange::{Agreed, offer};
use crate::protocol::message;
use crate::protocol::transport::tests::put_in;
use crate::public_key;
use crate::terminal;
use kedge_ssh_wire::{Put, Reader};

const MUTATIONS: usize = 100_000;

/// Marsaglia's xorshift64: quick, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `count`, which is not 0.
    fn below(&mut self, count: usize) -> usize {
        (self.next() >> 11) as usize % count
    }
}

/// Damages `bytes` in one to four places, as those do who look for a hole: bits, lengths, cuts.
fn damage(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const LENGTHS: [u32; 10] = [
        0,
        1,
        4,
        255,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff0,
        0xffff_fffe,
        0xffff_ffff,
        65_536,
    ];
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            bytes.push(dice.next() as u8);
        }
        let at = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.next() as u8,
            2 => {
                let length = LENGTHS[dice.below(LENGTHS.len())].to_be_bytes();
                for (byte, new) in bytes[at..].iter_mut().zip(length) {
                    *byte = new;
                }
            }
            3 => bytes.truncate(at),
            4 => {
                let end = (at + 1 + dice.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                let byte = dice.next() as u8;
                for _ in 0..=dice.below(8) {
                    bytes.insert(at, byte);
                }
            }
        }
    }
}

/// Gives `take` every beginning of `valid`, and `count` mutations of it.
fn some(count: usize, valid: &[u8], mut take: impl FnMut(&[u8])) {
    for length in 0..valid.len() {
        take(&valid[..length]);
    }
    let mut dice = Dice(0x6b65_6467_6500_0001);
    for _ in 0..count {
        let mut bytes = valid.to_vec();
        damage(&mut bytes, &mut dice);
        take(&bytes);
    }
}

fn each(valid: &[u8], take: impl FnMut(&[u8])) {
    some(MUTATIONS, valid, take);
}

fn ed25519() -> (Ed25519KeyPair, Vec<u8>) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
    let mut blob = Vec::new();
    blob.put_string(b"ssh-ed25519");
    blob.put_string(key.public_key().as_ref());
    (key, blob)
}

fn rsa() -> Vec<u8> {
    let mut blob = Vec::new();
    blob.put_string(b"ssh-rsa");
    blob.put_mpint(&[1, 0, 1]);
    blob.put_mpint(&[0xc3; 256]);
    blob
}

#[test]
fn offers_of_algorithms() {
    let valid = offer().unwrap();
    let mut understood = 0;
    each(&valid, |bytes| {
        understood += usize::from(Agreed::with(bytes).is_ok())
    });
    // The cookie and the names of MACs may be anything: the mutations are not all nonsense.
    assert!(understood > MUTATIONS / 100);
}

#[test]
fn packets() {
    let (mut connection, _there) = talking(authorized_keys::Options::default());
    let mut valid = Vec::new();
    for payload in [&[message::IGNORE, 0, 0, 0, 0][..], &open(1024)] {
        let padding = 8 - (5 + payload.len()) % 8 + 8;
        valid.put_u32((1 + payload.len() + padding) as u32);
        valid.put_byte(padding as u8);
        valid.extend_from_slice(payload);
        valid.resize(valid.len() + padding, 0);
    }
    let transport = &mut connection.transport;
    each(&valid, |bytes| {
        put_in(transport, bytes);
        while let Ok(Some(place)) = transport.next() {
            assert!(!place.is_empty() && place.end <= bytes.len());
        }
    });
    each(
        &[b"SSH-2.0-".as_slice(), &[b'x'; 240], b"\r\n"].concat(),
        |bytes| {
            put_in(transport, bytes);
            if let Ok(Some(line)) = transport.line(255) {
                assert!(line.len() <= 255);
            }
        },
    );
}

#[test]
fn keys_of_users() {
    let (_, ed25519) = ed25519();
    let mut ecdsa = Vec::new();
    ecdsa.put_string(b"ecdsa-sha2-nistp256");
    ecdsa.put_string(b"nistp256");
    ecdsa.put_string(&[4; 65]);
    let mut token = Vec::new();
    token.put_string(b"sk-ssh-ed25519@openssh.com");
    token.put_string(&[9; 32]);
    token.put_string(b"ssh:");
    for valid in [ed25519, rsa(), ecdsa, token] {
        assert_eq!(public_key::check(&valid), Ok(()));
        each(&valid, |bytes| {
            let _ = public_key::check(bytes);
        });
    }
}

/// No damaged signature, and no damaged text or key, is taken for the owner's.
#[test]
fn signatures() {
    let text = b"session and request";
    let wire = |algorithm: &str, bytes: &[u8], more: &[u8]| {
        let mut out = Vec::new();
        out.put_string(algorithm.as_bytes());
        out.put_string(bytes);
        out.extend_from_slice(more);
        out
    };
    let (key, blob) = ed25519();
    let name = "ssh-ed25519";
    let valid = wire(name, key.sign(text).as_ref(), b"");
    assert!(public_key::verify(&blob, name, text, &valid));
    // Each check that comes as far as the curve takes a while.
    some(20_000, &valid, |bytes| {
        assert!(bytes == valid || !public_key::verify(&blob, name, text, bytes));
    });
    some(20_000, &blob, |bytes| {
        assert!(bytes == blob || !public_key::verify(bytes, name, text, &valid));
    });

    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
    let name = "ecdsa-sha2-nistp256";
    let mut blob = Vec::new();
    blob.put_string(name.as_bytes());
    blob.put_string(b"nistp256");
    blob.put_string(key.public_key().as_ref());
    let signature = key.sign(&random, text).unwrap();
    let (r, s) = signature.as_ref().split_at(32);
    let mut numbers = Vec::new();
    numbers.put_mpint(r);
    numbers.put_mpint(s);
    assert!(public_key::verify(
        &blob,
        name,
        text,
        &wire(name, &numbers, b"")
    ));
    // Leading zeros, which change nothing, are taken.
    let value = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        let pair = (
            reader.positive().ok()?.to_vec(),
            reader.positive().ok()?.to_vec(),
        );
        Some(pair)
    };
    some(20_000, &numbers, |bytes| {
        let same = value(bytes) == value(&numbers);
        assert!(same || !public_key::verify(&blob, name, text, &wire(name, bytes, b"")));
    });

    // A token, whose signature has something behind it.
    let (key, plain) = ed25519();
    let name = "sk-ssh-ed25519@openssh.com";
    let mut blob = Vec::new();
    blob.put_string(name.as_bytes());
    blob.put_string(&plain[plain.len() - 32..]);
    blob.put_string(b"ssh:");
    let mut signed = digest(&SHA256, b"ssh:").as_ref().to_vec();
    signed.extend_from_slice(&[1, 0, 0, 0, 9]);
    signed.extend_from_slice(digest(&SHA256, text).as_ref());
    let valid = wire(name, key.sign(&signed).as_ref(), &[1, 0, 0, 0, 9]);
    assert!(public_key::verify(&blob, name, text, &valid));
    some(20_000, &valid, |bytes| {
        assert!(bytes == valid || !public_key::verify(&blob, name, text, bytes));
    });

    let valid = wire("rsa-sha2-512", &[0x55; 256], b"");
    some(20_000, &valid, |bytes| {
        assert!(!public_key::verify(&rsa(), "rsa-sha2-512", text, bytes));
    });
    some(20_000, &rsa(), |bytes| {
        assert!(!public_key::verify(bytes, "rsa-sha2-512", text, &valid));
    });
}

#[test]
fn lines_of_authorized_keys() {
    let line = format!(
        "command=\"echo \\\"hi\\\"\",from=\"192.0.2.0/24,!192.0.2.9,2001:db8::/32\",restrict,pty \
         ssh-ed25519 {} somebody",
        base64::encode(&ed25519().1)
    );
    assert!(authorized_keys::parse(&line).unwrap().is_some());
    let address = "198.51.100.7".parse().unwrap();
    each(line.as_bytes(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(Some(entry)) = authorized_keys::parse(&text) {
            let _ = entry.options.allows(address);
        }
        let _ = base64::decode(bytes);
    });
}

#[test]
fn files_of_host_keys() {
    let seed = [8; 32];
    let key = HostKey(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap());
    let text = key.text(&seed).unwrap();
    assert!(HostKey::parse(&text).is_some());
    // What is inside, too: damage to the base64 seldom gets that far.
    let lines: Vec<&str> = text.lines().collect();
    let digits = lines[1..lines.len() - 1].concat();
    let inside = base64::decode(digits.as_bytes()).unwrap();
    some(30_000, text.as_bytes(), |bytes| {
        let _ = HostKey::parse(&String::from_utf8_lossy(bytes));
    });
    some(30_000, &inside, |bytes| {
        let text = format!(
            "{}\n{}\n{}\n",
            lines[0],
            base64::encode(bytes),
            lines[lines.len() - 1]
        );
        if let Some(other) = HostKey::parse(&text) {
            assert_eq!(other.public(), key.public());
        }
    });
}

#[test]
fn terminals() {
    let mut valid = Vec::new();
    valid.put_string(b"xterm-256color");
    for number in [80, 24, 640, 480] {
        valid.put_u32(number);
    }
    let mut modes = Vec::new();
    for opcode in [1, 3, 42, 53, 91, 128, 129] {
        modes.put_byte(opcode);
        modes.put_u32(1);
    }
    modes.put_byte(0);
    valid.put_string(&modes);
    each(&valid, |bytes| {
        let _ = terminal::Request::read(&mut Reader::new(bytes));
    });
}
