//! Beside rpm itself, in each kind of file that it has had.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use super::Rpm;
use super::real::{System, run};
use crate::{Algorithm, Database, Digest, Entry, Kind, Owner};

const BACKENDS: [&str; 3] = ["sqlite", "ndb", "bdb"];

fn entries(rpm: &Rpm<'_>, name: &str) -> BTreeMap<String, Entry> {
    let index = rpm
        .packages()
        .iter()
        .position(|package| package.name == name)
        .unwrap();
    let mut entries = BTreeMap::new();
    rpm.entries(index, &mut |entry| {
        entries.insert(entry.path.display().to_string(), entry);
    })
    .unwrap();
    entries
}

/// `path size mtime digest mode user group configuration …`, as `rpm --dump` has it; of paths without blanks.
fn dumped(system: &System) -> BTreeMap<String, Vec<String>> {
    let text = run(system.rpm().args(["--query", "--all", "--dump"]));
    let lines = text.lines().filter(|line| !line.contains("with blank"));
    let words = lines.map(|line| line.split(' ').map(str::to_string).collect());
    words
        .map(|words: Vec<String>| (words[0][1..].to_string(), words))
        .collect()
}

#[test]
fn every_kind_of_file_says_what_rpm_dumps() {
    let mut expected = BTreeMap::new();
    for backend in BACKENDS {
        let system = System::new(backend);
        // Debian's rpm reads two of them.
        if backend != "ndb" {
            expected = dumped(&system);
        }
        assert!(expected.len() > 1200);
        let root = system.root();
        let rpm = Rpm::open(&root).unwrap().unwrap();
        let names: Vec<String> = rpm
            .packages()
            .iter()
            .map(|package| {
                format!(
                    "{} {} {}",
                    package.name, package.version, package.architecture
                )
            })
            .collect();
        let mut sorted = names.clone();
        sorted.sort();
        let sorts = format!("sorts 7:2.1-3 {}", std::env::consts::ARCH);
        assert_eq!(sorted, ["many 1-1 noarch", &sorts], "{backend}");
        let mut found = entries(&rpm, "many");
        found.extend(entries(&rpm, "sorts"));
        assert!(found.remove("usr/share/sorts/with blank").is_some());
        assert_eq!(found.len(), expected.len(), "{backend}");
        for (path, words) in &expected {
            let entry = &found[path];
            assert_eq!(entry.modified, Some(words[2].parse().unwrap()), "{entry:?}");
            assert_eq!(entry.configuration, words[7] == "1", "{entry:?}");
            if path.contains("tool.log") || path.ends_with("free") {
                continue;
            }
            let mode = u32::from_str_radix(&words[4], 8).unwrap();
            match &entry.kind {
                Kind::File { size, digest } => {
                    assert_eq!(mode >> 12, 0o10, "{entry:?}");
                    assert_eq!(*size, Some(words[1].parse().unwrap()), "{entry:?}");
                    let digest = digest.unwrap().to_string();
                    assert_eq!(digest.split_once(':').unwrap().1, words[3]);
                }
                Kind::Directory => assert_eq!(mode >> 12, 0o4, "{entry:?}"),
                Kind::Symlink(target) => {
                    assert_eq!((mode >> 12, target.to_str().unwrap()), (0o12, &*words[10]));
                    assert_eq!(entry.mode, None);
                    continue;
                }
                _ => panic!("{entry:?}"),
            }
            assert_eq!(entry.mode, Some(mode & 0o7777), "{entry:?}");
            assert_eq!(entry.user, Some(Owner::Name(words[5].clone())));
            assert_eq!(entry.group, Some(Owner::Name(words[6].clone())));
        }
        assert_eq!(rpm.complaints(), Vec::<String>::new());
    }
}

#[test]
fn what_rpm_would_not_verify_is_not_told() {
    let system = System::new("sqlite");
    let root = system.root();
    let rpm = Rpm::open(&root).unwrap().unwrap();
    let sorts = entries(&rpm, "sorts");
    let free = &sorts["usr/share/sorts/free"];
    assert_eq!(
        free.kind,
        Kind::File {
            size: None,
            digest: None
        }
    );
    assert_eq!((free.mode, &free.user, &free.group), (None, &None, &None));
    let ghost = &sorts["var/log/tool.log"];
    assert_eq!(
        (&ghost.kind, ghost.mode, ghost.optional),
        (&Kind::Unknown, None, true)
    );
    assert!(sorts["usr/share/sorts/may-go"].optional);
    assert!(!sorts["etc/tool.conf"].optional && sorts["etc/tool.conf"].configuration);
    assert_eq!(sorts["usr/bin/tool"].mode, Some(0o4750));
    let digest = |name: &str, text: &str| {
        let many = entries(&rpm, "many");
        let Kind::File { digest, .. } = many[name].kind else {
            panic!("{name}");
        };
        let mut hasher = kedge_digest::Hasher::new(Algorithm::Sha1);
        hasher.update(text.as_bytes());
        assert_eq!(digest, Some(hasher.finish()));
    };
    digest("usr/share/many/b/a-file-with-a-long-name-7", "b 7\n");
}

/// As its own query has them, of each kind of file; but for what `rpm -V` would not compare.
#[test]
fn capabilities_are_what_rpm_says() {
    for backend in BACKENDS {
        let system = System::new(backend);
        if backend != "ndb" {
            let format = "[%{FILENAMES} %{FILECAPS}\n]";
            let told = run(system
                .rpm()
                .args(["--query", "--all", "--queryformat", format]));
            let some: Vec<&str> = told.lines().filter(|line| line.contains("cap_")).collect();
            let expected = [
                "/usr/bin/capable cap_net_admin,cap_net_raw=ep",
                "/usr/bin/uncompared cap_setuid=ep",
            ];
            assert_eq!(some, expected, "{backend}");
        }
        let root = system.root();
        let rpm = Rpm::open(&root).unwrap().unwrap();
        let found = [entries(&rpm, "sorts"), entries(&rpm, "many")];
        let found = found.iter().flat_map(BTreeMap::values);
        let some: Vec<String> = found
            .filter_map(|entry| Some(format!("{} {}", entry.path.display(), entry.capabilities?)))
            .collect();
        assert_eq!(
            some,
            ["usr/bin/capable cap_net_admin,cap_net_raw=ep"],
            "{backend}"
        );
    }
}

#[test]
fn owners_are_found_in_every_kind_of_file() {
    for backend in BACKENDS {
        let system = System::new(backend);
        // As on a system whose /bin is merged.
        std::fs::create_dir_all(system.folder.path().join("usr/bin")).unwrap();
        std::os::unix::fs::symlink("usr/bin", system.folder.path().join("bin")).unwrap();
        let root = system.root();
        let rpm = Rpm::open(&root).unwrap().unwrap();
        let paths = [
            "/bin/tool",
            "usr/share/many/c/a-file-with-a-long-name-400",
            "usr/share/many",
            "usr/share/nothing",
            "usr/share/sorts/with blank",
        ];
        let owners = rpm.owners(&paths.map(Path::new)).unwrap();
        let names: Vec<Vec<&str>> = owners
            .iter()
            .map(|owners| {
                owners
                    .iter()
                    .map(|&index| rpm.packages()[index].name.as_str())
                    .collect()
            })
            .collect();
        assert_eq!(
            names,
            [
                vec!["sorts"],
                vec!["many"],
                vec!["many"],
                vec![],
                vec!["sorts"]
            ],
            "{backend}"
        );
    }
}

/// Big-endian machines, and other sizes of pages than rpm's.
#[test]
fn a_hash_of_another_machine_is_read() {
    for (order, page_size) in [(4321, 4096), (1234, 512), (1234, 32768)] {
        let mut system = System::new("sqlite");
        system.make_berkeley(order, page_size);
        let root = system.root();
        let rpm = Rpm::open(&root).unwrap().unwrap();
        assert_eq!(rpm.packages().len(), 2, "{order} {page_size}");
        assert_eq!(entries(&rpm, "many").len(), 1204);
        assert_eq!(rpm.complaints(), Vec::<String>::new());
    }
}

/// A log as a lost power leaves it: sqlite3 is copied from under its feet.
#[test]
fn changes_that_are_only_in_the_log_count() {
    let system = System::new("sqlite");
    let database = system.database().join("rpmdb.sqlite");
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("var/lib/rpm");
    std::fs::create_dir_all(&to).unwrap();
    let script = format!(
        "PRAGMA journal_mode=WAL;\nPRAGMA wal_autocheckpoint=0;\n\
         INSERT INTO Packages(hnum, blob) SELECT hnum + 100, blob FROM Packages;\n\
         DELETE FROM Packages WHERE hnum = 1;\n\
         .shell cp {0} {0}-wal {1}/\n",
        database.display(),
        to.display()
    );
    let mut sqlite = Command::new("sqlite3");
    run(sqlite
        .arg(&database)
        .arg("-batch")
        .arg("-cmd")
        .arg(".bail on")
        .args(script.lines()));
    let names = || {
        let root = kedge_sysroot::Sysroot::open(copy.path()).unwrap();
        let rpm = Rpm::open(&root).unwrap().unwrap();
        for index in 0..rpm.packages().len() {
            rpm.entries(index, &mut |_| {}).unwrap();
        }
        let names: Vec<String> = rpm.packages().iter().map(|p| p.name.clone()).collect();
        (names, rpm.complaints().len())
    };
    let whole = names();
    assert_eq!(whole.0.len(), 3);
    // A frame that was not written whole ends the log before the change that it belongs to.
    let log = to.join("rpmdb.sqlite-wal");
    let good = std::fs::read(&log).unwrap();
    std::fs::write(&log, &good[..good.len() - 1]).unwrap();
    assert_eq!(names().0.len(), 4, "the last change was not completed");
    let mut bad = good.clone();
    bad[32 + 24 + 1000] ^= 1;
    std::fs::write(&log, &bad).unwrap();
    assert_eq!(
        names().0.len(),
        2,
        "no change before the flipped bit was completed"
    );
    bad = good.clone();
    bad[20] ^= 1;
    std::fs::write(&log, &bad).unwrap();
    assert_eq!(names(), (names().0, 1), "the log's header is damaged");
}

#[test]
fn a_flipped_bit_in_a_header_of_ndb_is_complained_of() {
    let system = System::new("ndb");
    let file = system.database().join("Packages.db");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(4).position(|four| four == b"tool").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let root = system.root();
    let rpm = Rpm::open(&root).unwrap().unwrap();
    entries(&rpm, "sorts");
    let complaints = rpm.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("Adler-32"), "{complaints:?}");
}

#[test]
fn a_debian_with_rpm_as_a_tool_has_no_rpm_packages() {
    let system = System::empty();
    let root = system.root();
    assert!(Rpm::open(&root).unwrap().is_none());
}

/// RHEL 8 became RHEL 9: the file of Berkeley DB is still there, and the new one was hit.
#[test]
fn an_older_database_is_used_only_with_a_word() {
    let old = System::new("bdb");
    let new = System::new("sqlite");
    let packages = new.database().join("Packages");
    std::fs::copy(old.database().join("Packages"), &packages).unwrap();
    let open = || {
        let root = new.root();
        let rpm = Rpm::open(&root).unwrap().unwrap();
        let path = rpm.pages.store(false).path().to_path_buf();
        (path, rpm.complaints())
    };
    let file = new.database().join("rpmdb.sqlite");
    assert_eq!(open(), (file.clone(), vec![]));
    let good = std::fs::read(&file).unwrap();
    std::fs::write(&file, vec![0; good.len()]).unwrap();
    let (used, complaints) = open();
    assert_eq!(used, packages);
    assert!(
        complaints[0].contains("rpmdb.sqlite is damaged at byte 0"),
        "{complaints:?}"
    );
    std::fs::write(&file, good).unwrap();
    std::fs::write(new.database().join("rpmdb.sqlite-journal"), "x").unwrap();
    let (used, complaints) = open();
    assert_eq!(used, file);
    assert!(complaints[0].contains("interrupted"), "{complaints:?}");
}

#[test]
fn damaged_databases_do_no_harm() {
    for (backend, count) in [("sqlite", 60), ("ndb", 60), ("bdb", 60)] {
        let system = System::new(backend);
        let mut good = 0;
        crate::damage::each(&system.database(), count, &mut || {
            let root = system.root();
            let Ok(Some(rpm)) = Rpm::open(&root) else {
                return;
            };
            good += 1;
            for index in 0..rpm.packages().len() {
                let _ = rpm.entries(index, &mut |entry| {
                    assert!(!entry.path.as_os_str().as_bytes().starts_with(b"/"));
                });
            }
            let _ = rpm.owners(&[Path::new("usr/bin/tool")]);
        });
        assert!(good > 0, "{backend}");
    }
}

#[test]
fn sha256_is_rpms_own_choice() {
    let system = System::new("sqlite");
    let root = system.root();
    let rpm = Rpm::open(&root).unwrap().unwrap();
    let Kind::File {
        digest: Some(digest),
        ..
    } = entries(&rpm, "sorts")["usr/bin/tool"].kind
    else {
        panic!("no digest");
    };
    assert!(matches!(digest, Digest::Sha256(_)), "{digest}");
}
