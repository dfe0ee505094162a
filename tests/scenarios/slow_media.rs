//! Slow virtual media: the image over the virtual CD of a BMC, 100 ms a request.
//!
//! What must hold is said in time and in reads: the time is that of the bytes over the link, and the
//! bytes are the core's, read once, in order, 64 KiB at a time, and none when the kernel runs.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use kedge_tests::{Firmware, Folder, Pace, boot, out, scenario};

/// The size of the reads that a firmware or boot loader makes at its best.
const LARGE: u64 = 64 * 1024;

/// What may be read over kernel and initramfs: boot loader, directories, the stub.
const OVERHEAD: u64 = 400_000;

/// Time over the link may be so many times the bytes divided by the rate.
const STRETCH: f64 = 1.35;

fn slow_medium(folder: &Folder, firmware: Firmware, rate: u64, handful: usize) -> Result<()> {
    let fast = boot::from_virtual_cd(folder, "fast", firmware, Pace::FAST)?;
    let slow = boot::from_virtual_cd(folder, "slow", firmware, Pace::ipmi(rate))?;
    let reads = &slow.reads;

    let late = reads.after(slow.kernel);
    ensure!(
        late.is_empty(),
        "reads after the kernel's first line: {late:x?}"
    );

    let core = out::size("netboot/vmlinuz")? + out::size("netboot/initramfs.cpio.xz")?;
    let most = core + OVERHEAD;
    ensure!(
        reads.bytes() <= most,
        "{} bytes were read, {most} at most wanted",
        reads.bytes()
    );

    let odd = reads.out_of_step(LARGE);
    println!(
        "{} reads that are not {LARGE} bytes behind the one before:",
        odd.len()
    );
    for read in &odd {
        println!("  {:#x}+{}", read.offset, read.length);
    }
    if odd.len() > handful {
        bail!(
            "{} reads were small or out of order, {handful} at most wanted",
            odd.len()
        );
    }

    let link = Duration::from_secs_f64(STRETCH * reads.bytes() as f64 / rate as f64);
    let most = link + fast.until_shell;
    println!(
        "shell after {:?}; {most:?} is the most (fast media: {:?})",
        slow.until_shell, fast.until_shell
    );
    ensure!(
        slow.until_shell <= most,
        "the shell came after {:?}, {most:?} at most wanted",
        slow.until_shell
    );
    Ok(())
}

/// isolinux reads its own files, the directories and the configuration in small pieces before it comes
/// to the kernel, and jumps once from the kernel to the initramfs.
const BIOS_HANDFUL: usize = 40;

/// OVMF looks for partitions and file systems on the medium before it loads the image.
const UEFI_HANDFUL: usize = 40;

#[test]
fn bios_reads_once_and_in_order_at_250_kb_a_second() {
    scenario(|folder| slow_medium(folder, Firmware::Bios, 250_000, BIOS_HANDFUL));
}

#[test]
fn uefi_reads_once_and_in_order_at_250_kb_a_second() {
    scenario(|folder| slow_medium(folder, Firmware::Uefi, 250_000, UEFI_HANDFUL));
}

/// The rate of grml/grml#83, from an iLO.
#[cfg(feature = "slow")]
#[test]
fn bios_reads_once_and_in_order_at_52_kb_a_second() {
    scenario(|folder| slow_medium(folder, Firmware::Bios, 52_000, BIOS_HANDFUL));
}

/// The rate of grml/grml#83, from an iLO.
#[cfg(feature = "slow")]
#[test]
fn uefi_reads_once_and_in_order_at_52_kb_a_second() {
    scenario(|folder| slow_medium(folder, Firmware::Uefi, 52_000, UEFI_HANDFUL));
}
