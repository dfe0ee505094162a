//! What the boot paths have in common: names, kernel command line, fixed time, os-release.

/// The kernel's command line on every medium.
///
/// The kernel's words go to the first serial port and to the screen, which comes last and so is
/// `/dev/console`; /init puts a shell on every other terminal too. One serial port only: all 8250
/// ports are one console to the kernel, and the first that is named gets it, whether it exists
/// or not. Level 6 shows notices, warnings and errors: a kernel's full chatter takes 2 s on a
/// real 115200 baud line.
///
/// `kedge.early` is for the code that unpacks the kernel: with `earlyprintk=` it says on the serial port too,
/// and not on the screen only, that the kernel arrived damaged ("XZ-compressed data is corrupt"). The kernel
/// itself must not heed it: it would print its first lines on the serial port twice and on the screen not at all.
/// It takes quotes as quotes, the unpacking code does not know them (next_arg() in lib/cmdline.c,
/// arch/x86/boot/cmdline.c): so each sees what is for it.
pub const COMMAND_LINE: &str = "console=ttyS0,115200 console=tty0 loglevel=6 bonding.max_bonds=0 \
                                kedge.early=\" earlyprintk=serial,ttyS0,115200\"";

/// The time of every file in every artefact, in seconds since 1970: 2026-01-01T00:00:00Z.
///
/// Fixed, so that the same input gives the same bytes.
pub const EPOCH: u32 = 1_767_225_600;

/// The same as date(1) prints it, for the kernel, which shows it as it is (`uname -v`).
pub const EPOCH_DATE: &str = "Thu Jan  1 00:00:00 UTC 2026";

/// The kernel's name in the netboot folder and on the ISO.
pub const KERNEL: &str = "vmlinuz";
/// The initramfs' name in the netboot folder.
pub const INITRAMFS: &str = "initramfs.cpio.xz";

/// os-release(5) of the image, for the UKI's `.osrel` section and /etc/os-release.
pub fn os_release(version: &str) -> String {
    format!(
        "ID=kedge\nNAME=kedge\nPRETTY_NAME=\"kedge {version}\"\nVERSION_ID={version}\n\
         VARIANT=\"recovery image\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn both_forms_of_the_time_are_the_same() {
        let date = Command::new("date")
            .args(["--utc", "--date", &format!("@{EPOCH}")])
            .arg("+%a %b %e %H:%M:%S UTC %Y")
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(date.stdout).unwrap().trim(), EPOCH_DATE);
    }
}
