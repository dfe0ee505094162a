//! Processes that end with the test that started them, however that ends.
//!
//! Two things see to it. [`Child`] kills and reaps on drop. And between fork and exec each child asks
//! the kernel for SIGKILL when the thread that started it is gone (`PR_SET_PDEATHSIG`), which also
//! covers a test that is killed itself. A process that changes its user loses that request, so servers
//! are told to stay who they are.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::PidfdFlags;
use rustix::thread::LinkNameSpaceType;

/// The namespaces a child moves into before its program starts, in this order.
#[derive(Debug, Clone)]
pub struct Namespaces(Vec<Arc<(OwnedFd, LinkNameSpaceType)>>);

impl Namespaces {
    /// The user namespace (where it is not ours) and network namespace of process `pid`.
    pub fn of(pid: u32, own_user_namespace: bool) -> Result<Self> {
        let open = |name: &str, kind| -> Result<_> {
            let path = format!("/proc/{pid}/ns/{name}");
            let file = File::open(&path).with_context(|| format!("opening {path}"))?;
            Ok(Arc::new((OwnedFd::from(file), kind)))
        };
        let mut list = Vec::new();
        if own_user_namespace {
            list.push(open("user", LinkNameSpaceType::User)?);
        }
        list.push(open("net", LinkNameSpaceType::Network)?);
        Ok(Self(list))
    }
}

/// A running program, killed and reaped when it is dropped.
#[derive(Debug)]
pub struct Child {
    name: String,
    child: std::process::Child,
    log: Option<PathBuf>,
}

impl Child {
    /// Starts `command`; its standard error (and output, unless it is piped) goes to `log`.
    pub fn spawn(
        command: &mut Command,
        log: &Path,
        namespaces: Option<&Namespaces>,
    ) -> Result<Self> {
        let to = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command
            .stdout(to.try_clone()?)
            .stderr(to)
            .stdin(std::process::Stdio::null());
        let mut child = Self::spawn_as_is(command, namespaces)?;
        child.log = Some(log.to_owned());
        Ok(child)
    }

    /// Starts `command` with whatever standard streams it was given.
    pub fn spawn_as_is(command: &mut Command, namespaces: Option<&Namespaces>) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        enter(command, namespaces);
        let child = command.spawn().with_context(|| {
            format!("starting {name} (is it installed? `cargo xtask doctor-host` tells)")
        })?;
        Ok(Self {
            name,
            child,
            log: None,
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's standard streams, to take.
    pub fn streams(&mut self) -> &mut std::process::Child {
        &mut self.child
    }

    /// An error with the end of the log if the program has ended.
    pub fn must_run(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended early ({status}):\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Waits for the program's own end, of which the kernel tells at once: what is measured has no other ticks in it.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{} still runs after {timeout:?}", self.name);
            }
            // It was not waited for yet: its number is nobody else's.
            let pid = rustix::process::Pid::from_child(&self.child);
            let ended = rustix::process::pidfd_open(pid, PidfdFlags::empty())
                .with_context(|| format!("watching {}", self.name))?;
            let left = Timespec::try_from(left)?;
            match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for a program"),
            }
        }
    }

    /// Stops (`SIGSTOP`) the program, as a storage network does that hangs.
    pub fn freeze(&self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::STOP)
            .with_context(|| format!("stopping {}", self.name))
    }

    /// The last lines the program wrote.
    pub fn log_tail(&self) -> String {
        let text = self
            .log
            .as_ref()
            .and_then(|path| std::fs::read(path).ok())
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only where the process has ended and been reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end and gives its standard output; failure shows what it said.
pub fn output(command: &mut Command, namespaces: Option<&Namespaces>) -> Result<Vec<u8>> {
    enter(command, namespaces);
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| {
        format!("starting {name} (is it installed? `cargo xtask doctor-host` tells)")
    })?;
    if !out.status.success() {
        bail!(
            "{command:?} failed ({}): {}",
            out.status,
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(out.stdout)
}

/// Has `command` run in the namespaces, and end with the thread that starts it.
pub(crate) fn enter(command: &mut Command, namespaces: Option<&Namespaces>) {
    let parent = rustix::process::getpid();
    let namespaces = namespaces.cloned();
    // SAFETY: between fork and exec the closure only makes the system calls prctl, getppid and setns,
    // all async-signal-safe; it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(move || {
            for space in namespaces.iter().flat_map(|list| &list.0) {
                rustix::thread::move_into_link_name_space(space.0.as_fd(), Some(space.1))?;
            }
            // After setns: entering a user namespace changes credentials, which clears the request.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // The test may have gone before the request was made.
            if rustix::process::getppid() != Some(parent) {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_child_is_gone() -> Result<()> {
        let mut command = Command::new("sleep");
        let child = Child::spawn_as_is(command.arg("1000"), None)?;
        let proc = PathBuf::from(format!("/proc/{}", child.id()));
        assert!(proc.exists());
        drop(child);
        assert!(!proc.exists());
        Ok(())
    }

    #[test]
    fn a_child_of_a_killed_process_is_gone() -> Result<()> {
        // The child of a thread that has ended gets the same signal as that of a killed process.
        let pid = std::thread::spawn(|| {
            let child = Child::spawn_as_is(Command::new("sleep").arg("1000"), None)?;
            let pid = child.id();
            std::mem::forget(child);
            anyhow::Ok(pid)
        })
        .join()
        .unwrap()?;
        let stat = format!("/proc/{pid}/stat");
        let deadline = Instant::now() + Duration::from_secs(10);
        // Nobody reaps it here, so it stays as a zombie.
        while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
            assert!(
                Instant::now() < deadline,
                "process {pid} outlived who started it"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    #[test]
    fn a_failed_command_says_what_it_said() {
        let error = output(Command::new("ls").arg("/does/not/exist"), None).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
