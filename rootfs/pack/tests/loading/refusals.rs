//! What is refused, and what is said then: on stdout for programs, on stderr for people.

use std::fs;

use crate::store::Scene;

#[test]
fn a_flipped_bit_is_named_and_nothing_is_installed() {
    let scene = Scene::new("flip");
    let iso = scene.iso(&scene.index.application_id());
    let mut bytes = fs::read(&iso).unwrap();
    let tools = fs::read(scene.packs.join("tools.cpio.xz")).unwrap();
    let begin = bytes.windows(64).position(|at| at == &tools[..64]).unwrap();
    bytes[begin + scene.index.groups[2].offset as usize + 1000] ^= 4;
    fs::write(&iso, bytes).unwrap();
    scene.device("sr0", &iso);
    let said = scene.fail(3, "", &["load", "tools"]);
    let group = &scene.index.groups[2];
    let span = format!(
        "bytes {} to {}",
        group.offset,
        group.offset + group.packed - 1
    );
    for part in [
        "tools: ",
        &span,
        "/PACKS/TOOLS.XZ on ",
        "dev/sr0",
        "damaged data",
        "once more",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(scene.untouched());
    // The other program of the pack is whole.
    scene.succeed("", &["load", "alpha"]);
}

#[test]
fn too_little_memory_is_said_with_numbers_before_anything_is_read() {
    let scene = Scene::new("memory");
    scene.memory(5_000_000);
    let said = scene.fail(1, "", &["load", "tools", "--from", "/nowhere"]);
    assert!(said.contains("too little memory: loading takes "), "{said}");
    assert!(said.contains("5.0 MB are available"), "{said}");
    assert!(scene.untouched());
}

#[test]
fn a_folder_is_not_replaced_by_a_file() {
    let scene = Scene::new("folder");
    fs::create_dir(scene.root.join("bin/beta")).unwrap();
    let from = scene.packs.to_str().unwrap().to_string();
    let said = scene.fail(1, "", &["load", "beta", "alpha", "--from", &from]);
    assert!(
        said.contains("/bin/beta") && said.contains("a folder is there"),
        "{said}"
    );
    fs::remove_dir(scene.root.join("bin/beta")).unwrap();
    assert!(scene.untouched());
}

#[test]
fn unknown_names_and_wrong_use_end_with_2() {
    let scene = Scene::new("unknown");
    let said = scene.fail(2, "", &["load", "alpha", "no-such"]);
    assert!(
        said.contains("'no-such'") && said.contains("pack list"),
        "{said}"
    );
    assert!(
        scene
            .fail(2, "", &["load", "ALPH"])
            .contains("(is it alpha?)")
    );
    scene.fail(2, "", &["frob"]);
    fs::remove_file(scene.root.join("etc/kedge/packs")).unwrap();
    assert!(scene.fail(1, "", &["list"]).contains("without packs"));
}

#[test]
fn a_program_that_is_not_loaded_says_how_to_get_it() {
    let scene = Scene::new("missing");
    let kilobytes = (scene.packed(&[0, 3]) + 500) / 1000;
    let said = scene.fail(127, "", &["--missing", "gamma"]);
    assert_eq!(
        said,
        format!("gamma: in pack \"more\", {kilobytes} kB: pack load gamma\n")
    );
    let iso = scene.iso(&scene.index.application_id());
    scene.device("sr0", &iso);
    let said = scene.fail(127, "", &["--missing", "gamma"]);
    assert!(
        said.contains(" kB, about 1 s from here: pack load gamma\n"),
        "{said}"
    );
    assert_eq!(scene.pack("", &["--missing", "ls"]).status.code(), Some(0));
}

#[test]
fn the_list_says_what_is_to_load_and_fits_a_terminal() {
    let scene = Scene::new("list");
    let iso = scene.iso(&scene.index.application_id());
    let without = scene.pack("", &["list"]);
    let (text, said) = (String::from_utf8(without.stdout).unwrap(), without.stderr);
    assert!(text.contains("?  no    alpha and beta\n"), "{text}");
    assert!(
        String::from_utf8(said)
            .unwrap()
            .contains("no device holds the packs")
    );
    scene.device("sr0", &iso);
    scene.succeed("", &["load", "alpha"]);
    let text = String::from_utf8(scene.pack("", &["list"]).stdout).unwrap();
    assert!(text.contains("1 s  part  alpha and beta\n"), "{text}");
    assert!(text.lines().all(|line| line.len() < 80), "{text}");
    let text = String::from_utf8(scene.pack("", &["list", "tools"]).stdout).unwrap();
    assert!(
        text.contains("-       -  yes\n") && text.contains("1 s  no\n"),
        "{text}"
    );
    let json = String::from_utf8(scene.pack("", &["list", "--json"]).stdout).unwrap();
    let beta = scene.packed(&[2]);
    assert!(
        json.contains(&format!("{{\"name\":\"beta\",\"bytes_to_load\":{beta},")),
        "{json}"
    );
    assert!(
        json.contains("\"name\":\"alpha\",\"bytes_to_load\":0,"),
        "{json}"
    );
}
