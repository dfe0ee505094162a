//! Machines with several links, and links made of others: which one gets the address, and that it goes on
//! when a cable is pulled.

use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::machine::mac;
use kedge_tests::{
    BOOT, Dnsmasq, Folder, Kind, Machine, Network, Nic, Port, Running, Switch, scenario,
};

/// What is behind every router of these tests.
const WORLD: &str = "198.51.100.1";

fn network(folder: &Folder) -> Result<Network> {
    let network = Network::new(&folder.folder("network")?)?;
    network.lan().world(&[WORLD])?;
    Ok(network)
}

fn started(machine: Machine, words: &str) -> Result<Running> {
    let mut machine = machine.direct(words)?.start()?;
    machine.wait_for_shell()?;
    Ok(machine)
}

/// The guest's name of the card with this number.
fn link(machine: &mut Running, n: usize) -> Result<String> {
    let found = machine.run(&format!("grep -il {} /sys/class/net/eth*/address", mac(n)))?;
    Ok(found.split('/').nth(4).unwrap_or_default().to_owned())
}

#[test]
fn of_two_links_the_one_with_the_gateway_gets_the_address_and_the_wrong_dhcp_is_not_asked() {
    scenario(|folder| {
        let network = network(folder)?;
        let wrong = network.segment("wrong", &["203.0.113.1/24"])?;
        let _dhcp = Dnsmasq::new("1h")
            .range4("203.0.113.100", "203.0.113.199")
            .start(&wrong)?;
        let machine = Machine::new(folder, "machine")
            .nic_on(&wrong, Nic::Virtio)
            .nic_on(network.lan(), Nic::Virtio);
        let mut machine = started(machine, "ip=192.0.2.7::192.0.2.1:24:::none")?;
        let right = link(&mut machine, 1)?;
        machine.has_address(&right, "192.0.2.7/24")?;
        machine.reaches(WORLD)?;
        for n in [0, 1] {
            let sent = machine.capture(n)?.sent_by(&mac(n));
            sent.nothing_but(|frame| {
                !matches!(frame.kind, Kind::Dhcp4 { .. } | Kind::Dhcp6 { .. })
            })?;
        }
        machine.power_off()
    });
}

#[test]
fn of_two_links_that_ask_the_first_answer_has_the_default_route_and_the_other_an_address() {
    scenario(|folder| {
        let network = network(folder)?;
        let late = network.segment("late", &["203.0.113.1/24"])?;
        let _first = Dnsmasq::new("1h")
            .range4("192.0.2.100", "192.0.2.199")
            .start(network.lan())?;
        let _late = Dnsmasq::new("1h")
            .range4("203.0.113.100", "203.0.113.199")
            .start_late(&late, Duration::from_secs(25))?;
        let machine = Machine::new(folder, "machine")
            .nic_on(&late, Nic::Virtio)
            .nic_on(network.lan(), Nic::Virtio);
        let mut machine = started(machine, "")?;
        machine.until("ip route | grep -q '^default via 192.0.2.1 '", BOOT)?;
        let other = link(&mut machine, 0)?;
        machine.has_address(&other, "203.0.113.1")?;
        let routes = machine.run("ip route | grep ^default | sort -k7")?;
        let metric = |gateway: &str| {
            let line = routes.lines().find(|line| line.contains(gateway))?;
            line.split("metric ")
                .nth(1)?
                .split(' ')
                .next()?
                .trim()
                .parse::<u32>()
                .ok()
        };
        ensure!(metric("192.0.2.1") < metric("203.0.113.1"), "{routes}");
        machine.reaches(WORLD)?;
        machine.power_off()
    });
}

#[test]
fn link_is_found_by_its_mac_and_by_what_it_was_booted_from() {
    scenario(|folder| {
        let network = network(folder)?;
        let second = network.segment("second", &["203.0.113.1/24"])?;
        let machine = Machine::new(folder, "machine")
            .nic_on(&second, Nic::Virtio)
            .nic_on(network.lan(), Nic::E1000);
        let words = format!(
            "ip=203.0.113.7:::24::{}:none BOOTIF=01-{} ip=192.0.2.7::192.0.2.1:24:::none \
             rd.route=198.18.0.0/15:203.0.113.1",
            mac(0),
            mac(1).replace(':', "-")
        );
        let mut machine = started(machine, &words)?;
        let (by_mac, booted) = (link(&mut machine, 0)?, link(&mut machine, 1)?);
        machine.has_address(&by_mac, "203.0.113.7/24")?;
        machine.has_address(&booted, "192.0.2.7/24")?;
        machine.until(
            &format!("ip route | grep -q '^198.18.0.0/15 via 203.0.113.1 dev {by_mac}'"),
            BOOT,
        )?;
        machine.power_off()
    });
}

#[test]
fn vlan_carries_the_address_and_the_untagged_link_stays_silent() {
    scenario(|folder| {
        let network = network(folder)?;
        let rack = network.segment("rack", &[])?;
        let switch = Switch::new()
            .port(&rack, Port::Trunk(vec![5]))
            .port(network.lan(), Port::Access(5))
            .start()?;
        let _dhcp = Dnsmasq::new("1h")
            .range4("192.0.2.100", "192.0.2.199")
            .start(network.lan())?;
        let machine = Machine::new(folder, "machine").nic_on(&rack, Nic::Virtio);
        let mut machine = started(machine, "vlan=eth0.5:eth0 ip=eth0.5:dhcp")?;
        machine.has_address("eth0.5", "192.0.2.1")?;
        machine.reaches(WORLD)?;
        let counts = switch.counts(&rack);
        ensure!(
            counts.in_tagged > 0 && counts.in_untagged == 0,
            "{counts:?}"
        );
        machine.power_off()
    });
}

#[test]
fn bond_goes_on_when_a_leg_is_pulled() {
    scenario(|folder| {
        let network = network(folder)?;
        let machine = Machine::new(folder, "machine")
            .nic_on(network.lan(), Nic::E1000)
            .nic_on(network.lan(), Nic::E1000);
        let mut machine = started(
            machine,
            "bond=bond0:eth0,eth1:mode=active-backup,miimon=100 \
             ip=192.0.2.7::192.0.2.1:24::bond0:none",
        )?;
        machine.has_address("bond0", "192.0.2.7/24")?;
        machine.reaches(WORLD)?;
        let active = |machine: &mut Running| -> Result<String> {
            Ok(machine
                .run("cat /sys/class/net/bond0/bonding/active_slave")?
                .trim()
                .to_owned())
        };
        let first = active(&mut machine)?;
        // Both legs have the first one's address; their own is kept beside.
        let own = machine.run(&format!(
            "cat /sys/class/net/{first}/bonding_slave/perm_hwaddr"
        ))?;
        let pulled = usize::from(own.trim() == mac(1));
        machine.set_link(pulled, false)?;
        machine.until(
            &format!("[ $(cat /sys/class/net/bond0/bonding/active_slave) != {first} ]"),
            BOOT,
        )?;
        machine.reaches(WORLD)?;
        let status = machine.run("net status")?;
        ensure!(status.contains("belongs to bond0"), "{status}");
        machine.power_off()
    });
}

#[test]
fn bridge_has_the_address_of_its_ports() {
    scenario(|folder| {
        let network = network(folder)?;
        let machine = Machine::new(folder, "machine").nic_on(network.lan(), Nic::Virtio);
        let mut machine = started(
            machine,
            "bridge=br0:eth0 ip=192.0.2.7::192.0.2.1:24::br0:none",
        )?;
        machine.has_address("br0", "192.0.2.7/24")?;
        machine.reaches(WORLD)?;
        machine.power_off()
    });
}

#[test]
fn link_that_flaps_keeps_its_address_and_one_that_comes_late_is_tried_then() {
    scenario(|folder| {
        let network = network(folder)?;
        let dhcp = Dnsmasq::new("1h")
            .range4("192.0.2.100", "192.0.2.199")
            .start(network.lan())?;
        let machine = Machine::new(folder, "machine").nic_on(network.lan(), Nic::E1000);
        let mut machine = machine.direct("")?.start()?;
        // Before the kernel is there: no carrier at boot.
        machine.set_link(0, false)?;
        machine.wait_for_shell()?;
        let before = machine.run("net status")?;
        ensure!(before.contains("no carrier"), "{before}");
        ensure!(!dhcp.said("DHCPDISCOVER")?, "asked without a carrier");
        machine.set_link(0, true)?;
        machine.has_address("eth0", "192.0.2.1")?;
        let address = machine.run("ip -4 addr show eth0 | grep -o 'inet [0-9.]*'")?;
        for _ in 0..5 {
            machine.set_link(0, false)?;
            std::thread::sleep(Duration::from_millis(700));
            machine.set_link(0, true)?;
            std::thread::sleep(Duration::from_millis(700));
        }
        machine.reaches(WORLD)?;
        let after = machine.run("ip -4 addr show eth0 | grep -o 'inet [0-9.]*'")?;
        ensure!(after == address, "{address} became {after}");
        let clients = machine.run("pidof udhcpc | wc -w")?;
        ensure!(clients.trim() == "1", "{clients} DHCP clients on one link");
        machine.power_off()
    });
}
