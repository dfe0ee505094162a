//! Who may log in: lines of `.pub` files and of `authorized_keys` (sshd(8)).
//!
//! A line that the image's sshd would not take stops the build: it would be missed at the worst
//! moment, when nobody can log in.

use std::path::{Path, PathBuf};

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};

/// Why something is no public key for the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A secret where a public key belongs.
    #[error(
        "that is a PRIVATE key, which stays with its owner; what belongs here is the line of its \
         .pub file"
    )]
    PrivateInline,
    /// The same, in a file.
    #[error("{} is a PRIVATE key, which stays with its owner; give {}{}", path.display(),
        public.display(), if public.exists() { "" } else { " (ssh-keygen -y -f KEY > KEY.pub makes it)" })]
    PrivateFile {
        /// The file.
        path: PathBuf,
        /// Where its other half should be.
        public: PathBuf,
    },
    /// A file without any key.
    #[error("there is no key in {}", _0.display())]
    Empty(PathBuf),
    /// A line of a file.
    #[error("{} line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: Box<Wrong>,
    },
    /// Nothing in it looks like a key.
    #[error("there is no public key in {0:?}; one looks like this: ssh-ed25519 AAAAC3Nza... name")]
    NoKey(String),
    /// The type in front is not the type inside.
    #[error("it says {said}, but the key in it is of type {is}")]
    Mismatch {
        /// What stands in front.
        said: String,
        /// What the key says.
        is: String,
    },
    /// The key is not whole.
    #[error("the {0} key is cut short or damaged; copy the whole line of the .pub file")]
    Damaged(String),
    /// sshd does not know it.
    #[error("keys of type {0} cannot be used; make one with: ssh-keygen -t ed25519")]
    Type(String),
    /// sshd does not know the restriction.
    #[error(
        "the option {0:?} is not known to kedge's sshd, which would not take the key; known are \
         from=, command=, restrict, pty, no-pty, port-forwarding, no-port-forwarding, \
         no-agent-forwarding, no-x11-forwarding and no-user-rc"
    )]
    Option(String),
}

/// A key that may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    options: String,
    key: ssh_key::PublicKey,
    comment: String,
}

impl PublicKey {
    /// The line of `authorized_keys`, with its end.
    pub(super) fn line(&self) -> String {
        let blank = if self.options.is_empty() { "" } else { " " };
        let key = self.key.to_openssh().unwrap_or_default();
        format!("{}{blank}{key}\n", self.options)
    }

    /// `SHA256:...`, as ssh-keygen prints it.
    pub(super) fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Whose it is, as far as the line says.
    pub(super) fn comment(&self) -> &str {
        &self.comment
    }

    pub(super) fn is_same_key(&self, other: &PublicKey) -> bool {
        self.key.key_data() == other.key.key_data()
    }

    fn parse(line: &str) -> Result<PublicKey, Wrong> {
        if is_private(line.as_bytes()) {
            return Err(Wrong::PrivateInline);
        }
        if let Some(key) = key(line) {
            return key;
        }
        // Options come first, without blanks but in quotes.
        let (options, rest) = line.split_at(end_before(char::is_whitespace, line));
        let Some(key) = key(rest.trim_start()) else {
            return Err(Wrong::NoKey(excerpt(line)));
        };
        let mut key = key?;
        check_options(options)?;
        key.options = options.into();
        Ok(key)
    }
}

/// The keys in the lines that stand in `kedge.toml` itself.
pub(super) fn inline(text: &str) -> Result<Vec<PublicKey>, Wrong> {
    if is_private(text.as_bytes()) {
        return Err(Wrong::PrivateInline);
    }
    let keys: Result<Vec<_>, _> = lines(text)
        .map(|(_, line)| PublicKey::parse(line))
        .collect();
    match keys {
        Ok(keys) if keys.is_empty() => Err(Wrong::NoKey(excerpt(text))),
        keys => keys,
    }
}

/// The keys in a `.pub` or `authorized_keys` file.
pub(super) fn file(path: &Path, content: &[u8]) -> Result<Vec<PublicKey>, Wrong> {
    if is_private(content) {
        let mut public = path.as_os_str().to_os_string();
        public.push(".pub");
        return Err(Wrong::PrivateFile {
            path: path.into(),
            public: public.into(),
        });
    }
    let text = String::from_utf8_lossy(content);
    let keys: Result<Vec<_>, _> = lines(&text)
        .map(|(number, line)| {
            PublicKey::parse(line).map_err(|why| Wrong::Line {
                path: path.into(),
                line: number,
                why: Box::new(why),
            })
        })
        .collect();
    match keys {
        Ok(keys) if keys.is_empty() => Err(Wrong::Empty(path.into())),
        keys => keys,
    }
}

/// Those that are neither empty nor comments, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines().map(str::trim))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// OpenSSH's, PEM's and PuTTY's private keys.
pub(super) fn is_private(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    text.contains("PRIVATE KEY-----") || text.trim_start().starts_with("PuTTY-User-Key-File")
}

/// `TYPE BASE64 COMMENT`; `None` when it does not begin with that.
fn key(text: &str) -> Option<Result<PublicKey, Wrong>> {
    let mut words = text.split_whitespace();
    let kind = words.next()?;
    let known = ["ssh-", "ecdsa-", "sk-"];
    // An option has no hyphens in such places, and a value in quotes.
    if !known.iter().any(|prefix| kind.starts_with(prefix)) || kind.contains(['=', '"', ',']) {
        return None;
    }
    let blob = words.next().unwrap_or_default();
    let comment = words.collect::<Vec<_>>().join(" ");
    let line = format!("{kind} {blob} {comment}");
    Some(match ssh_key::PublicKey::from_openssh(line.trim_end()) {
        Ok(key) if is_known(&key) => Ok(PublicKey {
            options: String::new(),
            key,
            comment,
        }),
        Ok(_) => Err(Wrong::Type(excerpt(kind))),
        Err(_) => Err(why_no_key(kind, blob)),
    })
}

/// Those whose signatures the image's sshd checks.
fn is_known(key: &ssh_key::PublicKey) -> bool {
    match key.key_data() {
        KeyData::Rsa(rsa) => (2048..=8192).contains(&rsa.key_size()),
        _ => matches!(
            key.algorithm(),
            Algorithm::Ed25519
                | Algorithm::SkEd25519
                | Algorithm::SkEcdsaSha2NistP256
                | Algorithm::Ecdsa {
                    curve: EcdsaCurve::NistP256 | EcdsaCurve::NistP384,
                }
        ),
    }
}

/// The key's own bytes begin with its type, after the type's length (RFC 4253, section 6.6).
fn why_no_key(said: &str, blob: &str) -> Wrong {
    // Whole groups of four letters can be read, however much is missing after them.
    let inside = (1..=blob.len() / 4)
        .rev()
        .find_map(|groups| decode(blob.get(..groups * 4)?));
    let is = inside.as_deref().and_then(|bytes| {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let name = rest.get(..usize::try_from(length).ok()?)?;
        std::str::from_utf8(name).ok()
    });
    match is {
        Some(is) if is != said => Wrong::Mismatch {
            said: excerpt(said),
            is: excerpt(is),
        },
        _ if matches!(
            said.parse::<Algorithm>(),
            Err(_) | Ok(Algorithm::Dsa | Algorithm::Other(_))
        ) =>
        {
            Wrong::Type(excerpt(said))
        }
        _ => Wrong::Damaged(excerpt(said)),
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(text).ok()
}

/// Where the first such character stands that is not in quotes; the end when there is none.
fn end_before(separates: impl Fn(char) -> bool, text: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (place, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            c if separates(c) && !quoted => return place,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// A restriction that sshd does not know makes a line worthless.
fn check_options(text: &str) -> Result<(), Wrong> {
    let mut rest = text;
    while !rest.is_empty() {
        let (option, after) = rest.split_at(end_before(|c| c == ',', rest));
        rest = after.strip_prefix(',').unwrap_or(after);
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let fine = match name.to_ascii_lowercase().as_str() {
            "restrict"
            | "pty"
            | "no-pty"
            | "port-forwarding"
            | "no-port-forwarding"
            | "no-agent-forwarding"
            | "no-x11-forwarding"
            | "no-user-rc" => value.is_none(),
            "command" | "from" => value.is_some_and(|value| {
                value.len() > 2 && value.starts_with('"') && value.ends_with('"')
            }),
            _ => false,
        };
        if !fine {
            return Err(Wrong::Option(excerpt(option)));
        }
    }
    Ok(())
}

/// As much of a text as helps to find it.
fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIHw/97aFen4cjUHpyWY7ilLjh3BuBr/RFuOltda/uP3m";
    // ssh-keygen -lf of it.
    const FINGERPRINT: &str = "SHA256:CDbKTkvfF8UN3IEmz0UQ2qOrnJjgcXOlhmeBeSUPt88";

    #[test]
    fn a_line_keeps_options_and_comment() {
        for (given, written, comment) in [
            (
                format!("ssh-ed25519 {BLOB}"),
                format!("ssh-ed25519 {BLOB}\n"),
                "",
            ),
            (
                format!("  ssh-ed25519   {BLOB}\tme at home \r\n"),
                format!("ssh-ed25519 {BLOB} me at home\n"),
                "me at home",
            ),
            (
                format!("restrict,pty,command=\"echo a  b\" ssh-ed25519 {BLOB} me"),
                format!("restrict,pty,command=\"echo a  b\" ssh-ed25519 {BLOB} me\n"),
                "me",
            ),
        ] {
            let keys = inline(&given).unwrap();
            assert_eq!(keys.len(), 1);
            assert_eq!(keys[0].line(), written);
            assert_eq!(keys[0].comment(), comment);
            assert_eq!(keys[0].fingerprint(), FINGERPRINT);
        }
    }

    #[test]
    fn a_file_of_several_keys_names_the_line_that_is_wrong() {
        let path = Path::new("keys");
        let good = format!("# mine\n\nssh-ed25519 {BLOB} a\r\nssh-ed25519 {BLOB} b\n");
        assert_eq!(file(path, good.as_bytes()).unwrap().len(), 2);
        let wrong = file(path, (good + "ssh-ed25519 AAAA c\n").as_bytes()).unwrap_err();
        assert!(
            wrong
                .to_string()
                .starts_with("keys line 5: the ssh-ed25519 key is cut"),
            "{wrong}"
        );
        assert_eq!(file(path, b"# none\n"), Err(Wrong::Empty("keys".into())));
    }

    #[test]
    fn what_is_no_usable_key_is_told_apart() {
        let said = |kind: &str, blob: &str| inline(&format!("{kind} {blob} me")).unwrap_err();
        let rsa = "AAAAB3NzaC1yc2EAAAADAQAB"; // begins with ssh-rsa; cut short
        assert_eq!(
            said("ssh-ed25519", rsa),
            Wrong::Mismatch {
                said: "ssh-ed25519".into(),
                is: "ssh-rsa".into()
            }
        );
        assert_eq!(said("ssh-rsa", rsa), Wrong::Damaged("ssh-rsa".into()));
        assert_eq!(
            said("ssh-ed25519", &BLOB[..40]),
            Wrong::Damaged("ssh-ed25519".into())
        );
        assert_eq!(
            said("ssh-ed25519", &BLOB[..66]),
            Wrong::Damaged("ssh-ed25519".into())
        );
        assert_eq!(
            said("ssh-ed25519", ""),
            Wrong::Damaged("ssh-ed25519".into())
        );
        assert_eq!(
            said("ssh-dss", "AAAAB3NzaC1kc3M"),
            Wrong::Type("ssh-dss".into())
        );
        assert_eq!(inline(""), Err(Wrong::NoKey(String::new())));
        assert_eq!(
            inline("id_ed25519.pub"),
            Err(Wrong::NoKey("id_ed25519.pub".into()))
        );
        assert_eq!(
            inline(&format!("cert-authority ssh-ed25519 {BLOB}")),
            Err(Wrong::Option("cert-authority".into()))
        );
        assert!(inline(&format!("from=\"10.0.0.0/8 ssh-ed25519 {BLOB}")).is_err());
        // Hostile bytes do not panic.
        for text in [
            "\u{e9}\u{e9}\u{e9}",
            "ssh-\u{e9} \u{e9}\u{e9}\u{e9}\u{e9} x",
            "\"",
            "a=\"\\",
        ] {
            assert!(inline(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_private_key_is_refused_by_the_name_of_its_public_half() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("id");
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\n";
        let wrong = file(&path, private.as_bytes()).unwrap_err().to_string();
        assert!(wrong.contains("id.pub (ssh-keygen -y"), "{wrong}");
        std::fs::write(scratch.path().join("id.pub"), "").unwrap();
        let wrong = file(&path, private.as_bytes()).unwrap_err().to_string();
        assert!(wrong.ends_with("id.pub"), "{wrong}");
        assert!(!wrong.contains("b3Blb"), "{wrong}");
        assert_eq!(inline(private), Err(Wrong::PrivateInline));
    }
}
