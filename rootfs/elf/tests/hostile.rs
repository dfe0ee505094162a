//! Files that are made to harm: nothing panics, hangs or swells, whatever is in them.

#![allow(clippy::unwrap_used)]

use std::fs;

use kedge_elf::{Object, blocks, check, parts};

/// Everything that takes bytes of a file; a fuzz target calls the same.
fn read(bytes: &[u8]) {
    let findings = check(bytes);
    assert!(findings.len() < 256, "{} findings", findings.len());
    let _ = (Object::read(bytes), parts(bytes), blocks::zeroed(bytes));
}

fn sample() -> Vec<u8> {
    let samples = [
        "/usr/lib/x86_64-linux-gnu/libselinux.so.1",
        "/usr/lib/x86_64-linux-gnu/libz.so.1",
        "/bin/true",
    ];
    samples.iter().find_map(|path| fs::read(path).ok()).unwrap()
}

#[test]
fn a_file_may_end_anywhere() {
    let whole = sample();
    let near = (0..4096).chain((4096..whole.len()).step_by(997));
    for length in near.filter(|length| *length < whole.len()) {
        let cut = &whole[..length];
        read(cut);
        let said = check(cut);
        assert!(
            length < 4 || !said.is_empty(),
            "cut to {length} bytes, and nothing is said"
        );
    }
}

#[test]
fn a_cut_file_is_told_how_long_it_must_be() {
    let whole = sample();
    let said = check(&whole[..whole.len() / 2]);
    let texts: Vec<&str> = said.iter().map(|f| f.text.as_str()).collect();
    let start = format!(
        "the file has {} bytes, and must have at least",
        whole.len() / 2
    );
    assert!(
        texts.iter().any(|text| text.starts_with(&start)),
        "{texts:#?}"
    );
}

#[test]
fn any_byte_may_be_anything() {
    let mut bytes = sample();
    // The tables are at the start, and the section headers at the end.
    let (near, end) = (bytes.len().min(16384), bytes.len());
    for at in (0..near).step_by(7).chain(end.saturating_sub(2048)..end) {
        let before = bytes[at];
        for value in [0x00, 0x7f, 0x80, 0xff] {
            bytes[at] = value;
            read(&bytes);
        }
        bytes[at] = before;
    }
}

#[test]
fn any_field_may_be_huge() {
    let mut bytes = sample();
    for at in (0..2048).step_by(4) {
        let before: Vec<u8> = bytes[at..at + 8].to_vec();
        for value in [u64::MAX, u64::MAX / 2, 1 << 63, 0xffff_ffff, 0x7fff_f000] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            read(&bytes);
        }
        bytes[at..at + 8].copy_from_slice(&before);
    }
}

#[test]
fn blocks_of_zeros_are_found_in_code_and_relocations() {
    let whole = sample();
    for part in parts(&whole)
        .iter()
        .filter(|(part, _)| *part == kedge_elf::Part::Relocations)
    {
        let start = part.1.start.next_multiple_of(512) as usize;
        if start as u64 + 512 > part.1.end {
            continue;
        }
        let mut bytes = whole.clone();
        bytes[start..start + 512].fill(0);
        assert!(
            check(&bytes)
                .iter()
                .any(|f| f.text.contains("512 bytes at")),
            "{:#?}",
            check(&bytes)
        );
    }
}

#[test]
fn what_is_no_elf_file_has_no_findings() {
    let texts: [&[u8]; 6] = [
        b"",
        b"\x7f",
        b"\x7fEL",
        b"#!/bin/sh\n",
        b"\x7fEXE and so on, for quite a while longer than a header is, and longer",
        &[0; 4096],
    ];
    for text in texts {
        assert_eq!(check(text), [], "{:?}", text.escape_ascii().to_string());
    }
}
