//! What the tests of every package manager share: folders, and a web server with faults.

// Not every test that has this uses all of it; a test that panics says why.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

pub mod gpg;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use kedge_packages::{Family, Package};
use kedge_progress::Progress;
use kedge_sources::{Candidate, Error, Found, From, Options};
use kedge_sysroot::Sysroot;
use ring::digest::{SHA256, digest};

/// A folder that goes when this is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("kedge-src-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a server does wrong with a file.
#[derive(Clone)]
pub enum Fault {
    /// A page of HTML, with status 200.
    Html,
    /// Ends the connection each time after so many bytes of the answer.
    CutAfter(usize),
    /// As that, and knows no ranges.
    CutAfterWithoutRanges(usize),
    /// Other bytes.
    Instead(Vec<u8>),
}

/// Serves a folder on 127.0.0.1, until the test's process ends.
pub struct Server {
    pub url: String,
    faults: Arc<Mutex<HashMap<String, Fault>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn of(folder: &Folder) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let faults = Arc::new(Mutex::new(HashMap::new()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let folder = folder.path().to_path_buf();
        let (with, to) = (Arc::clone(&faults), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (folder, with, to) = (folder.clone(), Arc::clone(&with), Arc::clone(&to));
                std::thread::spawn(move || answer(stream.unwrap(), &folder, &with, &to));
            }
        });
        Server { url, faults, asked }
    }

    pub fn fault(&self, path: &str, fault: Fault) {
        self.faults.lock().unwrap().insert(path.into(), fault);
    }

    pub fn no_faults(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// The paths that were asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn answer(
    stream: TcpStream,
    folder: &Path,
    faults: &Mutex<HashMap<String, Fault>>,
    asked: &Mutex<Vec<String>>,
) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap().trim_start_matches('/');
    let mut from = 0;
    for line in lines.take_while(|line| !line.is_empty()) {
        let line = line.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.split('-').next().unwrap().parse().unwrap();
        }
    }
    asked.lock().unwrap().push(path.to_owned());
    let fault = faults.lock().unwrap().get(path).cloned();
    let mut to = &stream;
    let content = match &fault {
        Some(Fault::Html) => Ok(b"<!DOCTYPE html>\n<html>Welcome to our hotel".to_vec()),
        Some(Fault::Instead(bytes)) => Ok(bytes.clone()),
        _ => std::fs::read(folder.join(path)),
    };
    let Ok(content) = content else {
        let _ = to.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let length = content.len();
    let (status, from) = match fault {
        Some(Fault::CutAfterWithoutRanges(_)) => ("200 OK", 0),
        _ if from > 0 => ("206 Partial Content", from),
        _ => ("200 OK", 0),
    };
    let mut head = format!("HTTP/1.1 {status}\r\nETag: \"x\"\r\nConnection: close\r\n");
    if from > 0 {
        head += &format!("Content-Range: bytes {from}-{}/{length}\r\n", length - 1);
    }
    head += &format!("Content-Length: {}\r\n\r\n", length - from);
    let most = match fault {
        Some(Fault::CutAfter(most) | Fault::CutAfterWithoutRanges(most)) => most,
        _ => length,
    };
    let body = &content[from..];
    let _ = to.write_all(head.as_bytes());
    let _ = to.write_all(&body[..body.len().min(most)]);
}

/// Runs a program in a folder.
pub fn run(folder: &Path, program: &[&str]) -> Vec<u8> {
    let output = Command::new(program[0])
        .args(&program[1..])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?}: {said}");
    output.stdout
}

/// 20 kB that cannot be compressed.
pub fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        // xorshift64 (Marsaglia).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..2500).flat_map(|_| next()).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

pub fn package(family: Family, name: &str, version: &str, architecture: &str) -> Package {
    Package {
        family,
        name: name.into(),
        version: version.into(),
        architecture: architecture.into(),
    }
}

pub fn find(root: &Folder, wanted: &Package, from: Option<From>) -> Result<Found, Error> {
    find_with(root, wanted, from, Options::default())
}

pub fn find_with(
    root: &Folder,
    wanted: &Package,
    from: Option<From>,
    options: Options,
) -> Result<Found, Error> {
    let root = Sysroot::open(root.path()).unwrap();
    let mut progress = Progress::new("test");
    let wanted = std::slice::from_ref(wanted);
    let mut found = kedge_sources::find_all(&root, wanted, from.as_ref(), options, &mut progress);
    found.remove(0)
}

/// The candidates of the very same version.
pub fn exact(root: &Folder, wanted: &Package, from: Option<From>) -> Vec<Candidate> {
    match find(root, wanted, from) {
        Ok(Found::Exact(candidates)) => candidates,
        other => panic!("{other:?}"),
    }
}

/// Why nothing was found.
pub fn nowhere(root: &Folder, wanted: &Package, from: Option<From>) -> String {
    match find(root, wanted, from) {
        Err(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// What fetching gives.
pub fn fetch(candidate: &Candidate) -> Result<Vec<u8>, String> {
    fetch_into(candidate, u64::MAX)
}

/// What fetching gives where so many bytes have room.
pub fn fetch_into(candidate: &Candidate, room: u64) -> Result<Vec<u8>, String> {
    fetch_and_learn(&mut candidate.clone(), room)
}

/// The same; what only the whole could tell is in `candidate` then.
pub fn fetch_and_learn(candidate: &mut Candidate, room: u64) -> Result<Vec<u8>, String> {
    let folder = Folder::new("fetch");
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(folder.path().join("file"))
        .unwrap();
    // What was there before is of no matter.
    file.write_all(&vec![7; 1 << 20]).unwrap();
    let mut progress = Progress::new("test");
    kedge_sources::fetch(candidate, &mut file, room, &mut progress).map_err(|e| e.to_string())?;
    assert_eq!(file.stream_position().unwrap(), 0);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}
