//! The hardware matrix: every disk controller and network card that QEMU has of those that servers
//! have, all in one machine, each found by its own driver.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use kedge_tests::machine::{mac, qemu_has};
use kedge_tests::{Controller, Machine, Nic, scenario};

const MEBIBYTE: u64 = 1024 * 1024;

/// Controllers and the driver that must be somewhere on the way to the disk.
const DISKS: [(Controller, &str); 9] = [
    (Controller::Nvme, "nvme"),
    (Controller::Ahci, "ahci"),
    (Controller::VirtioBlk, "virtio_blk"),
    (Controller::VirtioScsi, "virtio_scsi"),
    (Controller::Megasas, "megaraid_sas"),
    (Controller::Mptsas, "mptsas"),
    (Controller::Lsi, "sym53c8xx"),
    (Controller::Pvscsi, "vmw_pvscsi"),
    (Controller::Usb, "usb-storage"),
];

const NICS: [(Nic, &str); 6] = [
    (Nic::E1000, "e1000"),
    (Nic::E1000e, "e1000e"),
    (Nic::Virtio, "virtio_net"),
    (Nic::Vmxnet3, "vmxnet3"),
    (Nic::Rtl8139, "8139"),
    (Nic::Igb, "igb"),
];

/// One line a disk: its size in sectors, and the drivers of all devices above it. NVMe's namespace
/// stands under its controller's class device, which has no driver: hence all of them.
const LIST_DISKS: &str = "for d in /sys/block/*; do \
    [ -e $d/device ] || continue; p=$(readlink -f $d/device); n=$(cat $d/size); \
    while [ \"$p\" != /sys/devices ] && [ -n \"$p\" ]; do \
    [ -e $p/driver ] && n=\"$n $(basename $(readlink -f $p/driver))\"; p=${p%/*}; done; \
    echo $n; done";

/// One line a card: its address, its driver, and whether its link is up.
const LIST_NICS: &str = "for d in /sys/class/net/*; do [ -e $d/device ] || continue; \
    p=$(readlink -f $d/device); [ -e $p/driver ] || p=${p%/*}; \
    echo $(cat $d/address) $(basename $(readlink -f $p/driver)) $(cat $d/carrier); done";

#[test]
fn every_disk_and_link_is_seen() {
    scenario(|folder| {
        let mut machine = Machine::new(folder, "machine").direct("")?;
        // Told apart by their sizes: not every controller hands on a serial number.
        let sectors = |n: usize| (16 + n as u64) * MEBIBYTE / 512;
        for (n, (controller, _)) in DISKS.iter().enumerate() {
            let path = folder.path().join(format!("disk{n}"));
            let file =
                File::create(&path).with_context(|| format!("creating {}", path.display()))?;
            file.set_len(sectors(n) * 512)?;
            machine = machine.disk(*controller, &path, &format!("SN{n}"));
        }
        let mut nics = Vec::new();
        for (nic, driver) in NICS {
            if qemu_has(nic.device())? {
                machine = machine.nic(nic);
                nics.push(driver);
            } else {
                println!("this QEMU has no {}: not looked at", nic.device());
            }
        }
        let mut machine = machine.start()?;
        machine.wait_for_shell()?;
        machine.run("for d in /sys/class/net/*/device; do d=${d%/device}; ip link set ${d##*/} up; done; sleep 5")?;
        let found = machine.run(LIST_DISKS)?;
        for (n, (_, driver)) in DISKS.iter().enumerate() {
            let size = sectors(n).to_string();
            let line = found
                .lines()
                .find(|line| line.split(' ').next() == Some(&size));
            let line = line.with_context(|| format!("no disk behind {driver} in:\n{found}"))?;
            ensure!(
                line.split(' ').any(|word| word == *driver),
                "not by {driver}: {line}"
            );
        }
        let found = machine.run(LIST_NICS)?;
        for (n, driver) in nics.iter().enumerate() {
            let line = found.lines().find(|line| line.starts_with(&mac(n)));
            let line = line.with_context(|| format!("no card by {driver} in:\n{found}"))?;
            let words: Vec<_> = line.split(' ').collect();
            ensure!(words[1].starts_with(driver), "not by {driver}: {line}");
            ensure!(words.get(2) == Some(&"1"), "the link is not up: {line}");
        }
        machine.run(&format!(
            "test $(ls -d /sys/class/net/*/device | wc -l) = {}",
            nics.len()
        ))?;
        disks_can_be_read_and_written(&mut machine)?;
        machine.power_off()?;
        for n in 0..DISKS.len() {
            let path = folder.path().join(format!("disk{n}"));
            let start = std::fs::read(&path)?;
            ensure!(
                start.starts_with(b"kedge was here"),
                "disk{n} was not written"
            );
            // 180 MiB of zeros are not worth keeping.
            std::fs::remove_file(&path)?;
        }
        Ok(())
    });
}

fn disks_can_be_read_and_written(machine: &mut kedge_tests::Running) -> Result<()> {
    machine.run(
        "for d in /sys/block/*/device; do d=${d%/device}; \
         [ $(cat $d/size) -gt 32000 ] || continue; d=/dev/${d##*/}; \
         echo kedge was here >$d && sync && dd if=$d of=/dev/null bs=64k 2>/tmp/dd || exit 1; done",
    )?;
    Ok(())
}
