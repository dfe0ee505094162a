//! Downloads from servers of the test's own, of which each answers as it is told to.

// A test that panics says why.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kedge_web::download::{Hop, Resolve, Resume, Settings, Stream, open};
use kedge_web::header::Validator;
use kedge_web::{Error, Problem};

/// Answers each connection with the next of `answers`, and hangs up; gives the requests' heads.
fn server(answers: Vec<String>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                stream.read_line(&mut request).unwrap();
            }
            send.send(request).unwrap();
            let answer = answer.replace("PORT", &port.to_string());
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    (port, receive)
}

fn settings() -> Settings {
    Settings {
        resolve: vec![Resolve::parse("example.org:127.0.0.1").unwrap()],
        ..Settings::default()
    }
}

fn resume(offset: u64) -> Resume {
    let validator = Validator::parse("\"v1\"");
    Resume { offset, validator }
}

fn ask(port: u16, resume: Option<&Resume>) -> (Result<Stream, Error>, Vec<Hop>) {
    let mut hops = Vec::new();
    let url = format!("http://me:secret@example.org:{port}/a/b");
    let stream = open(&url, resume, &settings(), &mut |hop| hops.push(hop.clone()));
    (stream, hops)
}

/// What one answer gives.
fn body(answer: &str, from: Option<&Resume>) -> Result<(Vec<u8>, u64, Option<u64>), Error> {
    let (port, _requests) = server(vec![answer.into()]);
    let mut stream = ask(port, from).0?;
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes);
    read.map_err(|error| stream.error(error))?;
    Ok((bytes, stream.first(), stream.length()))
}

#[test]
fn each_redirect_is_told_with_who_was_connected_to() {
    let (port, requests) = server(vec![
        "HTTP/1.1 302 Found\r\nLocation: ../c?token=x\r\nContent-Length: 3\r\n\r\nabc".into(),
        "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:PORT/d\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: \"v1\"\r\n\r\nab".into(),
    ]);
    let (stream, hops) = ask(port, None);
    let mut stream = stream.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"ab");
    assert_eq!(stream.validator(), Validator::parse("\"v1\""));
    let told: Vec<String> = hops.iter().map(ToString::to_string).collect();
    let at = format!("at 127.0.0.1:{port}");
    assert_eq!(
        told,
        [
            format!(
                "http://example.org:{port}/a/b {at}: 302, go to http://example.org:{port}/c?..."
            ),
            format!("http://example.org:{port}/c?... {at}: 307, go to http://127.0.0.1:{port}/d"),
            format!("http://127.0.0.1:{port}/d {at}: 200"),
        ]
    );
    // The login is sent to whom it was given for, and to nobody else.
    let requests: Vec<String> = requests.try_iter().map(|r| r.to_lowercase()).collect();
    let logins = requests.iter().map(|r| r.contains("authorization: basic "));
    assert_eq!(logins.collect::<Vec<_>>(), [true, true, false]);
    for request in &requests {
        assert!(
            request.contains("\r\naccept-encoding: identity\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
    }
}

#[test]
fn what_was_announced_is_what_comes() {
    let whole = body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345", None).unwrap();
    assert_eq!(whole, (b"12345".to_vec(), 0, Some(5)));
    let none = body("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None).unwrap();
    assert_eq!(none, (Vec::new(), 0, Some(0)));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n0\r\n\r\n";
    assert_eq!(body(chunked, None).unwrap(), (b"12".to_vec(), 0, None));
    let closed = "HTTP/1.0 200 OK\r\n\r\n123";
    assert_eq!(body(closed, None).unwrap(), (b"123".to_vec(), 0, None));

    let error = body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234", None).unwrap_err();
    assert!(
        matches!(error.problem, Problem::Short { got: 4, of: 5 }),
        "{error}"
    );
    let error = body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123456", None).unwrap_err();
    assert!(
        matches!(error.problem, Problem::Surplus { announced: 5 }),
        "{error}"
    );
    for cut in ["2\r\n12\r\n", "2\r\n1", "2\r\n12\r\n5\r\n1"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{cut}");
        let error = body(&answer, None).unwrap_err();
        assert!(
            matches!(error.problem, Problem::Protocol(_)),
            "{cut:?} {error}"
        );
    }
    for length in ["5\r\nContent-Length: 6", "x", "-1", "5, 6"] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n12345");
        assert!(body(&answer, None).is_err(), "{length}");
    }
}

#[test]
fn a_download_goes_on_only_with_the_same_content() {
    let rest = "HTTP/1.1 206 X\r\nContent-Length: 3\r\nContent-Range: bytes 2-4/5\r\n\r\n345";
    let (port, requests) = server(vec![rest.into()]);
    let mut stream = ask(port, Some(&resume(2))).0.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(
        (bytes, stream.first(), stream.length()),
        (b"345".to_vec(), 2, Some(5))
    );
    let request = requests.recv().unwrap().to_lowercase();
    assert!(request.contains("\r\nrange: bytes=2-\r\n"), "{request}");
    assert!(request.contains("\r\nif-range: \"v1\"\r\n"), "{request}");

    let other = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nABCDE";
    let other = body(other, Some(&resume(2))).unwrap();
    assert_eq!(other, (b"ABCDE".to_vec(), 0, Some(5)));

    for range in ["1-3/5", "2-4/9", "2-3/4", "*/5", "x"] {
        let answer = rest.replace("2-4/5", range);
        let error = body(&answer, Some(&resume(2))).unwrap_err();
        assert!(
            matches!(error.problem, Problem::Protocol(_)),
            "{range} {error}"
        );
    }
    // Nobody asked for a part.
    let error = body(rest, None).unwrap_err();
    assert!(matches!(error.problem, Problem::Protocol(_)), "{error}");
}

#[test]
fn a_refusal_is_no_content_and_says_why() {
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n<b>no</b>\nsuch\x1bfile";
    let error = body(answer, None).unwrap_err();
    assert_eq!(error.problem.status(), Some(404));
    assert!(
        error.to_string().ends_with("and says: no such\\u{1b}file"),
        "{error}"
    );
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn redirects_lead_to_http_and_end() {
    let away = |to: &str| format!("HTTP/1.1 301 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    let error = body(&away("file:///etc/shadow"), None).unwrap_err();
    assert!(matches!(error.problem, Problem::Elsewhere(_)), "{error}");
    let (port, _requests) = server((0..20).map(|_| away("/")).collect());
    let (stream, hops) = ask(port, None);
    let error = stream.unwrap_err();
    assert!(matches!(error.problem, Problem::Redirects), "{error}");
    assert_eq!(hops.len(), 11);
}

#[test]
fn silence_ends_and_so_does_ctrl_c() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let silent = Settings {
        silence: Duration::from_millis(300),
        ..Settings::default()
    };
    let error = open(&url, None, &silent, &mut |_| {}).unwrap_err();
    assert!(
        matches!(error.problem, Problem::Timeout("waiting")),
        "{error}"
    );
    let stopped = Settings {
        stop: Some(|| true),
        ..Settings::default()
    };
    let error = open(&url, None, &stopped, &mut |_| {}).unwrap_err();
    assert!(matches!(error.problem, Problem::Stopped), "{error}");
}

/// Sends `begin`, then `again` for as long as somebody reads, with these pauses.
fn drip(begin: &'static str, again: &'static str, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let mut sent = stream.write_all(begin.as_bytes());
        while sent.is_ok() {
            std::thread::sleep(pause);
            sent = stream.write_all(again.as_bytes());
        }
    });
    url
}

/// Bytes that are no content are no sign of life.
#[test]
fn a_server_that_sends_but_no_content_is_given_up() {
    let patience = Settings {
        silence: Duration::from_millis(500),
        ..Settings::default()
    };
    let slow = Duration::from_millis(50);
    for (begin, again, pause) in [
        ("HTTP/1.1 200 OK\r\nX: ", "y", slow),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;",
            "y",
            slow,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "X: y\r\n",
            slow,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "X: y\r\n",
            Duration::ZERO,
        ),
    ] {
        let url = drip(begin, again, pause);
        let error = match open(&url, None, &patience, &mut |_| {}) {
            Ok(mut stream) => {
                let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
                stream.error(error)
            }
            Err(error) => error,
        };
        let ended = matches!(error.problem, Problem::Timeout(_));
        assert!(ended, "{begin:?}: {error}");
    }
    let url = drip(
        "HTTP/1.1 404 N\r\nContent-Length: 99999\r\n\r\nnot here",
        ".",
        slow,
    );
    let error = open(&url, None, &patience, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("not here"), "{error}");
}

#[test]
fn who_takes_no_connection_is_named() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (stream, _) = ask(port, None);
    let error = stream.unwrap_err().to_string();
    assert!(
        error.contains(&format!("127.0.0.1:{port}: Connection refused")),
        "{error}"
    );
}
