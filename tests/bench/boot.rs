//! `cargo xtask bench boot`: how long kedge.iso takes from power-on to a shell, from fast media and
//! over the virtual CD of a BMC, in one run. Prints a Markdown table.
//!
//! The machines are QEMU's under TCG: what a row takes over the first one with the same firmware is
//! the link's, the rest is this computer's.

use anyhow::Result;
use kedge_tests::{Firmware, Folder, Pace, boot};

fn main() -> Result<()> {
    let folder = Folder::new("bench.boot")?;
    let mut rows = Vec::new();
    for (firmware_name, firmware) in [("BIOS", Firmware::Bios), ("UEFI", Firmware::Uefi)] {
        for (pace_name, pace) in [
            ("local", Pace::FAST),
            ("250 kB/s, 100 ms", Pace::ipmi(250_000)),
            ("52 kB/s, 100 ms", Pace::ipmi(52_000)),
        ] {
            let name = format!("{firmware_name} {pace_name}").replace([' ', '/', ','], "-");
            let boot = boot::from_virtual_cd(&folder, &name, firmware, pace)?;
            rows.push(format!(
                "| {firmware_name} | {pace_name} | {} | {} | {:.0} | {:.0} |",
                boot.reads.bytes(),
                boot.reads.0.len(),
                boot.until_kernel.as_secs_f64(),
                boot.until_shell.as_secs_f64()
            ));
        }
    }
    println!("\n| firmware | virtual CD | bytes read | reads | s to kernel | s to shell |");
    println!("|---|---|--:|--:|--:|--:|");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}
