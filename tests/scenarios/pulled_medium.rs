//! The boot medium is gone as soon as the kernel has started, and nothing is missed.

use anyhow::Result;
use kedge_tests::machine::MEDIUM;
use kedge_tests::{BOOT, Firmware, Folder, Machine, Medium, out, scenario};

fn works_without(folder: &Folder, firmware: Firmware, medium: Medium) -> Result<()> {
    let iso = out::artefact("kedge.iso")?;
    let machine = Machine::new(folder, "machine").firmware(firmware);
    let mut machine = machine.medium(medium, &iso).start()?;
    machine.console()?.expect("Linux version", BOOT)?;
    match medium {
        // A board's CD drive stays where it is; its disc does not.
        Medium::SataCd => machine.eject(MEDIUM)?,
        Medium::UsbCd | Medium::UsbStick => machine.unplug(MEDIUM)?,
    }
    machine.wait_for_shell()?;
    machine.tour()?;
    machine.power_off()
}

#[test]
fn bios_works_when_the_usb_cd_is_gone() {
    scenario(|folder| works_without(folder, Firmware::Bios, Medium::UsbCd));
}

#[test]
fn bios_works_when_the_disc_is_gone() {
    scenario(|folder| works_without(folder, Firmware::Bios, Medium::SataCd));
}

#[test]
fn uefi_works_when_the_usb_stick_is_gone() {
    scenario(|folder| works_without(folder, Firmware::Uefi, Medium::UsbStick));
}
