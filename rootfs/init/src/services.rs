//! The services: programs that run for as long as the system does. One that ends is started again, at
//! once the first time, and ever later when it keeps ending; exit status 0 says that there is nothing to do.
//!
//! The table is kept in a file too, as that of the shells is, for an init that had to restart itself.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kedge_message::{info, warning};
use rustix::process::Pid;

use crate::shells::{is_child, parse_table};
use crate::signals::unblocked;

/// A service that ran so long is not one that keeps ending.
const STEADY: Duration = Duration::from_secs(60);
/// The first wait; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Name and PID of each, for a restart.
const TABLE: &str = "/run/kedge/services";

/// A service to be: the tool and its arguments.
pub(crate) type Line = &'static [&'static str];

#[derive(Debug)]
struct Service {
    line: Line,
    pid: Option<Pid>,
    started: Instant,
    due: Instant,
    /// Ends in a row after a short time.
    quick: u32,
    /// It said that there is nothing to do.
    finished: bool,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Services(Vec<Service>);

impl Services {
    /// None of them runs yet, but those that did when init restarted itself.
    pub(crate) fn new(lines: Vec<Line>) -> Services {
        let table = fs::read_to_string(TABLE).unwrap_or_default();
        let running: Vec<(String, Pid)> = parse_table(&table)
            .filter(|(_, pid)| is_child(*pid))
            .collect();
        let now = Instant::now();
        let services = lines.into_iter().map(|line| Service {
            line,
            pid: running
                .iter()
                .find(|(name, _)| name == line[0])
                .map(|(_, pid)| *pid),
            started: now,
            due: now,
            quick: 0,
            finished: false,
        });
        Services(services.collect())
    }

    /// Starts each whose time has come.
    pub(crate) fn start_due(&mut self) {
        let now = Instant::now();
        let mut changed = false;
        for service in &mut self.0 {
            if service.pid.is_none() && !service.finished && service.due <= now {
                service.start();
                changed = true;
            }
        }
        if changed {
            self.save();
        }
    }

    /// When the next is to be started.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self
            .0
            .iter()
            .filter(|service| service.pid.is_none() && !service.finished);
        waiting.map(|service| service.due).min()
    }

    /// Notes that a process ended, if it is a service. `how`: "exit status 1", "signal 11".
    pub(crate) fn ended(&mut self, pid: Pid, how: &str, finished: bool) {
        let ended = self.0.iter_mut().find(|service| service.pid == Some(pid));
        match ended {
            Some(service) if finished => {
                service.pid = None;
                service.finished = true;
            }
            Some(service) => service.ended(how),
            None => {}
        }
    }

    fn save(&self) {
        let mut table = String::new();
        for service in &self.0 {
            if let Some(pid) = service.pid {
                let name = service.line[0];
                table.push_str(&format!("{name} {}\n", pid.as_raw_nonzero()));
            }
        }
        let new = Path::new(TABLE).with_extension("new");
        if let Err(e) = fs::write(&new, table).and_then(|()| fs::rename(&new, TABLE)) {
            info!("cannot write {TABLE}: {e}");
        }
    }
}

impl Service {
    fn start(&mut self) {
        let mut command = Command::new(crate::SELF);
        command
            .arg0("kedge")
            .args(self.line)
            .env_clear()
            .envs([("PATH", "/bin"), ("HOME", "/root")])
            .current_dir("/")
            // Its words go to the kernel's log; what else it says, to the console.
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        self.started = Instant::now();
        match unblocked(&mut command).spawn() {
            Ok(child) => self.pid = Pid::from_raw(child.id() as i32),
            Err(e) => self.ended(&format!("it could not be started: {e}")),
        }
    }

    fn ended(&mut self, how: &str) {
        let now = Instant::now();
        self.pid = None;
        if now.duration_since(self.started) >= STEADY {
            self.quick = 0;
        }
        let wait = wait_after(self.quick);
        self.quick = self.quick.saturating_add(1);
        self.due = now + wait;
        let seconds = wait.as_secs();
        warning!(
            "{} ended ({how}); started again in {seconds} s",
            self.line.join(" ")
        );
    }
}

fn wait_after(quick: u32) -> Duration {
    FIRST_WAIT
        .saturating_mul(1 << quick.min(10))
        .min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_keep_ending_are_started_ever_later() {
        assert_eq!(wait_after(0), Duration::from_secs(1));
        assert_eq!(wait_after(3), Duration::from_secs(8));
        assert_eq!(wait_after(u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn each_is_started_once_and_again_when_it_ended() {
        let mut services = Services::new(vec![&["net", "daemon"]]);
        assert!(services.next_due().is_some_and(|due| due <= Instant::now()));
        let pid = Pid::from_raw(4_000_000).unwrap();
        services.0[0].pid = Some(pid);
        assert_eq!(services.next_due(), None);
        services.ended(Pid::from_raw(4_000_001).unwrap(), "exit status 1", false);
        assert_eq!(services.next_due(), None);
        services.ended(pid, "exit status 1", false);
        assert!(services.next_due().is_some_and(|due| due > Instant::now()));
        services.0[0].pid = Some(pid);
        services.ended(pid, "exit status 0", true);
        assert_eq!(services.next_due(), None, "what is finished is left alone");
    }
}
