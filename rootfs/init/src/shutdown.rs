//! The end: everything stopped, written out, unmounted, and then reboot, power off or halt.
//!
//! Each step has a bound, because a disk that hangs is the reason why many come here. What does
//! not answer in time is named, and the end is forced. A second signal forces it at once.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::process::{WaitOptions, wait};

use crate::child::{Call, code, error};
use crate::consoles::kernel_consoles;
use crate::mountinfo::to_unmount;
use crate::plain::command;
use crate::shells::Shells;
use crate::signals::{End, Request, Signals};
use kedge_message::{notice, warning};
use kedge_mountinfo::Mount;

/// For processes to end after SIGTERM, and after SIGKILL.
const TERM: Duration = Duration::from_secs(3);
const KILL: Duration = Duration::from_secs(2);
/// For all data to be written out.
const SYNC: Duration = Duration::from_secs(15);
/// For one swap device to be emptied, one file system to be unmounted.
const SWAPOFF: Duration = Duration::from_secs(5);
const UNMOUNT: Duration = Duration::from_secs(5);
/// For all file systems to be unmounted.
const UNMOUNT_ALL: Duration = Duration::from_secs(20);
/// For the kernel to end after reboot(2).
const REBOOT: Duration = Duration::from_secs(10);

/// Ends the system. `shells` are told that their terminals go away.
pub(crate) fn run(how: End, signals: &mut Signals, shells: &Shells) -> ! {
    let what = match how {
        End::Reboot => "rebooting",
        End::PowerOff => "powering off",
        End::Halt => "halting",
    };
    announce(shells, &format!("{what}; once more to force it"));
    let mut end = Ending {
        signals,
        hurry: false,
        hung: Vec::new(),
    };
    end.stop_processes(shells);
    end.swap_off();
    let mounts = to_unmount(&fs::read("/proc/self/mountinfo").unwrap_or_default());
    let hung = end.write_out(&mounts);
    end.unmount(&mounts, &hung);
    if end.hurry {
        notice!("{what} at once, as asked again");
    } else if end.hung.is_empty() {
        notice!("all is written and unmounted; {what}");
    } else {
        warning!(
            "{what} by force; no answer from: {}. What was not written is lost",
            end.hung.join(", ")
        );
    }
    finish(how)
}

/// Says it on every console: those of the kernel's get it from its log.
fn announce(shells: &Shells, text: &str) {
    notice!("{text}");
    let reached = kernel_consoles(Path::new("/sys"));
    for console in shells.consoles() {
        if reached.contains(&console) {
            continue;
        }
        // Never waits: neither for a carrier nor for room.
        let terminal = OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(Path::new("/dev").join(console));
        if let Ok(mut terminal) = terminal {
            let _ = terminal.write_all(format!("\r\nkedge: {text}\r\n").as_bytes());
        }
    }
}

struct Ending<'a> {
    signals: &'a mut Signals,
    /// Somebody asked a second time.
    hurry: bool,
    /// What did not answer, in words for the operator.
    hung: Vec<String>,
}

impl Ending<'_> {
    fn stop_processes(&mut self, shells: &Shells) {
        shells.hang_up();
        kill_all(libc::SIGTERM);
        // A stopped process gets its signal only when it goes on.
        kill_all(libc::SIGCONT);
        if !self.all_gone(TERM) {
            kill_all(libc::SIGKILL);
            self.all_gone(KILL);
        }
    }

    /// Reaps until there is no process left but us, for at most `longest`.
    fn all_gone(&mut self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        loop {
            loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // Every process is a descendant of PID 1's: without a child there is none.
                    Err(_) => return true,
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.asked_again() {
                return false;
            }
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let _ = poll(
                &mut [PollFd::new(&*self.signals, PollFlags::IN)],
                Some(&timeout),
            );
        }
    }

    fn asked_again(&mut self) -> bool {
        while let Some(request) = self.signals.next() {
            self.hurry |= matches!(request, Request::End(_));
        }
        self.hurry
    }

    /// Waits for a call; `None` when it does not return in time, or somebody is in a hurry.
    fn bounded(&mut self, call: &Call, deadline: Instant) -> Option<i32> {
        loop {
            let step = deadline.min(Instant::now() + Duration::from_millis(200));
            if let Some(status) = call.wait(step) {
                return Some(status);
            }
            if Instant::now() >= deadline || self.asked_again() {
                return None;
            }
        }
    }

    fn swap_off(&mut self) {
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        for device in swaps
            .lines()
            .skip(1)
            .filter_map(|l| l.split_whitespace().next())
        {
            let Ok(path) = std::ffi::CString::new(device) else {
                continue;
            };
            let call = Call::start(|| {
                // SAFETY: a string that ends in a zero byte.
                match unsafe { libc::swapoff(path.as_ptr()) } {
                    0 => 0,
                    _ => 1,
                }
            });
            if let Ok(call) = call
                && self.bounded(&call, Instant::now() + SWAPOFF).is_none()
            {
                self.hung.push(format!("swap on {device}"));
            }
        }
    }

    /// Writes out all file systems at the same time, and what was written to disks directly.
    /// Returns the mounts that did not answer.
    fn write_out(&mut self, mounts: &[Mount]) -> Vec<Mount> {
        let mut calls = Vec::new();
        for mount in mounts.iter().filter(|mount| !mount.is_virtual()) {
            let call = Call::start(|| {
                code(
                    rustix::fs::open(
                        &mount.target,
                        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                        Mode::empty(),
                    )
                    .and_then(|root| rustix::fs::syncfs(&root)),
                )
            });
            match call {
                Ok(call) => calls.push((mount, call)),
                Err(e) => warning!("cannot write out {}: {e}", mount.target.display()),
            }
        }
        let everything = Call::start(|| {
            rustix::fs::sync();
            0
        });
        let deadline = Instant::now() + SYNC;
        let mut hung = Vec::new();
        for (mount, call) in calls {
            match self.bounded(&call, deadline).map(error) {
                Some(Ok(())) => {}
                // A mount point that is a file, or hidden by another mount: sync has it.
                Some(Err(e)) if e.kind() == std::io::ErrorKind::NotADirectory => {}
                Some(Err(e)) => warning!(
                    "not everything could be written to {} ({}): {e}",
                    mount.target.display(),
                    mount.source
                ),
                None => {
                    self.hung
                        .push(format!("{} ({})", mount.target.display(), mount.source));
                    hung.push(mount.clone());
                }
            }
        }
        if let Ok(call) = everything
            && self.bounded(&call, deadline).is_none()
            && self.hung.is_empty()
        {
            let busy = busy_disks();
            self.hung.push(if busy.is_empty() {
                "a disk".into()
            } else {
                busy.join(", ")
            });
        }
        hung
    }

    fn unmount(&mut self, mounts: &[Mount], hung: &[Mount]) {
        let deadline = Instant::now() + UNMOUNT_ALL;
        for mount in mounts {
            // To unmount it would hang just as well, and so would the one that it is inside of.
            let stuck = hung.iter().any(|h| h.target.starts_with(&mount.target));
            if stuck || self.hurry {
                continue;
            }
            let target = &mount.target;
            let call = Call::start(|| {
                let result = unmount(target, UnmountFlags::NOFOLLOW);
                if result != Err(rustix::io::Errno::BUSY) {
                    return code(result);
                }
                // Somebody that could not be killed still has it: read-only is as safe.
                let read_only = mount_remount(target, MountFlags::RDONLY, c"");
                let _ = unmount(target, UnmountFlags::DETACH);
                code(read_only)
            });
            let Ok(call) = call else { continue };
            let until = deadline.min(Instant::now() + UNMOUNT);
            match self.bounded(&call, until).map(error) {
                Some(Ok(())) => {}
                Some(Err(e)) => {
                    warning!(
                        "cannot unmount {} ({}): {e}",
                        target.display(),
                        mount.source
                    );
                }
                None => self
                    .hung
                    .push(format!("{} ({})", target.display(), mount.source)),
            }
        }
    }
}

fn kill_all(signal: i32) {
    // SAFETY: no memory is passed. -1 is every process but PID 1 and the caller.
    unsafe { libc::kill(-1, signal) };
}

/// Disks with requests under way (Documentation/ABI/stable/sysfs-block: `inflight`).
fn busy_disks() -> Vec<String> {
    let Ok(disks) = fs::read_dir("/sys/block") else {
        return Vec::new();
    };
    let mut busy: Vec<String> = disks
        .flatten()
        .filter(|disk| {
            fs::read_to_string(disk.path().join("inflight"))
                .is_ok_and(|n| n.split_whitespace().any(|n| n != "0"))
        })
        .map(|disk| disk.file_name().to_string_lossy().into_owned())
        .collect();
    busy.sort();
    busy
}

/// The kernel flushes each SCSI disk before it ends, and waits minutes for one that hangs; not for
/// one that is offline.
fn give_up_on_hung_disks() {
    for disk in busy_disks() {
        // The kernel wants the line feed.
        let state = Path::new("/sys/block").join(&disk).join("device/state");
        let call = Call::start(|| match fs::write(&state, "offline\n") {
            Ok(()) => 0,
            Err(e) => u8::try_from(e.raw_os_error().unwrap_or(1)).unwrap_or(1),
        });
        let answer = call.map(|call| call.wait(Instant::now() + Duration::from_secs(1)));
        if matches!(answer, Ok(Some(0))) {
            notice!("{disk} has requests under way that do not end: set offline");
        } else {
            notice!("{disk} has requests under way that do not end, and cannot be set offline");
        }
    }
}

/// reboot(2), and when that does not end the system, the magic SysRq key.
pub(crate) fn finish(how: End) -> ! {
    give_up_on_hung_disks();
    let call = Call::start(|| code(rustix::system::reboot(command(how))));
    match call {
        Ok(call) => {
            if let Some(Err(e)) = call.wait(Instant::now() + REBOOT).map(error) {
                warning!("the kernel refuses: {e}");
            }
        }
        Err(_) => {
            let _ = rustix::system::reboot(command(how));
        }
    }
    let key = match how {
        End::Reboot => "b",
        End::PowerOff => "o",
        // The kernel has no key for it; everything that could be lost is written.
        End::Halt => "",
    };
    if !key.is_empty() {
        warning!("the kernel does not end; using SysRq {key}");
        let _ = fs::write("/proc/sys/kernel/sysrq", "1");
        let _ = fs::write("/proc/sysrq-trigger", key);
        std::thread::sleep(REBOOT);
    }
    loop {
        warning!("this machine does not end by itself: switch it off by hand, or by its BMC");
        std::thread::sleep(Duration::from_secs(60));
    }
}
