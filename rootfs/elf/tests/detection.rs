//! How much damage is found without any database: single bits of what sshd needs to start are flipped, and each file is
//! looked over.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use goblin::elf::Elf;
use goblin::elf::program_header::PT_LOAD;
use kedge_elf::{Object, Part, Severity, check, misplaced, parts};

const FOLDERS: [&str; 2] = ["/usr/lib/x86_64-linux-gnu", "/lib64"];

/// So many flips of each part of each file.
const FLIPS: u64 = 60;

/// At least so many of a hundred must be found.
const SHARE: u64 = 95;

/// What the story is about, or else anything.
fn program() -> &'static str {
    ["/usr/sbin/sshd", "/usr/bin/ssh", "/bin/ls"]
        .into_iter()
        .find(|p| fs::exists(p).unwrap_or(false))
        .unwrap()
}

/// The program and every library that it and they need.
fn closure(program: &str) -> Vec<PathBuf> {
    let mut all = vec![PathBuf::from(program)];
    let mut next = 0;
    while let Some(path) = all.get(next).cloned() {
        next += 1;
        let Some(object) = fs::read(&path).ok().and_then(|bytes| Object::read(&bytes)) else {
            continue;
        };
        for name in object.needed {
            let found = FOLDERS
                .iter()
                .map(|f| PathBuf::from(f).join(&name))
                .find(|p| p.exists());
            if let Some(found) = found.filter(|found| !all.contains(found)) {
                all.push(found);
            }
        }
    }
    all
}

/// xorshift64: the same flips in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn is_found(bytes: &[u8]) -> bool {
    check(bytes).iter().any(|f| f.severity > Severity::Odd)
}

#[test]
fn nearly_every_flipped_bit_of_headers_and_relocations_is_found() {
    let program = program();
    let files = closure(program);
    assert!(files.len() > 2, "{program} needs nothing?");
    let mut state = 0x6b65_6467_6500_0001;
    let mut shares: HashMap<Part, (u64, u64)> = HashMap::new();
    for file in &files {
        let mut bytes = fs::read(file).unwrap();
        assert!(
            !is_found(&bytes),
            "{} is whole, and something is said of it",
            file.display()
        );
        let all = parts(&bytes);
        for part in [
            Part::Header,
            Part::ProgramHeaders,
            Part::Dynamic,
            Part::Relocations,
        ] {
            let places: Vec<u64> = all
                .iter()
                .filter(|(p, _)| *p == part)
                .flat_map(|(_, range)| range.clone())
                .collect();
            if places.is_empty() {
                continue;
            }
            for _ in 0..FLIPS {
                let at = places[(random(&mut state) % places.len() as u64) as usize] as usize;
                let bit = 1 << (random(&mut state) % 8);
                bytes[at] ^= bit;
                let found = is_found(&bytes);
                bytes[at] ^= bit;
                let share = shares.entry(part).or_default();
                *share = (share.0 + u64::from(found), share.1 + 1);
            }
        }
    }
    let share = |parts: &[Part]| {
        let sum = parts
            .iter()
            .filter_map(|p| shares.get(p))
            .fold((0, 0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
        println!(
            "{parts:?}: {} of {} flipped bits are found, {:.1} %",
            sum.0,
            sum.1,
            sum.0 as f64 * 100.0 / sum.1 as f64
        );
        sum.0 * 100 >= sum.1 * SHARE
    };
    println!("{} files under {program}", files.len());
    let header = share(&[Part::Header, Part::ProgramHeaders]);
    let dynamic = share(&[Part::Dynamic]);
    let relocations = share(&[Part::Relocations]);
    assert!(header && dynamic && relocations);
}

/// Packed relocations (`DT_RELR`) say of each word by one bit whether it is one: what is there must be an address, or must not.
#[test]
fn most_flipped_bits_of_packed_relocations_are_found() {
    const SHARE: usize = 70;
    let mut bytes = fs::read("/usr/lib/x86_64-linux-gnu/libc.so.6").unwrap();
    // The only table of it whose entries do not have 24 bytes.
    let all = parts(&bytes);
    let (_, table) = all
        .iter()
        .find(|(part, range)| *part == Part::Relocations && (range.end - range.start) % 24 != 0)
        .unwrap();
    let (mut found, mut flipped) = (0, 0);
    for bit in (table.start * 8..table.end * 8).step_by(5) {
        let (at, bit) = ((bit / 8) as usize, 1 << (bit % 8));
        bytes[at] ^= bit;
        found += usize::from(is_found(&bytes));
        flipped += 1;
        bytes[at] ^= bit;
    }
    println!("{found} of {flipped} flipped bits are found");
    assert!(found * 100 >= flipped * SHARE, "{found} of {flipped}");
}

/// Where the code is, in bytes of the file.
fn code(bytes: &[u8]) -> std::ops::Range<usize> {
    let elf = Elf::parse(bytes).unwrap();
    let mut programs = elf.program_headers.iter();
    let executed = programs.find(|p| p.p_type == PT_LOAD && p.is_executable());
    executed.unwrap().file_range()
}

/// Two blocks of code in each other's place, and longer pieces, as a RAID has them: what is told is right, and most is told. Code
/// that calls nobody, as that of ciphers, is not told.
#[test]
fn most_code_in_each_others_place_is_told_and_nothing_wrong_is() {
    const EXCHANGES: u64 = 12;
    let files = closure(program());
    let mut state = 0x6b65_6467_6500_0002;
    for (length, share) in [(4096, 50), (65_536, 50), (512, 5)] {
        let (mut told, mut all) = (0, 0);
        for file in &files {
            let whole = fs::read(file).unwrap();
            let code = code(&whole);
            let (first, count) = (code.start.div_ceil(length), code.len() / length);
            if count < 16 {
                continue;
            }
            for _ in 0..EXCHANGES {
                let mut block = || first + random(&mut state) as usize % (count - 1);
                let (one, other) = (block() * length, block() * length);
                let (one, other) = (one.min(other), one.max(other));
                if whole[one..][..length] == whole[other..][..length] {
                    continue;
                }
                let mut bytes = whole.clone();
                let (front, back) = bytes.split_at_mut(other);
                front[one..][..length].swap_with_slice(&mut back[..length]);
                all += 1;
                let sure: Vec<_> = misplaced(&bytes).into_iter().filter(|m| m.sure).collect();
                told += usize::from(!sure.is_empty());
                for part in &sure {
                    let (at, belongs) = (part.bytes.start as usize, part.belongs as usize);
                    let (from, to) = if at < other {
                        (one, other)
                    } else {
                        (other, one)
                    };
                    let right = (from..from + length).contains(&at) && belongs - to == at - from;
                    assert!(
                        right,
                        "{one:#x} and {other:#x} of {}: {part}",
                        file.display()
                    );
                }
                if !sure.is_empty() {
                    assert!(is_found(&bytes), "{}: check says nothing", file.display());
                }
            }
        }
        println!("{told} of {all} exchanges of {length} bytes are told");
        assert!(all > 15 && told * 100 >= all * share, "{told} of {all}");
    }
}
