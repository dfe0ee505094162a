//! The kept corpus through every target, on stable: what the fuzzer once found stays found, and a target that was broken by a
//! change is seen without it.

// A test that panics says why.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use kedge_fuzz::TARGETS;

/// All of the corpus together.
const MOST: u64 = 1 << 20;

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn files(name: &str) -> Vec<PathBuf> {
    let folder = here("corpus").join(name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Each as it is, cut at some places, and with flipped bits: every time the same.
#[test]
fn every_target_takes_its_corpus() {
    for (name, target) in TARGETS {
        let files = files(name);
        assert!(!files.is_empty(), "{name}");
        for file in files {
            let data = std::fs::read(&file).unwrap();
            eprintln!("{}", file.display());
            target(&data);
            let step = data.len().div_ceil(40).max(1);
            for at in (0..data.len()).step_by(step) {
                target(&data[..at]);
                let mut bad = data.clone();
                bad[at] ^= 1 << (at % 8);
                target(&bad);
            }
        }
    }
}

#[test]
fn the_corpus_is_small_and_nothing_in_it_is_nobodys() {
    let mut sum = 0;
    for entry in std::fs::read_dir(here("corpus")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name}");
        sum += files(&name)
            .iter()
            .map(|f| f.metadata().unwrap().len())
            .sum::<u64>();
    }
    assert!(sum < MOST, "{sum}");
}

/// cargo-fuzz has a program for each.
#[test]
fn each_target_is_a_program_of_cargo_fuzz() {
    let manifest = std::fs::read_to_string(here("cargo-fuzz/Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let program = format!("[[bin]]\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n");
        assert!(manifest.contains(&program), "{program}");
        let source = here("cargo-fuzz/fuzz_targets")
            .join(name)
            .with_extension("rs");
        let text = std::fs::read_to_string(source).unwrap();
        assert!(
            text.contains(&format!("kedge_fuzz::{name}(data)")),
            "{name}"
        );
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
