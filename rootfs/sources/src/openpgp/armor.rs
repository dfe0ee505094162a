//! ASCII armor (RFC 9580, section 6): Base64 between two lines.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// `bytes` as they are, or the contents of all armors in them, one behind the other.
pub(crate) fn bytes(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // No packet begins with an ASCII character.
    if bytes.first().is_some_and(|b| b & 0x80 != 0) {
        return Ok(bytes.to_vec());
    }
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim_end);
    let mut found = Vec::new();
    let mut any = false;
    while let Some(line) = lines.next() {
        if line.starts_with("-----BEGIN PGP ") && line.ends_with("-----") {
            any = true;
            found.extend(body(&mut lines)?);
        }
    }
    if any {
        Ok(found)
    } else {
        Err("it is neither OpenPGP packets nor an ASCII armor of them".into())
    }
}

/// What stands behind the line that begins an armor, up to the line that ends it.
pub(super) fn body<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Vec<u8>, String> {
    // Headers ("Version: ...") and an empty line; some write neither.
    let mut encoded = String::new();
    for line in &mut *lines {
        if line.is_empty() {
            break;
        }
        if !line.contains(": ") {
            encoded.push_str(line);
            break;
        }
    }
    let mut ended = false;
    for line in lines {
        if line.starts_with("-----END PGP ") {
            ended = true;
            break;
        }
        // The checksum (CRC-24) is of use on paper only: the signature is a better one.
        if !line.starts_with('=') {
            encoded.push_str(line.trim());
        }
    }
    if !ended {
        return Err("the ASCII armor does not end".into());
    }
    BASE64
        .decode(encoded.as_bytes())
        .map_err(|_| "the ASCII armor is damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_armors_and_text_between_them() {
        let text = b"Debian's key\n\n-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\nmQ\n\
            AB\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n \n-----BEGIN PGP PUBLIC KEY BLOCK-----\r\n\r\n\
            mQAC\r\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(bytes(text).unwrap(), [0x99, 0, 1, 0x99, 0, 2]);
    }

    #[test]
    fn what_is_no_armor_or_is_cut_off_is_an_error() {
        for text in [
            "",
            "<!DOCTYPE html>",
            "-----BEGIN PGP X-----\n\nmQAB\n",
            "-----BEGIN PGP X-----\n\nm*AB\n-----END PGP X-----\n",
        ] {
            assert!(bytes(text.as_bytes()).is_err(), "{text}");
        }
    }
}
