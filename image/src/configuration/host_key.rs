//! The host's key, given at the build so that `known_hosts` stays true: Ed25519, in OpenSSH's format
//! (OpenSSH's PROTOCOL.key), without a passphrase, for nobody could type one at boot.

use std::fmt;
use std::path::{Path, PathBuf};

use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, LineEnding, PrivateKey};

use super::public_keys::is_private;

/// What makes a key that can be used.
const MAKE: &str = "make one with: ssh-keygen -t ed25519 -N '' -f FILE";

/// Why a file is no host key for the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The other half.
    #[error("{} is a public key; what belongs here is its private half, {}", _0.display(), _0.with_extension("").display())]
    Public(PathBuf),
    /// A passphrase.
    #[error("{} has a passphrase, which nobody could type at boot; {MAKE}", _0.display())]
    Encrypted(PathBuf),
    /// Another type.
    #[error("{} is a key of type {is}, and the host's must be ed25519; {MAKE}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// Its type.
        is: String,
    },
    /// Another format.
    #[error("{} is a private key, but not in OpenSSH's own format; {MAKE}", _0.display())]
    Format(PathBuf),
    /// Not whole.
    #[error("{} is cut short or damaged; copy it again, or {MAKE}", _0.display())]
    Damaged(PathBuf),
    /// Something else.
    #[error("there is no private key in {}; {MAKE}", _0.display())]
    NoKey(PathBuf),
}

/// A key whose halves belong together.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HostKey {
    key: PrivateKey,
    private: String,
    public: String,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.fingerprint())
    }
}

impl HostKey {
    /// Reads the content of the file at `path`.
    pub(super) fn parse(path: &Path, content: &[u8]) -> Result<HostKey, Wrong> {
        let text = String::from_utf8_lossy(content);
        if !is_private(content) {
            let is_public = ssh_key::PublicKey::from_openssh(text.trim()).is_ok();
            return Err(if is_public {
                Wrong::Public(path.into())
            } else {
                Wrong::NoKey(path.into())
            });
        }
        if !text.contains("BEGIN OPENSSH PRIVATE KEY") {
            return Err(Wrong::Format(path.into()));
        }
        let text = text.trim().replace("\r\n", "\n") + "\n";
        let damaged = || Wrong::Damaged(path.into());
        let key = PrivateKey::from_openssh(&text).map_err(|_| damaged())?;
        if key.is_encrypted() {
            return Err(Wrong::Encrypted(path.into()));
        }
        // That its halves belong together was seen above: ssh-key derives the public one.
        let KeypairData::Ed25519(_) = key.key_data() else {
            return Err(Wrong::Type {
                path: path.into(),
                is: key.algorithm().to_string(),
            });
        };
        let private = key.to_openssh(LineEnding::LF).map_err(|_| damaged())?;
        let public = key.public_key().to_openssh().map_err(|_| damaged())?;
        Ok(HostKey {
            private: private.to_string(),
            public: public.trim_end().to_owned() + "\n",
            key,
        })
    }

    /// The private key's file, as OpenSSH writes it.
    pub(super) fn private(&self) -> &str {
        &self.private
    }

    /// The line of the `.pub` file.
    pub(super) fn public(&self) -> &str {
        &self.public
    }

    /// `SHA256:...`, as ssh-keygen prints it.
    pub(super) fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn made(folder: &Path, kind: &str, more: &[&str]) -> PathBuf {
        let path = folder.join(kind);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-C", "a host", "-f"])
            .arg(&path)
            .args(more)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        path
    }

    fn parse(path: &Path) -> Result<HostKey, Wrong> {
        HostKey::parse(path, &std::fs::read(path).unwrap())
    }

    #[test]
    fn a_key_of_ssh_keygens_goes_in_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = made(scratch.path(), "ed25519", &["-N", ""]);
        let key = parse(&path).unwrap();
        assert_eq!(key.private(), std::fs::read_to_string(&path).unwrap());
        let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        assert_eq!(key.public(), public);
        let listed = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(&path)
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains(&key.fingerprint()), "{listed}");
        assert_eq!(
            format!("{key:?}"),
            format!("HostKey({})", key.fingerprint())
        );
        // By way of Windows.
        let turned = key.private().replace('\n', "\r\n");
        assert_eq!(HostKey::parse(&path, turned.as_bytes()), Ok(key));
    }

    #[test]
    fn what_cannot_be_the_hosts_key_is_told_apart() {
        let scratch = tempfile::tempdir().unwrap();
        let rsa = made(scratch.path(), "rsa", &["-N", ""]);
        let is = "ssh-rsa".into();
        assert_eq!(
            parse(&rsa),
            Err(Wrong::Type {
                path: rsa.clone(),
                is
            })
        );
        let pem = made(scratch.path(), "ecdsa", &["-N", "", "-m", "PEM"]);
        assert_eq!(parse(&pem), Err(Wrong::Format(pem.clone())));
        let locked = made(scratch.path(), "ed25519", &["-N", "secret"]);
        assert_eq!(parse(&locked), Err(Wrong::Encrypted(locked.clone())));
        let wrong = parse(&locked).unwrap_err().to_string();
        assert!(
            wrong.ends_with("ssh-keygen -t ed25519 -N '' -f FILE"),
            "{wrong}"
        );
        let public = scratch.path().join("ed25519.pub");
        let wrong = parse(&public).unwrap_err().to_string();
        assert!(
            wrong.ends_with(&format!("private half, {}", locked.display())),
            "{wrong}"
        );
        let none = scratch.path().join("none");
        std::fs::write(&none, "nothing").unwrap();
        assert_eq!(parse(&none), Err(Wrong::NoKey(none.clone())));
    }

    #[test]
    fn a_damaged_key_is_noticed_wherever_the_damage_is() {
        let scratch = tempfile::tempdir().unwrap();
        let path = made(scratch.path(), "ed25519", &["-N", ""]);
        let good = std::fs::read_to_string(&path).unwrap();
        let begin = good.find('\n').unwrap() + 1;
        let end = good.rfind("\n-----END").unwrap();
        // The comment, and what stands after it, is not part of the key.
        for at in (begin..end - 40).filter(|&at| good.as_bytes()[at] != b'\n') {
            let mut bad = good.clone().into_bytes();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            if let Ok(key) = HostKey::parse(&path, &bad) {
                // A bit that base64 leaves unused.
                assert_eq!(key.private(), good, "at {at}");
            }
        }
        for length in 0..good.len() - 40 {
            assert!(HostKey::parse(&path, &good.as_bytes()[..length]).is_err());
        }
    }
}
