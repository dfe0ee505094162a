//! `cargo xtask bench ssh`: how fast bytes go through kedge's SSH server and through OpenSSH's, on
//! loopback, with the same client and whatever cipher the two agree on; and what an idle session
//! takes of memory. Prints a Markdown table.
//!
//! Rounds alternate, and the medians count: this computer may be busy with other things. OpenSSH's
//! server is the host's, or is unpacked here from Debian's package: installing it would start it.

#[path = "../scenarios/ssh_host/server.rs"]
#[allow(dead_code, reason = "shared with the scenario, which needs more of it")]
mod server;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kedge_tests::child::{Child, output};
use kedge_tests::{Folder, Memory};
use server::{PORT, Server, resident, until};

/// Bytes of one transfer.
const SIZE: u64 = 512 << 20;

/// How often each is done.
const ROUNDS: usize = 7;

/// OpenSSH's port.
const OPENSSH: u16 = PORT + 1;

fn main() -> Result<()> {
    let folder = Folder::new("bench.ssh")?;
    let server = Server::start(folder.path())?;
    let openssh = openssh(&server)?;
    // In memory: no disk takes part.
    let memory = Memory::new()?;
    let big = memory.path().join("big");
    let mut zeros = std::io::Read::take(File::open("/dev/zero")?, SIZE);
    std::io::copy(&mut zeros, &mut File::create(&big)?)?;
    println!(
        "\n| {} MiB | kedge MB/s | OpenSSH MB/s | of OpenSSH's |",
        SIZE >> 20
    );
    println!("|---|--:|--:|--:|");
    for way in [Way::CatDown, Way::CatUp, Way::SftpDown, Way::SftpUp] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (port, times) in [PORT, OPENSSH].into_iter().zip(&mut times) {
                times.push(way.run(&server, port, memory.path())?);
            }
        }
        let [kedge, other] = times.map(|times| SIZE as f64 / 1e6 / median(times).as_secs_f64());
        println!(
            "| {} | {kedge:.0} | {other:.0} | {:.0} % |",
            way.name(),
            100.0 * kedge / other
        );
    }
    let mut client = server.ssh(&["-tt"], "exec sleep 1000");
    let _client = server.spawn(&mut client)?;
    until("there is a session", || {
        Ok(!server.connections().is_empty())
    })?;
    std::thread::sleep(Duration::from_secs(2));
    let session: u64 = server
        .connections()
        .iter()
        .map(|pid| resident(*pid))
        .sum::<Result<u64>>()?;
    println!(
        "\nResident for one idle session: {} KiB, of which {session} are its own process.",
        session + resident(server.child.id())?
    );
    drop(openssh);
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[derive(Clone, Copy)]
enum Way {
    CatDown,
    CatUp,
    SftpDown,
    SftpUp,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::CatDown => "`ssh host cat FILE`",
            Self::CatUp => "`ssh host 'cat >/dev/null' <FILE`",
            Self::SftpDown => "SFTP, get",
            Self::SftpUp => "SFTP, put",
        }
    }

    /// One transfer, from the client's start to its end.
    fn run(self, server: &Server, port: u16, memory: &Path) -> Result<Duration> {
        let (big, copy) = (memory.join("big"), memory.join("copy"));
        let option = format!("Port={port}");
        let mut command = match self {
            Self::CatDown | Self::CatUp => {
                let mut command = Command::new("ssh");
                command.args(["-o", &option]);
                command
            }
            Self::SftpDown | Self::SftpUp => {
                let batch = memory.join("batch");
                let word = if matches!(self, Self::SftpDown) {
                    "get"
                } else {
                    "put"
                };
                fs::write(
                    &batch,
                    format!("{word} {} {}\n", big.display(), copy.display()),
                )?;
                let mut command = Command::new("sftp");
                command.args(["-o", &option, "-b"]).arg(batch);
                command
            }
        };
        command
            .args(["-F", "none", "-i"])
            .arg(server.key.private())
            .args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .arg("root@127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        match self {
            Self::CatDown => drop(command.arg(format!("cat {}", big.display()))),
            Self::CatUp => drop(command.arg("cat >/dev/null").stdin(File::open(&big)?)),
            Self::SftpDown | Self::SftpUp => {}
        }
        let started = Instant::now();
        let status = server.spawn(&mut command)?.wait(Duration::from_secs(300))?;
        let took = started.elapsed();
        ensure!(status.success(), "{}: {status}", self.name());
        Ok(took)
    }
}

/// OpenSSH's server on [`OPENSSH`], with the same keys.
fn openssh(server: &Server) -> Result<Child> {
    let folder = server.folder.join("openssh");
    fs::create_dir_all(&folder)?;
    let installed = Path::new("/usr/sbin/sshd");
    let program = if installed.exists() {
        installed.to_path_buf()
    } else {
        unpack(&folder)?
    };
    fs::create_dir_all("/run/sshd").context("OpenSSH's server wants /run/sshd; be root")?;
    let config = folder.join("sshd_config");
    let text = format!(
        "Port {OPENSSH}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
         StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n\
         Subsystem sftp /usr/lib/openssh/sftp-server\n",
        server.folder.join("host_key").display(),
        server.keys().display()
    );
    fs::write(&config, text)?;
    let libraries = folder.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(&program);
    command
        .args(["-D", "-e", "-f"])
        .arg(&config)
        .env("LD_LIBRARY_PATH", libraries);
    let log = folder.join("sshd.log");
    let mut child = Child::spawn(&mut command, &log, Some(&server.network.namespaces))?;
    until("OpenSSH's server listens", || {
        child.must_run()?;
        Ok(fs::read_to_string(&log)?.contains("Server listening"))
    })?;
    Ok(child)
}

/// Debian's package and the library that nothing else brings, without installing either.
fn unpack(folder: &Path) -> Result<PathBuf> {
    let mut download = Command::new("apt-get");
    download
        .args(["-q", "download", "openssh-server", "libwrap0"])
        .current_dir(folder);
    output(&mut download, None).context("/usr/sbin/sshd is not there, and cannot be fetched")?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            output(
                Command::new("dpkg-deb").arg("-x").arg(&path).arg(folder),
                None,
            )?;
        }
    }
    Ok(folder.join("usr/sbin/sshd"))
}
