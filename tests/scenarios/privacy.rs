//! What a machine sends that nobody has told to do anything: every packet from power-on on is looked at.

use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::machine::mac;
use kedge_tests::{
    Addresses, Capture, Dnsmasq, Kind, Machine, Network, Nic, NtpAnswer, NtpServer, Running,
    scenario,
};

/// Long enough for everything that starts by itself: the slowest retries are some seconds apart.
const WATCHED: Duration = Duration::from_secs(45);

fn watched(machine: &mut Running) -> Result<Capture> {
    std::thread::sleep(WATCHED);
    let sent = machine.capture(0)?.sent_by(&mac(0));
    machine.power_off()?;
    // Whatever the end of the system sends counts, too.
    let all = Capture::read(&machine.folder().join("n0.pcap"))?.sent_by(&mac(0));
    ensure!(
        sent.count(|_| true) > 0,
        "the capture holds nothing, so it proves nothing"
    );
    Ok(all)
}

/// IPv6 asks that who joins a solicited-node group reports it (RFC 4862, section 5.4.2; RFC 3810): the
/// kernel does so with each address.
fn is_neighbours_talk(kind: &Kind) -> bool {
    matches!(kind, Kind::Arp { .. } | Kind::Mld) || kind.is_neighbour_discovery()
}

#[test]
fn with_nothing_configured_it_sends_only_what_getting_an_address_needs() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let lan = network.segment("dual", &["203.0.113.1/24", "2001:db8:1::1/64"])?;
        let _ntp = NtpServer::start(&lan, "203.0.113.1:123".parse()?, NtpAnswer::Offset(0.0))?;
        let _dhcp = Dnsmasq::new("1h")
            .range4("203.0.113.100", "203.0.113.199")
            .advertise("2001:db8:1::", Addresses::Both)
            .dns()
            .ntp("203.0.113.1")
            .start(&lan)?;
        let machine = Machine::new(folder, "machine").nic_on(&lan, Nic::E1000);
        let mut machine = machine.direct("")?.start()?;
        machine.wait_for_shell()?;
        machine.has_address("eth0", "203.0.113.1")?;
        let sent = watched(&mut machine)?;
        sent.nothing_but(|frame| {
            is_neighbours_talk(&frame.kind)
                || matches!(
                    frame.kind,
                    Kind::Dhcp4 { .. } | Kind::Dhcp6 { .. } | Kind::Ntp { .. }
                )
        })?;
        // The clock was asked for from the one that DHCP named, and from nobody else.
        ensure!(
            sent.any(|frame| matches!(frame.kind, Kind::Ntp { .. })),
            "no SNTP was sent"
        );
        sent.nothing_but(|frame| match frame.kind {
            Kind::Ntp { to, .. } => to.ip().to_string() == "203.0.113.1",
            _ => true,
        })
    });
}

#[test]
fn with_a_fixed_address_and_no_clock_it_sends_nothing_but_arp_and_neighbour_discovery() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let lan = network.segment("dual", &["203.0.113.1/24", "2001:db8:1::1/64"])?;
        let _dhcp = Dnsmasq::new("1h")
            .range4("203.0.113.100", "203.0.113.199")
            .advertise("2001:db8:1::", Addresses::Both)
            .ntp("203.0.113.1")
            .start(&lan)?;
        let machine = Machine::new(folder, "machine").nic_on(&lan, Nic::E1000);
        let mut machine = machine
            .direct(
                "ip=203.0.113.7::203.0.113.1:24::eth0:none \
                 ip=[2001:db8:1::7]::[2001:db8:1::1]:64::eth0:none kedge.ntp=off",
            )?
            .start()?;
        machine.wait_for_shell()?;
        machine.has_address("eth0", "203.0.113.7/24")?;
        machine.has_address("eth0", "2001:db8:1::7/64")?;
        let sent = watched(&mut machine)?;
        sent.nothing_but(|frame| {
            is_neighbours_talk(&frame.kind) && frame.kind != Kind::RouterSolicitation
        })
    });
}

#[test]
fn with_ip_off_it_sends_nothing_at_all() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let machine = Machine::new(folder, "machine").nic_on(network.lan(), Nic::E1000);
        let mut machine = machine.direct("ip=off")?.start()?;
        machine.wait_for_shell()?;
        std::thread::sleep(WATCHED);
        machine.power_off()?;
        let sent = Capture::read(&machine.folder().join("n0.pcap"))?.sent_by(&mac(0));
        sent.nothing_but(|_| false)
    });
}
