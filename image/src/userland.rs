//! What runs in the image: the kedge binary, busybox, and the tree that holds them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::boot::os_release;
use crate::elf;
use crate::host::BUSYBOX;
use crate::initramfs::{self, Node, Tree};
use crate::program;

/// The target whose standard library is there, and which can be linked statically.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The Cargo profile in the workspace's Cargo.toml.
const PROFILE: &str = "rootfs";

/// Why the userland cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// cargo, strip or a program that names its tools failed.
    #[error(transparent)]
    Program(#[from] program::Error),
    /// cargo said why on standard error already.
    #[error("cargo could not build kedge for the image (its message is above)")]
    Cargo,
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was built is not static.
    #[error(transparent)]
    NotStatic(#[from] elf::Error),
    /// The parts do not fit together.
    #[error(transparent)]
    Tree(#[from] initramfs::Error),
}

/// The programs of the image.
#[derive(Debug)]
pub struct Userland {
    /// kedge as cargo built it, with its symbols.
    pub kedge_with_symbols: PathBuf,
    /// kedge as it goes into the image.
    pub kedge: Vec<u8>,
    /// busybox as Debian ships it.
    pub busybox: Vec<u8>,
    /// The root file system.
    pub tree: Tree,
}

/// Builds kedge in the workspace at `root` and lays out the tree.
///
/// # Errors
/// When cargo fails, a program is not static, or two parts want the same path.
pub fn build(root: &Path, version: &str) -> Result<Userland, Error> {
    let kedge_with_symbols = compile(root)?;
    let stripped = kedge_with_symbols.with_file_name("kedge.stripped");
    program::run(
        Command::new("strip")
            .arg("--strip-all")
            .arg("-o")
            .arg(&stripped)
            .arg(&kedge_with_symbols),
    )?;
    let kedge = read(&stripped)?;
    let busybox = read(Path::new(BUSYBOX))?;
    elf::prove_static("kedge", &kedge)?;
    elf::prove_static(BUSYBOX, &busybox)?;
    let tools = names(&stripped, "--list")?;
    let applets = applets()?;
    let mut tree = lay_out(kedge.clone(), busybox.clone(), &tools, &applets)?;
    tree.add(
        "etc/os-release",
        Node::File(0o644, os_release(version).into_bytes()),
    )?;
    tree.add_folder(&root.join("rootfs/skeleton"))?;
    Ok(Userland {
        kedge_with_symbols,
        kedge,
        busybox,
        tree,
    })
}

/// The programs that busybox is.
///
/// # Errors
/// When it cannot be run.
pub fn applets() -> Result<BTreeSet<String>, Error> {
    names(Path::new(BUSYBOX), "--list")
}

/// The rustc flags that make kedge static and its bytes independent of where the checkout is.
pub fn rustflags(root: &Path, cargo_home: &Path) -> Vec<String> {
    vec![
        "-Ctarget-feature=+crt-static".into(),
        format!("--remap-path-prefix={}=kedge", root.display()),
        format!("--remap-path-prefix={}=cargo", cargo_home.display()),
    ]
}

fn compile(root: &Path) -> Result<PathBuf, Error> {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let cargo_home =
        std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let target = root.join("target");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        // Blanks in a path would end a flag in RUSTFLAGS; 0x1f separates here.
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            rustflags(root, &cargo_home).join("\x1f"),
        )
        .env_remove("RUSTFLAGS")
        // The build's date: no clock of a running image is earlier.
        .env("KEDGE_EPOCH", crate::boot::EPOCH.to_string())
        .arg("build")
        .args(["--locked", "--package", "kedge", "--profile", PROFILE])
        // Without an explicit target the flags would apply to build scripts and proc macros.
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target)
        .stdin(Stdio::null());
    let status = program::end_with_parent(&mut command)
        .status()
        .map_err(|source| program::Error::Start {
            program: "cargo".into(),
            source,
        })?;
    if !status.success() {
        return Err(Error::Cargo);
    }
    Ok(target.join(TARGET).join(PROFILE).join("kedge"))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// The names that a multicall program answers to, one a line.
fn names(program: &Path, argument: &str) -> Result<BTreeSet<String>, Error> {
    let output = program::run(Command::new(program).arg(argument))?;
    Ok(String::from_utf8_lossy(&output)
        .lines()
        .map(str::to_string)
        .collect())
}

/// Programs under all their names, and what must be there before /init mounts anything.
fn lay_out(
    kedge: Vec<u8>,
    busybox: Vec<u8>,
    tools: &BTreeSet<String>,
    applets: &BTreeSet<String>,
) -> Result<Tree, initramfs::Error> {
    let mut tree = Tree::default();
    tree.add("bin/kedge", Node::File(0o755, kedge))?;
    tree.add("bin/busybox", Node::File(0o755, busybox))?;
    for tool in tools.iter().filter(|tool| tool.as_str() != "kedge") {
        tree.add(&format!("bin/{tool}"), Node::Symlink("kedge".into()))?;
    }
    for applet in applets.iter().filter(|applet| applet.as_str() != "busybox") {
        if !tools.contains(applet) {
            tree.add(&format!("bin/{applet}"), Node::Symlink("busybox".into()))?;
        }
    }
    for (path, target) in [
        ("sbin", "bin"),
        ("usr/bin", "../bin"),
        ("usr/sbin", "../bin"),
        // What packs bring.
        ("usr/lib", "../lib"),
    ] {
        tree.add(path, Node::Symlink(target.into()))?;
    }
    // The kernel opens /dev/console for /init, before devtmpfs is mounted; /dev/kmsg, in which /init
    // reports its first troubles, comes with /init itself (gate.rs). Numbers:
    // Documentation/admin-guide/devices.txt.
    for (name, mode, major, minor) in [("console", 0o600, 5, 1), ("null", 0o666, 1, 3)] {
        tree.add(&format!("dev/{name}"), Node::CharDevice(mode, major, minor))?;
    }
    for (folder, mode) in [
        ("etc", 0o755),
        ("lib", 0o755),
        ("mnt", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("var/log", 0o755),
    ] {
        tree.add(folder, Node::Directory(mode))?;
    }
    tree.add("var/run", Node::Symlink("../run".into()))?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kedges_tools_win_over_busyboxs_applets() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let tree = lay_out(
            vec![1],
            vec![2],
            &set(&["banner", "init", "help"]),
            &set(&["busybox", "help", "init", "ls"]),
        )
        .unwrap();
        let node = |path: &str| {
            tree.nodes()
                .find(|(name, _)| *name == path)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(node("bin/help"), Node::Symlink("kedge".into()));
        assert_eq!(node("bin/init"), Node::Symlink("kedge".into()));
        assert_eq!(node("bin/ls"), Node::Symlink("busybox".into()));
        assert_eq!(node("dev/console"), Node::CharDevice(0o600, 5, 1));
    }
}
