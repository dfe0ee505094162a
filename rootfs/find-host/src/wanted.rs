//! Which host keys are looked for: fingerprints, keys, and the files that hold them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::host_key::{Family, decode, fingerprint, type_of};

/// Why a key cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not in any of the forms.
    #[error(
        "'{0}' is no host key: give its fingerprint (SHA256:...), the key itself \
         (ssh-ed25519 AAAA...), or a file of such lines (ssh_host_*.pub, known_hosts)"
    )]
    NoKey(String),
    /// `MD5:...`, or colons and hexadecimal digits.
    #[error(
        "'{0}' is a fingerprint by MD5, which can be forged; ssh-keygen -lf KEYFILE prints that by \
         SHA256"
    )]
    Md5(String),
    /// A file that holds none.
    #[error("{0}: there is no host key in it")]
    EmptyFile(String),
    /// A file that cannot be read.
    #[error("cannot read {0}: {1}")]
    File(String, String),
}

/// The keys, by fingerprint, as OpenSSH prints it: `SHA256:` and 43 letters of base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    fingerprints: BTreeSet<String>,
    /// Kinds of the keys that were given; `None` once a fingerprint was, which does not say.
    families: Option<BTreeSet<Family>>,
}

impl Wanted {
    /// From what `--host-key` was given, any number of times. None at all means: every key.
    ///
    /// # Errors
    /// When an argument is neither fingerprint nor key nor a file of keys.
    pub fn parse<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<Wanted, Error> {
        let mut wanted = Wanted {
            fingerprints: BTreeSet::new(),
            families: Some(BTreeSet::new()),
        };
        for argument in arguments {
            wanted.add(argument)?;
        }
        Ok(wanted)
    }

    fn add(&mut self, argument: &str) -> Result<(), Error> {
        let shown = || {
            argument
                .chars()
                .take(60)
                .collect::<String>()
                .escape_debug()
                .to_string()
        };
        if let Some(digest) = argument.strip_prefix("SHA256:") {
            // ssh-keygen of old pads with "="; 32 bytes are 43 letters, of which the last holds 4 bits.
            let digest = digest.trim_end_matches('=');
            let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
            if digest.len() != 43 || !digest.bytes().all(letter) {
                return Err(Error::NoKey(shown()));
            }
            self.fingerprints.insert(format!("SHA256:{digest}"));
            self.families = None;
            return Ok(());
        }
        let hex = argument.strip_prefix("MD5:").unwrap_or(argument);
        if hex.len() == 47 && hex.split(':').all(|two| two.len() == 2) {
            return Err(Error::Md5(shown()));
        }
        if let Some(key) = key_in(argument) {
            self.add_key(&key);
            return Ok(());
        }
        self.add_file(argument, &shown())
    }

    fn add_file(&mut self, path: &str, shown: &str) -> Result<(), Error> {
        if !Path::new(path).exists() {
            return Err(Error::NoKey(shown.into()));
        }
        let text =
            std::fs::read(path).map_err(|error| Error::File(shown.into(), error.to_string()))?;
        let text = String::from_utf8_lossy(&text);
        let keys: Vec<_> = text.lines().filter_map(key_in).collect();
        if keys.is_empty() {
            return Err(Error::EmptyFile(shown.into()));
        }
        keys.iter().for_each(|key| self.add_key(key));
        Ok(())
    }

    fn add_key(&mut self, blob: &[u8]) {
        self.fingerprints.insert(fingerprint(blob));
        if let Some(families) = &mut self.families {
            families.extend(type_of(blob).and_then(Family::of));
        }
    }

    /// Whether every key is of interest.
    pub fn everything(&self) -> bool {
        self.fingerprints.is_empty()
    }

    /// Whether this is one of them.
    pub fn is(&self, fingerprint: &str) -> bool {
        self.fingerprints.contains(fingerprint)
    }

    /// The kinds of key that a server should be asked for.
    pub fn families(&self) -> Vec<Family> {
        Family::ALL
            .into_iter()
            .filter(|family| match &self.families {
                Some(families) if !self.everything() => families.contains(family),
                _ => true,
            })
            .collect()
    }
}

/// The key in a line of a public key file, of `known_hosts`, or of `ssh-keyscan`: a word that names
/// a type, and the word after it.
fn key_in(line: &str) -> Option<Vec<u8>> {
    let words: Vec<&str> = line.split_whitespace().take(5).collect();
    words.windows(2).find_map(|two| {
        Family::of(two[0])?;
        decode(two[0], two[1])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHw/97aFen4cjUHpyWY7ilLjh3BuBr/RFuOltda/uP3m";
    // ssh-keygen -lf of the line above.
    const FINGERPRINT: &str = "SHA256:CDbKTkvfF8UN3IEmz0UQ2qOrnJjgcXOlhmeBeSUPt88";

    fn parse(arguments: &[&str]) -> Result<Wanted, Error> {
        Wanted::parse(arguments.iter().copied())
    }

    #[test]
    fn a_key_is_known_in_each_of_its_forms() {
        let folder = std::env::temp_dir().join(format!("kedge-wanted-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (hosts, public) = (
            folder.join("known_hosts"),
            folder.join("ssh_host_ed25519_key.pub"),
        );
        std::fs::write(
            &hosts,
            format!("# comment\n@revoked h {KEY}\n|1|a=|b= {KEY} c\nh x y\n"),
        )
        .unwrap();
        std::fs::write(&public, format!("{KEY} root@host\n")).unwrap();
        for form in [
            FINGERPRINT,
            &format!("{FINGERPRINT}="),
            KEY,
            &format!("{KEY} root@host"),
            &format!("192.0.2.1 {KEY}"),
            hosts.to_str().unwrap(),
            public.to_str().unwrap(),
        ] {
            let wanted = parse(&[form]).unwrap();
            assert!(wanted.is(FINGERPRINT), "{form}");
            assert!(!wanted.everything());
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn only_kinds_that_can_match_are_asked_for() {
        assert_eq!(parse(&[KEY]).unwrap().families(), [Family::Ed25519]);
        assert_eq!(parse(&[FINGERPRINT]).unwrap().families(), Family::ALL);
        assert_eq!(parse(&[KEY, FINGERPRINT]).unwrap().families(), Family::ALL);
        assert_eq!(parse(&[]).unwrap().families(), Family::ALL);
        assert!(parse(&[]).unwrap().everything());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for wrong in [
            "",
            "SHA256:",
            "SHA256:short",
            "SHA256:CDbKTkvfF8UN3IEmz0UQ2qOrnJjgcXOlhmeBeSUPt8!",
            "ssh-ed25519 AAAA",
            "ssh-ed25519",
            "/nonexistent",
        ] {
            assert!(matches!(parse(&[wrong]), Err(Error::NoKey(_))), "{wrong}");
        }
        let md5 = "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48";
        assert!(matches!(parse(&[md5]), Err(Error::Md5(_))));
        assert!(matches!(parse(&["/dev/null"]), Err(Error::EmptyFile(_))));
    }
}
