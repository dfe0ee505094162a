//! Media: found by what is on them, read in order, waited for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::store::Scene;

#[test]
fn a_program_is_loaded_from_the_medium_with_the_identifier() {
    let scene = Scene::new("medium");
    let iso = scene.iso(&scene.index.application_id());
    let other = scene.folder.join("other");
    fs::write(&other, vec![0; 100_000]).unwrap();
    // Names say nothing: it is the third device.
    scene.device("sr0", &other);
    scene.device("vda", &other);
    scene.device("vdb", &iso);
    let said = scene.succeed("", &["load", "alpha"]);
    assert!(said.starts_with("loaded alpha: "), "{said}");
    let root = &scene.root;
    assert_eq!(
        fs::read(root.join("bin/alpha")).unwrap(),
        b"#!/bin/sh\necho alpha\n"
    );
    assert_eq!(
        fs::read(root.join("lib/libc.so.6")).unwrap(),
        fs::read("/bin/ls").unwrap()
    );
    assert_eq!(
        fs::read_link(root.join("lib/libc.so")).unwrap().to_str(),
        Some("libc.so.6")
    );
    assert_eq!(
        fs::metadata(root.join("bin/alpha")).unwrap().mode() & 0o7777,
        0o755
    );
    // kedge is still there: its link was replaced, and not what it led to.
    assert_eq!(fs::read(root.join("bin/kedge")).unwrap(), b"kedge");
    assert!(!root.join("bin/beta").exists());
    assert_eq!(
        scene.succeed("", &["load", "alpha"]),
        "alpha: loaded already\n"
    );
}

#[test]
fn what_is_there_is_not_fetched_again_and_links_of_folders_stay() {
    let scene = Scene::new("again");
    let from = scene.packs.to_str().unwrap().to_string();
    scene.succeed("", &["load", "alpha", "--from", &from]);
    // libc is loaded: nobody reads it any more.
    fs::remove_file(scene.packs.join("shared.cpio.xz")).unwrap();
    scene.succeed("", &["load", "beta,gamma", "--from", &from]);
    assert!(
        fs::symlink_metadata(scene.root.join("sbin"))
            .unwrap()
            .is_symlink()
    );
    assert_eq!(
        fs::metadata(scene.root.join("bin/gamma")).unwrap().len(),
        300_000
    );
    assert_eq!(
        fs::read(scene.root.join("lib/beta.conf")).unwrap(),
        b"beta\n"
    );
}

#[test]
fn an_image_may_be_named() {
    let scene = Scene::new("image");
    let iso = scene.iso(&scene.index.application_id());
    scene.succeed("", &["load", "more", "--from", iso.to_str().unwrap()]);
    assert!(scene.root.join("bin/gamma").exists());
}

#[test]
fn packs_of_another_build_are_not_taken() {
    let scene = Scene::new("build");
    let iso = scene.iso("KEDGE PACKS FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF");
    scene.device("sr0", &iso);
    let said = scene.fail(1, "", &["load", "alpha"]);
    assert!(said.contains("the packs of another build"), "{said}");
    assert!(said.contains("pack load --from"), "{said}");
    assert!(scene.untouched());
}

#[test]
fn a_medium_that_comes_back_as_another_device_is_gone_on_with() {
    let scene = Scene::new("back");
    let iso = scene.iso(&scene.index.application_id());
    // It ends in the middle of beta.
    let bytes = fs::read(&iso).unwrap();
    let cut = scene.folder.join("cut");
    let beta = &scene.index.groups[2];
    let tools = fs::read(scene.packs.join("tools.cpio.xz")).unwrap();
    let begin = bytes.windows(64).position(|at| at == &tools[..64]).unwrap();
    let end = (begin as u64 + beta.offset + 300_000) as usize;
    fs::write(&cut, &bytes[..end]).unwrap();
    scene.device("sr0", &cut);
    let mut command = scene.command("", &["load", "beta"]);
    let log = scene.folder.join("log");
    let mut child = command
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&log).unwrap().contains("tried again") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::remove_file(scene.root.join("dev/sr0")).unwrap();
    fs::remove_dir_all(scene.root.join("sys/class/block/sr0")).unwrap();
    scene.device("sdb", &iso);
    assert!(
        child.wait().unwrap().success(),
        "{}",
        fs::read_to_string(&log).unwrap()
    );
    assert_eq!(
        fs::metadata(scene.root.join("bin/beta")).unwrap().len(),
        600_000
    );
}

#[test]
fn a_device_that_hangs_holds_up_neither_another_nor_ctrl_c() {
    let scene = Scene::new("hang");
    let iso = scene.iso(&scene.index.application_id());
    // open(2) of a FIFO waits for ever.
    scene.device("sr0", &iso);
    let fifo = scene.root.join("dev/sr0");
    fs::remove_file(&fifo).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let mut alone = scene.command("", &["load", "alpha"]);
    let mut child = alone.stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let began = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // The device is given 20 s; it did not take that.
    assert!(began.elapsed() < Duration::from_secs(15));
    assert!(scene.untouched());
    scene.device("sr1", &iso);
    scene.succeed("", &["load", "alpha"]);
}

#[test]
fn a_place_that_cannot_be_read_is_named() {
    let scene = Scene::new("bad");
    let iso = scene.iso(&scene.index.application_id());
    let bytes = fs::read(&iso).unwrap();
    let cut = scene.folder.join("cut");
    fs::write(&cut, &bytes[..bytes.len() - 450_000]).unwrap();
    scene.device("sr0", &cut);
    let said = scene.fail(1, "", &["load", "tools", "more"]);
    assert!(
        said.contains("/PACKS/TOOLS.XZ on ") && said.contains("cannot be read"),
        "{said}"
    );
    assert!(scene.untouched());
}

#[test]
fn ctrl_c_leaves_nothing() {
    let scene = Scene::new("ctrl-c");
    let iso = scene.iso(&scene.index.application_id());
    let bytes = fs::read(&iso).unwrap();
    let cut = scene.folder.join("cut");
    fs::write(&cut, &bytes[..bytes.len() - 450_000]).unwrap();
    scene.device("sr0", &cut);
    let log = scene.folder.join("log");
    let mut command = scene.command("", &["load", "tools", "more"]);
    let mut child = command
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(&log).unwrap().contains("tried again") {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    // libc and alpha have come and are unpacked.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(scene.untouched());
}

#[test]
fn what_a_killed_load_left_goes_with_the_next() {
    let scene = Scene::new("left");
    fs::create_dir_all(scene.root.join(".pack-4000000/bin")).unwrap();
    let from = scene.packs.to_str().unwrap().to_string();
    scene.succeed("", &["load", "alpha", "--from", &from]);
    assert!(!scene.root.join(".pack-4000000").exists());
}

#[test]
fn two_loads_take_turns() {
    let scene = Scene::new("turns");
    let from = scene.packs.to_str().unwrap().to_string();
    let start = |name: &str| {
        let mut command = scene.command("", &["load", name, "--from", &from]);
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = ["alpha", "beta", "gamma", "tools", "alpha"].map(start);
    let mut fetched = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        fetched += usize::from(said.contains("loaded alpha: "));
    }
    assert!(fetched <= 1, "alpha was fetched twice");
    let loaded = fs::read_to_string(scene.root.join("run/kedge/packs/loaded")).unwrap();
    assert_eq!(loaded, format!("{}\n0\n1\n2\n3\n", scene.index.id));
}
