//! A repair that is killed, at each of its system calls that change something: the file is the old one or the new one, and
//! the next run ends what was begun.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fixture::{LIBRARY, System, run};

const ARGUMENTS: &str = "KEDGE_REPAIR_ARGUMENTS";
/// All with which something is made, changed or made durable.
const CALLS: [&str; 8] = [
    "mkdirat",
    "write",
    "fsync",
    "linkat",
    "renameat",
    "unlinkat",
    "fchown",
    "symlinkat",
];
/// At how many of each it is killed.
const MOST: usize = 900;

/// Not a test: what the others run as a process of its own.
#[test]
fn process() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else {
        return;
    };
    let arguments: Vec<String> = arguments.split('\n').map(str::to_string).collect();
    let nothing = kedge_repair::Place {
        sys: "/sys".into(),
        kernel_log: "/dev/null".into(),
    };
    kedge_progress::interrupt::watch();
    std::process::exit(kedge_repair::run(&nothing, &arguments).into());
}

/// A process that runs `repair ARGUMENTS`.
pub(crate) fn child(arguments: &[String]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "killed::process",
            "--test-threads=1",
            "--nocapture",
        ])
        .env(ARGUMENTS, arguments.join("\n"));
    command
}

/// How often a repair makes each of these calls.
fn calls(system: &System) -> Vec<(&'static str, usize)> {
    let log = system.root.parent().unwrap().join("strace");
    let trace = format!("trace={}", CALLS.join(","));
    run(&mut repair_command(
        system,
        &["-f", "-qq", "-o", log.to_str().unwrap(), "-e", &trace],
    ));
    let log = fs::read_to_string(log).unwrap();
    let count = |call: &&'static str| {
        let begins = format!("{call}(");
        (
            *call,
            log.lines().filter(|line| line.contains(&begins)).count(),
        )
    };
    CALLS.iter().map(count).collect()
}

fn repair_command(system: &System, strace: &[&str]) -> Command {
    let package = system.package.to_str().unwrap();
    child_command(system, strace, &["--all-damaged", "--from", package])
}

/// `repair ROOT ARGUMENTS` under strace(1) with these options.
pub(crate) fn child_command(system: &System, strace: &[&str], arguments: &[&str]) -> Command {
    let arguments = system.arguments(arguments);
    let mut command = Command::new("strace");
    command
        .args(strace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "killed::process", "--test-threads=1"])
        .env(ARGUMENTS, arguments.join("\n"));
    command
}

fn wreck(system: &System) -> Vec<u8> {
    let link = system.path("usr/lib/libsample.so");
    let _ = fs::remove_file(&link);
    fs::write(&link, "").unwrap();
    fs::set_permissions(&link, fs::Permissions::from_mode(0o000)).unwrap();
    fs::remove_file(system.path("usr/bin/careful")).unwrap();
    system.damage(LIBRARY)
}

#[test]
fn a_repair_that_is_killed_leaves_the_old_file_or_the_new_one() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    let damaged = wreck(&system);
    let calls = calls(&system);
    system.is_whole();
    let (mut killed, mut old, mut new) = (0, 0, 0);
    for (call, count) in calls {
        for when in (1..=count).rev().step_by(count.div_ceil(MOST).max(1)) {
            let _ = fs::remove_dir_all(system.path("var/lib/kedge"));
            wreck(&system);
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            let trace = format!("trace={call}");
            let status = repair_command(
                &system,
                &["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject],
            )
            .output();
            killed += usize::from(!status.unwrap().status.success());
            let there = system.read(LIBRARY);
            match there {
                _ if there == damaged => old += 1,
                _ if there == whole => new += 1,
                _ => panic!("killed at {call} {when}: neither the old nor the new one"),
            }
            let careful = system.path("usr/bin/careful");
            assert!(!careful.exists() || fs::read(&careful).unwrap() == b"setuid");
            assert_eq!(system.repair(&["--all-damaged"]), 0, "after {call} {when}");
            system.is_whole();
            let quarantine = system.path("var/lib/kedge/quarantine");
            for case in fs::read_dir(quarantine).unwrap() {
                let case = case.unwrap().path();
                assert!(
                    case.join("done").exists(),
                    "{} after {call} {when}",
                    case.display()
                );
            }
        }
    }
    println!("killed {killed} times; the old file was there {old} times, the new one {new} times");
    assert!(killed >= 30 && old >= 5 && new >= 5, "{killed} {old} {new}");
}
