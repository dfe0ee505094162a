//! Databases of packages.

use std::io::Write;
use std::path::Path;

use crate::root::Root;

/// Reads everything that the databases say.
fn look(root: &Root) {
    let Ok(databases) = kedge_packages::open(&root.sysroot) else {
        return;
    };
    for database in &databases {
        for index in 0..database.packages().len() {
            let _ = database.entries(index, &mut |entry| drop(entry));
        }
        let _ = database.owners(&[Path::new("usr/bin/hello"), Path::new("etc/hello.conf")]);
        database.complaints();
    }
}

const STATUS: &[u8] =
    b"Package: hello\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.10-3\n\
Conffiles:\n /etc/hello.conf d41d8cd98f00b204e9800998ecf8427e\n\n";
const LIST: &[u8] = b"/.\n/usr\n/usr/bin\n/usr/bin/hello\n/etc\n/etc/hello.conf\n";
const MD5SUMS: &[u8] = b"d41d8cd98f00b204e9800998ecf8427e  usr/bin/hello\n";

/// The files of dpkg's database, and what each is when it is not its turn.
const DPKG: [(&str, &[u8]); 6] = [
    ("var/lib/dpkg/status", STATUS),
    ("var/lib/dpkg/info/hello.list", LIST),
    ("var/lib/dpkg/info/hello.md5sums", MD5SUMS),
    (
        "var/lib/dpkg/diversions",
        b"/usr/bin/hello\n/usr/bin/hello.real\n:\n",
    ),
    (
        "var/lib/dpkg/statoverride",
        b"root root 4755 /usr/bin/hello\n",
    ),
    ("etc/dpkg/dpkg.cfg", b"path-exclude=/usr/share/doc/*\n"),
];

/// The first byte says which file, the others what is in it.
fn one_of(root: &Root, files: &[(&str, &[u8])], data: &[u8]) {
    let Some((&which, content)) = data.split_first() else {
        return;
    };
    let (path, good) = files[usize::from(which) % files.len()];
    root.write(path, content);
    look(root);
    root.write(path, good);
}

/// dpkg's database: the first byte says which file, the others what is in it.
pub fn dpkg(data: &[u8]) {
    thread_local!(static ROOT: Root = Root::new(&DPKG));
    ROOT.with(|root| one_of(root, &DPKG, data));
}

/// apk's database of what is installed.
pub fn apk_installed(data: &[u8]) {
    thread_local!(static ROOT: Root = Root::new(&[]));
    ROOT.with(|root| {
        root.write("lib/apk/db/installed", data);
        look(root);
    });
}

const DESC: &[u8] = b"%NAME%\nhello\n\n%VERSION%\n1:2.10-3\n\n%ARCH%\nx86_64\n\n";
const FILES: &[u8] = b"%FILES%\nusr/\nusr/bin/\nusr/bin/hello\n\n%BACKUP%\netc/hello.conf\td41d8cd98f00b204e9800998ecf8427e\n\n";

/// pacman's files; the last one is packed.
const PACMAN: [(&str, &[u8]); 4] = [
    ("var/lib/pacman/local/hello-1:2.10-3/desc", DESC),
    ("var/lib/pacman/local/hello-1:2.10-3/files", FILES),
    (
        "etc/pacman.conf",
        b"[options]\nNoExtract = usr/share/doc/*\n",
    ),
    ("var/lib/pacman/local/hello-1:2.10-3/mtree", b""),
];

/// pacman's database and what it was told to leave out: the first byte says which file.
pub fn pacman(data: &[u8]) {
    thread_local!(static ROOT: Root = Root::new(&PACMAN));
    let Some((&which, content)) = data.split_first() else {
        return;
    };
    ROOT.with(|root| match usize::from(which) % PACMAN.len() {
        3 => {
            let level = flate2::Compression::none();
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), level);
            let _ = packed.write_all(content);
            let packed = packed.finish().unwrap_or_default();
            one_of(root, &PACMAN, &[&[3], packed.as_slice()].concat());
        }
        _ => one_of(root, &PACMAN, data),
    });
}

/// `rpmdb.sqlite`.
pub fn rpm_sqlite(data: &[u8]) {
    thread_local!(static ROOT: Root = Root::new(&[]));
    ROOT.with(|root| {
        root.write("var/lib/rpm/rpmdb.sqlite", data);
        look(root);
    });
}

/// `Packages.db`.
pub fn rpm_ndb(data: &[u8]) {
    thread_local!(static ROOT: Root = Root::new(&[]));
    ROOT.with(|root| {
        root.write("var/lib/rpm/Packages.db", data);
        look(root);
    });
}

/// `Packages`, of Berkeley DB.
pub fn rpm_bdb(data: &[u8]) {
    thread_local!(static ROOT: Root = Root::new(&[]));
    ROOT.with(|root| {
        root.write("var/lib/rpm/Packages", data);
        look(root);
    });
}

/// A header (rpm's `lib/header.c`) in the simplest of the databases, `Packages.db`: a page of slots, of which the first
/// leads to it.
pub fn rpm_header(data: &[u8]) {
    const SLOTS: usize = 4096;
    let room = (16 + data.len() + 12).next_multiple_of(16);
    let mut file = Vec::with_capacity(SLOTS + room);
    file.extend(b"RpmP\0\0\0\0");
    for number in [3u32, 1, 3] {
        file.extend(number.to_le_bytes());
    }
    file.resize(SLOTS, 0);
    for slot in file[32..].chunks_exact_mut(16) {
        slot[..4].copy_from_slice(b"Slot");
    }
    for (at, number) in [(36, 1), (40, SLOTS / 16), (44, room / 16)] {
        file[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
    }
    file.extend(b"BlbS");
    for number in [1, 3, data.len() as u32] {
        file.extend(number.to_le_bytes());
    }
    file.extend(data);
    file.resize(SLOTS + room, 0);
    rpm_ndb(&file);
}
