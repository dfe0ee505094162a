//! The least memory in which the ISO boots to a shell.

use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::{Firmware, Folder, Machine, Medium, out, scenario};

/// Steps of the search, in MiB.
const STEP: u32 = 4;

/// How long a boot may take before it counts as failed; one that succeeds takes a tenth.
const PATIENCE: Duration = Duration::from_secs(90);

fn boots_in(folder: &Folder, firmware: Firmware, mebibytes: u32) -> Result<bool> {
    let iso = out::artefact("kedge.iso")?;
    let name = format!("{mebibytes}M");
    let machine = Machine::new(folder, &name)
        .firmware(firmware)
        .memory(mebibytes);
    let mut machine = machine.medium(Medium::UsbCd, &iso).start()?;
    let answered = machine
        .wait_for_shell_within(PATIENCE)
        .and_then(|()| machine.tour());
    let boots = answered.is_ok() && machine.power_off().is_ok();
    println!(
        "{mebibytes} MiB: {}",
        if boots { "boots" } else { "does not boot" }
    );
    Ok(boots)
}

/// Bisects between a size that is too small and one that is enough.
fn least(folder: &Folder, firmware: Firmware, too_small: u32, enough: u32) -> Result<u32> {
    ensure!(
        boots_in(folder, firmware, enough)?,
        "{enough} MiB are not enough"
    );
    let (mut low, mut high) = (too_small / STEP, enough / STEP);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if boots_in(folder, firmware, middle * STEP)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high * STEP)
}

#[test]
fn bios_boots_in_96_mib() {
    scenario(|folder| {
        let least = least(folder, Firmware::Bios, 32, 96)?;
        println!("least memory, BIOS, ISO: {least} MiB");
        Ok(())
    });
}

/// The firmware itself takes most of it: no bound is asked for, it is measured.
#[test]
fn uefi_boots_in_256_mib() {
    scenario(|folder| {
        let least = least(folder, Firmware::Uefi, 64, 256)?;
        println!("least memory, UEFI, ISO: {least} MiB");
        Ok(())
    });
}
