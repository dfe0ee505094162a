//! UEFI machines (OVMF): every medium that the image can be on, and the one-file image by PXE.

use anyhow::{Context, Result, ensure};
use kedge_tests::{Firmware, Folder, Machine, Medium, Network, Nic, out, scenario};

fn boots_from(medium: Medium, folder: &Folder) -> Result<()> {
    let iso = out::artefact("kedge.iso")?;
    let machine = Machine::new(folder, "machine").firmware(Firmware::Uefi);
    let mut machine = machine.medium(medium, &iso).start()?;
    machine.wait_for_shell()?;
    machine.run("test -d /sys/firmware/efi")?;
    machine.tour()?;
    machine.power_off()
}

#[test]
fn usb_cd_reaches_a_shell() {
    scenario(|folder| boots_from(Medium::UsbCd, folder));
}

#[test]
fn usb_stick_reaches_a_shell() {
    scenario(|folder| boots_from(Medium::UsbStick, folder));
}

#[test]
fn sata_cd_reaches_a_shell() {
    scenario(|folder| boots_from(Medium::SataCd, folder));
}

#[test]
fn one_file_image_boots_by_pxe() {
    scenario(|folder| {
        out::artefact("kedge.efi")?;
        let out = out::folder().canonicalize().context("finding out/")?;
        let mut network = Network::new(&folder.folder("network")?)?;
        let log = network.serve_dhcp(&out, &["--dhcp-boot=kedge.efi"])?;
        // No ROM: the drivers, DHCP and TFTP are the firmware's own.
        let machine = Machine::new(folder, "machine").firmware(Firmware::Uefi);
        let mut machine = machine.nic_in(&network, Nic::Virtio, Some("")).start()?;
        machine.wait_for_shell()?;
        machine.tour()?;
        machine.power_off()?;
        let log = std::fs::read_to_string(&log)?;
        ensure!(
            log.contains("kedge.efi to 192.0.2."),
            "dnsmasq did not send kedge.efi:\n{log}"
        );
        Ok(())
    });
}
