//! pacman's chain of trust against a repository that is made here, and packages that the real gpg signs.

// A test that panics says why.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use kedge_packages::{Family, Package};
use kedge_sources::{Found, From, Options};
use support::gpg::Gpg;
use support::{
    Fault, Folder, Server, base64, exact, fetch, find, find_with, noise, nowhere, package, run,
    sha256,
};

const PACKAGE: &str = "core/os/x86_64/hello-1.0-1-x86_64.pkg.tar.zst";

/// A repository, a packager, and three masters who certified the packager's key.
struct Repository {
    packager: Gpg,
    masters: Vec<String>,
    folder: Folder,
    root: Folder,
    server: Server,
}

fn hello(version: &str) -> Package {
    package(Family::Pacman, "hello", version, "x86_64")
}

fn print_of(gpg: &Gpg, id: &str) -> String {
    let listed = gpg.run(&["--with-colons", "--list-keys", id]);
    let listed = String::from_utf8(listed).unwrap();
    let print = listed.lines().find_map(|line| line.strip_prefix("fpr:"));
    print.unwrap().trim_matches(':').to_owned()
}

impl Repository {
    fn new(name: &str) -> Repository {
        let packager = Gpg::new(name);
        packager.run(&[
            "--quick-gen-key",
            "Packager <p@example.org>",
            "ed25519",
            "sign",
            "never",
        ]);
        let key = print_of(&packager, "p@example.org");
        let mut masters = Vec::new();
        for number in 1..=3 {
            let id = format!("master{number}@example.org");
            packager.run(&["--quick-gen-key", &id, "ed25519", "cert", "never"]);
            let master = print_of(&packager, &id);
            packager.run(&["-u", &master, "--quick-sign-key", &key]);
            masters.push(master);
        }
        let folder = Folder::new(&format!("{name}-mirror"));
        let root = Folder::new(&format!("{name}-root"));
        let server = Server::of(&folder);
        root.write(
            "etc/pacman.conf",
            "[options]\nArchitecture = auto\nSigLevel = Required DatabaseOptional\n\
             [core]\nInclude = /etc/pacman.d/mirrorlist\n",
        );
        root.write(
            "etc/pacman.d/mirrorlist",
            format!(
                "#Server = http://192.0.2.1/\nServer = {}/$repo/os/$arch\n",
                server.url
            ),
        );
        let repository = Repository {
            packager,
            masters,
            folder,
            root,
            server,
        };
        repository.keyring();
        for version in ["1.0-1", "1.1-1"] {
            repository.package(version);
        }
        repository
    }

    fn keyring(&self) {
        let keyrings = "usr/share/pacman/keyrings/own";
        self.root
            .write(&format!("{keyrings}.gpg"), self.packager.run(&["--export"]));
        let trusted: String = self.masters.iter().map(|m| format!("{m}:4:\n")).collect();
        self.root.write(&format!("{keyrings}-trusted"), trusted);
        self.root.write(&format!("{keyrings}-revoked"), "");
    }

    fn package(&self, version: &str) {
        let tree = Folder::new("tree");
        tree.write("usr/bin/hello", noise());
        tree.write(
            ".PKGINFO",
            format!("pkgname = hello\npkgver = {version}\narch = x86_64\npkgdesc = x\nsize = 1\n"),
        );
        let file = self
            .folder
            .path()
            .join(format!("core/os/x86_64/hello-{version}-x86_64.pkg.tar.zst"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let path = file.to_str().unwrap();
        run(
            tree.path(),
            &["bsdtar", "--zstd", "-cf", path, ".PKGINFO", "usr"],
        );
        let content = std::fs::read(&file).unwrap();
        let signature = self.packager.detached(&content, &["-u", "p@example.org"]);
        std::fs::write(format!("{path}.sig"), signature).unwrap();
        self.database(version, &content);
    }

    /// Makes a database of one version of the package, as repo-add does.
    fn database(&self, version: &str, content: &[u8]) {
        let file = format!("hello-{version}-x86_64.pkg.tar.zst");
        let signature = self.folder.read(&format!("core/os/x86_64/{file}.sig"));
        let tree = Folder::new("database");
        tree.write(
            &format!("hello-{version}/desc"),
            format!(
                "%FILENAME%\n{file}\n\n%NAME%\nhello\n\n%BASE%\nhello\n\n%VERSION%\n{version}\n\n\
                 %CSIZE%\n{}\n\n%SHA256SUM%\n{}\n\n%PGPSIG%\n{}\n\n%ARCH%\nx86_64\n\n",
                content.len(),
                sha256(content),
                base64(&signature)
            ),
        );
        // A package whose name begins with the other's.
        tree.write(
            &format!("hello-data-{version}/desc"),
            format!("%FILENAME%\nx\n\n%NAME%\nhello-data\n\n%VERSION%\n{version}\n\n%ARCH%\nany\n"),
        );
        let database = self.folder.path().join("core/os/x86_64/core.db");
        let database = database.to_str().unwrap();
        let folders = [format!("hello-{version}"), format!("hello-data-{version}")];
        run(
            tree.path(),
            &["tar", "-czf", database, &folders[0], &folders[1]],
        );
    }
}

#[test]
fn the_very_version_is_found_and_its_packager_believed() {
    let repository = Repository::new("pac-found");
    let wanted = hello("1.1-1");
    let found = exact(&repository.root, &wanted, None);
    assert_eq!(found.len(), 1);
    let trust = found[0].trust.join("\n");
    let print = print_of(&repository.packager, "p@example.org");
    for step in [
        &*print,
        "(Packager <p@example.org>)",
        "/usr/share/pacman/keyrings/own.gpg",
    ] {
        assert!(trust.contains(step), "{step}: {trust}");
    }
    let file = PACKAGE.replace("1.0", "1.1");
    assert_eq!(
        found[0].location,
        format!("{}/{file}", repository.server.url)
    );
    let content = repository.folder.read(&file);
    assert_eq!(fetch(&found[0]).unwrap(), content);
    for from in [
        From::Url(repository.server.url.clone()),
        From::Path(repository.folder.path().to_path_buf()),
        From::Path(repository.folder.path().join(&file)),
    ] {
        let found = exact(&repository.root, &wanted, Some(from.clone()));
        assert!(found[0].trust.join("\n").contains(&print), "{from:?}");
        assert_eq!(fetch(&found[0]).unwrap(), content);
    }
    // A mirror has one version.
    let Ok(Found::Others(others)) = find(&repository.root, &hello("1.0-1"), None) else {
        panic!();
    };
    assert_eq!(others[0].package.version, "1.1-1");
}

#[test]
fn what_the_packager_did_not_sign_is_not_believed() {
    let repository = Repository::new("pac-unsigned");
    let file = PACKAGE.replace("1.0", "1.1");
    let content = repository.folder.read(&file);
    let from = || Some(From::Path(repository.folder.path().join(&file)));
    let found = exact(&repository.root, &hello("1.1-1"), from()).remove(0);
    for at in [300, content.len() / 2, content.len() - 1] {
        let mut other = content.clone();
        other[at] ^= 1;
        repository.folder.write(&file, other);
        let error = fetch(&found).unwrap_err();
        assert!(error.contains("does not fit"), "{error}");
    }
    repository.folder.write(&file, &content);
    fetch(&found).unwrap();
    // A key that only two masters certified; that was revoked by list; that is not there.
    let list = "usr/share/pacman/keyrings/own";
    let print = print_of(&repository.packager, "p@example.org");
    let two: String = repository.masters[..2]
        .iter()
        .map(|m| format!("{m}:4:\n"))
        .collect();
    repository.root.write(&format!("{list}-trusted"), two);
    let found = exact(&repository.root, &hello("1.1-1"), from()).remove(0);
    let error = fetch(&found).unwrap_err();
    assert!(error.contains("no such key is in the keyring"), "{error}");
    repository.keyring();
    repository
        .root
        .write(&format!("{list}-revoked"), format!("{print}\n"));
    let found = exact(&repository.root, &hello("1.1-1"), from()).remove(0);
    assert!(fetch(&found).is_err());
    repository.keyring();
    let found = exact(&repository.root, &hello("1.1-1"), from()).remove(0);
    fetch(&found).unwrap();
    // Without a signature nothing vouches for it, and the system's own sources do not offer it.
    repository.folder.remove(&format!("{file}.sig"));
    let found = exact(&repository.root, &hello("1.1-1"), from()).remove(0);
    assert!(found.trust.is_empty());
}

#[test]
fn the_home_of_gnupg_says_who_is_trusted() {
    let repository = Repository::new("pac-home");
    let file = PACKAGE.replace("1.0", "1.1");
    let home = "etc/pacman.d/gnupg";
    repository.root.write(
        &format!("{home}/pubring.gpg"),
        repository.packager.run(&["--export"]),
    );
    repository.root.remove("usr/share/pacman/keyrings/own.gpg");
    let from = || Some(From::Path(repository.folder.path().join(&file)));
    let good = |levels: &[u8]| {
        let trust: String = repository
            .masters
            .iter()
            .zip(levels)
            .map(|(master, level)| format!("{master}:{level}:\n"))
            .collect();
        let trust = repository.packager.file("ownertrust", trust.as_bytes());
        let database = repository.packager.path("trustdb.gpg");
        let _ = std::fs::remove_file(&database);
        repository
            .packager
            .run(&["--trust-model", "pgp", "--import-ownertrust", &trust]);
        let database = std::fs::read(database).unwrap();
        repository
            .root
            .write(&format!("{home}/trustdb.gpg"), database);
        let found = exact(&repository.root, &hello("1.1-1"), from());
        !found[0].trust.is_empty() && fetch(&found[0]).is_ok()
    };
    // One ultimately trusted key is enough.
    assert!(good(&[6]));
    // A fully trusted one that nobody made valid is not, nor are three marginally trusted ones.
    assert!(!good(&[5]));
    assert!(!good(&[4, 4, 4]));
}

#[test]
fn masters_who_expired_or_were_revoked_vouch_for_nobody() {
    let repository = Repository::new("pac-masters");
    let packager = &repository.packager;
    let good = |options| match find_with(&repository.root, &hello("1.1-1"), None, options) {
        Ok(Found::Exact(found)) => fetch(&found[0]).is_ok(),
        _ => false,
    };
    let expired_too = Options {
        accept_expired: true,
    };
    assert!(good(Options::default()));
    let [first, second, _] = &repository.masters[..] else {
        panic!();
    };
    packager.run(&["--quick-set-expire", first, "seconds=1"]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    repository.keyring();
    assert!(!good(Options::default()));
    assert!(good(expired_too));
    packager.run(&["--quick-set-expire", first, "never"]);
    repository.keyring();
    assert!(good(Options::default()));
    // What the distribution says of a master, and what he says himself.
    let revoked = "usr/share/pacman/keyrings/own-revoked";
    repository.root.write(revoked, format!("{second}\n"));
    assert!(!good(expired_too));
    repository.root.write(revoked, "");
    assert!(good(Options::default()));
    let revocation = packager.path(&format!("openpgp-revocs.d/{second}.rev"));
    let revocation = std::fs::read_to_string(revocation).unwrap();
    // gpg puts a colon in front, so that nobody takes it by mistake.
    let revocation = revocation.replace(":-----", "-----");
    let file = packager.file("revocation", revocation.as_bytes());
    packager.run(&["--import", &file]);
    repository.keyring();
    assert!(!good(expired_too));
}

#[test]
fn faults_of_a_mirror_are_named() {
    let repository = Repository::new("pac-faults");
    let (root, server) = (&repository.root, &repository.server);
    let database = repository.folder.read("core/os/x86_64/core.db");
    for (fault, expected) in [
        (Fault::Html, "captive portal"),
        (
            Fault::Instead(database[..database.len() / 2].to_vec()),
            "core.db: ",
        ),
    ] {
        server.fault("core/os/x86_64/core.db", fault);
        let error = nowhere(root, &hello("1.1-1"), None);
        assert!(error.contains(expected), "{error}");
    }
    server.no_faults();
    let found = exact(root, &hello("1.1-1"), None).remove(0);
    let file = PACKAGE.replace("1.0", "1.1");
    server.fault(&file, Fault::Html);
    let error = fetch(&found).unwrap_err();
    assert!(error.contains("captive portal"), "{error}");
    let content = repository.folder.read(&file);
    server.fault(&file, Fault::CutAfter(content.len() / 4));
    assert_eq!(fetch(&found).unwrap(), content);
}

#[test]
fn what_pacman_fetched_before_needs_no_network() {
    let repository = Repository::new("pac-cache");
    let content = repository.folder.read(PACKAGE);
    let name = PACKAGE.rsplit('/').next().unwrap();
    let cached = format!("var/cache/pacman/pkg/{name}");
    repository.root.write(&cached, &content);
    repository.root.write(
        &format!("{cached}.sig"),
        repository.folder.read(&format!("{PACKAGE}.sig")),
    );
    let found = exact(&repository.root, &hello("1.0-1"), None);
    assert!(found[0].location.ends_with(&cached));
    assert_eq!(fetch(&found[0]).unwrap(), content);
    assert!(repository.server.asked().is_empty());
    // The database from the last time saves asking for it.
    let database = repository.folder.read("core/os/x86_64/core.db");
    repository
        .root
        .write("var/lib/pacman/sync/core.db", database);
    exact(&repository.root, &hello("1.1-1"), None);
    assert!(
        !repository
            .server
            .asked()
            .contains(&"core/os/x86_64/core.db".to_owned())
    );
}
