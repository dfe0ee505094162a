//! ctrl-C, in a process of its own: it is noted once and for all.

// A test that panics says why.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::process::Command;

use kedge_progress::interrupt;

/// A tar archive whose only member is longer than anybody waits for.
fn endless() -> impl Read {
    let mut header = [0; 512];
    header[..4].copy_from_slice(b"file");
    header[124..135].copy_from_slice(b"77777777777");
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    io::Cursor::new(header).chain(io::repeat(0).take(0o77_777_777_777))
}

#[test]
fn a_long_member_is_not_read_to_its_end() {
    interrupt::watch();
    let press = || {
        let own = std::process::id().to_string();
        let kill = Command::new("kill").args(["-INT", &own]).status();
        assert!(kill.unwrap().success());
    };
    // Once in the content that somebody reads, and once in what is skipped.
    let mut pressed = false;
    for _ in 0..2 {
        let read = kedge_archive::archive(&mut endless(), &mut |_, content| {
            if !pressed {
                press();
                pressed = true;
                let error = io::copy(content, &mut io::sink()).unwrap_err();
                assert!(error.to_string().contains("stopped"), "{error}");
            }
            Ok(ControlFlow::Continue(()))
        });
        let error = read.unwrap_err().to_string();
        assert!(error.contains("stopped"), "{error}");
    }
}
