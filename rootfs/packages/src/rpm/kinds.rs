//! The other kinds of rpm database, out of the SQLite one that rpm made. Berkeley DB's, which rpm cannot write any more but
//! still reads, is made of the same headers by Berkeley DB's own loader (`db5.3-util`). Debian's rpm is built without ndb: that
//! one is written here, as `lib/backend/ndb/rpmpkg.c` of rpm 4.18 does it.
//!
//! Only std is used: the scenarios include this file as well.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Numbers and headers (in hexadecimal digits) of the packages, by sqlite3 itself, out of the SQLite database in `folder`,
/// which is taken away.
fn take_headers(folder: &Path) -> Vec<(u32, String)> {
    let mut sqlite = Command::new("sqlite3");
    sqlite.arg(folder.join("rpmdb.sqlite"));
    sqlite.arg("select hnum, hex(blob) from Packages");
    let output = sqlite.output().expect("sqlite3 (apt-get install sqlite3)");
    assert!(output.status.success(), "{sqlite:?}");
    for entry in std::fs::read_dir(folder).expect("the folder of the database") {
        std::fs::remove_file(entry.expect("a file in it").path()).expect("removing it");
    }
    let text = String::from_utf8(output.stdout).expect("sqlite3 writes ASCII");
    let rows = text.lines().filter_map(|row| row.split_once('|'));
    rows.filter_map(|(number, header)| Some((number.parse().ok()?, header.to_lowercase())))
        .collect()
}

/// `Packages`: a hash in the byte order `order` (4321: big-endian; 0: this machine's) with pages of that size.
pub(super) fn make_berkeley(folder: &Path, order: u32, page_size: u32) {
    let hex = |number: u32| {
        let bytes = match order {
            4321 => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        };
        bytes.map(|byte| format!("{byte:02x}")).concat()
    };
    let mut dump = String::from("VERSION=3\nformat=bytevalue\ntype=hash\n");
    dump += &format!("db_pagesize={page_size}\n");
    if order != 0 {
        dump += &format!("db_lorder={order}\n");
    }
    let headers = take_headers(folder);
    // Number 0 has the highest number.
    dump += &format!("HEADER=END\n {}\n {}\n", hex(0), hex(headers.len() as u32));
    for (number, header) in headers {
        dump += &format!(" {}\n {header}\n", hex(number));
    }
    dump += "DATA=END\n";
    let mut loader = Command::new("db5.3_load")
        .arg(folder.join("Packages"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("db5.3_load (apt-get install db5.3-util)");
    let mut stdin = loader.stdin.take().expect("a pipe was asked for");
    stdin.write_all(dump.as_bytes()).expect("db5.3_load reads");
    drop(stdin);
    assert!(loader.wait().expect("db5.3_load ends").success());
}

/// `Packages.db`.
pub(super) fn make_ndb(folder: &Path) {
    const SLOTS: usize = 4096;
    let mut file: Vec<u8> = [b"RpmP".as_slice(), &[0; 4]].concat();
    // Generation, pages of slots, the next number.
    for number in [3u32, 1, 3] {
        file.extend(number.to_le_bytes());
    }
    file.resize(SLOTS, 0);
    for slot in file[32..].chunks_exact_mut(16) {
        slot[..4].copy_from_slice(b"Slot");
    }
    for (index, (number, header)) in take_headers(folder).into_iter().enumerate() {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or_default() as u8;
        let header: Vec<u8> = header
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect();
        let from = file.len();
        file.extend(b"BlbS");
        for number in [number, 3, header.len() as u32] {
            file.extend(number.to_le_bytes());
        }
        file.extend(&header);
        let end = (file.len() + 12).next_multiple_of(16);
        file.resize(end - 12, 0);
        let sum = adler32(&file[from..]);
        for number in [sum, header.len() as u32] {
            file.extend(number.to_le_bytes());
        }
        file.extend(b"BlbE");
        // The first slots that are used are not the first of all: one was freed.
        let slot = 32 + 16 * (index + 1);
        let numbers = [number, (from / 16) as u32, ((end - from) / 16) as u32];
        for (place, number) in numbers.into_iter().enumerate() {
            let at = slot + 4 + 4 * place;
            file[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
    }
    std::fs::write(folder.join("Packages.db"), file).expect("writing Packages.db");
}

/// As RFC 1950 defines it, without a thought for speed.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u64, 0u64);
    for &byte in bytes {
        a = (a + u64::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    (b << 16 | a) as u32
}
