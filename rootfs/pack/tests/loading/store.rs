//! A store of packs and a system to load them into, both in a folder: archives by xz and cpio as Debian has
//! them, a medium by xorriso, devices that are files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kedge_pack_index::{Group, Index, Pack, Program};
use ring::digest::{SHA256, digest};

/// The folder, removed at the end.
pub(crate) struct Scene {
    pub(crate) folder: PathBuf,
    pub(crate) root: PathBuf,
    /// The folder with NAME.cpio.xz.
    pub(crate) packs: PathBuf,
    pub(crate) index: Index,
}

/// What a group holds.
pub(crate) enum Node {
    File(&'static str, Vec<u8>),
    Link(&'static str, &'static str),
}

/// Bytes that xz makes no shorter.
pub(crate) fn noise(length: usize, mut seed: u64) -> Vec<u8> {
    (0..length)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .collect()
}

impl Scene {
    /// Packs `tools` and `more`. Groups: 0 libc (shared, with an ELF so that the filter has work), 1 alpha, 2 beta
    /// (large), 3 gamma. Built-in: none.
    pub(crate) fn new(name: &str) -> Scene {
        let folder = std::env::temp_dir().join(format!("kedge-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let root = folder.join("root");
        for path in [
            "bin",
            "etc/kedge",
            "lib",
            "usr",
            "run",
            "proc",
            "dev",
            "sys/class/block",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        symlink("bin", root.join("sbin")).unwrap();
        symlink("../lib", root.join("usr/lib")).unwrap();
        fs::write(root.join("bin/kedge"), "kedge").unwrap();
        symlink("kedge", root.join("bin/alpha")).unwrap();
        let groups = [
            (
                0,
                vec![
                    Node::File("lib/libc.so.6", fs::read("/bin/ls").unwrap()),
                    Node::Link("lib/libc.so", "libc.so.6"),
                ],
            ),
            (
                1,
                vec![Node::File("bin/alpha", b"#!/bin/sh\necho alpha\n".to_vec())],
            ),
            (
                1,
                vec![
                    Node::File("bin/beta", noise(600_000, 7)),
                    Node::File("usr/lib/beta.conf", b"beta\n".to_vec()),
                ],
            ),
            (1, vec![Node::File("sbin/gamma", noise(300_000, 9))]),
        ];
        let names = ["shared", "tools"];
        let packs = folder.join("packs");
        fs::create_dir_all(&packs).unwrap();
        let mut archives = vec![Vec::new(); names.len()];
        let mut index = Index {
            id: "0123456789abcdef0123456789abcdef".into(),
            archives: names.iter().map(ToString::to_string).collect(),
            ..Index::default()
        };
        for (number, (archive, nodes)) in groups.into_iter().enumerate() {
            let (packed, unpacked) = group(&folder.join(format!("group{number}")), nodes);
            let bytes = &mut archives[archive];
            let mut sha256 = [0; 32];
            sha256.copy_from_slice(digest(&SHA256, &packed).as_ref());
            index.groups.push(Group {
                archive,
                offset: bytes.len() as u64,
                packed: packed.len() as u64,
                unpacked,
                sha256,
            });
            bytes.extend(packed);
        }
        for (name, bytes) in names.iter().zip(archives) {
            fs::write(packs.join(format!("{name}.cpio.xz")), bytes).unwrap();
        }
        for (name, summary) in [("tools", "alpha and beta"), ("more", "gamma")] {
            let (name, summary) = (name.into(), summary.into());
            index.packs.push(Pack { name, summary });
        }
        for (pack, name, groups) in [
            (0, "alpha", vec![0, 1]),
            (0, "beta", vec![0, 2]),
            (1, "gamma", vec![0, 3]),
        ] {
            index.programs.push(Program {
                pack,
                name: name.into(),
                groups: groups.into_iter().collect(),
            });
        }
        let scene = Scene {
            folder,
            root,
            packs,
            index,
        };
        scene.write_index();
        scene.memory(1 << 30);
        scene
    }

    /// Writes the index as it is now.
    pub(crate) fn write_index(&self) {
        fs::write(self.root.join("etc/kedge/packs"), self.index.to_text()).unwrap();
    }

    /// So many bytes are available.
    pub(crate) fn memory(&self, bytes: u64) {
        let text = format!("MemTotal: 1 kB\nMemAvailable: {} kB\n", bytes / 1024);
        fs::write(self.root.join("proc/meminfo"), text).unwrap();
    }

    /// Bytes that a program takes to load, from nothing.
    pub(crate) fn packed(&self, groups: &[usize]) -> u64 {
        groups
            .iter()
            .map(|group| self.index.groups[*group].packed)
            .sum()
    }

    /// The medium with these packs, as xorriso writes it.
    pub(crate) fn iso(&self, application: &str) -> PathBuf {
        let tree = self.folder.join("tree");
        fs::create_dir_all(tree.join("PACKS")).unwrap();
        for name in &self.index.archives {
            let to = tree.join(format!("PACKS/{}.XZ", name.to_uppercase()));
            fs::copy(self.packs.join(format!("{name}.cpio.xz")), to).unwrap();
        }
        let iso = self.folder.join("medium.iso");
        let made = Command::new("xorriso")
            .args([
                "-as",
                "mkisofs",
                "-quiet",
                "-iso-level",
                "1",
                "-appid",
                application,
                "-o",
            ])
            .arg(&iso)
            .arg(&tree)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        iso
    }

    /// A device of that name whose content is a file's.
    pub(crate) fn device(&self, name: &str, content: &Path) {
        let sys = self.root.join("sys/class/block").join(name);
        fs::create_dir_all(sys.join("queue")).unwrap();
        fs::write(sys.join("size"), "1000\n").unwrap();
        fs::write(sys.join("queue/logical_block_size"), "2048\n").unwrap();
        fs::write(sys.join("queue/max_sectors_kb"), "120\n").unwrap();
        let node = self.root.join("dev").join(name);
        let _ = fs::remove_file(&node);
        fs::hard_link(content, node).unwrap();
    }

    /// The command, to be started.
    pub(crate) fn command(&self, words: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg(&self.root).arg(words).args(arguments);
        command
    }

    /// Runs `pack`.
    pub(crate) fn pack(&self, words: &str, arguments: &[&str]) -> Output {
        self.command(words, arguments).output().unwrap()
    }

    /// Runs `pack`, which must succeed; gives what it said on stderr.
    pub(crate) fn succeed(&self, words: &str, arguments: &[&str]) -> String {
        let output = self.pack(words, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    }

    /// Runs `pack`, which must fail with this status; gives what it said on stderr.
    pub(crate) fn fail(&self, status: i32, words: &str, arguments: &[&str]) -> String {
        let output = self.pack(words, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{said}");
        said
    }

    /// Whether nothing of any pack, and nothing half-done, is in the root.
    pub(crate) fn untouched(&self) -> bool {
        let staging = fs::read_dir(&self.root).unwrap().flatten();
        let staging = staging.filter(|e| e.file_name().to_string_lossy().starts_with(".pack"));
        fs::read_link(self.root.join("bin/alpha")).is_ok_and(|to| to == Path::new("kedge"))
            && fs::read_dir(self.root.join("bin")).unwrap().count() == 2
            && fs::read_dir(self.root.join("lib")).unwrap().count() == 0
            && staging.count() == 0
            && !self.root.join("run/kedge/packs/loaded").exists()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The example beside this test.
fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/pack")
}

/// One group: packed bytes, and the archive's size.
fn group(folder: &Path, nodes: Vec<Node>) -> (Vec<u8>, u64) {
    for node in nodes {
        match node {
            Node::File(path, content) => {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, content).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            Node::Link(path, target) => symlink(target, folder.join(path)).unwrap(),
        }
    }
    let script =
        "find . -mindepth 1 ! -type d | LC_ALL=C sort | cpio -o -H newc --quiet >../a.cpio &&
        xz --stdout --check=crc32 --x86 --lzma2=preset=9e ../a.cpio";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let unpacked = fs::metadata(folder.join("../a.cpio")).unwrap().len();
    (output.stdout, unpacked)
}
