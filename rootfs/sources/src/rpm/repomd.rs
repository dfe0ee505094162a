//! repomd.xml: where the list of packages is, by its digest.

use kedge_digest::{Algorithm, Digest};

use crate::proof::stranger;
use crate::xml::{Event, Xml};

/// The list of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Primary {
    /// Below the mirror.
    pub(super) file: String,
    pub(super) digest: Digest,
    pub(super) size: Option<u64>,
    /// What it unpacks to.
    pub(super) unpacked: Option<u64>,
}

/// Finds the list in repomd.xml.
pub(super) fn primary(bytes: &[u8]) -> Result<Primary, String> {
    let mut xml = Xml::new(bytes);
    let mut within = false;
    let (mut element, mut kind) = (String::new(), String::new());
    let (mut file, mut digest, mut size, mut unpacked) = (None, None, None, None);
    while let Some(event) = xml.next().map_err(|error| error.to_string())? {
        match &event {
            Event::Start(name, _) if name == "data" => {
                within = event.attribute("type") == Some("primary");
            }
            Event::Start(name, _) if within => {
                element.clone_from(name);
                kind = event.attribute("type").unwrap_or_default().to_owned();
                if name == "location" {
                    file = event.attribute("href").map(str::to_owned);
                }
            }
            Event::Text(text) if within => match &*element {
                "checksum" => digest = checksum(&kind, text),
                "size" => size = text.parse().ok(),
                "open-size" => unpacked = text.parse().ok(),
                _ => {}
            },
            Event::End(name) => {
                within &= name != "data";
                element.clear();
            }
            _ => {}
        }
    }
    match (file, digest) {
        (Some(file), Some(digest)) => Ok(Primary {
            file,
            digest,
            size,
            unpacked,
        }),
        (None, _) => Err(format!("it names no list of packages{}", stranger(bytes))),
        (_, None) => Err("it names its list of packages by no SHA-256 or SHA-512".into()),
    }
}

/// A digest that is believed.
pub(super) fn checksum(kind: &str, text: &str) -> Option<Digest> {
    let algorithm = match kind {
        "sha256" => Algorithm::Sha256,
        "sha512" => Algorithm::Sha512,
        _ => return None,
    };
    Digest::from_hex(algorithm, text)
}
