//! An HTTP server that keeps every request and gives the answers it was told: for beacons, for dynamic
//! DNS updates, for a key that is fetched. (Files are [`Network::serve_http`](crate::Network)'s.)
//!
//! ```ignore
//! let http = HttpRecorder::start(network.lan(), "192.0.2.1:80".parse()?)?;
//! http.answer("/nic/update", 200, "good 192.0.2.7\n");
//! // … boot with kedge.beacon=http://192.0.2.1/beacon …
//! let requests = http.wait_for(1, BOOT)?;
//! ensure!(requests[0].method == "POST" && requests[0].json()?["version"] == "0.1.0");
//! ensure!(requests[1].basic_auth().as_deref() == Some("user:token"));
//! ensure!(requests[1].query("hostname").as_deref() == Some("box.example"));
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::records::{GLANCE, Records, Serving};
use crate::segment::Station;
use crate::sockets::listen_tcp;

/// How long a client may be silent in the middle of a request.
const SILENCE: Duration = Duration::from_secs(60);

/// The largest head and body that are taken.
const HEAD: u64 = 64 << 10;
const BODY: u64 = 64 << 20;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When it was whole.
    pub at: SystemTime,
    /// From whom.
    pub from: SocketAddr,
    /// "GET", "POST" …
    pub method: String,
    /// Path and query as they were sent: "/nic/update?hostname=a".
    pub target: String,
    /// Names, in small letters, and values, in the order in which they came.
    pub headers: Vec<(String, String)>,
    /// What followed the head.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of that name, in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(have, _)| have == name);
        named.next().map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (_, value) = pairs.find(|(have, _)| *have == name)?;
        Some(percent_decoded(value))
    }

    /// "user:password" of HTTP's basic authentication (RFC 7617).
    pub fn basic_auth(&self) -> Option<String> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        String::from_utf8(base64_decoded(encoded)?).ok()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| {
            let body = String::from_utf8_lossy(&self.body);
            format!("{} {} came with {body:?}", self.method, self.target)
        })
    }
}

/// Answers by path.
type Answers = BTreeMap<String, (u16, Vec<u8>)>;

/// A server that runs until it is dropped.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub struct HttpRecorder {
    came: Arc<Records<Request>>,
    answers: Arc<Mutex<Answers>>,
    _serving: Serving,
}

impl HttpRecorder {
    /// Serves at an address of the station's; until it is told otherwise it answers 200 with no body.
    pub fn start(at: &Station, address: SocketAddr) -> Result<Self> {
        let listener = listen_tcp(at.namespace(), address)?;
        listener.set_nonblocking(true)?;
        let came = Arc::new(Records::default());
        let answers = Arc::new(Mutex::new(Answers::new()));
        let (records, told) = (Arc::clone(&came), Arc::clone(&answers));
        let serving = Serving::start(move || {
            let Ok((stream, from)) = listener.accept() else {
                std::thread::sleep(GLANCE / 5);
                return;
            };
            let (records, told) = (Arc::clone(&records), Arc::clone(&told));
            // One for each client: a slow one holds nobody up.
            std::thread::spawn(move || {
                if let Err(error) = serve(&stream, from, &records, &told) {
                    eprintln!("HTTP request from {from}: {error:#}");
                }
            });
        });
        Ok(Self {
            came,
            answers,
            _serving: serving,
        })
    }

    /// From now on answers requests for `path` with this status and body; "" is any other path.
    pub fn answer(&self, path: &str, status: u16, body: impl Into<Vec<u8>>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(path.to_owned(), (status, body.into()));
    }

    /// What has come so far.
    pub fn requests(&self) -> Vec<Request> {
        self.came.all()
    }

    /// Waits until `count` requests have come; gives all of them.
    pub fn wait_for(&self, count: usize, timeout: Duration) -> Result<Vec<Request>> {
        self.came.wait_for("HTTP requests", count, timeout)
    }
}

/// Takes one request and answers it.
fn serve(
    mut stream: &TcpStream,
    from: SocketAddr,
    records: &Records<Request>,
    answers: &Mutex<Answers>,
) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let request = read_request(stream, from)?;
    let (status, body) = {
        let answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(request.path()).or_else(|| answers.get(""));
        answer.cloned().unwrap_or((200, Vec::new()))
    };
    // Kept before it is answered: who has seen the answer finds it here.
    records.push(request);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)?;
    Ok(())
}

/// Reads one request (RFC 9112): with a length, in chunks, or without a body.
fn read_request<S: Read + Write + Copy>(mut stream: S, from: SocketAddr) -> Result<Request> {
    let mut reader = BufReader::new(stream);
    let first = line(&mut reader)?;
    let [method, target, version] = first.split(' ').collect::<Vec<_>>()[..] else {
        bail!("this is no request: {first:?}");
    };
    ensure!(
        version.starts_with("HTTP/1."),
        "this is no HTTP/1: {first:?}"
    );
    let mut headers = Vec::new();
    loop {
        let line = line(&mut reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("this is no header: {line:?}"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        at: SystemTime::now(),
        from,
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: Vec::new(),
    };
    if request.header("expect") == Some("100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = line(&mut reader)?;
            let size = size.split(';').next().unwrap_or_default();
            let size = u64::from_str_radix(size.trim(), 16).context("reading a chunk's size")?;
            read_body(&mut reader, size, &mut request.body)?;
            // A chunk has a line's end of its own; the last is followed by trailers and an empty line.
            while !line(&mut reader)?.is_empty() {}
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length") {
        let length = length.parse().context("reading Content-Length")?;
        read_body(&mut reader, length, &mut request.body)?;
    }
    request.at = SystemTime::now();
    Ok(request)
}

fn line(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    reader.by_ref().take(HEAD).read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.trim_end_matches('\r').to_owned()),
        None => bail!("the request ended in the middle of {line:?}"),
    }
}

fn read_body(reader: &mut impl Read, length: u64, body: &mut Vec<u8>) -> Result<()> {
    ensure!(length <= BODY, "a body of {length} bytes is too much");
    let read = reader.by_ref().take(length).read_to_end(body)?;
    ensure!(read as u64 == length, "{read} of {length} bytes came");
    Ok(())
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// RFC 4648, section 4; nothing for what is not base64.
fn base64_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for char in text.trim_end_matches('=').bytes() {
        let six = match char {
            b'A'..=b'Z' => char - b'A',
            b'a'..=b'z' => char - b'a' + 26,
            b'0'..=b'9' => char - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sockets::connect_tcp;
    use crate::{Folder, Network};

    /// Sends `text` to a recorder; gives what it answers.
    fn say(network: &Network, text: &str) -> Result<String> {
        let to = "192.0.2.1:80".parse()?;
        let mut stream = connect_tcp(network.namespace(), to, Duration::from_secs(20))?;
        stream.write_all(text.as_bytes())?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn a_post_is_kept_whole_and_answered_as_told() -> Result<()> {
        let folder = Folder::new("unit.http.post")?;
        let network = Network::new(folder.path())?;
        let http = HttpRecorder::start(network.lan(), "192.0.2.1:80".parse()?)?;
        http.answer("/a", 503, "busy");
        // busybox' wget is the client that did not come from here.
        let guest = network.lan().neighbour(&["192.0.2.9/24"])?;
        let post = |url: &str| {
            let mut command = Command::new("/bin/busybox");
            let data = "--post-data={\"serial\": \"SN\"}";
            guest.run(command.args(["wget", "-q", "-O", "-", data, url]))
        };
        assert_eq!(post("http://192.0.2.1/b?x=1")?, b"");
        assert!(post("http://192.0.2.1/a").is_err());
        let requests = http.wait_for(2, Duration::from_secs(20))?;
        assert_eq!(requests[0].json()?["serial"], "SN");
        assert_eq!((&*requests[0].method, requests[0].path()), ("POST", "/b"));
        assert_eq!(requests[0].from.ip().to_string(), "192.0.2.9");
        assert_eq!(requests[1].path(), "/a");
        Ok(())
    }

    #[test]
    fn an_update_of_dynamic_dns_is_read() -> Result<()> {
        let folder = Folder::new("unit.http.dyndns")?;
        let network = Network::new(folder.path())?;
        let http = HttpRecorder::start(network.lan(), "192.0.2.1:80".parse()?)?;
        http.answer("", 200, "good 192.0.2.7\n");
        // dXNlcjpwYXNz is RFC 4648's way to write user:pass.
        let answer = say(
            &network,
            "GET /nic/update?hostname=a.example&myip=2001%3Adb8%3A%3A7 HTTP/1.1\r\n\
             Host: x\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n",
        )?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\ngood 192.0.2.7\n"), "{answer}");
        let request = &http.requests()[0];
        assert_eq!(request.basic_auth().as_deref(), Some("user:pass"));
        assert_eq!(request.query("hostname").as_deref(), Some("a.example"));
        assert_eq!(request.query("myip").as_deref(), Some("2001:db8::7"));
        assert_eq!(request.query("host"), None);
        Ok(())
    }

    #[test]
    fn chunks_are_put_together() -> Result<()> {
        let folder = Folder::new("unit.http.chunks")?;
        let network = Network::new(folder.path())?;
        let http = HttpRecorder::start(network.lan(), "192.0.2.1:80".parse()?)?;
        say(
            &network,
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n",
        )?;
        assert_eq!(http.requests()[0].body, b"abc0123456789abcdef");
        Ok(())
    }

    #[test]
    fn what_is_no_request_is_not_kept_and_holds_nobody_up() -> Result<()> {
        let folder = Folder::new("unit.http.broken")?;
        let network = Network::new(folder.path())?;
        let http = HttpRecorder::start(network.lan(), "192.0.2.1:80".parse()?)?;
        let to = "192.0.2.1:80".parse()?;
        let _silent = connect_tcp(network.namespace(), to, Duration::from_secs(20))?;
        for broken in [
            "",
            "SSH-2.0-x\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
            "POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nabc",
        ] {
            assert_eq!(say(&network, broken).unwrap_or_default(), "");
        }
        assert!(say(&network, "GET / HTTP/1.0\r\n\r\n")?.starts_with("HTTP/1.1 200"));
        assert_eq!(http.requests().len(), 1);
        Ok(())
    }
}
