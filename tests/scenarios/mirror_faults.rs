//! What can be wrong with a mirror, and with the disk that the file lies on: `repair` says what, and where, and what to do next; the file is
//! as it was, byte for byte, and nothing is left beside it. Then nothing is wrong any more, and the file is repaired.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::child::output;
use kedge_tests::keyring::new_key;
use kedge_tests::{Finished, Folder, ImageTool, Mirror, Network, Tree, Victim, scenario};

#[path = "mirror_faults/server.rs"]
mod server;

use server::{Fault, Server};

/// The file that is damaged, its package, and its folder.
const FILE: &str = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";
const PACKAGE: &str = "libssl3";
const BESIDE: &str = "/usr/lib/x86_64-linux-gnu";

const URL: &str = "http://192.0.2.1/debian";

/// Where what was replaced is kept.
const KEPT: &str = "var/lib/kedge/quarantine";

const PATIENCE: Duration = Duration::from_secs(120);

/// Exit codes of `repair`.
const REPAIRED: i32 = 0;
const NOT_REPAIRED: i32 = 1;
const REFUSED: i32 = 3;

/// A victim with a damaged library, and its mirror.
struct Bench {
    kedge: ImageTool,
    tree: Tree,
    mirror: Mirror,
    server: Server,
    network: Network,
    whole: Vec<u8>,
    damaged: Vec<u8>,
}

/// What must not change when nothing is repaired.
#[derive(PartialEq)]
struct State {
    /// Every name beside the file, and which inode it is.
    beside: BTreeMap<PathBuf, u64>,
    /// What is kept of files that were replaced.
    kept: Vec<PathBuf>,
    /// What is in the file.
    content: Vec<u8>,
}

impl Bench {
    /// With a victim's tree in the folder.
    fn new(folder: &Folder) -> Result<Self> {
        let tree = Victim::server()?.tree(&folder.path().join("tree"))?;
        Self::of(folder, tree)
    }

    fn of(folder: &Folder, tree: Tree) -> Result<Self> {
        let kedge = ImageTool::extract(folder.path())?;
        let network = Network::new(&folder.folder("network")?)?;
        let mirror = Victim::server()?.mirror(&folder.path().join("web"))?;
        let server = Server::start(&network, mirror.folder())?;
        let whole = tree.read(FILE)?;
        let mut damaged = whole.clone();
        for at in [1_000_000, 2_000_000] {
            damaged[at] ^= 1;
        }
        tree.write(FILE, &damaged)?;
        Ok(Self {
            kedge,
            tree,
            mirror,
            server,
            network,
            whole,
            damaged,
        })
    }

    fn repair(&self, more: &[&str]) -> Result<Finished> {
        let mut arguments = vec!["repair", self.tree.text()?, FILE, "--from", URL];
        arguments.extend(more);
        let lan = self.network.lan();
        self.kedge.run_at(Some(lan), &arguments, PATIENCE)
    }

    fn state(&self) -> Result<State> {
        let names = |folder: &str| -> Result<BTreeMap<PathBuf, u64>> {
            let place = self.tree.path().join(folder.trim_start_matches('/'));
            let entries = match fs::read_dir(&place) {
                Ok(entries) => entries,
                Err(_) => return Ok(BTreeMap::new()),
            };
            entries
                .map(|entry| {
                    let path = entry?.path();
                    Ok((path.clone(), path.symlink_metadata()?.ino()))
                })
                .collect()
        };
        let kept = names(KEPT)?.into_keys().collect();
        Ok(State {
            beside: names(BESIDE)?,
            kept,
            content: self.tree.read(FILE)?,
        })
    }

    /// It ends with `exit` and says all of `words`; the file is as it was, and nothing is left.
    fn fails(&self, what: &str, more: &[&str], exit: i32, words: &[&str]) -> Result<()> {
        let before = self.state()?;
        ensure!(
            before.content == self.damaged,
            "{what}: it is repaired already"
        );
        let said = self.repair(more)?;
        // What becomes of a file is data, what hinders all of them is not.
        let text = format!("{}{}", said.text(), said.stderr);
        println!("--- {what}: {:?}\n{}", said.status, text.trim_end());
        ensure!(
            said.status == Some(exit),
            "{what}: ended with {:?}",
            said.status
        );
        // Where lines are broken depends on how long paths are.
        let in_one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            let told = in_one_line.contains(word);
            ensure!(told, "{what}: not said is {word:?}: {text}");
        }
        ensure!(
            self.state()? == before,
            "{what}: something was changed or left behind"
        );
        Ok(())
    }

    /// Nothing is wrong any more: what was wrong is what hindered it.
    fn is_repaired(&self, more: &[&str]) -> Result<()> {
        let said = self.repair(more)?;
        let text = format!("{}{}", said.text(), said.stderr);
        ensure!(said.status == Some(REPAIRED), "{:?}: {text}", said.status);
        ensure!(self.tree.read(FILE)? == self.whole, "it is not repaired");
        Ok(())
    }

    /// A package's file, to be changed: it is a link to that of all mirrors.
    fn own_package(&self, name: &str) -> Result<PathBuf> {
        let path = self.mirror.package(name)?;
        let content = fs::read(&path)?;
        fs::remove_file(&path)?;
        fs::write(&path, content)?;
        Ok(path)
    }

    fn index(&self) -> PathBuf {
        let folder = self.mirror.folder();
        folder.join("debian/dists/bookworm/main/binary-amd64/Packages.xz")
    }

    fn signed(&self) -> PathBuf {
        self.mirror.folder().join("debian/dists/bookworm/InRelease")
    }
}

/// One byte is another one.
fn change(path: &Path, at: usize) -> Result<()> {
    let mut bytes = fs::read(path)?;
    bytes[at] ^= 1;
    Ok(fs::write(path, bytes)?)
}

#[test]
fn a_package_that_is_not_what_the_index_says_is_not_taken() {
    scenario(|folder: &Folder| {
        let bench = Bench::new(folder)?;
        let package = bench.own_package(PACKAGE)?;
        let whole = fs::read(&package)?;
        let name = package.file_name().context("a name")?.to_string_lossy();
        let url = format!("{URL}/pool/{name}");
        let next = "nothing was changed; --from names another mirror";
        let hash = [url.as_str(), "it is sha256:", next];

        change(&package, whole.len() / 2)?;
        bench.fails("one bit of it is another", &[], NOT_REPAIRED, &hash)?;
        fs::write(&package, &whole[..whole.len() - 1000])?;
        let length = [url.as_str(), "bytes, not", next];
        bench.fails("it is shorter", &[], NOT_REPAIRED, &length)?;
        fs::write(&package, [&whole[..], b"more"].concat())?;
        let longer = [url.as_str(), "it is longer than", next];
        bench.fails("it is longer", &[], NOT_REPAIRED, &longer)?;
        fs::copy(bench.mirror.package("libwrap0")?, &package)?;
        bench.fails("it is another one", &[], NOT_REPAIRED, &length)?;
        fs::remove_file(&package)?;
        let gone = [url.as_str(), "no longer there", next];
        bench.fails("it is not there", &[], NOT_REPAIRED, &gone)?;

        fs::write(&package, &whole)?;
        bench.is_repaired(&[])?;
        fs::remove_dir_all(bench.tree.path())?;
        Ok(())
    });
}

#[test]
fn an_index_that_its_key_did_not_sign_is_not_believed() {
    scenario(|folder: &Folder| {
        let bench = Bench::new(folder)?;
        let index = bench.index();
        let (whole, signed) = (fs::read(&index)?, fs::read(bench.signed())?);
        let next = "nothing was changed; --from names another mirror";
        let of_index = [URL, "Packages.xz: it is sha256:", next];
        change(&index, whole.len() / 2)?;
        bench.fails("the index is another", &[], NOT_REPAIRED, &of_index)?;
        fs::write(&index, &whole)?;

        let of_signature = [URL, "InRelease: signature by", "was changed since", next];
        let at = signed
            .windows(6)
            .position(|word| word == b"SHA256")
            .context("there are checksums")?;
        change(&bench.signed(), at + 20)?;
        bench.fails(
            "what is signed was changed",
            &[],
            NOT_REPAIRED,
            &of_signature,
        )?;
        let keys = folder.folder("keys")?;
        new_key(&keys, "other.asc")?;
        bench.mirror.publish(Some(&keys.join("other.asc")), None)?;
        bench.fails(
            "somebody else signed it",
            &[],
            NOT_REPAIRED,
            &[URL, "InRelease: signature by", "no such key", next],
        )?;
        fs::write(bench.signed(), "<html>")?;
        let unsigned = [URL, "InRelease: it does not begin with", next];
        bench.fails("nobody signed it", &[], NOT_REPAIRED, &unsigned)?;

        bench
            .mirror
            .publish(None, Some("Sat, 01 Jan 2022 00:00:00 UTC"))?;
        let expired = [URL, "Valid-Until", "2022", "--accept-expired"];
        bench.fails("it expired", &[], NOT_REPAIRED, &expired)?;
        bench.is_repaired(&["--accept-expired"])?;
        fs::remove_dir_all(bench.tree.path())?;
        Ok(())
    });
}

#[test]
fn a_version_that_is_gone_is_told_and_another_one_is_only_offered() {
    scenario(|folder: &Folder| {
        let bench = Bench::new(folder)?;
        let package = bench.own_package(PACKAGE)?;
        bench.own_package("libwrap0")?;
        let name = package.file_name().context("a name")?.to_owned();
        let installed = name
            .to_str()
            .and_then(|name| name.split('_').nth(1))
            .context("a version")?
            .to_owned();
        // The same with another number, as an update has.
        let unpacked = folder.path().join("unpacked");
        let mut unpack = Command::new("dpkg-deb");
        output(unpack.arg("-R").arg(&package).arg(&unpacked), None)?;
        let control = unpacked.join("DEBIAN/control");
        let text = fs::read_to_string(&control)?;
        fs::write(&control, text.replace(&installed, "3.0.99-1"))?;
        let away = folder.path().join("away.deb");
        fs::rename(&package, &away)?;
        let newer = package.with_file_name("libssl3_3.0.99-1_amd64.deb");
        let mut pack = Command::new("dpkg-deb");
        pack.args(["-Zgzip", "-z1", "-b"]).arg(&unpacked);
        output(pack.arg(&newer), None)?;
        bench.mirror.index()?;
        bench.mirror.publish(None, None)?;
        let offer = format!("3.0.99-1 at {URL}/pool/libssl3_3.0.99-1_amd64.deb");
        let words = [
            installed.as_str(),
            "any more",
            &offer,
            "--from PACKAGE-FILE",
        ];
        bench.fails("its version is gone", &[], NOT_REPAIRED, &words)?;

        fs::remove_file(&newer)?;
        bench.mirror.index()?;
        bench.mirror.publish(None, None)?;
        let gone = [PACKAGE, "no source has it", URL, "--from names another"];
        bench.fails("the package is gone", &[], NOT_REPAIRED, &gone)?;

        fs::rename(&away, &package)?;
        bench.mirror.index()?;
        bench.mirror.publish(None, None)?;
        bench.is_repaired(&[])?;
        fs::remove_dir_all(bench.tree.path())?;
        Ok(())
    });
}

#[test]
fn a_page_to_log_in_is_no_package_and_no_index() {
    scenario(|folder: &Folder| {
        let bench = Bench::new(folder)?;
        for ending in [".deb", "Packages.xz", "InRelease"] {
            bench.server.breaks(ending, Fault::Redirected);
            let what = format!("a page instead of {ending}");
            let words = [URL, ending, "portal", "nothing was changed; --from names"];
            bench.fails(&what, &[], NOT_REPAIRED, &words)?;
        }
        bench.server.is_whole();
        bench.is_repaired(&[])?;
        fs::remove_dir_all(bench.tree.path())?;
        Ok(())
    });
}

#[test]
fn a_connection_may_be_cut_anywhere() {
    scenario(|folder: &Folder| {
        let bench = Bench::new(folder)?;
        let size = fs::metadata(bench.mirror.package(PACKAGE)?)?.len();
        for tenth in 0..10 {
            let end = size * tenth / 10;
            bench.server.breaks(".deb", Fault::EndsAt(end));
            let what = format!("no connection gives more than {end} of {size} bytes");
            // The last of several tries goes on behind what came before, and gets nothing.
            let told = format!("it ended after 0 of {} bytes", size - end);
            let words = [URL, "libssl3", &told, "nothing was changed; --from names"];
            bench.fails(&what, &[], NOT_REPAIRED, &words)?;
        }
        // Where each connection gives a tenth more, it goes on where the one before ended.
        let before = bench.server.asked_for(".deb");
        bench
            .server
            .breaks(".deb", Fault::Pieces(size.div_ceil(10)));
        bench.is_repaired(&[])?;
        let asked = bench.server.asked_for(".deb") - before;
        ensure!((10..=12).contains(&asked), "it was asked {asked} times");
        fs::remove_dir_all(bench.tree.path())?;
        Ok(())
    });
}

/// Fills the file system that `place` is on, but for `left` bytes.
fn fill(place: &Path, left: u64) -> Result<()> {
    let file = File::create(place)?;
    let mut length = 0;
    for step in [64 << 20, 1 << 20, 64 << 10, 4 << 10] {
        let flags = rustix::fs::FallocateFlags::empty();
        while rustix::fs::fallocate(&file, flags, length, step).is_ok() {
            length += step;
        }
    }
    ensure!(length > left, "there was no room to fill");
    file.set_len(length - left)?;
    Ok(file.sync_all()?)
}

#[test]
fn a_disk_that_is_full_or_read_only_is_left_as_it_is() {
    scenario(|folder: &Folder| {
        let disk = Victim::server()?.disk(&folder.path().join("disk.img"))?;
        let mounted = disk.mount(&folder.path().join("mounted"))?;
        let bench = Bench::of(folder, Tree::at(mounted.path())?)?;

        let filling = mounted.path().join("filling");
        // Not one block; not enough for the new file; enough for it, and hardly more.
        for left in [0, 1 << 20, 4 << 20] {
            fill(&filling, left)?;
            let what = format!("{left} bytes are free");
            let words = ["No space left", "as it was", "make room"];
            bench.fails(&what, &[], NOT_REPAIRED, &words)?;
        }
        fs::remove_file(&filling)?;

        let mount = |how: &str| {
            let mut mount = Command::new("mount");
            mount.args(["-o", how]).arg(mounted.path());
            output(&mut mount, None)
        };
        mount("remount,ro")?;
        let point = mounted.path().to_str().context("a text")?;
        let words = [point, "read-only", "remount,rw"];
        bench.fails("it is read-only", &[], REFUSED, &words)?;
        bench.fails("nobody may insist", &["--force"], REFUSED, &words)?;
        mount("remount,rw")?;
        bench.is_repaired(&[])?;
        drop(bench);
        drop(mounted);
        disk.check()?;
        fs::remove_file(disk.path())?;
        Ok(())
    });
}
