//! Keyrings, and whether one of their keys signed something.

use std::fs::File;

use kedge_progress::interrupt;

use super::hashed::Detached;
use super::key::{Key, hex, name, strong};
use super::kind;
use super::packet::{Packets, tag};
use super::signed::Signed;

/// How far ahead of this machine's clock a signature may be.
const AHEAD: u64 = 24 * 3600;
/// How many packets of one keyring are read: Arch's, the largest known, has 20 000.
const MOST_PACKETS: usize = 1 << 19;

/// How many signatures are looked at; for each, the whole of what was signed is hashed.
const MOST_SIGNATURES: usize = 32;
const MOST_SIGNATURES_OF_A_FILE: usize = 8;

/// When a key must not have expired.
#[derive(Clone, Copy)]
enum Expiry {
    WhenSigned,
    Now,
}

/// The keys that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyring {
    certificates: Vec<Certificate>,
}

/// A primary key with all that its owner and others said about it.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(super) primary: Key,
    /// Over the primary key itself.
    pub(super) direct: Vec<Detached>,
    pub(super) users: Vec<User>,
    subkeys: Vec<(Key, Vec<Detached>)>,
    /// The keyring's file.
    origin: String,
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: Vec<u8>,
    /// Whether it is a name; a picture is none.
    attribute: bool,
    pub(super) signatures: Vec<Detached>,
}

/// Who signed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signer {
    /// The certificate's fingerprint, in hexadecimal digits.
    pub(crate) fingerprint: String,
    /// What it says to be called.
    pub(crate) name: String,
    /// Which file it is in.
    pub(crate) origin: String,
    /// When it signed, in seconds since 1970.
    pub(crate) signed: u64,
}

/// "4CB5… (Debian Archive …), in /usr/share/keyrings/debian-archive-keyring.gpg".
impl std::fmt::Display for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Signer {
            fingerprint,
            name,
            origin,
            ..
        } = self;
        write!(f, "{fingerprint} ({name}), in {origin}")
    }
}

impl Keyring {
    /// Adds the keys in a file, armored or not. What cannot be read of it is left out; an error when that is all of it.
    pub(crate) fn add(&mut self, bytes: &[u8], origin: &str) -> Result<(), String> {
        let bytes = super::dearmored(bytes)?;
        let before = self.certificates.len();
        let mut why = "there is no key in it".to_owned();
        // Whether the last key was taken: what follows it belongs to it.
        let mut taken = false;
        for packet in Packets::of(&bytes).take(MOST_PACKETS) {
            let (tag, body) = match packet {
                Ok(packet) => packet,
                Err(error) => {
                    why = error;
                    break;
                }
            };
            if tag == tag::PUBLIC_KEY {
                let key = Key::of(body).map_err(|error| why = error);
                taken = key.is_ok();
                self.certificates.extend(key.map(|primary| Certificate {
                    primary,
                    direct: Vec::new(),
                    users: Vec::new(),
                    subkeys: Vec::new(),
                    origin: origin.to_owned(),
                }));
            } else if let Some(last) = self.certificates.last_mut().filter(|_| taken) {
                last.add(tag, body);
            }
        }
        if self.certificates.len() == before {
            return Err(why);
        }
        Ok(())
    }

    /// Whether there is no key at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// Whose keys these are.
    pub(crate) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Leaves only the keys for which `keep` says so.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Certificate) -> bool) {
        self.certificates.retain(keep);
    }

    /// Whether one of `signatures` over `data` is good, at the time `now` (seconds since 1970), by one of these keys: the first that is.
    /// Otherwise what is wrong with each. What a key signed before it expired stays good, as rpm and pacman have it.
    pub(crate) fn verify(
        &self,
        signatures: &[Detached],
        data: &[u8],
        now: u64,
    ) -> Result<Signer, String> {
        let signatures = signatures.iter().take(MOST_SIGNATURES);
        self.first_good(
            signatures,
            &mut Signed::Bytes(data),
            now,
            Expiry::WhenSigned,
        )
    }

    /// As [`Self::verify`], by a key that has not expired since, as apt has it: what is signed anew all the time is not to be
    /// forged by whoever finds an old key.
    pub(crate) fn verify_lasting(
        &self,
        signatures: &[Detached],
        data: &[u8],
        now: u64,
    ) -> Result<Signer, String> {
        let signatures = signatures.iter().take(MOST_SIGNATURES);
        self.first_good(signatures, &mut Signed::Bytes(data), now, Expiry::Now)
    }

    /// As [`Self::verify`], over a file that may be long, and that can be written to: it is as before afterwards.
    pub(crate) fn verify_file(
        &self,
        signatures: &[Detached],
        file: &mut File,
        now: u64,
    ) -> Result<Signer, String> {
        let signatures = signatures.iter().take(MOST_SIGNATURES_OF_A_FILE);
        self.first_good(signatures, &mut Signed::File(file), now, Expiry::WhenSigned)
    }

    fn first_good<'a>(
        &self,
        signatures: impl Iterator<Item = &'a Detached>,
        data: &mut Signed,
        now: u64,
        expiry: Expiry,
    ) -> Result<Signer, String> {
        let mut wrong = Vec::new();
        for signature in signatures {
            if interrupt::pressed_already() {
                return Err("it was stopped".into());
            }
            match self.check(signature, data, now, expiry) {
                Ok(signer) => return Ok(signer),
                Err(why) => wrong.push(format!("signature by {}: {why}", signature.issuer())),
            }
        }
        Err(wrong.join("; "))
    }

    /// The keys that may have made a signature, by what it says.
    pub(crate) fn issuers<'a>(
        &'a self,
        signature: &'a Detached,
    ) -> impl Iterator<Item = &'a Certificate> {
        self.certificates
            .iter()
            .filter(|certificate| certificate.keys().any(|(key, _)| signature.names(key)))
    }

    fn check(
        &self,
        signature: &Detached,
        data: &mut Signed,
        now: u64,
        expiry: Expiry,
    ) -> Result<Signer, String> {
        let text = match signature.kind() {
            Some(kind::BINARY) => false,
            Some(kind::TEXT) => true,
            _ => return Err("it is none of a file".into()),
        };
        let hash = signature.hash().unwrap_or(0);
        if !strong(hash) {
            return Err(format!(
                "it is over {}, which is no longer believed",
                name(hash)
            ));
        }
        let signed = signature
            .created()
            .ok_or("it does not say when it was made")?;
        if signed > now.saturating_add(AHEAD) {
            return Err(format!(
                "it was made in the future, on {}, if this machine's clock is right (clock shows it, and sets it)",
                crate::date::day(signed)
            ));
        }
        if signature.expires().is_some_and(|end| end <= now) {
            return Err("it has expired".into());
        }
        if !signature.names_any() {
            return Err("it does not say which key made it".into());
        }
        let at = match expiry {
            Expiry::WhenSigned => signed,
            // A clock may be a little behind.
            Expiry::Now => now.max(signed),
        };
        let mut why = "no such key is in the keyring".to_owned();
        for certificate in &self.certificates {
            for (key, subkey) in certificate.keys() {
                if !signature.names(key) {
                    continue;
                }
                let checked = data
                    .with(text, &signature.trailer()?, &mut |message| {
                        signature.verify(key, message)
                    })
                    .and_then(|()| certificate.may_sign(subkey, signed, at));
                match checked {
                    Ok(()) => return Ok(certificate.signer(signed)),
                    Err(error) => why = error,
                }
            }
        }
        Err(why)
    }
}

impl Certificate {
    fn add(&mut self, tag: u8, body: &[u8]) {
        match tag {
            tag::USER_ID | tag::USER_ATTRIBUTE => self.users.push(User {
                id: body.to_vec(),
                attribute: tag == tag::USER_ATTRIBUTE,
                signatures: Vec::new(),
            }),
            tag::PUBLIC_SUBKEY => {
                // One that cannot be read signs nothing; its signatures must not fall to another.
                let key = Key::of(body).ok();
                let key = key.unwrap_or_else(|| self.primary.clone());
                self.subkeys.push((key, Vec::new()));
            }
            tag::SIGNATURE => {
                let Ok(signature) = Detached::of(body) else {
                    return;
                };
                let to = match (self.subkeys.last_mut(), self.users.last_mut()) {
                    (Some((_, signatures)), _) => signatures,
                    (None, Some(user)) => &mut user.signatures,
                    (None, None) => &mut self.direct,
                };
                to.push(signature);
            }
            _ => {}
        }
    }

    /// The certificate's fingerprint, in hexadecimal digits.
    pub(crate) fn fingerprint(&self) -> String {
        hex(self.primary.fingerprint())
    }

    /// The fingerprints of the primary key and all subkeys.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = String> {
        self.keys().map(|(key, _)| hex(key.fingerprint()))
    }

    /// The keyring's file.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// The first name, in which nothing is a control character.
    pub(crate) fn name(&self) -> String {
        let user = self.users.iter().find(|user| !user.attribute);
        let id = user.map_or(&b"without a name"[..], |user| &user.id);
        crate::words::shown(&String::from_utf8_lossy(id))
    }

    fn signer(&self, signed: u64) -> Signer {
        Signer {
            fingerprint: self.fingerprint(),
            name: self.name(),
            origin: self.origin.clone(),
            signed,
        }
    }

    /// Every key, and which subkey it is.
    fn keys(&self) -> impl Iterator<Item = (&Key, Option<usize>)> {
        let subkeys = self.subkeys.iter().enumerate();
        let subkeys = subkeys.map(|(number, (key, _))| (key, Some(number)));
        std::iter::once((&self.primary, None)).chain(subkeys)
    }

    /// Whether the primary key itself made `signature`, one about keys, over `about`.
    fn made(&self, signature: &Detached, about: &[Vec<u8>]) -> bool {
        signature.names(&self.primary) && by(signature, &self.primary, about)
    }

    /// Whether its owner took it back.
    pub(super) fn is_revoked(&self) -> bool {
        let primary = self.primary.hashed();
        self.direct.iter().any(|s| {
            s.kind() == Some(kind::KEY_REVOCATION) && self.made(s, std::slice::from_ref(&primary))
        })
    }

    /// Whether it is a key that has not expired at that time.
    pub(super) fn is_in_force(&self, at: u64) -> bool {
        let own = self.latest_own(at);
        own.is_some_and(|own| end(&self.primary, own).is_none_or(|end| end > at))
    }

    /// Whether this primary key, or a subkey of it, could sign data at the time `signed`, as things are at the time `at`.
    fn may_sign(&self, subkey: Option<usize>, signed: u64, at: u64) -> Result<(), String> {
        if self.is_revoked() {
            return Err("its key was revoked".into());
        }
        let primary = self.primary.hashed();
        let own = self.latest_own(at);
        let own = own.ok_or("its key did not sign itself, or only later")?;
        self.expired(&self.primary, own, signed, at)?;
        let Some(number) = subkey else {
            return match own.key_may_sign() {
                Some(false) => Err("its key may not be used to sign files".into()),
                // A key that does not say may do what its algorithm can.
                _ if signed < self.primary.created() => Err("it is older than its key".into()),
                _ => Ok(()),
            };
        };
        let (key, signatures) = &self.subkeys[number];
        let about = [primary, key.hashed()];
        let of = |kind| {
            let about = &about;
            signatures
                .iter()
                .filter(move |s| s.kind() == Some(kind) && self.made(s, about))
        };
        if of(kind::SUBKEY_REVOCATION).next().is_some() {
            return Err("its subkey was revoked".into());
        }
        let bindings = of(kind::SUBKEY_BINDING).filter(|s| in_force(s, at));
        let binding = bindings.max_by_key(|s| s.created());
        let binding = binding.ok_or("its subkey was not bound to its key")?;
        self.expired(key, binding, signed, at)?;
        if binding.key_may_sign() != Some(true) {
            return Err("its subkey may not be used to sign files".into());
        }
        // Otherwise somebody could take another's signing key for a subkey of his own.
        let back = binding.embedded().is_some_and(|back| {
            back.kind() == Some(kind::PRIMARY_KEY_BINDING) && by(&back, key, &about)
        });
        if !back {
            return Err("its subkey does not say to belong to its key".into());
        }
        if signed < key.created() {
            return Err("it is older than its key".into());
        }
        Ok(())
    }

    /// Whether `key`, this one or a subkey, had expired when it signed, or has since.
    fn expired(&self, key: &Key, own: &Detached, signed: u64, at: u64) -> Result<(), String> {
        let Some(end) = end(key, own).filter(|&end| end <= at) else {
            return Ok(());
        };
        let (origin, day) = (&self.origin, crate::date::day);
        let expired = format!("its key, in {origin}, expired on {}", day(end));
        if end <= signed {
            return Err(format!(
                "{expired}, before that: if its life was made longer, a newer keyring says so"
            ));
        }
        Err(format!(
            "{expired}, and this machine's clock says {}: a newer keyring may say that its life was made longer, or the clock \
             is wrong (clock shows it, and sets it); --accept-expired believes what it signed before",
            day(at)
        ))
    }

    /// The last self-signature at that time: on a name, or on the key itself.
    fn latest_own(&self, at: u64) -> Option<&Detached> {
        let primary = self.primary.hashed();
        let direct = self
            .direct
            .iter()
            .filter(|s| s.kind() == Some(kind::DIRECT_KEY))
            .filter(|s| self.made(s, std::slice::from_ref(&primary)));
        let names = self.users.iter().flat_map(|user| {
            let about = [primary.clone(), user.hashed()];
            let good = user.signatures.iter().filter(move |s| {
                s.kind().is_some_and(|kind| {
                    (kind::CERTIFICATION_FIRST..=kind::CERTIFICATION_LAST).contains(&kind)
                }) && self.made(s, &about)
            });
            good.collect::<Vec<_>>()
        });
        direct
            .chain(names)
            .filter(|s| in_force(s, at))
            .max_by_key(|s| s.created())
    }
}

impl User {
    /// How it is hashed when it is certified (RFC 9580, section 5.2.4).
    pub(super) fn hashed(&self) -> Vec<u8> {
        let mut bytes = vec![if self.attribute { 0xd1 } else { 0xb4 }];
        bytes.extend((self.id.len() as u32).to_be_bytes());
        bytes.extend(&self.id);
        bytes
    }
}

/// Whether `key` made `signature` over keys and names.
pub(super) fn by(signature: &Detached, key: &Key, about: &[Vec<u8>]) -> bool {
    let Ok(trailer) = signature.trailer() else {
        return false;
    };
    let mut message = about.concat();
    message.extend(trailer);
    signature.verify(key, &message).is_ok()
}

fn in_force(signature: &Detached, at: u64) -> bool {
    signature.created().is_some_and(|made| made <= at)
        && signature.expires().is_none_or(|end| end > at)
}

/// When `key` expires, as its owner says in `own`.
fn end(key: &Key, own: &Detached) -> Option<u64> {
    let after = own.key_expires_after()?;
    Some(key.created().saturating_add(after))
}
