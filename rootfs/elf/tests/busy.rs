//! Files that are made to keep us busy: tables that all lead to the same long thing. Each took half a minute and more before there
//! was an end to it, and takes a second or two now, without optimisation.

#![allow(clippy::unwrap_used)]

use std::fs;

use kedge_elf::{Object, blocks, check, misplaced, parts};

/// Seconds of this thread's own on a processor: whoever else is at work here does not count.
const PATIENCE: f64 = 20.0;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;

const DT_NEEDED: u64 = 1;
const DT_PLTRELSZ: u64 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;
const DT_RPATH: u64 = 15;
const DT_PLTREL: u64 = 20;
const DT_JMPREL: u64 = 23;
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_VERNEEDNUM: u64 = 0x6fff_ffff;

/// Where the tables begin: headers and dynamic section are in front.
const TABLES: u64 = 0x2_0000;

/// A library with these tables and this dynamic section; addresses are offsets, and so many segments are all of the file.
fn library(dynamic: &[(u64, u64)], loads: u64, tables: &[u8]) -> Vec<u8> {
    let length = TABLES + tables.len() as u64;
    let at = 64 + 56 * (loads + 2);
    let mut bytes = Vec::new();
    bytes.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for (value, size) in [
        (3, 2),
        (62, 2),
        (1, 4),
        (0, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (loads + 2, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ] {
        bytes.extend(&value.to_le_bytes()[..size]);
    }
    let mut program = |kind: u32, address: u64, offset: u64, size: u64| {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(6u32.to_le_bytes());
        for value in [offset, address, address, size, size, 0x1000] {
            bytes.extend(value.to_le_bytes());
        }
    };
    // The one that is looked for is the last one.
    for number in (0..loads).rev() {
        program(PT_LOAD, number << 32, 0, length);
    }
    program(PT_INTERP, 0, 0, 1);
    program(PT_DYNAMIC, at, at, 16 * (dynamic.len() as u64 + 1));
    for (tag, value) in dynamic.iter().chain(&[(0, 0)]) {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    assert!(bytes.len() as u64 <= TABLES);
    bytes.resize(TABLES as usize, 0);
    bytes.extend(tables);
    bytes
}

/// Everything that takes a file's bytes comes to an end.
fn ends(bytes: &[u8]) {
    let started = seconds();
    let findings = check(bytes);
    assert!(!findings.is_empty(), "nothing is said of it");
    let _ = (Object::read(bytes), parts(bytes), blocks::zeroed(bytes));
    let took = seconds() - started;
    println!("{} bytes took {took} s", bytes.len());
    assert!(took < PATIENCE, "it took {took} s");
}

/// How long this thread was on a processor: the times in user and kernel mode of proc_pid_stat(5), in hundredths.
fn seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let behind_name = stat.rsplit_once(") ").unwrap().1;
    let times = behind_name.split(' ').skip(11).take(2);
    times
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / 100.0
}

/// A symbol whose name is at this place of the strings.
fn symbol(name: u32) -> [u8; 24] {
    let mut symbol = [0; 24];
    symbol[..4].copy_from_slice(&name.to_le_bytes());
    symbol[4] = 0x12;
    symbol[6] = 1;
    symbol
}

#[test]
fn names_without_an_end_are_not_looked_for_again_and_again() {
    let symbols = 300_000;
    let mut tables: Vec<u8> = (0..symbols).flat_map(|_| symbol(1)).collect();
    let strings = tables.len();
    tables.push(0);
    tables.resize(strings + 70_000, b'A');
    let strings = TABLES + strings as u64;
    let dynamic = [
        (DT_SYMTAB, TABLES),
        (DT_STRTAB, strings),
        (DT_STRSZ, 70_000),
    ];
    ends(&library(&dynamic, 1, &tables));
}

#[test]
fn a_long_name_to_which_all_buckets_lead_is_hashed_once() {
    const BUCKETS: u32 = 700_000;
    let mut tables: Vec<u8> = [symbol(0), symbol(1)].concat();
    let strings = tables.len();
    tables.push(0);
    tables.resize(strings + 60_000, b'A');
    tables.push(0);
    let hash = tables.len().next_multiple_of(8);
    tables.resize(hash, 0);
    for value in [BUCKETS, 2].into_iter().chain((0..BUCKETS).map(|_| 1)) {
        tables.extend(value.to_le_bytes());
    }
    tables.extend([0; 8]);
    let dynamic = [
        (DT_SYMTAB, TABLES),
        (DT_STRTAB, TABLES + strings as u64),
        (DT_STRSZ, 60_001),
        (DT_HASH, TABLES + hash as u64),
    ];
    ends(&library(&dynamic, 1, &tables));
}

#[test]
fn packed_relocations_change_no_more_than_there_is() {
    let mut tables: Vec<u8> = TABLES.to_le_bytes().to_vec();
    tables.resize(4 << 20, 0xff);
    let dynamic = [(DT_RELR, TABLES), (DT_RELRSZ, tables.len() as u64)];
    ends(&library(&dynamic, 200, &tables));
}

#[test]
fn the_dynamic_section_is_not_searched_for_each_relocation() {
    let tables = vec![0xff; 32 << 20];
    let mut dynamic = vec![
        (DT_JMPREL, TABLES),
        (DT_PLTRELSZ, tables.len() as u64),
        (DT_PLTREL, 7),
    ];
    dynamic.resize(4000, (DT_NEEDED, 0));
    ends(&library(&dynamic, 1, &tables));
}

#[test]
fn many_records_of_versions_that_share_a_long_name_are_no_burden() {
    const RECORDS: u32 = 30_000;
    const LIBRARIES: usize = 3000;
    let mut tables = Vec::new();
    let text = 60_000;
    for _ in 0..RECORDS {
        // vn_version and vn_cnt, vn_file, vn_aux, vn_next.
        for value in [1u32 | 1 << 16, 1, 16, 16] {
            tables.extend(value.to_le_bytes());
        }
    }
    let strings = tables.len();
    tables.push(0);
    tables.resize(strings + text, b'A');
    tables.extend([0, 0]);
    let mut dynamic = vec![
        (DT_VERNEED, TABLES),
        (DT_VERNEEDNUM, u64::from(RECORDS)),
        (DT_STRTAB, TABLES + strings as u64),
        (DT_STRSZ, text as u64 + 2),
    ];
    // Of one length, and other than the one that is looked for in the last byte alone.
    dynamic.resize(dynamic.len() + LIBRARIES, (DT_NEEDED, 2));
    ends(&library(&dynamic, 1, &tables));
}

#[test]
fn sections_that_are_all_of_the_file_are_searched_once() {
    const SECTIONS: u64 = 60_000;
    let mut bytes = library(&[(DT_NEEDED, 1)], 1, &[]);
    let start = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&start.to_le_bytes());
    bytes[60..62].copy_from_slice(&(SECTIONS as u16).to_le_bytes());
    let length = start + 64 * SECTIONS;
    bytes.extend([0; 64]);
    for _ in 1..SECTIONS {
        // sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size and the rest.
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        for value in [6u64, 0, 0, length, 0, 1, 0] {
            bytes.extend(value.to_le_bytes());
        }
    }
    ends(&bytes);
}

#[test]
fn only_one_of_many_lists_of_folders_is_kept() {
    let mut tables = vec![b':'; 4096];
    tables[0] = 0;
    tables.push(0);
    let mut dynamic = vec![(DT_STRTAB, TABLES), (DT_STRSZ, tables.len() as u64)];
    dynamic.resize(4000, (DT_RPATH, 1));
    let bytes = library(&dynamic, 1, &tables);
    assert_eq!(Object::read(&bytes).unwrap().rpath.len(), 4096);
    ends(&bytes);
}

/// Blocks that call astray, each of which would have to be tried in tens of thousands of places.
#[test]
fn calls_that_lead_astray_are_not_tried_everywhere() {
    let mut bytes = fs::read("/usr/lib/x86_64-linux-gnu/libc.so.6").unwrap();
    let programs = usize::from(u16::from_le_bytes(bytes[56..58].try_into().unwrap()));
    let executed = (0..programs)
        .map(|number| 64 + 56 * number)
        .find(|&at| bytes[at..at + 8] == [1, 0, 0, 0, 5, 0, 0, 0])
        .unwrap();
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    // Few enough for the file to be believed.
    for number in 0..40u32 {
        for call in 0..15u32 {
            bytes.push(0xe8);
            bytes.extend((0x0010_0001 + 4096 * number + 64 * call).to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
    }
    bytes.resize(bytes.len() + (64 << 20), 0);
    let start = u64::from_le_bytes(bytes[executed + 8..executed + 16].try_into().unwrap());
    let length = bytes.len() as u64 - start;
    for field in [32, 40] {
        bytes[executed + field..executed + field + 8].copy_from_slice(&length.to_le_bytes());
    }
    let started = seconds();
    assert_eq!(misplaced(&bytes), []);
    let took = seconds() - started;
    println!("{} bytes took {took} s", bytes.len());
    assert!(took < PATIENCE, "it took {took} s");
}
