//! Web servers: ranges, kept connections, and what goes wrong with them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::store::Scene;

/// What a server does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Ranges,
    /// Ignores Range, as busybox' httpd of old did.
    Whole,
    /// Ends the connection after so many bytes of the body.
    Cuts(usize),
    /// Answers with a status instead.
    Status(u16),
    /// Gives other bytes.
    Flips,
}

struct Server {
    port: u16,
    /// Connection number and range of each request.
    log: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Server {
    /// Serves each request in the next manner; the last one stays.
    fn start(folder: PathBuf, manners: Vec<Manner>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (folder, manners) = (folder.clone(), manners.clone());
                let log = Arc::clone(&kept);
                std::thread::spawn(move || {
                    serve(stream.unwrap(), connection, &folder, &manners, &log)
                });
            }
        });
        Server { port, log }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/packs/", self.port)
    }

    fn log(&self) -> Vec<(usize, String)> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    connection: usize,
    folder: &Path,
    manners: &[Manner],
    log: &Mutex<Vec<(usize, String)>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut path, mut range) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("GET /packs/") {
                path = rest.split(' ').next().unwrap().into();
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = value.into();
            }
            if line.is_empty() {
                break;
            }
        }
        let number = {
            let mut log = log.lock().unwrap();
            log.push((connection, format!("{path} {range}")));
            log.len() - 1
        };
        let manner = *manners.get(number).or(manners.last()).unwrap();
        let Ok(mut bytes) = fs::read(folder.join(&path)) else {
            let _ = stream
                .get_mut()
                .write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
            continue;
        };
        let (total, mut head) = (bytes.len(), "HTTP/1.1 200 OK\r\n".to_string());
        if let (true, Some((first, last))) = (manner != Manner::Whole, range.split_once('-')) {
            let first: usize = first.parse().unwrap();
            let end = (last.parse::<usize>().unwrap() + 1).min(total);
            bytes = bytes[first..end].to_vec();
            head = format!(
                "HTTP/1.1 206 Partial\r\nContent-Range: bytes {first}-{}/{total}\r\n",
                end - 1
            );
        }
        let length = bytes.len();
        match manner {
            Manner::Status(status) => {
                head = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.get_mut().write_all(head.as_bytes());
                continue;
            }
            Manner::Cuts(count) => bytes.truncate(count),
            Manner::Flips => bytes[length / 2] ^= 1,
            Manner::Ranges | Manner::Whole => {}
        }
        head += &format!("Content-Length: {length}\r\n\r\n");
        let _ = stream.get_mut().write_all(head.as_bytes());
        let _ = stream.get_mut().write_all(&bytes);
        if bytes.len() < length {
            return;
        }
    }
}

#[test]
fn neighbours_come_in_one_request_over_a_kept_connection() {
    let scene = Scene::new("http");
    let server = Server::start(scene.packs.clone(), vec![Manner::Ranges]);
    let words = format!("kedge.pack_url={}", server.url());
    scene.succeed(&words, &["load", "tools"]);
    let shared = scene.packed(&[0]);
    let tools = scene.packed(&[1, 2]);
    assert_eq!(
        server.log(),
        [
            (0, format!("shared.cpio.xz 0-{}", shared - 1)),
            (0, format!("tools.cpio.xz 0-{}", tools - 1)),
        ]
    );
    scene.succeed(&words, &["load", "gamma"]);
    let gamma = tools..tools + scene.packed(&[3]);
    let expected = format!("tools.cpio.xz {}-{}", gamma.start, gamma.end - 1);
    assert_eq!(server.log()[2].1, expected);
}

#[test]
fn a_server_that_cuts_connections_is_gone_on_with_where_it_stopped() {
    let scene = Scene::new("cuts");
    let manners = vec![
        Manner::Cuts(10_000),
        Manner::Status(503),
        Manner::Cuts(0),
        Manner::Ranges,
    ];
    let server = Server::start(scene.packs.clone(), manners);
    let said = scene.succeed(
        &format!("kedge.pack_url={}", server.url()),
        &["load", "alpha"],
    );
    assert!(said.contains("status 503"), "{said}");
    let log = server.log();
    let from = |number: usize| log[number].1.clone();
    assert!(from(0).starts_with("shared.cpio.xz 0-"), "{log:?}");
    for number in [1, 2, 3] {
        assert!(from(number).starts_with("shared.cpio.xz 10000-"), "{log:?}");
    }
    assert!(
        from(4).starts_with("tools.cpio.xz 0-") && log.len() == 5,
        "{log:?}"
    );
}

#[test]
fn a_server_without_ranges_will_do() {
    let scene = Scene::new("whole");
    let server = Server::start(scene.packs.clone(), vec![Manner::Whole]);
    scene.succeed("", &["load", "gamma", "--from", &server.url()]);
    assert_eq!(
        fs::metadata(scene.root.join("bin/gamma")).unwrap().len(),
        300_000
    );
}

#[test]
fn what_was_damaged_once_is_fetched_once_more() {
    let scene = Scene::new("once");
    let server = Server::start(scene.packs.clone(), vec![Manner::Flips, Manner::Ranges]);
    let said = scene.succeed("", &["load", "alpha", "--from", &server.url()]);
    assert!(said.contains("damaged on its way"), "{said}");
    assert_eq!(server.log().len(), 3);
    let server = Server::start(scene.packs.clone(), vec![Manner::Flips]);
    let said = scene.fail(3, "", &["load", "gamma", "--from", &server.url()]);
    assert!(
        said.contains("tools.cpio.xz are not what this system was built with"),
        "{said}"
    );
    assert_eq!(server.log().len(), 2);
}

#[test]
fn what_is_not_there_is_named_and_the_medium_is_tried_then() {
    let scene = Scene::new("404");
    let server = Server::start(scene.folder.join("empty"), vec![Manner::Ranges]);
    let words = format!("kedge.pack_url={}", server.url());
    let said = scene.fail(1, &words, &["load", "alpha"]);
    let url = format!(
        "{}shared.cpio.xz: the server answered with status 404",
        server.url()
    );
    assert!(said.contains(&url), "{said}");
    assert!(said.contains("no device holds the packs"), "{said}");
    assert!(scene.untouched());
    let iso = scene.iso(&scene.index.application_id());
    scene.device("sr0", &iso);
    let said = scene.succeed(&words, &["load", "alpha"]);
    assert!(said.contains("status 404"), "{said}");
}

#[test]
fn tftp_is_refused_in_plain_words() {
    let scene = Scene::new("tftp");
    let said = scene.fail(
        1,
        "kedge.pack_url=tftp://192.0.2.1/packs",
        &["load", "alpha"],
    );
    assert!(
        said.contains("packs come by http:// or https:// only"),
        "{said}"
    );
    assert!(said.contains("pack load --from"), "{said}");
}
