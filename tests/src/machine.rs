//! A machine to be: firmware, boot medium, disks, network cards, memory; and the QEMU command of it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::child::output;
use crate::folder::Folder;
use crate::media::Media;
use crate::network::Network;
use crate::qemu_sh::write_command;
use crate::running::Running;
use crate::segment::Segment;
use crate::{kvm, out};

/// What the machine says it is (SMBIOS type 1): maker, model, serial number.
pub const IDENTITY: [&str; 3] = ["Anchor Works", "Dock 7", "SN-0042"];

/// The kernel command line of every boot path, which a boot without a loader has to give itself.
///
/// ttyS0 is first: all legacy ports are one console driver, which takes the first it is told, and none
/// when that one is missing.
/// `kedge.early` is for the code that unpacks the kernel (image/src/boot.rs).
pub const COMMAND_LINE: &str = "console=ttyS0,115200 console=tty0 loglevel=6 bonding.max_bonds=0 \
                                kedge.early=\" earlyprintk=serial,ttyS0,115200\"";

/// The id of the boot medium's device, for [`Running::unplug`] and [`Running::eject`].
pub const MEDIUM: &str = "medium";

/// What runs before the boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, QEMU's own.
    Bios,
    /// OVMF from Debian's package, with variables of this machine's own.
    Uefi,
}

/// How the boot medium is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// What an IPMI virtual CD is: a SCSI CD drive behind USB mass storage.
    UsbCd,
    /// A USB stick.
    UsbStick,
    /// A CD drive on the board's AHCI.
    SataCd,
}

/// A disk controller, by the name of the device in QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// An NVMe drive.
    Nvme,
    /// A SATA disk on an AHCI controller.
    Ahci,
    /// A virtio block device.
    VirtioBlk,
    /// A disk behind virtio-scsi.
    VirtioScsi,
    /// A disk behind an LSI MegaRAID SAS 1078.
    Megasas,
    /// A disk behind an LSI SAS 1068.
    Mptsas,
    /// A disk behind a Symbios 53c895a.
    Lsi,
    /// A disk behind VMware's paravirtual SCSI.
    Pvscsi,
    /// A USB disk.
    Usb,
}

/// A network card, by the name of the device in QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nic {
    /// Intel 82540EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// Intel 82576, which QEMU has from 8.0 on.
    Igb,
    /// virtio.
    Virtio,
    /// VMware's.
    Vmxnet3,
    /// Realtek 8139.
    Rtl8139,
}

impl Nic {
    /// The name of the device in QEMU.
    pub fn device(self) -> &'static str {
        match self {
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Igb => "igb",
            Self::Virtio => "virtio-net-pci",
            Self::Vmxnet3 => "vmxnet3",
            Self::Rtl8139 => "rtl8139",
        }
    }
}

/// Where the bytes of a disk or medium come from.
#[derive(Debug, Clone)]
pub struct Source(String);

impl Source {
    /// QEMU's `-drive` for a medium of this name that cannot be written.
    pub(crate) fn drive(&self, id: &str) -> String {
        let from = self.0.replace("readonly=on,", "");
        format!("if=none,id={id},readonly=on,{from}")
    }
}

impl Source {
    /// An image of QEMU's own format, which can hold snapshots of the machine.
    pub fn qcow2(path: &Path) -> Self {
        let path = path.display().to_string().replace(',', ",,");
        Self(format!("format=qcow2,file={path}"))
    }

    /// A disk that cannot read this sector of 512 bytes (QEMU's blkdebug); it writes everywhere.
    pub fn bad_sector(path: &Path, sector: u64) -> Self {
        let path = path.display().to_string().replace(',', ",,");
        let error = [
            ("event", "none"),
            ("iotype", "read"),
            ("errno", "5"),
            ("sector", &sector.to_string()),
        ];
        let error = error.map(|(name, value)| format!("file.inject-error.0.{name}={value}"));
        Self(format!(
            "format=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={path},{}",
            error.join(",")
        ))
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        let path = path.display().to_string().replace(',', ",,");
        Self(format!("format=raw,file={path}"))
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        Self::from(path.as_path())
    }
}

impl From<&Media> for Source {
    fn from(media: &Media) -> Self {
        Self(media.drive())
    }
}

/// A machine that is being put together.
#[derive(Debug)]
pub struct Machine<'a> {
    folder: &'a Folder,
    name: String,
    firmware: Firmware,
    memory: u32,
    serial: Vec<&'static str>,
    arguments: Vec<String>,
    disks: usize,
    nics: usize,
    /// Which of the test's machines it is, for the cards' addresses.
    number: u8,
    captures: bool,
    /// The taps of its cards, made when it starts.
    taps: Vec<(Segment, String)>,
}

impl<'a> Machine<'a> {
    /// A BIOS machine with 512 MiB, a serial port, VGA, a keyboard and USB 3; it leaves its files in
    /// `name` inside the scenario's folder.
    pub fn new(folder: &'a Folder, name: &str) -> Self {
        let [maker, model, serial] = IDENTITY;
        let mut machine = Self {
            folder,
            name: name.to_owned(),
            firmware: Firmware::Bios,
            memory: 512,
            serial: vec!["ttyS0"],
            arguments: Vec::new(),
            disks: 0,
            nics: 0,
            number: 0,
            captures: true,
            taps: Vec::new(),
        };
        machine.add(&["-smbios"]);
        machine.add(&[&format!(
            "type=1,manufacturer={maker},product={model},serial={serial}"
        )]);
        machine.add(&["-device", "VGA", "-device", "qemu-xhci,id=xhci"]);
        machine
    }

    fn add(&mut self, arguments: &[&str]) {
        self.arguments
            .extend(arguments.iter().map(|text| (*text).to_owned()));
    }

    /// Starts with this firmware.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// Has so many MiB of memory.
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Has no serial port: a screen and a keyboard only.
    pub fn without_serial(mut self) -> Self {
        self.serial.clear();
        self
    }

    /// Also has the console `ttyS1` or `hvc0`.
    pub fn console(mut self, name: &'static str) -> Self {
        self.serial.push(name);
        self
    }

    /// Boots from this medium.
    pub fn medium(mut self, medium: Medium, from: impl Into<Source>) -> Self {
        self.add(&["-drive", &from.into().drive("media")]);
        let device = match medium {
            Medium::UsbCd => {
                self.add(&["-device", &format!("usb-bot,id={MEDIUM},bus=xhci.0")]);
                format!("scsi-cd,id=cd,bus={MEDIUM}.0")
            }
            Medium::UsbStick => format!("usb-storage,id={MEDIUM},bus=xhci.0"),
            Medium::SataCd => format!("ide-cd,id={MEDIUM},bus=ide.0"),
        };
        self.add(&["-device", &format!("{device},drive=media,bootindex=0")]);
        self
    }

    /// Has a virtual CD that it does not boot from.
    pub fn cd(mut self, id: &str, from: impl Into<Source>) -> Self {
        let drive = format!("{id}-drive");
        self.add(&["-drive", &from.into().drive(&drive)]);
        self.add(&["-device", &format!("usb-bot,id={id},bus=xhci.0")]);
        self.add(&["-device", &format!("scsi-cd,bus={id}.0,drive={drive}")]);
        self
    }

    /// Boots kernel and initramfs from `out/netboot` without a boot loader, with more words on the
    /// command line.
    pub fn direct(self, words: &str) -> Result<Self> {
        let kernel = out::artefact("netboot/vmlinuz")?;
        let initramfs = out::artefact("netboot/initramfs.cpio.xz")?;
        Ok(self.load(&kernel, &initramfs, words))
    }

    /// Boots this kernel and initramfs without a boot loader.
    pub fn load(mut self, kernel: &Path, initramfs: &Path, words: &str) -> Self {
        let (kernel, initramfs) = (kernel.display().to_string(), initramfs.display());
        let initramfs = initramfs.to_string();
        self.add(&["-kernel", &kernel, "-initrd", &initramfs, "-append"]);
        // As kernels under KVM do by themselves: on a busy host ticks can be late while the kernel tries
        // its timer, and then it panics ("IO-APIC + timer doesn't work").
        let line = format!("{COMMAND_LINE} no_timer_check {words}");
        self.add(&[line.trim_end()]);
        self
    }

    /// Has a disk whose serial number is `serial`.
    pub fn disk(mut self, controller: Controller, from: impl Into<Source>, serial: &str) -> Self {
        let (n, Source(from)) = (self.disks, from.into());
        self.disks += 1;
        self.add(&["-drive", &format!("if=none,id=disk{n},{from}")]);
        let (adapter, disk) = match controller {
            Controller::Nvme => (None, "nvme".to_owned()),
            Controller::VirtioBlk => (None, "virtio-blk-pci".to_owned()),
            Controller::Usb => (None, "usb-storage,bus=xhci.0".to_owned()),
            Controller::Ahci => (Some("ahci"), format!("ide-hd,bus=hba{n}.0")),
            Controller::VirtioScsi => (Some("virtio-scsi-pci"), format!("scsi-hd,bus=hba{n}.0")),
            Controller::Megasas => (Some("megasas"), format!("scsi-hd,bus=hba{n}.0")),
            // SAS disks are told apart by their world-wide names: Linux leaves one without alone.
            Controller::Mptsas => (
                Some("mptsas1068"),
                format!(
                    "scsi-hd,bus=hba{n}.0,wwn={:#x}",
                    0x5000_c500_0000_0000 + n as u64
                ),
            ),
            Controller::Lsi => (Some("lsi53c895a"), format!("scsi-hd,bus=hba{n}.0")),
            Controller::Pvscsi => (Some("pvscsi"), format!("scsi-hd,bus=hba{n}.0")),
        };
        if let Some(adapter) = adapter {
            self.add(&["-device", &format!("{adapter},id=hba{n}")]);
        }
        self.add(&[
            "-device",
            &format!("{disk},id=disk{n}-device,drive=disk{n},serial={serial}"),
        ]);
        self
    }

    /// Is the test's machine number `number`, so that its cards' addresses ([`mac_of`]) are not those of
    /// machine 0 when both are on one segment. Before its cards.
    pub fn number(mut self, number: u8) -> Self {
        self.number = number;
        self
    }

    /// Keeps no captures: where gigabytes go through its cards, they would be as large. Before its cards.
    pub fn without_captures(mut self) -> Self {
        self.captures = false;
        self
    }

    /// Has a network card on a wire of its own that leads nowhere: the link is up.
    pub fn nic(mut self, nic: Nic) -> Self {
        let n = self.nics;
        self.add(&["-netdev", &format!("hubport,id=n{n},hubid={n}")]);
        self.card(nic, "romfile=")
    }

    /// Has a network card on QEMU's own user network (DHCP gives 10.0.2.15, the router is 10.0.2.2), which
    /// leads nowhere, and keeps a capture of its packets.
    pub fn nic_user(mut self, nic: Nic) -> Self {
        let n = self.nics;
        self.add(&["-netdev", &format!("user,id=n{n},restrict=on")]);
        self.capture();
        self.card(nic, "romfile=")
    }

    /// Has a network card on `segment`, and keeps a capture of its packets
    /// ([`Running::capture`]).
    pub fn nic_on(mut self, segment: &Segment, nic: Nic) -> Self {
        self.plug(segment);
        self.card(nic, "romfile=")
    }

    /// Has a network card on the first segment of `network`, and keeps a capture of its packets.
    ///
    /// `boot` is the boot ROM to start from ("" for the firmware's own network stack).
    pub fn nic_in(mut self, network: &Network, nic: Nic, boot: Option<&str>) -> Self {
        self.plug(network.lan());
        match boot {
            Some(rom) => self.card(nic, &format!("romfile={rom},bootindex=0")),
            None => self.card(nic, "romfile="),
        }
    }

    /// What the next card is connected to.
    fn plug(&mut self, segment: &Segment) {
        let (n, tap) = (self.nics, segment.tap_name());
        // vnet_hdr=off: frames as on a wire. With it a virtio card hands over what is to be cut into
        // frames later, and filter-dump writes 10 bytes of QEMU's own before each.
        self.add(&[
            "-netdev",
            &format!("tap,id=n{n},ifname={tap},script=no,downscript=no,vnet_hdr=off"),
        ]);
        self.capture();
        self.taps.push((segment.clone(), tap));
    }

    /// What the next card sends and gets is kept.
    fn capture(&mut self) {
        let n = self.nics;
        if self.captures {
            self.add(&[
                "-object",
                &format!("filter-dump,id=dump{n},netdev=n{n},file=n{n}.pcap"),
            ]);
        }
    }

    /// The card itself.
    fn card(mut self, nic: Nic, rom: &str) -> Self {
        let n = self.nics;
        self.nics += 1;
        let (device, mac) = (nic.device(), mac_of(self.number, n));
        self.add(&[
            "-device",
            &format!("{device},id=nic{n},netdev=n{n},mac={mac},{rom}"),
        ]);
        self
    }

    /// More of QEMU's arguments.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.add(arguments);
        self
    }

    /// Starts the machine.
    pub fn start(self) -> Result<Running> {
        let path = self.folder.folder(&self.name)?;
        let mut arguments: Vec<String> = Vec::new();
        let accelerator = kvm::accelerator();
        arguments.extend(["-nodefaults", "-display", "none", "-machine", "q35"].map(String::from));
        arguments.extend(["-accel".into(), accelerator.into()]);
        arguments.extend(["-m".into(), format!("{}M", self.memory)]);
        // A machine that restarts has ended; a wrong boot order is no other way in.
        arguments.extend(["-no-reboot", "-boot", "menu=off,strict=on"].map(String::from));
        if self.firmware == Firmware::Uefi {
            let code = out::host_file("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf")?;
            let vars = out::host_file("/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf")?;
            let own = path.join("vars.fd");
            std::fs::copy(&vars, &own).with_context(|| format!("copying {}", vars.display()))?;
            let code = code.display();
            arguments.extend([
                "-drive".into(),
                format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"),
                "-drive".into(),
                "if=pflash,unit=1,format=raw,file=vars.fd".into(),
            ]);
        }
        if self.serial.contains(&"hvc0") {
            arguments.extend(["-device", "virtio-serial-pci"].map(String::from));
        }
        for name in &self.serial {
            let device = match *name {
                "ttyS0" => "isa-serial,index=0",
                "ttyS1" => "isa-serial,index=1",
                _ => "virtconsole",
            };
            arguments.extend([
                "-chardev".into(),
                format!("socket,id={name},path={name}.sock"),
                "-device".into(),
                format!("{device},chardev={name}"),
            ]);
        }
        arguments.extend(["-chardev", "socket,id=qmp,path=qmp.sock"].map(String::from));
        arguments.extend(["-mon", "chardev=qmp,mode=control"].map(String::from));
        arguments.extend(self.arguments);
        write_command(&path, &arguments, &self.taps)?;
        for (segment, tap) in &self.taps {
            ensure!(
                Arc::ptr_eq(segment.namespace(), self.taps[0].0.namespace()),
                "a machine is in one network, and {tap} is in another"
            );
            segment.make_tap(tap)?;
        }
        Running::start(
            self.folder,
            path,
            &arguments,
            &self.serial,
            self.taps.first().map(|tap| tap.0.namespace().namespaces()),
        )
    }
}

/// The MAC address of network card `n`.
pub fn mac(n: usize) -> String {
    mac_of(0, n)
}

/// The MAC address of network card `n` of the test's machine number `machine` ([`Machine::number`]).
pub fn mac_of(machine: u8, n: usize) -> String {
    format!("52:54:00:00:{machine:02x}:{n:02x}")
}

/// Whether this QEMU has a device of that name.
pub fn qemu_has(device: &str) -> Result<bool> {
    let help = output(
        Command::new("qemu-system-x86_64").args(["-device", "help"]),
        None,
    )?;
    Ok(String::from_utf8_lossy(&help).contains(&format!("name \"{device}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemu_is_asked_what_it_has() -> Result<()> {
        assert!(qemu_has("e1000")?);
        assert!(!qemu_has("e10")?);
        Ok(())
    }
}
