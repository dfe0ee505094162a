//! The programs of the packs do in the image what they are there for: on real disks, file systems and volumes.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::child::output;
use kedge_tests::network::HOST;
use kedge_tests::{
    BOOT, Controller, Firmware, Folder, Machine, Network, Nic, Running, out, scenario,
};

/// How long anything here may take on a busy machine.
const LONG: Duration = Duration::from_secs(300);

/// A machine with the packs' medium, and with these loaded.
fn with_packs(machine: Machine<'_>, packs: &str) -> Result<Running> {
    let iso = out::artefact("kedge.iso")?;
    let mut machine = machine.cd("cd", &iso).start()?;
    machine.wait_for_shell()?;
    run(&mut machine, &format!("pack load {packs}"), "loaded ")?;
    Ok(machine)
}

/// Runs a command that must succeed and say this.
fn run(machine: &mut Running, command: &str, says: &str) -> Result<String> {
    let output = machine.console()?.run_within(command, LONG)?;
    ensure!(
        output.status == 0 && output.text.contains(says),
        "`{command}` ended with {} and says {:?}, without {says:?}",
        output.status,
        output.text
    );
    Ok(output.text)
}

fn blank(folder: &Folder, name: &str, mebibytes: u64) -> Result<PathBuf> {
    let path = folder.path().join(name);
    fs::File::create(&path)?.set_len(mebibytes << 20)?;
    Ok(path)
}

/// Zeros over what stands there.
fn wipe(path: &Path, at: u64, length: usize) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(at))?;
    Ok(file.write_all(&vec![0; length])?)
}

/// A LUKS volume of 64 MiB, opened by "correct horse".
fn luks_volume(path: &Path) -> Result<Vec<u8>> {
    let mut qemu_img = Command::new("qemu-img");
    qemu_img
        .args(["create", "-q", "-f", "luks", "--object"])
        .args([
            "secret,id=s,data=correct horse",
            "-o",
            "key-secret=s,iter-time=100",
        ])
        .arg(path)
        .arg("64M");
    output(&mut qemu_img, None)
}

/// Whatever a program lacks shows when it starts: a library, a version, its locale.
#[test]
fn every_program_of_every_pack_starts() {
    scenario(|folder| {
        let machine = Machine::new(folder, "machine").memory(768).direct("")?;
        let mut machine = with_packs(machine, "boot edit mkfs net rescue storage")?;
        let listed = machine.run("pack list")?;
        for pack in ["boot", "edit", "mkfs", "net", "rescue", "storage"] {
            let row = listed.lines().find(|line| line.starts_with(pack));
            let row = row.unwrap_or_default();
            ensure!(row.contains("yes"), "{pack}: {row:?}");
        }
        machine.run("awk '/^program/ { print $3 }' /etc/kedge/packs >/tmp/programs")?;
        let count: usize = machine.run("wc -l </tmp/programs")?.trim().parse()?;
        ensure!(count > 100, "{count} programs");
        // 127: not found or not loaded; 126: cannot be executed; above 128: a signal.
        let failed = machine.console()?.run_within(
            "for p in $(cat /tmp/programs); do timeout 20 /bin/$p --version </dev/null >/tmp/said 2>&1; c=$?; \
             if [ $c -ge 126 ] || grep -qE 'loading shared|symbol lookup|relocation|libgcc_s' /tmp/said; \
             then echo FAILED $p $c $(head -c 99 /tmp/said); fi; done",
            LONG,
        )?;
        ensure!(!failed.text.contains("FAILED"), "{}", failed.text);
        // The check can fail: without a library it does.
        machine.run("mv /lib/x86_64-linux-gnu/liburcu.so.8 /tmp/")?;
        let without = machine.console()?.try_run("/bin/xfs_repair -V")?;
        ensure!(without.status == 127, "{without:?}");
        machine.power_off()
    });
}

#[test]
fn broken_file_systems_are_repaired() {
    scenario(|folder| {
        let content = folder.folder("content")?;
        fs::write(content.join("letter"), "still there\n")?;
        // XFS without its first superblock, ext4 without its first, btrfs whole.
        let xfs = blank(folder, "xfs.img", 400)?;
        let proto = folder.path().join("proto");
        fs::write(
            &proto,
            format!(
                "/\n0 0\nd--755 0 0\nletter ---644 0 0 {}\n$\n",
                content.join("letter").display()
            ),
        )?;
        output(
            Command::new("mkfs.xfs")
                .arg("-q")
                .arg("-p")
                .arg(&proto)
                .arg(&xfs),
            None,
        )?;
        wipe(&xfs, 0, 512)?;
        let ext4 = blank(folder, "ext4.img", 200)?;
        let mut mke2fs = Command::new("mke2fs");
        output(
            mke2fs
                .args(["-q", "-t", "ext4", "-b", "4096", "-d"])
                .arg(&content)
                .arg(&ext4),
            None,
        )?;
        wipe(&ext4, 1024, 1024)?;
        let btrfs = blank(folder, "btrfs.img", 200)?;
        let mut mkfs = Command::new("mkfs.btrfs");
        output(
            mkfs.args(["-q", "--rootdir"]).arg(&content).arg(&btrfs),
            None,
        )?;

        let machine = Machine::new(folder, "machine")
            .direct("")?
            .disk(Controller::VirtioBlk, &xfs, "XFS")
            .disk(Controller::VirtioBlk, &ext4, "EXT4")
            .disk(Controller::VirtioBlk, &btrfs, "BTRFS");
        let mut machine = with_packs(machine, "xfs_repair e2fsck btrfs")?;
        let broken = machine.console()?.try_run("mount -t xfs /dev/vda /mnt")?;
        ensure!(broken.status != 0, "the damage does no harm");
        run(
            &mut machine,
            "xfs_repair /dev/vda 2>&1",
            "found candidate secondary superblock",
        )?;
        run(
            &mut machine,
            "mount -t xfs /dev/vda /mnt && cat /mnt/letter && umount /mnt",
            "still there",
        )?;
        let broken = machine.console()?.try_run("mount -t ext4 /dev/vdb /mnt")?;
        ensure!(broken.status != 0, "the damage does no harm");
        let repaired = machine
            .console()?
            .run_within("e2fsck -y -b 32768 -B 4096 /dev/vdb", LONG)?;
        ensure!(repaired.status == 1, "errors corrected is 1: {repaired:?}");
        run(
            &mut machine,
            "mount -t ext4 /dev/vdb /mnt && cat /mnt/letter && umount /mnt",
            "still there",
        )?;
        run(&mut machine, "btrfs check /dev/vdc 2>&1", "no error found")?;
        machine.power_off()
    });
}

#[test]
fn volumes_are_opened_and_disks_are_judged() {
    scenario(|folder| {
        let luks = folder.path().join("luks.img");
        // Now and then it says "Unable to get accurate CPU usage", and does nothing.
        let made = (0..20).any(|_| luks_volume(&luks).is_ok());
        ensure!(
            made,
            "qemu-img made no LUKS volume: {:?}",
            luks_volume(&luks)
        );
        let machine = Machine::new(folder, "machine")
            .direct("")?
            .disk(Controller::VirtioBlk, &luks, "LUKS")
            .disk(
                Controller::VirtioBlk,
                &blank(folder, "lvm.img", 200)?,
                "LVM",
            )
            .disk(Controller::VirtioBlk, &blank(folder, "md.img", 200)?, "MD")
            .disk(Controller::Ahci, &blank(folder, "sata.img", 64)?, "SATA-7")
            .disk(Controller::Nvme, &blank(folder, "nvme.img", 64)?, "NVME-8");
        let mut machine = with_packs(machine, "storage")?;
        let wrong = machine
            .console()?
            .run_within("echo -n wrong | cryptsetup open /dev/vda opened -d -", LONG)?;
        ensure!(wrong.status == 2, "{wrong:?}");
        run(
            &mut machine,
            "echo -n 'correct horse' | cryptsetup open /dev/vda opened -d -",
            "",
        )?;
        run(
            &mut machine,
            "mke2fs -q -t ext4 /dev/mapper/opened && mount /dev/mapper/opened /mnt && umount /mnt",
            "",
        )?;

        run(
            &mut machine,
            "pvcreate -q /dev/vdb && vgcreate -q vg /dev/vdb && lvcreate -q -L 100M -n root vg",
            "",
        )?;
        run(
            &mut machine,
            "mke2fs -q -t ext4 /dev/vg/root && vgchange -q -a n vg; ls /dev/mapper",
            "control",
        )?;
        run(
            &mut machine,
            "vgchange -q -a y vg && mount /dev/vg/root /mnt && umount /mnt; lvs vg",
            "100.00m",
        )?;

        run(
            &mut machine,
            "mdadm --create /dev/md0 --run -l1 -n2 --metadata=1.2 /dev/vdc missing 2>&1",
            "started",
        )?;
        run(
            &mut machine,
            "mdadm --stop /dev/md0 2>&1 && mdadm --assemble --run /dev/md0 /dev/vdc 2>&1",
            "started",
        )?;
        run(&mut machine, "mdadm --detail /dev/md0", "degraded")?;

        run(&mut machine, "smartctl -H -i /dev/sda", "SATA-7")?;
        run(&mut machine, "smartctl -H -i /dev/sda", "PASSED")?;
        run(&mut machine, "nvme list", "NVME-8")?;
        run(
            &mut machine,
            "sgdisk -n 1:0:+10M -t 1:8300 /dev/sda && sgdisk -p /dev/sda",
            "8300",
        )?;
        run(&mut machine, "parted -s /dev/sda print", "gpt")?;
        run(&mut machine, "lsblk -o NAME /dev/vdb", "vg-root")?;
        run(&mut machine, "blkid /dev/vdb", "LVM2_member")?;
        run(&mut machine, "wipefs /dev/vdc", "linux_raid_member")?;
        machine.power_off()
    });
}

#[test]
fn editors_network_tools_and_data_savers_work() {
    scenario(|folder| {
        let served = folder.folder("served")?;
        fs::write(served.join("greeting"), "by curl\n")?;
        let mut network = Network::new(&folder.folder("network")?)?;
        network.serve_http(&served)?;
        network.serve_dhcp(folder.path(), &[])?;
        let source = blank(folder, "source.img", 64)?;
        let machine = Machine::new(folder, "machine")
            .direct("")?
            .disk(Controller::VirtioBlk, &source, "SOURCE")
            .nic_in(&network, Nic::Virtio, None);
        let mut machine = with_packs(machine, "edit net rescue")?;

        run(
            &mut machine,
            "tmux new-session -d -s t -x 80 -y 24 'nano /tmp/note'; sleep 3",
            "",
        )?;
        run(
            &mut machine,
            "tmux send-keys -t t 'm\u{f6}hre' C-s C-x; sleep 3; cat /tmp/note",
            "m\u{f6}hre",
        )?;
        run(
            &mut machine,
            "vi -es -c '%s/m/M/' -c wq /tmp/note; cat /tmp/note",
            "M\u{f6}hre",
        )?;
        run(&mut machine, "bash -c 'echo ${BASH_VERSINFO[0]}'", "5")?;
        run(&mut machine, "seq 100 | less -F -X | tail -1", "100")?;

        run(
            &mut machine,
            &format!("net test 2>/dev/null; curl -sS http://{HOST}/greeting"),
            "by curl",
        )?;
        run(
            &mut machine,
            &format!(
                "tcpdump -q -n -i eth0 -c 1 -w /root/seen.pcap icmp 2>/dev/null & sleep 3; ping -c 3 {HOST} >/dev/null; wait; tcpdump -n -r /root/seen.pcap 2>/dev/null"
            ),
            "ICMP echo request",
        )?;
        run(
            &mut machine,
            "rsync -a /etc/ /tmp/copy/ && cmp /etc/passwd /tmp/copy/passwd && echo same",
            "same",
        )?;
        run(
            &mut machine,
            "iperf3 -s -D -1; sleep 2; iperf3 -c 127.0.0.1 -t 1 -f m",
            "receiver",
        )?;
        run(&mut machine, "ethtool -i eth0", "virtio_net")?;

        run(
            &mut machine,
            "ddrescue /dev/vda /tmp/copy.img /tmp/map && cmp /dev/vda /tmp/copy.img && ddrescuelog -t /tmp/map",
            "rescued",
        )?;
        run(&mut machine, "echo 2048,,L | sfdisk -q /dev/vda", "")?;
        run(
            &mut machine,
            "sfdisk -d /dev/vda",
            "/dev/vda1 : start=        2048",
        )?;
        run(&mut machine, "testdisk /list /dev/vda", "64 MiB")?;
        machine.power_off()
    });
}

#[test]
fn a_disk_starts_again_after_grub_install_and_kexec_starts_a_kernel() {
    scenario(|folder| {
        let disk = blank(folder, "disk.img", 300)?;
        let machine = Machine::new(folder, "repairer")
            .firmware(Firmware::Uefi)
            .memory(768)
            .direct("")?
            .disk(Controller::Ahci, &disk, "VICTIM");
        let mut machine = with_packs(machine, "boot sfdisk mkfs.ext4 mkfs.vfat")?;
        let table = "label: gpt\\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\\n\
                     size=64MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\\ntype=L\\n";
        run(
            &mut machine,
            &format!("printf '{table}' | sfdisk -q /dev/sda"),
            "",
        )?;
        run(
            &mut machine,
            "mkfs.vfat /dev/sda2 && mke2fs -q -t ext4 /dev/sda3",
            "",
        )?;
        run(
            &mut machine,
            "mount /dev/sda3 /mnt && mkdir -p /mnt/boot/efi && mount /dev/sda2 /mnt/boot/efi",
            "",
        )?;
        run(
            &mut machine,
            "grub-install --target=i386-pc --boot-directory=/mnt/boot /dev/sda 2>&1",
            "No error reported",
        )?;
        run(
            &mut machine,
            "grub-install --target=x86_64-efi --boot-directory=/mnt/boot --efi-directory=/mnt/boot/efi 2>&1",
            "No error reported",
        )?;
        run(&mut machine, "efibootmgr", "grub")?;
        run(&mut machine, "umount /mnt/boot/efi /mnt", "")?;

        // The image starts the image, from the medium that its packs are on.
        run(
            &mut machine,
            "mount -o ro /dev/sr0 /mnt && kexec -l /mnt/vmlinuz --initrd=/mnt/initrd.xz --reuse-cmdline",
            "",
        )?;
        machine.console()?.send("kexec -e\n")?;
        machine.wait_for_shell()?;
        let loaded = machine.console()?.try_run("kexec --version")?;
        ensure!(
            loaded.status == 127,
            "this is the system from before: {loaded:?}"
        );
        machine.power_off()?;

        let machine = Machine::new(folder, "victim").disk(Controller::Ahci, &disk, "VICTIM");
        let mut machine = machine.start()?;
        machine.expect_on_screen("grub>", BOOT)?;
        Ok(())
    });
}
