//! The story that kedge was begun for: after a storage outage a few flipped bits in libcrypto.so.3 keep sshd from
//! starting. One command names the file, one puts it back, and OpenSSH's client logs in.

use std::fs;

use anyhow::{Result, ensure};
use kedge_tests::elf64::Elf64;
use kedge_tests::victim::{ADDRESS, MIRROR};
use kedge_tests::{
    BOOT, COMMAND, Disk, Dnsmasq, Folder, Network, Nic, Running, Server, Ssh, SshKey, Victim,
    scenario,
};

/// What was damaged, as the package has it.
const LIBCRYPTO: &str = "usr/lib/x86_64-linux-gnu/libcrypto.so.3";

/// What ld.so dies with.
const ASSERTION: &str = "elf_machine_rela_relative: Assertion `ELFW(R_TYPE) (reloc->r_info) == R_X86_64_RELATIVE' failed!";

/// The relocations that are damaged, counted from the first.
const DAMAGED: [u64; 3] = [512, 513, 700];

/// Everything of the story that does not change.
struct Site {
    network: Network,
    _names: Server,
    victim: Victim,
    disk: Disk,
}

impl Site {
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

    /// Flips bits as the story has it; nothing but the content tells.
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

    fn ssh(&self) -> Result<Ssh> {
        let key = SshKey::at(&self.victim.key())?;
        Ok(Ssh::at(self.network.lan(), ADDRESS.parse()?).key(&key))
    }

    fn must_let_in(&self) -> Result<()> {
        let ssh = self.ssh()?;
        ssh.wait(BOOT)?;
        let said = ssh.run("hostname && cat /proc/1/comm")?.success()?.text();
        ensure!(said == "victim\ninit\n", "{said:?}");
        Ok(())
    }
}

#[test]
fn the_victim_is_broken() {
    scenario(|folder| {
        let site = Site::new(folder)?;
        site.damage()?;
        let mut machine = site.boot_victim(folder, "broken")?;
        let console = machine.console()?;
        console.expect("login: root (automatic login)", BOOT)?;
        console.wait_for_prompt(COMMAND)?;
        let sshd = console.try_run("/usr/sbin/sshd -t")?;
        ensure!(
            sshd.status == 127 && sshd.text.contains(ASSERTION),
            "{sshd:?}"
        );
        ensure!(console.try_run("pgrep sshd")?.status != 0, "sshd runs");
        console.send("poweroff\n")?;
        machine.ended("guest-shutdown", BOOT)
    });
}
