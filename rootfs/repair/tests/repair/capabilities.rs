//! File capabilities that rpm's database knows, and that were lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kedge_doctor::{Gravity, examine};
use kedge_sysroot::Sysroot;

use crate::fixture::{folder, run};
use crate::killed;

const PING: &str = "usr/bin/ping";

/// A system with one package, installed by the real rpm.
struct System {
    folder: PathBuf,
    root: PathBuf,
}

impl System {
    fn new() -> System {
        let folder = folder();
        let root = folder.join("root");
        let system = System { folder, root };
        let package = system.pack("cap_net_raw=ep");
        let root = system.root.to_str().unwrap();
        let database = ["--root", root, "--define", "_dbpath /var/lib/rpm"];
        // A package outside of its root cannot be installed with --root.
        fs::copy(package, system.root.join("one.rpm")).unwrap();
        run(Command::new("rpm")
            .args(database)
            .args(["--install", "--nodeps"])
            .arg(system.root.join("one.rpm")));
        fs::remove_file(system.root.join("one.rpm")).unwrap();
        system
    }

    /// The package, with these capabilities.
    fn pack(&self, capabilities: &str) -> PathBuf {
        let spec = format!(
            "Name: ping\nVersion: 1\nRelease: 1\nSummary: -\nLicense: MIT\nBuildArch: noarch\n\
             %global __os_install_post %nil\n%description\n-\n%install\nmkdir -p %{{buildroot}}/usr/bin\n\
             echo ping >%{{buildroot}}/{PING}\nchmod 755 %{{buildroot}}/{PING}\ntouch -d @1700000000 %{{buildroot}}/{PING}\n\
             %files\n%defattr(-, root, root)\n%caps({capabilities}) /{PING}\n"
        );
        let path = self.folder.join("ping.spec");
        fs::write(&path, spec).unwrap();
        let top = format!("_topdir {}", self.folder.join("rpmbuild").display());
        let build = ["-bb", "--quiet", "--define", &top];
        run(Command::new("rpmbuild")
            .args(build)
            .args(["--define", "_binary_payload w0.ufdio"])
            .arg(path));
        self.folder.join("rpmbuild/RPMS/noarch/ping-1-1.noarch.rpm")
    }

    fn ping(&self) -> PathBuf {
        self.root.join(PING)
    }

    /// What `repair ROOT ARGUMENTS --from PACKAGE` says.
    fn repair(&self, package: &Path, arguments: &[&str]) -> String {
        let from = ["--from", package.to_str().unwrap()];
        let root = [self.root.to_str().unwrap()];
        let arguments = [&root, arguments, &from].concat();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let output = killed::child(&arguments).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// How bad the doctor thinks it is.
    fn gravity(&self) -> Gravity {
        let root = Sysroot::open(&self.root).unwrap();
        let databases = kedge_packages::open(&root).unwrap();
        examine(&root, &databases, Path::new(PING))
            .unwrap()
            .gravity()
    }

    /// What rpm finds.
    fn verified(&self) -> String {
        let root = self.root.to_str().unwrap();
        let mut rpm = Command::new("rpm");
        rpm.args(["--root", root, "--define", "_dbpath /var/lib/rpm"]);
        let output = rpm.args(["--verify", "ping"]).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn capabilities(path: &Path) -> String {
    let shown = run(Command::new("getcap").arg(path)).stdout;
    let shown = String::from_utf8(shown).unwrap();
    shown
        .split_once(' ')
        .map_or_else(String::new, |(_, told)| told.trim().into())
}

#[test]
fn lost_capabilities_are_put_back_where_all_else_is_right() {
    let system = System::new();
    let ping = system.ping();
    let package = system.pack("cap_net_raw=ep");
    assert_eq!(capabilities(&ping), "cap_net_raw=ep");
    assert_eq!(system.verified(), "");
    for lost in ["-r", "cap_net_raw,cap_setuid=ep"] {
        run(Command::new("setcap").arg(lost).arg(&ping));
        assert_eq!(system.verified(), "........P    /usr/bin/ping\n");
        assert_eq!(system.gravity(), Gravity::Rights);
        let told = system.repair(&package, &["--all-damaged"]);
        assert!(told.contains("repaired: /usr/bin/ping"), "{told}");
        let was = ["none", "cap_setuid,cap_net_raw=ep"][usize::from(lost != "-r")];
        let was = format!("capabilities was {was}; ping says cap_net_raw=ep");
        assert!(
            told.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .contains(&was),
            "{told}"
        );
        assert_eq!(system.verified(), "");
    }
    let told = system.repair(&package, &["--all-damaged"]);
    assert!(told.contains("nothing is damaged"), "{told}");
}

/// rpm's database says what a program may do, whoever made the package that it comes from.
#[test]
fn a_package_that_nobody_vouches_for_gives_the_capabilities_of_the_database() {
    let system = System::new();
    let ping = system.ping();
    let package = system.pack("cap_setuid=ep");
    for damage in ["-r", "missing", "other"] {
        match damage {
            "missing" => fs::remove_file(&ping).unwrap(),
            "other" => fs::write(&ping, "p1ng\n").unwrap(),
            lost => drop(run(Command::new("setcap").arg(lost).arg(&ping))),
        }
        let told = system.repair(&package, &["/usr/bin/ping", "--json"]);
        assert!(told.contains("\"vouched\":false"), "{told}");
        assert!(
            told.contains(
                "{\"kind\":\"capabilities\",\"is\":\"none\",\"must\":\"cap_net_raw=ep\"}"
            ) || damage == "missing",
            "{told}"
        );
        assert_eq!(capabilities(&ping), "cap_net_raw=ep", "{damage}: {told}");
        assert_eq!(system.verified(), "");
    }
}
