//! A web server for a mirror's files that sends some of them as no server should.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use kedge_tests::Network;
use kedge_tests::sockets::listen_tcp;

/// What is not the file is this, with status 200.
const PAGE: &str = "<!DOCTYPE html><html><title>Log in</title><p>Please log in.</html>\n";

/// Where that page is.
const LOGIN: &str = "/login.html";

/// What is wrong with a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Who asks for it is led to a page that has nothing to do with it.
    Redirected,
    /// No connection gives more than the first so many bytes.
    EndsAt(u64),
    /// Each connection gives so many bytes more.
    Pieces(u64),
}

/// The end of a file's name, and what is wrong with it.
type Faults = Arc<Mutex<BTreeMap<String, Fault>>>;

/// The server, until it is dropped.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub(crate) struct Server {
    faults: Faults,
    asked: Arc<Mutex<Vec<String>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `folder` at 192.0.2.1:80 of the network.
    pub(crate) fn start(network: &Network, folder: &Path) -> Result<Self> {
        let listener = listen_tcp(network.namespace(), "192.0.2.1:80".parse()?)?;
        listener.set_nonblocking(true)?;
        let mut server = Self {
            faults: Faults::default(),
            asked: Arc::default(),
            ends: Arc::default(),
            thread: None,
        };
        let (faults, asked) = (Arc::clone(&server.faults), Arc::clone(&server.asked));
        let ends = Arc::clone(&server.ends);
        let folder = folder.to_owned();
        let serve = move || {
            while !ends.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        // A client that hangs up, and it does that often here, is none of the server's troubles.
                        let _ = answer(&stream, &folder, &faults, &asked);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        };
        server.thread = Some(std::thread::spawn(serve));
        Ok(server)
    }

    /// From now on, and nothing else, this is wrong with files whose names end so.
    pub(crate) fn breaks(&self, ending: &str, fault: Fault) {
        let mut faults = lock(&self.faults);
        faults.clear();
        faults.insert(ending.to_owned(), fault);
    }

    /// From now on nothing is wrong.
    pub(crate) fn is_whole(&self) {
        lock(&self.faults).clear();
    }

    /// How many requests there were for files whose names end so.
    pub(crate) fn asked_for(&self, ending: &str) -> usize {
        let asked = lock(&self.asked);
        asked.iter().filter(|path| path.ends_with(ending)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(
    mut stream: &TcpStream,
    folder: &Path,
    faults: &Mutex<BTreeMap<String, Fault>>,
    asked: &Mutex<Vec<String>>,
) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = BufReader::new(stream.take(16 << 10)).lines();
    let first = head.next().context("no request")??;
    let path = first
        .split(' ')
        .nth(1)
        .context("no path")?
        .replace("%3a", ":");
    let mut start = 0;
    for line in head {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            start = range.trim_end_matches('-').parse()?;
        }
    }
    lock(asked).push(path.clone());
    let fault = lock(faults)
        .iter()
        .find(|(ending, _)| path.ends_with(ending.as_str()))
        .map(|(_, fault)| *fault);
    if path == LOGIN {
        return Ok(write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
            PAGE.len()
        )?);
    }
    if let Some(Fault::Redirected) = fault {
        return Ok(write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1{LOGIN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?);
    }
    let file: PathBuf = folder.join(path.trim_start_matches('/'));
    let Ok(content) = fs::read(&file) else {
        return Ok(write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )?);
    };
    let length = content.len() as u64;
    let start = start.min(length);
    let end = match fault {
        Some(Fault::EndsAt(end)) => end.clamp(start, length),
        Some(Fault::Pieces(size)) => start.saturating_add(size).min(length),
        _ => length,
    };
    let status = if start > 0 {
        format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{length}",
            length - 1
        )
    } else {
        "200 OK".to_owned()
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nETag: \"{length}\"\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        length - start
    )?;
    stream.write_all(&content[start as usize..end as usize])?;
    Ok(())
}
