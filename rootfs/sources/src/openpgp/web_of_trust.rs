//! Which keys of a keyring are valid because keys that are trusted certified them: what pacman asks of GnuPG.
//!
//! As GnuPG counts: a key is valid when it is trusted ultimately, or a valid key that is trusted fully certified one of its
//! names, or three valid keys that are trusted marginally did.

use std::collections::BTreeMap;

use super::hashed::Detached;
use super::key::{SHA1, hex, strong};
use super::keyring::{Certificate, Keyring, User, by};
use super::kind;

/// GnuPG's levels, and the number of marginally trusted keys that are enough.
const MARGINAL: u8 = 4;
const FULL: u8 = 5;
const ULTIMATE: u8 = 6;
const MARGINALS_NEEDED: usize = 3;
/// How many certifications lie between an ultimately trusted key and the last.
const DEPTH: usize = 3;
/// GnuPG believes no certification over SHA-1 from 2019-01-19 on.
const SHA1_ENDS: u64 = 1_547_856_000;

/// trustdb.gpg (GnuPG, doc/DETAILS, "Layout of the TrustDB").
const RECORD: usize = 40;
const TRUST_RECORD: u8 = 12;

/// How much keys are trusted to certify others, by their fingerprints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnerTrust(BTreeMap<String, u8>);

impl OwnerTrust {
    /// Out of GnuPG's trustdb.gpg.
    pub(crate) fn of_trustdb(bytes: &[u8]) -> OwnerTrust {
        let records = bytes.chunks_exact(RECORD);
        let records = records.filter(|record| record[0] == TRUST_RECORD);
        OwnerTrust(
            records
                .map(|record| (hex(&record[2..22]), record[22] & 0xf))
                .filter(|&(_, level)| level >= MARGINAL)
                .collect(),
        )
    }

    /// Adds what stands in a `-trusted` file of pacman's: `FINGERPRINT:LEVEL:` in each line. These keys are valid: pacman-key
    /// signs them when it takes them over.
    pub(crate) fn add_trusted(&mut self, text: &str) {
        for line in text.lines() {
            let mut parts = line.trim().split(':');
            let print = parts.next().unwrap_or_default().to_ascii_uppercase();
            let level = parts.next().and_then(|level| level.parse::<u8>().ok());
            if let (40, Some(MARGINAL..=ULTIMATE)) = (print.len(), level) {
                // Valid, and three of them together are believed about others.
                self.0.insert(print, MARGINAL | VALID);
            }
        }
    }

    /// Whether nothing is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn level(&self, certificate: &Certificate) -> u8 {
        let level = self.0.get(&certificate.fingerprint());
        level.copied().unwrap_or(0)
    }

    /// The keys of `keyring` that may certify others at the time `now`. GnuPG does not listen to those that were revoked, nor to those
    /// that have expired, unless they are the administrator's own; here, `expired_too` listens to them.
    pub(crate) fn certifiers(&self, keyring: &Keyring, now: u64, expired_too: bool) -> Keyring {
        let mut certifiers = keyring.clone();
        certifiers.retain(|key| {
            let level = self.level(key);
            let lasts = || expired_too || level == ULTIMATE || key.is_in_force(now);
            level != 0 && !key.is_revoked() && lasts()
        });
        certifiers
    }

    /// Whether a key is valid at the time `now`, because of these [`certifiers`](Self::certifiers).
    pub(crate) fn makes_valid(&self, certifiers: &Keyring, key: &Certificate, now: u64) -> bool {
        self.valid(certifiers, key, now, DEPTH)
    }

    fn valid(&self, certifiers: &Keyring, key: &Certificate, now: u64, depth: usize) -> bool {
        let level = self.level(key);
        if level == ULTIMATE || level & VALID != 0 {
            return true;
        }
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        let others: Vec<_> = certifiers
            .certificates()
            .iter()
            .filter(|certifier| certifier.primary.fingerprint() != key.primary.fingerprint())
            .map(|certifier| (certifier, self.level(certifier)))
            .collect();
        key.users.iter().any(|user| {
            let (mut full, mut marginal) = (0, 0);
            for &(certifier, level) in &others {
                if certified(key, user, certifier, now)
                    && self.valid(certifiers, certifier, now, depth)
                {
                    match level & !VALID {
                        FULL.. => full += 1,
                        _ => marginal += 1,
                    }
                }
            }
            full > 0 || marginal >= MARGINALS_NEEDED
        })
    }
}

/// A bit of ours beside GnuPG's levels: valid without being certified by anybody here.
const VALID: u8 = 0x80;

/// Whether the last word of `certifier` about this name is a certification, and no revocation of one.
fn certified(key: &Certificate, user: &User, certifier: &Certificate, now: u64) -> bool {
    let believed = |signature: &&Detached| {
        let made = signature.created().unwrap_or(u64::MAX);
        let hash = signature.hash().unwrap_or(0);
        made <= now
            && signature.names(&certifier.primary)
            && (strong(hash) || hash == SHA1 && made < SHA1_ENDS)
    };
    let mut words: Vec<&Detached> = user.signatures.iter().filter(believed).collect();
    words.sort_by_key(|signature| std::cmp::Reverse(signature.created()));
    let about = [key.primary.hashed(), user.hashed()];
    let last = words
        .into_iter()
        .find(|s| by(s, &certifier.primary, &about));
    last.is_some_and(|signature| {
        let certification = kind::CERTIFICATION_FIRST..=kind::CERTIFICATION_LAST;
        signature.kind().is_some_and(|k| certification.contains(&k))
            && signature.expires().is_none_or(|end| end > now)
    })
}
