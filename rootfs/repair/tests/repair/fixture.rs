//! A system with one package, installed by the real dpkg, and a machine that repairs it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use kedge_repair::Place;

/// What the library in the package is made of.
pub(crate) const LIBRARY: &str = "usr/lib/libsample.so.1";

/// A folder that goes when it is dropped.
pub(crate) struct System {
    folder: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) package: PathBuf,
}

impl System {
    /// The sample package, installed.
    pub(crate) fn new() -> System {
        let folder = folder();
        let root = folder.join("root");
        System::at(folder, root)
    }

    /// The same, where `root` is a place that exists.
    pub(crate) fn at(folder: PathBuf, root: PathBuf) -> System {
        let system = System {
            package: folder.join("sample.deb"),
            folder,
            root,
        };
        system.pack("1.0-1", |_| {});
        for folder in [
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/log",
            "etc",
        ] {
            fs::create_dir_all(system.root.join(folder)).unwrap();
        }
        fs::write(system.root.join("var/lib/dpkg/status"), "").unwrap();
        fs::write(
            system.root.join("etc/passwd"),
            "root:x:0:0:::\nkeeper:x:123:45:::\n",
        )
        .unwrap();
        fs::write(system.root.join("etc/group"), "root:x:0:\nkeeper:x:45:\n").unwrap();
        system.install();
        system
    }

    /// Makes the package, after `change` was made to its files.
    pub(crate) fn pack(&self, version: &str, change: impl Fn(&Path)) {
        let tree = self.folder.join("tree");
        let _ = fs::remove_dir_all(&tree);
        let write = |path: &str, content: &[u8], mode: u32| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let library: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        write(LIBRARY, &library, 0o644);
        write("usr/bin/tool", b"#!/bin/sh\necho tool\n", 0o755);
        write("usr/bin/careful", b"setuid", 0o4755);
        write("usr/share/sample/deep/er/data", b"data", 0o600);
        write("etc/sample.conf", b"as packaged\n", 0o644);
        write("DEBIAN/conffiles", b"/etc/sample.conf\n", 0o644);
        let control = format!(
            "Package: sample\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n"
        );
        write("DEBIAN/control", control.as_bytes(), 0o644);
        fs::hard_link(tree.join("usr/bin/tool"), tree.join("usr/bin/twin")).unwrap();
        symlink("libsample.so.1", tree.join("usr/lib/libsample.so")).unwrap();
        // Before the change, so that a package can be made that differs from its own checksums.
        let sums = run(Command::new("sh").current_dir(&tree).args([
            "-c",
            "find usr -type f -exec md5sum {} + && find . -exec touch -hd @1700000000 {} +",
        ]));
        fs::write(tree.join("DEBIAN/md5sums"), sums.stdout).unwrap();
        change(&tree);
        let pack = ["--root-owner-group", "-Zxz", "-z0", "-b"];
        run(Command::new("dpkg-deb")
            .args(pack)
            .arg(&tree)
            .arg(&self.package));
    }

    /// By the real dpkg.
    pub(crate) fn install(&self) {
        let root = format!("--root={}", self.root.display());
        let force = [
            "--force-not-root",
            "--force-downgrade",
            "--log=/dev/null",
            "-i",
        ];
        run(Command::new("dpkg")
            .arg(root)
            .args(force)
            .arg(&self.package));
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap()
    }

    /// Flips a bit in the middle.
    pub(crate) fn damage(&self, path: &str) -> Vec<u8> {
        let mut bytes = self.read(path);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(self.path(path), &bytes).unwrap();
        bytes
    }

    /// Runs `repair ROOT ARGUMENTS --from PACKAGE`.
    pub(crate) fn repair(&self, arguments: &[&str]) -> u8 {
        let package = self.package.to_str().unwrap().to_string();
        self.repair_from(&[arguments, &["--from", &package]].concat())
    }

    /// Runs `repair ROOT ARGUMENTS`.
    pub(crate) fn repair_from(&self, arguments: &[&str]) -> u8 {
        kedge_repair::run(&self.place(""), &self.arguments(arguments))
    }

    /// The same by a process of its own: what it says.
    pub(crate) fn told(&self, arguments: &[&str]) -> String {
        let package = self.package.to_str().unwrap();
        let arguments = self.arguments(&[arguments, &["--from", package]].concat());
        let output = crate::killed::child(&arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    pub(crate) fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let root = self.root.to_str().unwrap();
        [&[root], arguments]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// A machine whose kernel says `log`.
    pub(crate) fn place(&self, log: &str) -> Place {
        let kernel_log = self.folder.join("kmsg");
        fs::write(&kernel_log, log).unwrap();
        Place {
            sys: "/sys".into(),
            kernel_log,
        }
    }

    /// Whether everything is as the package has it, and nothing is left lying about.
    pub(crate) fn is_whole(&self) {
        let sums = self.path("var/lib/dpkg/info/sample.md5sums");
        let check = ["--quiet", "--strict", "-c"];
        run(Command::new("md5sum")
            .args(check)
            .arg(sums)
            .current_dir(&self.root));
        assert_eq!(
            fs::read_link(self.path("usr/lib/libsample.so")).unwrap(),
            Path::new("libsample.so.1")
        );
        self.is_tidy();
    }

    pub(crate) fn is_tidy(&self) {
        let all = run(Command::new("find")
            .arg(&self.root)
            .args(["-name", ".kedge-*"]));
        assert_eq!(String::from_utf8_lossy(&all.stdout), "");
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder of its own for each test.
pub(crate) fn folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("kedge-repair-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("root")).unwrap();
    folder
}

/// Runs it to a good end.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    output
}
