//! The power fails while a file is repaired, thirty times: afterwards the file is the old one or the new one, and the file system is whole.
//!
//! A point is a number of writes that the disk has seen, so all of what is done is cut into equal parts, however fast this host is; the
//! last cuts come when `repair` has said that it is done, and then the file must be the new one.
//!
//! That it notices was tried with `dd conv=notrunc` in place of `repair`: the second cut left a file that was neither. (`cat new >file` passes:
//! ext4 commits the truncation and the new blocks in one transaction, as long as no other one comes between.)
//!
//! One machine is booted and kept as a snapshot just before the command; each time a copy of it goes on and is killed. QEMU holds the
//! image's tables back until the guest asks for them to be written, so what was not flushed is lost, as with a disk's own cache. The package
//! is in the machine's memory already: while one is being fetched nothing is written, and the points would be spent on that.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::child::output;
use kedge_tests::{
    Chance, Controller, Disk, Folder, Machine, Network, Nic, Running, Source, Victim, scenario,
};

const LIBCRYPTO: &str = "usr/lib/x86_64-linux-gnu/libcrypto.so.3";

const CUTS: usize = 30;

/// So many of them when all is done.
const AFTERWARDS: usize = 3;

/// What is typed; the end is seen by a word that is not in it.
const REPAIR: &str = "repair /mnt /usr/lib/x86_64-linux-gnu/libcrypto.so.3 --from /tmp/package.deb; echo en''ded $?\n";
const ENDED: &str = "ended ";

const PATIENCE: Duration = Duration::from_secs(180);

/// A machine on which everything is ready to be repaired; it is kept in the image at `disk`.
fn prepare(folder: &Folder, victim: &Victim, disk: &Path) -> Result<()> {
    let mut network = Network::new(&folder.folder("network")?)?;
    let mirror = victim.mirror(&folder.path().join("web"))?;
    let package = mirror.package("libssl3")?;
    network.serve_http(package.parent().context("it is in a folder")?)?;
    let name = package
        .file_name()
        .context("it has a name")?
        .to_string_lossy()
        .into_owned();
    let mut machine = machine(folder, disk, "prepared")?
        .nic_on(network.lan(), Nic::Virtio)
        .start()?;
    machine.wait_for_shell()?;
    machine.run(
        "ip address add 192.0.2.9/24 dev eth0; ip link set eth0 up; sleep 1; mount /dev/vda1 /mnt",
    )?;
    machine.run(&format!(
        "wget -q -O /tmp/package.deb http://192.0.2.1/{name} && sync"
    ))?;
    machine.save_snapshot("ready")?;
    machine.cut_power();
    Ok(())
}

/// The same machine every time: a snapshot fits no other.
fn machine<'a>(folder: &'a Folder, disk: &Path, name: &str) -> Result<Machine<'a>> {
    let machine = Machine::new(folder, name).without_captures();
    machine
        .disk(Controller::VirtioBlk, Source::qcow2(disk), "VICTIM")
        .direct("")
}

/// A copy of the prepared machine, which goes on.
fn go_on(folder: &Folder, network: &Network, prepared: &Path, copy: &Path) -> Result<Running> {
    output(
        Command::new("cp")
            .arg("--sparse=always")
            .arg(prepared)
            .arg(copy),
        None,
    )?;
    let machine = machine(folder, copy, "cut")?.nic_on(network.lan(), Nic::Virtio);
    let mut machine = machine.arguments(&["-loadvm", "ready"]).start()?;
    machine.console()?.wait_for_prompt(PATIENCE)?;
    Ok(machine)
}

/// What the file is after the power came back: the journal is replayed by mounting.
fn file_after(folder: &Folder, image: &Path) -> Result<Vec<u8>> {
    let raw = folder.path().join("cut.img");
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", "qcow2", "-O", "raw"]);
    output(convert.arg(image).arg(&raw), None)?;
    let disk = Disk::at(&raw);
    let mounted = disk.mount(&folder.path().join("mounted"))?;
    let content = fs::read(mounted.path().join(LIBCRYPTO))?;
    drop(mounted);
    disk.check()?;
    fs::remove_file(&raw)?;
    Ok(content)
}

#[test]
fn a_file_is_the_old_one_or_the_new_one_whenever_the_power_fails() {
    scenario(|folder: &Folder| {
        let victim = Victim::server()?;
        let new = fs::read(victim.pristine().join(LIBCRYPTO))?;
        let raw = victim.disk(&folder.path().join("disk.img"))?;
        let mut old = new.clone();
        // In many places: a file that is partly the new one must not look like either.
        for at in (0..old.len()).step_by(200_000) {
            old[at] ^= 1;
            raw.overwrite(&format!("/{LIBCRYPTO}"), at as u64, &old[at..=at])?;
        }
        let prepared = folder.path().join("prepared.qcow2");
        let mut convert = Command::new("qemu-img");
        convert.args(["convert", "-f", "raw", "-O", "qcow2"]);
        output(convert.arg(raw.path()).arg(&prepared), None)?;
        fs::remove_file(raw.path())?;
        prepare(folder, &victim, &prepared)?;

        // The same cards and segments, and nobody at their other end.
        let network = Network::new(&folder.folder("network2")?)?;
        let copy = folder.path().join("cut.qcow2");
        // Once to the end: how much it writes.
        let mut machine = go_on(folder, &network, &prepared, &copy)?;
        let before = machine.writes()?;
        machine.console()?.send(REPAIR)?;
        machine.console()?.expect(ENDED, PATIENCE)?;
        let whole = machine.writes()? - before;
        machine.console()?.expect("0", PATIENCE)?;
        machine.cut_power();
        ensure!(file_after(folder, &copy)? == new, "repair did not repair");

        let mut chance = Chance::told(1);
        let (mut olds, mut news) = (0, 0);
        let mut outcomes = Vec::new();
        for n in 0..CUTS {
            let point = match CUTS - AFTERWARDS {
                _ if n == 0 => Some(0),
                parts if n < parts => {
                    let begin = whole * n as u64 / parts as u64;
                    let end = whole * (n as u64 + 1) / parts as u64;
                    Some(begin + chance.below((end - begin).max(1)))
                }
                _ => None,
            };
            let mut machine = go_on(folder, &network, &prepared, &copy)?;
            let before = machine.writes()?;
            machine.console()?.send(REPAIR)?;
            match point {
                Some(point) => {
                    let log = machine.console()?.log();
                    while machine.writes()? - before < point && !log.text().contains(ENDED) {}
                }
                None => drop(machine.console()?.expect(ENDED, PATIENCE)?),
            }
            machine.cut_power();
            let content = file_after(folder, &copy)?;
            let is_new = content == new;
            ensure!(
                content == old || is_new,
                "after {point:?} of {whole} writes the file is neither: {} bytes",
                content.len()
            );
            ensure!(
                is_new || point.is_some(),
                "repair said that it was done, and the file is the old one"
            );
            outcomes.push(if is_new { 'n' } else { 'o' });
            *(if is_new { &mut news } else { &mut olds }) += 1;
        }
        let outcomes: String = outcomes.into_iter().collect();
        println!(
            "repair writes {whole} times; power cut {CUTS} times, in order: {outcomes}: {olds} old, {news} new"
        );
        ensure!(
            olds > 0 && news > 0,
            "all points were on one side: {outcomes}"
        );
        for file in [&prepared, &copy] {
            fs::remove_file(file)?;
        }
        Ok(())
    });
}
