use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

fn name(bytes: &[u8]) -> &'static str {
    identify(bytes, bytes.len() as u64).name
}

/// What a program makes of `input`.
fn made(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn what_the_real_programs_make_is_known() {
    let hello = b"hello\n";
    assert_eq!(name(&made("gzip", &["-c"], hello)), "gzip");
    assert_eq!(name(&made("xz", &["-c"], hello)), "xz");
    let tar = made("tar", &["-C", "/", "-c", "etc/hostname"], b"");
    let kind = identify(&tar, tar.len() as u64);
    assert_eq!(
        (kind.name, kind.text.contains("etc/hostname")),
        ("tar", true)
    );
    assert_eq!(
        name(&made(
            "cpio",
            &["-o", "-H", "newc", "--quiet"],
            b"/etc/hostname\n"
        )),
        "cpio"
    );
    assert_eq!(name(hello), "text");
    assert_eq!(name(b"#!/bin/sh\n"), "script");
    assert_eq!(name(b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n"), "pem");
    assert_eq!(name(b"-----BEGIN PGP SIGNED MESSAGE-----\n"), "pgp");
    assert_eq!(name(b"\n<!DOCTYPE html><p>"), "html");
    assert_eq!(name(b"!<arch>\ndebian-binary   1"), "deb");
    assert_eq!(name(b""), "empty");
    assert_eq!(name(&[0; 700]), "zero");
    assert_eq!(name(&[0xff; 700]), "data");
    assert_eq!(name(b"\xfe\xed\xfa\x00"), "data");
}

#[test]
fn a_program_that_was_cut_short_is_told() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let whole = identify(&own, own.len() as u64).text;
    assert!(
        whole.starts_with("ELF, 64 bits, program or shared library"),
        "{whole}"
    );
    assert!(!whole.contains("CUT SHORT"), "{whole}");
    let cut = identify(&own, own.len() as u64 - 1).text;
    assert!(cut.contains("CUT SHORT: it must have"), "{cut}");
}

/// The story's file: an ELF behind a header that netcat saved.
#[test]
fn a_header_in_front_of_a_file_is_told_with_what_is_in_it() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", own.len());
    let file = [header.as_bytes(), &own].concat();
    let kind = identify(&file, file.len() as u64);
    assert_eq!((kind.name, kind.body), ("http", Some(header.len() as u64)));
    assert!(
        kind.text
            .contains(&format!("starts at byte {}: ELF", header.len())),
        "{}",
        kind.text
    );
    assert!(!kind.text.contains("CUT SHORT"), "{}", kind.text);
    let short = &file.as_slice()[..file.len() - 1];
    assert!(at(&short, 0).text.contains("CUT SHORT: the header says"));
}

#[test]
fn a_file_system_is_known_by_its_superblock() {
    let image = std::env::temp_dir().join(format!("kedge-peek-{}.ext4", std::process::id()));
    std::fs::File::create(&image)
        .unwrap()
        .set_len(8 << 20)
        .unwrap();
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-L", "rescue"])
        .arg(&image)
        .status();
    let source = crate::source::Source::open(&image).unwrap();
    std::fs::remove_file(&image).unwrap();
    assert!(made.unwrap().success());
    assert_eq!(at(&source, 0).text, "ext4 \"rescue\", by its superblock");
}

/// Whatever is cut or flipped, it is only told.
#[test]
fn nothing_panics() {
    let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut samples = vec![own[..4096].to_vec()];
    samples.push(made("tar", &["-C", "/", "-c", "etc/hostname"], b""));
    samples.push([b"HTTP/1.1 200 OK\nContent-Length: 9\n\n", &own[..600]].concat());
    samples.push(b"MZ\0\0".iter().copied().cycle().take(700).collect());
    for sample in &samples {
        for cut in 0..sample.len().min(700) {
            identify(&sample[..cut], u64::MAX);
        }
        for byte in 0..sample.len().min(700) {
            let mut flipped = sample.clone();
            flipped[byte] ^= 0xff;
            identify(&flipped, flipped.len() as u64);
        }
    }
}
