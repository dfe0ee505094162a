//! Files that were written in one second, and file systems that are not mounted.

use std::collections::BTreeMap;
use std::fs::{File, FileTimes};
use std::time::{Duration, SystemTime};

use super::dates::burst;
use crate::Gravity;
use crate::examine_tests::Small;

/// Eight packages of ten programs. All are new: what is written now has this second's date, as a restored copy.
fn system(name: &str) -> Small {
    let files = |package: usize| (0..10).map(move |file| format!("usr/bin/p{package}-{file}"));
    let packages: BTreeMap<_, _> = (0..8)
        .map(|package| {
            let files = files(package).map(|path| (path, b"x".to_vec())).collect();
            (format!("p{package}"), files)
        })
        .collect();
    Small::new(name, &packages)
}

fn date(small: &Small, package: usize, file: usize, when: SystemTime) {
    let path = small.path(&format!("usr/bin/p{package}-{file}"));
    let times = FileTimes::new().set_modified(when);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_times(times)
        .unwrap();
}

fn found(small: &Small) -> Option<String> {
    let root = small.root();
    let databases = kedge_packages::open(&root).unwrap();
    burst(&root, &databases).map(|trouble| trouble.headline)
}

#[test]
fn files_of_many_packages_of_one_second_are_told_and_a_new_system_is_not() {
    let now = SystemTime::now();
    let before = |hours: usize| now - Duration::from_secs(3600 * (hours as u64 + 1));
    let each = |small: &Small, when: &dyn Fn(usize, usize) -> SystemTime| {
        for package in 0..8 {
            (0..10).for_each(|file| date(small, package, file, when(package, file)));
        }
    };

    // A package manager gives each the date that it has in its package.
    let installed = system("installed");
    each(&installed, &|package, _| before(package));
    assert_eq!(found(&installed), None);

    // A tree that was copied as a whole has nothing else.
    let copied = system("copied");
    each(&copied, &|_, _| now);
    assert_eq!(found(&copied), None);

    // Three programs of each were written over.
    let burst = system("burst");
    each(&burst, &|package, file| match file {
        0..3 => now,
        _ => before(package),
    });
    let told = found(&burst).expect("24 files of 8 packages");
    assert!(
        told.starts_with("24 programs and libraries of 8 packages"),
        "{told}"
    );

    // An administrator's own twenty are one package's, or nobody's.
    let own = system("own");
    each(&own, &|package, _| match package {
        0..2 => now,
        _ => before(package),
    });
    assert_eq!(found(&own), None);
}

#[test]
fn a_file_system_that_is_not_mounted_is_no_damage() {
    let small = system("unmounted");
    for folder in ["dev", "proc", "sys", "run", "tmp", "root", "etc"] {
        std::fs::create_dir_all(small.path(folder)).unwrap();
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(small.path("tmp"), mode).unwrap();
    let told = || -> Vec<(Gravity, String, Vec<String>)> {
        let all = super::places::all(&small.root()).into_iter();
        all.filter(|trouble| trouble.headline.starts_with("/var"))
            .map(|trouble| (trouble.gravity, trouble.headline, trouble.next))
            .collect()
    };
    assert_eq!(told().len(), 2, "/var/tmp and /var/log are not there");
    let fstab = "UUID=$(touch${IFS}x) /var ext4 defaults 0 2\n";
    std::fs::write(small.path("etc/fstab"), fstab).unwrap();
    let told = told();
    assert_eq!(told.len(), 1, "{told:?}");
    let (gravity, headline, next) = &told[0];
    assert_eq!(*gravity, Gravity::Odd);
    assert!(
        headline.contains("is a file system of its own"),
        "{headline}"
    );
    assert!(
        next[0].starts_with("mount -o ro 'UUID=$(touch${IFS}x)' "),
        "{next:?}"
    );
}

#[test]
fn what_the_file_system_does_not_give_is_told() {
    let small = system("unreadable");
    std::fs::create_dir_all(small.path("boot/grub")).unwrap();
    // A link to itself stands in for a damaged inode: it is there, and nobody can open it.
    std::fs::write(small.path("boot/extlinux.conf"), "LINUX /vmlinuz\n").unwrap();
    for path in ["boot/grub/grub.cfg", "usr/bin/libx.so.1", "etc", "vmlinuz"] {
        std::os::unix::fs::symlink(format!("/{path}"), small.path(path)).unwrap();
    }
    let root = small.root();
    let databases = kedge_packages::open(&root).unwrap();
    let told: Vec<String> = super::look_over(&root, &databases)
        .troubles
        .into_iter()
        .map(|trouble| trouble.headline)
        .collect();
    let all = [
        "/boot/grub/grub.cfg",
        "/usr/bin/libx.so.1",
        "/etc",
        "/vmlinuz",
    ];
    for path in all {
        let line = format!("{path} cannot be read: ");
        assert!(
            told.iter().any(|told| told.starts_with(&line)),
            "{path}: {told:?}"
        );
    }
    let absent = |path: &str| {
        told.iter()
            .any(|told| *told == format!("{path} is not there"))
    };
    assert!(!absent("/etc"), "{told:?}");
}

#[test]
fn nothing_is_said_of_programs_of_a_usr_that_is_not_mounted() {
    let small = system("usr");
    std::fs::create_dir_all(small.path("etc")).unwrap();
    small.list("p0", "usr/bin/bash");
    let root = small.root();
    let databases = kedge_packages::open(&root).unwrap();
    let gone = |trouble: &super::Trouble| trouble.headline.contains("bash");
    assert!(
        super::look_over(&root, &databases)
            .troubles
            .iter()
            .any(gone)
    );
    std::fs::write(small.path("etc/fstab"), "LABEL=usr /usr ext4 ro 0 2\n").unwrap();
    let told = super::look_over(&root, &databases);
    assert!(!told.troubles.iter().any(gone), "{:?}", told.troubles);
    assert_eq!(told.complaints.len(), 1);
}
