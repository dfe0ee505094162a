//! OpenSSH's own clients at a station: ssh, sftp, scp, ssh-keyscan. Nothing of the user who runs the test
//! takes part: no configuration, agent, keys or known hosts.
//!
//! ```ignore
//! let key = SshKey::new(folder.path(), "operator")?;
//! // … boot with kedge.ssh_key=…, key.public() …
//! let ssh = Ssh::at(network.lan(), "192.0.2.7".parse()?).key(&key);
//! ssh.wait(BOOT)?;
//! let host_key = ssh.scan()?;
//! ensure!(banner.contains(&fingerprint(&host_key)?));
//! let ssh = ssh.host_key(&host_key)?;          // from now on this key and no other
//! ensure!(ssh.run("exit 7")?.status == Some(7));
//! ssh.sftp("put big.img /tmp/big.img\nreget /tmp/half.img half.img\n")?.success()?;
//! ssh.scp(&["file", &ssh.remote("/tmp/file")])?.success()?;
//! let forward = ssh.start(&["-N", "-L", "8080:127.0.0.1:80"])?; // ends when dropped
//! ```

use std::fs::{File, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::child::Child;
use crate::command::{Finished, finish};
use crate::segment::Station;
use crate::sockets;
use crate::ssh_key::SshKey;

/// How long a client may take when nothing else is said.
const PATIENCE: Duration = Duration::from_secs(120);

/// How to log in to a machine.
#[derive(Debug, Clone)]
pub struct Ssh {
    from: Station,
    host: IpAddr,
    port: u16,
    user: String,
    key: Option<PathBuf>,
    known_hosts: PathBuf,
    strict: bool,
    askpass: Option<PathBuf>,
    options: Vec<String>,
    patience: Duration,
}

impl Ssh {
    /// As root from this station to `host`, port 22; its host key is taken as it comes and then kept.
    pub fn at(from: &Station, host: IpAddr) -> Self {
        Self {
            from: from.clone(),
            host,
            port: 22,
            user: "root".into(),
            key: None,
            known_hosts: from.namespace().file("known_hosts", "txt"),
            strict: false,
            askpass: None,
            options: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// To this port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// As this user.
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// With this key, and by no other way.
    pub fn key(mut self, key: &SshKey) -> Self {
        self.key = Some(key.private.clone());
        self.askpass = None;
        self
    }

    /// With this password (by keyboard-interactive or password), typed once.
    pub fn password(mut self, password: &str) -> Result<Self> {
        let path = self.from.namespace().file("askpass", "sh");
        let quoted = password.replace('\'', "'\\''");
        std::fs::write(&path, format!("#!/bin/sh\nprintf '%s\\n' '{quoted}'\n"))
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o700)))
            .with_context(|| format!("writing {}", path.display()))?;
        self.askpass = Some(path);
        self.key = None;
        Ok(self)
    }

    /// Only to a host with this key ("ssh-ed25519 AAAA…"): with any other no client goes on.
    pub fn host_key(mut self, key: &str) -> Result<Self> {
        let name = match self.port {
            22 => self.host.to_string(),
            port => format!("[{}]:{port}", self.host),
        };
        self.known_hosts = self.from.namespace().file("known_hosts", "txt");
        std::fs::write(&self.known_hosts, format!("{name} {key}\n"))
            .with_context(|| format!("writing {}", self.known_hosts.display()))?;
        self.strict = true;
        Ok(self)
    }

    /// With an option of ssh_config(5): "ServerAliveInterval=5". The first of two counts.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Each client may take so long.
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits until the port takes connections.
    pub fn wait(&self, patience: Duration) -> Result<()> {
        let to = SocketAddr::from((self.host, self.port));
        sockets::wait_for_port(self.from.namespace(), to, patience)
    }

    /// The host's ed25519 key, by ssh-keyscan: "ssh-ed25519 AAAA…".
    pub fn scan(&self) -> Result<String> {
        let mut command = Command::new("ssh-keyscan");
        command
            .args(["-T", "30", "-t", "ed25519", "-p", &self.port.to_string()])
            .arg(self.host.to_string());
        let scanned = self.finish(&mut command)?;
        let text = scanned.text();
        let line = text.lines().find(|line| !line.starts_with('#'));
        match line.and_then(|line| line.split_once(' ')) {
            Some((_, key)) => Ok(key.to_owned()),
            None => bail!("ssh-keyscan found no key: {}", scanned.stderr),
        }
    }

    /// Runs a command in the machine, without a terminal and without input.
    pub fn run(&self, command: &str) -> Result<Finished> {
        self.run_with(command, Stdio::null())
    }

    /// Runs a command in the machine with this input (a [`File`] may be given).
    pub fn run_with(&self, command: &str, input: impl Into<Stdio>) -> Result<Finished> {
        let mut ssh = self.command("ssh");
        ssh.arg(self.who()).arg("--").arg(command).stdin(input);
        self.finish(&mut ssh)
    }

    /// Runs a command in the machine on a terminal (`ssh -tt`); `input` is typed at once.
    pub fn run_on_terminal(&self, command: &str, input: &str) -> Result<Finished> {
        let path = self.from.namespace().file("typed", "txt");
        std::fs::write(&path, input).with_context(|| format!("writing {}", path.display()))?;
        let mut ssh = self.command("ssh");
        ssh.arg("-tt").arg(self.who());
        if !command.is_empty() {
            ssh.arg("--").arg(command);
        }
        self.finish(ssh.stdin(File::open(&path)?))
    }

    /// Starts ssh with these arguments before the host's name, and gives it as it runs, with pipes for
    /// its streams: forwardings (`-N -L …`), and sessions that are to be cut off.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        self.start_command(arguments, &[])
    }

    /// The same with a command to run in the machine.
    pub fn start_command(&self, arguments: &[&str], command: &[&str]) -> Result<Child> {
        let mut ssh = self.command("ssh");
        ssh.args(arguments).arg(self.who()).args(command);
        ssh.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Child::spawn_as_is(&mut ssh, Some(self.from.namespace().namespaces()))
    }

    /// Runs sftp(1) with a batch of commands; it stops at the first that fails, unless that begins
    /// with `-`. Files' names are those of the network's folder or absolute.
    pub fn sftp(&self, batch: &str) -> Result<Finished> {
        self.finish(&mut self.sftp_command(batch)?)
    }

    /// Starts sftp(1) with a batch of commands, to be cut off in the middle.
    pub fn start_sftp(&self, batch: &str) -> Result<Child> {
        let mut sftp = self.sftp_command(batch)?;
        sftp.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Child::spawn_as_is(&mut sftp, Some(self.from.namespace().namespaces()))
    }

    fn sftp_command(&self, batch: &str) -> Result<Command> {
        let path = self.from.namespace().file("batch", "sftp");
        std::fs::write(&path, batch).with_context(|| format!("writing {}", path.display()))?;
        let mut sftp = self.command("sftp");
        sftp.arg("-b")
            .arg(&path)
            .arg(format!("{}@{}", self.user, bracketed(self.host)));
        sftp.current_dir(self.from.namespace().folder());
        Ok(sftp)
    }

    /// Runs scp(1) with these arguments; a file of the machine's is [`Self::remote`].
    pub fn scp(&self, arguments: &[&str]) -> Result<Finished> {
        let mut scp = self.command("scp");
        scp.args(arguments)
            .current_dir(self.from.namespace().folder());
        self.finish(&mut scp)
    }

    /// A file of the machine's, as scp names it: "root@192.0.2.7:/tmp/file".
    pub fn remote(&self, path: &str) -> String {
        format!("{}@{}:{path}", self.user, bracketed(self.host))
    }

    /// A function of a shell's that is called `ssh` and has this client's options.
    pub(crate) fn as_shell_function(&self) -> String {
        let quoted = |word: &std::ffi::OsStr| {
            let word = word.to_string_lossy();
            format!("'{}'", word.replace('\'', "'\\''"))
        };
        let command = self.command("ssh");
        let options: Vec<String> = command.get_args().map(quoted).collect();
        format!("ssh() {{ command ssh {} \"$@\"; }}\n", options.join(" "))
    }

    fn who(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }

    /// A client with everything that all clients share.
    fn command(&self, client: &str) -> Command {
        let mut command = Command::new(client);
        command.args(["-F", "none"]);
        for option in &self.options {
            command.args(["-o", option]);
        }
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        let strict = if self.strict { "yes" } else { "accept-new" };
        let port = if client == "ssh" { "-p" } else { "-P" };
        command.args([port, &self.port.to_string(), "-o", &known_hosts]);
        command.args(["-o", &format!("StrictHostKeyChecking={strict}")]);
        for option in [
            "GlobalKnownHostsFile=/dev/null",
            "UpdateHostKeys=no",
            "IdentityAgent=none",
            "IdentitiesOnly=yes",
            "ConnectTimeout=30",
        ] {
            command.args(["-o", option]);
        }
        let key = self
            .key
            .as_deref()
            .unwrap_or_else(|| Path::new("/dev/null"));
        command.args(["-o", &format!("IdentityFile={}", key.display())]);
        command.env_remove("SSH_AUTH_SOCK");
        if let Some(askpass) = &self.askpass {
            for option in [
                "BatchMode=no",
                "NumberOfPasswordPrompts=1",
                "PreferredAuthentications=keyboard-interactive,password",
            ] {
                command.args(["-o", option]);
            }
            command
                .env("SSH_ASKPASS", askpass)
                .env("SSH_ASKPASS_REQUIRE", "force");
        } else {
            command.args(["-o", "BatchMode=yes"]);
            command.args(["-o", "PreferredAuthentications=publickey"]);
        }
        command
    }

    fn finish(&self, command: &mut Command) -> Result<Finished> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = Child::spawn_as_is(command, Some(self.from.namespace().namespaces()))?;
        finish(&name, child, self.patience)
    }
}

fn bracketed(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::child::output;
    use crate::{Folder, Network};

    fn network(name: &str) -> Result<(Folder, Network)> {
        let folder = Folder::new(&format!("unit.ssh.{name}"))?;
        let network = Network::new(folder.path())?;
        Ok((folder, network))
    }

    /// What ssh makes of its arguments: `ssh -G` prints each option as it counts.
    fn effective(ssh: &Ssh) -> Result<String> {
        let mut command = ssh.command("ssh");
        let out = ssh.from.run(command.arg("-G").arg(ssh.who()))?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn a_client_uses_this_key_and_nothing_of_the_users() -> Result<()> {
        let (folder, network) = network("options")?;
        let key = SshKey::new(folder.path(), "operator")?;
        let host = "192.0.2.7".parse()?;
        let ssh = Ssh::at(network.lan(), host).key(&key).port(2222);
        let ssh = ssh.option("ServerAliveInterval=5");
        let options = effective(&ssh)?;
        let identity = format!("identityfile {}", key.private().display());
        for wanted in [
            "user root",
            "port 2222",
            "batchmode yes",
            "stricthostkeychecking accept-new",
            "identitiesonly yes",
            "identityagent none",
            "preferredauthentications publickey",
            "serveraliveinterval 5",
            &identity,
        ] {
            assert!(
                options.lines().any(|line| line == wanted),
                "{wanted}: {options}"
            );
        }
        // Debian's /etc/ssh/ssh_config sends the user's language.
        assert!(!options.contains("sendenv"), "{options}");
        assert_eq!(options.matches("identityfile").count(), 1, "{options}");
        let options = effective(&ssh.host_key(key.public())?.password("it's")?)?;
        assert!(options.contains("stricthostkeychecking true"), "{options}");
        assert!(options.contains("batchmode no"), "{options}");
        Ok(())
    }

    #[test]
    fn a_password_is_typed_as_it_is() -> Result<()> {
        let (_folder, network) = network("password")?;
        let ssh = Ssh::at(network.lan(), "192.0.2.7".parse()?).password("it's `a` $b")?;
        let askpass = ssh.askpass.context("a password was given")?;
        assert_eq!(output(&mut Command::new(askpass), None)?, b"it's `a` $b\n");
        Ok(())
    }

    #[test]
    fn a_server_that_is_no_ssh_server_is_a_failure_with_its_reason() -> Result<()> {
        let (_folder, network) = network("other")?;
        let at = "192.0.2.1:22".parse()?;
        let listener = sockets::listen_tcp(network.namespace(), at)?;
        let answers = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept()?;
                stream.write_all(b"220 not ssh\r\n")?;
            }
            anyhow::Ok(())
        });
        let ssh = Ssh::at(network.lan(), at.ip());
        ssh.wait(Duration::from_secs(20))?;
        let ended = ssh.run("true")?;
        assert_eq!(ended.status, Some(255));
        let why = "kex_exchange_identification";
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
        answers.join().unwrap()
    }

    #[test]
    fn files_of_an_ipv6_host_are_named_in_brackets() -> Result<()> {
        let (_folder, network) = network("brackets")?;
        let ssh = Ssh::at(network.lan(), "2001:db8::7".parse()?);
        assert_eq!(ssh.remote("/tmp/a"), "root@[2001:db8::7]:/tmp/a");
        Ok(())
    }
}
