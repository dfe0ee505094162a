//! A server that does to each request what a test says, and a fetch beside it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

/// What a server does: the number of the request, from 0 on, its head in small letters, where to answer.
pub(crate) type Answer = dyn Fn(usize, &str, &mut TcpStream) + Send;

/// A server on loopback.
pub(crate) struct Server {
    pub(crate) port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(usize, &str, &mut TcpStream) + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        std::thread::spawn(move || serve(&listener, &kept, &answer));
        Server { port, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The heads of all requests until now.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn serve(listener: &TcpListener, requests: &Mutex<Vec<String>>, answer: &Answer) {
    for (number, stream) in listener.incoming().enumerate() {
        let mut stream = BufReader::new(stream.unwrap());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap_or(0) > 0 {}
        let head = head.to_lowercase();
        requests.lock().unwrap().push(head.clone());
        answer(number, &head, stream.get_mut());
    }
}

/// Writes, to somebody who may have gone.
pub(crate) fn say(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}

/// A value of a head: from behind `name: ` to the end of the line.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = head.split_once(&format!("\r\n{name}: "))?;
    rest.split("\r\n").next()
}

/// A file on a server with ranges and this tag, of which it sends at most `most` bytes a request.
pub(crate) fn send_file(stream: &mut TcpStream, head: &str, body: &[u8], tag: &str, most: usize) {
    let first = value(head, "range")
        .and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    // Without If-Range, whatever is there is given.
    let same = value(head, "if-range").is_none_or(|of| of == tag);
    let (status, first) = match first {
        Some(first) if same => ("206 Partial Content", first),
        _ => ("200 OK", 0),
    };
    let (length, rest) = (body.len(), &body[first..]);
    let range = match first {
        0 => String::new(),
        first => format!("Content-Range: bytes {first}-{}/{length}\r\n", length - 1),
    };
    let tag = match tag {
        "" => String::new(),
        tag => format!("ETag: {tag}\r\n"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\n{range}{tag}Content-Length: {}\r\n\r\n",
        rest.len()
    );
    say(stream, &head, &rest[..rest.len().min(most)]);
}

/// Bytes that are nowhere the same.
pub(crate) fn content(length: usize) -> Vec<u8> {
    (0..length as u32)
        .flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes())
        .take(length)
        .collect()
}

/// A folder in which fetch runs.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("kedge-fetch-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// A command that runs fetch here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(&self.0);
        // Proxies are not for loopback; authorities are each test's own.
        for variable in ["http_proxy", "https_proxy", "all_proxy"] {
            command
                .env_remove(variable)
                .env_remove(variable.to_uppercase());
        }
        command.env_remove("SSL_CERT_FILE");
        command
    }

    /// Runs fetch: exit status, stdout and stderr.
    pub(crate) fn fetch(&self, arguments: &[&str]) -> (i32, Vec<u8>, String) {
        taken(self.command(arguments).output().unwrap())
    }

    /// What is here, by name.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn taken(output: Output) -> (i32, Vec<u8>, String) {
    (
        output.status.code().unwrap_or(-1),
        output.stdout,
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The example beside this test.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    folder.join("examples/fetch_tool")
}
