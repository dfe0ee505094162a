//! Programs that are not in the image are loaded: from the virtual CD that it was booted from, which is slow,
//! goes away and comes back, or is damaged; by HTTP where it was netbooted; at boot.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use kedge_tests::network::HOST;
use kedge_tests::readlog::Read;
use kedge_tests::{
    BOOT, Controller, Folder, Machine, Media, Medium, Network, Nic, Pace, Running, out, scenario,
};

/// Reads are at least so long where the data are.
const LARGE: u64 = 64 * 1024;

/// From nothing loaded.
const MOST_FOR_XFS_REPAIR: u64 = 1_300_000;

/// What may be read beside the data: descriptor and two directories of one sector, and the ends of reads,
/// which are whole sectors.
const OVERHEAD: u64 = 64 * 1024;

/// How long a whole pack may take at 250 kB/s on a busy machine.
const LOADING: Duration = Duration::from_secs(300);

/// Bits that are flipped in a pack.
const FLIPS: usize = 10;

/// The virtual CD of a machine that is not booted from it.
const CD: &str = "cd";

const ROM: &str = "/usr/lib/ipxe/qemu/pxe-e1000.rom";

/// A directly booted machine, to which the ISO is attached.
fn with_medium<'a>(folder: &'a Folder, words: &str, medium: &Path) -> Result<Machine<'a>> {
    let machine = Machine::new(folder, "machine").direct(words)?;
    Ok(machine.cd(CD, medium))
}

fn must_run(machine: &mut Running, command: &str, output: &str) -> Result<()> {
    let text = machine.run(command)?;
    ensure!(text.contains(output), "`{command}` says {text:?}");
    Ok(())
}

/// Runs of reads that lie one behind the other: where each begins, and the lengths.
fn sweeps(reads: &[Read]) -> Vec<(u64, Vec<u64>)> {
    let mut sweeps: Vec<(u64, Vec<u64>)> = Vec::new();
    for read in reads {
        match sweeps.last_mut() {
            Some((begin, lengths)) if *begin + lengths.iter().sum::<u64>() == read.offset => {
                lengths.push(read.length);
            }
            _ => sweeps.push((read.offset, vec![read.length])),
        }
    }
    sweeps
}

/// The acceptance of the whole: power-on at 250 kB/s to a running xfs_repair.
#[test]
fn from_the_slow_virtual_cd_in_order_in_large_reads_and_no_byte_before() {
    scenario(|folder| {
        let iso = out::artefact("kedge.iso")?;
        let media = Media::serve(folder.path(), "medium", &iso, Pace::ipmi(250_000))?;
        let machine = Machine::new(folder, "machine").medium(Medium::UsbCd, &media);
        let mut machine = machine.start()?;
        let kernel = machine
            .console()?
            .expect("Linux version", BOOT + Duration::from_secs(120))?;
        machine.wait_for_shell()?;
        let early = media.reads()?.after(kernel);
        ensure!(early.is_empty(), "read before anybody asked: {early:x?}");

        // The first command takes a sample of the link, and says what it would take.
        let missing = machine.console()?.try_run("xfs_repair -V")?;
        ensure!(
            missing.status == 127 && missing.text.contains("xfs_repair: in pack \"storage\", 1."),
            "{missing:?}"
        );
        let listed = machine.run("pack list")?;
        ensure!(
            listed.contains("storage ") && listed.contains("B/s. "),
            "{listed}"
        );

        // Anew, so that no sample is taken any more.
        let before = SystemTime::now();
        let loaded = machine
            .console()?
            .run_within("pack load xfs_repair", LOADING)?;
        ensure!(
            loaded.status == 0 && loaded.text.contains("loaded xfs_repair: 1."),
            "{loaded:?}"
        );
        let seconds = before.elapsed()?.as_secs_f64();
        must_run(&mut machine, "xfs_repair -V", "xfs_repair version ")?;
        let since_power_on = machine.started().elapsed()?;

        let reads = media.reads()?.after(before);
        let bytes: u64 = reads.iter().map(|read| read.length).sum();
        let sweeps = sweeps(&reads);
        println!(
            "pack load xfs_repair: {seconds:.1} s, {bytes} bytes in {} reads; xfs_repair runs {:.1} s \
             after power-on",
            reads.len(),
            since_power_on.as_secs_f64()
        );
        for (begin, lengths) in &sweeps {
            println!("  {begin:#x}: {lengths:?}");
        }
        ensure!(
            bytes <= MOST_FOR_XFS_REPAIR + OVERHEAD,
            "{bytes} bytes were read"
        );
        ensure!(
            sweeps.windows(2).skip(3).all(|two| two[0].0 < two[1].0),
            "out of order: {sweeps:x?}"
        );
        let short = sweeps
            .iter()
            // The last read of a sweep is as long as what is left.
            .flat_map(|(_, lengths)| &lengths[..lengths.len() - 1])
            .filter(|length| **length < LARGE);
        ensure!(short.count() == 0, "small reads: {sweeps:x?}");

        // What is there is not read again.
        let before = SystemTime::now();
        must_run(&mut machine, "pack load xfs_repair", "loaded already")?;
        ensure!(media.reads()?.after(before).is_empty(), "it was read again");
        machine.power_off()
    });
}

#[test]
fn the_cd_goes_away_while_loading_and_comes_back_as_another_device() {
    scenario(|folder| {
        let iso = out::artefact("kedge.iso")?;
        let slow = Media::serve(folder.path(), "slow", &iso, Pace::ipmi(250_000))?;
        let machine = Machine::new(folder, "machine").direct("")?;
        let mut machine = machine.cd(CD, &slow).start()?;
        machine.wait_for_shell()?;
        must_run(&mut machine, "ls /sys/class/block", "sr0")?;
        // Who holds the old device open keeps its name taken.
        machine.run("(sleep 9999 </dev/sr0 &)")?;
        machine.console()?.send("pack load storage\n")?;
        // The bar shows that some of it has come.
        machine.console()?.expect(" 1.", LOADING)?;
        machine.unplug(CD)?;
        machine.console()?.expect("tried again in", LOADING)?;
        let read = slow.reads()?.bytes();
        let other = Media::serve(folder.path(), "other", &iso, Pace::FAST)?;
        machine.plug_cd("back", &other)?;
        machine.console()?.expect("loaded storage: ", LOADING)?;
        machine.console()?.wait_for_prompt(BOOT)?;
        must_run(&mut machine, "ls /sys/class/block", "sr1")?;
        must_run(&mut machine, "xfs_repair -V", "xfs_repair version ")?;
        must_run(&mut machine, "cryptsetup --version", "cryptsetup ")?;
        // It went on where it stopped.
        let again = other.reads()?.bytes();
        // All that it needs is in these, and a little more.
        let whole = out::size("packs/storage.cpio.xz")? + out::size("packs/shared.cpio.xz")?;
        println!("at most {whole} bytes; {read} were read before, {again} after");
        ensure!(read > 1_000_000 && again + read < whole, "read twice");
        machine.power_off()
    });
}

/// The ISO with one bit flipped in the archive `name`, `at` bytes behind its begin.
fn flipped(folder: &Folder, name: &str, at: usize) -> Result<PathBuf> {
    let mut iso = out::read("kedge.iso")?;
    let archive = out::read(&format!("packs/{name}.cpio.xz"))?;
    let begin = (0..iso.len())
        .step_by(2048)
        .find(|begin| iso[*begin..].starts_with(&archive[..4096]))
        .context("the archive is not on the ISO")?;
    iso[begin + at] ^= 0x10;
    let path = folder.path().join("flipped.iso");
    std::fs::write(&path, iso)?;
    Ok(path)
}

#[test]
fn a_flipped_bit_on_the_medium_is_said_in_plain_words_and_nothing_is_installed() {
    scenario(|folder| {
        let iso = flipped(folder, "shared", 300_000)?;
        let mut machine = with_medium(folder, "", &iso)?.start()?;
        machine.wait_for_shell()?;
        let loaded = machine.console()?.run_within("pack load mdadm", LOADING)?;
        for part in [
            "/PACKS/SHARED.XZ on /dev/sr0",
            "damaged data",
            "nothing was installed",
        ] {
            ensure!(loaded.text.contains(part), "{part}: {loaded:?}");
        }
        ensure!(loaded.status == 3, "{loaded:?}");
        machine.run("! ls -d /.pack* 2>/dev/null && ! test -e /lib64/ld-linux-x86-64.so.2")?;
        must_run(&mut machine, "ls -l /bin/mdadm", "-> kedge")?;
        machine.power_off()
    });
}

/// Wherever it is: disks with a bit flipped in each of as many equal pieces of the archive.
#[test]
fn a_flipped_bit_anywhere_in_a_pack_is_told() {
    scenario(|folder| {
        let archive = out::read("packs/storage.cpio.xz")?;
        let mut machine = Machine::new(folder, "machine").direct("")?;
        let mut disks = Vec::new();
        for n in 0..FLIPS {
            // In the middle of each piece, and at the archive's very ends.
            let at = match n {
                0 => 0,
                last if last == FLIPS - 1 => archive.len() - 1,
                _ => archive.len() / FLIPS * n + archive.len() / FLIPS / 2,
            };
            let name = format!("flipped-{n}");
            let inside = folder.folder(&name)?.join("kedge.iso");
            std::fs::rename(flipped(folder, "storage", at)?, &inside)?;
            disks.push(inside);
        }
        for (n, disk) in disks.iter().enumerate() {
            machine = machine.disk(Controller::VirtioBlk, disk, &format!("FLIPPED{n}"));
        }
        let mut machine = machine.start()?;
        machine.wait_for_shell()?;
        for n in 0..FLIPS {
            let device = char::from(b'a' + n as u8);
            let command = format!("pack load storage --from /dev/vd{device}");
            let loaded = machine.console()?.run_within(&command, LOADING)?;
            ensure!(
                loaded.status == 3 && loaded.text.contains("damaged data"),
                "flip {n}: {loaded:?}"
            );
            machine.run("! test -e /lib64/ld-linux-x86-64.so.2 && ! ls -d /.pack* 2>/dev/null")?;
        }
        machine.power_off()
    });
}

#[test]
fn too_little_memory_is_said_before_anything_is_read() {
    scenario(|folder| {
        let iso = out::artefact("kedge.iso")?;
        let media = Media::serve(folder.path(), "medium", &iso, Pace::FAST)?;
        let machine = Machine::new(folder, "machine").direct("")?.memory(96);
        let mut machine = machine.cd(CD, &media).start()?;
        machine.wait_for_shell()?;
        let before = SystemTime::now();
        let loaded = machine.console()?.try_run("pack load storage")?;
        ensure!(
            loaded.status == 1 && loaded.text.contains("too little "),
            "{loaded:?}"
        );
        ensure!(media.reads()?.after(before).is_empty(), "it was read");
        machine.power_off()
    });
}

#[test]
fn packs_may_be_asked_for_at_boot() {
    scenario(|folder| {
        let iso = out::artefact("kedge.iso")?;
        let words = "kedge.pack=mdadm,no-such,lsblk";
        let mut machine = with_medium(folder, words, &iso)?.start()?;
        machine
            .console()?
            .expect("'no-such'", BOOT)
            .context("the unknown one was not named")?;
        machine
            .console()?
            .expect("pack: loaded mdadm, lsblk: ", BOOT)?;
        machine.console()?.wait_for_prompt(BOOT)?;
        must_run(&mut machine, "lsblk --version", "lsblk from util-linux")?;
        must_run(&mut machine, "mdadm --version 2>&1", "mdadm - v")?;
        machine.power_off()
    });
}

#[test]
fn at_boot_they_wait_for_the_network() {
    scenario(|folder| {
        out::artefact("packs/shared.cpio.xz")?;
        let netboot = out::folder().join("netboot").canonicalize()?;
        let mut network = Network::new(&folder.folder("network")?)?;
        network.serve_http(&netboot)?;
        let words = format!("kedge.pack=mdadm kedge.pack_url=http://{HOST}/packs");
        let machine = Machine::new(folder, "machine").direct(&words)?;
        let mut machine = machine.nic_in(&network, Nic::E1000, None).start()?;
        machine.wait_for_shell()?;
        machine
            .console()?
            .expect("pack: mdadm not loaded yet: ", BOOT)?;
        network.serve_dhcp(folder.path(), &[])?;
        machine.console()?.expect("pack: loaded mdadm: ", BOOT)?;
        machine.console()?.wait_for_prompt(BOOT)?;
        must_run(&mut machine, "mdadm --version 2>&1", "mdadm - v")?;
        machine.power_off()
    });
}

/// Also: what was netbooted knows where its packs are, and a shell takes a program that was loaded instead of
/// busybox' own.
#[test]
fn what_came_by_http_loads_its_packs_from_there() {
    scenario(|folder| {
        out::artefact("netboot/boot.ipxe")?;
        let netboot = out::folder().join("netboot").canonicalize()?;
        let mut network = Network::new(&folder.folder("network")?)?;
        let access = network.serve_http(&netboot)?;
        let script = format!("http://{HOST}/boot.ipxe");
        network.serve_dhcp(folder.path(), &[&format!("--dhcp-boot={script}")])?;
        let machine = Machine::new(folder, "machine");
        let mut machine = machine.nic_in(&network, Nic::E1000, Some(ROM)).start()?;
        machine.wait_for_shell()?;
        must_run(
            &mut machine,
            "cat /proc/cmdline",
            &format!(" kedge.pack_url={script}"),
        )?;
        must_run(&mut machine, "fdisk --help 2>&1", "BusyBox")?;
        let loaded = machine
            .console()?
            .run_within("pack load fdisk less", LOADING)?;
        ensure!(loaded.status == 0, "{loaded:?}");
        must_run(&mut machine, "fdisk --version", "fdisk from util-linux")?;
        must_run(&mut machine, "less --version", "Copyright")?;
        let access = std::fs::read_to_string(access)?;
        for part in ["url:/packs/shared.cpio.xz", "response:206"] {
            ensure!(access.contains(part), "{part} is not in:\n{access}");
        }
        machine.power_off()
    });
}
