//! HTTPS against servers of the test's own, with an authority of the test's own.
//!
//! One test in a program of its own, because which authorities count is in the environment.

// A test that panics says why.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kedge_web::Problem;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("kedge-web-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `openssl s_server -HTTP`, which sends files that hold the HTTP header, too.
struct Tls {
    child: Child,
    port: u16,
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("openssl starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// An authority `ca.pem`, and certificates signed by it.
fn authority(folder: &Path) {
    openssl(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "30",
            "-subj",
            "/CN=own authority",
        ],
    );
}

fn certificate(folder: &Path, name: &str, host: &str, days: &str) {
    let file = |end: &str| format!("{name}.{end}");
    openssl(
        folder,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
            "-subj",
            "/CN=server",
        ],
    );
    std::fs::write(
        folder.join(file("ext")),
        format!("subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n"),
    )
    .unwrap();
    openssl(
        folder,
        &[
            "x509",
            "-req",
            "-in",
            &file("csr"),
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            &file("ext"),
            "-out",
            &file("pem"),
        ],
    );
}

fn serve_tls(folder: &Path, name: &str) -> Tls {
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-HTTP", "-key"])
        .args([&format!("{name}.key"), "-cert", &format!("{name}.pem")])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl starts");
    // "ACCEPT 127.0.0.1:12345"
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next().expect("a line").unwrap();
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            break address.rsplit(':').next().unwrap().parse().unwrap();
        }
    };
    // It goes on writing.
    std::thread::spawn(move || lines.for_each(drop));
    Tls { child, port }
}

#[test]
fn https_trusts_only_those_it_should() {
    let folder = Folder::new("https");
    let path = &folder.0;
    authority(path);
    certificate(path, "good", "localhost", "30");
    certificate(path, "other", "example.org", "30");
    certificate(path, "old", "localhost", "-1");
    std::fs::write(path.join("page"), "HTTP/1.0 200 OK\r\n\r\nsecret\n").unwrap();
    std::fs::write(
        path.join("clear"),
        "HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
    )
    .unwrap();
    let fetch = |name: &str, page: &str| {
        let server = serve_tls(path, name);
        kedge_web::get(
            &format!("https://localhost:{}/{page}", server.port),
            1 << 20,
            Duration::from_secs(60),
        )
    };

    let page = |name: &str| fetch(name, "page");

    let error = page("good").unwrap_err();
    assert!(matches!(error.problem, Problem::UnknownIssuer), "{error}");

    // SAFETY: this program has one test, and its other threads only read from OpenSSL.
    unsafe { std::env::set_var("SSL_CERT_FILE", path.join("ca.pem")) };
    assert_eq!(page("good").unwrap(), b"secret\n");
    // A piece is fetched on the same terms (this server knows no ranges).
    let piece = |name: &str| {
        let server = serve_tls(path, name);
        let url = format!("https://localhost:{}/page", server.port);
        let pieces = kedge_web::Pieces::new(Duration::from_secs(60));
        let mut piece = pieces.get(&url, 2, 3)?;
        let mut bytes = Vec::new();
        let read = piece.read_to_end(&mut bytes);
        read.map(|_| bytes)
            .map_err(|error| pieces.error(&url, error))
    };
    assert_eq!(piece("good").unwrap(), b"cre");
    let error = piece("other").unwrap_err();
    assert!(matches!(error.problem, Problem::WrongName), "{error}");
    let error = fetch("good", "clear").unwrap_err();
    assert!(matches!(error.problem, Problem::Downgrade), "{error}");
    let error = page("other").unwrap_err();
    assert!(matches!(error.problem, Problem::WrongName), "{error}");
    let error = page("old").unwrap_err();
    assert!(matches!(error.problem, Problem::Time(_)), "{error}");
    assert!(error.to_string().contains("clock"), "{error}");

    // SAFETY: as above.
    unsafe { std::env::set_var("SSL_CERT_FILE", path.join("absent.pem")) };
    let error = page("good").unwrap_err().to_string();
    assert!(error.contains("absent.pem"), "{error}");
}
