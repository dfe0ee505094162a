//! The host's key: Ed25519, in OpenSSH's format (PROTOCOL.key), without a passphrase.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::base64;
use crate::protocol::random;
use crate::public_key::fingerprint;
use kedge_ssh_wire::{Malformed, Put, Reader};

/// Its name on the wire.
pub(crate) const ALGORITHM: &str = "ssh-ed25519";

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";

/// Why there is no host key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the host key {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    #[error("cannot write the host key {0}: {1}")]
    Write(PathBuf, #[source] io::Error),
    #[error(
        "{0} is no Ed25519 key in OpenSSH's format without a passphrase; make one with \
         ssh-keygen -t ed25519 -N '' -f FILE"
    )]
    Format(PathBuf),
    #[error("no randomness for a host key: {0}")]
    Random(#[source] io::Error),
}

/// A private key, ready to sign.
#[derive(Debug)]
pub(crate) struct HostKey(pub(crate) Ed25519KeyPair);

impl HostKey {
    /// The key in `path`; a new one, which is written there, when there is no such file.
    pub(crate) fn load_or_make(path: &Path) -> Result<Self, Error> {
        match Self::load(path) {
            Err(Error::Read(_, e)) if e.kind() == io::ErrorKind::NotFound => Self::make(path),
            result => result,
        }
    }

    /// The key in `path`.
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::Read(path.into(), e))?;
        Self::parse(&text).ok_or_else(|| Error::Format(path.into()))
    }

    fn make(path: &Path) -> Result<Self, Error> {
        let mut seed = [0; 32];
        random(&mut seed).map_err(Error::Random)?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map(Self)
            .map_err(|_| Error::Format(path.into()))?;
        let failed = |e| Error::Write(path.into(), e);
        let text = key.text(&seed).map_err(Error::Random)?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        // Nobody may read half a key, and nobody else may read it at all.
        let half = path.with_extension("new");
        let _ = std::fs::remove_file(&half);
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&half)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| std::fs::rename(&half, path))
            .map_err(failed)?;
        Ok(key)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.split_once(BEGIN)?.1.split_once(END)?.0;
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let bytes = base64::decode(&digits)?;
        let seed = seed(bytes.strip_prefix(MAGIC)?).ok()??;
        Ed25519KeyPair::from_seed_and_public_key(&seed.0, &seed.1)
            .ok()
            .map(Self)
    }

    /// As a file has it.
    pub(crate) fn text(&self, seed: &[u8; 32]) -> io::Result<String> {
        let public = self.0.public_key().as_ref();
        let mut check = [0; 4];
        random(&mut check)?;
        let mut private = Vec::new();
        private.extend_from_slice(&check);
        private.extend_from_slice(&check);
        private.put_string(ALGORITHM.as_bytes());
        private.put_string(public);
        private.put_string(&[&seed[..], public].concat());
        private.put_string(b"kedge");
        for pad in 1..=(8 - private.len() % 8) % 8 {
            private.push(pad as u8);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.put_string(b"none");
        bytes.put_string(b"none");
        bytes.put_string(b"");
        bytes.put_u32(1);
        bytes.put_string(&self.public());
        bytes.put_string(&private);
        let digits = base64::encode(&bytes);
        let mut text = format!("{BEGIN}\n");
        for line in digits.as_bytes().chunks(70) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        Ok(text + END + "\n")
    }

    /// The public key, as it is sent.
    pub(crate) fn public(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        blob.put_string(ALGORITHM.as_bytes());
        blob.put_string(self.0.public_key().as_ref());
        blob
    }

    /// `SHA256:...`, as ssh-keygen prints it.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.public())
    }

    /// A signature, as it is sent.
    pub(crate) fn sign(&self, text: &[u8]) -> Vec<u8> {
        let mut blob = Vec::new();
        blob.put_string(ALGORITHM.as_bytes());
        blob.put_string(self.0.sign(text).as_ref());
        blob
    }
}

/// Seed and public key; `None` for a key that is encrypted or of another type.
#[expect(clippy::type_complexity, reason = "a pair that lives for two lines")]
fn seed(file: &[u8]) -> Result<Option<([u8; 32], [u8; 32])>, Malformed> {
    let mut reader = Reader::new(file);
    let plain = reader.string()? == b"none" && reader.string()? == b"none";
    if !plain {
        return Ok(None);
    }
    reader.string()?;
    if reader.u32()? != 1 {
        return Ok(None);
    }
    reader.string()?;
    let mut private = Reader::new(reader.string()?);
    if private.u32()? != private.u32()? || private.string()? != ALGORITHM.as_bytes() {
        return Ok(None);
    }
    let public = private.string()?;
    let mut both = Reader::new(private.string()?);
    let seed = both.array()?;
    let again: [u8; 32] = both.array()?;
    Ok((public == again).then_some((seed, again)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_read_back() {
        let folder = std::env::temp_dir().join(format!("kedge-host-key-{}", std::process::id()));
        let path = folder.join("key");
        let made = HostKey::load_or_make(&path).unwrap();
        let read = HostKey::load_or_make(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(made.public(), read.public());
        assert!(made.fingerprint().starts_with("SHA256:"));
        assert_eq!(made.fingerprint().len(), 7 + 43);
        for spoiled in [
            text.replace("BEGIN", "BEGUN"),
            text.replace('\n', "#"),
            text[..text.len() / 2].into(),
            String::new(),
        ] {
            assert!(HostKey::parse(&spoiled).is_none());
        }
    }
}
