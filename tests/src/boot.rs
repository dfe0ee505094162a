//! One measured boot from a virtual USB CD: when the kernel and the shell were there, and what was
//! read until then.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::readlog::Reads;
use crate::{BOOT, Firmware, Folder, Machine, Media, Medium, Pace, out};

/// What one boot took and read.
#[derive(Debug)]
pub struct Boot {
    /// When the kernel's first line came.
    pub kernel: SystemTime,
    /// From the machine's start to the kernel's first line.
    pub until_kernel: Duration,
    /// From the machine's start to a shell that answers.
    pub until_shell: Duration,
    /// What was read from the medium, from power-on to power-off.
    pub reads: Reads,
}

/// Boots kedge.iso as a BMC's virtual CD of this pace would, works in it, and powers off.
///
/// # Errors
/// When the medium cannot be served, or the machine does not come up or go down as it should.
pub fn from_virtual_cd(
    folder: &Folder,
    name: &str,
    firmware: Firmware,
    pace: Pace,
) -> Result<Boot> {
    let iso = out::artefact("kedge.iso")?;
    let media = Media::serve(&folder.folder(name)?, "medium", &iso, pace)?;
    // Several times what the link takes: a miss shall be reported with its figures.
    let link = pace
        .rate
        .map_or(0, |rate| out::size("kedge.iso").unwrap_or(0) * 4 / rate);
    let patience = BOOT + Duration::from_secs(link);
    let machine = Machine::new(folder, name).firmware(firmware);
    let mut machine = machine.medium(Medium::UsbCd, &media).start()?;
    let kernel = machine.console()?.expect("Linux version", patience)?;
    machine.wait_for_shell_within(patience)?;
    let backwards = "the clock went backwards";
    let until_shell = machine.started().elapsed().context(backwards)?;
    let until_kernel = kernel
        .duration_since(machine.started())
        .context(backwards)?;
    machine.tour()?;
    machine.power_off()?;
    let reads = media.reads()?;
    println!(
        "{name}: kernel after {until_kernel:.1?}, shell after {until_shell:.1?}, {}",
        reads.summary()
    );
    Ok(Boot {
        kernel,
        until_kernel,
        until_shell,
        reads,
    })
}
