//! Databases of rpm. SQLite's is made by rpm itself (Debian's package `rpm`). Berkeley DB's, which rpm cannot write any more but
//! still reads, is made of the same headers by Berkeley DB's own loader (`db5.3-util`). Debian's rpm is built without ndb: that
//! one is written here, as `lib/backend/ndb/rpmpkg.c` of rpm 4.18 does it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use kedge_sysroot::Sysroot;

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
touch %{buildroot}/var/log/tool.log %{buildroot}/usr/share/sorts/nothing %{buildroot}/usr/share/sorts/may-go
%files
%attr(4750, root, daemon) /usr/bin/tool
/usr/bin/link
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
            "ndb" => system.make_ndb(),
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

    /// Numbers and headers, by sqlite3 itself, out of the SQLite database, which is taken away.
    fn take_headers(&self) -> Vec<(u32, String)> {
        let mut sqlite = Command::new("sqlite3");
        sqlite.arg(self.database().join("rpmdb.sqlite"));
        let rows = run(sqlite.arg("select hnum, hex(blob) from Packages"));
        for entry in std::fs::read_dir(self.database()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        rows.lines()
            .map(|row| row.split_once('|').unwrap())
            .map(|(number, header)| (number.parse().unwrap(), header.to_lowercase()))
            .collect()
    }

    /// A hash in the byte order `order` (4321: big-endian; 0: this machine's) with pages of that size.
    pub(super) fn make_berkeley(&mut self, order: u32, page_size: u32) {
        let hex = |number: u32| {
            let bytes = if order == 4321 {
                number.to_be_bytes()
            } else {
                number.to_le_bytes()
            };
            bytes.map(|byte| format!("{byte:02x}")).concat()
        };
        let mut dump = String::from("VERSION=3\nformat=bytevalue\ntype=hash\n");
        dump += &format!("db_pagesize={page_size}\n");
        if order != 0 {
            dump += &format!("db_lorder={order}\n");
        }
        let headers = self.take_headers();
        // Number 0 has the highest number.
        dump += &format!("HEADER=END\n {}\n {}\n", hex(0), hex(headers.len() as u32));
        for (number, header) in headers {
            dump += &format!(" {}\n {header}\n", hex(number));
        }
        dump += "DATA=END\n";
        load(&dump, &self.database().join("Packages"));
        self.backend = "bdb_ro";
    }

    fn make_ndb(&mut self) {
        const SLOTS: usize = 4096;
        let mut file: Vec<u8> = [b"RpmP".as_slice(), &[0; 4]].concat();
        // Generation, pages of slots, the next number.
        for number in [3u32, 1, 3] {
            file.extend(number.to_le_bytes());
        }
        file.resize(SLOTS, 0);
        for slot in file[32..].chunks_exact_mut(16) {
            slot[..4].copy_from_slice(b"Slot");
        }
        for (index, (number, header)) in self.take_headers().into_iter().enumerate() {
            let header: Vec<u8> = header
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            let from = file.len();
            file.extend(b"BlbS");
            for number in [number, 3, header.len() as u32] {
                file.extend(number.to_le_bytes());
            }
            file.extend(&header);
            let end = (file.len() + 12).next_multiple_of(16);
            file.resize(end - 12, 0);
            let sum = adler32(&file[from..]);
            for number in [sum, header.len() as u32] {
                file.extend(number.to_le_bytes());
            }
            file.extend(b"BlbE");
            // The first slots that are used are not the first of all: one was freed.
            let slot = 32 + 16 * (index + 1);
            let numbers = [number, (from / 16) as u32, ((end - from) / 16) as u32];
            for (place, number) in numbers.into_iter().enumerate() {
                let at = slot + 4 + 4 * place;
                file[at..at + 4].copy_from_slice(&number.to_le_bytes());
            }
        }
        std::fs::write(self.database().join("Packages.db"), file).unwrap();
        self.backend = "ndb";
    }
}

/// As RFC 1950 defines it, without a thought for speed.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u64, 0u64);
    for &byte in bytes {
        a = (a + u64::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    (b << 16 | a) as u32
}

fn load(dump: &str, to: &Path) {
    use std::io::Write;
    let mut loader = Command::new("db5.3_load")
        .arg(to)
        .stdin(Stdio::piped())
        .spawn()
        .expect("db5.3_load (apt-get install db5.3-util)");
    loader
        .stdin
        .take()
        .unwrap()
        .write_all(dump.as_bytes())
        .unwrap();
    assert!(loader.wait().unwrap().success());
}
