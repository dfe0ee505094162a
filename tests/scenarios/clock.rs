//! The machine knows the time: from its RTC, never before the build, and from a time server.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kedge_tests::{BOOT, Dnsmasq, Machine, Network, Nic, NtpAnswer, NtpServer, Running, scenario};

/// A board whose battery is empty.
const EMPTY_BATTERY: [&str; 2] = ["-rtc", "base=2001-02-03T04:05:06"];
/// 2026-01-01: no image is older.
const EPOCH: u64 = 1_767_225_600;

fn now(machine: &mut Running) -> Result<u64> {
    let said = machine.run("date +%s")?;
    said.trim()
        .parse()
        .with_context(|| format!("date says {said:?}"))
}

#[test]
fn clock_is_never_before_the_build() {
    scenario(|folder| {
        let machine = Machine::new(folder, "machine").arguments(&EMPTY_BATTERY);
        let mut machine = machine.direct("kedge.ntp=off")?.start()?;
        machine.wait_for_shell()?;
        let now = now(&mut machine)?;
        ensure!((EPOCH..EPOCH + 3600).contains(&now), "{now}");
        let said = machine.run("clock; grep kedge: /var/log/messages | cut -d] -f2-")?;
        ensure!(said.contains("RTC     2001-02-03"), "{said}");
        ensure!(
            said.contains("the clock was before this system's build"),
            "{said}"
        );
        // What has nothing to do is not started over and over.
        ensure!(!said.contains("clock service ended"), "{said}");
        machine.power_off()
    });
}

#[test]
fn time_server_that_dhcp_names_sets_the_clock() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let day = Duration::from_secs(86_400);
        let ntp = NtpServer::start(
            network.lan(),
            "192.0.2.1:123".parse()?,
            NtpAnswer::Offset(day.as_secs_f64()),
        )?;
        let _dhcp = Dnsmasq::new("1h")
            .range4("192.0.2.100", "192.0.2.199")
            .ntp("192.0.2.1")
            .start(network.lan())?;
        let machine = Machine::new(folder, "machine")
            .arguments(&EMPTY_BATTERY)
            .nic_on(network.lan(), Nic::Virtio);
        let mut machine = machine.direct("")?.start()?;
        machine.wait_for_shell()?;
        machine.until("clock | grep -q '192.0.2.1'", BOOT)?;
        let tomorrow = (std::time::SystemTime::now() + day)
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs();
        let now = now(&mut machine)?;
        ensure!(now.abs_diff(tomorrow) < 120, "{now} is not {tomorrow}");
        ensure!(!ntp.requests().is_empty());
        machine.power_off()
    });
}
