//! Package files that somebody names, and that the lists of the system's own apt vouch for.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{System, run};
use crate::killed;

/// gpg with a home of its own, which goes when this is dropped.
struct Gpg(PathBuf);

impl Gpg {
    fn new() -> Gpg {
        // A socket's path must be short.
        let home = std::env::temp_dir().join(format!("kg-{}-listed", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let gpg = Gpg(home);
        let key = ["--quick-gen-key", "Archive <a@example.org>", "ed25519"];
        gpg.run(&[&key[..], &["sign", "never"]].concat());
        gpg
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(&self.0);
        gpg.args(["--batch", "--yes", "--pinentry-mode", "loopback"]);
        gpg.args(["--passphrase", ""]).args(arguments);
        run(&mut gpg).stdout
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut end = Command::new("gpgconf");
        let _ = end
            .arg("--homedir")
            .arg(&self.0)
            .args(["--kill", "all"])
            .status();
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sha256(file: &Path) -> String {
    let sum = run(Command::new("sha256sum").arg(file)).stdout;
    String::from_utf8_lossy(&sum[..64]).into_owned()
}

/// Gives the system's apt a source, and lists of it that have the package.
fn list(system: &System, gpg: &Gpg) {
    let write = |path: &str, content: &[u8]| {
        let path = system.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    };
    write(
        "etc/apt/sources.list",
        b"deb http://192.0.2.1/debian stable main\n",
    );
    write("etc/apt/trusted.gpg", &gpg.run(&["--export"]));
    let native =
        b"Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n";
    let status = system.read("var/lib/dpkg/status");
    write("var/lib/dpkg/status", &[&native[..], &status].concat());
    let lists = "var/lib/apt/lists/192.0.2.1_debian_dists_stable_";
    let size = |file: &Path| fs::metadata(file).unwrap().len();
    let index = format!(
        "Package: sample\nVersion: 1.0-1\nArchitecture: all\nFilename: pool/sample.deb\nSize: {}\nSHA256: {}\n",
        size(&system.package),
        sha256(&system.package)
    );
    let index = write(
        &format!("{lists}main_binary-amd64_Packages"),
        index.as_bytes(),
    );
    let release = format!(
        "Suite: stable\nSHA256:\n {} {} main/binary-amd64/Packages\n",
        sha256(&index),
        size(&index)
    );
    let release = write("release", release.as_bytes());
    let signed = gpg.run(&["-o", "-", "--clearsign", release.to_str().unwrap()]);
    write(&format!("{lists}InRelease"), &signed);
}

/// Serves one file, whatever is asked for, until the test's process ends.
fn serve(file: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/sample.deb", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let content = fs::read(&file).unwrap();
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                content.len()
            );
            let _ = (&stream).write_all(&[head.as_bytes(), &content].concat());
        }
    });
    url
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// A .deb has no signature: what it gives beyond content is believed only for the index.
#[test]
fn lists_of_apt_vouch_for_a_package_file_and_so_for_rights() {
    let system = System::new();
    list(&system, &Gpg::new());
    let careful = system.path("usr/bin/careful");
    let file = system.package.to_str().unwrap().to_owned();
    let url = serve(system.package.clone());
    let told = |from: &str, more: &[&str]| {
        let arguments = [&["/usr/bin/careful", "--from", from], more].concat();
        let output = killed::child(&system.arguments(&arguments))
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    for from in [&file, &url] {
        fs::remove_file(&careful).unwrap();
        let would = told(from, &["--dry-run"]);
        assert!(would.contains("that names pool/sample.deb by"), "{would}");
        assert_eq!(would.contains("it is vouched for if"), from == &url);
        let did = told(from, &["--json"]);
        assert!(did.contains("that names pool/sample.deb by"), "{did}");
        assert!(did.contains("\"vouched\":true"), "{did}");
        assert_eq!(mode(&careful), 0o4755, "{did}");
    }
    // The same files in a package that somebody built anew.
    system.pack("1.0-1", |tree| fs::write(tree.join("new"), "").unwrap());
    for from in [&file, &url] {
        fs::remove_file(&careful).unwrap();
        let did = told(from, &["--json"]);
        assert!(
            did.contains("the signed index names another sample 1.0-1: it "),
            "{did}"
        );
        assert!(did.contains("\"vouched\":false"), "{did}");
        assert_eq!(
            (mode(&careful), system.read("usr/bin/careful")),
            (0o755, b"setuid".to_vec())
        );
    }
}
