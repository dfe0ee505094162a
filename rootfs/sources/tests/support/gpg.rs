//! The real gpg, with a home of its own.

// Not every test that has this uses all of it.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::path::PathBuf;
use std::process::Command;

/// A home of gpg's, which goes when this is dropped.
pub struct Gpg(PathBuf);

impl Gpg {
    pub fn new(name: &str) -> Gpg {
        // A socket's path must be short.
        let home = std::env::temp_dir().join(format!("kg-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&home, mode).unwrap();
        Gpg(home)
    }

    /// What gpg writes when it is run so.
    pub fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .arg("--homedir")
            .arg(&self.0)
            .args(["--batch", "--yes", "--pinentry-mode", "loopback"])
            .args(["--passphrase", "", "--trust-model", "always"])
            .args(arguments)
            .output()
            .expect("gpg runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {said}");
        output.stdout
    }

    /// A file for gpg to read.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A detached signature.
    pub fn detached(&self, data: &[u8], more: &[&str]) -> Vec<u8> {
        let file = self.file("data", data);
        let out = self.0.join("data.sig");
        let mut arguments = vec!["-o", out.to_str().unwrap()];
        arguments.extend(more);
        arguments.extend(["-b", &file]);
        self.run(&arguments);
        std::fs::read(out).unwrap()
    }

    /// A path in its home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.0)
            .args(["--kill", "all"])
            .status();
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
