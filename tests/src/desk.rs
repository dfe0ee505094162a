//! The terminal on an operator's desk: a shell on a pseudo-terminal, which script(1) makes, on a station of the test's network. What is
//! typed there is seen as the operator would see it.
//!
//! ```ignore
//! let mut desk = Desk::at(network.lan(), &ssh)?;
//! desk.terminal().type_line("ssh root@192.0.2.7", "root@victim:~# ", BOOT)?;
//! ```

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::Child;
use crate::console::Console;
use crate::segment::Station;
use crate::ssh::Ssh;

/// What the shell ends a line with when it waits.
pub const PROMPT: &str = "operator$ ";

/// It reads its own command line, whatever the host's shells are like.
const SHELL: &str = "stty cols 80 rows 25; exec sh -i";

/// A shell takes no time to start.
const START: Duration = Duration::from_secs(30);

/// A shell, which ends when this is dropped.
#[derive(Debug)]
pub struct Desk {
    console: Console,
    _shell: Child,
}

impl Desk {
    /// A desk at which `ssh` is typed without options and works as that client does.
    pub fn at(station: &Station, ssh: &Ssh) -> Result<Self> {
        let namespace = station.namespace();
        let setup = namespace.file("desk", "sh");
        std::fs::write(&setup, ssh.as_shell_function())
            .with_context(|| format!("writing {}", setup.display()))?;
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new("script");
        command
            .args([
                "--quiet",
                "--echo",
                "always",
                "--command",
                SHELL,
                "/dev/null",
            ])
            .env("ENV", &setup)
            .env("PS1", PROMPT)
            .env("TERM", "vt100")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)));
        let shell = Child::spawn_as_is(&mut command, Some(namespace.namespaces()))?;
        let mut console = Console::new("the desk", ours, &namespace.file("desk", "log"))?;
        console.expect(PROMPT, START)?;
        Ok(Self {
            console,
            _shell: shell,
        })
    }

    /// What is seen and typed on.
    pub fn terminal(&mut self) -> &mut Console {
        &mut self.console
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Folder, Network};

    #[test]
    fn what_is_typed_is_seen_and_run_on_a_terminal() -> Result<()> {
        let folder = Folder::new("unit.desk")?;
        let network = Network::new(folder.path())?;
        let ssh = Ssh::at(network.lan(), "192.0.2.7".parse()?);
        let mut desk = Desk::at(network.lan(), &ssh)?;
        let terminal = desk.terminal();
        let begin = terminal.now();
        let said = terminal.type_line("test -t 0 && stty size", PROMPT, START)?;
        assert_eq!(said, "25 80\n");
        let seen: Vec<u8> = terminal
            .since(begin)
            .into_iter()
            .flat_map(|p| p.1)
            .collect();
        let seen = String::from_utf8_lossy(&seen).into_owned();
        assert_eq!(seen, format!("test -t 0 && stty size\r\n25 80\r\n{PROMPT}"));
        // With the client's own options, and in the test's network, where nobody has this address.
        let said = terminal.type_line("ssh -G root@192.0.2.7 | grep batch", PROMPT, START)?;
        assert_eq!(said, "batchmode yes\n");
        Ok(())
    }
}
