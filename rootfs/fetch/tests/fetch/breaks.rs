//! Connections that break, content that changes meanwhile, ctrl-C.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::{Folder, Server, content, say, send_file, value};

const LENGTH: usize = 1_000_000;

fn ranges(server: &Server) -> Vec<Option<String>> {
    let requests = server.requests();
    let range = |head: &String| value(head, "range").map(str::to_string);
    requests.iter().map(range).collect()
}

/// Waits until the part beside `f` has so many bytes.
fn until_there(folder: &Folder, length: u64) {
    let began = Instant::now();
    while folder
        .0
        .join("f.kedge-part")
        .metadata()
        .map_or(0, |m| m.len())
        < length
    {
        assert!(began.elapsed() < Duration::from_secs(60), "nothing came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_connection_cut_at_every_tenth_is_made_again() {
    let folder = Folder::new("tenths");
    let server = Server::new(|_, head, stream| {
        send_file(stream, head, &content(LENGTH), "\"1\"", LENGTH / 10);
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 0, "{stderr}");
    assert!(folder.read("f") == content(LENGTH));
    assert_eq!(folder.names(), ["f"]);
    let expected = (0..10).map(|tenth| match tenth {
        0 => None,
        tenth => Some(format!("bytes={}-", tenth * LENGTH / 10)),
    });
    assert_eq!(ranges(&server), expected.collect::<Vec<_>>());
    assert!(
        stderr.contains("it ended after 100000 of 1000000 bytes"),
        "{stderr}"
    );
}

#[test]
fn content_that_changed_meanwhile_is_fetched_anew() {
    let folder = Folder::new("changed");
    let server = Server::new(|number, head, stream| match number {
        0 => send_file(stream, head, &vec![b'a'; LENGTH], "\"1\"", LENGTH / 2),
        _ => send_file(stream, head, &content(LENGTH), "\"2\"", LENGTH),
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 0, "{stderr}");
    assert!(folder.read("f") == content(LENGTH));
    assert!(stderr.contains("starts anew"), "{stderr}");
}

#[test]
fn without_anything_to_compare_by_it_starts_anew_and_says_so() {
    let folder = Folder::new("no-validator");
    let server = Server::new(|number, head, stream| {
        let most = if number == 0 { LENGTH / 2 } else { LENGTH };
        send_file(stream, head, &content(LENGTH), "", most);
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 0, "{stderr}");
    assert!(folder.read("f") == content(LENGTH));
    assert_eq!(ranges(&server), [None, None]);
    assert!(stderr.contains("starts anew, since"), "{stderr}");
}

#[test]
fn a_server_that_always_breaks_at_the_same_place_is_given_up() {
    let folder = Folder::new("always");
    let server = Server::new(|_, _, stream| {
        say(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            b"1234",
        );
    });
    // Not to stdout: there is nothing that could be taken back.
    let (code, stdout, stderr) = folder.fetch(&[&server.url("/f"), "-o", "-"]);
    assert_eq!((code, stdout.as_slice()), (1, &b"1234"[..]), "{stderr}");
    assert_eq!(server.requests().len(), 1);
}

/// One run is interrupted; the next asks for the rest only.
#[test]
fn ctrl_c_keeps_a_part_and_the_next_run_goes_on() {
    let folder = Folder::new("ctrl-c");
    let server = Server::new(|number, head, stream| {
        let most = if number == 0 { LENGTH / 2 } else { LENGTH };
        send_file(stream, head, &content(LENGTH), "\"1\"", most);
        if number == 0 {
            // Silence, until it is interrupted.
            let _ = std::io::Read::read(stream, &mut [0]);
        }
    });
    let mut command = folder.command(&[&server.url("/f")]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    until_there(&folder, LENGTH as u64 / 2);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, _, stderr) = crate::taken(child.wait_with_output().unwrap());
    assert_eq!(code, 130, "{stderr}");
    assert!(
        stderr.contains("500 kB are kept in f.kedge-part"),
        "{stderr}"
    );
    assert_eq!(folder.names(), ["f.kedge-part", "f.kedge-part.of"]);

    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 0, "{stderr}");
    assert!(folder.read("f") == content(LENGTH));
    assert_eq!(folder.names(), ["f"]);
    assert_eq!(ranges(&server), [None, Some("bytes=499999-".into())]);
}

#[test]
fn a_part_of_another_url_is_not_gone_on_with() {
    let folder = Folder::new("other-url");
    // The same tag for other bytes: tags are one URL's.
    let server = Server::new(|number, head, stream| match number {
        0 => send_file(stream, head, &vec![b'a'; LENGTH], "\"1\"", LENGTH / 2),
        1 => say(stream, "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", b""),
        _ => send_file(stream, head, &content(LENGTH), "\"1\"", LENGTH),
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/a"), "-o", "f"]);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(folder.names(), ["f.kedge-part", "f.kedge-part.of"]);
    let (code, _, stderr) = folder.fetch(&[&server.url("/b"), "-o", "f"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(folder.read("f") == content(LENGTH));
}

#[test]
fn with_a_digest_a_part_needs_nothing_to_compare_by() {
    use kedge_digest::{Algorithm, Hasher};
    let folder = Folder::new("by-digest");
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&content(LENGTH));
    let digest = hasher.finish().to_string();
    let digest = digest.trim_start_matches("sha256:");
    let server = Server::new(|number, head, stream| {
        let most = if number == 0 { LENGTH / 2 } else { LENGTH };
        send_file(stream, head, &content(LENGTH), "", most);
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/f"), "--sha256", digest]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(ranges(&server), [None, Some("bytes=500000-".into())]);
}

#[test]
fn two_do_not_write_one_file() {
    let folder = Folder::new("two");
    let server = Server::new(|_, head, stream| {
        send_file(stream, head, &content(LENGTH), "\"1\"", LENGTH / 2);
        let _ = std::io::Read::read(stream, &mut [0]);
    });
    let mut command = folder.command(&[&server.url("/f")]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    until_there(&folder, LENGTH as u64 / 2);
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("another fetch writes"), "{stderr}");
}
