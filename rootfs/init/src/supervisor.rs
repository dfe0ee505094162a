//! PID 1's one loop: waits for signals, devices, the kernel's log and the power button, and keeps
//! a shell on every console. Nothing in it may block.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use crate::child::Call;
use crate::consoles::{self, Presence};
use crate::crash::Start;
use crate::log::Log;
use crate::power_button::{self, Button, Press};
use crate::services::{Line, Services};
use crate::settings::Settings;
use crate::shells::Shells;
use crate::shutdown;
use crate::signals::{End, Request, Signals, unblocked};
use crate::terminal::BANNER;
use crate::uevents::Uevents;
use crate::{links, mounts, wholeness};
use kedge_message::{info, notice, warning};
use kedge_settings::Words;

/// Devices have appeared when none did for so long ...
const QUIET: Duration = Duration::from_millis(400);
/// ... or when so much time has passed.
const LONGEST_SETTLING: Duration = Duration::from_secs(3);
/// The banner is given so long; shells then start without.
const LONGEST_BANNER: Duration = Duration::from_secs(5);

/// Console and PID of each shell, for a restart.
pub(crate) const TABLE: &str = "/run/kedge/shells";
/// The log that [`Log`] writes.
const MESSAGES: &str = "/var/log/messages";
const SYS: &str = "/sys";

/// How far the start has come.
#[derive(Debug)]
enum Phase {
    /// Devices still appear.
    Settling { began: Instant, last: Instant },
    /// The banner is being made.
    Banner { maker: Pid, until: Instant },
    /// There are shells.
    Up,
}

#[derive(Debug)]
struct Supervisor {
    signals: Signals,
    uevents: Option<Uevents>,
    log: Option<Log>,
    buttons: Vec<Button>,
    settings: Settings,
    shells: Shells,
    services: Services,
    phase: Phase,
}

/// Sets the system up and keeps it up. Never returns.
pub(crate) fn run(start: Start) -> ! {
    mounts::mount_all();
    if matches!(start, Start::First) {
        wholeness::ensure();
    }
    let signals = match Signals::open() {
        Ok(signals) => signals,
        Err(e) => crate::plain::run(&format!("cannot open signalfd: {e}")),
    };
    let cmdline = fs::read("/proc/cmdline").unwrap_or_else(|e| {
        warning!("cannot read /proc/cmdline: {e}; no kernel argument is heeded");
        Vec::new()
    });
    let words = Words::with_cmdline(&cmdline);
    let settings = Settings::parse(&words);
    let services = services(&words);
    let uevents = Uevents::open()
        .map_err(|e| warning!("cannot watch devices: {e}; those that appear later need a look"))
        .ok();
    let log = Log::open(Path::new(MESSAGES))
        .map_err(|e| warning!("cannot keep {MESSAGES}: {e}; dmesg has the kernel's log"))
        .ok();
    let mut buttons = Vec::new();
    power_button::find(&mut buttons);
    let mut supervisor = Supervisor {
        signals,
        uevents,
        log,
        buttons,
        settings,
        shells: Shells::restored(Path::new(TABLE)),
        services: Services::new(services),
        phase: Phase::Up,
    };
    match start {
        Start::First => supervisor.first_start(),
        Start::Restarted { count } => {
            notice!("init restarted itself (restart {count} in a row); shells go on");
            supervisor.add_consoles();
        }
    }
    supervisor.serve()
}

/// What runs from the start to the end.
fn services(words: &Words) -> Vec<Line> {
    let mut services: Vec<Line> = vec![&["net", "daemon"], &["sshd"], &["clock", "service"]];
    // Nobody is told anything unless somebody asked for it.
    if words.all("kedge.beacon").next().is_some() {
        services.push(&["beacon"]);
    }
    // Nothing is read from the boot medium unless somebody asked for it.
    if words.all("kedge.pack").next().is_some() {
        services.push(&["pack", "service"]);
    }
    services
}

impl Supervisor {
    /// What is done once, at boot.
    fn first_start(&mut self) {
        info!("version {}", env!("CARGO_PKG_VERSION"));
        for complaint in &self.settings.complaints {
            warning!("{complaint}");
        }
        if let Err(e) = rustix::system::sethostname(self.settings.hostname.as_bytes()) {
            warning!("cannot set the host name {}: {e}", self.settings.hostname);
        }
        // Ctrl-alt-del comes as SIGINT from now on, instead of an instant reset.
        if let Err(e) = rustix::system::reboot(rustix::system::RebootCommand::CadOff) {
            warning!("cannot take over ctrl-alt-del: {e}");
        }
        match kedge_clock::at_least(kedge_clock::build_date()) {
            Ok(None) => {}
            Ok(Some(_)) => warning!("the clock was before this system's build: set to that"),
            Err(e) => warning!("the clock is wrong, and cannot be set: {e}"),
        }
        collect_randomness();
        links::silence();
        links::loopback_up();
        bring_up(links::physical(Path::new(SYS)));
        let now = Instant::now();
        self.phase = Phase::Settling {
            began: now,
            last: now,
        };
    }

    fn serve(mut self) -> ! {
        loop {
            self.wait();
            while let Some(request) = self.signals.next() {
                match request {
                    Request::Reap => self.reap(),
                    Request::End(how) => self.end(how),
                    #[allow(clippy::panic)]
                    Request::Panic => panic!("as the signal asked"),
                }
            }
            self.take_uevents();
            if self.log.as_mut().is_some_and(|log| !log.copy()) {
                self.log = None;
            }
            self.take_presses();
            self.advance();
            if matches!(self.phase, Phase::Up) {
                self.shells.start_due(Path::new(TABLE));
            }
            self.services.start_due();
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(uevents) = &self.uevents {
            fds.push(PollFd::new(uevents, PollFlags::IN));
        }
        if let Some(log) = &self.log {
            fds.push(PollFd::new(log, PollFlags::IN));
        }
        for button in &self.buttons {
            fds.push(PollFd::from_borrowed_fd(button.as_fd(), PollFlags::IN));
        }
        let timeout = self.deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            // Up to the next whole millisecond, so that the deadline has passed when poll returns.
            Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        // EINTR is one more reason to look around; nothing else can go wrong here.
        if poll(&mut fds, timeout.as_ref()).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// When something is to be done without anything happening.
    fn deadline(&self) -> Option<Instant> {
        let services = self.services.next_due();
        let phase = match self.phase {
            Phase::Settling { began, last } => {
                let limit = began + LONGEST_SETTLING;
                let quiet = last + QUIET;
                // Carriers come without an event: look again every now and then.
                let next = if quiet > Instant::now() {
                    quiet
                } else {
                    Instant::now() + Duration::from_millis(100)
                };
                Some(next.min(limit))
            }
            Phase::Banner { until, .. } => Some(until),
            Phase::Up => self.shells.next_due(),
        };
        [services, phase].into_iter().flatten().min()
    }

    /// Takes every child that ended, ours or inherited.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let how = how(status);
            self.shells.ended(pid, &how);
            self.services
                .ended(pid, &how, status.exit_status() == Some(0));
            if let Phase::Banner { maker, .. } = self.phase
                && maker == pid
            {
                self.banner_made(status.exit_status() == Some(0));
            }
        }
    }

    fn take_uevents(&mut self) {
        let mut new_links = Vec::new();
        let mut new_terminal = false;
        let mut new_input = false;
        while let Some(event) = self.uevents.as_ref().and_then(Uevents::next) {
            if let Phase::Settling { last, .. } = &mut self.phase {
                *last = Instant::now();
            }
            if event.action != "add" {
                continue;
            }
            match event.subsystem.as_str() {
                "net" if links::is_physical(Path::new(SYS), &event.name) => {
                    new_links.push(event.name);
                }
                "tty" => new_terminal = true,
                "input" => new_input = true,
                "" => {
                    (new_terminal, new_input) = (true, true);
                    new_links = links::physical(Path::new(SYS));
                }
                _ => {}
            }
        }
        if !new_links.is_empty() {
            bring_up(new_links);
        }
        if new_input {
            power_button::find(&mut self.buttons);
        }
        if new_terminal && matches!(self.phase, Phase::Up) {
            self.add_consoles();
        }
    }

    fn take_presses(&mut self) {
        let mut pressed = false;
        self.buttons.retain_mut(|button| match button.read() {
            Press::Pressed => {
                pressed = true;
                true
            }
            Press::Nothing => true,
            Press::Gone => false,
        });
        if pressed {
            notice!("the power button was pressed");
            self.end(End::PowerOff);
        }
    }

    /// Goes from one phase to the next when it is time.
    fn advance(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::Settling { began, last } => {
                let settled = now >= last + QUIET
                    && links::all_have_carrier(Path::new(SYS))
                    && (links::physical(Path::new(SYS)).is_empty()
                        || Path::new(kedge_net::SETTLED).exists() && fingerprint_is_there());
                if settled || now >= began + LONGEST_SETTLING {
                    self.make_banner();
                }
            }
            Phase::Banner { until, .. } if now >= until => {
                warning!("looking at the machine takes long; shells start without the banner");
                self.banner_made(false);
            }
            _ => {}
        }
    }

    /// In a process of its own, for it looks at disks, which may hang or hold anything.
    fn make_banner(&mut self) {
        let made = fs::File::create(format!("{BANNER}.new")).and_then(|file| {
            let mut command = Command::new(crate::SELF);
            command.arg0("kedge").args(["banner", "--machine"]);
            command.stdin(Stdio::null()).stdout(file);
            unblocked(&mut command).spawn()
        });
        let maker = made.map(|child| Pid::from_raw(child.id() as i32));
        match maker {
            Ok(Some(maker)) => {
                self.phase = Phase::Banner {
                    maker,
                    until: Instant::now() + LONGEST_BANNER,
                }
            }
            Ok(None) => self.banner_made(false),
            Err(e) => {
                warning!("cannot make the banner: {e}");
                self.banner_made(false);
            }
        }
    }

    fn banner_made(&mut self, fine: bool) {
        let made = if fine {
            fs::rename(format!("{BANNER}.new"), BANNER)
        } else {
            let text = format!(
                "kedge {}\nWhat this machine is could not be told: see dmesg, try kedge banner.\n",
                env!("CARGO_PKG_VERSION")
            );
            fs::write(BANNER, text)
        };
        if let Err(e) = made {
            warning!("cannot write {BANNER}: {e}");
        }
        self.report_consoles();
        self.add_consoles();
        self.phase = Phase::Up;
    }

    /// Says which `console=` there is no terminal for.
    fn report_consoles(&self) {
        for name in &self.settings.consoles {
            if name == "tty0" {
                continue;
            }
            match consoles::presence(Path::new(SYS), name) {
                Presence::Here => {}
                // The image names both serial ports; a machine may well have one.
                Presence::NoHardware => info!("console={name}: this machine has no such port"),
                Presence::Unknown => {
                    warning!("kernel argument 'console={name}' names no terminal here; skipped");
                }
            }
        }
    }

    fn add_consoles(&mut self) {
        self.shells
            .add(consoles::wanted(Path::new(SYS), &self.settings.consoles));
    }

    fn end(&mut self, how: End) -> ! {
        shutdown::run(how, &mut self.signals, &self.shells)
    }
}

/// In a child, which waits for it: on a machine that gives no entropy by itself the kernel collects some
/// when somebody waits in getrandom(2), and not before (`try_to_generate_entropy()`, drivers/char/random.c).
fn collect_randomness() {
    let started = Call::start(|| {
        let _ = rustix::rand::getrandom(&mut [0u8; 1], rustix::rand::GetRandomFlags::empty());
        0
    });
    if let Err(e) = started {
        warning!("cannot wait for randomness: {e}");
    }
}

/// In a child: some drivers take seconds.
fn bring_up(names: Vec<String>) {
    let started = Call::start(|| {
        links::bring_up(&names);
        0
    });
    if let Err(e) = started {
        warning!("cannot bring up links: {e}");
    }
}

/// Each console's banner shows it; it takes the randomness that a machine may not have at once.
fn fingerprint_is_there() -> bool {
    Path::new("/run/kedge/ssh/fingerprint").exists()
}

/// How a process ended, in words.
fn how(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => "for no known reason".into(),
    }
}
