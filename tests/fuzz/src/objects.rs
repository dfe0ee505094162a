//! Files by themselves: programs, packages, disks.

use std::ops::ControlFlow;
use std::path::Path;

use crate::root::Root;

/// A program or a library.
pub fn elf(data: &[u8]) {
    kedge_elf::is_elf(data);
    kedge_elf::check(data);
    kedge_elf::parts(data);
    let _ = kedge_elf::Object::read(data);
}

/// Two files of one length, as a damaged and a good one; and one of them with itself.
pub fn elf_blocks(data: &[u8]) {
    const LIBRARY: &[u8] = include_bytes!("../corpus/elf/library");
    let (bad, good) = data.split_at(data.len() / 2);
    for (bad, good) in [(bad, good), (data, LIBRARY), (LIBRARY, data)] {
        let found = kedge_peek::differences_of(bad, good);
        assert_eq!(found.is_empty(), bad == good);
    }
    assert!(kedge_peek::differences_of(data, data).is_empty());
    kedge_elf::blocks::zeroed(data);
}

/// A damaged file: which of its blocks are where others belong, and what was done to it.
pub fn elf_undone(data: &[u8]) {
    for one in kedge_elf::misplaced(data) {
        let length = one.bytes.end - one.bytes.start;
        let ends = [one.bytes.end, one.belongs + length];
        assert!(length > 0 && ends.iter().all(|end| *end <= data.len() as u64));
    }
    kedge_doctor::fuzz::what_was_done(data);
}

/// What is read of one package at most: a bomb is no damage here, only slow.
const MOST: u64 = 4 << 20;

/// Packages of each family, and tar.
pub fn archive(data: &[u8]) {
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
pub fn ld_cache(data: &[u8]) {
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

/// A program and a library, one after the other, as all that a system has.
pub fn closure(data: &[u8]) {
    thread_local!(static ROOT: Root = Root::new(&[("lib/x86_64-linux-gnu/libc.so.6", b""), ("lib64/ld-linux-x86-64.so.2", b"")]));
    let (program, library) = data.split_at(data.len() / 2);
    ROOT.with(|root| {
        root.write("bin/program", data);
        root.write("lib/x86_64-linux-gnu/libc.so.6", library);
        root.write("lib64/ld-linux-x86-64.so.2", program);
        let _ = kedge_doctor::closure::Closure::of(&root.sysroot, Path::new("bin/program"));
    });
}

/// What configures a system: the first byte says which file.
pub fn configuration(data: &[u8]) {
    const FILES: [&str; 8] = [
        "etc/pam.d/sshd",
        "etc/nsswitch.conf",
        "etc/ssl/openssl.cnf",
        "etc/ld.so.conf",
        "etc/passwd",
        "etc/fstab",
        "boot/grub/grub.cfg",
        "etc/pam.d/common-auth",
    ];
    thread_local!(static ROOT: Root = Root::new(&[("etc/pam.d/sshd", b"@include common-auth\n")]));
    let Some((&which, content)) = data.split_first() else {
        return;
    };
    ROOT.with(|root| {
        let path = FILES[usize::from(which) % FILES.len()];
        root.write(path, content);
        kedge_doctor::fuzz::configuration(&root.sysroot);
        root.write(
            path,
            if path == FILES[0] {
                b"@include common-auth\n"
            } else {
                b""
            },
        );
    });
}

/// Anything that somebody looks at, and an HTTP header in front of it.
pub fn peek(data: &[u8]) {
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
pub fn superblock(data: &[u8]) {
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
