//! `cargo xtask run`: what was built, in QEMU, on this terminal.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::Args;
use kedge_image::boot::{COMMAND_LINE, INITRAMFS, KERNEL};
use kedge_image::build::Request;
use kedge_image::host::{self, Need};
use kedge_image::manifest::{Configured, MANIFEST, Manifest};

use crate::progress::Terminal;
use crate::require_artefacts;

/// Debian's OVMF, opened read-only; variables are forgotten at the end.
const OVMF: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";

/// The port of this host, on 127.0.0.1 only, that leads to the machine's sshd.
const SSH: u16 = 2222;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Boot out/kedge.iso from a virtual USB CD, as an IPMI does
    #[arg(long, conflicts_with = "netboot")]
    iso: bool,
    /// Boot by network: QEMU's DHCP and TFTP servers, and its iPXE (out/kedge.efi under UEFI)
    #[arg(long)]
    netboot: bool,
    /// Use UEFI firmware instead of BIOS; without --netboot it boots the ISO
    #[arg(long)]
    uefi: bool,
    /// Attach a disk image (may be repeated)
    #[arg(long, value_name = "FILE")]
    disk: Vec<PathBuf>,
    /// Write to the disk images for good; otherwise changes are lost at the end
    #[arg(long, requires = "disk")]
    write: bool,
    /// Show the screen (a window where there is a desktop, else text in this terminal)
    #[arg(long)]
    vga: bool,
    /// Boot what is in this folder instead of out/
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// No network card: by default there is one on QEMU's user network, and 127.0.0.1:2222 leads to
    /// the machine's sshd
    #[arg(long, conflicts_with = "netboot")]
    no_network: bool,
    /// Memory in MiB
    #[arg(long, default_value_t = 512, value_name = "MIB")]
    memory: u32,
    /// Further kernel arguments (not with --iso or --netboot)
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["iso", "netboot", "uefi"])]
    append: Option<String>,
    /// Further arguments for QEMU, after --
    #[arg(last = true)]
    qemu: Vec<OsString>,
}

pub(crate) fn run(
    mut request: Request,
    arguments: &Arguments,
    progress: &Terminal,
) -> anyhow::Result<ExitCode> {
    host::ensure(&[Need::Test], progress)?;
    if let Some(out) = &arguments.out {
        request.out = std::path::absolute(out)
            .with_context(|| format!("cannot boot from {}", out.display()))?;
    }
    require_artefacts(&request)?;
    for disk in &arguments.disk {
        std::fs::metadata(disk)
            .with_context(|| format!("cannot use the disk {}", disk.display()))?;
    }
    let has_desktop =
        std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some();
    let mut command = Command::new("qemu-system-x86_64");
    let configured = configured(&request.out);
    let forward = (!arguments.no_network)
        .then(|| forward(&configured))
        .flatten();
    command.args(machine(&request.out, arguments, has_desktop, forward)?);
    if !arguments.vga && std::io::stdin().is_terminal() {
        eprintln!("ctrl-A X ends the machine; ctrl-C goes to the shell in it");
    }
    if forward.is_some() {
        eprintln!("log in, once it is up: {}", ssh_line(&configured));
    }
    let status = command
        .status()
        .context("cannot start qemu-system-x86_64")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the image knows from its build.
pub(crate) fn configured(out: &Path) -> Configured {
    std::fs::read_to_string(out.join(MANIFEST))
        .ok()
        .and_then(|text| Manifest::from_json(&text).ok()?.configured)
        .unwrap_or_default()
}

/// The machine's port to which [`SSH`] leads; `None`, and a word about it, when that is taken.
fn forward(configured: &Configured) -> Option<u16> {
    if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, SSH)) {
        eprintln!(
            "note: no SSH to the machine, for port {SSH} of 127.0.0.1 cannot be had: {error}"
        );
        return None;
    }
    let port = |word: &String| word.strip_prefix("kedge.ssh_port=")?.parse().ok();
    Some(configured.words.iter().find_map(port).unwrap_or(22))
}

/// The line to type. A host key that is new at each boot would be in the way of the next one.
fn ssh_line(configured: &Configured) -> String {
    let unknown = if configured.host_key.is_none() {
        "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no "
    } else {
        ""
    };
    let first = if configured.ssh_keys.is_empty() {
        " (after `ssh-allow` at the machine's console, for no key was built in)"
    } else {
        ""
    };
    format!("ssh -p {SSH} {unknown}root@127.0.0.1{first}")
}

/// QEMU's arguments.
fn machine(
    out: &Path,
    arguments: &Arguments,
    has_desktop: bool,
    forward: Option<u16>,
) -> anyhow::Result<Vec<OsString>> {
    let forward = forward.map_or_else(String::new, |port| {
        format!(",hostfwd=tcp:127.0.0.1:{SSH}-:{port}")
    });
    let mut words: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| words.extend([option.into(), value]);
    add("-machine", "q35,accel=tcg".into());
    add("-m", arguments.memory.to_string().into());
    add("-device", "qemu-xhci".into());
    if arguments.uefi {
        let option = format!(
            "if=pflash,format=raw,readonly=on,file={}",
            option_value(Path::new(OVMF))?
        );
        add("-drive", option.into());
    }
    if arguments.vga {
        add("-serial", "none".into());
        match (has_desktop, arguments.uefi) {
            (true, _) => add("-display", "gtk".into()),
            (false, false) => add("-display", "curses".into()),
            (false, true) => anyhow::bail!(
                "UEFI's screen is graphics, and there is no desktop to show it on; leave out \
                 --vga, or use `cargo xtask run --uefi -- -display vnc=127.0.0.1:0`"
            ),
        }
    } else {
        add("-display", "none".into());
        add("-serial", "mon:stdio".into());
    }
    if arguments.netboot {
        let file = if arguments.uefi {
            "kedge.efi"
        } else {
            "boot.ipxe"
        };
        let folder = option_value(&out.join("netboot"))?;
        add(
            "-netdev",
            format!("user,id=net,tftp={folder},bootfile={file}{forward}").into(),
        );
        add("-device", "virtio-net-pci,netdev=net,bootindex=0".into());
    } else {
        if arguments.no_network {
            add("-nic", "none".into());
        } else {
            add("-netdev", format!("user,id=net{forward}").into());
            // No ROM: nothing is to be booted from the network.
            add("-device", "virtio-net-pci,netdev=net,romfile=".into());
        }
        if arguments.iso || arguments.uefi {
            let iso = option_value(&out.join("kedge.iso"))?;
            add(
                "-drive",
                format!("if=none,id=cd,format=raw,readonly=on,file={iso}").into(),
            );
            add("-device", "usb-bot,id=usb-cd".into());
            add(
                "-device",
                "scsi-cd,drive=cd,bus=usb-cd.0,bootindex=0".into(),
            );
        } else {
            let line = arguments
                .append
                .iter()
                .fold(COMMAND_LINE.to_string(), |line, more| {
                    format!("{line} {more}")
                });
            add("-kernel", out.join("netboot").join(KERNEL).into());
            add("-initrd", out.join("netboot").join(INITRAMFS).into());
            add("-append", line.into());
        }
    }
    let snapshot = if arguments.write { "off" } else { "on" };
    for (index, disk) in arguments.disk.iter().enumerate() {
        let file = option_value(disk)?;
        add(
            "-drive",
            format!(
                "if=none,id=disk{index},snapshot={snapshot},format={},file={file}",
                format_of(disk)
            )
            .into(),
        );
        add(
            "-device",
            format!("virtio-blk-pci,drive=disk{index},serial=disk{index}").into(),
        );
    }
    words.extend(arguments.qemu.iter().cloned());
    Ok(words)
}

/// A path inside one of QEMU's comma-separated options, where a comma is written twice.
fn option_value(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| {
        format!(
            "QEMU's options cannot hold the path {}, which is not UTF-8",
            path.display()
        )
    })?;
    Ok(text.replace(',', ",,"))
}

/// qcow2 by its magic number, anything else as it is: what QEMU guesses could be a container (LUKS) that
/// the machine is to see as a disk.
fn format_of(disk: &Path) -> &'static str {
    let mut magic = [0; 4];
    let read = std::fs::File::open(disk).and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Ok(()) if magic == *b"QFI\xfb" => "qcow2",
        _ => "raw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn words(line: &[&str]) -> String {
        let arguments = Only::parse_from([&["run"], line].concat()).arguments;
        let words = machine(Path::new("/o,ut"), &arguments, false, Some(22)).unwrap();
        words
            .iter()
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_disk_is_what_it_holds_and_not_what_qemu_makes_of_it() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("disk");
        // QEMU would open a LUKS volume itself, and ask for its key.
        std::fs::write(&file, b"LUKS\xba\xbe\0\x01").unwrap();
        assert_eq!(format_of(&file), "raw");
        std::fs::write(&file, b"QFI\xfb\0\0\0\x03").unwrap();
        assert_eq!(format_of(&file), "qcow2");
    }

    #[test]
    fn disks_keep_their_content_unless_told_otherwise() {
        assert!(
            words(&["--disk", "victim.img"]).contains("snapshot=on,format=raw,file=victim.img")
        );
        assert!(words(&["--disk", "victim.img", "--write"]).contains("snapshot=off"));
    }

    #[test]
    fn a_comma_in_a_path_does_not_end_an_option() {
        assert!(words(&["--iso"]).contains("file=/o,,ut/kedge.iso"));
    }

    #[test]
    fn uefi_boots_the_iso_and_netboot_the_script() {
        assert!(words(&["--uefi"]).contains("scsi-cd"));
        assert!(words(&["--netboot"]).contains("bootfile=boot.ipxe"));
        assert!(words(&["--netboot", "--uefi"]).contains("bootfile=kedge.efi"));
    }

    #[test]
    fn a_port_of_this_host_alone_leads_to_the_machines_sshd() {
        for line in [&[][..], &["--iso"], &["--netboot"]] {
            let words = words(line);
            assert!(words.contains(",hostfwd=tcp:127.0.0.1:2222-:22"), "{words}");
        }
        let words = words(&["--no-network"]);
        assert!(
            !words.contains("netdev") && words.contains("-nic none"),
            "{words}"
        );
    }

    #[test]
    fn the_line_to_type_fits_what_was_built_in() {
        let mut configured = Configured::default();
        let line = ssh_line(&configured);
        assert!(line.contains("-o UserKnownHostsFile=/dev/null") && line.contains("ssh-allow"));
        configured.host_key = Some("SHA256:x".into());
        configured.ssh_keys =
            serde_json::from_str(r#"[{"fingerprint":"", "comment":""}]"#).unwrap();
        assert_eq!(ssh_line(&configured), "ssh -p 2222 root@127.0.0.1");
    }
}
