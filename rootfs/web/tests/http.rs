//! HTTP against servers of the test's own, of which each answers as it is told to.

// A test that panics says why.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kedge_web::Problem;

const LONG: Duration = Duration::from_secs(60);

/// Answers each connection with the next of `answers`; gives the requests' heads and bodies.
fn server(answers: Vec<String>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                request.push_str(&line);
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8(body).unwrap());
            let answer = answer.replace("PORT", &port.to_string());
            let _ = stream.get_mut().write_all(answer.as_bytes());
            let _ = send.send(request);
        }
    });
    (port, receive)
}

fn answer(status: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[test]
fn a_post_says_who_sends_it_and_with_which_login() {
    let (port, requests) = server(vec![answer("204 No Content", "", "")]);
    let url = format!("http://me:p%40ss@127.0.0.1:{port}/beacon?a=b");
    kedge_web::post(&url, "application/json", b"{\"a\":1}", LONG).unwrap();
    let request = requests.recv().unwrap();
    assert!(
        request.starts_with("POST /beacon?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    let lower = request.to_ascii_lowercase();
    for line in [
        "content-type: application/json\r\n",
        concat!("user-agent: kedge/", env!("CARGO_PKG_VERSION"), "\r\n"),
    ] {
        assert!(lower.contains(line), "{line} {request}");
    }
    // me:p@ss
    assert!(request.contains("Basic bWU6cEBzcw==\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");
}

#[test]
fn a_post_is_not_redirected() {
    let (port, _requests) = server(vec![answer("303 See Other", "Location: /b\r\n", "")]);
    let url = format!("http://127.0.0.1:{port}/a");
    let error = kedge_web::post(&url, "text/plain", b"x", LONG).unwrap_err();
    assert!(matches!(error.problem, Problem::Status(303)), "{error}");
}

#[test]
fn a_login_does_not_follow_a_redirect_to_somebody_else() {
    let (other, others) = server(vec![answer("200 OK", "", "there")]);
    let location = format!("Location: http://localhost:{other}/\r\n");
    let (port, requests) = server(vec![answer("302 Found", &location, "")]);
    let url = format!("http://me:secret@127.0.0.1:{port}/");
    assert_eq!(kedge_web::get(&url, 100, LONG).unwrap(), b"there");
    assert!(requests.recv().unwrap().contains("Basic "));
    assert!(!others.recv().unwrap().contains("Basic "));
}

#[test]
fn redirects_end() {
    let turn = || answer("302 Found", "Location: http://127.0.0.1:PORT/\r\n", "");
    let (port, requests) = server((0..20).map(|_| turn()).collect());
    let url = format!("http://127.0.0.1:{port}/");
    let error = kedge_web::get(&url, 100, LONG).unwrap_err();
    assert!(matches!(error.problem, Problem::Redirects), "{error}");
    assert_eq!(requests.try_iter().count(), 6);
}

#[test]
fn an_answer_is_bounded() {
    let (port, _requests) = server(vec![
        answer("200 OK", "", "12345"),
        answer("200 OK", "", "123456"),
    ]);
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(kedge_web::get(&url, 5, LONG).unwrap(), b"12345");
    let error = kedge_web::get(&url, 5, LONG).unwrap_err();
    assert!(
        matches!(error.problem, Problem::TooLong { limit: 5 }),
        "{error}"
    );
}

#[test]
fn a_failure_names_the_url_without_its_secrets() {
    let (port, _requests) = server(vec![answer("401 Unauthorized", "", "no")]);
    let url = format!("http://me:secret@127.0.0.1:{port}/a?token=secret");
    let error = kedge_web::get(&url, 100, LONG).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "http://127.0.0.1:{port}/a?...: the server answered with status 401 (is the login right?)"
        )
    );
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let error = kedge_web::get(&url, 100, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error.problem, Problem::Timeout(_)), "{error}");
}

#[test]
fn what_is_not_http_is_said_to_be_so() {
    let (port, _requests) = server(vec!["SSH-2.0-OpenSSH_9.2\r\n\r\n".into()]);
    let url = format!("http://127.0.0.1:{port}/");
    let error = kedge_web::get(&url, 100, LONG).unwrap_err();
    assert!(matches!(error.problem, Problem::Protocol(_)), "{error}");
}

#[test]
fn nobody_listening_is_no_connection() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let error = kedge_web::get(&format!("http://127.0.0.1:{port}/"), 1, LONG).unwrap_err();
    assert!(matches!(error.problem, Problem::Connect(_)), "{error}");
}

#[test]
fn a_piece_is_what_was_asked_for_or_an_error() {
    let piece = |status: &str, more: &str, body: &str| {
        let (port, requests) = server(vec![answer(status, more, body)]);
        let url = format!("http://127.0.0.1:{port}/a");
        let pieces = kedge_web::Pieces::new(LONG);
        let got = pieces.get(&url, 3, 4).and_then(|mut piece| {
            let mut text = String::new();
            match piece.read_to_string(&mut text) {
                Ok(_) => Ok(text),
                Err(error) => Err(pieces.error(&url, error)),
            }
        });
        let request = requests.recv().unwrap().to_ascii_lowercase();
        assert!(request.contains("\r\nrange: bytes=3-6\r\n"), "{request}");
        got
    };
    let partial = "206 Partial Content";
    let range = "Content-Range: bytes 3-6/20\r\n";
    assert_eq!(piece(partial, range, "defg").unwrap(), "defg");
    // Never more than that.
    assert_eq!(piece(partial, range, "defgh").unwrap(), "defg");
    // A server that knows no ranges.
    assert_eq!(piece("200 OK", "", "abcdefghij").unwrap(), "defg");
    for (status, more, body) in [
        (partial, "Content-Range: bytes 4-7/20\r\n", "efgh"),
        (partial, "Content-Range: pages 3-6\r\n", "defg"),
        (partial, "", "defg"),
    ] {
        let error = piece(status, more, body).unwrap_err();
        assert!(matches!(error.problem, Problem::Protocol(_)), "{error}");
    }
    for (status, body, code) in [
        ("200 OK", "ab", 416),
        ("416 Range Not Satisfiable", "", 416),
        ("404 Not Found", "", 404),
    ] {
        let error = piece(status, "", body).unwrap_err();
        assert!(
            matches!(error.problem, Problem::Status(status) if status == code),
            "{error}"
        );
    }
}

#[test]
fn a_piece_that_stalls_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/10\r\nContent-Length: 10\r\n\r\nabc";
        stream.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(LONG);
    });
    let pieces = kedge_web::Pieces::new(Duration::from_millis(500));
    let mut text = Vec::new();
    let error = pieces.get(&url, 0, 10).unwrap().read_to_end(&mut text);
    let error = pieces.error(&url, error.unwrap_err());
    assert!(matches!(error.problem, Problem::Timeout(_)), "{error}");
    assert_eq!(text, b"abc");
}
