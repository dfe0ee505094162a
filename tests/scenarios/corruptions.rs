//! Damage by chance all over what sshd is made of: each is found by the package database; and how much of it is found with no database, by
//! what must hold in every ELF file, is counted for each part.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kedge_elf::{Finding, Part, check, parts};
use kedge_tests::child::output;
use kedge_tests::{Chance, Folder, ImageTool, Tree, Victim, scenario};
use serde_json::Value;

const SSHD: &str = "/usr/sbin/sshd";

/// How many corruptions the tool is asked about.
const CORRUPTIONS: usize = 200;

/// Of so many, one is of whole blocks and the others are of one bit.
const BLOCKS: usize = 4;

/// How much is done of each kind that can be proven.
const PROVEN: u64 = 30;

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
                exchange(&mut bytes, range(one), range(other));
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

/// Puts two blocks of one length into each other's place.
fn exchange(bytes: &mut [u8], one: Range<usize>, other: Range<usize>) {
    let kept = bytes[one.clone()].to_vec();
    bytes.copy_within(other.clone(), one.start);
    bytes[other].copy_from_slice(&kept);
}

/// A copy with one bit flipped.
fn flipped(chance: &mut Chance, bytes: &[u8], within: &Range<u64>) -> Vec<u8> {
    let at = within.start + chance.below(within.end - within.start);
    let mut bytes = bytes.to_vec();
    bytes[at as usize] ^= 1 << chance.below(8);
    bytes
}

/// Asks `doctor` about sshd: what is wrong.
fn troubles(kedge: &ImageTool, tree: &Tree) -> Result<Vec<Value>> {
    let said = kedge.run(&["doctor", "--json", tree.text()?, SSHD], PATIENCE)?;
    let status = said.status;
    let mut answer: Value = serde_json::from_slice(&said.stdout)
        .with_context(|| format!("doctor ended with {status:?}: {}", said.stderr))?;
    let Value::Array(troubles) = answer["troubles"].take() else {
        bail!("no troubles in {answer}");
    };
    ensure!(
        status == Some(i32::from(!troubles.is_empty())),
        "it ended with {status:?}: {troubles:?}"
    );
    Ok(troubles)
}

/// The paths of what is not as the database says.
fn doctor(kedge: &ImageTool, tree: &Tree) -> Result<Vec<String>> {
    let troubles = troubles(kedge, tree)?;
    let by_database = troubles.iter().filter(|trouble| {
        let differences = trouble["differences"].as_array();
        differences.is_some_and(|list| !list.is_empty())
    });
    let names = by_database
        .filter_map(|trouble| Some(trouble["path"].as_str()?.strip_prefix('/')?.to_owned()))
        .collect();
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

/// What was done is told with its place, proven by the checksum.
#[test]
fn what_was_done_is_told_where_it_can_be_proven() {
    scenario(|folder: &Folder| {
        let kedge = ImageTool::extract(folder.path())?;
        let tree = Victim::server()?.tree(&folder.path().join("tree"))?;
        let objects = closure(&tree)?;
        let mut chance = Chance::told(2);
        // Whether it says so, and nothing else that is as sure.
        let told = |object: &Object, bytes: &[u8], words: &[String]| -> Result<bool> {
            tree.write(&object.name, bytes)?;
            let said = troubles(&kedge, &tree)?;
            tree.write(&object.name, &object.bytes)?;
            let facts = said
                .iter()
                .filter_map(|trouble| trouble["facts"].as_array());
            let texts = facts.flatten().filter_map(|fact| fact["text"].as_str());
            let mut proofs = texts.filter(|text| text.contains("undone, the content is what"));
            let proven = proofs.next();
            let right = proven.is_none_or(|text| words.iter().all(|word| text.contains(word)));
            ensure!(right, "{words:?} of {}: {said:?}", object.name);
            Ok(proven.is_some())
        };
        let mut shares = Vec::new();
        let (mut flips, mut proven) = (0, None);
        for _ in 0..PROVEN {
            let object = chance.one(&objects);
            let relocations = object.parts.iter();
            let relocations: Vec<_> = relocations
                .filter(|(part, _)| *part == Part::Relocations)
                .collect();
            let (_, range) = chance.one(&relocations);
            let bytes = flipped(&mut chance, &object.bytes, range);
            let at = bytes.iter().zip(&object.bytes).position(|(a, b)| a != b);
            let at = format!("{:#x} was flipped", at.context("nothing was flipped")?);
            if told(object, &bytes, &[at])? {
                flips += 1;
                proven = Some((object, bytes));
            }
        }
        shares.push(("flipped bits of relocations", flips, 80));
        for (size, share) in [(4096, 60), (512, 20)] {
            let mut exchanges = 0;
            for _ in 0..PROVEN {
                let object = chance.one(&objects);
                let count = (object.bytes.len() / size) as u64;
                let (bytes, places) = loop {
                    let mut block = || chance.below(count) as usize * size;
                    let (one, other) = (block(), block());
                    let mut bytes = object.bytes.clone();
                    exchange(&mut bytes, one..one + size, other..other + size);
                    if bytes != object.bytes {
                        break (bytes, [one, other]);
                    }
                };
                let words = places.map(|at| format!("at {at:#x}"));
                exchanges += u64::from(told(object, &bytes, &words)?);
            }
            shares.push(("exchanged blocks", exchanges, share));
        }
        // And then neither a package nor a network is needed.
        let (object, bytes) = proven.context("nothing was proven")?;
        tree.write(&object.name, &bytes)?;
        let path = format!("/{}", object.name);
        let repair = ["repair", tree.text()?, &path, "--from", "itself"];
        let repaired = kedge.run(&repair, PATIENCE)?.success()?.text();
        ensure!(
            repaired.contains("nothing is wrong with it now"),
            "{repaired}"
        );
        ensure!(tree.read(&object.name)? == object.bytes, "{repaired}");
        println!("of {PROVEN} each: {shares:?} (told, asked for in per cent)");
        let enough = |&(_, told, share): &(&str, u64, u64)| told * 100 >= PROVEN * share;
        ensure!(shares.iter().all(enough), "{shares:?}");
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
