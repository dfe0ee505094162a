//! A machine that runs: its consoles, its screen and keyboard, its plugs, its end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::capture::Capture;
use crate::child::{Child, Namespaces};
use crate::console::Console;
use crate::folder::Folder;
use crate::frame::Frame;
use crate::machine::Source;
use crate::qmp::Qmp;
use crate::{BOOT, screen, wire};

/// How long a system may take to end when nothing hangs.
const END: Duration = Duration::from_secs(60);

/// A running QEMU. It is killed when this is dropped; its last screen is kept.
#[derive(Debug)]
pub struct Running {
    qmp: Qmp,
    consoles: BTreeMap<&'static str, Console>,
    qemu: Child,
    folder: PathBuf,
    started: SystemTime,
    /// The guest has ended; QEMU may still be there, and answers no more.
    off: bool,
}

impl Running {
    pub(crate) fn start(
        scenario: &Folder,
        folder: PathBuf,
        arguments: &[String],
        consoles: &[&'static str],
        namespaces: Option<&Namespaces>,
    ) -> Result<Self> {
        let listen = |name: &str| wire::listen(&folder, &format!("{name}.sock"));
        let lines: Vec<_> = consoles
            .iter()
            .map(|name| Ok((*name, listen(name)?)))
            .collect::<Result<_>>()?;
        let control = listen("qmp")?;
        let mut command = Command::new("qemu-system-x86_64");
        // Media behind a slow link are read for minutes: QEMU's own NBD timeout does not apply, and
        // relative paths in the arguments are in this folder.
        command.current_dir(&folder).args(arguments);
        let started = SystemTime::now();
        let mut qemu = Child::spawn(&mut command, &folder.join("qemu.log"), namespaces)?;
        let mut running_consoles = BTreeMap::new();
        for (name, line) in &lines {
            let stream = wire::accept(line, &mut qemu)?;
            let file = folder.join(format!("{name}.log"));
            let console = Console::new(name, stream, &file)?;
            scenario.watch(&file, console.log());
            running_consoles.insert(*name, console);
        }
        let qmp = Qmp::new(wire::accept(&control, &mut qemu)?)?;
        for name in consoles.iter().chain(&["qmp"]) {
            // Connected: the names are not needed any more.
            std::fs::remove_file(folder.join(format!("{name}.sock")))?;
        }
        Ok(Self {
            qmp,
            consoles: running_consoles,
            qemu,
            folder,
            started,
            off: false,
        })
    }

    /// When QEMU was started.
    pub fn started(&self) -> SystemTime {
        self.started
    }

    /// The machine's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The first serial console.
    pub fn console(&mut self) -> Result<&mut Console> {
        self.console_named("ttyS0")
    }

    /// The console `ttyS0`, `ttyS1` or `hvc0`.
    pub fn console_named(&mut self, name: &str) -> Result<&mut Console> {
        self.consoles
            .get_mut(name)
            .with_context(|| format!("the machine has no console {name}"))
    }

    /// Waits for a shell on the first serial console, and keeps the screen of that moment.
    pub fn wait_for_shell(&mut self) -> Result<()> {
        self.wait_for_shell_within(BOOT)
    }

    /// Like [`Self::wait_for_shell`], for boots that take longer or must not.
    pub fn wait_for_shell_within(&mut self, timeout: Duration) -> Result<()> {
        self.console()?.wait_for_shell(timeout)?;
        self.save_screen("screen.png")
    }

    /// Runs a command that must succeed on the first serial console; gives what it printed.
    pub fn run(&mut self, command: &str) -> Result<String> {
        self.console()?.run(command)
    }

    /// Works with the system as an operator does at first, with programs that were not used before:
    /// whatever would still be read from the boot medium is asked for here.
    pub fn tour(&mut self) -> Result<()> {
        let kernel = self.run("uname -srm")?;
        if !kernel.starts_with("Linux 6.") {
            bail!("uname says {kernel:?}");
        }
        for command in [
            "ls -l /bin /dev >/tmp/listing && test -s /tmp/listing",
            "grep -q '^proc /proc ' /proc/mounts && grep -q ' /sys sysfs ' /proc/mounts",
            "ps | grep -q '^ *1 '",
            "dd if=/dev/zero of=/tmp/zeros bs=64k count=16 2>/dev/null && sha256sum /tmp/zeros",
            "mkdir /tmp/d && echo a | gzip | tar -cf /tmp/d/a.tar -C /tmp zeros && vi --help 2>&1 | head -1",
            "ip address show lo | grep -q 127.0.0.1 || ip link show lo",
            "kedge help",
            "rm -r /tmp/zeros /tmp/d /tmp/listing",
        ] {
            self.run(command)?;
        }
        let failed = self.console()?.try_run("sh -c 'exit 42'")?;
        if failed.status != 42 {
            bail!(
                "a shell that exits with 42 was seen to exit with {}",
                failed.status
            );
        }
        Ok(())
    }

    /// Types `poweroff` and waits until the machine is off.
    pub fn power_off(&mut self) -> Result<()> {
        self.console()?.send("poweroff\n")?;
        self.ended("guest-shutdown", END)
    }

    /// Waits for the machine's own end, for this reason: `guest-shutdown` or `guest-reset`.
    pub fn ended(&mut self, reason: &str, timeout: Duration) -> Result<()> {
        self.end_event(reason, timeout)?;
        let status = self.qemu.wait(Duration::from_secs(30))?;
        if !status.success() {
            bail!("QEMU ended with {status}:\n{}", self.qemu.log_tail());
        }
        Ok(())
    }

    /// Waits until the guest has switched the machine off, while QEMU may hang on a disk of its own.
    pub fn powered_off(&mut self, timeout: Duration) -> Result<()> {
        self.end_event("guest-shutdown", timeout)
    }

    fn end_event(&mut self, reason: &str, timeout: Duration) -> Result<()> {
        let event = self
            .qmp
            .event("SHUTDOWN", timeout)
            .context("waiting for the machine's end")?;
        if event["data"]["reason"] != reason {
            bail!(
                "the machine ended by {} and not by {reason}",
                event["data"]["reason"]
            );
        }
        self.off = true;
        Ok(())
    }

    /// Keeps the whole machine as it is now, in its disk's image, which is [`Source::qcow2`]; QEMU's `-loadvm` goes on from there.
    pub fn save_snapshot(&mut self, name: &str) -> Result<()> {
        let said = self.qmp.human(&format!("savevm {name}"))?;
        if !said.trim().is_empty() {
            bail!("QEMU keeps no snapshot: {said}");
        }
        Ok(())
    }

    /// How many times this QEMU has written to its disks for the guest.
    pub fn writes(&mut self) -> Result<u64> {
        let disks = self.qmp.execute("query-blockstats", json!({}))?;
        let disks = disks.as_array().context("QEMU tells of each disk")?;
        let writes = |disk: &Value| disk["stats"]["wr_operations"].as_u64();
        Ok(disks.iter().filter_map(writes).sum())
    }

    /// Cuts the power: QEMU is killed, and with it what it has not written of the disk's tables.
    pub fn cut_power(mut self) {
        // No screen is asked for: the machine would go on meanwhile.
        self.off = true;
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) -> Result<()> {
        self.qmp.execute("system_powerdown", json!({})).map(drop)
    }

    /// Pulls a device out, as a hand does a USB plug.
    pub fn unplug(&mut self, id: &str) -> Result<()> {
        self.qmp.execute("device_del", json!({ "id": id }))?;
        self.qmp
            .event("DEVICE_DELETED", Duration::from_secs(30))
            .map(drop)
    }

    /// Plugs a virtual CD in: a drive behind USB mass storage with a name of its own, as
    /// [`Medium::UsbCd`](crate::Medium) has it.
    pub fn plug_cd(&mut self, id: &str, from: impl Into<Source>) -> Result<()> {
        let drive = format!("{id}-drive");
        let from = from.into().drive(&drive);
        self.qmp.human(&format!("drive_add 0 {from}"))?;
        self.qmp.execute(
            "device_add",
            json!({ "driver": "usb-bot", "id": id, "bus": "xhci.0" }),
        )?;
        self.qmp.execute(
            "device_add",
            json!({ "driver": "scsi-cd", "bus": format!("{id}.0"), "drive": drive }),
        )?;
        // One that is plugged in while the machine runs waits until its drives are there.
        let path = format!("/machine/peripheral/{id}");
        let attached = json!({ "path": path, "property": "attached", "value": true });
        self.qmp.execute("qom-set", attached).map(drop)
    }

    /// Pulls the cable out of network card `n` (from 0), or plugs it in again: the guest sees its carrier
    /// go and come.
    pub fn set_link(&mut self, n: usize, up: bool) -> Result<()> {
        self.qmp
            .execute("set_link", json!({ "name": format!("nic{n}"), "up": up }))
            .map(drop)
    }

    /// What has passed through network card `n` (from 0) so far, in both directions.
    pub fn capture(&self, n: usize) -> Result<Capture> {
        Capture::read(&self.folder.join(format!("n{n}.pcap")))
    }

    /// Waits until such a frame has passed through network card `n`; gives the first.
    pub fn wait_for_frame(
        &mut self,
        n: usize,
        what: &str,
        timeout: Duration,
        mut is: impl FnMut(&Frame) -> bool,
    ) -> Result<Frame> {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let capture = self.capture(n)?;
            if let Some(frame) = capture.frames.iter().find(|frame| is(frame)) {
                return Ok(frame.clone());
            }
            self.qemu.must_run()?;
            if std::time::Instant::now() > deadline {
                bail!("{what} did not come within {timeout:?}; what came was:\n{capture}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Takes the disc out of a drive, locked or not.
    pub fn eject(&mut self, id: &str) -> Result<()> {
        self.qmp
            .execute("eject", json!({ "id": id, "force": true }))
            .map(drop)
    }

    /// Presses keys together, by QEMU's names (`qapi/ui.json`, QKeyCode): `["ctrl", "alt", "delete"]`.
    pub fn press(&mut self, keys: &[&str]) -> Result<()> {
        let keys: Vec<Value> = keys
            .iter()
            .map(|key| json!({ "type": "qcode", "data": key }))
            .collect();
        self.qmp
            .execute("send-key", json!({ "keys": keys, "hold-time": 30 }))?;
        // One key after the other, as a keyboard sends them.
        std::thread::sleep(Duration::from_millis(80));
        Ok(())
    }

    /// Types on the keyboard: small letters, digits, `-`, `.`, `/`, space and return ("\n").
    pub fn type_keys(&mut self, text: &str) -> Result<()> {
        for char in text.chars() {
            let key = match char {
                'a'..='z' | '0'..='9' => char.to_string(),
                ' ' => "spc".into(),
                '\n' => "ret".into(),
                '-' => "minus".into(),
                '.' => "dot".into(),
                '/' => "slash".into(),
                _ => bail!("no key is known for {char:?}"),
            };
            self.press(&[&key])?;
        }
        Ok(())
    }

    /// Keeps the screen as it is now, as PNG in the machine's folder.
    pub fn save_screen(&mut self, file: &str) -> Result<()> {
        screen::save(&mut self.qmp, file)
    }

    /// The 25 lines on the screen in VGA text mode.
    pub fn screen_text(&mut self) -> Result<String> {
        screen::text(&mut self.qmp, &self.folder)
    }

    /// Waits until `text` is on the screen; gives all of the screen.
    pub fn expect_on_screen(&mut self, text: &str, timeout: Duration) -> Result<String> {
        let deadline = std::time::Instant::now() + timeout;
        loop {
            let screen = self.screen_text()?;
            if screen.contains(text) {
                return Ok(screen);
            }
            if std::time::Instant::now() > deadline {
                bail!(
                    "{text:?} did not come on the screen within {timeout:?}; it shows:\n{screen}"
                );
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// How many pixels of the screen differ from its first one.
    pub fn lit_pixels(&mut self) -> Result<usize> {
        screen::lit_pixels(&mut self.qmp, &self.folder)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.off && self.qemu.must_run().is_ok() {
            // For whoever wants to know where it stood; a QEMU that hangs has none.
            let _ = self.save_screen("last.png");
        }
        // Firmware variables and such are 0.5 MB a machine and tell nothing.
        let _ = std::fs::remove_file(self.folder.join("vars.fd"));
    }
}
