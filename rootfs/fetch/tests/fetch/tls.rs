//! HTTPS against nginx, with an authority of the test's own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Folder, content, taken};

/// nginx, for HTTP and HTTPS.
struct Nginx {
    child: Child,
    plain: u16,
    tls: u16,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl")
        .args(line.split_whitespace())
        .current_dir(folder)
        .output();
    let output = output.expect("openssl starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Nginx {
    fn start(folder: &Path) -> Nginx {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30";
        fs::write(
            folder.join("ext"),
            "subjectAltName=DNS:mirror.test\nbasicConstraints=CA:FALSE\n",
        )
        .unwrap();
        for line in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=own"),
            format!("req {key} -keyout key.pem -out csr.pem -subj /CN=mirror"),
            "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out cert.pem".into(),
        ] {
            openssl(folder, &line);
        }
        let (plain, tls) = (free_port(), free_port());
        let at = folder.display();
        let text = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {at}/t1; proxy_temp_path {at}/t2;\n\
             fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n\
             server {{ listen 127.0.0.1:{plain}; root {at}/www; }}\n\
             server {{ listen 127.0.0.1:{tls} ssl; root {at}/www;\n\
             ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem;\n\
             location /down {{ return 302 http://127.0.0.1:{plain}/f; }}\n\
             location /up {{ return 302 https://mirror.test:{tls}/f; }} }} }}\n"
        );
        fs::write(folder.join("nginx.conf"), text).unwrap();
        let child = Command::new("nginx")
            .args(["-p", &at.to_string(), "-c", &format!("{at}/nginx.conf")])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx starts");
        let nginx = Nginx { child, plain, tls };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", tls)).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "nginx does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        nginx
    }
}

#[test]
fn https_is_believed_only_when_it_is_proved() {
    let folder = Folder::new("tls");
    let www = folder.0.join("www");
    fs::create_dir(&www).unwrap();
    let all = content(3_000_000);
    fs::write(www.join("f"), &all).unwrap();
    let nginx = Nginx::start(&folder.0);
    let resolve = ["--resolve", "mirror.test:127.0.0.1"];
    let fetch = |path: &str, more: &[&str], trusted: bool| {
        let _ = fs::remove_file(folder.0.join("out"));
        let url = format!("https://mirror.test:{}{path}", nginx.tls);
        let mut command = folder.command(&[&[&url, "-o", "out"], &resolve[..], more].concat());
        if trusted {
            command.env("SSL_CERT_FILE", folder.0.join("ca.pem"));
        }
        taken(command.output().unwrap())
    };
    let (code, _, stderr) = fetch("/f", &[], true);
    assert_eq!(code, 0, "{stderr}");
    assert!(folder.read("out") == all);
    assert_eq!(fetch("/up", &[], true).0, 0);

    let (code, _, stderr) = fetch("/f", &[], false);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("signed by nobody known here"), "{stderr}");
    let (code, _, stderr) = fetch("/f", &["--insecure"], false);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("nothing proves where these bytes come from"),
        "{stderr}"
    );

    let (code, _, stderr) = fetch("/down", &[], true);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("redirects from https to http"), "{stderr}");
    assert!(!folder.0.join("out").exists());

    // The same file in the clear, and a part of it: what a real server's ranges and tags do.
    fs::write(folder.0.join("f.kedge-part"), &all[..1_000_000]).unwrap();
    let url = format!("http://127.0.0.1:{}/f", nginx.plain);
    let mut hasher = kedge_digest::Hasher::new(kedge_digest::Algorithm::Sha256);
    hasher.update(&all);
    let digest = hasher.finish().to_string();
    let (code, _, stderr) = folder.fetch(&[&url, "--sha256", &digest["sha256:".len()..]]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains(": 206") && stderr.contains("goes on after 1.0 MB"),
        "{stderr}"
    );
    assert!(folder.read("f") == all);
}
