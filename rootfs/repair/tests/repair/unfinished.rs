//! A run that was cut short, and a next one that does not see all of the system.

use std::fs;

use crate::fixture::{LIBRARY, System};

const CASE: &str = "var/lib/kedge/quarantine/1";

/// Between the exchange and the word that it is done.
fn cut_short(system: &System) -> Vec<u8> {
    let damaged = system.damage(LIBRARY);
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 0);
    fs::remove_file(system.path(CASE).join("done")).unwrap();
    damaged
}

#[test]
fn what_is_kept_stays_while_its_place_is_not_there() {
    let system = System::new();
    let damaged = cut_short(&system);
    let (folder, away) = (system.path("usr/lib"), system.path("away"));
    fs::rename(&folder, &away).unwrap();
    // Without the folder, and with the one on which it is mounted.
    for _ in 0..2 {
        system.damage("usr/bin/careful");
        assert_eq!(system.repair(&["/usr/bin/careful"]), 0);
        assert_eq!(fs::read(system.path(CASE).join("old")).unwrap(), damaged);
        assert!(!system.path(CASE).join("done").exists());
        fs::create_dir_all(&folder).unwrap();
    }
    fs::remove_dir(&folder).unwrap();
    fs::rename(&away, &folder).unwrap();
    assert_eq!(system.repair(&["--all-damaged"]), 0);
    assert!(system.path(CASE).join("done").exists());
    assert_eq!(system.repair_from(&["--undo", "1"]), 0);
    assert_eq!(system.read(LIBRARY), damaged);
}

#[test]
fn what_is_kept_stays_when_another_file_came_since() {
    let system = System::new();
    let damaged = cut_short(&system);
    let other = system.path("usr/lib/other");
    fs::write(&other, "an upgrade").unwrap();
    fs::rename(&other, system.path(LIBRARY)).unwrap();
    system.damage("usr/bin/careful");
    assert_eq!(system.repair(&["/usr/bin/careful"]), 0);
    assert_eq!(fs::read(system.path(CASE).join("old")).unwrap(), damaged);
    assert_eq!(system.repair_from(&["--undo", "1", "--force"]), 0);
    assert_eq!(system.read(LIBRARY), damaged);
}
