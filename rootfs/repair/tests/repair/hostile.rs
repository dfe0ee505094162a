//! Systems whose folders of ours were prepared by somebody else.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::fixture::{LIBRARY, System, run};

const QUARANTINE: &str = "var/lib/kedge/quarantine";

/// What a run before this one left undone is removed; nothing else is, whatever is written there.
#[test]
fn an_intent_removes_nothing_but_a_file_of_ours() {
    let system = System::new();
    let outside = system.root.parent().unwrap().join("outside");
    fs::write(&outside, "of the system that repairs").unwrap();
    fs::create_dir_all(system.path("usr/bin/.kedge-repair-x")).unwrap();
    let temporary = ".kedge-repair-x/../../../../outside";
    assert!(system.path("usr/bin").join(temporary).exists());
    let case = system.path(QUARANTINE).join("7");
    fs::create_dir_all(&case).unwrap();
    fs::write(
        case.join("intent"),
        format!("kedge repair 1\npath=usr/bin/tool\ntemporary={temporary}\n"),
    )
    .unwrap();
    // What would be ours, in the case that is not done.
    fs::write(system.path("usr/bin/.kedge-repair-7"), "half").unwrap();
    system.damage(LIBRARY);
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    assert!(outside.exists());
    assert!(!system.path("usr/bin/.kedge-repair-7").exists());
    fs::remove_dir(system.path("usr/bin/.kedge-repair-x")).unwrap();
    system.is_whole();
}

#[test]
fn what_else_is_in_the_quarantine_hinders_nobody() {
    let system = System::new();
    let quarantine = system.path(QUARANTINE);
    for folder in ["18446744073709551615", "007", "+3", "x"] {
        fs::create_dir_all(quarantine.join(folder)).unwrap();
    }
    fs::write(quarantine.join("5"), "no folder").unwrap();
    symlink("/", quarantine.join("6")).unwrap();
    system.damage(LIBRARY);
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    system.is_whole();
    assert_eq!(system.repair_from(&["--undo"]), 0);
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);
    assert!(quarantine.join("5").exists() && quarantine.join("007").exists());
}

/// Behind the last number there is no next one.
#[test]
fn the_highest_number_does_not_hide_the_next() {
    let system = System::new();
    let last = system.path(QUARANTINE).join("4294967295");
    fs::create_dir_all(&last).unwrap();
    fs::write(last.join("done"), "").unwrap();
    let damaged = system.damage(LIBRARY);
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);
    assert_eq!(system.read(LIBRARY), damaged);
}

#[test]
fn a_lock_that_is_no_file_is_not_opened() {
    let system = System::new();
    let damaged = system.damage(LIBRARY);
    fs::create_dir_all(system.path("var/lib/kedge")).unwrap();
    let lock = system.path("var/lib/kedge/lock");
    run(Command::new("mkfifo").arg(&lock));
    let began = std::time::Instant::now();
    assert_eq!(system.repair(&["--all-damaged"]), 3);
    fs::remove_file(&lock).unwrap();
    // The null device, which anybody may open.
    run(Command::new("mknod").arg(&lock).args(["c", "1", "3"]));
    assert_eq!(system.repair(&["--all-damaged"]), 3);
    assert!(began.elapsed().as_secs() < 5);
    assert_eq!(system.read(LIBRARY), damaged);
    fs::remove_file(&lock).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    // And the one that was made is taken again.
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);
}

#[test]
fn our_folder_may_be_a_link_and_leads_nowhere_else() {
    let system = System::new();
    let outside = system.root.parent().unwrap().join("outside");
    fs::create_dir(&outside).unwrap();
    let damaged = system.damage(LIBRARY);
    symlink(&outside, system.path("var/lib/kedge")).unwrap();
    // Inside of the system there is no such folder.
    assert_eq!(system.repair(&["--all-damaged"]), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    let inside = system.root.join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    system.is_whole();
    assert!(inside.join("quarantine/1/old").exists());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// The link of a merged system is missing: a folder in its place would hide what is behind it.
#[test]
fn no_folder_is_made_where_a_link_to_usr_belongs() {
    let system = System::new();
    system.pack("1.0-1", |tree| {
        fs::create_dir(tree.join("lib64")).unwrap();
        fs::write(tree.join("lib64/linker"), "linker").unwrap();
    });
    fs::create_dir_all(system.path("usr/lib64")).unwrap();
    symlink("usr/lib64", system.path("lib64")).unwrap();
    system.install();
    assert_eq!(system.read("usr/lib64/linker"), b"linker");
    fs::remove_file(system.path("lib64")).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 1);
    assert!(fs::symlink_metadata(system.path("lib64")).is_err());
    // As it is advised.
    symlink("usr/lib64", system.path("lib64")).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    assert!(system.path("lib64").is_symlink());
}
