//! What is said of files that somebody changed on purpose, or that a disk lost blocks of, beside dpkg's own database.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kedge_digest::{Algorithm, Hasher};
use kedge_sysroot::Sysroot;

use crate::{Examined, Gravity, examine};

/// A system with packages; removed with it.
pub(crate) struct Small(PathBuf);

impl Small {
    /// `packages` has the files of each, as they are in the package.
    pub(crate) fn new(name: &str, packages: &BTreeMap<String, Vec<(String, Vec<u8>)>>) -> Small {
        let folder =
            std::env::temp_dir().join(format!("kedge-doctor-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let info = folder.join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        let mut status = String::new();
        for (package, files) in packages {
            status += &format!(
                "Package: {package}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n"
            );
            let (mut list, mut sums) = (String::from("/.\n"), String::new());
            for (path, content) in files {
                let place = folder.join(path);
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(place, content).unwrap();
                let mut hasher = Hasher::new(Algorithm::Md5);
                hasher.update(content);
                let digest = hasher.finish().to_string();
                list += &format!("/{path}\n");
                sums += &format!("{}  {path}\n", digest.trim_start_matches("md5:"));
            }
            fs::write(info.join(format!("{package}.list")), list).unwrap();
            fs::write(info.join(format!("{package}.md5sums")), sums).unwrap();
        }
        fs::write(folder.join("var/lib/dpkg/status"), status).unwrap();
        Small(folder)
    }

    pub(crate) fn root(&self) -> Sysroot {
        Sysroot::open(&self.0).unwrap()
    }

    /// A name more in the list of a package, without a checksum.
    pub(crate) fn list(&self, package: &str, path: &str) {
        let list = self.path(&format!("var/lib/dpkg/info/{package}.list"));
        let known = fs::read_to_string(&list).unwrap();
        fs::write(list, format!("{known}/{path}\n")).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn examined(&self, path: &str) -> Examined {
        let root = self.root();
        let databases = kedge_packages::open(&root).unwrap();
        examine(&root, &databases, Path::new(path)).unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn one(path: &str, content: Vec<u8>) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    BTreeMap::from([("one".into(), vec![(path.into(), content)])])
}

fn run(program: &str, arguments: &[&str], file: &Path) {
    let done = Command::new(program).args(arguments).arg(file).status();
    assert!(done.unwrap().success(), "{program}");
}

/// This very program, with symbols and without what a debugger wants.
fn program() -> Vec<u8> {
    let copy = std::env::temp_dir().join(format!("kedge-doctor-{}-self", std::process::id()));
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    run("strip", &["--strip-debug"], &copy);
    let bytes = fs::read(&copy).unwrap();
    fs::remove_file(copy).unwrap();
    bytes
}

fn said(examined: &Examined) -> String {
    let texts = examined.oddities.iter().map(|oddity| oddity.text.as_str());
    texts.collect::<Vec<_>>().join("; ")
}

#[test]
fn what_was_stripped_or_prelinked_by_hand_is_said() {
    let small = Small::new("hand", &one("usr/bin/x", program()));
    let file = small.path("usr/bin/x");
    assert_eq!(small.examined("usr/bin/x").gravity(), Gravity::Whole);
    let whole = fs::read(&file).unwrap();

    run("strip", &[], &file);
    let stripped = small.examined("usr/bin/x");
    assert!(said(&stripped).contains("stripped by hand"), "{stripped:?}");
    assert_eq!(stripped.elf, [], "what is loaded is the same");

    fs::write(&file, &whole).unwrap();
    let undo = small.path("undo");
    fs::write(&undo, "x").unwrap();
    let section = format!("--add-section=.gnu.prelink_undo={}", undo.display());
    run("objcopy", &[&section], &file);
    let prelinked = small.examined("usr/bin/x");
    assert!(said(&prelinked).contains("prelink"), "{prelinked:?}");

    // A flipped bit in the code is neither.
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 4;
    fs::write(&file, flipped).unwrap();
    let flipped = small.examined("usr/bin/x");
    assert!(
        flipped.is_damaged() && !said(&flipped).contains("hand"),
        "{flipped:?}"
    );
}

#[test]
fn a_block_of_zeros_in_a_text_is_told_with_its_place() {
    let text = "a line of a configuration file\n".repeat(1000).into_bytes();
    let small = Small::new("zeros", &one("usr/share/text", text.clone()));
    let mut lost = text.clone();
    lost[8192..16384].fill(0);
    fs::write(small.path("usr/share/text"), lost).unwrap();
    let examined = small.examined("usr/share/text");
    assert!(
        said(&examined).contains("8192 bytes from byte 8192"),
        "{examined:?}"
    );
    fs::write(small.path("usr/share/text"), vec![0; text.len()]).unwrap();
    let examined = small.examined("usr/share/text");
    assert!(said(&examined).contains("31000 zero bytes"), "{examined:?}");

    // What the package itself has so is no damage.
    let mut meant = text;
    meant[8192..16384].fill(0);
    let small = Small::new("meant", &one("usr/share/text", meant));
    assert_eq!(small.examined("usr/share/text").gravity(), Gravity::Whole);
}
