//! What apt's parsers make of any bytes: for the fuzz targets.

use std::collections::HashSet;

use super::{entries, index, release};

/// An index is seen whole before it is believed, and unpacked to so much at most here.
const MOST: u64 = 4 << 20;

pub(crate) fn index(data: &[u8]) {
    let names = HashSet::from(["hello".to_string()]);
    let _ = index::hits(&mut &data[..], MOST, &names);
}

pub(crate) fn release(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(release) = release::Release::parse(&text, String::new()) {
        release.packed("main/binary-amd64/Packages");
        release.plain("main/binary-amd64/Packages");
        release.lists_any();
    }
}

pub(crate) fn sources(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    entries::lines(&text, "etc/apt/sources.list");
    entries::stanzas(&text, "etc/apt/sources.list.d/x.sources");
}
