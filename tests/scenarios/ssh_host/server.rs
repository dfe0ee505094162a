//! kedge's SSH server on loopback in a network namespace of its own, and OpenSSH's clients beside it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kedge_tests::child::{Child, Namespaces};
use kedge_tests::command::{Finished, finish};
use kedge_tests::ssh_key::SshKey;

/// Where it listens.
pub(crate) const PORT: u16 = 2222;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The program as the image has it: static, and stripped.
pub(crate) fn kedge() -> Result<PathBuf> {
    let path = match std::env::var_os("KEDGE_PROGRAM") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../target/x86_64-unknown-linux-gnu/rootfs/kedge.stripped"),
    };
    path.canonicalize().with_context(|| {
        format!(
            "{} is not there: run `cargo xtask build` first",
            path.display()
        )
    })
}

/// A namespace with nothing but loopback, for as long as this lives.
pub(crate) struct Loopback {
    pub(crate) namespaces: Namespaces,
    _holder: Child,
}

impl Loopback {
    pub(crate) fn new() -> Result<Self> {
        let user = !rustix::process::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--net");
        if user {
            command.arg("--map-root-user");
        }
        command.args([
            "sh",
            "-c",
            "ip link set lo up && echo up && exec sleep infinity",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = Child::spawn_as_is(&mut command, None)?;
        let mut line = String::new();
        let stdout = holder.streams().stdout.take().context("a pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "up\n", "no network namespace");
        Ok(Self {
            namespaces: Namespaces::of(holder.id(), user)?,
            _holder: holder,
        })
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) network: Loopback,
    pub(crate) folder: PathBuf,
    pub(crate) key: SshKey,
    pub(crate) child: Child,
}

impl Server {
    /// One that `key` may log in to.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        Self::start_program(&kedge()?, folder)
    }

    /// `program` as a server that `key` may log in to.
    pub(crate) fn start_program(program: &Path, folder: &Path) -> Result<Self> {
        let server = Self::listen(program, folder, &[])?;
        std::fs::write(server.keys(), format!("{}\n", server.key.public()))?;
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// One that nobody may log in to yet.
    pub(crate) fn start_without_key(folder: &Path, more: &[&str]) -> Result<Self> {
        Self::listen(&kedge()?, folder, more)
    }

    fn listen(program: &Path, folder: &Path, more: &[&str]) -> Result<Self> {
        let network = Loopback::new()?;
        let key = SshKey::new(folder, "operator")?;
        let mut command = Command::new(program);
        command
            .args(["sshd", "--stderr", "--port", &PORT.to_string()])
            .args(["--keep-alive", "1"])
            .args(more);
        for (name, file) in [
            ("--host-key", "host_key"),
            ("--authorized-keys", "authorized_keys"),
            ("--run", "run"),
        ] {
            command.arg(name).arg(folder.join(file));
        }
        let log = folder.join("sshd.log");
        let child = Child::spawn(&mut command, &log, Some(&network.namespaces))?;
        Ok(Self {
            network,
            folder: folder.to_owned(),
            key,
            child,
        })
    }

    /// Whose keys are taken.
    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.join("authorized_keys")
    }

    pub(crate) fn listens(&self) -> bool {
        self.folder.join("run/port").exists()
    }

    pub(crate) fn wait_until_it_listens(&self) -> Result<()> {
        until("the server listens", || Ok(self.listens()))
    }

    /// What the server has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("sshd.log")).unwrap_or_default()
    }

    /// A client's command line up to the host.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["-F", "none", "-i"])
            .arg(self.key.private())
            .args(["-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"])
            .arg("-o")
            .arg(format!(
                "UserKnownHostsFile={}",
                self.folder.join("known_hosts").display()
            ))
            .arg("-o")
            .arg(format!("Port={PORT}"))
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a client to its end.
    pub(crate) fn finish(&self, command: &mut Command) -> Result<Finished> {
        let child = Child::spawn_as_is(command, Some(&self.network.namespaces))?;
        finish("the client", child, PATIENCE)
    }

    /// Starts a client that goes on.
    pub(crate) fn spawn(&self, command: &mut Command) -> Result<Child> {
        Child::spawn_as_is(command, Some(&self.network.namespaces))
    }

    /// `ssh OPTIONS root@127.0.0.1 COMMAND`.
    pub(crate) fn ssh(&self, options: &[&str], remote: &str) -> Command {
        let mut command = self.client("ssh");
        command.args(options).arg("root@127.0.0.1").arg(remote);
        command
    }

    pub(crate) fn run(&self, remote: &str) -> Result<Finished> {
        self.finish(&mut self.ssh(&[], remote))
    }

    /// Runs a command with a file as its standard input.
    pub(crate) fn run_with(&self, remote: &str, input: &Path) -> Result<Finished> {
        let input = File::open(input)?;
        self.finish(self.ssh(&[], remote).stdin(input))
    }

    /// `sftp` with these lines.
    pub(crate) fn sftp(&self, lines: &str) -> Result<Finished> {
        let batch = self.folder.join("batch");
        std::fs::write(&batch, lines)?;
        let mut command = self.client("sftp");
        command.arg("-b").arg(&batch).arg("root@127.0.0.1");
        self.finish(&mut command)
    }

    /// `kedge ssh-allow` for this server.
    pub(crate) fn allow(&self, arguments: &[&str]) -> Result<Finished> {
        let mut command = Command::new(kedge()?);
        command
            .arg("ssh-allow")
            .arg("--authorized-keys")
            .arg(self.keys())
            .arg("--run")
            .arg(self.folder.join("run"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.finish(&mut command)
    }

    /// The processes that serve connections.
    pub(crate) fn connections(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }
}

/// Resident memory of a process in KiB, with every page of the program that it has touched.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    kib(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// A process's share of resident memory in KiB: a page that two have counts half for each (proc(5),
/// `smaps_rollup`), so the sum over all that run a program counts every page once.
pub(crate) fn share(pid: u32) -> Result<u64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn kib(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let said = line.and_then(|line| line.split_whitespace().next());
    Ok(said
        .with_context(|| format!("no {name} in {path}"))?
        .parse()?)
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        if Instant::now() > deadline {
            bail!("it did not come to pass that {what}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
