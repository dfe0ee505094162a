//! System calls that fail, one after the other: the file is the old one or the new one, and the other one of both is not lost.

use std::fs;
use std::path::Path;

use crate::fixture::{LIBRARY, System, run};
use crate::killed::child_command;

/// With which something is made, exchanged or made durable.
const CALLS: [&str; 4] = ["mkdirat", "fsync", "linkat", "renameat"];

/// The cases that are kept: each with its old file.
fn kept(system: &System) -> Vec<Vec<u8>> {
    let cases = fs::read_dir(system.path("var/lib/kedge/quarantine"));
    let cases = cases.into_iter().flatten().flatten();
    cases
        .filter_map(|case| fs::read(case.path().join("old")).ok())
        .collect()
}

/// Runs `repair ROOT ARGUMENTS` with each of its calls failing once; `prepare` goes before, `judge` after each.
fn with_each_call_failing(
    system: &System,
    arguments: &[&str],
    prepare: impl Fn(),
    judge: impl Fn(&str),
) -> usize {
    let log = system.root.parent().unwrap().join("strace");
    let mut failed = 0;
    for call in CALLS {
        prepare();
        let trace = format!("trace={call}");
        let log_name = log.to_str().unwrap();
        let options = ["-f", "-qq", "-o", log_name, "-e", &trace];
        run(&mut child_command(system, &options, arguments));
        let begins = format!("{call}(");
        let text = fs::read_to_string(&log).unwrap();
        let count = text.lines().filter(|line| line.contains(&begins)).count();
        for when in 1..=count {
            prepare();
            let inject = format!("inject={call}:error=EIO:when={when}");
            let options = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            let ended = child_command(system, &options, arguments).output();
            failed += usize::from(!ended.unwrap().status.success());
            judge(&format!("{call} {when} of {count}"));
        }
    }
    failed
}

#[test]
fn a_repair_that_fails_loses_neither_the_old_file_nor_the_new_one() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    let damaged = system.damage(LIBRARY);
    let package = system.package.to_str().unwrap();
    let arguments = ["--all-damaged", "--from", package];
    let prepare = || {
        let _ = fs::remove_dir_all(system.path("var/lib/kedge"));
        fs::write(system.path(LIBRARY), &damaged).unwrap();
    };
    let judge = |what: &str| {
        let there = system.read(LIBRARY);
        let kept = kept(&system);
        match there {
            // Nothing is left of what came to nothing.
            _ if there == damaged => assert!(kept.is_empty(), "{what}"),
            _ if there == whole => assert!(kept == [&*damaged], "{what}"),
            _ => panic!("{what}: neither the old nor the new one"),
        }
        system.is_tidy();
        assert_eq!(system.repair(&["--all-damaged"]), 0, "{what}");
        system.is_whole();
    };
    let failed = with_each_call_failing(&system, &arguments, prepare, judge);
    println!("it failed {failed} times");
    assert!(failed >= 8, "{failed}");
}

#[test]
fn an_undo_that_fails_loses_neither_of_both_files() {
    let system = System::new();
    let whole = system.read(LIBRARY);
    let damaged = system.damage(LIBRARY);
    let prepare = || {
        let _ = fs::remove_dir_all(system.path("var/lib/kedge"));
        fs::write(system.path(LIBRARY), &damaged).unwrap();
        assert_eq!(system.repair(&["--all-damaged"]), 0);
    };
    let judge = |what: &str| {
        let mut both = kept(&system);
        both.push(system.read(LIBRARY));
        let has = |wanted: &Vec<u8>| both.iter().any(|one| one == wanted);
        assert!(has(&whole) && has(&damaged), "{what}: one of both is lost");
        system.is_tidy();
    };
    let failed = with_each_call_failing(&system, &["--undo", "1"], prepare, judge);
    println!("it failed {failed} times");
    assert!(failed >= 6, "{failed}");
}

/// What cannot be begun leaves no trace either: the package has a link where a file was installed.
#[test]
fn what_is_refused_before_it_is_begun_leaves_no_case() {
    let system = System::new();
    let damaged = system.damage(LIBRARY);
    system.pack("1.0-1", |tree| {
        fs::remove_file(tree.join(LIBRARY)).unwrap();
        std::os::unix::fs::symlink(Path::new("elsewhere"), tree.join(LIBRARY)).unwrap();
    });
    assert_eq!(system.repair(&["/usr/lib/libsample.so.1"]), 1);
    assert_eq!(system.read(LIBRARY), damaged);
    let cases = fs::read_dir(system.path("var/lib/kedge/quarantine")).unwrap();
    assert_eq!(cases.count(), 0);
}
