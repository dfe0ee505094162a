//! What a session runs: a login shell, a command, or the SFTP server; and how all of it ends.
//!
//! Each leads a session of its own (setsid). Whatever belongs to it goes with it; what calls setsid
//! itself (tmux, setsid) does not belong to it any more, and lives on.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process};
use rustix::termios::Winsize;

use crate::terminal;

/// How long the processes of a session have to end by themselves.
const GRACE: Duration = Duration::from_secs(2);

/// The shell of `root`.
const SHELL: &str = "/bin/sh";

/// What to run.
#[derive(Debug, Clone)]
pub(crate) enum Program {
    Shell,
    Command(Vec<u8>),
    Sftp,
}

/// A running program, and our ends of what it reads and writes.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Readable when it has ended.
    pub(crate) pidfd: OwnedFd,
    pub(crate) input: Option<OwnedFd>,
    pub(crate) output: Option<OwnedFd>,
    pub(crate) errors: Option<OwnedFd>,
    /// A terminal's end, where there is one, for its size.
    terminal: Option<OwnedFd>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Status(u32),
    Signal { number: i32, core: bool },
}

impl Process {
    /// Starts `program`, in a terminal when one is given.
    pub(crate) fn start(
        program: &Program,
        environment: &[(String, String)],
        terminal: Option<&terminal::Request>,
    ) -> io::Result<Self> {
        let mut command = match program {
            Program::Shell => {
                let mut command = Command::new(SHELL);
                // The hyphen makes it a login shell.
                command.arg0("-sh");
                command
            }
            Program::Command(text) => {
                let mut command = Command::new(SHELL);
                command.arg0("sh").arg("-c").arg(OsStr::from_bytes(text));
                command
            }
            Program::Sftp => {
                let mut command = Command::new("/proc/self/exe");
                command.arg0("kedge").args(["sshd", "--sftp"]);
                command
            }
        };
        let home = if Path::new("/root").is_dir() {
            "/root"
        } else {
            "/"
        };
        command
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("HOME", home)
            .env("USER", "root")
            .env("LOGNAME", "root")
            .env("SHELL", SHELL)
            .env("PATH", "/bin")
            .current_dir(home);
        match terminal {
            Some(request) => Self::in_terminal(command, request),
            None => Self::on_pipes(command),
        }
    }

    fn in_terminal(mut command: Command, request: &terminal::Request) -> io::Result<Self> {
        let pair = terminal::open(request)?;
        command
            .stdin(pair.slave.try_clone()?)
            .stdout(pair.slave.try_clone()?)
            .stderr(pair.slave)
            .env("SSH_TTY", &pair.name);
        if !request.term.is_empty() {
            command.env("TERM", &request.term);
        }
        let pid = lead(&mut command, true)?;
        nonblocking(&pair.master)?;
        Ok(Self {
            pid,
            pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())?,
            input: Some(pair.master.try_clone()?),
            output: Some(pair.master.try_clone()?),
            errors: None,
            terminal: Some(pair.master),
        })
    }

    fn on_pipes(mut command: Command) -> io::Result<Self> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (their_input, input) = pipe()?;
        let (output, their_output) = pipe()?;
        let (errors, their_errors) = pipe()?;
        for fd in [&input, &output, &errors] {
            nonblocking(fd)?;
        }
        // Fewer switches between the program and us; it stays with 64 KiB where there is no room.
        for fd in [&input, &output] {
            let _ = rustix::pipe::fcntl_setpipe_size(fd, 256 * 1024);
        }
        command
            .stdin(Stdio::from(their_input))
            .stdout(Stdio::from(their_output))
            .stderr(Stdio::from(their_errors));
        let pid = lead(&mut command, false)?;
        Ok(Self {
            pid,
            pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())?,
            input: Some(input),
            output: Some(output),
            errors: Some(errors),
            terminal: None,
        })
    }

    /// The terminal's new size.
    pub(crate) fn resize(&self, size: Winsize) {
        if let Some(terminal) = &self.terminal {
            let _ = rustix::termios::tcsetwinsize(terminal, size);
        }
    }

    /// Whether it runs in a terminal.
    pub(crate) fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// A signal for the program and what it started in its process group.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process_group(self.pid, signal);
    }

    /// How it ended, if it has. It stays a zombie, so that nobody else gets its number.
    pub(crate) fn ended(&self) -> Option<Exit> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let status = match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(status) => status?,
            // Somebody else has reaped it, and nobody knows how it ended.
            Err(_) => return Some(Exit::Status(255)),
        };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(Exit::Status(u32::try_from(code).unwrap_or(255))),
            (None, Some(number)) => Some(Exit::Signal {
                number,
                core: status.dumped(),
            }),
            (None, None) => None,
        }
    }

    /// Begins the end of its whole session.
    pub(crate) fn end(self) -> Ending {
        send(self.pid, Signal::HUP);
        // A stopped process learns of it when it goes on.
        send(self.pid, Signal::CONT);
        Ending {
            pid: self.pid,
            pidfd: self.pidfd,
            kill_at: Instant::now() + GRACE,
        }
    }
}

/// A session that has been told to end.
#[derive(Debug)]
pub(crate) struct Ending {
    pid: Pid,
    pidfd: OwnedFd,
    kill_at: Instant,
}

impl Ending {
    /// Whether nothing of it is left. What is left too long is killed.
    pub(crate) fn over(&self) -> bool {
        if Instant::now() >= self.kill_at {
            send(self.pid, Signal::KILL);
        } else if members(self.pid).next().is_some() {
            return false;
        }
        // One that hangs in a disk dies when the disk lets it: nobody waits for that here.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let _ = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
        true
    }
}

fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// Starts `command` as the leader of a session, in which its standard input is the terminal.
fn lead(command: &mut Command, terminal: bool) -> io::Result<Pid> {
    // SAFETY: between fork and exec only the system calls setsid, prctl and ioctl are made, which
    // are async-signal-safe; nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            // Should this process be killed, nobody is left to end the session: the kernel tells
            // its leader, at least.
            rustix::process::set_parent_process_death_signal(Some(Signal::HUP))?;
            if terminal {
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("no process"))
}

/// Sends `signal` to every living process of the session that `leader` leads.
fn send(leader: Pid, signal: Signal) {
    for pid in members(leader) {
        let _ = kill_process(pid, signal);
    }
}

/// The living processes of a session.
fn members(leader: Pid) -> impl Iterator<Item = Pid> {
    let wanted = leader.as_raw_nonzero().get();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(move |pid| session(*pid) == Some(wanted))
        .filter_map(Pid::from_raw)
}

/// The session of a process that is no zombie (proc(5): state and session follow the name, which
/// may hold anything, in brackets).
fn session(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|&b| b == b')')? + 1;
    let text = String::from_utf8_lossy(&stat[after..]).into_owned();
    let mut words = text.split_ascii_whitespace();
    let state = words.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    words.nth(2)?.parse().ok()
}

/// A signal by the name that RFC 4254, section 6.9, gives it.
pub(crate) fn signal_of(name: &str) -> Option<Signal> {
    SIGNALS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, signal)| *signal)
}

/// A signal's name as it is sent.
pub(crate) fn name_of(number: i32) -> String {
    SIGNALS
        .iter()
        .find(|(_, signal)| signal.as_raw() == number)
        .map_or_else(
            || format!("{number}@kedge"),
            |(name, _)| (*name).to_string(),
        )
}

const SIGNALS: [(&str, Signal); 13] = [
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("TERM", Signal::TERM),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
];
