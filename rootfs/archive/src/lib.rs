//! Package files as streams: which package, and its files one after the other.
//!
//! What is in them is hostile even when it is signed: lengths are bounded, and paths are only compared, never opened.

mod deb;
mod member;
mod rpm;
mod tar;
mod tarball;
mod unpack;

use std::io::{BufRead, Read};
use std::ops::ControlFlow;

use kedge_packages::Package;

pub use member::{Member, MemberKind};

use tar::Tar;
use unpack::{Packed, buffered};

/// What is wrong with a package file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    /// It is of no known format.
    #[error("it is no .deb, .rpm, .pkg.tar or .apk: {}", begins(.0))]
    Unknown(Vec<u8>),
    /// What stands in it makes no sense.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is what nobody here can read.
    #[error("it has {0} in it, which is not supported")]
    Unsupported(String),
    /// What was done with a member failed; said by whoever did it.
    #[error("{0}")]
    Caller(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What gets the members.
pub type Each<'a> = &'a mut dyn FnMut(&Member, &mut dyn Read) -> Result<ControlFlow<()>, Error>;

fn damaged(why: &str) -> Error {
    Error::Damaged(why.to_string())
}

/// How a file begins, for people.
fn begins(bytes: &[u8]) -> String {
    match bytes {
        [] => "it is empty".to_string(),
        _ if bytes
            .iter()
            .all(|&b| matches!(b, b' '..=b'~' | b'\n' | b'\r' | b'\t')) =>
        {
            format!("it begins with \"{}\"", bytes.escape_ascii())
        }
        _ => format!("it begins with {bytes:02x?}"),
    }
}

/// Goes through a package file; `each` gets every member with its content (empty for what is no file) and ends it early by
/// `Break`. Returns what package it says to be.
///
/// # Errors
/// When it cannot be read or makes no sense.
pub fn read(package: &mut dyn Read, each: Each) -> Result<Package, Error> {
    go(package, Some(each))
}

/// Which package a file says to be; reads no further than needed.
///
/// # Errors
/// As [`read()`].
pub fn identify(package: &mut dyn Read) -> Result<Package, Error> {
    go(package, None)
}

/// Goes through a tar archive, packed or not, that is no package: an index of packages.
///
/// # Errors
/// As [`read()`].
pub fn archive(from: &mut dyn Read, mut each: Each) -> Result<(), Error> {
    each_member(&mut Tar::new(unpack::unpack(buffered(from))?), &mut each).map(drop)
}

/// What a stream unpacks to: gzip, xz, lzma and zstd are known by their first bytes, anything else is as it is.
///
/// # Errors
/// When it cannot be read, or is packed in a way that nobody here knows.
pub fn unpacked<'a>(from: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>, Error> {
    Ok(Box::new(unpack::unpack(buffered(from))?))
}

fn go(package: &mut dyn Read, each: Option<Each>) -> Result<Package, Error> {
    let mut from = buffered(package);
    match from.fill_buf()? {
        bytes if bytes.starts_with(deb::MAGIC) => deb::read(&mut from, each),
        bytes if bytes.starts_with(rpm::MAGIC) => rpm::read(&mut from, each),
        [0x1f, 0x8b, ..]
        | [0xfd, b'7', b'z', b'X', b'Z', 0, ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => tarball::read(from, each),
        // A .pkg.tar that is not compressed.
        bytes if bytes.get(257..262) == Some(b"ustar") => tarball::read(from, each),
        bytes => Err(Error::Unknown(bytes[..bytes.len().min(16)].to_vec())),
    }
}

/// Hands the rest of an archive over; `Break` when `each` ended it early.
fn each_member<R: Read>(tar: &mut Tar<R>, each: &mut Each) -> Result<ControlFlow<()>, Error> {
    each_member_but(tar, each, |_| false)
}

/// Hands the rest of an archive over, without those that `skip` names.
fn each_member_but<R: Read>(
    tar: &mut Tar<R>,
    each: &mut Each,
    skip: impl Fn(&Member) -> bool,
) -> Result<ControlFlow<()>, Error> {
    while let Some(member) = tar.next()? {
        if !skip(&member) && each(&member, tar)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests;
