//! One built image becomes many machines: `cargo xtask stamp`, by its own program, on copies of what is in
//! `out/`.

#[path = "stamp/files.rs"]
mod files;
#[path = "stamp/fleet.rs"]
mod fleet;
#[path = "stamp/program.rs"]
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use kedge_tests::network::HOST;
use kedge_tests::{
    BOOT, Firmware, Folder, Machine, Medium, Network, Nic, Running, Ssh, SshKey, out, scenario,
};
use program::{Stamper, build, flip};

const GUEST: &str = "192.0.2.7";
const ADDRESS: &str = "192.0.2.7::192.0.2.1:24::eth0:none";
/// Words for the kernel: a console beside those of the image, a parameter whose value can be read, and a
/// word that nobody knows.
const KERNEL: &str = "console=ttyS1,115200 printk.time=0 invented=\"two words\"";
/// What the loaders give, without what is the image's own business.
const LOADER: &str = "console=ttyS0,115200 console=tty0 loglevel=6";

/// What one machine is stamped with.
struct Identity {
    operator: SshKey,
    host: SshKey,
    folder: PathBuf,
}

impl Identity {
    fn new(folder: &Folder) -> Result<Self> {
        let path = folder.folder("identity")?;
        fs::write(path.join("motd"), "the third machine in row 7\n")?;
        Ok(Self {
            operator: SshKey::new(&path, "operator")?,
            host: SshKey::new(&path, "host")?,
            folder: path,
        })
    }

    fn options(&self) -> Vec<String> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        [
            ("--ssh-key", path("operator.pub")),
            ("--host-key", path("host")),
            ("--hostname", "row7-3".into()),
            ("--ip", ADDRESS.into()),
            ("--cmdline", KERNEL.into()),
            ("--cmdline", "nameserver=192.0.2.53".into()),
            ("--file", path("motd") + ":/root/motd"),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.into(), value])
        .collect()
    }

    /// The machine is what was stamped, for who looks at it from elsewhere and from inside.
    fn shows_in(&self, machine: &mut Running, network: &Network) -> Result<()> {
        machine.wait_for_shell()?;
        machine.has_address("eth0", &format!("{GUEST}/24"))?;
        let ssh = Ssh::at(network.lan(), GUEST.parse()?)
            .key(&self.operator)
            .host_key(self.host.public())?;
        ssh.wait(BOOT)?;
        let look = "hostname; cat /root/motd; grep nameserver /etc/resolv.conf; stat -c %a /root /root/motd; \
                    cat /sys/module/printk/parameters/time; stat -c %a /etc/kedge/stamp";
        let seen = ssh.run(look)?.success()?.text();
        let lines: Vec<&str> = seen.lines().collect();
        let expected = [
            "row7-3",
            "the third machine in row 7",
            "nameserver 192.0.2.53",
            "700",
            "644",
            "N",
            "600",
        ];
        ensure!(lines == expected, "{seen}");
        let line = machine.run("cat /proc/cmdline")?;
        let (stamped, loader) = line.split_once("loglevel=").context("loglevel=")?;
        for word in [
            "console=ttyS1,115200 ",
            "printk.time=0 ",
            "invented=\"two words\" ",
        ] {
            ensure!(stamped.contains(word), "no {word:?} in: {line}");
            ensure!(!loader.contains(word), "{word:?} is there twice: {line}");
        }
        Ok(())
    }
}

fn boots_from_a_stamped_iso(folder: &Folder, firmware: Firmware) -> Result<()> {
    let identity = Identity::new(folder)?;
    let iso = folder.path().join("row7-3.iso");
    let stamper = Stamper::new(folder)?;
    stamper.stamp(
        &out::artefact("kedge.iso")?,
        &identity.options(),
        Some(&iso),
    )?;
    let network = Network::new(&folder.folder("network")?)?;
    let mut machine = Machine::new(folder, "machine")
        .firmware(firmware)
        .console("ttyS1")
        .nic_on(network.lan(), Nic::Virtio)
        .medium(Medium::UsbCd, &iso)
        .start()?;
    identity.shows_in(&mut machine, &network)?;
    // The kernel took its word: of several serial consoles the first that is named gets the messages.
    let other = machine.console_named("ttyS1")?;
    other.expect("Linux version", BOOT)?;
    machine.power_off()
}

#[test]
fn a_stamped_iso_is_this_machine_under_bios() {
    scenario(|folder| boots_from_a_stamped_iso(folder, Firmware::Bios));
}

#[test]
fn a_stamped_iso_is_this_machine_under_uefi() {
    scenario(|folder| boots_from_a_stamped_iso(folder, Firmware::Uefi));
}

/// A copy of out/netboot, stamped, and a network that serves it.
fn netboot(folder: &Folder, identity: &Identity) -> Result<Network> {
    let copy = folder.path().join("netboot");
    let original = out::artefact("netboot/vmlinuz")?;
    let original = original.parent().context("a folder")?;
    Stamper::new(folder)?.stamp(original, &identity.options(), Some(&copy))?;
    let mut network = Network::new(&folder.folder("network")?)?;
    network.serve_http(&copy)?;
    Ok(network)
}

#[test]
fn a_stamped_netboot_folder_is_this_machine_by_ipxe_under_bios() {
    scenario(|folder| {
        let identity = Identity::new(folder)?;
        let mut network = netboot(folder, &identity)?;
        let script = format!("--dhcp-boot=http://{HOST}/boot.ipxe");
        network.serve_dhcp(folder.path(), &[&script])?;
        let rom = "/usr/lib/ipxe/qemu/pxe-e1000.rom";
        let machine = Machine::new(folder, "machine");
        let mut machine = machine.nic_in(&network, Nic::E1000, Some(rom)).start()?;
        identity.shows_in(&mut machine, &network)?;
        machine.power_off()
    });
}

#[test]
fn a_stamped_netboot_folder_is_this_machine_by_ipxe_under_uefi() {
    scenario(|folder| {
        out::host_file("/usr/lib/ipxe/snponly.efi", "ipxe")?;
        let identity = Identity::new(folder)?;
        let mut network = netboot(folder, &identity)?;
        let options = [
            "--dhcp-userclass=set:ipxe,iPXE",
            "--dhcp-boot=tag:!ipxe,snponly.efi",
            &format!("--dhcp-boot=tag:ipxe,http://{HOST}/boot.ipxe"),
        ];
        network.serve_dhcp(Path::new("/usr/lib/ipxe"), &options)?;
        let machine = Machine::new(folder, "machine").firmware(Firmware::Uefi);
        let mut machine = machine.nic_in(&network, Nic::Virtio, Some("")).start()?;
        identity.shows_in(&mut machine, &network)?;
        machine.power_off()
    });
}

/// A machine of the kernel and the initramfs in this netboot folder.
fn direct<'a>(folder: &'a Folder, name: &str, netboot: &Path, words: &str) -> Machine<'a> {
    let file = |name: &str| netboot.join(name).display().to_string();
    let (kernel, initramfs) = (file("vmlinuz"), file("initramfs.cpio.xz"));
    let line = format!("{LOADER} {words}");
    let arguments = ["-kernel", &kernel, "-initrd", &initramfs, "-append", &line];
    Machine::new(folder, name).arguments(&arguments)
}

#[test]
fn the_command_line_wins_over_the_stamp_and_the_stamp_over_the_build() {
    scenario(|folder| {
        let key = SshKey::new(folder.path(), "built")?;
        let other = SshKey::new(folder.path(), "stamped")?;
        let text = format!(
            "hostname = \"built\"\nip = [\"192.0.2.5::192.0.2.1:24::eth0:none\", \
             \"192.0.2.6::192.0.2.1:24::eth0:none\"]\nnameserver = \"192.0.2.54\"\n\
             ssh_keys = \"{}\"\nstamp_area = \"8 KiB\"\n",
            key.public()
        );
        let out = build(folder, &text)?;
        let stamper = Stamper::new(folder)?;
        let options = [
            "--hostname",
            "stamped",
            "--ip",
            ADDRESS,
            "--cmdline",
            "nameserver=192.0.2.53",
            "--ssh-key",
            &folder.path().join("stamped.pub").display().to_string(),
        ]
        .map(String::from);
        stamper.stamp(&out, &options, None)?;
        let network = Network::new(&folder.folder("network")?)?;
        let mut machine = direct(
            folder,
            "machine",
            &out.join("netboot"),
            "kedge.hostname=given",
        )
        .nic_on(network.lan(), Nic::Virtio)
        .start()?;
        machine.wait_for_shell()?;
        machine.has_address("eth0", &format!("{GUEST}/24"))?;
        let seen = machine.run("hostname; cat /etc/resolv.conf; ip -4 addr show dev eth0")?;
        ensure!(seen.starts_with("given"), "{seen}");
        ensure!(
            seen.contains("nameserver 192.0.2.53") && !seen.contains(".54"),
            "{seen}"
        );
        ensure!(
            !seen.contains("192.0.2.5/") && !seen.contains("192.0.2.6/"),
            "{seen}"
        );
        let ssh = Ssh::at(network.lan(), GUEST.parse()?);
        ssh.wait(BOOT)?;
        ssh.clone().key(&other).run("true")?.success()?;
        let refused = ssh.key(&key).run("true")?;
        ensure!(refused.stderr.contains("Permission denied"), "{refused:?}");
        machine.power_off()
    });
}

#[test]
fn the_kernel_says_that_a_stamp_is_damaged_and_nothing_is_started() {
    scenario(|folder| {
        let copy = folder.path().join("netboot");
        let original = out::artefact("netboot/vmlinuz")?;
        let original = original.parent().context("a folder")?;
        let options = ["--hostname", "stamped", "--cmdline", "invented=1"].map(String::from);
        Stamper::new(folder)?.stamp(original, &options, Some(&copy))?;
        let initramfs = copy.join("initramfs.cpio.xz");
        let whole = fs::read(&initramfs)?;
        for (name, place, message) in [
            ("xz", flip::archive(&whole)?, "Initramfs unpacking failed"),
            (
                "words",
                flip::bootconfig(&whole),
                "bootconfig checksum failed",
            ),
            (
                "header",
                flip::header(&whole)?,
                "Initramfs unpacking failed: bad data checksum",
            ),
        ] {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            fs::write(&initramfs, damaged)?;
            let mut machine = direct(folder, name, &copy, "").start()?;
            // A machine with half of its settings is worse than one that says what happened.
            machine
                .console()?
                .expect("THIS IMAGE ARRIVED DAMAGED", BOOT)?;
            let log = fs::read_to_string(machine.folder().join("ttyS0.log"))?;
            ensure!(log.contains(message), "{name}: not on the console:\n{log}");
            ensure!(
                !log.contains("kedge help"),
                "{name}: it was started:\n{log}"
            );
        }
        Ok(())
    });
}
