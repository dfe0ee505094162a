//! No false alarm: the programs and libraries of this very system are whole, and nothing is said of them.

use std::fs;
use std::path::{Path, PathBuf};

use kedge_elf::{Severity, check, is_elf};

/// Larger ones are compilers' libraries, and take their time.
const LARGEST: u64 = 32 << 20;

/// Regular files below a folder, links not followed.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            files(&entry.path(), found);
        } else if kind.is_file() && entry.metadata().is_ok_and(|m| m.len() <= LARGEST) {
            found.push(entry.path());
        }
    }
}

/// How many ELF files there are, and what is said of them.
fn alarms(folders: &[&str]) -> (usize, Vec<String>) {
    let mut all = Vec::new();
    for folder in folders {
        files(Path::new(folder), &mut all);
    }
    let (mut count, mut alarms) = (0, Vec::new());
    for path in all {
        let Ok(bytes) = fs::read(&path) else { continue };
        if !is_elf(&bytes) {
            continue;
        }
        count += 1;
        let worse = check(&bytes)
            .into_iter()
            .filter(|f| f.severity > Severity::Odd);
        alarms.extend(worse.map(|f| {
            format!(
                "{}: {} ({:?}, {:x?})",
                path.display(),
                f.text,
                f.part,
                f.bytes
            )
        }));
    }
    (count, alarms)
}

#[test]
fn nothing_is_said_of_this_systems_programs_and_libraries() {
    let (count, alarms) = alarms(&[
        "/usr/bin",
        "/usr/sbin",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/systemd",
        "/usr/lib/openssh",
    ]);
    println!("{count} files");
    assert_eq!(alarms, Vec::<String>::new());
    assert!(
        count > 100,
        "{count} files are too few for this to mean anything"
    );
}

/// glibc for other machines: 32 bits, big-endian, tables without addends, procedure linkage tables of other kinds.
#[test]
fn nothing_is_said_of_other_machines_libraries() {
    let machines = [
        "aarch64-linux-gnu",
        "arm-linux-gnueabihf",
        "i686-linux-gnu",
        "mips-linux-gnu",
        "powerpc-linux-gnu",
        "powerpc64le-linux-gnu",
        "riscv64-linux-gnu",
        "s390x-linux-gnu",
    ];
    let folders: Vec<String> = machines.iter().map(|m| format!("/usr/{m}/lib")).collect();
    let folders: Vec<&str> = folders
        .iter()
        .map(String::as_str)
        .filter(|f| Path::new(f).exists())
        .collect();
    let (count, alarms) = alarms(&folders);
    println!("{count} files of {} machines", folders.len());
    assert_eq!(alarms, Vec::<String>::new());
}

/// Boot loaders, firmware and what GNU ld makes of them obey other rules.
#[test]
fn nothing_is_said_of_boot_loaders() {
    let folders = [
        "/usr/lib/syslinux",
        "/usr/lib/ipxe",
        "/usr/lib/grub",
        "/usr/share/qemu",
        "/usr/lib/systemd/boot",
    ];
    let (count, alarms) = alarms(&folders);
    println!("{count} files");
    assert_eq!(alarms, Vec::<String>::new());
}
