//! Databases of rpm, made by rpm itself (Debian's package `rpm`); [`kinds`] makes those of its kinds that it cannot write.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use kedge_sysroot::Sysroot;

use super::kinds;

/// Files of every sort that a package can have.
const SORTS: &str = r#"
Name: sorts
Version: 2.1
Release: 3%{?dist}
Epoch: 7
Summary: one file of each sort
License: MIT
%description
-
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc %{buildroot}/usr/share/sorts/empty %{buildroot}/var/log
echo program > %{buildroot}/usr/bin/tool
ln -s tool %{buildroot}/usr/bin/link
echo setting > %{buildroot}/etc/tool.conf
echo free > %{buildroot}/usr/share/sorts/free
echo there > '%{buildroot}/usr/share/sorts/with blank'
echo raw > %{buildroot}/usr/bin/capable
echo bound > %{buildroot}/usr/bin/uncompared
touch %{buildroot}/var/log/tool.log %{buildroot}/usr/share/sorts/nothing %{buildroot}/usr/share/sorts/may-go
%files
%attr(4750, root, daemon) /usr/bin/tool
/usr/bin/link
%caps(cap_net_raw,cap_net_admin=ep) /usr/bin/capable
%verify(not caps) %caps(cap_setuid=ep) /usr/bin/uncompared
%config(noreplace) /etc/tool.conf
%dir %attr(0700, nobody, nogroup) /usr/share/sorts
%dir /usr/share/sorts/empty
%verify(not md5 size mode owner group) /usr/share/sorts/free
"/usr/share/sorts/with blank"
/usr/share/sorts/nothing
%config(missingok) /usr/share/sorts/may-go
%ghost /var/log/tool.log
"#;

/// So many files that its header takes many pages; SHA-1, as somebody may choose.
const MANY: &str = r"
Name: many
Version: 1
Release: 1
Summary: many files
License: MIT
BuildArch: noarch
%define _binary_filedigest_algorithm 2
%description
-
%install
for d in a b c; do
  mkdir -p %{buildroot}/usr/share/many/$d
  for i in $(seq 400); do echo $d $i > %{buildroot}/usr/share/many/$d/a-file-with-a-long-name-$i; done
done
%files
/usr/share/many
";

pub(super) fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().unwrap_or_else(|error| {
        panic!("{command:?}: {error} (apt-get install rpm db5.3-util sqlite3)")
    });
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The package files, made once and kept in memory: a static is never dropped, nor would its folder be.
fn package_files() -> &'static [Vec<u8>] {
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (name, spec) in [("sorts", SORTS), ("many", MANY)] {
            let path = folder.path().join(name).with_extension("spec");
            std::fs::write(&path, spec).unwrap();
            let top = format!("_topdir {}", folder.path().display());
            let mut rpmbuild = Command::new("rpmbuild");
            rpmbuild.args(["-bb", "--quiet", "--define", &top]);
            rpmbuild.args(["--define", "_binary_payload w0.ufdio"]);
            run(rpmbuild.arg(&path));
        }
        for arch in std::fs::read_dir(folder.path().join("RPMS")).unwrap() {
            for file in std::fs::read_dir(arch.unwrap().path()).unwrap() {
                files.push(std::fs::read(file.unwrap().path()).unwrap());
            }
        }
        assert_eq!(files.len(), 2);
        files
    })
}

/// Where the database of a system is.
pub(super) struct System {
    pub(super) folder: tempfile::TempDir,
    backend: &'static str,
}

impl System {
    /// With both packages in a database of the kind `backend`: `sqlite`, `ndb`, `bdb`.
    pub(super) fn new(backend: &str) -> System {
        let mut system = System::empty();
        for file in package_files() {
            let mut rpm = system.rpm();
            rpm.args([
                "--install",
                "--justdb",
                "--nodeps",
                "--noscripts",
                "--notriggers",
            ]);
            let path = system.folder.path().join("one.rpm");
            std::fs::write(&path, file).unwrap();
            run(rpm.arg(&path));
            std::fs::remove_file(path).unwrap();
        }
        match backend {
            "ndb" => {
                kinds::make_ndb(&system.database());
                system.backend = "ndb";
            }
            "bdb" => system.make_berkeley(0, 4096),
            _ => {}
        }
        system
    }

    pub(super) fn empty() -> System {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("var/lib/rpm")).unwrap();
        let system = System {
            folder,
            backend: "sqlite",
        };
        run(system.rpm().arg("--initdb"));
        system
    }

    pub(super) fn rpm(&self) -> Command {
        let mut rpm = Command::new("rpm");
        rpm.arg("--dbpath").arg(self.database());
        rpm.args(["--define", &format!("_db_backend {}", self.backend)]);
        rpm
    }

    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("var/lib/rpm")
    }

    pub(super) fn root(&self) -> Sysroot {
        Sysroot::open(self.folder.path()).unwrap()
    }

    pub(super) fn make_berkeley(&mut self, order: u32, page_size: u32) {
        kinds::make_berkeley(&self.database(), order, page_size);
        self.backend = "bdb_ro";
    }
}
