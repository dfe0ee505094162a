//! SSH keys, made and judged by OpenSSH's ssh-keygen.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::{Child, output};
use crate::command::finish;

/// A key pair of ssh-keygen's, ed25519, without a passphrase.
#[derive(Debug, Clone)]
pub struct SshKey {
    pub(crate) private: PathBuf,
    public: String,
}

impl SshKey {
    /// Makes `name` and `name.pub` in `folder`.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let private = folder.join(name);
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(&private);
        output(&mut command, None)?;
        Self::at(&private)
    }

    /// One that is there, by its private part; the public one is beside it.
    pub fn at(private: &Path) -> Result<Self> {
        let private = private.to_owned();
        let file = private.with_extension("pub");
        let public = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}", file.display()))?;
        Ok(Self {
            private,
            public: public.trim_end().to_owned(),
        })
    }

    /// The public key's line, as in authorized_keys: "ssh-ed25519 AAAA… name".
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The private key's file.
    pub fn private(&self) -> &Path {
        &self.private
    }
}

/// The fingerprint of a public key's line, as OpenSSH prints it: "SHA256:…".
pub fn fingerprint(public: &str) -> Result<String> {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-l", "-E", "sha256", "-f", "-"])
        .stdin(Stdio::piped());
    let mut child =
        Child::spawn_as_is(command.stdout(Stdio::piped()).stderr(Stdio::piped()), None)?;
    let mut stdin = child
        .streams()
        .stdin
        .take()
        .context("a pipe was asked for")?;
    writeln!(stdin, "{public}")?;
    drop(stdin);
    let finished = finish("ssh-keygen", child, Duration::from_secs(60))?.success()?;
    let word = finished.text();
    let word = word.split_whitespace().nth(1);
    Ok(word
        .with_context(|| format!("no fingerprint of {public:?}"))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Folder;

    #[test]
    fn fingerprints_are_openssh_s() -> Result<()> {
        let folder = Folder::new("unit.ssh_key.fingerprint")?;
        let key = SshKey::new(folder.path(), "host")?;
        let printed = output(
            Command::new("ssh-keygen").arg("-lf").arg(key.private()),
            None,
        )?;
        let printed = String::from_utf8(printed)?;
        let fingerprint = fingerprint(key.public())?;
        assert!(fingerprint.starts_with("SHA256:"), "{fingerprint}");
        assert!(printed.contains(&fingerprint), "{printed}");
        assert!(super::fingerprint("no key").is_err());
        Ok(())
    }
}
