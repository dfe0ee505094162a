//! dnf's and zypper's chain of trust against a repository that is made here, with packages of the real rpmbuild that the real
//! rpmsign signs.

// A test that panics says why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::process::Command;

use kedge_packages::{Family, Package};
use kedge_sources::{Candidate, Found, From};
use support::gpg::Gpg;
use support::{Fault, Folder, Server, exact, fetch, find, noise, nowhere, package, run, sha256};

const RPM: &str = "Packages/hello-1.0-1.noarch.rpm";
const PRIMARY: &str = "repodata/primary.xml.gz";

struct Repository {
    gpg: Gpg,
    folder: Folder,
    root: Folder,
    server: Server,
}

fn hello(version: &str) -> Package {
    package(Family::Rpm, "hello", version, "noarch")
}

impl Repository {
    fn new(name: &str, algorithm: &str) -> Repository {
        let gpg = Gpg::new(name);
        gpg.run(&[
            "--quick-gen-key",
            "Builder <b@example.org>",
            algorithm,
            "sign",
            "never",
        ]);
        let folder = Folder::new(&format!("{name}-mirror"));
        let root = Folder::new(&format!("{name}-root"));
        let server = Server::of(&folder);
        root.write("etc/os-release", "ID=rocky\nVERSION_ID=\"9.4\"\n");
        root.write(
            "etc/pki/rpm-gpg/RPM-GPG-KEY-own",
            gpg.run(&["--armor", "--export"]),
        );
        let repository = Repository {
            gpg,
            folder,
            root,
            server,
        };
        repository.configure("gpgcheck=1\n");
        repository.rpm("1.0", "1");
        repository.rpm("1.0", "2");
        repository.index("gzip");
        repository
    }

    fn configure(&self, more: &str) {
        self.root.write(
            "etc/yum.repos.d/own.repo",
            format!(
                "[own]\nname=Own $releasever\nbaseurl={}/$releasever/\nenabled=1\n\
                 gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-own\n{more}\n[off]\nbaseurl=http://192.0.2.1/\nenabled=0\n",
                self.server.url
            ),
        );
    }

    fn rpm(&self, version: &str, release: &str) {
        let work = Folder::new("rpm");
        work.write("hello", noise());
        work.write(
            "hello.spec",
            format!(
                "Name: hello\nVersion: {version}\nRelease: {release}\nSummary: x\nLicense: MIT\nBuildArch: noarch\n\
                 %description\nx\n%install\nmkdir -p %{{buildroot}}/usr/share\ncp {0}/hello %{{buildroot}}/usr/share/hello\n\
                 %files\n/usr/share/hello\n",
                work.path().display()
            ),
        );
        let top = format!("_topdir {}", work.path().display());
        run(
            work.path(),
            &["rpmbuild", "-bb", "--quiet", "-D", &top, "hello.spec"],
        );
        let built = work.read(&format!("RPMS/noarch/hello-{version}-{release}.noarch.rpm"));
        work.write("hello.rpm", built);
        let status = Command::new("rpmsign")
            .current_dir(work.path())
            .env("GNUPGHOME", self.gpg.path(""))
            .args([
                "-D",
                "__gpg /usr/bin/gpg",
                "-D",
                "_gpg_name b@example.org",
                "-D",
                "_gpg_digest_algo sha256",
            ])
            .args(["--addsign", "hello.rpm"])
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        self.folder.write(
            &format!("9/Packages/hello-{version}-{release}.noarch.rpm"),
            work.read("hello.rpm"),
        );
    }

    /// Makes the metadata, as createrepo does, and signs it.
    fn index(&self, packer: &str) {
        let mut list = String::from("<?xml version=\"1.0\"?>\n<metadata packages=\"2\">\n");
        for release in ["1", "2"] {
            let file = format!("Packages/hello-1.0-{release}.noarch.rpm");
            let rpm = self.folder.read(&format!("9/{file}"));
            list += &format!(
                "<package type=\"rpm\">\n <name>hello</name>\n <arch>noarch</arch>\n \
                 <version epoch=\"0\" ver=\"1.0\" rel=\"{release}\"/>\n \
                 <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\n <summary>x &amp; y</summary>\n \
                 <size package=\"{}\" installed=\"1\" archive=\"1\"/>\n <location href=\"{file}\"/>\n</package>\n",
                sha256(&rpm),
                rpm.len()
            );
        }
        list += "</metadata>\n";
        let open = list.len();
        self.folder.write("9/repodata/primary.xml", list);
        let packed = run(
            self.folder.path(),
            &[packer, "-c", "9/repodata/primary.xml"],
        );
        self.folder.write(&format!("9/{PRIMARY}"), &packed);
        self.repomd(&format!(
            "<checksum type=\"sha256\">{}</checksum>\n<size>{}</size>\n<open-size>{open}</open-size>",
            sha256(&packed),
            packed.len()
        ));
    }

    fn repomd(&self, what: &str) {
        let repomd = format!(
            "<?xml version=\"1.0\"?>\n<repomd>\n<data type=\"filelists\"><location href=\"x\"/></data>\n\
             <data type=\"primary\">\n{what}\n<location href=\"{PRIMARY}\"/>\n</data>\n</repomd>\n"
        );
        let signature = self.gpg.detached(repomd.as_bytes(), &["--armor"]);
        self.folder.write("9/repodata/repomd.xml", repomd);
        self.folder.write("9/repodata/repomd.xml.asc", signature);
    }

    fn found(&self) -> Candidate {
        exact(&self.root, &hello("1.0-1"), None).remove(0)
    }

    fn nowhere(&self) -> String {
        nowhere(&self.root, &hello("1.0-1"), None)
    }
}

#[test]
fn the_very_version_is_found_and_its_builder_believed() {
    for algorithm in ["rsa2048", "ed25519"] {
        let repository = Repository::new(&format!("dnf-{algorithm}"), algorithm);
        let rpm = repository.folder.read(&format!("9/{RPM}"));
        for packer in ["gzip", "xz", "zstd"] {
            repository.index(packer);
            let found = repository.found();
            assert_eq!(found.location, format!("{}/9/{RPM}", repository.server.url));
            assert_eq!(found.size, Some(rpm.len() as u64));
            let trust = found.trust.join("\n");
            assert!(
                trust.contains("/etc/pki/rpm-gpg/RPM-GPG-KEY-own"),
                "{trust}"
            );
            assert_eq!(fetch(&found).unwrap(), rpm);
        }
        let Ok(Found::Others(others)) = find(&repository.root, &hello("1.0-3"), None) else {
            panic!();
        };
        let versions: Vec<_> = others.iter().map(|o| &*o.package.version).collect();
        assert_eq!(versions, ["1.0-2", "1.0-1"]);
        for from in [
            From::Url(format!("{}/9", repository.server.url)),
            From::Path(repository.folder.path().join("9")),
            From::Path(repository.folder.path().join(format!("9/{RPM}"))),
        ] {
            let found = exact(&repository.root, &hello("1.0-1"), Some(from));
            assert_eq!(fetch(&found[0]).unwrap(), rpm);
        }
    }
}

#[test]
fn what_the_builder_did_not_sign_is_not_believed() {
    let repository = Repository::new("dnf-unsigned", "rsa2048");
    let path = format!("9/{RPM}");
    let rpm = repository.folder.read(&path);
    let file = From::Path(repository.folder.path().join(&path));
    let found = exact(&repository.root, &hello("1.0-1"), Some(file)).remove(0);
    fetch(&found).unwrap();
    // In the header, and in the content. (What stands before the header is not signed.)
    let header = rpm
        .windows(4)
        .rposition(|w| w == [0x8e, 0xad, 0xe8, 1])
        .unwrap();
    for at in [
        header + 20,
        header + 2000,
        rpm.len() - 10,
        rpm.len() - 10_000,
    ] {
        let mut other = rpm.clone();
        other[at] ^= 1;
        repository.folder.write(&path, &other);
        let error = fetch(&found).unwrap_err();
        assert!(error.contains("not what it should be"), "{at}: {error}");
    }
    for length in [0, 50, 100, header, header + 100, rpm.len() - 1] {
        repository.folder.write(&path, &rpm[..length]);
        assert!(fetch(&found).is_err(), "{length}");
    }
    repository.folder.write(&path, &rpm);
    let other = Gpg::new("dnf-other");
    other.run(&[
        "--quick-gen-key",
        "o@example.org",
        "rsa2048",
        "sign",
        "never",
    ]);
    repository.root.write(
        "etc/pki/rpm-gpg/RPM-GPG-KEY-own",
        other.run(&["--armor", "--export"]),
    );
    let error = fetch(&repository.found()).unwrap_err();
    assert!(error.contains("no such key is in the keyring"), "{error}");
    repository.root.remove("etc/pki/rpm-gpg/RPM-GPG-KEY-own");
    assert!(repository.nowhere().contains("RPM-GPG-KEY-own"));
    // Unless somebody decided so.
    repository.configure("gpgcheck=0\n");
    assert_eq!(fetch(&repository.found()).unwrap(), rpm);
    assert!(repository.found().trust.is_empty());
}

#[test]
fn an_index_is_signed_where_that_is_asked_for() {
    let repository = Repository::new("dnf-index", "ed25519");
    repository.configure("gpgcheck=0\nrepo_gpgcheck=1\n");
    let trust = repository.found().trust.join("\n");
    for step in [
        "repomd.xml of http://127.0.0.1:",
        "it names repodata/primary.xml.gz by sha256:",
        &format!("that names {RPM} by sha256:"),
    ] {
        assert!(trust.contains(step), "{step}: {trust}");
    }
    let repomd = repository.folder.read("9/repodata/repomd.xml");
    repository
        .folder
        .write("9/repodata/repomd.xml", [&repomd[..], b"\n"].concat());
    assert!(repository.nowhere().contains("does not fit"));
    repository.folder.remove("9/repodata/repomd.xml.asc");
    assert!(repository.nowhere().contains("not signed"));
}

#[test]
fn faults_of_a_mirror_are_named() {
    let repository = Repository::new("dnf-faults", "ed25519");
    let server = &repository.server;
    let packed = repository.folder.read(&format!("9/{PRIMARY}"));
    let mut other = packed.clone();
    other[30] ^= 1;
    let primary = format!("9/{PRIMARY}");
    for (path, fault, expected) in [
        ("9/repodata/repomd.xml", Fault::Html, "captive portal"),
        (&primary, Fault::Html, "captive portal"),
        (&primary, Fault::Instead(other), "it is sha256:"),
        (
            &primary,
            Fault::Instead([&packed[..], b"x"].concat()),
            "longer than",
        ),
        (
            &primary,
            Fault::Instead(packed[..9].to_vec()),
            "it has 9 bytes",
        ),
    ] {
        server.no_faults();
        server.fault(path, fault);
        let error = repository.nowhere();
        assert!(error.contains(expected), "{path}: {expected}: {error}");
    }
    server.no_faults();
    repository.repomd("<checksum type=\"md5\">d41d8cd98f00b204e9800998ecf8427e</checksum>");
    assert!(repository.nowhere().contains("no SHA-256"));
    let bomb = format!(
        "<checksum type=\"sha256\">{}</checksum><open-size>100</open-size>",
        sha256(&packed)
    );
    repository.repomd(&bomb);
    assert!(repository.nowhere().contains("unpacks to more than"));
}

#[test]
fn mirrors_come_from_lists_and_packages_from_caches() {
    let repository = Repository::new("dnf-lists", "ed25519");
    let url = &repository.server.url;
    repository
        .folder
        .write("list", format!("# mirrors\n{url}/gone\n{url}/9/\n"));
    repository.root.write(
        "etc/yum.repos.d/own.repo",
        format!("[own]\nmirrorlist={url}/list\ngpgcheck=1\n"),
    );
    let rpm = repository.folder.read(&format!("9/{RPM}"));
    assert_eq!(fetch(&repository.found()).unwrap(), rpm);
    repository.folder.write(
        "list",
        format!(
            "<metalink><files><file name=\"repomd.xml\"><resources>\
             <url protocol=\"rsync\">rsync://h/repodata/repomd.xml</url>\
             <url protocol=\"http\">{url}/9/repodata/repomd.xml</url></resources></file></files></metalink>"
        ),
    );
    repository.root.write(
        "etc/yum.repos.d/own.repo",
        format!("[own]\nmetalink={url}/list?a=b\ngpgcheck=1\n"),
    );
    repository
        .folder
        .write("list?a=b", repository.folder.read("list"));
    assert_eq!(fetch(&repository.found()).unwrap(), rpm);
    let cached = "var/cache/dnf/own-0123/packages/hello-1.0-1.noarch.rpm";
    repository.root.write(cached, &rpm);
    assert!(repository.found().location.ends_with(cached));
    assert_eq!(fetch(&repository.found()).unwrap(), rpm);
}
