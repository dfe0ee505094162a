//! Beside dpkg itself, on the host's own database and on small ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use kedge_sysroot::Sysroot;

use super::Dpkg;
use crate::{Database, Digest, Entry, Kind, NoFile, Owner};

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program} (apt-get install {program}): {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn entries(database: &dyn Database, name: &str) -> Vec<Entry> {
    let index = index(database, name);
    let mut entries = Vec::new();
    database
        .entries(index, &mut |entry| entries.push(entry))
        .unwrap();
    entries
}

fn index(database: &dyn Database, name: &str) -> usize {
    let found = database
        .packages()
        .iter()
        .position(|package| package.name == name);
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

#[test]
fn the_same_packages_as_dpkg_query_lists() {
    let root = Sysroot::open(Path::new("/")).unwrap();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let format = "${db:Status-Status} ${Package} ${Version} ${Architecture}\\n";
    let expected: BTreeSet<String> = output("dpkg-query", &["--show", "--showformat", format])
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(state, _)| !matches!(*state, "config-files" | "not-installed"))
        .map(|(_, package)| package.to_string())
        .collect();
    let found: BTreeSet<String> = dpkg
        .packages()
        .iter()
        .map(|package| {
            format!(
                "{} {} {}",
                package.name, package.version, package.architecture
            )
        })
        .collect();
    assert!(found.len() > 50);
    assert_eq!(found, expected);
}

/// Every path of every package, as `dpkg-query --listfiles` says; folders are folders, checksums those of md5sums.
#[test]
fn the_same_paths_as_dpkg_lists() {
    let root = Sysroot::open(Path::new("/")).unwrap();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let (mut files, mut folders) = (0, 0);
    for (index, package) in dpkg.packages().iter().enumerate() {
        let name = match dpkg.records[index].same {
            true => format!("{}:{}", package.name, package.architecture),
            false => package.name.clone(),
        };
        let list = std::fs::read_to_string(format!("/var/lib/dpkg/info/{name}.list")).unwrap();
        let mut expected: Vec<&str> = list.lines().map(|line| line.trim_matches('/')).collect();
        expected
            .iter_mut()
            .filter(|line| **line == ".")
            .for_each(|line| *line = "");
        let mut found = Vec::new();
        let mut each = |entry: Entry| {
            let there = root.metadata(&entry.path);
            let mode = there
                .map(|stat| stat.st_mode & 0o170_000)
                .unwrap_or_default();
            match &entry.kind {
                Kind::File { digest, .. } => {
                    assert!(digest.is_some() || entry.configuration, "{entry:?}");
                    files += 1;
                }
                Kind::Directory => {
                    assert!(mode == 0o040_000 || mode == 0, "{entry:?} {mode:o}");
                    folders += 1;
                }
                _ => {}
            }
            found.push(entry);
        };
        dpkg.entries(index, &mut each).unwrap();
        let paths: Vec<&str> = found
            .iter()
            .map(|entry| entry.path.to_str().unwrap())
            .collect();
        assert_eq!(paths.len(), expected.len(), "{name}");
        for (path, listed) in paths.iter().zip(&expected) {
            if path != listed {
                let moved = output("dpkg-divert", &["--truename", &format!("/{listed}")]);
                assert_eq!(moved.trim_end(), format!("/{path}"), "{name}");
            }
        }
    }
    assert!(
        files > 1000 && folders > 100,
        "{files} files, {folders} folders"
    );
    assert_eq!(dpkg.complaints(), Vec::<String>::new());
}

/// One path of every tenth package, and what nobody owns.
#[test]
fn the_same_owners_as_dpkg_search_says() {
    let root = Sysroot::open(Path::new("/")).unwrap();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let mut paths = vec![
        "/usr/bin/dpkg".to_string(),
        "/usr".into(),
        "/nowhere/at/all".into(),
    ];
    for index in (0..dpkg.packages().len()).step_by(10) {
        let mut last = None;
        dpkg.entries(index, &mut |entry| last = Some(entry.path))
            .unwrap();
        paths.extend(last.map(|path| format!("/{}", path.display())));
    }
    let asked: Vec<&Path> = paths.iter().map(Path::new).collect();
    let owners = dpkg.owners(&asked).unwrap();
    for (path, owners) in paths.iter().zip(owners) {
        let found: BTreeSet<String> = owners
            .into_iter()
            .map(|index| dpkg.packages()[index].name.clone())
            .collect();
        let expected: BTreeSet<String> = output("dpkg-query", &["--search", path])
            .lines()
            .filter(|line| {
                !line.starts_with("diversion by") && line.ends_with(&format!(": {path}"))
            })
            .flat_map(|line| line.split(": ").next().unwrap_or_default().split(", "))
            .map(|name| name.split(':').next().unwrap_or_default().to_string())
            .collect();
        assert_eq!(found, expected, "{path}");
    }
}

/// The host is usr-merged: what a package calls /bin/x is found at /usr/bin/x and the other way round.
#[test]
fn a_file_is_found_by_either_name() {
    let root = Sysroot::open(Path::new("/")).unwrap();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let paths = ["/bin/bash", "usr/bin/bash", "/usr/bin/dpkg", "bin/dpkg"].map(Path::new);
    let owners = dpkg.owners(&paths).unwrap();
    let name = |index: usize| dpkg.packages()[owners[index][0]].name.as_str();
    assert_eq!(
        (0..4).map(name).collect::<Vec<_>>(),
        ["bash", "bash", "dpkg", "dpkg"]
    );
}

/// A small system.
struct Small(tempfile::TempDir);

const HELLO: &str = "\
Package: hello
Status: install ok installed
Architecture: amd64
Version: 1:2.10-3
Conffiles:
 /etc/hello.conf 0123456789abcdef0123456789abcdef
 /etc/with blank 0123456789abcdef0123456789abcdee
 /etc/old 0123456789abcdef0123456789abcded obsolete
 /etc/new newconffile
Description: greets
 Conffiles: not these
";

impl Small {
    fn new(files: &[(&str, &str)]) -> Small {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Small(folder)
    }

    fn root(&self) -> Sysroot {
        Sysroot::open(self.0.path()).unwrap()
    }
}

fn md5(digits: &str) -> Option<Digest> {
    Digest::from_hex(kedge_digest::Algorithm::Md5, digits)
}

#[test]
fn conffiles_links_and_folders_are_told_apart() {
    let small = Small::new(&[
        ("var/lib/dpkg/status", HELLO),
        (
            "var/lib/dpkg/info/hello.list",
            "/.\n/etc\n/etc/hello.conf\n/etc/with blank\n/etc/old\n/etc/new\n/usr\n/usr/bin\n/usr/bin/hello\n/usr/bin/hi\n/usr/share\n/usr/share/doc\n/usr/share/doc/hello\n/usr/share/doc/hello/x\n",
        ),
        (
            "var/lib/dpkg/info/hello.md5sums",
            "0123456789abcdef0123456789abcde0  usr/bin/hello\n0123456789abcdef0123456789abcde1  usr/share/doc/hello/x\n",
        ),
        (
            "etc/dpkg/dpkg.cfg.d/docker",
            "# no docs\npath-exclude=/usr/share/doc/*\npath-include = /usr/share/doc/*/copyright\n",
        ),
        (
            "var/lib/dpkg/statoverride",
            "root #102 4750 /usr/bin/hello\n\nnonsense\n",
        ),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let found: BTreeMap<String, Entry> = entries(&dpkg, "hello")
        .into_iter()
        .map(|entry| (entry.path.display().to_string(), entry))
        .collect();
    assert_eq!(found.len(), 14);
    for folder in ["", "etc", "usr", "usr/bin", "usr/share/doc/hello"] {
        assert_eq!(found[folder].kind, Kind::Directory, "{folder}");
    }
    assert_eq!(found["usr/bin/hi"].kind, Kind::Unknown);
    let kind = |digits| Kind::File {
        size: None,
        digest: md5(digits),
    };
    assert_eq!(
        found["usr/bin/hello"].kind,
        kind("0123456789abcdef0123456789abcde0")
    );
    assert_eq!(
        found["etc/hello.conf"].kind,
        kind("0123456789abcdef0123456789abcdef")
    );
    assert_eq!(
        found["etc/with blank"].kind,
        kind("0123456789abcdef0123456789abcdee")
    );
    assert_eq!(found["etc/new"].kind, kind(""));
    let flags = |path: &str| (found[path].configuration, found[path].optional);
    assert_eq!(flags("etc/hello.conf"), (true, false));
    assert_eq!(flags("etc/old"), (true, true));
    assert_eq!(flags("usr/share/doc/hello/x"), (false, true));
    assert_eq!(flags("usr/bin/hello"), (false, false));
    let hello = &found["usr/bin/hello"];
    assert_eq!(hello.mode, Some(0o4750));
    assert_eq!(hello.user, Some(Owner::Name("root".into())));
    assert_eq!(hello.group, Some(Owner::Number(102)));
    let complaints = dpkg.complaints();
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains("nonsense"), "{complaints:?}");
}

#[test]
fn a_diverted_file_is_where_it_was_moved_to() {
    let package = |name: &str, status: &str| {
        format!("Package: {name}\nStatus: {status}\nVersion: 1\nArchitecture: all\n\n")
    };
    let status = package("mine", "install ok installed")
        + &package("theirs", "install ok unpacked")
        + &package("gone", "deinstall ok config-files");
    let list = "/usr/bin/tool\n/usr/bin/all\n";
    let small = Small::new(&[
        ("var/lib/dpkg/status", &status),
        ("var/lib/dpkg/info/mine.list", list),
        ("var/lib/dpkg/info/theirs.list", list),
        ("var/lib/dpkg/info/gone.list", list),
        (
            "var/lib/dpkg/diversions",
            "/usr/bin/tool\n/usr/bin/tool.theirs\nmine\n/usr/bin/all\n/usr/bin/all.local\n:\n",
        ),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    assert_eq!(dpkg.packages().len(), 2, "config-files owns nothing");
    let paths = |name| -> Vec<String> {
        let entries = entries(&dpkg, name);
        entries
            .iter()
            .map(|entry| entry.path.display().to_string())
            .collect()
    };
    assert_eq!(paths("mine"), ["usr/bin/tool", "usr/bin/all.local"]);
    assert_eq!(
        paths("theirs"),
        ["usr/bin/tool.theirs", "usr/bin/all.local"]
    );
    let asked = [
        "usr/bin/tool",
        "usr/bin/tool.theirs",
        "usr/bin/all",
        "usr/bin/all.local",
    ];
    let owners = dpkg.owners(&asked.map(Path::new)).unwrap();
    assert_eq!(owners, [vec![0], vec![1], vec![], vec![0, 1]]);
}

#[test]
fn a_lost_list_is_complained_of_and_checksums_name_the_files() {
    let small = Small::new(&[
        ("var/lib/dpkg/status", HELLO),
        (
            "var/lib/dpkg/info/hello.md5sums",
            "0123456789abcdef0123456789abcde0  usr/bin/hello\n\0\0\0\0\n",
        ),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    assert_eq!(entries(&dpkg, "hello").len(), 1);
    let complaints = dpkg.complaints();
    assert!(
        complaints[0].contains("hello.md5sums is damaged at byte 48"),
        "{complaints:?}"
    );
    assert!(
        complaints[1].contains("hello.list cannot be read"),
        "{complaints:?}"
    );
}

/// One package more than `HELLO`, with all that dpkg writes of it.
const SECOND: &str = "\nPackage: second\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nDescription: is second\n\n";

/// What is complained of when these files are in `var/lib/dpkg`; each package's entries are read too.
fn complaints(files: &[(&str, &str)]) -> Vec<String> {
    let small = Small::new(&[]);
    for (path, content) in files {
        let path = small.0.path().join("var/lib/dpkg").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    std::fs::create_dir_all(small.0.path().join("usr/bin")).unwrap();
    std::fs::write(small.0.path().join("usr/bin/hello"), "x").unwrap();
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    for index in 0..dpkg.packages().len() {
        dpkg.entries(index, &mut |_| {}).unwrap();
    }
    dpkg.complaints()
}

const LIST: (&str, &str) = ("info/hello.list", "/.\n/usr\n/usr/bin\n/usr/bin/hello\n");
const SUMS: (&str, &str) = (
    "info/hello.md5sums",
    "0123456789abcdef0123456789abcde0  usr/bin/hello\n",
);

/// Cut off, a block of it lost, the empty line between two packages lost: what is gone is not taken for never installed.
#[test]
fn a_damaged_status_is_complained_of() {
    let whole = format!("{HELLO}{SECOND}");
    let second = ("info/second.list", "/.\n");
    let gone = "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\n\n";
    let with_gone = format!("{whole}{gone}");
    let files = [("status", with_gone.as_str()), LIST, SUMS, second];
    let removed = [("info/gone.list", "/.\n"), ("info/gone:amd64.list", "/.\n")];
    assert_eq!(complaints(&[files.as_slice(), &removed].concat()), [""; 0]);
    let at = whole.find("\nPackage: second").unwrap();
    let zeroed = format!(
        "{}{}{}",
        &whole[..at - 8],
        "\0".repeat(16),
        &whole[at + 8..]
    );
    let joined = whole.replace("\n\nPackage: second", "\nPackage: second");
    for (status, words) in [
        (&whole[..at + 1], "has lost package second"),
        (&whole[..at + 20], "ends in the middle of a line"),
        (&zeroed, "there is a zero byte"),
        (&zeroed, "has lost package second"),
        (&joined, "second package is named in one paragraph"),
    ] {
        let complaints = complaints(&[("status", status), LIST, SUMS, second]);
        let told = complaints.iter().any(|complaint| complaint.contains(words));
        assert!(told, "{words}: {complaints:?}");
    }
}

#[test]
fn empty_and_cut_lists_are_complained_of() {
    let status = ("status", HELLO);
    assert_eq!(complaints(&[status, LIST, SUMS]), [""; 0]);
    // Some packages come without checksums.
    assert_eq!(complaints(&[status, LIST]), [""; 0]);
    let empty_list = ("info/hello.list", "");
    let empty_sums = ("info/hello.md5sums", "");
    let links_only = ("info/hello.list", "/.\n/usr\n/usr/bin\n/usr/bin/hi\n");
    assert_eq!(complaints(&[status, links_only, empty_sums]), [""; 0]);
    let cut = ("info/hello.list", "/.\n/usr\n/usr/bin\n/usr/bin/he");
    let cut_sums = (SUMS.0, SUMS.1.split_at(44).0);
    for (files, words) in [
        ([status, empty_list, empty_sums], "hello.list is empty"),
        ([status, LIST, empty_sums], "hello.md5sums is empty"),
        (
            [status, cut, SUMS],
            "hello.list is damaged at byte 28: it ends in the middle",
        ),
        (
            [status, LIST, cut_sums],
            "hello.md5sums is damaged at byte 44: it ends in the middle",
        ),
    ] {
        let complaints = complaints(&files);
        let told = complaints.iter().any(|complaint| complaint.contains(words));
        assert!(told, "{words}: {complaints:?}");
    }
}

#[test]
fn half_a_name_is_missed_by_nobody() {
    let small = Small::new(&[
        ("var/lib/dpkg/status", HELLO),
        (
            "var/lib/dpkg/info/hello.list",
            "/.\n/usr\n/usr/bin\n/usr/bin/he",
        ),
        ("var/lib/dpkg/info/hello.md5sums", SUMS.1),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let wanted: Vec<String> = entries(&dpkg, "hello")
        .into_iter()
        .filter(|entry| !entry.optional)
        .map(|entry| entry.path.display().to_string())
        .collect();
    assert_eq!(wanted, ["", "usr", "usr/bin", "usr/bin/hello"]);
}

/// Where each file has a checksum, what has none is something else; a configuration file has its own.
#[test]
fn what_has_no_checksum_among_many_is_no_file() {
    let list =
        "/.\n/etc\n/etc/hello.conf\n/sbin\n/sbin/hi\n/usr\n/usr/bin\n/usr/bin/hello\n/usr/bin/hi\n";
    let of = |sums: &str, sure: NoFile| {
        let small = Small::new(&[
            ("var/lib/dpkg/status", HELLO),
            ("var/lib/dpkg/info/hello.list", list),
            ("var/lib/dpkg/info/hello.md5sums", sums),
        ]);
        let root = small.root();
        let dpkg = Dpkg::open(&root).unwrap().unwrap();
        let all = entries(&dpkg, "hello");
        let found = all.into_iter().filter(|entry| entry.no_file == sure);
        found
            .map(|entry| entry.path.display().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(SUMS.1, NoFile::Sure), ["usr/bin/hi"]);
    // Somebody may have gone through usr only.
    assert_eq!(of(SUMS.1, NoFile::Likely), ["sbin/hi"]);
    let damaged = format!("{}\0\0\0", SUMS.1);
    for sums in ["", &damaged, SUMS.1.trim_end()] {
        assert_eq!(of(sums, NoFile::Sure), [""; 0]);
        assert_eq!(of(sums, NoFile::Likely), [""; 0]);
    }
}

#[test]
fn an_empty_status_is_replaced_by_the_one_before() {
    let zeros = "\0".repeat(4096);
    let small = Small::new(&[
        ("var/lib/dpkg/status", &zeros),
        ("var/lib/dpkg/status-old", HELLO),
        ("var/lib/dpkg/info/x", ""),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    assert_eq!(dpkg.packages()[0].version, "1:2.10-3");
    let complaints = dpkg.complaints();
    assert!(
        complaints.iter().any(|text| text.contains("status-old")),
        "{complaints:?}"
    );
}

/// A power cut while dpkg worked: the steps that it had taken are in `updates`.
#[test]
fn steps_of_an_interrupted_dpkg_count() {
    let step = |name: &str, status: &str, version: &str| {
        format!("Package: {name}\nStatus: {status}\nVersion: {version}\nArchitecture: amd64\n")
    };
    let small = Small::new(&[
        (
            "var/lib/dpkg/status",
            &format!("{HELLO}\n{}", step("gone", "install ok installed", "1")),
        ),
        (
            "var/lib/dpkg/updates/0000",
            &step("hello", "install reinstreq half-installed", "1"),
        ),
        (
            "var/lib/dpkg/updates/0001",
            &step("hello", "install ok unpacked", "2"),
        ),
        (
            "var/lib/dpkg/updates/0002",
            &step("gone", "deinstall ok config-files", "1"),
        ),
        (
            "var/lib/dpkg/updates/0003",
            &step("new", "install ok unpacked", "1"),
        ),
        (
            "var/lib/dpkg/updates/tmp.i",
            &step("never", "install ok unpacked", "1"),
        ),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let found: Vec<String> = dpkg
        .packages()
        .iter()
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    assert_eq!(found, ["hello 2", "new 1"]);
    let complaints = dpkg.complaints();
    let told = |words: &str| complaints.iter().any(|complaint| complaint.contains(words));
    assert!(
        told("interrupted while it changed package gone"),
        "{complaints:?}"
    );
    for index in 0..2 {
        dpkg.entries(index, &mut |_| {}).unwrap();
    }
}

#[test]
fn distroless_has_a_paragraph_a_package() {
    let small = Small::new(&[
        (
            "var/lib/dpkg/status.d/base",
            "Package: base\nVersion: 1\nArchitecture: amd64\n",
        ),
        (
            "var/lib/dpkg/status.d/base.md5sums",
            "0123456789abcdef0123456789abcde0  usr/bin/x\n",
        ),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    assert_eq!(entries(&dpkg, "base").len(), 1);
    assert_eq!(dpkg.complaints(), Vec::<String>::new());
    let owners = dpkg.owners(&[Path::new("/usr/bin/x")]);
    assert_eq!(owners.unwrap().len(), 1);
}

/// Every truncation and many flipped bits: an answer or an error, nothing else.
#[test]
fn damaged_records_do_no_harm() {
    let list = "/.\n/etc\n/etc/hello.conf\n/usr\n/usr/bin\n/usr/bin/hello\n";
    let sums = "0123456789abcdef0123456789abcde0  usr/bin/hello\n";
    let diversions = "/usr/bin/tool\n/usr/bin/tool.theirs\nmine\n";
    let small = Small::new(&[
        ("var/lib/dpkg/status", HELLO),
        ("var/lib/dpkg/info/hello.list", list),
        ("var/lib/dpkg/info/hello.md5sums", sums),
        ("var/lib/dpkg/diversions", diversions),
        (
            "var/lib/dpkg/statoverride",
            "root root 4755 /usr/bin/hello\n",
        ),
    ]);
    crate::damage::each(small.0.path(), 120, &mut || {
        let root = small.root();
        let Ok(Some(dpkg)) = Dpkg::open(&root) else {
            return;
        };
        for index in 0..dpkg.packages().len() {
            let _ = dpkg.entries(index, &mut |entry| assert!(entry.path.is_relative()));
        }
        let _ = dpkg.owners(&[Path::new("usr/bin/hello")]);
        let _ = dpkg.complaints();
    });
}

#[test]
fn who_has_seen_enough_breaks() {
    let small = Small::new(&[
        ("var/lib/dpkg/status", HELLO),
        ("var/lib/dpkg/info/hello.list", LIST.1),
    ]);
    let root = small.root();
    let dpkg = Dpkg::open(&root).unwrap().unwrap();
    let mut seen = 0;
    let mut each = |_| {
        seen += 1;
        match seen {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    dpkg.entries_until(0, &mut each).unwrap();
    assert_eq!(seen, 2);
}
