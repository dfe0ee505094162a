//! With programs that gcc makes, and those of this host.

use std::path::Path;
use std::process::Command;

use super::*;
use crate::packs::content::{File, Kind, place};

fn nothing_in_image(_: &str) -> bool {
    false
}

fn add(contents: &mut Contents, path: &str, bytes: Vec<u8>) {
    let file = File {
        package: "test".into(),
        kind: Kind::Regular(0o755, bytes),
    };
    contents.insert(path.into(), file);
}

/// A file of this host at its place, with what it is a link to.
fn add_from_host(contents: &mut Contents, path: &str) {
    let file = std::fs::canonicalize(path).unwrap();
    add(contents, &place(path), std::fs::read(file).unwrap());
}

/// A program of this host, with everything that ldd(1) says that it needs.
fn with_program(program: &str) -> Contents {
    let mut contents = Contents::default();
    add_from_host(&mut contents, program);
    let listing = Command::new("ldd").arg(program).output().unwrap();
    for line in String::from_utf8(listing.stdout).unwrap().lines() {
        let words = line.split_whitespace();
        if let Some(path) = words.into_iter().find(|word| word.starts_with('/')) {
            add_from_host(&mut contents, path);
        }
    }
    // libc needs it by name, too; ldd shows it where it is the interpreter.
    add_from_host(&mut contents, "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
    contents
}

/// What gcc makes of this, with these options.
fn compiled(folder: &Path, name: &str, source: &str, options: &[&str]) -> Vec<u8> {
    let (from, to) = (folder.join("source.c"), folder.join(name));
    std::fs::write(&from, source).unwrap();
    let status = Command::new("gcc")
        .current_dir(folder)
        .arg("-o")
        .arg(&to)
        .arg(&from)
        .args(options)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::read(to).unwrap()
}

#[test]
fn a_program_needs_what_ldd_says() {
    let contents = with_program("/usr/sbin/xfs_repair");
    let resolver = Resolver::new(&contents, &nothing_in_image);
    let closure = resolver.closure("bin/xfs_repair").unwrap();
    let everything: BTreeSet<String> = contents
        .matching("**")
        .into_iter()
        .map(String::from)
        .collect();
    assert!(everything.len() > 4, "{everything:?}");
    assert_eq!(closure.files, everything);
    assert!(closure.libraries.contains("libc.so.6"));
}

#[test]
fn a_missing_library_is_named_with_who_needs_it() {
    let mut contents = with_program("/usr/sbin/xfs_repair");
    // Needed by libblkid or by the program: either way somebody is named.
    contents = without(&contents, "lib/x86_64-linux-gnu/libblkid.so.1");
    let resolver = Resolver::new(&contents, &nothing_in_image);
    assert_eq!(
        resolver.closure("bin/xfs_repair").unwrap_err(),
        Error::NoLibrary {
            by: "bin/xfs_repair".into(),
            library: "libblkid.so.1".into()
        }
    );
}

fn without(contents: &Contents, left_out: &str) -> Contents {
    let mut rest = Contents::default();
    for path in contents.matching("**") {
        if path != left_out {
            rest.insert(path.into(), contents.get(path).unwrap().clone());
        }
    }
    rest
}

#[test]
fn a_library_without_the_version_that_is_needed_is_named() {
    let mut contents = with_program("/bin/ls");
    let scratch = tempfile::tempdir().unwrap();
    let other = compiled(
        scratch.path(),
        "libc.so.6",
        "int nothing;",
        &["-shared", "-nostdlib", "-Wl,-soname,libc.so.6"],
    );
    add(&mut contents, "lib/x86_64-linux-gnu/libc.so.6", other);
    let resolver = Resolver::new(&contents, &nothing_in_image);
    let error = resolver.closure("bin/ls").unwrap_err();
    assert!(
        matches!(&error, Error::NoVersion { library, version, .. }
            if library == "libc.so.6" && version.starts_with("GLIBC_")),
        "{error}"
    );
}

#[test]
fn runpath_and_origin_lead_to_a_private_library() {
    let scratch = tempfile::tempdir().unwrap();
    let library = compiled(
        scratch.path(),
        "libprivate.so",
        "int answer(void) { return 42; }",
        &["-shared", "-nostdlib", "-Wl,-soname,libprivate.so"],
    );
    let program = compiled(
        scratch.path(),
        "program",
        "int answer(void); void _start(void) { answer(); }",
        &[
            "-nostdlib",
            "libprivate.so",
            "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib/private",
        ],
    );
    let mut contents = Contents::default();
    add(&mut contents, "bin/program", program);
    add(&mut contents, "lib/private/libprivate.so", library.clone());
    add_from_host(&mut contents, "/lib64/ld-linux-x86-64.so.2");
    let resolver = Resolver::new(&contents, &nothing_in_image);
    let closure = resolver.closure("bin/program").unwrap();
    assert!(closure.files.contains("lib/private/libprivate.so"));

    // Elsewhere nobody looks for it.
    let mut contents = without(&contents, "lib/private/libprivate.so");
    add(&mut contents, "lib/elsewhere/libprivate.so", library);
    let resolver = Resolver::new(&contents, &nothing_in_image);
    assert!(resolver.closure("bin/program").is_err());
}

#[test]
fn a_script_needs_its_interpreter_unless_the_image_has_it() {
    let mut contents = Contents::default();
    add(
        &mut contents,
        "bin/xfs_admin",
        b"#!/bin/sh -f\necho\n".to_vec(),
    );
    add(&mut contents, "bin/tool", b"#!/usr/bin/env perl\n".to_vec());
    let has_sh = |name: &str| name == "sh";
    let resolver = Resolver::new(&contents, &has_sh);
    assert_eq!(resolver.closure("bin/xfs_admin").unwrap().files.len(), 1);
    assert_eq!(
        resolver.closure("bin/tool").unwrap_err(),
        Error::NoInterpreter {
            by: "bin/tool".into(),
            interpreter: "perl".into()
        }
    );
}

#[test]
fn damaged_and_foreign_files_are_errors_and_no_panic() {
    let whole = std::fs::read("/usr/sbin/xfs_repair").unwrap();
    for end in (64..4096).step_by(61) {
        let mut contents = Contents::default();
        add(&mut contents, "bin/cut", whole[..end].to_vec());
        let _ = Resolver::new(&contents, &nothing_in_image).closure("bin/cut");
    }
    let mut contents = Contents::default();
    let mut foreign = whole;
    foreign[18] = 0xb7; // e_machine = EM_AARCH64
    add(&mut contents, "bin/foreign", foreign);
    let error = Resolver::new(&contents, &nothing_in_image)
        .closure("bin/foreign")
        .unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}
