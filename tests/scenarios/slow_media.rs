//! Slow virtual media: the image over the virtual CD of a BMC, 100 ms a request.
//!
//! What must hold is said in time and in reads: the time is that of the bytes over the link, and the
//! bytes are the core's, read once, in order, 64 KiB at a time, and none when the kernel runs.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use kedge_tests::readlog::Reads;
use kedge_tests::{Firmware, Folder, Machine, Media, Medium, Pace, out, scenario};

/// The size of the reads that a firmware or boot loader makes at its best.
const LARGE: u64 = 64 * 1024;

/// What may be read over kernel and initramfs: boot loader, directories, the stub.
const OVERHEAD: u64 = 400_000;

/// Time over the link may be so many times the bytes divided by the rate.
const STRETCH: f64 = 1.35;

/// What one boot took and read.
struct Boot {
    /// From the machine's start to a shell that answers.
    shell: Duration,
    /// From the machine's start to the kernel's first line.
    kernel: SystemTime,
    reads: Reads,
}

fn boot(folder: &Folder, name: &str, firmware: Firmware, pace: Pace) -> Result<Boot> {
    let iso = out::artefact("kedge.iso")?;
    let media = Media::serve(&folder.folder(name)?, "medium", &iso, pace)?;
    // Three times what the bound allows: a miss shall be reported with its figures.
    let link = pace
        .rate
        .map_or(0, |rate| out::size("kedge.iso").unwrap_or(0) * 4 / rate);
    let patience = kedge_tests::BOOT + Duration::from_secs(link);
    let machine = Machine::new(folder, name).firmware(firmware);
    let mut machine = machine.medium(Medium::UsbCd, &media).start()?;
    let kernel = machine.console()?.expect("Linux version", patience)?;
    machine.wait_for_shell_within(patience)?;
    let shell = machine
        .started()
        .elapsed()
        .context("the clock went backwards")?;
    machine.tour()?;
    machine.power_off()?;
    let reads = media.reads()?;
    println!("{name}: shell after {shell:?}, {}", reads.summary());
    Ok(Boot {
        shell,
        kernel,
        reads,
    })
}

fn slow_medium(folder: &Folder, firmware: Firmware, rate: u64, handful: usize) -> Result<()> {
    let fast = boot(folder, "fast", firmware, Pace::FAST)?;
    let slow = boot(folder, "slow", firmware, Pace::ipmi(rate))?;
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
    let most = link + fast.shell;
    println!(
        "shell after {:?}; {most:?} is the most (fast media: {:?})",
        slow.shell, fast.shell
    );
    ensure!(
        slow.shell <= most,
        "the shell came after {:?}, {most:?} at most wanted",
        slow.shell
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
