//! What we say that the dynamic linker would say is what it does say: a library that `ls` needs is damaged, and `ls` run
//! with it.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use kedge_elf::{Part, Severity, check, parts};

/// In Debian `ls` needs it, and it has everything: versions needed and provided, lazy and eager relocations.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libselinux.so.1";

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn part(bytes: &[u8], wanted: Part, index: usize) -> usize {
    let all = parts(bytes);
    let ranges: Vec<_> = all.iter().filter(|(part, _)| *part == wanted).collect();
    ranges[index].1.start as usize
}

/// The value of an entry of the dynamic section.
fn dynamic(bytes: &[u8], tag: u64) -> usize {
    let start = part(bytes, Part::Dynamic, 0);
    (start..)
        .step_by(16)
        .find(|at| u64_at(bytes, *at) == tag)
        .unwrap()
        + 8
}

/// The first program header of a type.
fn program(bytes: &[u8], kind: u32) -> usize {
    (64..)
        .step_by(56)
        .find(|at| bytes[*at..*at + 4] == kind.to_le_bytes())
        .unwrap()
}

/// A line without the line number, which is another in every build, and where sources lie.
fn comparable(text: &str) -> String {
    let words = text.split(' ').filter(|word| {
        word.strip_suffix(':')
            .is_none_or(|w| w.parse::<u32>().is_err())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A library of another class or machine is passed over, and the host's own is found. To hear of it, it is asked for by
/// its path.
fn says(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libselinux.so.1");
    std::fs::write(&library, bytes).unwrap();
    let mut command = Command::new("/bin/ls");
    command
        .arg("/dev/null")
        .env_clear()
        .env("LC_ALL", "C")
        .env("LD_LIBRARY_PATH", folder.path());
    let mut output = command.output().unwrap();
    if output.status.success() {
        output = command
            .env_remove("LD_LIBRARY_PATH")
            .env("LD_PRELOAD", library)
            .output()
            .unwrap();
    }
    String::from_utf8_lossy(&output.stderr).into_owned() + &format!("({})", output.status)
}

type Damage = fn(&mut [u8]);

const DAMAGES: [(&str, Damage); 23] = [
    ("magic", |b| b[1] ^= 1),
    ("class", |b| b[4] = 1),
    ("no class", |b| b[4] = 6),
    ("data", |b| b[5] = 5),
    ("version of the header", |b| b[6] ^= 2),
    ("ABI", |b| b[7] ^= 0x10),
    ("version of the ABI", |b| b[8] ^= 1),
    ("padding", |b| b[12] ^= 1),
    ("type", |b| b[16] = 1),
    ("machine", |b| b[18] ^= 1),
    ("version", |b| b[20] ^= 4),
    ("size of program headers", |b| b[54] ^= 1),
    ("no program headers", |b| b[56] = 0),
    ("no dynamic section", |b| {
        let at = program(b, 2);
        b[at] = 0;
    }),
    ("address of a segment", |b| {
        let at = program(b, 1);
        b[at + 16] ^= 8;
    }),
    ("first relocation", |b| {
        let at = part(b, Part::Relocations, 0);
        b[at + 8] ^= 1;
    }),
    ("last relocation", |b| {
        let at = parts(b)
            .iter()
            .rfind(|(part, _)| *part == Part::Relocations)
            .unwrap()
            .1
            .end as usize;
        b[at - 16] ^= 0x40;
    }),
    ("size of a relocation", |b| {
        let at = dynamic(b, 9);
        b[at] ^= 1;
    }),
    ("kind of the functions' relocations", |b| {
        let at = dynamic(b, 20);
        b[at] ^= 1;
    }),
    ("library needed", |b| {
        let at = dynamic(b, 1);
        b[at] ^= 1;
    }),
    ("version of needed versions", |b| {
        let at = dynamic(b, 0x6fff_fffe);
        let at = u64_at(b, at) as usize;
        b[at] ^= 2;
    }),
    ("library of needed versions", |b| {
        let at = dynamic(b, 0x6fff_fffe);
        let at = u64_at(b, at) as usize;
        b[at + 4] ^= 1;
    }),
    ("filter of hashes", |b| {
        let at = dynamic(b, 0x6fff_fef5);
        let at = u64_at(b, at) as usize;
        b[at + 8] = 3;
    }),
];

#[test]
fn the_dynamic_linker_says_what_we_say_that_it_says() {
    if !Path::new(LIBRARY).exists() {
        eprintln!("skipped: {LIBRARY} is not there");
        return;
    }
    let whole = std::fs::read(LIBRARY).unwrap();
    assert_eq!(check(&whole), []);
    let mut wrong = Vec::new();
    for (name, damage) in DAMAGES {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        let truth = says(&bytes);
        let findings = check(&bytes);
        let ours: Vec<&str> = findings
            .iter()
            .filter(|f| f.severity == Severity::Fatal)
            .filter_map(|f| f.linker_says.as_deref())
            .collect();
        println!("{name}:\n  ld.so: {truth}\n  we:    {ours:?}");
        if !ours
            .iter()
            .any(|ours| comparable(&truth).contains(&comparable(ours)))
        {
            wrong.push(name);
        }
    }
    assert_eq!(wrong, Vec::<&str>::new());
}
