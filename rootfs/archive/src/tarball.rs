//! What is a compressed tar archive as a whole: `.pkg.tar.*` (pacman) and `.apk` (version 2: up to three gzip members,
//! for signature, control and content, whose archives follow each other as if they were one).
//!
//! Both name themselves in `.PKGINFO`, as `key = value`; what begins with a dot is about the package and not in it.

use std::io::Read;

use kedge_packages::{Family, Package};

use crate::tar::Tar;
use crate::unpack::unpack;
use crate::{Each, Error, Packed, damaged};

/// More than any `.PKGINFO` is.
const MOST_INFO: u64 = 4 << 20;
/// Members before `.PKGINFO`: signatures, `.BUILDINFO`, `.MTREE`, `.INSTALL`; and what they and it unpack to.
const MOST_BEFORE: usize = 64;
const MOST_UNPACKED: u64 = 64 << 20;

/// As [`crate::read`]. Without `each`, only as far as to know which package it is.
pub(crate) fn read(from: Packed, each: Option<Each>) -> Result<Package, Error> {
    let mut tar = Tar::new(unpack(from)?);
    tar.inner().at_most(MOST_UNPACKED);
    let mut signed = false;
    for _ in 0..MOST_BEFORE {
        let Some(member) = tar.next()? else { break };
        let name = member.path.to_string_lossy();
        signed |= name.starts_with(".SIGN.");
        if name == ".PKGINFO" {
            let mut text = Vec::new();
            (&mut tar).take(MOST_INFO).read_to_end(&mut text)?;
            let package = info(&String::from_utf8_lossy(&text), signed)?;
            if let Some(mut each) = each {
                tar.inner().at_most(u64::MAX);
                crate::each_member_but(&mut tar, &mut each, is_about).map(drop)?;
            }
            return Ok(package);
        }
        if !is_about(&member) {
            break;
        }
    }
    Err(damaged(
        "it has no .PKGINFO, so it is neither Arch's nor Alpine's",
    ))
}

/// Whether it is about the package rather than in it.
fn is_about(member: &crate::Member) -> bool {
    let first = member.path.components().next();
    first.is_none_or(|first| first.as_os_str().as_encoded_bytes().starts_with(b"."))
}

fn info(text: &str, signed: bool) -> Result<Package, Error> {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_string())
        })
    };
    let missing = |name| damaged(&format!(".PKGINFO has no {name}"));
    // abuild says what the content's digest is; makepkg, what the sources' name is and how it was built.
    let apk = signed || field("datahash").is_some();
    Ok(Package {
        family: if apk { Family::Apk } else { Family::Pacman },
        name: field("pkgname").ok_or_else(|| missing("pkgname"))?,
        version: field("pkgver").ok_or_else(|| missing("pkgver"))?,
        architecture: field("arch").unwrap_or_default(),
    })
}
