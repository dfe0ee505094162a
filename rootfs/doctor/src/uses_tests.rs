//! Who needs what, in a small tree: `su` of this machine, a script, and PAM's configuration.

use std::fs;
use std::path::Path;

use crate::examine_tests::Small;
use crate::program_tests::{chmod, inside, installed, put};
use crate::uses::Graph;

const PAM: &str = "/lib/x86_64-linux-gnu/security/pam_unix.so";
const LIBPAM: &str = "lib/x86_64-linux-gnu/libpam.so.0";

fn system(name: &str) -> Small {
    let small = installed(name, "/bin/su");
    small.list("all", "usr/bin/hello");
    put(&small, "usr/bin/hello", b"#!/usr/bin/env su\n", 0o755);
    small
}

fn uses(small: &Small, wanted: &str) -> Result<Vec<String>, String> {
    let root = small.root();
    let databases = kedge_packages::open(&root).unwrap();
    let graph = Graph::of(&root, &databases).unwrap();
    let programs = graph.uses(&root, Path::new(wanted));
    let programs = programs.map_err(|error| error.to_string())?;
    Ok(programs
        .iter()
        .map(|path| path.display().to_string())
        .collect())
}

fn why(small: &Small, wanted: &str) -> (String, String) {
    let root = small.root();
    let databases = kedge_packages::open(&root).unwrap();
    let graph = Graph::of(&root, &databases).unwrap();
    let trees = graph.why(&root, Path::new(wanted)).unwrap();
    let text = trees.iter().map(|tree| tree.text()).collect();
    (text, trees.iter().map(|tree| tree.json()).collect())
}

#[test]
fn programs_scripts_and_what_pam_loads_are_found_by_name_and_by_path() {
    let small = system("uses");
    let expected = Ok(vec!["usr/bin/hello".to_string(), "usr/bin/su".to_string()]);
    let real = small.root().real_path(Path::new(LIBPAM)).unwrap();
    let outside = small.path(real.to_str().unwrap());
    for wanted in [
        "libpam.so.0",
        &format!("/{LIBPAM}"),
        "pam_unix.so",
        PAM,
        outside.to_str().unwrap(),
    ] {
        assert_eq!(uses(&small, wanted), expected, "{wanted}");
    }
    assert!(uses(&small, "/usr/lib/nothing.so").is_err());
    assert!(uses(&small, "nothing.so").is_err());
}

#[test]
fn that_nobody_needs_it_is_not_the_answer_where_configuration_loads_it() {
    let small = system("nobody");
    put(&small, "etc/nsswitch.conf", b"passwd: files mine\n", 0o644);
    let root = small.root();
    let databases = kedge_packages::open(&root).unwrap();
    let graph = Graph::of(&root, &databases).unwrap();
    let nobody = |path| graph.nobody(&root, Path::new(path));
    assert!(nobody("/usr/lib/libnss_mine.so.2").contains("/etc/nsswitch.conf says"));
    assert!(nobody("libplugin.so").contains("was not looked at"));
}

#[test]
fn a_library_that_is_broken_or_gone_has_users_all_the_same() {
    let small = system("broken");
    let expected = Ok(vec!["usr/bin/hello".to_string(), "usr/bin/su".to_string()]);
    let real = small.root().real_path(Path::new(LIBPAM)).unwrap();
    let real = format!("/{}", real.display());
    put(&small, &real[1..], b"", 0o644);
    for wanted in ["libpam.so.0", &format!("/{LIBPAM}"), &real] {
        assert_eq!(uses(&small, wanted), expected, "empty, {wanted}");
    }
    fs::remove_file(inside(&small, &real[1..])).unwrap();
    for wanted in ["libpam.so.0", &format!("/{LIBPAM}"), &real] {
        assert_eq!(uses(&small, wanted), expected, "gone, {wanted}");
    }
    let (text, _) = why(&small, &real);
    assert!(
        text.starts_with(&format!("{real}: nobody has it")),
        "{text}"
    );
}

#[test]
fn a_tree_is_nested_in_json_as_it_is_drawn() {
    let small = system("tree");
    let (text, json) = why(&small, "libpam_misc.so.0");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1..3],
        ["  /usr/bin/su", "    /usr/bin/hello"],
        "{text}"
    );
    let nested = r#""path":"/usr/bin/su","above":false,"broken":false,"needed_by":[{"path":"/usr/bin/hello""#;
    assert!(
        json.replace(": ", ":").replace(", ", ",").contains(nested),
        "{json}"
    );
    // What cannot be started is no program.
    chmod(&small, "usr/bin/hello", 0o644);
    let (text, _) = why(&small, "libpam_misc.so.0");
    assert!(
        text.contains("/usr/bin/su\n") && !text.contains("hello"),
        "{text}"
    );
}
