//! What the parsers of this crate make of any bytes: for the fuzz targets of tests/fuzz, and for nobody else.

use std::collections::HashSet;

use kedge_packages::Family;

use crate::openpgp::{Cleartext, Detached, Keyring, OwnerTrust};
use crate::{apk, apt, date, pacman, rpm, version};

/// `Packages`, packed or not.
pub fn apt_index(data: &[u8]) {
    apt::fuzz::index(data);
}

/// `Release`, when its signature was good.
pub fn apt_release(data: &[u8]) {
    apt::fuzz::release(data);
    date::parse(&String::from_utf8_lossy(data));
}

/// `sources.list`, in both styles.
pub fn apt_sources(data: &[u8]) {
    apt::fuzz::sources(data);
}

/// A keyring, a signed text, a signature: the same bytes as each, and one checked against the other.
pub fn openpgp(data: &[u8]) {
    const NOW: u64 = 1_800_000_000;
    let mut keyring = Keyring::default();
    let _ = keyring.add(data, "fuzz");
    let mut signatures = Detached::all(data).unwrap_or_default();
    let mut signed = data.to_vec();
    if let Ok(text) = Cleartext::parse(data) {
        signatures.extend(Detached::all(&text.signatures).unwrap_or_default());
        is_signed(data, &text.signed);
        signed = text.signed;
    }
    // The same signatures over and over only take time.
    signatures.truncate(16);
    let _ = keyring.verify(&signatures, &signed, NOW);
    let _ = keyring.verify_lasting(&signatures, &signed, NOW);
    OwnerTrust::of_trustdb(data);
    OwnerTrust::default().add_trusted(&String::from_utf8_lossy(data));
}

/// That what is signed of a text is all of it, in its order, and nothing else.
fn is_signed(text: &[u8], signed: &[u8]) {
    let (text, signed) = (
        String::from_utf8_lossy(text),
        String::from_utf8_lossy(signed),
    );
    let mut lines = text.lines();
    lines.by_ref().find(|line| line.trim_end().is_empty());
    let lines = lines.take_while(|line| line.trim_end() != "-----BEGIN PGP SIGNATURE-----");
    let lines = lines.map(|line| line.strip_prefix("- ").unwrap_or(line));
    let lines: Vec<&str> = lines
        .map(|line| line.trim_end_matches([' ', '\t', '\r']))
        .collect();
    assert_eq!(lines.join("\r\n"), signed);
}

/// Two versions, parted by a line end: the order of each family turns round with them.
pub fn versions(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (a, b) = text.split_once('\n').unwrap_or((&text, ""));
    for family in [Family::Dpkg, Family::Rpm, Family::Pacman, Family::Apk] {
        let order = version::compare(family, a, b);
        assert_eq!(
            order,
            version::compare(family, b, a).reverse(),
            "{family:?}"
        );
        assert!(version::compare(family, a, a).is_eq(), "{family:?}");
    }
}

/// APKINDEX, a package of apk's, a key: the same bytes as each.
pub fn apk_index(data: &[u8]) {
    apk::fuzz(data, &HashSet::from(["musl".to_string()]));
}

/// A database of pacman's, a package's part of it, pacman.conf: the same bytes as each.
pub fn pacman_db(data: &[u8]) {
    pacman::fuzz(data, &HashSet::from(["bash".to_string()]));
}

/// repomd.xml, primary.xml, a metalink: the same bytes as each.
pub fn rpm_metadata(data: &[u8]) {
    rpm::fuzz_metadata(data, &HashSet::from(["bash".to_string()]));
}

/// `.repo` files.
pub fn rpm_sources(data: &[u8]) {
    rpm::fuzz_sources(data);
}

/// A package and the signature in it.
pub fn rpm_package(data: &[u8]) {
    rpm::fuzz_package(data);
}
