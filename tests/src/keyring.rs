//! OpenPGP keys of the tests' own, and the real gpg that signs with them.
//!
//! ```ignore
//! let public = new_key(&keys, "signing.asc")?;   // in files, to be kept
//! let keyring = Keyring::new()?;                 // in a home of gpg's, for one job
//! let fingerprint = keyring.generate("Packager <packager@kedge.example>", "sign")?;
//! output(keyring.gpg(&["--detach-sign", "--output"]).arg(signature).arg(file), None)?;
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::child::output;

/// Makes a key pair in `folder`, in a file of this name; gives the public part, armoured.
pub fn new_key(folder: &Path, name: &str) -> Result<String> {
    let home = Keyring::new()?;
    home.generate("kedge's tests <tests@kedge.example>", "sign")?;
    let secret = output(&mut home.gpg(&["--armor", "--export-secret-keys"]), None)?;
    let public = output(&mut home.gpg(&["--armor", "--export"]), None)?;
    ensure!(!secret.is_empty(), "gpg made no key");
    fs::write(folder.join(name), secret)?;
    Ok(String::from_utf8(public)?)
}

/// A home of GnuPG's for one job: its agent ends with it.
#[derive(Debug)]
pub struct Keyring(PathBuf);

impl Keyring {
    /// An empty one.
    pub fn new() -> Result<Self> {
        // In /tmp: the agent's socket must have a short name.
        let made = output(
            Command::new("mktemp").args(["-d", "/tmp/kedge-gpg-XXXXXX"]),
            None,
        )?;
        Ok(Self(String::from_utf8(made)?.trim_end().into()))
    }

    /// Where it is: `GNUPGHOME` of programs that call gpg themselves.
    pub fn home(&self) -> &Path {
        &self.0
    }

    /// A command that is gpg with these arguments.
    pub fn gpg(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.0);
        command.args(["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback"]);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Makes a key for `who`, to `sign` or to `cert`ify others; gives its fingerprint.
    pub fn generate(&self, who: &str, usage: &str) -> Result<String> {
        let mut gpg = self.gpg(&["--passphrase", "", "--quick-generate-key"]);
        output(gpg.args([who, "ed25519", usage, "never"]), None)?;
        let mut gpg = self.gpg(&["--with-colons", "--list-keys"]);
        let listed = String::from_utf8(output(gpg.arg(who), None)?)?;
        let print = listed.lines().find_map(|line| line.strip_prefix("fpr:"));
        let print = print.with_context(|| format!("gpg lists no key of {who}"))?;
        Ok(print.trim_matches(':').to_owned())
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let mut gpgconf = Command::new("gpgconf");
        gpgconf
            .arg("--homedir")
            .arg(&self.0)
            .args(["--kill", "all"]);
        let _ = output(&mut gpgconf, None);
        let _ = fs::remove_dir_all(&self.0);
    }
}
