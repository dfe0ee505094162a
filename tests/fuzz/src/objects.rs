//! Files by themselves: programs, packages, disks.

use std::ops::ControlFlow;
use std::path::Path;

use crate::root::Root;

pub(crate) fn elf(data: &[u8]) {
    kedge_elf::is_elf(data);
    kedge_elf::check(data);
    kedge_elf::parts(data);
    let _ = kedge_elf::Object::read(data);
}

/// What is read of one package at most: a bomb is no damage here, only slow.
const MOST: u64 = 4 << 20;

pub(crate) fn archive(data: &[u8]) {
    let mut left = MOST;
    let mut each = |_: &kedge_archive::Member, content: &mut dyn std::io::Read| {
        let mut content = std::io::Read::take(content, left);
        left -= std::io::copy(&mut content, &mut std::io::sink())?;
        Ok(match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    };
    let _ = kedge_archive::read(&mut &data[..], &mut each);
    let _ = kedge_archive::identify(&mut &data[..]);
    left = MOST;
    let mut each = |_: &kedge_archive::Member, content: &mut dyn std::io::Read| {
        let mut content = std::io::Read::take(content, left);
        left -= std::io::copy(&mut content, &mut std::io::sink())?;
        Ok(match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    };
    let _ = kedge_archive::archive(&mut &data[..], &mut each);
}

/// What `ldconfig` writes, and what its configuration says: the first byte says which.
pub(crate) fn ld_cache(data: &[u8]) {
    const FILES: [&str; 2] = ["etc/ld.so.cache", "etc/ld.so.conf"];
    const PROGRAM: &[u8] = include_bytes!("../corpus/elf/program");
    thread_local!(static ROOT: Root = Root::new(&[("bin/program", PROGRAM)]));
    let Some((&which, content)) = data.split_first() else {
        return;
    };
    ROOT.with(|root| {
        let path = FILES[usize::from(which) % 2];
        root.write(path, content);
        let _ = kedge_doctor::closure::Closure::of(&root.sysroot, Path::new("bin/program"));
        root.write(path, b"");
    });
}

pub(crate) fn peek(data: &[u8]) {
    kedge_peek::kind::identify(data, data.len() as u64);
    let (head, rest) = data.split_at(data.len() / 2);
    kedge_peek::http::Header::parse(head);
    let mut chunks = kedge_peek::http::Chunks::default();
    let mut length = 0;
    for piece in rest.chunks(7) {
        if chunks
            .take(piece, &mut |bytes| length += bytes.len())
            .is_none()
        {
            break;
        }
    }
    assert!(length <= rest.len());
    chunks.is_whole();
}

/// The same beginning and end at each place where a superblock can be.
pub(crate) fn superblock(data: &[u8]) {
    use kedge_machine::superblock::{identify, pieces};
    let size = data
        .first_chunk::<4>()
        .map_or(0, |four| u32::from_le_bytes(*four));
    let size = u64::from(size) << (size % 16);
    let mut rest = data.get(4..).unwrap_or_default();
    let pieces = pieces(size).into_iter().map(|(at, length)| {
        let (piece, other) = rest.split_at(length.min(rest.len()));
        rest = other;
        (at, piece.to_vec())
    });
    identify(size, &pieces.collect());
}
