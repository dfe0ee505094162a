//! apk's chain of trust against a repository that is made here, in the format of apk-tools 2.

// A test that panics says why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::ops::ControlFlow;

use kedge_packages::{Family, Package};
use kedge_sources::{Found, From};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use support::{
    Fault, Folder, Server, base64, exact, fetch, fetch_and_learn, find, noise, nowhere, package,
    run, sha256,
};

const INDEX: &str = "v3.20/main/x86_64/APKINDEX.tar.gz";
const APK: &str = "v3.20/main/x86_64/musl-1.2.5-r0.apk";

struct Repository {
    folder: Folder,
    root: Folder,
    keys: Folder,
    server: Server,
}

fn musl(version: &str) -> Package {
    package(Family::Apk, "musl", version, "x86_64")
}

/// A gzip member with an archive of these files, without the blocks that end an archive.
fn member(files: &[(&str, &[u8])], end: bool) -> Vec<u8> {
    let tree = Folder::new("member");
    let mut command = vec![
        "tar",
        "--format=ustar",
        "--owner=0",
        "--group=0",
        "--mtime=@1",
        "-cf",
        "../out.tar",
    ];
    let work = Folder::new("member-out");
    let out = work.path().join("out.tar");
    command[6] = out.to_str().unwrap();
    for (name, content) in files {
        tree.write(name, content);
        command.push(name);
    }
    run(tree.path(), &command);
    let mut tar = work.read("out.tar");
    if !end {
        let used = tar
            .chunks(512)
            .rposition(|block| block.iter().any(|&b| b != 0));
        tar.truncate((used.unwrap() + 1) * 512);
    }
    work.write("out.tar", tar);
    run(work.path(), &["gzip", "-nf", "out.tar"]);
    work.read("out.tar.gz")
}

impl Repository {
    fn new(name: &str) -> Repository {
        let folder = Folder::new(name);
        let keys = Folder::new("keys");
        run(
            keys.path(),
            &["openssl", "genrsa", "-out", "own.key", "2048"],
        );
        run(
            keys.path(),
            &[
                "openssl", "rsa", "-in", "own.key", "-pubout", "-out", "own.pub",
            ],
        );
        let root = Folder::new("root");
        root.write("etc/apk/keys/own.rsa.pub", keys.read("own.pub"));
        root.write("etc/apk/arch", "x86_64\n");
        let server = Server::of(&folder);
        let repositories = format!("# own\n{0}/v3.20/main/\n@edge {0}/edge/main\n", server.url);
        root.write("etc/apk/repositories", repositories);
        let repository = Repository {
            folder,
            root,
            keys,
            server,
        };
        let mut index = String::new();
        for version in ["1.2.5-r0", "1.2.5-r1", "1.2.6-r0"] {
            index += &repository.package(version);
        }
        repository.index(&index, "RSA", "-sha1");
        repository
    }

    /// Makes a package, and gives what an index says of it.
    fn package(&self, version: &str) -> String {
        let signature = member(&[(".SIGN.RSA.own.rsa.pub", b"not looked at")], false);
        self.package_behind(version, &signature)
    }

    /// Makes a package that has this in front of what an index vouches for.
    fn package_behind(&self, version: &str, front: &[u8]) -> String {
        let data = member(&[("lib/libc.so", &noise())], true);
        let info = format!(
            "pkgname = musl\npkgver = {version}\narch = x86_64\ndatahash = {}\n",
            sha256(&data)
        );
        let control = member(&[(".PKGINFO", info.as_bytes())], false);
        let apk = [front, &control, &data].concat();
        self.folder
            .write(&format!("v3.20/main/x86_64/musl-{version}.apk"), &apk);
        let checksum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &control);
        format!(
            "C:Q1{}\nP:musl\nV:{version}\nA:x86_64\nS:{}\nI:1\nT:libc\n\n",
            base64(checksum.as_ref()),
            apk.len()
        )
    }

    /// Signs an index.
    fn index(&self, text: &str, kind: &str, hash: &str) {
        let content = member(
            &[("DESCRIPTION", b"x"), ("APKINDEX", text.as_bytes())],
            true,
        );
        self.keys.write("content", &content);
        run(
            self.keys.path(),
            &[
                "openssl",
                "dgst",
                hash,
                "-sign",
                "own.key",
                "-out",
                "signature",
                "content",
            ],
        );
        let name = format!(".SIGN.{kind}.own.rsa.pub");
        let signature = member(&[(&name, &self.keys.read("signature"))], false);
        self.folder.write(INDEX, [signature, content].concat());
    }
}

#[test]
fn the_very_version_is_found_and_believed_step_by_step() {
    let repository = Repository::new("apk-found");
    let found = exact(&repository.root, &musl("1.2.5-r0"), None);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].location,
        format!("{}/{APK}", repository.server.url)
    );
    let trust = found[0].trust.join("\n");
    for step in [
        "v3.20/main/x86_64 is signed by /etc/apk/keys/own.rsa.pub",
        "it names the control part of musl-1.2.5-r0.apk by sha1:",
    ] {
        assert!(trust.contains(step), "{step}: {trust}");
    }
    assert_eq!(
        fetch(&found[0]).unwrap(),
        proven(&repository.folder.read(APK))
    );
    // What is for a tag is asked as well, last.
    let Ok(Found::Others(others)) = find(&repository.root, &musl("1.2.5-r2"), None) else {
        panic!();
    };
    let versions: Vec<_> = others.iter().map(|o| &*o.package.version).collect();
    assert_eq!(versions, ["1.2.5-r1", "1.2.5-r0", "1.2.6-r0"]);
    let from = From::Url(repository.server.url.clone());
    assert_eq!(
        exact(&repository.root, &musl("1.2.5-r0"), Some(from)).len(),
        1
    );
}

#[test]
fn signatures_over_sha256_are_believed_too() {
    let repository = Repository::new("apk-sha256");
    let text = repository.package("1.2.5-r0");
    repository.index(&text, "RSA256", "-sha256");
    assert_eq!(exact(&repository.root, &musl("1.2.5-r0"), None).len(), 1);
    // But not those that say to be another kind.
    repository.index(&text, "RSA256", "-sha1");
    let error = nowhere(&repository.root, &musl("1.2.5-r0"), None);
    assert!(error.contains("does not fit"), "{error}");
}

#[test]
fn faults_are_named() {
    let repository = Repository::new("apk-faults");
    let (root, server) = (&repository.root, &repository.server);
    let index = repository.folder.read(INDEX);
    let mut other = index.clone();
    let last = other.len() - 30;
    other[last] ^= 1;
    let unsigned = member(&[("APKINDEX", b"P:musl\n")], true);
    for (fault, expected) in [
        (Fault::Html, "captive portal"),
        (Fault::Instead(other), "does not fit"),
        (
            Fault::Instead(index[..index.len() - 1].to_vec()),
            "does not fit",
        ),
        (Fault::Instead(unsigned), "not signed"),
        (Fault::Instead(Vec::new()), "no gzip file"),
    ] {
        server.fault(INDEX, fault);
        let error = nowhere(root, &musl("1.2.5-r0"), None);
        assert!(error.contains(expected), "{expected}: {error}");
    }
    server.no_faults();
    let found = exact(root, &musl("1.2.5-r0"), None).remove(0);
    let apk = repository.folder.read(APK);
    for at in [apk.len() - 1000, 300] {
        let mut other = apk.clone();
        other[at] ^= 1;
        server.fault(APK, Fault::Instead(other));
        let error = fetch(&found).unwrap_err();
        assert!(error.contains("not what it should be"), "{at}: {error}");
    }
    // Another version under the name of this.
    let newer = repository
        .folder
        .read("v3.20/main/x86_64/musl-1.2.5-r1.apk");
    server.fault(APK, Fault::Instead(newer));
    assert!(fetch(&found).is_err());
    server.fault(APK, Fault::CutAfter(apk.len() / 3));
    assert_eq!(fetch(&found).unwrap(), proven(&apk));
    // A key that is not there.
    root.remove("etc/apk/keys/own.rsa.pub");
    let error = nowhere(root, &musl("1.2.5-r0"), None);
    assert!(error.contains("own.rsa.pub, and no such key"), "{error}");
}

/// Of an .apk what its index vouches for: without the signature in front.
fn proven(apk: &[u8]) -> &[u8] {
    let front = member(&[(".SIGN.RSA.own.rsa.pub", b"not looked at")], false);
    apk.strip_prefix(&front[..]).unwrap()
}

#[test]
fn of_an_index_only_what_is_signed_counts() {
    let repository = Repository::new("apk-index-front");
    let signed = repository.package("1.2.5-r0");
    repository.index(&signed, "RSA", "-sha1");
    let index = repository.folder.read(INDEX);
    let signature = repository.keys.read("signature");
    let name = ".SIGN.RSA.own.rsa.pub";
    let content = index
        .strip_prefix(&member(&[(name, &signature)], false)[..])
        .unwrap();
    // Another package under the same name and one that is in no signed index, in front of the signed ones.
    let digest = "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:musl\n";
    let forged =
        format!("{digest}V:1.2.5-r0\nA:x86_64\nS:1\n\n{digest}V:1.2.5-r7\nA:x86_64\nS:1\n\n");
    for files in [
        &[(name, &signature[..]), ("APKINDEX", forged.as_bytes())][..],
        &[("APKINDEX", forged.as_bytes()), (name, &signature)],
    ] {
        for end in [false, true] {
            let front = member(files, end);
            repository
                .folder
                .write(INDEX, [&front[..], content].concat());
            let found = exact(&repository.root, &musl("1.2.5-r0"), None);
            assert_eq!(found.len(), 1);
            assert!(found[0].size > Some(1));
            let others = find(&repository.root, &musl("1.2.5-r7"), None);
            let Ok(Found::Others(others)) = others else {
                panic!("{others:?}");
            };
            assert_eq!(others[0].package.version, "1.2.5-r0");
        }
    }
}

#[test]
fn of_a_package_only_what_its_index_names_is_there() {
    let repository = Repository::new("apk-package-front");
    let name = ".SIGN.RSA.own.rsa.pub";
    let info = b"pkgname = musl\npkgver = 1.2.5-r0\narch = x86_64\ndatahash = 00\n";
    for (front, good) in [
        (member(&[(name, &noise()[..])], false), true),
        (
            member(&[(name, b"x"), (".SIGN.RSA256.a", b"y")], true),
            true,
        ),
        (Vec::new(), true),
        (member(&[(name, b"x"), (".PKGINFO", info)], false), false),
        (
            member(&[(name, b"x"), ("lib/libc.so", b"evil")], true),
            false,
        ),
        (member(&[("lib/libc.so", b"evil")], true), false),
        (header_for_what_follows(), true),
    ] {
        let stanza = repository.package_behind("1.2.5-r0", &front);
        repository.index(&stanza, "RSA", "-sha1");
        let found = exact(&repository.root, &musl("1.2.5-r0"), None);
        let apk = repository.folder.read(APK);
        match fetch(&found[0]) {
            Ok(bytes) => {
                assert!(good && bytes == apk[front.len()..]);
                let mut names = Vec::new();
                let package = kedge_archive::read(&mut &bytes[..], &mut |member, content| {
                    let mut bytes = Vec::new();
                    content.read_to_end(&mut bytes)?;
                    names.push(member.path.display().to_string());
                    assert_eq!(bytes, noise());
                    Ok(ControlFlow::Continue(()))
                });
                assert_eq!(package.unwrap(), musl("1.2.5-r0"));
                assert_eq!(names, ["lib/libc.so"]);
            }
            Err(error) => assert!(!good && error.contains("no signature"), "{error}"),
        }
    }
}

/// A gzip member whose last header says how the member behind it is called, and no such member.
fn header_for_what_follows() -> Vec<u8> {
    let work = Folder::new("dangling");
    work.write("own", "x");
    run(
        work.path(),
        &[
            "tar",
            "--format=pax",
            "--pax-option=path=lib/libc.so",
            "-cf",
            "out.tar",
            "own",
        ],
    );
    let tar = work.read("out.tar");
    let real = tar
        .chunks(512)
        .position(|block| block.starts_with(b"own\0"));
    work.write("out.tar", &tar[..real.unwrap() * 512]);
    run(work.path(), &["gzip", "-nf", "out.tar"]);
    work.read("out.tar.gz")
}

#[test]
fn a_package_in_the_cache_is_offered_first_if_it_is_whole() {
    let repository = Repository::new("apk-cache");
    let apk = repository.folder.read(APK);
    let found = exact(&repository.root, &musl("1.2.5-r0"), None);
    let named = &found[0].trust[1];
    let (_, hex) = named.split_once("sha1:").unwrap();
    let cached = format!("var/cache/apk/musl-1.2.5-r0.{}.apk", &hex[..8]);
    repository.root.write(&cached, &apk);
    let found = exact(&repository.root, &musl("1.2.5-r0"), None);
    assert!(found[0].location.ends_with(&cached), "{found:?}");
    assert_eq!(fetch(&found[0]).unwrap(), proven(&apk));
    let mut damaged = apk;
    let last = damaged.len() - 100;
    damaged[last] ^= 4;
    repository.root.write(&cached, damaged);
    let found = exact(&repository.root, &musl("1.2.5-r0"), None);
    assert_eq!(found.len(), 1);
    assert!(found[0].location.starts_with("http"));
}

#[test]
fn a_named_package_is_what_it_says_whatever_it_is_called() {
    let repository = Repository::new("apk-named");
    repository.root.write("etc/apk/repositories", "");
    let apk = repository.folder.read(APK);
    repository.folder.write("renamed", &apk);
    let file = repository.folder.path().join("renamed");
    let found = exact(
        &repository.root,
        &musl("1.2.5-r0"),
        Some(From::Path(file.clone())),
    );
    assert!(found[0].trust.is_empty());
    assert_eq!(fetch(&found[0]).unwrap(), apk);
    let other = find(&repository.root, &musl("1.2.5-r9"), Some(From::Path(file)));
    assert!(matches!(other, Ok(Found::Others(_))));
    let folder = From::Path(repository.folder.path().join("v3.20/main/x86_64"));
    assert_eq!(
        exact(&repository.root, &musl("1.2.5-r1"), Some(folder)).len(),
        1
    );
    let url = From::Url(format!("{}/{APK}", repository.server.url));
    assert_eq!(
        exact(&repository.root, &musl("1.2.5-r0"), Some(url)).len(),
        1
    );
    repository.folder.write("page.apk", "<!DOCTYPE html>");
    let url = From::Url(format!("{}/page.apk", repository.server.url));
    let error = nowhere(&repository.root, &musl("1.2.5-r0"), Some(url));
    assert!(error.contains("<!DOCTYPE html>"), "{error}");
}

#[test]
fn an_index_that_apk_fetched_before_vouches_for_a_package_that_somebody_names() {
    let repository = Repository::new("apk-vouched");
    let (root, server) = (&repository.root, &repository.server);
    let (apk, cached) = (
        repository.folder.read(APK),
        "var/cache/apk/APKINDEX.0f1e2d3c.tar.gz",
    );
    let file = From::Path(repository.folder.path().join(APK));
    let url = From::Url(format!("{}/{APK}", server.url));
    let found = |from: &From| exact(root, &musl("1.2.5-r0"), Some(from.clone())).remove(0);
    assert!(found(&file).trust.is_empty());
    let index = repository.folder.read(INDEX);
    root.write(cached, &index);
    let trust = found(&file).trust.join("\n");
    for step in [
        "APKINDEX.0f1e2d3c.tar.gz is signed by /etc/apk/keys/own.rsa.pub",
        "\nit names the control part of musl-1.2.5-r0.apk by sha1:",
        "\nthe package that was named is that one",
    ] {
        assert!(trust.contains(step), "{step}: {trust}");
    }
    assert_eq!(fetch(&found(&file)).unwrap(), proven(&apk));
    // Of a URL that is known when it was fetched.
    let mut fetched = found(&url);
    assert!(fetched.trust.is_empty() && !fetched.trust_if_named().is_empty());
    assert_eq!(
        fetch_and_learn(&mut fetched, u64::MAX).unwrap(),
        proven(&apk)
    );
    assert_eq!(fetched.trust.len(), 4);
    // What was built anew, or signed by somebody with a longer key, is nobody's; and it is whole.
    let front = member(&[(".SIGN.RSA.own.rsa.pub", b"of somebody else")], false);
    let longer = member(&[(".SIGN.RSA.own.rsa.pub", &noise())], false);
    let data = member(&[("lib/libc.so", b"built anew")], true);
    let info = "pkgname = musl\npkgver = 1.2.5-r0\narch = x86_64\n";
    let control = member(&[(".PKGINFO", info.as_bytes())], false);
    for other in [
        [&front, &control[..], &data].concat(),
        [&longer[..], proven(&apk)].concat(),
    ] {
        repository.folder.write(APK, &other);
        for from in [&file, &url] {
            let mut found = found(from);
            assert_eq!(fetch_and_learn(&mut found, u64::MAX).unwrap(), other);
            assert!(found.trust.is_empty(), "{found:?}");
        }
    }
    repository.folder.write(APK, &apk);
    // An index that nobody signed.
    let mut other = index.clone();
    let last = other.len() - 30;
    other[last] ^= 1;
    root.write(cached, other);
    assert!(found(&file).trust.is_empty());
    root.write(cached, &index);
    assert!(!found(&file).trust.is_empty());
    root.remove("etc/apk/keys/own.rsa.pub");
    assert!(found(&file).trust.is_empty());
}
