//! apt's chain of trust against a mirror that is made here: real .debs, a Release that the real gpg signs, and every fault.

// A test that panics says why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use kedge_packages::{Family, Package};
use kedge_sources::{Candidate, Found, From, Options};
use support::gpg::Gpg;
use support::{
    Fault, Folder, Server, exact, fetch, fetch_and_learn, fetch_into, find, find_with, noise,
    nowhere, package, run, sha256,
};

const INDEX: &str = "dists/stable/main/binary-amd64/Packages";

/// A mirror and a system that has it as its source.
struct Mirror {
    gpg: Gpg,
    folder: Folder,
    root: Folder,
    server: Server,
}

impl Mirror {
    /// With versions 1.0-1, 1.0-2 and 2.0-1 of "hello".
    fn new(name: &str) -> Mirror {
        let gpg = Gpg::new(name);
        gpg.run(&[
            "--quick-gen-key",
            "Archive <a@example.org>",
            "ed25519",
            "sign",
            "never",
        ]);
        let folder = Folder::new(&format!("{name}-mirror"));
        let root = Folder::new(&format!("{name}-root"));
        let server = Server::of(&folder);
        root.write("usr/share/keyrings/own.gpg", gpg.run(&["--export"]));
        root.write(
            "etc/apt/sources.list",
            format!(
                "deb [signed-by=/usr/share/keyrings/own.gpg] {} stable main\n",
                server.url
            ),
        );
        root.write(
            "var/lib/dpkg/status",
            "Package: base-files\nArchitecture: amd64\n\nPackage: dpkg\nArchitecture: amd64\n",
        );
        let mirror = Mirror {
            gpg,
            folder,
            root,
            server,
        };
        for version in ["1.0-1", "1.0-2", "2.0-1"] {
            mirror.deb("hello", version, "amd64");
        }
        mirror.deb("hello-data", "1:1.0-1", "all");
        mirror.release("", &["", ".xz", ".gz"]);
        mirror
    }

    fn deb(&self, name: &str, version: &str, architecture: &str) {
        let tree = Folder::new(&format!("{name}-tree-{}", version.replace(':', "_")));
        tree.write(
            "DEBIAN/control",
            format!(
                "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n\
                 Maintainer: A <a@example.org>\nDescription: test\n"
            ),
        );
        tree.write("usr/share/hello", noise());
        let short = version.split(':').next_back().unwrap();
        let file = format!("pool/main/h/hello/{name}_{short}_{architecture}.deb");
        let to = self.folder.path().join(&file);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let to = to.to_str().unwrap();
        run(
            tree.path(),
            &["dpkg-deb", "--root-owner-group", "-Znone", "-b", ".", to],
        );
        let deb = self.folder.read(&file);
        let mut index = std::fs::read_to_string(self.folder.path().join(INDEX)).unwrap_or_default();
        index += &format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nFilename: {file}\n\
             Size: {}\nDescription: test\n of it\nSHA256: {}\n\n",
            deb.len(),
            sha256(&deb)
        );
        self.folder.write(INDEX, index);
    }

    /// Packs the index, and signs a Release of it, with more fields.
    fn release(&self, more: &str, packings: &[&str]) {
        let dist = self.folder.path().join("dists/stable");
        let index = dist.join("main/binary-amd64/Packages");
        let index = index.to_str().unwrap();
        run(&dist, &["xz", "-kf", index]);
        run(&dist, &["gzip", "-kf", index]);
        run(&dist, &["zstd", "-qkf", index]);
        let mut text = format!("Suite: stable\nCodename: anchor\n{more}");
        if !more.contains("Date:") {
            let date = run(&dist, &["date", "-u", "+%a, %d %b %Y %H:%M:%S UTC"]);
            text += &format!("Date: {}", String::from_utf8(date).unwrap());
        }
        text += "SHA256:\n";
        for packing in packings {
            let name = format!("main/binary-amd64/Packages{packing}");
            let content = self.folder.read(&format!("dists/stable/{name}"));
            text += &format!(" {} {:>8} {name}\n", sha256(&content), content.len());
        }
        self.sign(&text);
    }

    fn sign(&self, release: &str) {
        self.folder.write("dists/stable/Release", release);
        let file = self.folder.path().join("dists/stable/Release");
        let clear = self
            .gpg
            .run(&["-o", "-", "--clearsign", file.to_str().unwrap()]);
        self.folder.write("dists/stable/InRelease", clear);
    }

    /// Has the system fetched the indices; how these begin in its lists.
    fn update(&self) -> String {
        let name = self.server.url.strip_prefix("http://").unwrap();
        let lists = format!("var/lib/apt/lists/{name}_dists_stable_");
        for (file, of) in [
            ("InRelease", "dists/stable/InRelease"),
            ("main_binary-amd64_Packages", INDEX),
        ] {
            self.root
                .write(&format!("{lists}{file}"), self.folder.read(of));
        }
        lists
    }

    /// What is said when nothing is found.
    fn nowhere(&self) -> String {
        nowhere(&self.root, &hello("1.0-1"), None)
    }

    fn hello(&self) -> Vec<u8> {
        self.folder.read("pool/main/h/hello/hello_1.0-1_amd64.deb")
    }
}

fn hello(version: &str) -> Package {
    package(Family::Dpkg, "hello", version, "amd64")
}

const DEB: &str = "pool/main/h/hello/hello_1.0-1_amd64.deb";

#[test]
fn the_very_version_is_found_and_believed_step_by_step() {
    let mirror = Mirror::new("found");
    let candidates = exact(&mirror.root, &hello("1.0-1"), None);
    assert_eq!(candidates.len(), 1);
    let found = &candidates[0];
    let size = mirror.hello().len() as u64;
    assert_eq!((found.size, &found.package), (Some(size), &hello("1.0-1")));
    assert_eq!(found.location, format!("{}/{DEB}", mirror.server.url));
    let trust = found.trust.join("\n");
    for step in [
        "InRelease of http://127.0.0.1:",
        " stable, of 20",
        " (Archive <a@example.org>), in /usr/share/keyrings/own.gpg",
        "it names main/binary-amd64/Packages.xz by sha256:",
        &format!("that names {DEB} by sha256:{}", sha256(&mirror.hello())),
    ] {
        assert!(trust.contains(step), "{step}: {trust}");
    }
    assert_eq!(fetch(found).unwrap(), mirror.hello());
    // Packages for all architectures are in the index of the system's own.
    let all = package(Family::Dpkg, "hello-data", "1:1.0-1", "all");
    assert_eq!(exact(&mirror.root, &all, None).len(), 1);
    // The same number with another epoch is another version.
    let other = package(Family::Dpkg, "hello-data", "1.0-1", "all");
    assert!(matches!(
        find(&mirror.root, &other, None),
        Ok(Found::Others(_))
    ));
}

#[test]
fn each_way_of_packing_and_signing() {
    let mirror = Mirror::new("ways");
    for packing in ["", ".xz", ".gz", ".zst"] {
        mirror.release("", &[packing]);
        assert_eq!(
            exact(&mirror.root, &hello("1.0-1"), None).len(),
            1,
            "{packing}"
        );
    }
    // By its digest only: the mirror is just being renewed.
    mirror.release("Acquire-By-Hash: yes\n", &[".gz"]);
    let packed = mirror.folder.read(&format!("{INDEX}.gz"));
    let by_hash = format!(
        "dists/stable/main/binary-amd64/by-hash/SHA256/{}",
        sha256(&packed)
    );
    mirror.folder.write(&by_hash, packed);
    mirror.folder.write(&format!("{INDEX}.gz"), "another");
    assert_eq!(exact(&mirror.root, &hello("1.0-1"), None).len(), 1);
    mirror.folder.remove(&by_hash);
    assert!(mirror.nowhere().contains("Packages.gz: it has 7 bytes"));
    // Release and Release.gpg, armored or not.
    mirror.release("", &[".xz"]);
    mirror.folder.remove("dists/stable/InRelease");
    assert!(mirror.nowhere().contains("not signed"));
    let release = mirror.folder.read("dists/stable/Release");
    for more in [&["--armor"][..], &[]] {
        let signature = mirror.gpg.detached(&release, more);
        mirror.folder.write("dists/stable/Release.gpg", signature);
        let found = exact(&mirror.root, &hello("1.0-1"), None);
        assert!(found[0].trust[0].starts_with("Release of"));
    }
    mirror
        .folder
        .write("dists/stable/Release", [&release[..], b"\n"].concat());
    assert!(mirror.nowhere().contains("does not fit"));
}

#[test]
fn keys_are_where_apt_looks_for_them() {
    let mirror = Mirror::new("keys");
    let url = &mirror.server.url;
    let key = mirror.root.read("usr/share/keyrings/own.gpg");
    let armored = mirror.gpg.run(&["--armor", "--export"]);
    mirror.root.remove("usr/share/keyrings/own.gpg");
    assert!(mirror.nowhere().contains("own.gpg"), "{}", mirror.nowhere());
    let plain = format!("deb {url} stable main\n");
    mirror.root.write("etc/apt/sources.list", &plain);
    assert!(mirror.nowhere().contains("no key"), "{}", mirror.nowhere());
    let found = || find(&mirror.root, &hello("1.0-1"), None).is_ok();
    for (file, key) in [
        ("etc/apt/trusted.gpg", &key),
        ("etc/apt/trusted.gpg.d/a.gpg", &key),
        ("etc/apt/trusted.gpg.d/a.asc", &armored),
        ("usr/share/keyrings/debian-archive-keyring.gpg", &key),
    ] {
        mirror.root.write(file, key);
        assert!(found(), "{file}");
        mirror.root.remove(file);
    }
    assert!(!found());
    // In the source itself; or by its fingerprint.
    let stanza = format!("Types: deb\nURIs: {url}/\nSuites: stable\nComponents: main\n");
    mirror.root.write("etc/apt/sources.list", "");
    let inline: String = String::from_utf8(armored)
        .unwrap()
        .lines()
        .map(|line| {
            if line.is_empty() {
                " .\n".into()
            } else {
                format!(" {line}\n")
            }
        })
        .collect();
    let sources = "etc/apt/sources.list.d/a.sources";
    mirror
        .root
        .write(sources, format!("{stanza}Signed-By:\n{inline}"));
    assert!(found());
    mirror.root.write("etc/apt/trusted.gpg", &key);
    let listed = mirror.gpg.run(&["--with-colons", "--list-keys"]);
    let listed = String::from_utf8(listed).unwrap();
    let print = listed.lines().find_map(|line| line.strip_prefix("fpr:"));
    let print = print.unwrap().trim_matches(':').to_owned();
    for (print, good) in [
        (print.clone(), true),
        (print.replace(&print[..4], "0000"), false),
    ] {
        mirror
            .root
            .write(sources, format!("{stanza}Signed-By: {print}\n"));
        assert_eq!(found(), good, "{print}");
    }
    mirror.root.write(sources, format!("{stanza}Enabled: no\n"));
    assert!(!found());
}

#[test]
fn what_another_key_signed_is_not_believed() {
    let mirror = Mirror::new("another");
    let other = Gpg::new("another-b");
    other.run(&[
        "--quick-gen-key",
        "b@example.org",
        "ed25519",
        "sign",
        "never",
    ]);
    mirror
        .root
        .write("usr/share/keyrings/own.gpg", other.run(&["--export"]));
    let error = mirror.nowhere();
    assert!(error.contains("no such key is in the keyring"), "{error}");
    // Unless somebody decided so.
    let url = &mirror.server.url;
    mirror.root.write(
        "etc/apt/sources.list",
        format!("deb [trusted=yes] {url} stable main\n"),
    );
    let found = exact(&mirror.root, &hello("1.0-1"), None);
    assert!(found[0].trust[0].contains("trusted=yes"), "{found:?}");
}

#[test]
fn an_old_index_is_refused_unless_somebody_accepts_it() {
    let mirror = Mirror::new("old");
    mirror.release("Valid-Until: Sat, 01 Feb 2025 00:00:00 UTC\n", &[".xz"]);
    let error = mirror.nowhere();
    assert!(error.contains("valid until 2025-02-01"), "{error}");
    let options = Options {
        accept_expired: true,
    };
    let found = find_with(&mirror.root, &hello("1.0-1"), None, options);
    assert!(matches!(found, Ok(Found::Exact(_))));
    let url = &mirror.server.url;
    let options = "signed-by=/usr/share/keyrings/own.gpg check-valid-until=no";
    mirror.root.write(
        "etc/apt/sources.list",
        format!("deb [{options}] {url} stable main\n"),
    );
    exact(&mirror.root, &hello("1.0-1"), None);
    // And one of the future: somebody's clock is wrong.
    mirror.release("Date: Sat, 01 Feb 2098 00:00:00 UTC\n", &[".xz"]);
    let error = mirror.nowhere();
    assert!(
        error.contains("2098-02-01") && error.contains("clock"),
        "{error}"
    );
}

#[test]
fn an_index_by_a_key_that_expired_is_refused_unless_somebody_accepts_it() {
    let mirror = Mirror::new("oldkey");
    let print = mirror.gpg.run(&["--with-colons", "--list-keys"]);
    let print = String::from_utf8(print).unwrap();
    let print = print.lines().find_map(|line| line.strip_prefix("fpr:"));
    let print = print.unwrap().trim_matches(':');
    mirror.gpg.run(&["--quick-set-expire", print, "seconds=3"]);
    mirror.release("", &[".xz"]);
    mirror
        .root
        .write("usr/share/keyrings/own.gpg", mirror.gpg.run(&["--export"]));
    exact(&mirror.root, &hello("1.0-1"), None);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let error = mirror.nowhere();
    for what in [
        print,
        "expired on 20",
        "own.gpg",
        "clock",
        "--accept-expired",
    ] {
        assert!(error.contains(what), "{what}: {error}");
    }
    let options = Options {
        accept_expired: true,
    };
    let found = find_with(&mirror.root, &hello("1.0-1"), None, options);
    assert!(matches!(found, Ok(Found::Exact(_))), "{found:?}");
}

#[test]
fn faults_of_a_mirror_are_named() {
    let mirror = Mirror::new("faults");
    let server = &mirror.server;
    let index = format!("{INDEX}.xz");
    let packed = mirror.folder.read(&index);
    let mut other = packed.clone();
    other[40] ^= 1;
    let release = mirror.folder.read("dists/stable/InRelease");
    let release = String::from_utf8(release).unwrap();
    for (path, fault, expected) in [
        ("dists/stable/InRelease", Fault::Html, "captive portal"),
        (
            "dists/stable/InRelease",
            Fault::Instead(release.replace("Suite: stable", "Suite: unstabl").into()),
            "does not fit",
        ),
        (
            "dists/stable/InRelease",
            Fault::Instead(vec![b'x'; 17 << 20]),
            "longer than",
        ),
        (&index, Fault::Html, "captive portal"),
        (&index, Fault::Instead(other), "it is sha256:"),
        (
            &index,
            Fault::Instead([&packed[..], &packed].concat()),
            "it is longer than",
        ),
        (
            &index,
            Fault::Instead(packed[..packed.len() - 1].to_vec()),
            "bytes, not",
        ),
        (&index, Fault::Instead(Vec::new()), "it has 0 bytes"),
    ] {
        server.no_faults();
        server.fault(path, fault);
        let error = mirror.nowhere();
        assert!(error.contains(expected), "{path}: {expected}: {error}");
        assert!(error.contains(&server.url), "{error}");
    }
    server.no_faults();
    let found = exact(&mirror.root, &hello("1.0-1"), None).remove(0);
    let deb = mirror.hello();
    let mut other = deb.clone();
    other[deb.len() / 2] ^= 1;
    for (fault, expected) in [
        (Fault::Html, "captive portal"),
        (Fault::Instead(other), "it is sha256:"),
        (Fault::Instead([&deb[..], b"x"].concat()), "longer than"),
        (Fault::Instead(deb[..deb.len() - 1].to_vec()), "bytes, not"),
    ] {
        server.fault(DEB, fault);
        let error = fetch(&found).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    server.no_faults();
    mirror.folder.remove(DEB);
    let error = fetch(&found).unwrap_err();
    assert!(error.contains("no longer there"), "{error}");
}

#[test]
fn a_package_whose_length_nobody_says_has_to_end_in_time() {
    let mirror = Mirror::new("room");
    let deb = mirror.hello();
    let from = From::Url(format!("{}/{DEB}", mirror.server.url));
    let found = exact(&mirror.root, &hello("1.0-1"), Some(from)).remove(0);
    assert_eq!((found.size, found.trust.len()), (None, 0));
    let room = deb.len() as u64;
    assert_eq!(fetch_into(&found, room).unwrap(), deb);
    let error = fetch_into(&found, room - 1).unwrap_err();
    assert!(
        error.contains("there is room for") && error.contains("--scratch"),
        "{error}"
    );
    for other in [
        [&deb[..], b"HTTP/1.1 200 OK"].concat(),
        [&deb[..], &[0; 1 << 16]].concat(),
        deb[..deb.len() - 2000].to_vec(),
    ] {
        mirror.server.fault(DEB, Fault::Instead(other));
        let error = fetch(&found).unwrap_err();
        assert!(error.contains("is not what it should be"), "{error}");
    }
}

#[test]
fn a_connection_that_is_cut_is_taken_up_again() {
    let mirror = Mirror::new("cut");
    let found = exact(&mirror.root, &hello("1.0-1"), None).remove(0);
    let deb = mirror.hello();
    for tenth in 1..10 {
        let fault = Fault::CutAfter(deb.len() * tenth / 10);
        mirror.server.fault(DEB, fault);
        mirror.server.asked();
        assert_eq!(fetch(&found).unwrap(), deb, "{tenth}");
        let expected = 10usize.div_ceil(tenth);
        let asked = mirror.server.asked().len();
        assert!(
            (expected..=expected + 1).contains(&asked),
            "{tenth}: {asked}"
        );
    }
    // Without ranges it never gets further, and gives up.
    mirror
        .server
        .fault(DEB, Fault::CutAfterWithoutRanges(deb.len() / 2));
    let error = fetch(&found).unwrap_err();
    assert!(error.contains("it ended after"), "{error}");
    mirror.server.fault(DEB, Fault::CutAfter(0));
    assert!(fetch(&found).is_err());
}

#[test]
fn an_index_that_unpacks_without_end_is_refused() {
    let mirror = Mirror::new("bomb");
    mirror.folder.write(INDEX, vec![b'\n'; 8 << 20]);
    mirror.release("", &["", ".xz"]);
    // What it unpacks to is ten times what Release says.
    let release = String::from_utf8(mirror.folder.read("dists/stable/Release")).unwrap();
    let release = release.replace(&format!("{:>8}", 8 << 20), "  800000");
    mirror.sign(&release);
    let error = mirror.nowhere();
    assert!(error.contains("unpacks to more than"), "{error}");
}

#[test]
fn a_version_that_is_gone_offers_the_nearest() {
    let mirror = Mirror::new("gone");
    for (wanted, expected) in [
        ("1.0-3", ["1.0-2", "1.0-1", "2.0-1"]),
        ("1.5-1", ["2.0-1", "1.0-2", "1.0-1"]),
        ("3.0-1", ["2.0-1", "1.0-2", "1.0-1"]),
    ] {
        let Ok(Found::Others(others)) = find(&mirror.root, &hello(wanted), None) else {
            panic!("{wanted}");
        };
        let versions: Vec<_> = others.iter().map(|o| &*o.package.version).collect();
        assert_eq!(versions, expected, "{wanted}");
        assert!(fetch(&others[0]).is_ok());
    }
    let other = package(Family::Dpkg, "hello", "1.0-1", "arm64");
    assert!(find(&mirror.root, &other, None).is_err());
}

#[test]
fn what_apt_fetched_before_saves_bytes() {
    let mirror = Mirror::new("lists");
    let lists = mirror.update();
    let index = format!("{lists}main_binary-amd64_Packages");
    assert_eq!(exact(&mirror.root, &hello("1.0-1"), None).len(), 1);
    assert_eq!(mirror.server.asked(), [DEB]);
    // A package in apt's cache needs no network, and is believed for its digest.
    let cached = "var/cache/apt/archives/hello_1.0-1_amd64.deb";
    mirror.root.write(cached, mirror.hello());
    let found = exact(&mirror.root, &hello("1.0-1"), None);
    let path = mirror.root.path().join(cached);
    assert_eq!(found[0].location, path.to_str().unwrap());
    assert_eq!(found[0].trust.len(), 4);
    assert_eq!(fetch(&found[0]).unwrap(), mirror.hello());
    // The disk that damaged the system may have damaged that as well.
    let mut damaged = mirror.hello();
    damaged[500] ^= 1;
    mirror.root.write(cached, &damaged);
    let found = exact(&mirror.root, &hello("1.0-1"), None);
    assert!(found[0].location.starts_with("http"), "{found:?}");
    // Lists that were damaged are fetched anew.
    let mut list = mirror.folder.read(INDEX);
    list[20] ^= 1;
    mirror.root.write(&index, list);
    mirror.server.asked();
    exact(&mirror.root, &hello("1.0-1"), None);
    assert!(mirror.server.asked().contains(&format!("{INDEX}.xz")));
    // When nothing can be asked, what is in the cache is offered, and nothing vouches for it.
    mirror.folder.remove("dists/stable/InRelease");
    mirror.folder.remove("dists/stable/Release");
    mirror.root.remove(&format!("{lists}InRelease"));
    let found = exact(&mirror.root, &hello("1.0-1"), None);
    assert!(found[0].trust.is_empty());
    assert_eq!(fetch(&found[0]).unwrap(), damaged);
}

/// An index of its own for packages of all architectures is something that few mirrors have.
#[test]
fn a_package_for_all_is_in_the_index_of_this_machine_s_architecture() {
    let mirror = Mirror::new("all");
    let data = package(Family::Dpkg, "hello-data", "1:1.0-1", "all");
    assert_eq!(exact(&mirror.root, &data, None).len(), 1);
    // Where dpkg itself is not among the packages, it is the machine that this runs on.
    mirror.root.write(
        "var/lib/dpkg/status",
        "Package: hello-data\nArchitecture: all\n",
    );
    assert_eq!(exact(&mirror.root, &data, None).len(), 1);
}

#[test]
fn links_in_the_cache_lead_nowhere_else() {
    let mirror = Mirror::new("links");
    let cached = "var/cache/apt/archives/hello_1.0-1_amd64.deb";
    mirror.root.write(cached, "");
    mirror.root.remove(cached);
    let secret = mirror.folder.path().join(DEB);
    std::os::unix::fs::symlink(secret, mirror.root.path().join(cached)).unwrap();
    let found = exact(&mirror.root, &hello("1.0-1"), None);
    assert!(
        found.iter().all(|c| c.location.starts_with("http")),
        "{found:?}"
    );
}

#[test]
fn another_mirror_may_stand_in_for_the_systems_own() {
    let mirror = Mirror::new("standin");
    mirror.root.write(
        "etc/apt/sources.list",
        "deb [signed-by=/usr/share/keyrings/own.gpg] http://192.0.2.1/gone stable main\n",
    );
    for from in [
        From::Url(format!("{}/", mirror.server.url)),
        From::Path(mirror.folder.path().to_path_buf()),
    ] {
        let found = exact(&mirror.root, &hello("1.0-1"), Some(from.clone()));
        assert_eq!(found[0].trust.len(), 3, "{from:?}");
        assert_eq!(fetch(&found[0]).unwrap(), mirror.hello());
        // Its signature is checked all the same.
        let release = mirror.folder.read("dists/stable/InRelease");
        let other = String::from_utf8(release.clone())
            .unwrap()
            .replace("anchor", "anch0r");
        mirror.folder.write("dists/stable/InRelease", other);
        let error = nowhere(&mirror.root, &hello("1.0-1"), Some(from));
        assert!(error.contains("does not fit"), "{error}");
        mirror.folder.write("dists/stable/InRelease", release);
    }
}

/// As `from`, a package that the system's lists vouch for.
fn vouched(root: &Folder, from: &From) -> Candidate {
    let mut found = exact(root, &hello("1.0-1"), Some(from.clone()));
    assert_eq!(found.len(), 1);
    let found = found.remove(0);
    let trust = found.trust.join("\n");
    for step in [
        "InRelease of http://127.0.0.1:",
        "in /usr/share/keyrings/own.gpg\nit names main/binary-amd64/Packages by sha256:",
        &format!("\nthat names {DEB} by sha256:"),
        "\nthe package that was named is that one",
    ] {
        assert!(trust.contains(step), "{step}: {trust}");
    }
    found
}

fn nobodys(root: &Folder, from: &From) -> Candidate {
    let found = exact(root, &hello("1.0-1"), Some(from.clone())).remove(0);
    assert!(found.trust.is_empty(), "{found:?}");
    found
}

/// A .deb of the same version that somebody built once more.
fn rebuilt(deb: &[u8]) -> Vec<u8> {
    let mut other = deb.to_vec();
    other[deb.len() / 2] ^= 1;
    other
}

#[test]
fn what_apt_fetched_before_vouches_for_a_package_that_somebody_names() {
    let mirror = Mirror::new("vouched");
    mirror.update();
    let (deb, elsewhere) = (mirror.hello(), Folder::new("vouched-elsewhere"));
    let (file, other) = ("hello_other_name.deb", "hello_built_anew.deb");
    let from = |name: &str| From::Path(elsewhere.path().join(name));
    elsewhere.write(file, &deb);
    elsewhere.write(other, rebuilt(&deb));
    // Nobody needs to be asked.
    let found = vouched(&mirror.root, &from(file));
    assert_eq!(found.size, Some(deb.len() as u64));
    assert_eq!(fetch(&found).unwrap(), deb);
    assert_eq!(mirror.server.asked(), [""; 0]);
    // Of what was built anew everybody is as well off as without an index.
    let found = nobodys(&mirror.root, &from(other));
    assert!(found.trust_if_named().is_empty());
    assert_eq!(fetch(&found).unwrap(), rebuilt(&deb));
    elsewhere.write(other, &deb[..deb.len() - 2]);
    nobodys(&mirror.root, &from(other));
    // In a folder, what is vouched for comes first.
    elsewhere.write("hello_0.deb", rebuilt(&deb));
    let folder = From::Path(elsewhere.path().to_path_buf());
    let found = exact(&mirror.root, &hello("1.0-1"), Some(folder));
    assert_eq!(found.len(), 3);
    assert!(found[0].location.ends_with(file), "{found:?}");
    assert_eq!(found[0].trust.len(), 4);
    assert!(found[1].trust.is_empty() && found[2].trust.is_empty());
    // It is what it was then when it is fetched, too.
    elsewhere.write(file, rebuilt(&deb));
    let error = fetch(&found[0]).unwrap_err();
    assert!(error.contains("it is sha256:"), "{error}");
    // Packages for all architectures; and other versions than the one that is wanted.
    let all = "pool/main/h/hello/hello-data_1.0-1_all.deb";
    let all = From::Path(mirror.folder.path().join(all));
    let data = package(Family::Dpkg, "hello-data", "1:1.0-1", "all");
    assert_eq!(exact(&mirror.root, &data, Some(all))[0].trust.len(), 4);
    let second = "pool/main/h/hello/hello_1.0-2_amd64.deb";
    let second = From::Path(mirror.folder.path().join(second));
    let Ok(Found::Others(others)) = find(&mirror.root, &hello("1.0-1"), Some(second)) else {
        panic!();
    };
    assert!(others[0].trust[2].contains("hello_1.0-2_amd64.deb"));
}

#[test]
fn whether_the_lists_vouch_for_a_url_is_known_when_it_is_fetched() {
    let mirror = Mirror::new("vouched-url");
    mirror.update();
    let deb = mirror.hello();
    let from = From::Url(format!("{}/{DEB}", mirror.server.url));
    let mut found = nobodys(&mirror.root, &from);
    let promised = found.trust_if_named().to_vec();
    assert_eq!(promised.len(), 3);
    let room = deb.len() as u64;
    assert_eq!(fetch_and_learn(&mut found, room).unwrap(), deb);
    assert_eq!(found.trust[..3], promised);
    assert_eq!((found.trust.len(), found.size), (4, Some(room)));
    // Once more it has to be the same.
    mirror.server.fault(DEB, Fault::Instead(rebuilt(&deb)));
    let error = fetch(&found).unwrap_err();
    assert!(error.contains("it is sha256:"), "{error}");
    // And what was built anew is nobody's.
    let mut found = nobodys(&mirror.root, &from);
    assert_eq!(fetch_and_learn(&mut found, room).unwrap(), rebuilt(&deb));
    assert!(found.trust.is_empty() && found.trust_if_named().is_empty());
}

#[test]
fn lists_that_are_not_believed_vouch_for_nothing() {
    let mirror = Mirror::new("unbelieved");
    let lists = mirror.update();
    let from = From::Path(mirror.folder.path().join(DEB));
    vouched(&mirror.root, &from);
    // Other bytes in the index, in what is signed, and another key.
    for file in ["main_binary-amd64_Packages", "InRelease"] {
        let file = format!("{lists}{file}");
        let good = mirror.root.read(&file);
        let text = String::from_utf8(good.clone()).unwrap();
        let other = text.replace("Description: test", "Description: tset");
        let other = other.replace("anchor", "anch0r");
        assert_ne!(text, other);
        mirror.root.write(&file, other);
        nobodys(&mirror.root, &from);
        mirror.root.write(&file, good);
    }
    let key = mirror.root.read("usr/share/keyrings/own.gpg");
    mirror.root.remove("usr/share/keyrings/own.gpg");
    nobodys(&mirror.root, &from);
    mirror.root.write("usr/share/keyrings/own.gpg", key);
    vouched(&mirror.root, &from);
    // Lists of a source that the system no longer has.
    let sources = mirror.root.read("etc/apt/sources.list");
    mirror.root.write("etc/apt/sources.list", "");
    nobodys(&mirror.root, &from);
    mirror.root.write("etc/apt/sources.list", sources);
    // And those that are too old.
    mirror.release("Valid-Until: Sat, 01 Feb 2025 00:00:00 UTC\n", &[""]);
    mirror.update();
    nobodys(&mirror.root, &from);
    let options = Options {
        accept_expired: true,
    };
    let found = find_with(&mirror.root, &hello("1.0-1"), Some(from), options);
    let Ok(Found::Exact(found)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(found[0].trust.len(), 4);
}
