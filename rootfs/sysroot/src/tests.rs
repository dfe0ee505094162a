use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::Command;

use super::*;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kedge-sysroot-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("root/etc")).unwrap();
    std::fs::write(folder.join("outside"), "outside").unwrap();
    std::fs::write(folder.join("root/etc/name"), "inside").unwrap();
    folder
}

#[test]
fn links_never_lead_out() {
    let folder = folder("links");
    let root = folder.join("root");
    symlink("../outside", root.join("up")).unwrap();
    symlink(folder.join("outside"), root.join("absolute")).unwrap();
    symlink("/etc/name", root.join("good")).unwrap();
    symlink("../../../etc/name", root.join("high")).unwrap();
    symlink("..", root.join("etc/parent")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    let sysroot = Sysroot::open(&root).unwrap();
    for (path, text) in [
        ("up", None),
        ("absolute", None),
        ("../outside", None),
        ("/../outside", None),
        ("etc/parent/../outside", None),
        ("loop", None),
        ("good", Some("inside")),
        ("high", Some("inside")),
        ("//etc/name", Some("inside")),
        ("etc/parent/etc/name", Some("inside")),
    ] {
        let read = sysroot.read(Path::new(path), 100).ok();
        assert_eq!(read.as_deref(), text.map(str::as_bytes), "{path}");
    }
    assert_eq!(
        sysroot.real_path(Path::new("high")).unwrap(),
        Path::new("etc/name")
    );
    assert_eq!(
        sysroot.read_link(Path::new("good")).unwrap(),
        Path::new("/etc/name")
    );
    let (parent, name) = sysroot
        .open_parent(Path::new("/etc/parent/etc/new"))
        .unwrap();
    assert_eq!(name, Path::new("new"));
    assert_eq!(
        rustix::fs::fstat(&parent).unwrap().st_ino,
        sysroot.metadata(Path::new("etc")).unwrap().st_ino
    );
    std::fs::remove_dir_all(folder).unwrap();
}

/// An open of a FIFO for reading waits for a writer; with `O_NONBLOCK` it would succeed.
#[test]
fn only_regular_files_are_opened() {
    let folder = folder("kinds");
    let root = folder.join("root");
    let fifo = root.join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());
    symlink("fifo", root.join("link")).unwrap();
    let sysroot = Sysroot::open(&root).unwrap();
    for path in ["fifo", "link", "etc"] {
        let error = sysroot.open_file(Path::new(path)).unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    }
    let missing = sysroot.open_file(Path::new("etc/name/below")).unwrap_err();
    assert!(missing.is_missing(), "{missing}");
    symlink("etc/name", root.join("file")).unwrap();
    assert!(sysroot.open_file(Path::new("file")).is_ok());
    assert!(sysroot.open_file_itself(Path::new("file")).is_err());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_longer_than_it_should_be_is_not_read() {
    let folder = folder("long");
    let sysroot = Sysroot::open(&folder.join("root")).unwrap();
    assert_eq!(sysroot.read(Path::new("etc/name"), 6).unwrap(), b"inside");
    let error = sysroot.read(Path::new("etc/name"), 5).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}
