//! What comes from servers, or says which to ask.

use kedge_web::download::Resolve;
use kedge_web::header::{ContentRange, Validator, number};
use kedge_web::{Address, join, shown};

/// A URL, and after a line end where it is said to lead.
pub fn url(data: &[u8]) {
    let (base, location) =
        data.split_at(data.iter().position(|&b| b == b'\n').unwrap_or(data.len()));
    let text = String::from_utf8_lossy(base);
    shown(&text);
    Resolve::parse(&text);
    if let Ok(address) = Address::parse(&text)
        && let Ok(next) = join(&address.url, location)
    {
        // Where a redirect leads is a URL, without anything that could end a line of the request.
        assert!(
            next.url.bytes().all(|b| b.is_ascii_graphic()),
            "{}",
            next.url
        );
        assert!(Address::parse(&next.url).is_ok(), "{}", next.url);
    }
}

/// Fields of a header.
pub fn http(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(range) = ContentRange::parse(&text) {
        assert!(range.first <= range.last && range.whole.is_none_or(|whole| range.last < whole));
    }
    number(&text);
    let (tag, modified) = text.split_once('\n').unwrap_or((&text, ""));
    if let Some(validator) = Validator::of(Some(tag), Some(modified)) {
        assert!(validator.as_str().bytes().all(|b| matches!(b, b' '..=b'~')));
    }
}

/// A server's whole answer, to who has 100 bytes already, or none.
pub fn http_answer(data: &[u8]) {
    let Some((&first, answer)) = data.split_first() else {
        return;
    };
    kedge_web::fuzz::answer(answer, u64::from(first % 2) * 100);
}

/// The index of packs.
pub fn pack_index(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(index) = kedge_pack_index::Index::parse(&text) {
        // What is written is read again.
        assert!(kedge_pack_index::Index::parse(&index.to_text()).as_ref() == Ok(&index));
    }
}

/// The first bytes say what is taken off.
pub fn ssh_wire(data: &[u8]) {
    let (wishes, message) = data.split_at(data.len().min(16));
    let mut reader = kedge_ssh_wire::Reader::new(message);
    for wish in wishes {
        let failed = match wish % 8 {
            0 => reader.byte().is_err(),
            1 => reader.boolean().is_err(),
            2 => reader.u32().is_err(),
            3 => reader.u64().is_err(),
            4 => reader.string().is_err(),
            5 => reader.text().is_err(),
            6 => reader.positive().is_err(),
            _ => reader.bytes(usize::from(*wish)).is_err(),
        };
        if failed {
            break;
        }
    }
    assert!(reader.rest().len() <= message.len());
    if let Ok(fixed) = kedge_ssh_wire::ecdsa_fixed(data, 32) {
        assert_eq!(fixed.len(), 64);
    }
}

/// Packages, in each packing.
pub fn apt_index(data: &[u8]) {
    kedge_sources::fuzz::apt_index(data);
}

/// Release, and its dates.
pub fn apt_release(data: &[u8]) {
    kedge_sources::fuzz::apt_release(data);
}

/// sources.list, in both styles.
pub fn apt_sources(data: &[u8]) {
    kedge_sources::fuzz::apt_sources(data);
}

/// Keyrings, signatures, signed texts.
pub fn openpgp(data: &[u8]) {
    kedge_sources::fuzz::openpgp(data);
}

/// Two versions, one a line.
pub fn versions(data: &[u8]) {
    kedge_sources::fuzz::versions(data);
}

/// APKINDEX, a package of apk's, a key.
pub fn apk_index(data: &[u8]) {
    kedge_sources::fuzz::apk_index(data);
}

/// A mirror's database of packages, and pacman.conf.
pub fn pacman_db(data: &[u8]) {
    kedge_sources::fuzz::pacman_db(data);
}

/// repomd.xml, primary.xml, a metalink.
pub fn rpm_metadata(data: &[u8]) {
    kedge_sources::fuzz::rpm_metadata(data);
}

/// A package and the signature in it.
pub fn rpm_package(data: &[u8]) {
    kedge_sources::fuzz::rpm_package(data);
}

/// `.repo` files.
pub fn rpm_sources(data: &[u8]) {
    kedge_sources::fuzz::rpm_sources(data);
}
