//! Key exchange (RFC 4253, section 7) with an Ed25519 host key (RFC 8709); [`super::agreement`] has the
//! secrets.
//!
//! The client begins each exchange after the first; it runs to its end while nothing else is done,
//! since nothing else may be sent meanwhile (RFC 4253, section 7.1).

use std::time::Instant;

use ring::digest::{Context, SHA256};

use super::agreement::{METHODS, Method};
use super::cipher::{CIPHERS, Cipher};
use super::transport::Transport;
use super::{Error, message, random};
use crate::host_key::{self, HostKey};
use crate::public_key;
use kedge_ssh_wire::{Put, Reader};

/// What we are called on the wire (RFC 4253, section 4.2).
const VERSION: &str = concat!("SSH-2.0-kedge_", env!("CARGO_PKG_VERSION"));

/// The longest line that a version may be.
const LONGEST_VERSION: usize = 255;

/// Says that we keep to "strict key exchange": no message in between, and counters that begin anew.
/// Without it an attacker on the way can drop messages unseen (CVE-2023-48795).
const STRICT_SERVER: &str = "kex-strict-s-v00@openssh.com";
const STRICT_CLIENT: &str = "kex-strict-c-v00@openssh.com";
const EXTENSIONS_CLIENT: &str = "ext-info-c";

/// Never used, since the ciphers authenticate; but clients want to read a name.
const MACS: &str = "hmac-sha2-256-etm@openssh.com,hmac-sha2-256";

/// What stays the same over all exchanges of one connection.
#[derive(Debug)]
pub(crate) struct KeyExchange {
    client_version: Vec<u8>,
    /// The first exchange's hash names the session for its whole life.
    session_id: Option<[u8; 32]>,
    strict: bool,
}

impl KeyExchange {
    /// Exchanges versions.
    pub(crate) fn begin(transport: &mut Transport, deadline: Instant) -> Result<Self, Error> {
        transport.raw(VERSION.as_bytes());
        transport.raw(b"\r\n");
        let client_version = loop {
            if let Some(line) = transport.line(LONGEST_VERSION)? {
                break line;
            }
            transport.exchange(deadline)?;
        };
        if !client_version.starts_with(b"SSH-2.0-") && !client_version.starts_with(b"SSH-1.99-") {
            return Err(Error::Version);
        }
        Ok(Self {
            client_version,
            session_id: None,
            strict: false,
        })
    }

    /// For tests that begin after the exchange.
    #[cfg(test)]
    pub(crate) fn done() -> Self {
        Self {
            client_version: b"SSH-2.0-test".to_vec(),
            session_id: Some([0; 32]),
            strict: true,
        }
    }

    /// The session's name, which a login signs.
    pub(crate) fn session_id(&self) -> Option<&[u8; 32]> {
        self.session_id.as_ref()
    }

    /// Runs one exchange. `theirs` is the client's KEXINIT where it has come already.
    pub(crate) fn run(
        &mut self,
        transport: &mut Transport,
        host_key: &HostKey,
        theirs: Option<Vec<u8>>,
        deadline: Instant,
    ) -> Result<(), Error> {
        let first = self.session_id.is_none();
        let ours = offer()?;
        transport.send(|out| out.extend_from_slice(&ours));
        let theirs = match theirs {
            Some(theirs) => theirs,
            None => loop {
                let payload = next(transport, deadline)?;
                match payload.first() {
                    Some(&message::KEXINIT) => break payload,
                    Some(&(message::IGNORE | message::DEBUG | message::UNIMPLEMENTED)) => {}
                    Some(&message::DISCONNECT) => return Err(Error::Disconnected),
                    other => return Err(Error::OutOfPlace(other.copied().unwrap_or(0))),
                }
            },
        };
        let agreed = Agreed::with(&theirs)?;
        if first {
            self.strict = agreed.strict;
            if self.strict && transport.last_sequence() != 0 {
                return Err(Error::OutOfPlace(message::KEXINIT));
            }
        }
        if agreed.wrong_guess {
            next(transport, deadline)?;
        }
        // Strict means the first exchange, in which nothing is authenticated yet.
        let lenient = !(first && self.strict);
        let payload = expect(transport, message::KEX_ECDH_INIT, lenient, deadline)?;
        let mut reader = Reader::new(&payload[1..]);
        let client_share = reader.string()?.to_vec();
        reader.end()?;

        let agreement = agreed.method.agree(&client_share)?;
        let (share, secret) = (agreement.share, agreement.secret);
        let mut hash = Context::new(&SHA256);
        let mut buffer = Vec::new();
        buffer.put_string(&self.client_version);
        buffer.put_string(VERSION.as_bytes());
        buffer.put_string(&theirs);
        buffer.put_string(&ours);
        buffer.put_string(&host_key.public());
        buffer.put_string(&client_share);
        buffer.put_string(&share);
        buffer.extend_from_slice(&secret);
        hash.update(&buffer);
        let hash = digest(hash);
        let session_id = *self.session_id.get_or_insert(hash);

        let signature = host_key.sign(&hash);
        transport.send(|out| {
            out.put_byte(message::KEX_ECDH_REPLY);
            out.put_string(&host_key.public());
            out.put_string(&share);
            out.put_string(&signature);
        });
        transport.send(|out| out.put_byte(message::NEWKEYS));
        let derive = |letter, count| derive(&secret, &hash, letter, &session_id, count);
        let (nonce, key) = (derive(b'B', 12), derive(b'D', agreed.sealing.key_length()));
        let sealing = agreed.sealing.sealing(&key, &nonce);
        transport.seal_with(sealing.ok_or(Error::KeyExchange)?, self.strict);
        if first && agreed.extensions {
            transport.send(|out| {
                out.put_byte(message::EXT_INFO);
                out.put_u32(1);
                out.put_string(b"server-sig-algs");
                out.put_string(public_key::SIGNATURES.as_bytes());
            });
        }
        expect(transport, message::NEWKEYS, lenient, deadline)?;
        let (nonce, key) = (derive(b'A', 12), derive(b'C', agreed.opening.key_length()));
        let opening = agreed.opening.opening(&key, &nonce);
        transport.open_with(opening.ok_or(Error::KeyExchange)?, self.strict);
        Ok(())
    }
}

/// The next message has to be this one; where it is `lenient`, after those that mean nothing.
fn expect(
    transport: &mut Transport,
    wanted: u8,
    lenient: bool,
    deadline: Instant,
) -> Result<Vec<u8>, Error> {
    loop {
        let payload = next(transport, deadline)?;
        match payload.first() {
            Some(&number) if number == wanted => return Ok(payload),
            Some(&message::DISCONNECT) => return Err(Error::Disconnected),
            Some(&(message::IGNORE | message::DEBUG | message::UNIMPLEMENTED)) if lenient => {}
            other => return Err(Error::OutOfPlace(other.copied().unwrap_or(0))),
        }
    }
}

/// Waits for the next message.
pub(crate) fn next(transport: &mut Transport, deadline: Instant) -> Result<Vec<u8>, Error> {
    loop {
        if let Some(place) = transport.next()? {
            return Ok(transport.incoming[place].to_vec());
        }
        transport.exchange(deadline)?;
    }
}

/// Our KEXINIT.
pub(crate) fn offer() -> Result<Vec<u8>, Error> {
    let mut cookie = [0; 16];
    random(&mut cookie).map_err(Error::Random)?;
    let ciphers = CIPHERS.map(|(name, _)| name).join(",");
    let methods = METHODS.map(|(name, _)| name).join(",");
    let methods = format!("{methods},{STRICT_SERVER}");
    let mut out = vec![message::KEXINIT];
    out.extend_from_slice(&cookie);
    for names in [
        &methods,
        host_key::ALGORITHM,
        &ciphers,
        &ciphers,
        MACS,
        MACS,
        "none",
        "none",
        "",
        "",
    ] {
        out.put_string(names.as_bytes());
    }
    out.put_byte(0);
    out.put_u32(0);
    Ok(out)
}

/// What both sides can do.
pub(crate) struct Agreed {
    method: Method,
    opening: Cipher,
    sealing: Cipher,
    strict: bool,
    extensions: bool,
    /// The client has sent a message ahead, and does not prefer what we prefer: it does not count.
    wrong_guess: bool,
}

impl Agreed {
    /// The client's first choice that we know (RFC 4253, section 7.1).
    pub(crate) fn with(theirs: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(theirs);
        reader.bytes(1 + 16)?;
        let mut lists = [""; 10];
        for list in &mut lists {
            *list = reader.text()?;
        }
        let guesses = reader.boolean()?;
        let [
            methods,
            host_keys,
            to_us,
            from_us,
            _,
            _,
            pressed,
            unpressed,
            ..,
        ] = lists;
        let method = methods
            .split(',')
            .find_map(|name| METHODS.iter().find(|(known, _)| *known == name))
            .map(|(_, method)| *method)
            .ok_or(Error::NothingInCommon("key exchange method"))?;
        if !host_keys.split(',').any(|name| name == host_key::ALGORITHM) {
            return Err(Error::NothingInCommon("type of host key"));
        }
        let cipher = |list: &str| {
            list.split(',')
                .find_map(|name| CIPHERS.iter().find(|(known, _)| *known == name))
                .map(|(_, cipher)| *cipher)
                .ok_or(Error::NothingInCommon("cipher"))
        };
        if ![pressed, unpressed]
            .iter()
            .all(|list| list.split(',').any(|name| name == "none"))
        {
            return Err(Error::NothingInCommon("compression"));
        }
        let first = |list: &str, name: &str| list.split(',').next() == Some(name);
        Ok(Self {
            method,
            opening: cipher(to_us)?,
            sealing: cipher(from_us)?,
            strict: methods.split(',').any(|name| name == STRICT_CLIENT),
            extensions: methods.split(',').any(|name| name == EXTENSIONS_CLIENT),
            wrong_guess: guesses
                && !(first(methods, METHODS[0].0) && first(host_keys, host_key::ALGORITHM)),
        })
    }
}

/// Keys out of the secret (RFC 4253, section 7.2).
fn derive(secret: &[u8], hash: &[u8], letter: u8, session_id: &[u8], count: usize) -> Vec<u8> {
    let mut key = Vec::new();
    while key.len() < count {
        let mut context = Context::new(&SHA256);
        context.update(secret);
        context.update(hash);
        if key.is_empty() {
            context.update(&[letter]);
            context.update(session_id);
        } else {
            context.update(&key);
        }
        key.extend_from_slice(&digest(context));
    }
    key.truncate(count);
    key
}

fn digest(context: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(
        methods: &str,
        host_keys: &str,
        ciphers: &str,
        compression: &str,
        guess: u8,
    ) -> Vec<u8> {
        let mut out = vec![message::KEXINIT];
        out.extend_from_slice(&[0; 16]);
        for list in [
            methods,
            host_keys,
            ciphers,
            ciphers,
            "",
            "",
            compression,
            compression,
            "",
            "",
        ] {
            out.put_string(list.as_bytes());
        }
        out.put_byte(guess);
        out.put_u32(0);
        out
    }

    #[test]
    fn the_clients_first_choice_that_is_known_here_counts() {
        let theirs = init(
            "sntrup761x25519-sha512,curve25519-sha256,ext-info-c,kex-strict-c-v00@openssh.com",
            "rsa-sha2-512,ssh-ed25519",
            "aes128-ctr,aes128-gcm@openssh.com,chacha20-poly1305@openssh.com",
            "zlib,none",
            1,
        );
        let agreed = Agreed::with(&theirs).unwrap();
        assert_eq!(agreed.opening, Cipher::Aes128Gcm);
        assert_eq!(agreed.method, Method::Curve);
        assert!(agreed.strict && agreed.extensions && agreed.wrong_guess);
        let theirs = init(METHODS[0].0, host_key::ALGORITHM, CIPHERS[0].0, "none", 1);
        let agreed = Agreed::with(&theirs).unwrap();
        assert!(!agreed.strict && !agreed.extensions && !agreed.wrong_guess);
    }

    /// RFC 4253, section 7.1: a guess is right when both sides prefer the same, and only then. A client
    /// that has guessed wrong sends its share again.
    #[test]
    fn a_guess_of_what_is_known_here_but_not_preferred_is_wrong() {
        let methods = "curve25519-sha256@libssh.org,curve25519-sha256";
        let theirs = init(methods, host_key::ALGORITHM, CIPHERS[0].0, "none", 1);
        assert!(Agreed::with(&theirs).unwrap().wrong_guess);
        let theirs = init(methods, host_key::ALGORITHM, CIPHERS[0].0, "none", 0);
        assert!(!Agreed::with(&theirs).unwrap().wrong_guess);
    }

    #[test]
    fn nothing_in_common_is_named() {
        let (method, cipher) = (METHODS[0].0, CIPHERS[0].0);
        for (theirs, what) in [
            (init("dh", "ssh-ed25519", cipher, "none", 0), "method"),
            (init(method, "ssh-rsa", cipher, "none", 0), "host key"),
            (init(method, "ssh-ed25519", "3des-cbc", "none", 0), "cipher"),
            (
                init(method, "ssh-ed25519", cipher, "zlib", 0),
                "compression",
            ),
        ] {
            let error = Agreed::with(&theirs).err().unwrap().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_cut_off_offer_is_malformed() {
        let whole = init(METHODS[0].0, host_key::ALGORITHM, CIPHERS[0].0, "none", 0);
        for length in 0..whole.len() - 4 {
            assert!(Agreed::with(&whole[..length]).is_err());
        }
    }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod login_tests;
