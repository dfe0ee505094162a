//! BIOS machines: every medium that the image can be on, and no loader at all.

use anyhow::Result;
use kedge_tests::{Folder, Machine, Medium, out, scenario};

fn boots_from(medium: Medium, folder: &Folder) -> Result<()> {
    let iso = out::artefact("kedge.iso")?;
    let mut machine = Machine::new(folder, "machine")
        .medium(medium, &iso)
        .start()?;
    machine.wait_for_shell()?;
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
fn kernel_without_a_loader_reaches_a_shell() {
    scenario(|folder| {
        let mut machine = Machine::new(folder, "machine").direct("")?.start()?;
        machine.wait_for_shell()?;
        machine.tour()?;
        machine.power_off()
    });
}
