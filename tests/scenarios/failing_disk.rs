//! The disk itself is failing, as in the story of the SSD that lied: one sector of libcrypto cannot be read. `doctor` says which one, and
//! `repair` writes nothing to such a disk.

use std::fs;

use anyhow::ensure;
use kedge_tests::{COMMAND, Controller, Folder, Machine, Source, Victim, scenario};

const LIBCRYPTO: &str = "/usr/lib/x86_64-linux-gnu/libcrypto.so.3";

/// In the middle of it, at the beginning of a block.
const AT: u64 = 512 * 4096;

#[test]
fn a_disk_that_cannot_read_is_imaged_first_and_not_repaired() {
    scenario(|folder: &Folder| {
        let victim = Victim::server()?;
        let disk = victim.disk(&folder.path().join("disk.img"))?;
        let sector = disk.place_of(LIBCRYPTO, AT)? / 512;
        let source = Source::bad_sector(disk.path(), sector);
        let machine = Machine::new(folder, "rescue").disk(Controller::VirtioBlk, source, "VICTIM");
        let mut machine = machine.direct("")?.start()?;
        machine.wait_for_shell()?;
        // It can be written to: that is not what stops the repair.
        machine.run("mount /dev/vda1 /mnt && touch /mnt/root/written && sync")?;
        let console = machine.console()?;
        let doctor = console.run_within("doctor /mnt /usr/sbin/sshd", COMMAND)?;
        let words = doctor.text.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(doctor.status == 1, "{doctor:?}");
        for told in [
            format!("{LIBCRYPTO} cannot be read from the disk; sshd needs it"),
            format!("Input/output error (os error 5), at byte {AT} (sector "),
            format!("of vda1, which is sector {sector} of vda)"),
            "next: image the disk before anything is written to it".into(),
            "unreadable Input/output error".into(),
        ] {
            ensure!(words.contains(&told), "no {told:?}: {}", doctor.text);
        }
        ensure!(!words.contains("next: repair"), "{}", doctor.text);
        let repair = console.run_within(&format!("repair /mnt {LIBCRYPTO}"), COMMAND)?;
        ensure!(repair.status == 3, "{repair:?}");
        // Where lines are broken does not matter.
        let words: Vec<&str> = repair.text.split_whitespace().collect();
        let said = words.join(" ");
        for told in [
            "the disk or its file system does not give it",
            "image the disk first",
            "--force",
        ] {
            ensure!(said.contains(told), "no {told:?}: {}", repair.text);
        }
        let left =
            console.run("ls -A /mnt/var/lib/kedge 2>&1 | grep -v 'No such file'; umount /mnt")?;
        ensure!(left.is_empty(), "something was written: {left}");
        machine.power_off()?;
        let content = disk.debugfs(&format!("cat {LIBCRYPTO}"), false)?;
        ensure!(
            content == fs::read(victim.pristine().join(&LIBCRYPTO[1..]))?,
            "the file is another one"
        );
        fs::remove_file(disk.path())?;
        Ok(())
    });
}
