//! Beside pacman itself (Debian's package `pacman-package-manager`), with packages as makepkg makes them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use kedge_digest::{Algorithm, Hasher};
use kedge_sysroot::Sysroot;

use super::Pacman;
use crate::{Database, Digest, Entry, Kind, Owner};

/// `pacman -U` asks whether it is root; fakeroot(1) says so.
fn run(command: &str, folder: &Path) -> String {
    let mut fakeroot = Command::new("fakeroot");
    fakeroot.args(["sh", "-ec", command]).current_dir(folder);
    let output = fakeroot.env("LC_ALL", "C").output().unwrap_or_else(|error| {
        panic!("fakeroot: {error} (apt-get install fakeroot pacman-package-manager libarchive-tools)")
    });
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const INFO: &str = "\
pkgname = sorts
pkgbase = sorts
pkgver = 1:2.0-3
arch = x86_64
size = 10
backup = etc/tool.conf
";

const CONF: &str = "\
[options]
SigLevel = Never
LocalFileSigLevel = Never
Architecture = auto
NoExtract = usr/share/doc/* !usr/share/doc/sorts/keep
NoUpgrade = etc/passwd*
[core]
Server = https://example.org
";

/// An Arch with one package of files of each sort.
fn arch() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("info"), INFO).unwrap();
    std::fs::write(folder.path().join("conf"), CONF).unwrap();
    run(
        "mkdir -p pkg/usr/bin pkg/etc pkg/usr/share/doc/sorts pkg/usr/share/sorts root/var/lib/pacman root/etc
         cp conf root/etc/pacman.conf
         cd pkg
         cp ../info .PKGINFO
         echo program >usr/bin/tool; chmod 4755 usr/bin/tool
         ln -s tool usr/bin/link
         ln -s 'a b' 'usr/share/sorts/link to blank'
         echo there >'usr/share/sorts/with blank'
         echo umlaut >usr/share/sorts/$(printf '\\303\\244')
         touch usr/share/sorts/nothing -d @1234567890
         chown 12:34 usr/share/sorts/nothing
         echo setting >etc/tool.conf
         echo users >etc/passwd
         echo text >usr/share/doc/sorts/text; echo keep >usr/share/doc/sorts/keep
         bsdtar -czf .MTREE --format=mtree \
           --options='!all,use-set,type,uid,gid,mode,time,size,md5,sha256,link' .PKGINFO *
         bsdtar -cf ../sorts.pkg.tar .PKGINFO .MTREE *
         cd ..
         pacman --root $PWD/root --dbpath $PWD/root/var/lib/pacman --config conf \
           --noconfirm --noscriptlet -U sorts.pkg.tar >&2",
        folder.path(),
    );
    folder
}

fn entries(pacman: &Pacman<'_>) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    pacman
        .entries(0, &mut |entry| {
            let before = entries.insert(entry.path.display().to_string(), entry);
            assert!(before.is_none(), "{before:?}");
        })
        .unwrap();
    entries
}

/// Each file is looked for among them, and all are kept.
#[test]
fn many_configuration_files_take_neither_time_nor_room() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("var/lib/pacman/local/x-1");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("desc"), "%NAME%\nx\n\n%VERSION%\n1\n").unwrap();
    let mut files = String::from("%FILES%\n");
    (0..100_000).for_each(|number| files += &format!("a{number}\n"));
    files += "%BACKUP%\na7\t0\n";
    (0..200_000).for_each(|number| files += &format!("b{number}\t0\n"));
    std::fs::write(package.join("files"), files).unwrap();
    let root = Sysroot::open(folder.path()).unwrap();
    let pacman = Pacman::open(&root).unwrap().unwrap();
    let entries = entries(&pacman);
    assert_eq!(entries.len(), 100_000);
    let configuration = entries.values().filter(|entry| entry.configuration);
    assert_eq!(configuration.count(), 1);
    let complaints = pacman.complaints();
    let told = complaints
        .iter()
        .any(|complaint| complaint.contains("x-1/files names more files than make sense"));
    assert!(told, "{complaints:?}");
}

fn sha256(text: &str) -> Option<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(text.as_bytes());
    Some(hasher.finish())
}

#[test]
fn files_are_as_the_package_brought_them() {
    let arch = arch();
    let root = Sysroot::open(&arch.path().join("root")).unwrap();
    let pacman = Pacman::open(&root).unwrap().unwrap();
    let package = &pacman.packages()[0];
    let words = (
        package.name.as_str(),
        package.version.as_str(),
        package.architecture.as_str(),
    );
    assert_eq!(words, ("sorts", "1:2.0-3", "x86_64"));
    let found = entries(&pacman);
    let listed = run(
        "pacman --root $PWD/root --dbpath $PWD/root/var/lib/pacman --config conf -Qlq sorts",
        arch.path(),
    );
    let prefix = format!("{}/root/", arch.path().display());
    let expected: Vec<&str> = listed
        .lines()
        .map(|line| line.strip_prefix(&prefix).unwrap().trim_end_matches('/'))
        .collect();
    let mut paths: Vec<&str> = found.keys().map(String::as_str).collect();
    // pacman lists what it left out as well.
    paths.retain(|path| expected.contains(path));
    assert_eq!(paths.len(), expected.len(), "{paths:?} {expected:?}");
    assert_eq!(found.len(), 17);

    let file = |text: &str| Kind::File {
        size: Some(text.len() as u64),
        digest: sha256(text),
    };
    let tool = &found["usr/bin/tool"];
    assert_eq!((&tool.kind, tool.mode), (&file("program\n"), Some(0o4755)));
    assert_eq!(tool.user, Some(Owner::Number(0)));
    assert_eq!(found["usr/bin/link"].kind, Kind::Symlink("tool".into()));
    assert_eq!(found["usr/bin/link"].mode, None);
    assert_eq!(
        found["usr/share/sorts/link to blank"].kind,
        Kind::Symlink("a b".into())
    );
    assert_eq!(found["usr/share/sorts/with blank"].kind, file("there\n"));
    assert_eq!(found["usr/share/sorts/ä"].kind, file("umlaut\n"));
    assert_eq!(found["usr/share/sorts"].kind, Kind::Directory);
    assert_eq!(found["usr/share/sorts"].mode, Some(0o755));
    let nothing = &found["usr/share/sorts/nothing"];
    assert_eq!(
        (&nothing.kind, nothing.modified),
        (&file(""), Some(1_234_567_890))
    );
    assert_eq!(
        (&nothing.user, &nothing.group),
        (&Some(Owner::Number(12)), &Some(Owner::Number(34)))
    );
    let flags = |path: &str| (found[path].configuration, found[path].optional);
    assert_eq!(flags("etc/tool.conf"), (true, false));
    assert_eq!(flags("etc/passwd"), (true, false), "NoUpgrade");
    assert_eq!(
        flags("usr/share/doc/sorts/text"),
        (false, true),
        "NoExtract"
    );
    assert_eq!(flags("usr/share/doc/sorts/keep"), (false, false));
    assert_eq!(pacman.complaints(), Vec::<String>::new());
}

#[test]
fn owners_are_found() {
    let arch = arch();
    let root = Sysroot::open(&arch.path().join("root")).unwrap();
    let pacman = Pacman::open(&root).unwrap().unwrap();
    let paths = [
        "/usr/bin/tool",
        "bin/tool",
        "usr/bin",
        "usr/bin/too",
        "/etc/pacman.conf",
    ];
    let owners = pacman.owners(&paths.map(Path::new)).unwrap();
    assert_eq!(owners, [vec![0], vec![0], vec![0], vec![], vec![]]);
}

#[test]
fn a_damaged_mtree_leaves_the_names() {
    let arch = arch();
    let local = arch.path().join("root/var/lib/pacman/local/sorts-1:2.0-3");
    let good = std::fs::read(local.join("mtree")).unwrap();
    for bad in [&good[..good.len() / 2], &[0; 100], b""] {
        std::fs::write(local.join("mtree"), bad).unwrap();
        let root = Sysroot::open(&arch.path().join("root")).unwrap();
        let pacman = Pacman::open(&root).unwrap().unwrap();
        assert_eq!(entries(&pacman).len(), 17);
        let complaints = pacman.complaints();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("mtree"), "{complaints:?}");
    }
    std::fs::remove_file(local.join("mtree")).unwrap();
    let root = Sysroot::open(&arch.path().join("root")).unwrap();
    let pacman = Pacman::open(&root).unwrap().unwrap();
    assert_eq!(entries(&pacman)["usr/bin"].kind, Kind::Directory);
    assert_eq!(entries(&pacman)["usr/bin/tool"].kind, Kind::Unknown);
}

#[test]
fn damaged_records_do_no_harm() {
    let arch = arch();
    let folder = arch.path().join("root");
    crate::damage::each(&folder.join("var/lib/pacman"), 120, &mut || {
        let root = Sysroot::open(&folder).unwrap();
        let Ok(Some(pacman)) = Pacman::open(&root) else {
            return;
        };
        for index in 0..pacman.packages().len() {
            let _ = pacman.entries(index, &mut |entry| assert!(entry.path.is_relative()));
        }
        let _ = pacman.owners(&[Path::new("usr/bin/tool")]);
    });
}

#[test]
fn who_has_seen_enough_breaks() {
    let arch = arch();
    let root = Sysroot::open(&arch.path().join("root")).unwrap();
    let pacman = Pacman::open(&root).unwrap().unwrap();
    let mut seen = 0;
    let mut each = |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    pacman.entries_until(0, &mut each).unwrap();
    assert_eq!(seen, 1);
    assert_eq!(pacman.complaints(), Vec::<String>::new());
}
