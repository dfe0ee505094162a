use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use kedge_digest::{Algorithm, Digest, Hasher};
use kedge_packages::{Capabilities, Family, Kind, NoFile, Owner, Package};

use super::*;

/// A database that says what a test wants.
struct Listed {
    packages: Vec<Package>,
    entries: Vec<Entry>,
}

impl Database for Listed {
    fn family(&self) -> Family {
        Family::Rpm
    }
    fn packages(&self) -> &[Package] {
        &self.packages
    }
    fn entries_until(
        &self,
        index: usize,
        each: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), kedge_packages::Error> {
        if index == 1 {
            return Err(kedge_packages::Error::Damaged {
                path: "list".into(),
                offset: 7,
                why: "test".into(),
            });
        }
        let _ = self.entries.iter().cloned().try_for_each(each);
        Ok(())
    }
    fn owners(&self, _: &[&Path]) -> Result<Vec<Vec<usize>>, kedge_packages::Error> {
        unreachable!("verify asks nobody who owns a file")
    }
}

fn databases(entries: Vec<Entry>) -> Vec<Box<dyn Database>> {
    let package = |name: &str| Package {
        family: Family::Rpm,
        name: name.into(),
        version: "1".into(),
        architecture: String::new(),
    };
    vec![Box::new(Listed {
        packages: vec![package("whole"), package("unreadable")],
        entries,
    })]
}

fn md5(content: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Md5);
    hasher.update(content);
    hasher.finish()
}

fn entry(path: &str, kind: Kind) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: None,
        user: None,
        group: None,
        capabilities: None,
        modified: None,
        configuration: false,
        optional: false,
        no_file: NoFile::Unsaid,
    }
}

fn file(path: &str, content: &[u8]) -> Entry {
    let kind = Kind::File {
        size: None,
        digest: Some(md5(content)),
    };
    entry(path, kind)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kedge-verify-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("usr/lib")).unwrap();
    folder
}

fn write(path: PathBuf, content: &[u8], mode: u32) {
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// `path: word word`, a line each.
fn found(root: &Path, entries: Vec<Entry>) -> (Vec<String>, Tally) {
    let root = Sysroot::open(root).unwrap();
    let mut found = Vec::new();
    let databases = databases(entries);
    let mut progress = Progress::new("test");
    let tally = survey(&root, &databases, &mut progress, &mut |_, one| {
        let words: Vec<&str> = one.differences.iter().map(Difference::word).collect();
        found.push(format!("{}: {}", one.entry.path.display(), words.join(" ")));
        ControlFlow::Continue(())
    });
    // They are told in parts, each in order.
    found.sort_by(|a: &String, b| a.split(':').next().cmp(&b.split(':').next()));
    (found, tally.unwrap())
}

#[test]
fn each_kind_of_damage_is_told_and_nothing_else() {
    let folder = folder("kinds");
    let lib = folder.join("usr/lib");
    symlink("usr/lib", folder.join("lib")).unwrap();
    for (name, content) in [
        ("good", "x"),
        ("flipped", "y"),
        ("config", "mine"),
        ("unread", "z"),
    ] {
        write(lib.join(name), content.as_bytes(), 0o644);
    }
    write(lib.join("short"), b"x", 0o644);
    write(lib.join("open"), b"x", 0o4777);
    write(lib.join("husk"), b"", 0);
    write(lib.join("husk.conf"), b"", 0);
    write(lib.join("husk.so"), b"", 0);
    symlink("good", lib.join("moved")).unwrap();
    symlink("good", lib.join("other")).unwrap();
    symlink("elsewhere", lib.join("link")).unwrap();
    std::fs::create_dir(lib.join("folder")).unwrap();
    let with = |mut entry: Entry, change: &dyn Fn(&mut Entry)| {
        change(&mut entry);
        entry
    };
    let configuration = |entry: Entry| with(entry, &|e| e.configuration = true);
    let sized = |path, size| {
        entry(
            path,
            Kind::File {
                size: Some(size),
                digest: Some(md5(b"x")),
            },
        )
    };
    let entries = vec![
        // As it is, through a link on the way, and behind a link that the administrator made.
        file("usr/lib/good", b"x"),
        file("lib/good", b"x"),
        file("lib/moved", b"x"),
        entry("lib", Kind::Directory),
        configuration(file("lib/config", b"theirs")),
        configuration(file("lib/gone.conf", b"theirs")),
        with(file("lib/gone.optional", b""), &|e| e.optional = true),
        entry("lib/link", Kind::Unknown),
        entry("lib/unread", Kind::Unknown),
        // Not as it must be.
        file("lib/flipped", b"x"),
        file("lib/gone", b"x"),
        file("lib/folder", b"x"),
        sized("lib/short", 2),
        with(file("lib/open", b"x"), &|e| e.mode = Some(0o755)),
        with(file("lib/other", b"x"), &|e| e.mode = Some(0o755)),
        with(file("usr/lib/good", b"x"), &|e| {
            e.user = Some(Owner::Number(4_000_000_000));
        }),
        configuration(file("lib/husk.conf", b"theirs")),
        entry("lib/husk", Kind::Unknown),
        entry("lib/husk.so", Kind::Symlink("husk.so.1".into())),
        entry("lib/link", Kind::Symlink("good".into())),
        entry("lib/link", Kind::Directory),
        entry("lib/good", Kind::Special),
        file("../../lib/nowhere", b"x"),
    ];
    let (found, tally) = found(&folder, entries);
    assert_eq!(
        found,
        [
            "../../lib/nowhere: missing",
            "lib/flipped: content",
            "lib/folder: type",
            "lib/gone: missing",
            "lib/good: type",
            "lib/husk: type",
            "lib/husk.conf: type",
            "lib/husk.so: type",
            "lib/link: target",
            "lib/link: type",
            "lib/open: mode",
            "lib/other: type",
            "lib/short: size content",
            "usr/lib/good: owner",
        ]
    );
    assert_eq!(tally.unknown, 1);
    assert_eq!(tally.complaints.len(), 1, "{:?}", tally.complaints);
    assert!(tally.complaints[0].contains("unreadable"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// dpkg does not say where links lead, but that there is no file.
#[test]
fn what_stands_in_the_place_of_a_link_is_told() {
    let folder = folder("links");
    std::fs::create_dir(folder.join("etc")).unwrap();
    let mut entries = Vec::new();
    for path in ["usr/lib/empty", "usr/lib/garbage", "etc/empty", "etc/mine"] {
        let content = if path.ends_with("empty") { "" } else { "x" };
        write(folder.join(path), content.as_bytes(), 0o644);
        entries.push(path);
    }
    symlink("nowhere", folder.join("usr/lib/link")).unwrap();
    std::fs::create_dir(folder.join("usr/lib/folder")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.join("usr/lib/fifo"))
        .status();
    assert!(made.unwrap().success());
    entries.extend(["usr/lib/link", "usr/lib/folder", "usr/lib/fifo"]);
    let listed = |no_file| {
        let entries = entries.iter().map(|path| Entry {
            no_file,
            ..entry(path, Kind::Unknown)
        });
        found(&folder, entries.collect()).0
    };
    assert_eq!(listed(NoFile::Unsaid), [""; 0]);
    assert_eq!(
        listed(NoFile::Likely),
        [
            "etc/empty: type",
            "usr/lib/empty: type",
            "usr/lib/fifo: type"
        ]
    );
    assert_eq!(
        listed(NoFile::Sure),
        [
            "etc/empty: type",
            "usr/lib/empty: type",
            "usr/lib/fifo: type",
            "usr/lib/garbage: type",
        ]
    );
    std::fs::remove_dir_all(folder).unwrap();
}

/// An administrator writes no zeros; a program may have a configuration that is no text.
#[test]
fn a_configuration_file_of_zeros_is_told() {
    let folder = folder("zeros");
    let lib = folder.join("usr/lib");
    let text = "# some words\n".repeat(1000);
    let mut hole = text.clone().into_bytes();
    hole[4096..8192].fill(0);
    let mut binary = hole.clone();
    binary[100] = 0;
    let mut tail = text.clone().into_bytes();
    tail.extend(vec![0; 700]);
    let mut entries = Vec::new();
    for (name, content) in [
        ("binary", binary),
        ("changed", text.clone().into_bytes()),
        ("empty", Vec::new()),
        ("hole", hole),
        ("one-zero", format!("{text}\0").into_bytes()),
        ("short", vec![0; 20]),
        ("tail", tail),
        ("zeros", vec![0; 10_000]),
    ] {
        write(lib.join(name), &content, 0o644);
        entries.push(Entry {
            configuration: true,
            ..file(&format!("usr/lib/{name}"), b"theirs")
        });
    }
    let root = Sysroot::open(&folder).unwrap();
    for entry in &entries {
        let mut differences = crate::compare(&root, &Accounts::default(), entry);
        differences.retain(|difference| !excused(entry, difference));
        let name = entry.path.file_name().unwrap().to_str().unwrap();
        let bad = ["hole", "short", "tail", "zeros"].contains(&name);
        assert_eq!(differences.len(), usize::from(bad), "{name}");
    }
    let (found, _) = found(&folder, entries);
    assert_eq!(
        found,
        [
            "usr/lib/hole: type",
            "usr/lib/short: type",
            "usr/lib/tail: type",
            "usr/lib/zeros: type",
        ]
    );
    std::fs::remove_dir_all(folder).unwrap();
}

/// What a running system has there is on no disk.
#[test]
fn a_system_that_is_off_has_nothing_in_run() {
    let folder = folder("run");
    let paths = [
        "run/tool/x",
        "var/run/x",
        "dev/null",
        "proc/x",
        "sys/x",
        "tmp/.x",
    ];
    let mut entries: Vec<Entry> = paths.map(|path| file(path, b"x")).into();
    entries.extend(["run", "runner/x", "var/lib"].map(|path| entry(path, Kind::Directory)));
    let (found, _) = found(&folder, entries);
    assert_eq!(
        found,
        ["run: missing", "runner/x: missing", "var/lib: missing"]
    );
    std::fs::remove_dir_all(folder).unwrap();
}

/// pacman's and rpm's databases say what a package brought, and systemd-tmpfiles has given it to others since.
#[test]
fn what_tmpfiles_gives_to_others_is_no_damage() {
    let folder = folder("given");
    std::fs::create_dir_all(folder.join("usr/lib/tmpfiles.d")).unwrap();
    std::fs::write(
        folder.join("usr/lib/tmpfiles.d/x.conf"),
        "z /usr/lib/journal 2755 root journal\nd /usr/lib/other 0700\n",
    )
    .unwrap();
    let mut entries = Vec::new();
    for name in ["journal", "other"] {
        let path = folder.join("usr/lib").join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o2755)).unwrap();
        entries.push(Entry {
            mode: Some(0o755),
            ..entry(&format!("usr/lib/{name}"), Kind::Directory)
        });
    }
    assert_eq!(found(&folder, entries).0, ["usr/lib/other: mode"]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// As `tar` without `--xattrs` leaves it.
#[test]
fn a_program_that_lost_its_capabilities_is_told() {
    let folder = folder("capable");
    let path = folder.join("usr/lib/ping");
    write(path.clone(), b"ping", 0o755);
    let entry = |path| Entry {
        capabilities: Capabilities::from_text("cap_net_raw=ep"),
        ..file(path, b"ping")
    };
    let told = || found(&folder, vec![entry("usr/lib/ping")]).0;
    let setcap = |argument: &str| {
        let mut setcap = std::process::Command::new("setcap");
        assert!(setcap.arg(argument).arg(&path).status().unwrap().success());
    };
    assert_eq!(told(), ["usr/lib/ping: capabilities"]);
    setcap("cap_net_raw=ep");
    assert_eq!(told(), [""; 0]);
    // As a container's own.
    let mut setcap_for = std::process::Command::new("setcap");
    let own = setcap_for.args(["-n", "1000", "cap_net_raw=ep"]).arg(&path);
    assert!(own.status().unwrap().success());
    assert_eq!(told(), [""; 0]);
    for other in ["cap_net_raw=p", "cap_net_raw,cap_net_admin=ep", "-r"] {
        setcap(other);
        assert_eq!(told(), ["usr/lib/ping: capabilities"], "{other}");
    }
    // Beside other damage, and where another type says all.
    write(path.clone(), b"p1ng", 0o755);
    assert_eq!(told(), ["usr/lib/ping: content capabilities"]);
    std::fs::remove_file(&path).unwrap();
    symlink("../lib/ping", &path).unwrap();
    assert_eq!(told(), ["usr/lib/ping: type"]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// A FIFO, a link out of ROOT, a loop, and a hole that takes an hour to hash.
#[test]
fn hostile_trees_neither_hang_nor_lead_out() {
    let folder = folder("hostile");
    let lib = folder.join("usr/lib");
    let made = std::process::Command::new("mkfifo")
        .arg(lib.join("fifo"))
        .status();
    assert!(made.unwrap().success());
    write(folder.with_extension("outside"), b"x", 0o644);
    symlink(folder.with_extension("outside"), lib.join("out")).unwrap();
    symlink("loop", lib.join("loop")).unwrap();
    symlink("../loop/..", lib.join("around")).unwrap();
    std::fs::File::create(lib.join("hole"))
        .unwrap()
        .set_len(1 << 42)
        .unwrap();
    let entries = vec![
        file("usr/lib/fifo", b"x"),
        file("usr/lib/out", b"x"),
        file("usr/lib/loop", b"x"),
        file("usr/lib/around/x", b"x"),
        file("usr/lib/hole", b"x"),
    ];
    let (found, _) = found(&folder, entries);
    assert_eq!(
        found,
        [
            "usr/lib/around/x: missing",
            "usr/lib/fifo: type",
            "usr/lib/hole: content",
            "usr/lib/loop: type",
            "usr/lib/out: type",
        ]
    );
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::remove_file(folder.with_extension("outside")).unwrap();
}

/// Many more than one round's, with few megabytes.
#[test]
fn a_batch_is_bounded_and_misses_nothing() {
    let folder = folder("many");
    write(folder.join("usr/lib/x"), b"x", 0o644);
    let root = Sysroot::open(&folder).unwrap();
    let entries = vec![file("usr/lib/x", b"x"); 40_000];
    let package = |name: usize| Package {
        family: Family::Rpm,
        name: name.to_string(),
        version: "1".into(),
        architecture: String::new(),
    };
    let listed = Listed {
        packages: (0..12).map(package).collect(),
        entries,
    };
    let databases: Vec<Box<dyn Database>> = vec![Box::new(listed)];
    let accounts = Accounts::default();
    let collector = Collector::new(&root, &databases, &accounts);
    let (mut rounds, mut files) = (0, 0);
    let mut batches = [Batch::new(2 << 20), Batch::new(2 << 20)];
    while !collector.is_done() {
        collector.fill(&mut batches, 3);
        let weight: usize = batches.iter().map(Batch::weight).sum();
        // One file of a package that does not fit is looked at, and the others the next time.
        assert!(weight < (4 << 20) + 2000, "{weight}");
        files += batches
            .iter()
            .map(|batch| batch.checks.len())
            .sum::<usize>();
        rounds += 1;
    }
    assert_eq!(files, 11 * 40_000);
    assert!(rounds > 1, "{rounds}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// Files of all lengths go side by side, with both digests; one byte in every third of them is another.
#[test]
fn files_of_all_lengths_are_read_to_their_last_byte() {
    let folder = folder("lengths");
    let lengths = [
        0, 1, 55, 56, 63, 64, 65, 119, 120, 4095, 32_767, 32_768, 32_769, 100_003,
    ];
    let (mut entries, mut expected) = (Vec::new(), Vec::new());
    for number in 0..300 {
        let length = lengths[number % lengths.len()];
        let mut content: Vec<u8> = (0..length).map(|i| (i * 31 + number) as u8).collect();
        let path = format!("usr/lib/{number:03}");
        let algorithm = [Algorithm::Md5, Algorithm::Sha256][usize::from(number % 10 == 0)];
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&content);
        let kind = Kind::File {
            size: None,
            digest: Some(hasher.finish()),
        };
        entries.push(entry(&path, kind));
        if number % 3 == 0 && length > 0 {
            // The first, the last, or one in between.
            content[[0, length - 1, length / 2][number / 3 % 3]] ^= 0x10;
            expected.push(format!("{path}: content"));
        }
        write(folder.join(&path), &content, 0o644);
    }
    let (found, tally) = found(&folder, entries);
    assert_eq!(found, expected);
    assert_eq!(tally.files, 300);
    std::fs::remove_dir_all(folder).unwrap();
}

/// What is held of damaged files until they are told: it was 30 MB of the 64 that all may take.
#[test]
fn what_was_found_is_held_in_few_megabytes() {
    let path = 100;
    let read = size_of::<Wrong>() + path;
    // A map's nodes are half empty at worst.
    let suspect = 2 * size_of::<(Box<Path>, Suspect)>() + size_of::<Difference>() + path;
    // A vector's first room is for four.
    let found = size_of::<Damaged>() + 4 * size_of::<Difference>() + path;
    let all = MOST_FOUND * (read + suspect + found);
    assert!(all < 16 << 20, "{all}");
}

/// As `found`, with packages that all have these entries: what each report says.
fn found_in(root: &Path, packages: usize, entries: Vec<Entry>) -> Vec<(String, usize)> {
    let root = Sysroot::open(root).unwrap();
    let package = |name: usize| Package {
        family: Family::Dpkg,
        name: format!("p{name}"),
        version: "1".into(),
        architecture: String::new(),
    };
    let listed = Listed {
        // The one at 1 cannot be read.
        packages: (0..=packages).map(package).collect(),
        entries,
    };
    let databases: Vec<Box<dyn Database>> = vec![Box::new(listed)];
    let mut found = Vec::new();
    let mut progress = Progress::new("test");
    let tally = survey(&root, &databases, &mut progress, &mut |_, one| {
        found.push((one.entry.path.display().to_string(), one.others));
        ControlFlow::Continue(())
    });
    tally.unwrap();
    found
}

#[test]
fn a_path_of_many_packages_is_told_once() {
    let folder = folder("once");
    write(folder.join("usr/lib/file"), b"x", 0o644);
    let entries = vec![
        entry("lib", Kind::Directory),
        entry("usr/lib/file", Kind::Directory),
    ];
    let found = found_in(&folder, 188, entries);
    assert_eq!(found, [("lib".into(), 187), ("usr/lib/file".into(), 187)]);
    std::fs::remove_dir_all(folder).unwrap();
}

/// However many are told together.
#[test]
fn a_file_of_many_packages_is_told_once() {
    let folder = folder("shared");
    let mut entries = Vec::new();
    for number in 0..3000 {
        let path = format!("usr/lib/{number:04}");
        write(folder.join(&path), b"y", 0o644);
        entries.push(file(&path, b"x"));
    }
    let mut found = found_in(&folder, 3, entries);
    found.sort();
    let all = (0..3000).map(|number| (format!("usr/lib/{number:04}"), 2));
    assert_eq!(found, all.collect::<Vec<_>>());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn who_wants_no_more_is_told_no_more() {
    let folder = folder("closed");
    let root = Sysroot::open(&folder).unwrap();
    let entries = (0..100).map(|number| file(&format!("usr/{number}"), b"x"));
    let databases = databases(entries.collect());
    let mut told = 0;
    let mut progress = Progress::new("test");
    let surveyed = survey(&root, &databases, &mut progress, &mut |_, _| {
        told += 1;
        ControlFlow::Break(())
    });
    assert!(surveyed.unwrap().paths > 0);
    assert_eq!(told, 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_hole_that_nobody_reads_is_not_counted_as_read() {
    let folder = folder("hole");
    let hole = std::fs::File::create(folder.join("usr/lib/hole")).unwrap();
    hole.set_len(1 << 42).unwrap();
    write(folder.join("usr/lib/x"), b"x", 0o644);
    let entries = vec![file("usr/lib/hole", b"x"), file("usr/lib/x", b"x")];
    let (found, tally) = found(&folder, entries);
    assert_eq!(found, ["usr/lib/hole: content"]);
    assert_eq!((tally.files, tally.bytes), (2, 1));
    std::fs::remove_dir_all(folder).unwrap();
}
