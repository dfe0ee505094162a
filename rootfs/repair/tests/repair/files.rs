//! Files of each kind, damaged in each way.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::fixture::{LIBRARY, System};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_damaged_file_is_replaced_and_kept_and_comes_back_by_undo() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    let damaged = system.damage(LIBRARY);
    assert_ne!(whole, damaged);
    let inode = fs::metadata(system.path(LIBRARY)).unwrap().ino();
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 0);
    system.is_whole();
    let stat = fs::metadata(system.path(LIBRARY)).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.mtime()), (0o644, 1_700_000_000));
    let kept = system.path("var/lib/kedge/quarantine/1/old");
    assert_eq!(fs::metadata(&kept).unwrap().ino(), inode);
    assert_eq!(mode(&system.path("var/lib/kedge/quarantine")), 0o700);
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);
    assert_eq!(system.read(LIBRARY), damaged);
    // And that can be taken back too.
    assert_eq!(system.repair_from(&["--undo", "2"]), 0);
    system.is_whole();
    assert_eq!(system.repair_from(&["--undo", "1"]), 1);
}

#[test]
fn what_was_done_to_a_file_is_undone_without_its_package() {
    let system = System::new();
    fs::remove_file(&system.package).unwrap();
    let whole = system.read(LIBRARY);
    let mut damaged = whole.clone();
    let (front, back) = damaged.split_at_mut(49_152);
    front[40_960..45_056].swap_with_slice(&mut back[..4096]);
    fs::write(system.path(LIBRARY), &damaged).unwrap();
    let inode = fs::metadata(system.path(LIBRARY)).unwrap().ino();
    // Nobody says what these must be: they stay.
    fs::set_permissions(system.path(LIBRARY), fs::Permissions::from_mode(0o4751)).unwrap();

    let from = ["--from", "itself"];
    let library = "/usr/lib/libsample.so.1";
    let dry = [&[library, "--dry-run"][..], &from].concat();
    assert_eq!(system.repair_from(&dry), 0);
    assert_eq!(system.read(LIBRARY), damaged);
    assert!(!system.path("var/lib/kedge").exists());

    assert_eq!(system.repair_from(&[&[library][..], &from].concat()), 0);
    assert_eq!(system.read(LIBRARY), whole);
    assert_eq!(mode(&system.path(LIBRARY)), 0o4751);
    let kept = system.path("var/lib/kedge/quarantine/1/old");
    assert_eq!(fs::metadata(&kept).unwrap().ino(), inode);
    system.is_whole();

    // By its link too, which is as it was.
    fs::write(system.path(LIBRARY), &damaged).unwrap();
    let link = "/usr/lib/libsample.so";
    assert_eq!(system.repair_from(&[&[link][..], &from].concat()), 0);
    system.is_whole();

    // What cannot be proven is not done: six bytes are no block, and of a link there is no checksum.
    let other = system.damage("usr/bin/careful");
    fs::remove_file(system.path("usr/lib/libsample.so")).unwrap();
    fs::write(system.path("usr/lib/libsample.so"), "").unwrap();
    for path in ["/usr/bin/careful", "/usr/lib/libsample.so"] {
        assert_eq!(system.repair_from(&[&[path][..], &from].concat()), 1);
    }
    assert_eq!(system.read("usr/bin/careful"), other);
    system.is_tidy();
}

#[test]
fn what_has_two_names_is_undone_as_one_file() {
    let system = System::new();
    let inode = |path: &str| fs::metadata(system.path(path)).unwrap().ino();
    let names = ["usr/bin/tool", "usr/bin/twin"];
    let content = fs::read(system.path(LIBRARY)).unwrap();
    // The two names of something that is long enough, as the database has it then.
    fs::write(system.path(names[0]), &content).unwrap();
    assert_eq!(inode(names[0]), inode(names[1]));
    let sums = system.path("var/lib/dpkg/info/sample.md5sums");
    let text = fs::read_to_string(&sums).unwrap();
    let of = |path: &str| text.lines().find(|line| line.ends_with(path)).unwrap();
    let digest = of(LIBRARY).split(' ').next().unwrap();
    let text = names.iter().fold(text.clone(), |text, name| {
        text.replace(of(name), &format!("{digest}  {name}"))
    });
    fs::write(sums, text).unwrap();

    let mut damaged = content.clone();
    let (front, back) = damaged.split_at_mut(4096);
    front.swap_with_slice(&mut back[..4096]);
    fs::write(system.path(names[0]), &damaged).unwrap();
    let arguments = ["/usr/bin/twin", "--from", "itself"];
    assert_eq!(system.repair_from(&arguments), 0);
    assert_eq!(system.read(names[0]), content);
    assert_eq!(inode(names[0]), inode(names[1]));
    system.is_whole();
}

#[test]
fn nothing_is_written_by_a_dry_run_or_where_nothing_is_wrong() {
    let system = System::new();
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1", "sample"]), 0);
    let damaged = system.damage(LIBRARY);
    assert_eq!(system.repair(&["--all-damaged", "--dry-run"]), 0);
    assert_eq!(system.read(LIBRARY), damaged);
    assert!(!system.path("var/lib/kedge").exists());
}

#[test]
fn an_undo_that_is_only_asked_about_changes_nothing() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    let damaged = system.damage(LIBRARY);
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    // Nothing is made for it, either.
    fs::remove_file(system.path("var/lib/kedge/lock")).unwrap();
    assert_eq!(system.repair_from(&["--undo", "1", "--dry-run"]), 0);
    assert_eq!(system.repair_from(&["--undo", "2", "--dry-run"]), 1);
    assert_eq!(system.read(LIBRARY), whole);
    assert!(!system.path("var/lib/kedge/lock").exists());
    assert!(!system.path("var/lib/kedge/quarantine/2").exists());
    system.damage(LIBRARY);
    assert_eq!(system.repair_from(&["--undo", "1", "--dry-run"]), 1);
    fs::write(system.path(LIBRARY), whole).unwrap();
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);
    assert_eq!(system.read(LIBRARY), damaged);
}

#[test]
fn a_further_name_is_undone_as_any_file() {
    let system = System::new();
    let damaged = system.damage("usr/bin/twin");
    assert_eq!(system.repair(&["/usr/bin/twin"]), 0);
    system.is_whole();
    for number in ["1", "2"] {
        assert_eq!(system.repair_from(&["--undo", number]), 0, "{number}");
    }
    assert_eq!(system.read("usr/bin/twin"), damaged);
    assert_eq!(system.read("usr/bin/tool"), damaged);
}

#[test]
fn a_file_to_load_may_be_named_as_it_is_seen_from_here() {
    let system = System::new();
    let outside = system.path("usr/bin/tool");
    for path in ["/usr/bin/tool", outside.to_str().unwrap()] {
        assert_eq!(system.repair_from(&["--verify", path]), 0, "{path}");
    }
}

/// What two `tar`s into one folder leave: an empty file of mode 000 where a link belongs.
#[test]
fn links_missing_files_and_folders_are_made_again() {
    let system = System::new();
    let link = system.path("usr/lib/libsample.so");
    fs::remove_file(&link).unwrap();
    fs::write(&link, "").unwrap();
    fs::set_permissions(&link, fs::Permissions::from_mode(0o000)).unwrap();
    fs::remove_dir_all(system.path("usr/share/sample")).unwrap();
    fs::remove_file(system.path("usr/bin/careful")).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    system.is_whole();
    // Nobody signed the package.
    assert_eq!(mode(&system.path("usr/bin/careful")), 0o755);
    assert_eq!(mode(&system.path("usr/share/sample/deep/er/data")), 0o600);
    assert_eq!(mode(&system.path("usr/share/sample/deep")), 0o755);
    assert_eq!(system.repair_from(&["--all-damaged"]), 0);
    // What was missing is missing again.
    let records = fs::read_dir(system.path("var/lib/kedge/quarantine")).unwrap();
    for number in records.map(|entry| entry.unwrap().file_name()) {
        let number = number.to_str().unwrap();
        assert_eq!(system.repair_from(&["--undo", number]), 0, "{number}");
    }
    assert!(!system.path("usr/bin/careful").exists());
    assert_eq!(fs::symlink_metadata(&link).unwrap().len(), 0);
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
}

/// Nothing of it is a package's, so nobody takes it away unasked.
#[test]
fn what_is_in_a_folder_s_place_is_told_with_the_way_out() {
    let system = System::new();
    let folder = system.path("usr/share/sample/deep");
    let moved = system.path("usr/share/sample/deep.old");
    for (kind, put) in [
        (
            "regular file",
            (|path| fs::write(path, "mine")) as fn(&Path) -> _,
        ),
        ("symlink that leads to no folder", |path| {
            symlink("nowhere", path)
        }),
    ] {
        fs::remove_dir_all(&folder).unwrap();
        put(&folder).unwrap();
        let told = system.told(&["--all-damaged"]);
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        let advice = format!("is a {kind}, where a folder belongs: mv");
        // Of the folder, of the one in it, and of the file in that.
        assert_eq!(told.matches(&advice).count(), 3, "{told}");
        fs::rename(&folder, &moved).unwrap();
        assert_eq!(system.repair(&["--all-damaged"]), 0);
        system.is_whole();
        fs::remove_file(&moved).unwrap();
    }
}

#[test]
fn what_has_two_names_has_them_afterwards() {
    let system = System::new();
    system.damage("usr/bin/tool");
    assert_eq!(system.repair(&["/usr/bin/twin"]), 0);
    system.is_whole();
    let inode = |path: &str| fs::metadata(system.path(path)).unwrap().ino();
    assert_eq!(inode("usr/bin/tool"), inode("usr/bin/twin"));
    // Only the name that the archive has as a link, of which the other is gone.
    fs::remove_file(system.path("usr/bin/twin")).unwrap();
    fs::remove_file(system.path("usr/bin/tool")).unwrap();
    for name in ["/usr/bin/twin", "/usr/bin/tool"] {
        assert_eq!(system.repair(&[name]), 0, "{name}");
    }
    system.is_whole();
}

#[test]
fn configuration_is_only_replaced_by_name() {
    let system = System::new();
    let changed = "changed by the administrator\n";
    fs::write(system.path("etc/sample.conf"), changed).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    assert_eq!(system.repair(&["sample"]), 0);
    assert_eq!(system.read("etc/sample.conf"), changed.as_bytes());
    assert_eq!(system.repair(&["/etc/sample.conf"]), 0);
    assert_eq!(system.read("etc/sample.conf"), b"as packaged\n");
    assert_eq!(
        system.read("var/lib/kedge/quarantine/1/old"),
        changed.as_bytes()
    );
}

#[test]
fn a_package_that_has_something_else_changes_nothing() {
    let system = System::new();
    let damaged = system.damage(LIBRARY);
    system.pack("1.0-1", |tree| {
        fs::write(tree.join(LIBRARY), "an impostor").unwrap()
    });
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    system.is_tidy();
    // Another version's file is taken if it is the very same.
    system.pack("1.0-2", |_| {});
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 0);
    system.is_whole();
    // A file of a package that was cut off.
    let damaged = system.damage(LIBRARY);
    let package = fs::read(&system.package).unwrap();
    fs::write(&system.package, &package[..package.len() / 2]).unwrap();
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    system.is_tidy();
}

/// dpkg's scripts change modes and owners after unpacking; a repair must not undo that.
#[test]
fn what_was_granted_after_the_installation_stays_granted() {
    let system = System::new();
    let tool = system.path("usr/bin/careful");
    let set = std::process::Command::new("setcap")
        .arg("cap_net_raw=ep")
        .arg(&tool)
        .status();
    assert!(set.unwrap().success());
    std::os::unix::fs::chown(&tool, Some(0), Some(45)).unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
    let set = std::process::Command::new("setcap")
        .arg("cap_net_raw=ep")
        .arg(&tool)
        .status();
    assert!(set.unwrap().success());
    system.damage("usr/bin/careful");
    let set = std::process::Command::new("setcap")
        .arg("cap_net_raw=ep")
        .arg(&tool)
        .status();
    assert!(set.unwrap().success());
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o6755)).unwrap();
    assert_eq!(system.repair(&["/usr/bin/careful"]), 0);
    system.is_whole();
    let stat = fs::metadata(&tool).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.gid()), (0o6755, 45));
    let shown = std::process::Command::new("getcap")
        .arg(&tool)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("cap_net_raw=ep"));
}

#[test]
fn a_diverted_file_is_repaired_where_it_is() {
    let system = System::new();
    let root = format!("--root={}", system.root.display());
    let divert = [
        "--divert",
        "/usr/bin/tool.real",
        "--rename",
        "--add",
        "/usr/bin/tool",
    ];
    crate::fixture::run(
        std::process::Command::new("dpkg-divert")
            .arg(root)
            .args(divert),
    );
    fs::write(system.path("usr/bin/tool"), "the administrator's own").unwrap();
    fs::remove_file(system.path("usr/bin/twin")).unwrap();
    let whole = system.read("usr/bin/tool.real");
    system.damage("usr/bin/tool.real");
    assert_eq!(system.repair(&["/usr/bin/tool.real"]), 0);
    assert_eq!(system.read("usr/bin/tool.real"), whole);
    assert_eq!(system.read("usr/bin/tool"), b"the administrator's own");
}

#[test]
fn a_link_that_leads_out_of_the_system_is_not_followed() {
    let system = System::new();
    let outside = system.root.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("libsample.so.1"), "not ours").unwrap();
    fs::remove_dir_all(system.path("usr/lib")).unwrap();
    symlink(&outside, system.path("usr/lib")).unwrap();
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 1);
    assert_eq!(
        fs::read(outside.join("libsample.so.1")).unwrap(),
        b"not ours"
    );
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn what_nobody_installed_is_told() {
    let system = System::new();
    fs::write(system.path("usr/bin/mine"), "mine").unwrap();
    assert_eq!(system.repair(&["/usr/bin/mine"]), 1);
    assert_eq!(system.repair(&["no-such-package"]), 1);
    assert_eq!(system.repair_from(&[]), 2);
}
