//! The shells on the consoles: which runs where, and when one that ended is started again.
//!
//! The table is kept in a file too, so that init, when it had to restart itself, goes on with the
//! shells that run.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::signals::unblocked;
use kedge_message::{info, notice, warning};

/// A shell that ends sooner than this did not serve anybody.
const QUICK: Duration = Duration::from_secs(1);
/// So many quick ends in a row, and the next start waits.
const QUICK_ENDS: u32 = 3;
/// The first wait; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// One console's shell.
#[derive(Debug)]
struct Shell {
    console: String,
    pid: Option<Pid>,
    started: Instant,
    /// Quick ends in a row.
    quick: u32,
    /// When to start it; meaningless while it runs.
    due: Instant,
    /// How the one before it ended.
    ended: Option<String>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Shells {
    list: Vec<Shell>,
}

impl Shells {
    /// Those that `file` says to run, as far as they do.
    pub(crate) fn restored(file: &Path) -> Shells {
        let table = fs::read_to_string(file).unwrap_or_default();
        let list = parse_table(&table)
            .filter(|(_, pid)| is_child(*pid))
            .map(|(console, pid)| Shell {
                pid: Some(pid),
                ..Shell::new(console)
            })
            .collect();
        Shells { list }
    }

    /// Adds consoles that have no shell yet.
    pub(crate) fn add(&mut self, consoles: Vec<String>) {
        for console in consoles {
            if !self.list.iter().any(|shell| shell.console == console) {
                self.list.push(Shell::new(console));
            }
        }
    }

    /// The consoles' names.
    pub(crate) fn consoles(&self) -> Vec<String> {
        self.list
            .iter()
            .map(|shell| shell.console.clone())
            .collect()
    }

    /// Starts each shell whose time has come.
    pub(crate) fn start_due(&mut self, file: &Path) {
        let now = Instant::now();
        let mut changed = false;
        for shell in &mut self.list {
            if shell.pid.is_none() && shell.due <= now {
                shell.start();
                changed = true;
            }
        }
        if changed {
            self.save(file);
        }
    }

    /// When the next shell is to be started.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.list
            .iter()
            .filter(|shell| shell.pid.is_none())
            .map(|shell| shell.due)
            .min()
    }

    /// Notes that a process ended, if it is a shell. `how`: "exit status 1", "signal 11".
    pub(crate) fn ended(&mut self, pid: Pid, how: &str) {
        if let Some(shell) = self.list.iter_mut().find(|shell| shell.pid == Some(pid)) {
            shell.ended(how);
        }
    }

    /// Tells the shells that their terminals go away: an interactive shell ignores SIGTERM.
    pub(crate) fn hang_up(&self) {
        for pid in self.list.iter().filter_map(|shell| shell.pid) {
            let _ = kill_process(pid, Signal::HUP);
        }
    }

    fn save(&self, file: &Path) {
        let mut table = String::new();
        for shell in &self.list {
            if let Some(pid) = shell.pid {
                table.push_str(&format!("{} {}\n", shell.console, pid.as_raw_nonzero()));
            }
        }
        let new = file.with_extension("new");
        let saved = fs::write(&new, table).and_then(|()| fs::rename(&new, file));
        if let Err(e) = saved {
            info!("cannot write {}: {e}", file.display());
        }
    }
}

impl Shell {
    fn new(console: String) -> Shell {
        let now = Instant::now();
        Shell {
            console,
            pid: None,
            started: now,
            quick: 0,
            due: now,
            ended: None,
        }
    }

    fn start(&mut self) {
        let mut command = Command::new(crate::SELF);
        command.arg0("kedge").args(["console", &self.console]);
        if let Some(how) = self.ended.take() {
            command.args(["--again", &how]);
        }
        // What it has to say before it has its terminal goes where init's own stderr goes.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.started = Instant::now();
        match unblocked(&mut command).spawn() {
            Ok(child) => self.pid = Pid::from_raw(child.id() as i32),
            Err(e) => {
                self.ended(&format!("it could not be started: {e}"));
            }
        }
    }

    fn ended(&mut self, how: &str) {
        self.pid = None;
        let now = Instant::now();
        self.ended = Some(how.to_string());
        self.due = now;
        if now.duration_since(self.started) >= QUICK {
            self.quick = 0;
            info!("the shell on {} ended ({how})", self.console);
            return;
        }
        self.quick += 1;
        let Some(wait) = wait_after(self.quick) else {
            return;
        };
        self.due = now + wait;
        if self.quick == QUICK_ENDS {
            warning!(
                "the shell on {} ended {QUICK_ENDS} times at once ({how}); next try in {} s, then ever later",
                self.console,
                wait.as_secs()
            );
        } else {
            notice!(
                "the shell on {} ended at once again ({how}); next try in {} s",
                self.console,
                wait.as_secs()
            );
        }
    }
}

/// How long to wait after so many quick ends in a row.
fn wait_after(quick: u32) -> Option<Duration> {
    let doublings = quick.checked_sub(QUICK_ENDS)?;
    let wait = FIRST_WAIT.saturating_mul(1 << doublings.min(10));
    Some(wait.min(LONGEST_WAIT))
}

/// Lines of a name and a PID.
pub(crate) fn parse_table(table: &str) -> impl Iterator<Item = (String, Pid)> {
    table.lines().filter_map(|line| {
        let (console, pid) = line.split_once(' ')?;
        let pid: i32 = pid.parse().ok().filter(|&pid| pid > 1)?;
        Some((console.to_string(), Pid::from_raw(pid)?))
    })
}

/// Whether `pid` is a child of this process that still runs.
pub(crate) fn is_child(pid: Pid) -> bool {
    // Without NOWAIT the status would be gone for the reaper.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::Pid(pid), look), Ok(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_that_die_at_once_are_started_ever_later() {
        assert_eq!(wait_after(1), None);
        assert_eq!(wait_after(2), None);
        assert_eq!(wait_after(3), Some(Duration::from_secs(5)));
        assert_eq!(wait_after(4), Some(Duration::from_secs(10)));
        assert_eq!(wait_after(u32::MAX), Some(LONGEST_WAIT));
    }

    #[test]
    fn a_damaged_table_is_read_as_far_as_it_makes_sense() {
        let table = "ttyS0 12\ntty1\n\nhvc0 x\ntty2 -5\ntty3 1\ntty4 99999999999\nttyS1 7";
        let found: Vec<String> = parse_table(table).map(|(console, _)| console).collect();
        assert_eq!(found, ["ttyS0", "ttyS1"]);
    }

    #[test]
    fn only_own_children_that_run_are_taken_over() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32).unwrap();
        assert!(is_child(pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_child(pid));
        assert!(!is_child(Pid::from_raw(1).unwrap()));
    }
}
