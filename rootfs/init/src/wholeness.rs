//! Whether all of the image arrived: what the kernel says about the archive that this program came in.
//!
//! That this program runs at all proves the image itself: the gate (image/src/gate.rs), which is /init,
//! executes /whole, which the kernel makes only after the CRC32 of all before it was right. What lies behind
//! that link, the stamp's area, is left, and the link's own stream; of those only the kernel's log tells.
//!
//! A stamp that is damaged stops the start as well: it says which addresses are this machine's and who may log
//! in, and a machine with half of that is worse than one that says what happened.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use kedge_message::warning;

/// How the kernel's complaints begin (init/initramfs.c and init/main.c).
const COMPLAINTS: [&[u8]; 3] = [
    b"Initramfs unpacking failed",
    b"bootconfig checksum failed",
    b"bootconfig size",
];
/// What the gate executes, and the gate.
const WHOLE: &str = "/whole";
const GATE: &str = "/init";

/// Does not return when the image is damaged: the gate has the words for it, once /whole is gone.
pub(crate) fn ensure() {
    if !kernel_complains() {
        return;
    }
    if let Err(e) = std::fs::remove_file(WHOLE) {
        warning!("the image arrived damaged, load it again (and {WHOLE}: {e})");
    }
    let failed = Command::new(GATE).exec();
    warning!("the image arrived damaged, load it again (and {GATE}: {failed})");
    loop {
        std::thread::park();
    }
}

/// Looks through the kernel's log, which is young enough to be whole.
fn kernel_complains() -> bool {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/dev/kmsg");
    let Ok(mut kmsg) = opened else {
        return false;
    };
    // One whole record a read, at most 8 KiB (CONSOLE_EXT_LOG_MAX).
    let mut record = [0; 8192];
    loop {
        match kmsg.read(&mut record) {
            Ok(0) => return false,
            Ok(length) if is_complaint(&record[..length]) => return true,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Records were overwritten before they were read.
            Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {}
            Err(_) => return false,
        }
    }
}

/// Whether a record ("PRIORITY,SEQUENCE,...;text") is the kernel's own and tells of damage.
fn is_complaint(record: &[u8]) -> bool {
    let Some(semicolon) = record.iter().position(|&byte| byte == b';') else {
        return false;
    };
    let (header, text) = (&record[..semicolon], &record[semicolon + 1..]);
    let priority = header.split(|&byte| byte == b',').next();
    // Facility 0 is the kernel: programs write with another one.
    let is_kernels = matches!(priority, Some([b'0'..=b'7']));
    is_kernels && COMPLAINTS.iter().any(|words| text.starts_with(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_complaints_are_known() {
        for record in [
            "0,312,1863701,-;Initramfs unpacking failed: XZ-compressed data is corrupt\n",
            "3,1,0,-;bootconfig checksum failed\n",
            "3,1,0,-;bootconfig size 1229531648 greater than initrd size 2240928\n",
        ] {
            assert!(is_complaint(record.as_bytes()), "{record}");
        }
    }

    #[test]
    fn what_programs_say_and_the_rest_of_the_log_is_no_complaint() {
        for record in [
            "12,9,1,-;Initramfs unpacking failed: as a program says\n",
            "6,9,1,-;Unpacking initramfs...\n",
            "5,0,0,-;Command line: Initramfs unpacking failed\n",
            ";",
            "",
            "Initramfs unpacking failed",
        ] {
            assert!(!is_complaint(record.as_bytes()), "{record}");
        }
    }
}
