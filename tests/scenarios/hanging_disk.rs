//! A disk that hangs: requests are neither answered nor refused, as when a storage network is gone.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use kedge_tests::child::output;
use kedge_tests::{COMMAND, Controller, Folder, Machine, Media, Running, scenario};

/// The end of a system whose disk hangs: init waits for data to be written, for each file system, for
/// the kernel, and no longer; on a machine as slow as TCG's.
const BOUND: Duration = Duration::from_secs(120);

/// A machine with a mounted ext4 file system, and the server of its disk.
fn with_disk(folder: &Folder, controller: Controller) -> Result<(Media, Running)> {
    let image = folder.path().join("disk");
    std::fs::File::create(&image)?.set_len(64 * 1024 * 1024)?;
    mke2fs(&image)?;
    let disk = Media::serve_disk(folder.path(), "disk", &image)?;
    let machine = Machine::new(folder, "machine").disk(controller, &disk, "SN1");
    let mut machine = machine.direct("")?.start()?;
    machine.wait_for_shell()?;
    let device = match controller {
        Controller::VirtioBlk => "/dev/vda",
        _ => "/dev/sda",
    };
    machine.run(&format!(
        "mount -t ext4 {device} /mnt && echo old >/mnt/file && sync"
    ))?;
    Ok((disk, machine))
}

fn mke2fs(image: &Path) -> Result<()> {
    // By its path: /sbin is not in every user's PATH.
    output(
        Command::new("/sbin/mke2fs")
            .args(["-q", "-t", "ext4"])
            .arg(image),
        None,
    )?;
    Ok(())
}

fn powers_off(folder: &Folder, controller: Controller) -> Result<()> {
    let (disk, mut machine) = with_disk(folder, controller)?;
    disk.hang()?;
    // Data that wants to be written, and somebody who waits for it for ever.
    machine.run("echo new >/mnt/file; { sync & }; sleep 1")?;
    machine.console()?.send("poweroff\n")?;
    // The guest's end and not QEMU's: QEMU itself waits for the disk.
    machine.powered_off(BOUND)?;
    std::fs::remove_file(folder.path().join("disk"))?;
    Ok(())
}

/// SATA and not virtio: Linux resets a virtio device at the end, and QEMU answers no reset before the
/// disk has answered.
#[test]
fn poweroff_ends_when_a_disk_hangs() {
    scenario(|folder| powers_off(folder, Controller::Ahci));
}

/// What was written is there after the end, and the file system was unmounted.
#[test]
fn poweroff_writes_and_unmounts() {
    scenario(|folder| {
        let (disk, mut machine) = with_disk(folder, Controller::VirtioBlk)?;
        machine.run("dd if=/dev/urandom of=/mnt/file bs=1M count=8 2>/dev/null")?;
        // Unmounting is init's work also where somebody stands in the way.
        machine.run("cd /mnt; { sleep 1000 & }; cd /")?;
        machine.console()?.send("poweroff\n")?;
        machine.ended("guest-shutdown", COMMAND)?;
        drop(disk);
        let image = folder.path().join("disk");
        output(
            Command::new("/sbin/e2fsck").args(["-f", "-n"]).arg(&image),
            None,
        )?;
        let header = output(Command::new("/sbin/dumpe2fs").arg("-h").arg(&image), None)?;
        let header = String::from_utf8_lossy(&header);
        anyhow::ensure!(
            !header.contains("needs_recovery"),
            "not unmounted:\n{header}"
        );
        std::fs::remove_file(&image)?;
        Ok(())
    });
}
