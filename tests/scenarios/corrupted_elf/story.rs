//! The story in its steps, each of which proves itself: for the scenario, and for `cargo xtask bench story`, which keeps the
//! recording.
//!
//! What is recorded is what came over the terminals, byte for byte and when it came: the operator's own, the victim's serial line, and
//! kedge's on the same line. The booting is not in it, and players shorten waiting to [`IDLE`].

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::desk;
use kedge_tests::elf64::Elf64;
use kedge_tests::recording::{IDLE, Piece, Recording, scene};
use kedge_tests::victim::{ADDRESS, MIRROR};
use kedge_tests::{
    BOOT, COMMAND, Console, Controller, Desk, Disk, Dnsmasq, Folder, Machine, Medium, Network, Nic,
    Running, Server, Ssh, SshKey, Victim, out,
};

/// What was damaged, as the package has it.
const LIBCRYPTO: &str = "usr/lib/x86_64-linux-gnu/libcrypto.so.3";

/// What ld.so dies with.
const ASSERTION: &str = "elf_machine_rela_relative: Assertion `ELFW(R_TYPE) (reloc->r_info) == R_X86_64_RELATIVE' failed!";

/// The relocations that are damaged, counted from the first: one bit of each.
const DAMAGED: [u64; 3] = [512, 513, 700];

/// How long a command may take that goes over the network.
const REPAIR: Duration = Duration::from_secs(180);

/// What the recording is called.
const TITLE: &str = "From \"sshd does not start\" to the one bad file, and back";

/// The terminal of the recording.
const WIDTH: usize = 80;
const HEIGHT: usize = 25;

/// What kedge's shell ends a line with when it waits, and the victim's.
const PROMPT: &str = "kedge:/root# ";
const VICTIM_PROMPT: &str = "root@victim:~# ";

/// How the operator logs in.
const LOGIN: &str = "ssh root@192.0.2.7";

/// Everything of the story that does not change.
struct Site {
    network: Network,
    _names: Server,
    victim: Victim,
    disk: Disk,
}

impl Site {
    /// A network with a mirror, and a victim that is whole.
    fn new(folder: &Folder) -> Result<Self> {
        let mut network = Network::new(&folder.folder("network")?)?;
        let names = Dnsmasq::new("1h")
            .range4("192.0.2.100", "192.0.2.199")
            .dns()
            .name(MIRROR, "192.0.2.1")
            .start(network.lan())?;
        let victim = Victim::server()?;
        let disk = victim.disk(&folder.path().join("disk.img"))?;
        let mirror = victim.mirror(&folder.path().join("web"))?;
        network.serve_http(mirror.folder())?;
        Ok(Self {
            network,
            _names: names,
            victim,
            disk,
        })
    }

    /// Flips bits as the outage did: neither size nor date nor owner tells.
    fn damage(&self) -> Result<()> {
        let bytes = fs::read(self.victim.pristine().join(LIBCRYPTO))?;
        let elf = Elf64::read(&bytes)?;
        for n in DAMAGED {
            let at = elf.relative_relocation_info(n)?;
            let byte = bytes[usize::try_from(at)?];
            self.disk
                .overwrite(&format!("/{LIBCRYPTO}"), at, &[byte ^ 1])?;
        }
        Ok(())
    }

    fn boot_victim(&self, folder: &Folder, name: &str) -> Result<Running> {
        let machine = self.victim.machine(folder, name, &self.disk);
        machine.nic_on(self.network.lan(), Nic::Virtio).start()
    }

    /// The victim boots, and sshd dies as in the story: nobody can log in, and the console says why.
    fn sshd_dies(&self, folder: &Folder) -> Result<Vec<Piece>> {
        let mut machine = self.boot_victim(folder, "broken")?;
        let console = machine.console()?;
        console.expect("login: root (automatic login)", BOOT)?;
        console.wait_for_prompt(COMMAND)?;
        let mut desk = self.desk()?;
        let refused = desk.terminal().type_line(LOGIN, desk::PROMPT, COMMAND)?;
        ensure!(refused.contains("Connection refused"), "{refused}");
        let mut seen = scene("at the desk", desk.terminal().since(0));
        let begin = new_line(console, VICTIM_PROMPT)?;
        // Debian's script asks sshd whether it is OpenSSH's, and says nothing when no answer comes.
        let said = console.type_line("/etc/init.d/ssh start", VICTIM_PROMPT, COMMAND)?;
        ensure!(said.is_empty(), "{said}");
        let said = console.type_line("/usr/sbin/sshd -t", VICTIM_PROMPT, COMMAND)?;
        ensure!(said.contains(ASSERTION), "{said}");
        let pieces = console.since(begin);
        seen.extend(scene("the server's serial console", pieces));
        let sshd = console.try_run("/usr/sbin/sshd -t")?;
        ensure!(
            sshd.status == 127 && sshd.text.contains(ASSERTION),
            "{sshd:?}"
        );
        ensure!(console.try_run("pgrep sshd")?.status != 0, "sshd runs");
        console.send("poweroff\n")?;
        machine.ended("guest-shutdown", BOOT)?;
        Ok(seen)
    }

    /// kedge.iso boots beside the victim's disk; one command tells what is wrong, one puts it right.
    fn rescue(&self, folder: &Folder) -> Result<Vec<Piece>> {
        let iso = out::artefact("kedge.iso")?;
        let machine = Machine::new(folder, "rescue")
            .medium(Medium::UsbCd, &iso)
            .disk(Controller::VirtioBlk, self.disk.path(), "VICTIM");
        let mut machine = machine.nic_on(self.network.lan(), Nic::Virtio).start()?;
        machine.wait_for_shell()?;
        machine.run("i=0; until ip -4 address show eth0 | grep -q 192.0.2.1; do sleep 1; i=$((i+1)); [ $i -lt 60 ]; done")?;
        let console = machine.console()?;
        let begin = new_line(console, PROMPT)?;
        console.type_line("mount /dev/vda1 /mnt", PROMPT, COMMAND)?;
        let doctor = console.type_line("doctor /mnt /usr/sbin/sshd", PROMPT, COMMAND)?;
        let first = doctor.lines().next().unwrap_or_default();
        ensure!(
            first == format!("/{LIBCRYPTO} is damaged: sshd dies at start"),
            "{doctor}"
        );
        let command = format!("repair /mnt /{LIBCRYPTO}");
        // Neither sentences nor what is to be typed depend on where lines are broken.
        let words: Vec<&str> = doctor.split_whitespace().collect();
        let words = words.join(" ");
        for told in [
            ASSERTION,
            "relocation 512 of .rela.dyn",
            "3 bits were flipped, and nothing else",
            "libssl3",
            &command,
        ] {
            ensure!(words.contains(told), "no {told:?}: {doctor}");
        }
        std::thread::sleep(IDLE);
        let repair = console.type_line(&command, PROMPT, REPAIR)?;
        for told in [
            format!("repaired: /{LIBCRYPTO}\n"),
            "all symbols found".into(),
            format!("from     http://{MIRROR}/debian/pool/libssl3_"),
            "is signed by".into(),
            "/etc/apt/keyrings/mirror.asc".into(),
        ] {
            ensure!(repair.contains(&told), "no {told:?}: {repair}");
        }
        for line in doctor.lines().chain(repair.lines()) {
            // What is one word (an address, a digest) is not broken.
            let fits = line.chars().count() < WIDTH || line.split_whitespace().count() < 3;
            ensure!(fits, "this is too wide for a console: {line}");
        }
        std::thread::sleep(IDLE);
        console.type_line("umount /mnt", PROMPT, COMMAND)?;
        let pieces = console.since(begin);
        machine.power_off()?;
        Ok(scene("the same console; kedge.iso has been booted", pieces))
    }

    /// The victim boots from the repaired disk, and OpenSSH's client logs in.
    fn is_well(&self, folder: &Folder) -> Result<Vec<Piece>> {
        let file = format!("/{LIBCRYPTO}");
        let repaired = self.disk.debugfs(&format!("cat {file}"), false)?;
        let pristine = fs::read(self.victim.pristine().join(LIBCRYPTO))?;
        ensure!(repaired == pristine, "the file is not as it was");
        let stat = self.disk.debugfs(&format!("stat {file}"), false)?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        for word in ["Mode:  0644", "User:     0", "Group:     0"] {
            ensure!(stat.contains(word), "{word:?} is not in {stat}");
        }
        let mut machine = self.boot_victim(folder, "repaired")?;
        let ssh = self.ssh()?;
        ssh.wait(BOOT)?;
        let mut desk = self.desk()?;
        let terminal = desk.terminal();
        terminal.type_line(LOGIN, VICTIM_PROMPT, BOOT)?;
        let sshd = terminal.type_line("pgrep -a sshd", VICTIM_PROMPT, COMMAND)?;
        ensure!(sshd.contains("/usr/sbin/sshd"), "{sshd:?}");
        let seen = scene("at the desk", terminal.since(0));
        let said = ssh.run("hostname; /usr/sbin/sshd -t && echo whole")?;
        let said = said.success()?.text();
        ensure!(said == "victim\nwhole\n", "{said:?}");
        let console = machine.console()?;
        console.wait_for_prompt(COMMAND)?;
        console.send("poweroff\n")?;
        machine.ended("guest-shutdown", BOOT)?;
        Ok(seen)
    }

    fn ssh(&self) -> Result<Ssh> {
        let key = SshKey::at(&self.victim.key())?;
        let host = "etc/ssh/ssh_host_ed25519_key.pub";
        let host = fs::read_to_string(self.victim.pristine().join(host))?;
        let ssh = Ssh::at(self.network.lan(), ADDRESS.parse()?).key(&key);
        // It has been logged in to before.
        ssh.host_key(host.trim_end())
    }

    fn desk(&self) -> Result<Desk> {
        Desk::at(self.network.lan(), &self.ssh()?)
    }
}

/// An empty line, behind which a scene begins with a prompt.
fn new_line(console: &mut Console, prompt: &str) -> Result<usize> {
    console.type_line("", prompt, COMMAND)?;
    let begin = console.now();
    console.type_line("", prompt, COMMAND)?;
    Ok(begin)
}

/// All of it; leaves `story.cast` and `story.svg` in `to`.
pub(crate) fn tell(folder: &Folder, to: &Path) -> Result<()> {
    let site = Site::new(folder)?;
    site.damage()?;
    let mut pieces = site.sshd_dies(folder)?;
    pieces.extend(site.rescue(folder)?);
    pieces.extend(site.is_well(folder)?);
    let recording = Recording::new(WIDTH, HEIGHT, TITLE, &pieces)?;
    fs::write(to.join("story.cast"), recording.asciicast()?)?;
    // Of the file and not of what was recorded: times are rounded in it.
    let recording = Recording::read(&recording.asciicast()?)?;
    fs::write(to.join("story.svg"), kedge_tests::film::film(&recording))?;
    fs::remove_file(site.disk.path())?;
    Ok(())
}
