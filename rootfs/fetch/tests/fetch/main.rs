//! `fetch` as a program, against servers of the test's own that do what servers and links do.

// A test that panics says why.
#![allow(clippy::unwrap_used)]

mod breaks;
mod server;
mod tls;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use server::{Folder, Server, content, say, send_file, taken};

/// SHA-256 of "hello\n", and its MD5.
const SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
const MD5: &str = "b1946ac92492d2347c6235b4d2611184";

fn hello() -> Server {
    Server::new(|_, _, stream| send_file(stream, "", b"hello\n", "\"1\"", 6))
}

#[test]
fn only_the_body_is_saved_under_the_last_part_of_the_url() {
    let (server, folder) = (hello(), Folder::new("body"));
    let (code, stdout, stderr) = folder.fetch(&[&server.url("/a/lib%2b.deb?x=y")]);
    assert_eq!((code, stdout.len()), (0, 0), "{stderr}");
    assert_eq!(folder.names(), ["lib+.deb"]);
    assert_eq!(folder.read("lib+.deb"), b"hello\n");
    assert!(
        stderr.contains(&format!("at 127.0.0.1:{}: 200", server.port)),
        "{stderr}"
    );
    assert!(stderr.contains("lib+.deb: 6 B in"), "{stderr}");

    let (code, stdout, stderr) = folder.fetch(&[&server.url("/"), "-o", "-", "--quiet"]);
    assert_eq!(
        (code, stdout.as_slice(), stderr.as_str()),
        (0, &b"hello\n"[..], "")
    );
    fs::create_dir(folder.0.join("sub")).unwrap();
    assert_eq!(folder.fetch(&[&server.url("/x"), "-o", "sub"]).0, 0);
    assert_eq!(folder.read("sub/x"), b"hello\n");
    assert_eq!(folder.fetch(&[&server.url("/"), "-o", "sub"]).0, 2);
}

#[test]
fn what_exists_is_replaced_only_by_force() {
    let (server, folder) = (hello(), Folder::new("exists"));
    fs::write(folder.0.join("f"), "mine").unwrap();
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 2, "{stderr}");
    assert!(server.requests().is_empty());
    assert_eq!(folder.read("f"), b"mine");
    assert_eq!(folder.fetch(&[&server.url("/f"), "--force"]).0, 0);
    assert_eq!(folder.read("f"), b"hello\n");

    // It appeared while the bytes came.
    let folder = Folder::new("exists-later");
    let late = folder.0.join("f");
    let server = Server::new(move |_, _, stream| {
        fs::write(&late, "mine").unwrap();
        send_file(stream, "", b"hello\n", "", 6);
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(folder.read("f"), b"mine");
}

#[test]
fn bytes_that_are_not_those_are_not_saved() {
    let (server, folder) = (hello(), Folder::new("digest"));
    let url = server.url("/f");
    let other = SHA256.replace('5', "6");
    for wrong in [["--sha256", &other], ["--md5", &MD5.replace('b', "c")]] {
        let (code, _, stderr) = folder.fetch(&[&[url.as_str()][..], &wrong].concat());
        assert_eq!(code, 3, "{stderr}");
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
    let (code, _, stderr) = folder.fetch(&[&url, "--sha256", SHA256, "--md5", MD5]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("sha256 as given, md5 as given"), "{stderr}");
}

#[test]
fn a_refusal_leaves_nothing() {
    let folder = Folder::new("refusal");
    for status in ["404 Not Found", "500 Oops", "304 Not Modified", "302 Found"] {
        let server = Server::new(move |_, _, stream| {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\n");
            say(stream, &head, b"no\x1b[2");
        });
        let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
        assert_eq!(code, 1, "{stderr}");
        assert!(
            stderr.contains(&format!("status {}", &status[..3])),
            "{stderr}"
        );
        assert!(!stderr.contains('\x1b'), "{stderr:?}");
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

#[test]
fn more_than_was_announced_is_an_error() {
    let folder = Folder::new("more");
    let server = Server::new(|_, _, stream| {
        say(
            stream,
            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 6\r\n\r\n",
            b"hello\n!",
        );
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("more than the 6 bytes"), "{stderr}");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn chunks_and_encodings_are_as_they_should_be() {
    let folder = Folder::new("chunks");
    let server = Server::new(|_, _, stream| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\
                    Content-Type: text/html\r\n\r\n";
        say(
            stream,
            head,
            b"3\r\n\x1f\x8b\x08\r\n2;x=y\r\nab\r\n0\r\n\r\n",
        );
    });
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(folder.read("f"), b"\x1f\x8b\x08ab");
    assert!(stderr.contains("gzip-encoded, unasked"), "{stderr}");
    assert!(stderr.contains("web page"), "{stderr}");
    assert!(!stderr.contains("nothing tells"), "{stderr}");
    // Its end is the connection's: nobody knows whether that is all.
    let server = Server::new(|_, _, stream| say(stream, "HTTP/1.0 200 OK\r\n\r\n", b"abc"));
    let (code, _, stderr) = folder.fetch(&[&server.url("/g")]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("nothing tells whether that is all"),
        "{stderr}"
    );
}

#[test]
fn redirects_and_resolved_names_are_shown() {
    let folder = Folder::new("redirect");
    let server = Server::new(|number, _, stream| match number {
        0 => say(stream, "HTTP/1.1 302 Found\r\nLocation: /real\r\n\r\n", b""),
        _ => send_file(stream, "", b"hello\n", "\"1\"", 6),
    });
    let port = server.port;
    let url = format!("http://mirror.invalid:{port}/f");
    let (code, _, stderr) = folder.fetch(&[&url, "--resolve", "mirror.invalid:127.0.0.1"]);
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(
        lines[0],
        format!("fetch: {url} at 127.0.0.1:{port}: 302, go to http://mirror.invalid:{port}/real")
    );
    assert!(lines[1].contains("/real at 127.0.0.1"), "{stderr}");
    // What the server calls it does not choose the name here.
    assert_eq!(folder.names(), ["f"]);
}

#[test]
fn raw_tcp_goes_to_a_file_until_the_other_side_closes() {
    let folder = Folder::new("tcp");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let all = content(700_001);
    let sent = all.clone();
    std::thread::spawn(move || listener.accept().unwrap().0.write_all(&sent).unwrap());
    let (code, _, stderr) = folder.fetch(&[&url, "-o", "disk.img"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(folder.read("disk.img") == all);
    assert_eq!(folder.names(), ["disk.img"]);
    assert!(
        stderr.contains("nothing tells whether that is all"),
        "{stderr}"
    );
    // Nobody listens any more.
    let (code, _, stderr) = folder.fetch(&[&url, "-o", "other"]);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(folder.names(), ["disk.img"]);
}

#[test]
fn nobody_else_chooses_what_is_written() {
    let (server, folder) = (hello(), Folder::new("planted"));
    let victim = folder.0.join("victim");
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, folder.0.join("f.kedge-part")).unwrap();
    let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
    assert_eq!(code, 1, "{stderr}");
    symlink(&victim, folder.0.join("g.kedge-part.of")).unwrap();
    let (code, _, stderr) = folder.fetch(&[&server.url("/g")]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(folder.read("victim"), b"mine");
    let fifo = folder.0.join("h.kedge-part");
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    let (code, _, stderr) = folder.fetch(&[&server.url("/h")]);
    assert_eq!(code, 1, "{stderr}");
}

/// Needs a file system of its own: in a namespace of its own.
#[test]
fn a_full_disk_is_named_and_the_file_is_not_there() {
    let folder = Folder::new("full");
    let server = Server::new(|_, head, stream| match head.contains("get /known") {
        true => send_file(stream, head, &content(3 << 20), "\"1\"", 3 << 20),
        // No length: it is only seen when it is full.
        false => say(stream, "HTTP/1.0 200 OK\r\n\r\n", &content(3 << 20)),
    });
    for (path, expected) in [
        (
            "/known",
            "no room: 3.1 MB are to come, 1.0 MB are free there",
        ),
        ("/unknown", "No space left on device"),
    ] {
        let script =
            "mount -t tmpfs -o size=1m none . && cd \"$PWD\" && \"$@\"; code=$?; ls; exit $code";
        let output = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
            .arg(server::program())
            .args([&server.url(path), "-o", "f"])
            .current_dir(&folder.0)
            .stdin(Stdio::null())
            .output();
        let (code, stdout, stderr) = taken(output.unwrap());
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        let names = String::from_utf8(stdout).unwrap();
        assert!(!names.lines().any(|name| name == "f"), "{names}");
    }
    let (code, _, stderr) = folder.fetch(&[&server.url("/known"), "-o", "/dev/full"]);
    assert_eq!(code, 1, "{stderr}");
}

#[test]
fn an_answer_without_content_is_no_file() {
    for status in ["204 No Content", "205 Reset Content"] {
        let server = Server::new(move |_, _, stream| {
            say(
                stream,
                &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
                b"",
            );
        });
        let folder = Folder::new("nothing");
        let (code, _, stderr) = folder.fetch(&[&server.url("/f")]);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(&status[..3]), "{stderr}");
        assert!(folder.names().is_empty());
    }
}

#[test]
fn a_pipe_is_waited_for_and_ctrl_c_ends_that() {
    let (server, folder) = (hello(), Folder::new("fifo"));
    let made = Command::new("mkfifo").arg(folder.0.join("p")).status();
    assert!(made.unwrap().success());
    let url = server.url("/f");
    let mut waiting = folder.command(&[&url, "-o", "p"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(waiting.try_wait().unwrap().is_none());
    let id = rustix::process::Pid::from_child(&waiting);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    assert!(server.requests().is_empty());

    let mut waiting = folder.command(&[&url, "-o", "p"]).spawn().unwrap();
    assert_eq!(folder.read("p"), b"hello\n");
    assert!(waiting.wait().unwrap().success());
}
