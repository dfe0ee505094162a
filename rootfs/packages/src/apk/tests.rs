//! apk-tools is not in Debian: these texts are written as `apk_db_fdb_write` of apk-tools 2.14 writes them.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;

use kedge_digest::{Algorithm, Hasher};
use kedge_sysroot::Sysroot;

use super::{Apk, ways};
use crate::{Database, Digest, Entry, Kind, Owner};

fn sha1(text: &str) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha1);
    hasher.update(text.as_bytes());
    hasher.finish()
}

/// `Q1` and base64, RFC 4648.
fn q1(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut written = String::from("Q1");
    for three in sha1(text).bytes().chunks(3) {
        let number = (0..3).fold(0, |n, i| n << 8 | u32::from(*three.get(i).unwrap_or(&0)));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize];
            written.push(if place > three.len() {
                '='
            } else {
                letter.into()
            });
        }
    }
    written
}

fn installed() -> String {
    let (program, library) = (q1("program"), q1("library"));
    let (link, absolute, up) = (
        q1("libx.so.1.2"),
        q1("/usr/bin/tool"),
        q1("../lib/libx.so.1.2"),
    );
    let setting = q1("setting");
    format!(
        "C:Q1abcdefghijklmnopqrstuvwxyz0=
P:sorts
V:2.1-r3
A:x86_64
S:1234
T:one file of each sort
F:etc
R:tool.conf
Z:{setting}
F:etc/init.d
R:tool
a:0:0:755
Z:{program}
F:etc/apk
R:arch
Z:{setting}
F:usr
F:usr/bin
R:tool
a:0:42:4755
Z:{program}
R:absolute
a:0:0:777
Z:{absolute}
R:up
a:0:0:777
Z:{up}
F:usr/lib
R:libx.so.1
a:0:0:777
Z:{link}
R:libx.so.1.2
a:0:0:755
Z:{library}
R:everybodys
a:0:0:777
Z:{setting}
F:var/spool
M:0:12:1777
F:
R:.in-root
Z:{setting}

C:Q1abcdefghijklmnopqrstuvwxyz1=
P:other
V:1-r0
A:noarch
F:usr
F:usr/bin
R:other

"
    )
}

fn alpine(installed: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib/apk/db/installed", installed);
    write("usr/bin/tool", "program");
    write("usr/lib/everybodys", "setting");
    symlink("/usr/bin/tool", folder.path().join("usr/bin/absolute")).unwrap();
    symlink("../lib/libx.so.1.2", folder.path().join("usr/bin/up")).unwrap();
    symlink("libx.so.1.2", folder.path().join("usr/lib/libx.so.1")).unwrap();
    folder
}

fn entries(apk: &Apk<'_>, index: usize) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    apk.entries(index, &mut |entry| {
        entries.insert(entry.path.display().to_string(), entry);
    })
    .unwrap();
    entries
}

#[test]
fn files_folders_and_links_are_told_apart() {
    let alpine = alpine(&installed());
    let root = Sysroot::open(alpine.path()).unwrap();
    let apk = Apk::open(&root).unwrap().unwrap();
    let names: Vec<String> = apk
        .packages()
        .iter()
        .map(|package| {
            format!(
                "{} {} {}",
                package.name, package.version, package.architecture
            )
        })
        .collect();
    assert_eq!(names, ["sorts 2.1-r3 x86_64", "other 1-r0 noarch"]);
    let found = entries(&apk, 0);
    assert_eq!(found.len(), 18);
    let file = |text: &str| Kind::File {
        size: None,
        digest: Some(sha1(text)),
    };
    let tool = &found["usr/bin/tool"];
    assert_eq!((&tool.kind, tool.mode), (&file("program"), Some(0o4755)));
    assert_eq!(
        (&tool.user, &tool.group),
        (&Some(Owner::Number(0)), &Some(Owner::Number(42)))
    );
    assert_eq!(
        found["usr/bin/absolute"].kind,
        Kind::Symlink("/usr/bin/tool".into())
    );
    assert_eq!(
        found["usr/bin/up"].kind,
        Kind::Symlink("../lib/libx.so.1.2".into())
    );
    let link = &found["usr/lib/libx.so.1"];
    assert_eq!(
        (&link.kind, link.mode),
        (&Kind::Symlink("libx.so.1.2".into()), None)
    );
    assert_eq!(found["usr/lib/everybodys"].kind, file("setting"));
    assert_eq!(found["etc/tool.conf"].mode, Some(0o644));
    assert_eq!(found["usr/bin"].mode, Some(0o755));
    assert_eq!(found["var/spool"].mode, Some(0o1777));
    assert_eq!(found["var/spool"].kind, Kind::Directory);
    assert_eq!(found[".in-root"].kind, file("setting"));
    assert_eq!(entries(&apk, 1)["usr/bin/other"].kind, Kind::Unknown);
    assert_eq!(apk.complaints(), Vec::<String>::new());
}

/// As after the storage outage: empty files with mode 000 where links belong, or nothing, or links elsewhere.
#[test]
fn a_destroyed_link_is_known_by_the_checksum_of_its_target() {
    let alpine = alpine(&installed());
    let at = |path: &str| alpine.path().join(path);
    for (path, target) in [
        ("usr/bin/absolute", "/usr/bin/tool"),
        ("usr/bin/up", "../lib/libx.so.1.2"),
        ("usr/lib/libx.so.1", "libx.so.1.2"),
    ] {
        for damage in ["empty", "missing", "elsewhere"] {
            let _ = std::fs::remove_file(at(path));
            match damage {
                "empty" => std::fs::write(at(path), "").unwrap(),
                "elsewhere" => symlink("/etc/shadow", at(path)).unwrap(),
                _ => {}
            }
            let root = Sysroot::open(alpine.path()).unwrap();
            let apk = Apk::open(&root).unwrap().unwrap();
            assert_eq!(
                entries(&apk, 0)[path].kind,
                Kind::Symlink(target.into()),
                "{damage} {path}"
            );
        }
    }
}

#[test]
fn what_is_in_etc_is_the_administrators() {
    let alpine = alpine(&installed());
    let configuration = |path: &str| {
        let root = Sysroot::open(alpine.path()).unwrap();
        let apk = Apk::open(&root).unwrap().unwrap();
        entries(&apk, 0)[path].configuration
    };
    assert!(configuration("etc/tool.conf"));
    assert!(configuration("etc/apk/arch"));
    assert!(
        !configuration("etc/init.d/tool"),
        "only links are protected there"
    );
    assert!(!configuration("usr/bin/tool"));
    assert!(!configuration("etc"), "a folder has no content");
    let lists = alpine.path().join("etc/apk/protected_paths.d");
    std::fs::create_dir_all(&lists).unwrap();
    std::fs::write(
        lists.join("mine.list"),
        "# mine\nusr/bin/to*\n-etc/tool.conf\n",
    )
    .unwrap();
    std::fs::write(lists.join("other"), "usr/lib\n").unwrap();
    assert!(configuration("usr/bin/tool"));
    assert!(!configuration("etc/tool.conf"));
    assert!(!configuration("usr/lib/libx.so.1.2"), "not a .list");
}

#[test]
fn owners_are_found() {
    let alpine = alpine(&installed());
    let root = Sysroot::open(alpine.path()).unwrap();
    let apk = Apk::open(&root).unwrap().unwrap();
    let paths = [
        "/usr/bin/tool",
        "usr/bin/other",
        "/bin/other",
        "/usr/bin",
        "etc/none",
        ".in-root",
    ];
    let owners = apk.owners(&paths.map(Path::new)).unwrap();
    assert_eq!(
        owners,
        [vec![0], vec![1], vec![1], vec![0, 1], vec![], vec![0]]
    );
}

#[test]
fn a_line_that_makes_no_sense_is_complained_of() {
    let text = installed().replace("R:absolute", "\0\0\0\0\0");
    let alpine = alpine(&text);
    let root = Sysroot::open(alpine.path()).unwrap();
    let apk = Apk::open(&root).unwrap().unwrap();
    let complaints = apk.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    let offset = text.find("\0").unwrap();
    assert!(
        complaints[0].contains(&format!("at byte {offset}:")),
        "{complaints:?}"
    );
    drop(complaints);
    std::fs::write(alpine.path().join("lib/apk/db/installed"), [0; 4096]).unwrap();
    assert!(Apk::open(&root).is_err());
}

#[test]
fn damaged_records_do_no_harm() {
    let alpine = alpine(&installed());
    crate::damage::each(&alpine.path().join("lib"), 1000, &mut || {
        let root = Sysroot::open(alpine.path()).unwrap();
        let Ok(Some(apk)) = Apk::open(&root) else {
            return;
        };
        for index in 0..apk.packages().len() {
            let _ = apk.entries(index, &mut |entry| assert!(entry.path.is_relative()));
        }
        let _ = apk.owners(&[Path::new("usr/bin/tool")]);
    });
}

#[test]
fn links_lead_by_name_from_root_or_up() {
    let found = ways(b"usr/bin/a", b"usr/lib/x/b");
    assert_eq!(found, [b"../lib/x/b".to_vec(), b"/usr/lib/x/b".to_vec()]);
    assert_eq!(ways(b"usr/bin/a", b"usr/bin/b")[0], b"b");
    assert_eq!(ways(b"a", b"b/c")[0], b"b/c");
    assert_eq!(ways(b"a/b/c", b"a")[0], b"../../a");
}

#[test]
fn who_has_seen_enough_breaks() {
    let alpine = alpine(&installed());
    let root = Sysroot::open(alpine.path()).unwrap();
    let apk = Apk::open(&root).unwrap().unwrap();
    for enough in [1, 2] {
        let mut seen = 0;
        let mut each = |_| {
            seen += 1;
            match seen == enough {
                true => std::ops::ControlFlow::Break(()),
                false => std::ops::ControlFlow::Continue(()),
            }
        };
        apk.entries_until(0, &mut each).unwrap();
        assert_eq!(seen, enough);
    }
}
