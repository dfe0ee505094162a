//! iPXE, as Debian builds it, with boot.ipxe over HTTP: from the card's ROM, from undionly.kpxe, from
//! snponly.efi, and with an address that was set by hand because there is no DHCP server.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kedge_tests::network::HOST;
use kedge_tests::{Firmware, Folder, Machine, Network, Nic, Running, out, scenario};

const ROM: &str = "/usr/lib/ipxe/qemu/pxe-e1000.rom";

fn script() -> String {
    format!("http://{HOST}/boot.ipxe")
}

/// A network with an HTTP server for out/netboot; gives the server's access log too.
fn network(folder: &Folder) -> Result<(Network, PathBuf)> {
    out::artefact("netboot/boot.ipxe")?;
    let netboot = out::folder()
        .join("netboot")
        .canonicalize()
        .context("finding out/netboot")?;
    let mut network = Network::new(&folder.folder("network")?)?;
    let access = network.serve_http(&netboot)?;
    Ok((network, access))
}

/// The machine works, and what it runs came over HTTP.
fn works(machine: &mut Running, access: &Path) -> Result<()> {
    machine.wait_for_shell()?;
    machine.tour()?;
    let access = std::fs::read_to_string(access)?;
    for file in ["/boot.ipxe", "/vmlinuz", "/initramfs.cpio.xz"] {
        ensure!(
            access
                .lines()
                .any(|line| line.ends_with(&format!("url:{file}"))),
            "{file} was not fetched:\n{access}"
        );
    }
    Ok(())
}

fn address_is_left_to_dhcp(machine: &mut Running) -> Result<()> {
    let line = machine.run("cat /proc/cmdline")?;
    ensure!(
        !line.contains(" ip="),
        "an address from DHCP was made a static one: {line}"
    );
    let mac = kedge_tests::machine::mac(0).replace(':', "-");
    ensure!(
        line.contains(&format!("BOOTIF=01-{mac}")),
        "the card's address is missing: {line}"
    );
    Ok(())
}

#[test]
fn bios_rom_boots_the_script_over_http() {
    scenario(|folder| {
        let (mut network, access) = network(folder)?;
        network.serve_dhcp(folder.path(), &[&format!("--dhcp-boot={}", script())])?;
        let machine = Machine::new(folder, "machine");
        let mut machine = machine.nic_in(&network, Nic::E1000, Some(ROM)).start()?;
        works(&mut machine, &access)?;
        address_is_left_to_dhcp(&mut machine)?;
        machine.power_off()
    });
}

#[test]
fn bios_undionly_boots_the_script_over_http() {
    scenario(|folder| {
        out::host_file("/usr/lib/ipxe/undionly.kpxe", "ipxe")?;
        let (mut network, access) = network(folder)?;
        let tftp = Path::new("/usr/lib/ipxe");
        let log = network.serve_dhcp(tftp, &["--dhcp-boot=undionly.kpxe"])?;
        let machine = Machine::new(folder, "machine");
        let mut machine = machine.nic_in(&network, Nic::E1000, Some(ROM)).start()?;
        // QEMU's ROM is an iPXE too and says so to the server: by the request the server cannot tell
        // who asks. So the answer is changed once the file is out.
        wait_for(&log, "sent /usr/lib/ipxe/undionly.kpxe")?;
        network.stop_last_server();
        network.serve_dhcp(tftp, &[&format!("--dhcp-boot={}", script())])?;
        works(&mut machine, &access)?;
        address_is_left_to_dhcp(&mut machine)?;
        machine.power_off()
    });
}

#[test]
fn uefi_snponly_boots_the_script_over_http() {
    scenario(|folder| {
        out::host_file("/usr/lib/ipxe/snponly.efi", "ipxe")?;
        let (mut network, access) = network(folder)?;
        let log = network.serve_dhcp(
            Path::new("/usr/lib/ipxe"),
            &[
                "--dhcp-userclass=set:ipxe,iPXE",
                "--dhcp-boot=tag:!ipxe,snponly.efi",
                &format!("--dhcp-boot=tag:ipxe,{}", script()),
            ],
        )?;
        let machine = Machine::new(folder, "machine").firmware(Firmware::Uefi);
        let mut machine = machine.nic_in(&network, Nic::Virtio, Some("")).start()?;
        works(&mut machine, &access)?;
        address_is_left_to_dhcp(&mut machine)?;
        machine.run("test -d /sys/firmware/efi")?;
        machine.power_off()?;
        let log = std::fs::read_to_string(&log)?;
        ensure!(
            log.contains("snponly.efi to 192.0.2."),
            "snponly.efi was not sent:\n{log}"
        );
        Ok(())
    });
}

/// netbootxyz/netboot.xyz#342: a hoster without DHCP, where the address typed into iPXE was gone once
/// the kernel ran.
#[test]
fn static_address_set_in_ipxe_arrives_in_the_kernel() {
    scenario(|folder| {
        let ipxe = out::host_file("/usr/lib/ipxe/ipxe.lkrn", "ipxe")?
            .display()
            .to_string();
        let (network, access) = network(folder)?;
        let typed = folder.path().join("typed.ipxe");
        let text = format!(
            "#!ipxe\nifopen net0\nset net0/ip 192.0.2.50\nset net0/netmask 255.255.255.0\n\
             set net0/gateway {HOST}\nset net0/dns {HOST}\nchain {} || shell\n",
            script()
        );
        std::fs::write(&typed, text)?;
        let typed = typed.display().to_string();
        let machine =
            Machine::new(folder, "machine").arguments(&["-kernel", &ipxe, "-initrd", &typed]);
        let mut machine = machine.nic_in(&network, Nic::E1000, None).start()?;
        works(&mut machine, &access)?;
        let line = machine.run("cat /proc/cmdline")?;
        let wanted = format!(" ip=192.0.2.50::{HOST}:255.255.255.0:");
        ensure!(
            line.contains(&wanted),
            "{wanted:?} is not in the kernel's command line: {line}"
        );
        ensure!(
            line.contains(&format!(" nameserver={HOST}")),
            "no name server in: {line}"
        );
        machine.power_off()
    });
}

fn wait_for(log: &Path, text: &str) -> Result<()> {
    let deadline = Instant::now() + kedge_tests::BOOT;
    while !std::fs::read_to_string(log)?.contains(text) {
        if Instant::now() > deadline {
            bail!("{text:?} did not come into {}", log.display());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
