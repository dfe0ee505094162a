//! The cleartext signature framework (RFC 9580, section 7): text that people can read, with signatures behind it.

use super::armor;

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";

/// A signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cleartext {
    /// Exactly what was signed, with line ends as they are hashed (CR LF), and none behind the last line. Only this may be
    /// believed: nothing in front of or behind it is in it.
    pub(crate) signed: Vec<u8>,
    /// The signature packets.
    pub(crate) signatures: Vec<u8>,
}

impl Cleartext {
    /// Takes it apart. As apt has it, there must be nothing else in front or behind.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Cleartext, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text (UTF-8)".to_owned())?;
        let mut lines = text.lines();
        if lines.next().map(str::trim_end) != Some(BEGIN) {
            return Err(format!("it does not begin with {BEGIN}"));
        }
        loop {
            match lines.next().map(str::trim_end) {
                Some("") => break,
                Some(line) if line.starts_with("Hash: ") => {}
                _ => return Err("its header has other lines than \"Hash: \"".into()),
            }
        }
        let mut signed = Vec::with_capacity(bytes.len());
        let mut first = true;
        loop {
            let line = lines.next().ok_or("it has no signature at its end")?;
            if line.trim_end() == SIGNATURE {
                break;
            }
            let line = match line.strip_prefix("- ") {
                Some(line) => line,
                None if line.starts_with('-') => {
                    return Err("a line in it begins with a dash that is not escaped".into());
                }
                None => line,
            };
            if !std::mem::take(&mut first) {
                signed.extend(b"\r\n");
            }
            // Blanks at the end of a line are not signed, and so not believed.
            signed.extend(line.trim_end_matches([' ', '\t', '\r']).as_bytes());
        }
        let mut lines = lines.map(str::trim_end);
        let signatures = armor::body(&mut lines)?;
        if lines.any(|line| !line.is_empty()) {
            return Err("there is something behind its signature".into());
        }
        Ok(Cleartext { signed, signatures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "-----BEGIN PGP SIGNATURE-----\n\nmQAB\n-----END PGP SIGNATURE-----\n";

    #[test]
    fn dashes_and_blanks() {
        let text = format!("{BEGIN}\nHash: SHA256\n\n- -dash\nb \t\n\n{TAIL}\n");
        let parsed = Cleartext::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed.signed, b"-dash\r\nb\r\n");
        assert_eq!(parsed.signatures, [0x99, 0, 1]);
    }

    #[test]
    fn nothing_stands_outside_of_what_is_signed() {
        for text in [
            format!("Evil: yes\n{BEGIN}\n\na\n{TAIL}"),
            format!("{BEGIN}\nEvil: yes\n\na\n{TAIL}"),
            format!("{BEGIN}\n\na\n{TAIL}Evil: yes\n"),
            format!("{BEGIN}\n\na\n{TAIL}{BEGIN}\n\nb\n{TAIL}"),
            format!("{BEGIN}\n\na\n{BEGIN}\n\nb\n{TAIL}"),
            format!("{BEGIN}\n\na\n"),
            format!("{BEGIN}\nHash: SHA256\n"),
            String::new(),
        ] {
            assert!(Cleartext::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
