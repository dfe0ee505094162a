//! SSH from the client's side, as far as the host key and the signature that proves it: versions (RFC 4253,
//! section 4.2), algorithms (7.1), and one exchange by elliptic curves (RFC 8731, RFC 5656). Nothing is
//! ever encrypted: the connection ends where encryption would begin.
//!
//! Not here: Diffie-Hellman groups, DSA, and ECDSA with P-521, which ring does not know.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use ring::agreement::{
    Algorithm, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral,
};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::host_key::{Family, verify};
use kedge_ssh_wire::{Malformed, Put, Reader};

/// What we are called on the wire.
const VERSION: &str = concat!("SSH-2.0-kedge_find-host_", env!("CARGO_PKG_VERSION"));

/// The longest version, and how many lines may come before it.
const LONGEST_LINE: usize = 255;
const LINES: usize = 50;
/// The longest packet that an implementation must take (RFC 4253, section 6.1).
const LONGEST_PACKET: usize = 35_000;
/// Packets are padded to this, unencrypted.
const BLOCK: usize = 8;

// Message numbers (RFC 4250, section 4.1).
const DISCONNECT: u8 = 1;
const IGNORE: u8 = 2;
const UNIMPLEMENTED: u8 = 3;
const DEBUG: u8 = 4;
const KEXINIT: u8 = 20;
const KEX_ECDH_INIT: u8 = 30;
const KEX_ECDH_REPLY: u8 = 31;
/// `SSH_DISCONNECT_BY_APPLICATION`.
const BY_APPLICATION: u32 = 11;

const METHODS: [(&str, &Algorithm); 3] = [
    ("curve25519-sha256", &X25519),
    ("curve25519-sha256@libssh.org", &X25519),
    ("ecdh-sha2-nistp256", &ECDH_P256),
];
/// Never used; servers hang up on whoever has none in common with them.
const CIPHERS: &str = "chacha20-poly1305@openssh.com,aes128-ctr,aes256-ctr,aes192-ctr,\
                       aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-cbc,aes256-cbc,3des-cbc";
const MACS: &str = "hmac-sha2-256,hmac-sha2-512,hmac-sha2-256-etm@openssh.com,\
                    hmac-sha2-512-etm@openssh.com,hmac-sha1,hmac-md5";
const COMPRESSION: &str = "none,zlib@openssh.com,zlib";

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it does not speak SSH 2")]
    NotSsh,
    #[error("it sent message {0}, which has no place there")]
    OutOfPlace(u8),
    #[error("it knows no way to exchange keys that is known here, or has no such host key")]
    NothingInCommon,
    #[error("no random numbers, or a share of the wrong kind")]
    KeyExchange,
    #[error("its signature is wrong: it does not have the key that it shows")]
    WrongSignature,
}

/// What a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// What it calls itself.
    pub(crate) version: Vec<u8>,
    /// The key, as it is on the wire (RFC 4253, section 6.6).
    pub(crate) blob: Vec<u8>,
    /// Which kind that is.
    pub(crate) family: Family,
    /// The kinds of host key that it has.
    pub(crate) offers: Vec<Family>,
}

/// Has the server show a key of one of these kinds, the first that it has, and prove it.
pub(crate) fn host_key(
    stream: TcpStream,
    families: &[Family],
    deadline: Instant,
) -> Result<Shown, Error> {
    let mut link = Link {
        stream,
        deadline,
        buffer: Vec::new(),
    };
    link.write(format!("{VERSION}\r\n").as_bytes())?;
    let version = link.version()?;
    let ours = offer(families)?;
    link.send(&ours)?;
    let theirs = link.next()?;
    if theirs.first() != Some(&KEXINIT) {
        return Err(Error::OutOfPlace(theirs.first().copied().unwrap_or(0)));
    }
    let agreed = Agreed::with(&theirs, families)?;

    let random = SystemRandom::new();
    let private = EphemeralPrivateKey::generate(agreed.curve, &random);
    let private = private.map_err(|_| Error::KeyExchange)?;
    let share = private
        .compute_public_key()
        .map_err(|_| Error::KeyExchange)?;
    let mut init = vec![KEX_ECDH_INIT];
    init.put_string(share.as_ref());
    link.send(&init)?;
    if agreed.wrong_guess {
        link.next()?;
    }
    let reply = link.next()?;
    let mut reader = Reader::new(&reply);
    match reader.byte()? {
        KEX_ECDH_REPLY => {}
        other => return Err(Error::OutOfPlace(other)),
    }
    let (blob, their_share, signature) = (reader.string()?, reader.string()?, reader.string()?);
    reader.end()?;

    let mut hashed = Vec::new();
    for part in [
        VERSION.as_bytes(),
        &version,
        &ours,
        &theirs,
        blob,
        share.as_ref(),
        their_share,
    ] {
        hashed.put_string(part);
    }
    let peer = UnparsedPublicKey::new(agreed.curve, their_share);
    agree_ephemeral(private, &peer, |secret| hashed.put_mpint(secret))
        .map_err(|_| Error::KeyExchange)?;
    let hash = digest(&SHA256, &hashed);
    if !verify(blob, agreed.algorithm, hash.as_ref(), signature)? {
        return Err(Error::WrongSignature);
    }
    // That is all. A server that is told so does not write of a connection that broke.
    let mut end = vec![DISCONNECT];
    end.put_u32(BY_APPLICATION);
    end.put_string(b"only the host key was wanted");
    end.put_string(b"");
    let _ = link.send(&end);
    Ok(Shown {
        version,
        blob: blob.to_vec(),
        family: agreed.family,
        offers: agreed.offers,
    })
}

/// Our KEXINIT.
fn offer(families: &[Family]) -> Result<Vec<u8>, Error> {
    let mut cookie = [0; 16];
    SystemRandom::new()
        .fill(&mut cookie)
        .map_err(|_| Error::KeyExchange)?;
    let algorithms: Vec<&str> = families
        .iter()
        .flat_map(|family| family.algorithms())
        .copied()
        .collect();
    let mut out = vec![KEXINIT];
    out.extend_from_slice(&cookie);
    for names in [
        &METHODS.map(|(name, _)| name).join(","),
        &algorithms.join(","),
        CIPHERS,
        CIPHERS,
        MACS,
        MACS,
        COMPRESSION,
        COMPRESSION,
        "",
        "",
    ] {
        out.put_string(names.as_bytes());
    }
    out.push(0);
    out.put_u32(0);
    Ok(out)
}

/// What both sides can do: our first choice that the server knows (RFC 4253, section 7.1).
struct Agreed {
    curve: &'static Algorithm,
    algorithm: &'static str,
    family: Family,
    offers: Vec<Family>,
    /// The server has sent a message ahead for what was not chosen: it does not count.
    wrong_guess: bool,
}

impl Agreed {
    fn with(theirs: &[u8], families: &[Family]) -> Result<Agreed, Error> {
        let mut reader = Reader::new(theirs);
        reader.bytes(1 + 16)?;
        let (methods, host_keys) = (reader.text()?, reader.text()?);
        for _ in 2..10 {
            reader.string()?;
        }
        let guesses = reader.byte()? != 0;
        let has = |list: &str, name: &str| list.split(',').any(|other| other == name);
        let first = |list: &str, name: &str| list.split(',').next() == Some(name);
        let (method, curve) = METHODS
            .into_iter()
            .find(|(name, _)| has(methods, name))
            .ok_or(Error::NothingInCommon)?;
        let (family, algorithm) = families
            .iter()
            .flat_map(|family| family.algorithms().iter().map(move |name| (*family, *name)))
            .find(|(_, name)| has(host_keys, name))
            .ok_or(Error::NothingInCommon)?;
        Ok(Agreed {
            curve,
            algorithm,
            family,
            offers: Family::ALL
                .into_iter()
                .filter(|family| family.algorithms().iter().any(|name| has(host_keys, name)))
                .collect(),
            wrong_guess: guesses && !(first(methods, method) && first(host_keys, algorithm)),
        })
    }
}

/// A connection with a time limit for all of it.
struct Link {
    stream: TcpStream,
    deadline: Instant,
    buffer: Vec<u8>,
}

impl Link {
    fn left(&self) -> io::Result<std::time::Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes)
    }

    /// Reads until there are so many bytes in the buffer.
    fn fill(&mut self, count: usize) -> io::Result<()> {
        while self.buffer.len() < count {
            self.stream.set_read_timeout(Some(self.left()?))?;
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The server's version, without the lines that may come before it.
    fn version(&mut self) -> Result<Vec<u8>, Error> {
        for _ in 0..LINES {
            let mut length = 0;
            let end = loop {
                if let Some(at) = self.buffer[length..].iter().position(|b| *b == b'\n') {
                    break length + at;
                }
                length = self.buffer.len();
                if length > LONGEST_LINE {
                    return Err(Error::NotSsh);
                }
                self.fill(length + 1)?;
            };
            let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            if line.len() > LONGEST_LINE {
                return Err(Error::NotSsh);
            }
            if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") {
                return Ok(line);
            }
            if line.starts_with(b"SSH-") {
                return Err(Error::NotSsh);
            }
        }
        Err(Error::NotSsh)
    }

    /// Sends a packet (RFC 4253, section 6).
    fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        let unpadded = 4 + 1 + payload.len();
        let padding = match BLOCK - unpadded % BLOCK {
            few @ 0..4 => few + BLOCK,
            enough => enough,
        };
        let mut packet = Vec::with_capacity(unpadded + padding);
        packet.put_u32((1 + payload.len() + padding) as u32);
        packet.push(padding as u8);
        packet.extend_from_slice(payload);
        packet.resize(unpadded + padding, 0);
        Ok(self.write(&packet)?)
    }

    /// The next message that means something.
    fn next(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            let payload = self.packet()?;
            match payload.first() {
                Some(&(IGNORE | DEBUG | UNIMPLEMENTED)) => {}
                Some(&DISCONNECT) => return Err(Error::OutOfPlace(DISCONNECT)),
                Some(_) => return Ok(payload),
                None => return Err(Malformed.into()),
            }
        }
    }

    fn packet(&mut self) -> Result<Vec<u8>, Error> {
        self.fill(5)?;
        let mut reader = Reader::new(&self.buffer);
        let (length, padding) = (reader.u32()? as usize, usize::from(reader.byte()?));
        if !(1 + padding..=LONGEST_PACKET).contains(&length) {
            return Err(Malformed.into());
        }
        self.fill(4 + length)?;
        let rest = self.buffer.split_off(4 + length);
        let packet = std::mem::replace(&mut self.buffer, rest);
        Ok(packet[5..4 + length - padding].to_vec())
    }
}

#[cfg(test)]
#[path = "ssh_tests.rs"]
mod tests;
