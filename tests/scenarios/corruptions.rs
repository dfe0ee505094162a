//! Damage by chance all over what sshd is made of: each is found by the package database; and how much of it is found with no database, by
//! what must hold in every ELF file, is counted for each part.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_elf::{Finding, Part, check, parts};
use kedge_tests::child::output;
use kedge_tests::{Chance, Folder, ImageTool, Tree, Victim, scenario};
use serde_json::Value;

const SSHD: &str = "/usr/sbin/sshd";

/// How many corruptions the tool is asked about.
const CORRUPTIONS: usize = 200;

/// Of so many, one is of whole blocks and the others are of one bit.
const BLOCKS: usize = 4;

/// How many bits are flipped in each part for the count.
const SAMPLES: u64 = 400;

/// Of these parts so many per cent at least are found without a database.
const FOUND: u64 = 95;
const JUDGED: [Part; 4] = [
    Part::Header,
    Part::ProgramHeaders,
    Part::Dynamic,
    Part::Relocations,
];

const PATIENCE: Duration = Duration::from_secs(60);

/// A file of the closure, as it must be.
struct Object {
    /// Its place in the tree.
    name: String,
    bytes: Vec<u8>,
    /// What is said of it as it must be.
    said: Vec<Finding>,
    parts: Vec<(Part, Range<u64>)>,
}

/// What the victim's own dynamic linker loads for sshd, and sshd.
fn closure(tree: &Tree) -> Result<Vec<Object>> {
    let mut list = Command::new("chroot");
    list.arg(tree.path())
        .args(["/lib64/ld-linux-x86-64.so.2", "--list", SSHD]);
    let said = String::from_utf8(output(&mut list, None)?)?;
    let words = said.split_whitespace().filter(|word| word.starts_with('/'));
    let mut places: Vec<PathBuf> = [SSHD]
        .into_iter()
        .chain(words)
        .map(|name| tree.place(name))
        .collect::<Result<_>>()?;
    places.sort();
    places.dedup();
    let object = |place: PathBuf| {
        let name = place.to_str().context("a name is no text")?.to_owned();
        let bytes = tree.read(&name)?;
        let (said, parts) = (check(&bytes), parts(&bytes));
        Ok(Object {
            name,
            bytes,
            said,
            parts,
        })
    };
    places.into_iter().map(object).collect()
}

/// What was done to a file, in words, and what it is then.
fn corrupt(chance: &mut Chance, object: &Object, blocks: bool) -> (String, Vec<u8>) {
    let mut bytes = object.bytes.clone();
    if !blocks {
        let (part, range) = chance.one(&object.parts);
        return (format!("{part:?}"), flipped(chance, &object.bytes, range));
    }
    loop {
        let size = *chance.one(&[512, 4096]);
        let count = bytes.len() as u64 / size;
        let (size, one, other) = (
            size as usize,
            chance.below(count) as usize,
            chance.below(count) as usize,
        );
        let range = |n: usize| n * size..(n + 1) * size;
        let what = match chance.below(3) {
            0 => {
                bytes[range(one)].fill(0);
                "zeroed"
            }
            1 => {
                let kept = bytes[range(one)].to_vec();
                bytes.copy_within(range(other), one * size);
                bytes[range(other)].copy_from_slice(&kept);
                "swapped"
            }
            _ => {
                for byte in &mut bytes[range(one)] {
                    *byte = chance.below(256) as u8;
                }
                "noise"
            }
        };
        // Zeros in place of zeros are no damage.
        if bytes != object.bytes {
            return (format!("{size} bytes {what}"), bytes);
        }
    }
}

/// A copy with one bit flipped.
fn flipped(chance: &mut Chance, bytes: &[u8], within: &Range<u64>) -> Vec<u8> {
    let at = within.start + chance.below(within.end - within.start);
    let mut bytes = bytes.to_vec();
    bytes[at as usize] ^= 1 << chance.below(8);
    bytes
}

/// Asks `doctor` about sshd: the paths of what is not as the database says.
fn doctor(kedge: &ImageTool, tree: &Tree) -> Result<Vec<String>> {
    let said = kedge.run(&["doctor", "--json", tree.text()?, SSHD], PATIENCE)?;
    let status = said.status;
    let answer: Value = serde_json::from_slice(&said.stdout)
        .with_context(|| format!("doctor ended with {status:?}: {}", said.stderr))?;
    let troubles = answer["troubles"].as_array().context("no troubles")?;
    let by_database = troubles.iter().filter(|trouble| {
        let differences = trouble["differences"].as_array();
        differences.is_some_and(|list| !list.is_empty())
    });
    let names = by_database
        .filter_map(|trouble| Some(trouble["path"].as_str()?.strip_prefix('/')?.to_owned()))
        .collect();
    ensure!(
        status == Some(i32::from(!troubles.is_empty())),
        "it ended with {status:?}: {answer}"
    );
    Ok(names)
}

#[test]
fn each_of_200_is_found_by_the_database() {
    scenario(|folder: &Folder| {
        let kedge = ImageTool::extract(folder.path())?;
        let tree = Victim::server()?.tree(&folder.path().join("tree"))?;
        let objects = closure(&tree)?;
        let whole = doctor(&kedge, &tree)?;
        ensure!(whole.is_empty(), "found in a whole system: {whole:?}");
        let mut chance = Chance::told(1);
        let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
        for n in 0..CORRUPTIONS {
            let object = chance.one(&objects);
            let (what, bytes) = corrupt(&mut chance, object, n % BLOCKS == 0);
            tree.write(&object.name, &bytes)?;
            let found = doctor(&kedge, &tree)?;
            tree.write(&object.name, &object.bytes)?;
            // Only this one, however broken it is.
            ensure!(
                found == [object.name.as_str()],
                "{what} in {}: found is {found:?}",
                object.name
            );
            *kinds.entry(what).or_default() += 1;
        }
        println!("{CORRUPTIONS} in {} files: {kinds:?}", objects.len());
        fs::remove_dir_all(tree.path())?;
        Ok(())
    });
}

#[test]
fn most_is_found_without_a_database_where_ld_so_looks() {
    scenario(|_| {
        let objects = closure(&Tree::at(&Victim::server()?.pristine())?)?;
        let mut chance = Chance::told(1);
        let mut samples: Vec<(Part, &Object, &Range<u64>)> = Vec::new();
        for object in &objects {
            let ranges = object.parts.iter();
            samples.extend(ranges.map(|(part, range)| (*part, object, range)));
        }
        let of = |wanted: Part| -> Vec<_> {
            let of = samples.iter().filter(|(part, _, _)| *part == wanted);
            of.copied().collect()
        };
        let length = |(_, _, range): &(Part, &Object, &Range<u64>)| range.end - range.start;
        let mut all: Vec<Part> = samples.iter().map(|(part, _, _)| *part).collect();
        all.sort_by_key(|part| *part as u8);
        all.dedup();
        let mut poor = Vec::new();
        println!("found without a database, of {SAMPLES} flipped bits in each part:");
        for part in all {
            let of = of(part);
            let all: u64 = of.iter().map(length).sum();
            let mut found = 0;
            for _ in 0..SAMPLES {
                // Every byte of all files is as likely as any other: so is damage.
                let mut at = chance.below(all);
                let (_, object, range) = of
                    .iter()
                    .find(|one| {
                        let here = at < length(one);
                        at = if here { at } else { at - length(one) };
                        here
                    })
                    .context("it is in one of them")?;
                let bytes = flipped(&mut chance, &object.bytes, range);
                found += u64::from(differ(&object.said, &check(&bytes)));
            }
            let percent = 100 * found / SAMPLES;
            println!("  {part:<16?} {percent:3} %");
            if JUDGED.contains(&part) && percent < FOUND {
                poor.push(format!("{part:?}: {percent} %"));
            }
        }
        ensure!(poor.is_empty(), "less than {FOUND} %: {poor:?}");
        Ok(())
    });
}

/// Whether there is a finding now that was not there before.
fn differ(before: &[Finding], now: &[Finding]) -> bool {
    now.iter().any(|finding| !before.contains(finding))
}
