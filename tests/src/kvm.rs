//! Whether KVM can be used: only when asked for, and only after a guest really ran on it.
//!
//! `/dev/kvm` can be there and still hang every guest (nested virtualisation half configured), so its
//! presence proves nothing.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::child::Child;

/// A boot sector that writes 0x10 to port 0xf4, QEMU's `isa-debug-exit`:
/// `mov dx, 0xf4; mov al, 0x10; out dx, al; hlt`.
const PROBE: [u8; 7] = [0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee, 0xf4];

/// The exit status that `isa-debug-exit` makes of it.
const PROBE_STATUS: i32 = 0x10 << 1 | 1;

/// The accelerator for this run: KVM when `KEDGE_KVM=1` and a probe guest ran, else TCG.
pub fn accelerator() -> &'static str {
    static CHOICE: OnceLock<&str> = OnceLock::new();
    CHOICE.get_or_init(|| {
        if std::env::var_os("KEDGE_KVM").is_none_or(|value| value != "1") {
            return "tcg";
        }
        match runs_a_guest("kvm") {
            Ok(true) => "kvm",
            Ok(false) => {
                eprintln!("KVM does not run a guest here: going on with TCG");
                "tcg"
            }
            Err(error) => {
                eprintln!("KVM could not be tried ({error:#}): going on with TCG");
                "tcg"
            }
        }
    })
}

fn runs_a_guest(accelerator: &str) -> Result<bool> {
    let folder = std::env::temp_dir();
    let name = format!("kedge-probe-{}", std::process::id());
    let sector = folder.join(&name);
    let mut image = [0; 512];
    image[..PROBE.len()].copy_from_slice(&PROBE);
    image[510..].copy_from_slice(&[0x55, 0xaa]);
    std::fs::write(&sector, image).with_context(|| format!("writing {}", sector.display()))?;
    let result = probe(accelerator, &sector, &folder.join(format!("{name}.log")));
    let _ = std::fs::remove_file(&sector);
    let _ = std::fs::remove_file(folder.join(format!("{name}.log")));
    result
}

fn probe(accelerator: &str, sector: &Path, log: &Path) -> Result<bool> {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args([
            "-accel",
            accelerator,
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-drive"])
        .arg(format!(
            "if=ide,format=raw,readonly=off,snapshot=on,file={}",
            sector.display()
        ));
    let mut qemu = Child::spawn(&mut command, log, None)?;
    // A hanging probe is the case this is for.
    let status = qemu.wait(Duration::from_secs(60)).ok();
    Ok(status.and_then(|status| status.code()) == Some(PROBE_STATUS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_runs_where_guests_run() -> Result<()> {
        assert!(runs_a_guest("tcg")?);
        assert!(!runs_a_guest("no-such-accelerator")?);
        Ok(())
    }
}
