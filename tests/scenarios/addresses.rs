//! A machine comes up with the address that its operator or its network gave it.

use std::time::Duration;

use anyhow::{Result, ensure};
use kedge_tests::machine::mac;
use kedge_tests::{
    Addresses, BOOT, Dnsmasq, Folder, Kind, Machine, Network, Nic, Running, Segment, scenario,
};

/// What is behind every router of these tests.
const WORLD: &str = "198.51.100.1";

fn network(folder: &Folder) -> Result<Network> {
    let network = Network::new(&folder.folder("network")?)?;
    network.lan().world(&[WORLD, "2001:db8:ffff::1"])?;
    Ok(network)
}

/// Boots with these kernel arguments, with one card on the network's first segment.
fn boot(folder: &Folder, network: &Network, words: &str) -> Result<Running> {
    boot_on(folder, network.lan(), words)
}

/// The same, on another segment.
fn boot_on(folder: &Folder, segment: &Segment, words: &str) -> Result<Running> {
    let machine = Machine::new(folder, "machine").nic_on(segment, Nic::Virtio);
    let mut machine = machine.direct(words)?.start()?;
    machine.wait_for_shell()?;
    Ok(machine)
}

#[test]
fn fixed_ipv4_address_reaches_the_world_and_no_dhcp_is_sent() {
    scenario(|folder| {
        let network = network(folder)?;
        let _dhcp = Dnsmasq::new("1h")
            .range4("192.0.2.100", "192.0.2.199")
            .start(network.lan())?;
        let mut machine = boot(
            folder,
            &network,
            "ip=192.0.2.7::192.0.2.1:255.255.255.0:rescue:eth0:none nameserver=192.0.2.1",
        )?;
        machine.has_address("eth0", "192.0.2.7/24")?;
        machine.reaches(WORLD)?;
        let status = machine.run("net status --json")?;
        ensure!(
            status.contains(r#""address":"192.0.2.7","length":24,"origin":"command line""#),
            "{status}"
        );
        ensure!(status.contains(r#""gateway":"192.0.2.1""#), "{status}");
        ensure!(
            status.contains(r#"{"address":"192.0.2.1","origin":"command line"}"#),
            "{status}"
        );
        ensure!(machine.run("hostname")?.trim() == "rescue");
        let sent = machine.capture(0)?.sent_by(&mac(0));
        sent.nothing_but(|frame| !matches!(frame.kind, Kind::Dhcp4 { .. } | Kind::Dhcp6 { .. }))?;
        machine.power_off()
    });
}

#[test]
fn fixed_ipv6_address_with_a_link_local_gateway_reaches_the_world() {
    scenario(|folder| {
        let network = network(folder)?;
        let gateway = network.run(std::process::Command::new("ip").args([
            "-6",
            "-brief",
            "address",
            "show",
            "dev",
            network.lan().device(),
        ]))?;
        let gateway = String::from_utf8(gateway)?;
        let gateway = gateway
            .split_whitespace()
            .find_map(|word| word.starts_with("fe80").then(|| word.split('/').next()))
            .flatten()
            .ok_or_else(|| anyhow::anyhow!("the test's end has no link-local address: {gateway}"))?
            .to_owned();
        network.run(std::process::Command::new("ip").args([
            "address",
            "add",
            "2001:db8:1::1/64",
            "dev",
            network.lan().device(),
            "nodad",
        ]))?;
        let words = format!("ip=[2001:db8:1::7]::[{gateway}]:64::eth0:none");
        let mut machine = boot(folder, &network, &words)?;
        machine.has_address("eth0", "2001:db8:1::7/64")?;
        machine.reaches("2001:db8:ffff::1")?;
        machine.power_off()
    });
}

/// As Hetzner and OVH have it, see netbootxyz/netboot.xyz#1485.
#[test]
fn gateway_outside_of_a_host_prefix_is_reached() {
    scenario(|folder| {
        let network = network(folder)?;
        let lan = network.segment("rack", &["203.0.113.1/32", "2001:db8:9::1/128"])?;
        lan.route_to("192.0.2.77")?;
        lan.route_to("2001:db8:7::77")?;
        let machine = Machine::new(folder, "machine").nic_on(&lan, Nic::E1000);
        let mut machine = machine
            .direct(
                "ip=192.0.2.77::203.0.113.1:255.255.255.255::eth0:none \
                 ip=[2001:db8:7::77]::[2001:db8:9::1]:128::eth0:none",
            )?
            .start()?;
        machine.wait_for_shell()?;
        machine.has_address("eth0", "192.0.2.77/32")?;
        machine.has_address("eth0", "2001:db8:7::77/128")?;
        machine.reaches(WORLD)?;
        machine.reaches("2001:db8:ffff::1")?;
        machine.power_off()
    });
}

#[test]
fn dhcp_that_is_late_by_40_seconds_is_waited_for() {
    scenario(|folder| {
        let network = network(folder)?;
        let machine = Machine::new(folder, "machine").nic_on(network.lan(), Nic::Virtio);
        let _late = Dnsmasq::new("1h")
            .range4("192.0.2.100", "192.0.2.199")
            .start_late(network.lan(), Duration::from_secs(40))?;
        let mut machine = machine.direct("")?.start()?;
        machine.wait_for_shell()?;
        let before = machine.run("net status")?;
        ensure!(
            !before.contains("192.0.2.1"),
            "too early to prove anything: {before}"
        );
        machine.until(
            "ip addr show eth0 | grep -F 'inet 192.0.2.1'",
            Duration::from_secs(90),
        )?;
        machine.reaches(WORLD)?;
        machine.power_off()
    });
}

#[test]
fn routers_and_dhcpv6_give_addresses_and_dns_servers() {
    scenario(|folder| {
        let network = network(folder)?;
        let lan = network.segment("dual", &["203.0.113.1/24", "2001:db8:1::1/64"])?;
        let dhcp = Dnsmasq::new("2m")
            .range4("203.0.113.100", "203.0.113.199")
            .advertise("2001:db8:1::", Addresses::Both)
            .dns()
            .name("news.example", WORLD)
            .start(&lan)?;
        let mut machine = boot_on(folder, &lan, "")?;
        machine.until("ip addr show eth0 | grep -F 'inet 203.0.113.1'", BOOT)?;
        // EUI-64: predictable, for who looks for it.
        machine.has_address("eth0", "2001:db8:1:0:5054:ff:fe00:0/64")?;
        machine.until(
            "ip addr show eth0 | grep -E '2001:db8:1::1[0-9a-f]{2}/128'",
            BOOT,
        )?;
        machine.reaches("2001:db8:ffff::1")?;
        machine.until("grep -q DHCPv6 /etc/resolv.conf", BOOT)?;
        let resolv = machine.run("cat /etc/resolv.conf")?;
        for by in ["# eth0, DHCP\n", "# eth0, DHCPv6\n"] {
            ensure!(resolv.replace('\r', "").contains(by), "{resolv}");
        }
        let looked = machine.run("nslookup news.example")?;
        ensure!(looked.contains(WORLD), "{looked}");
        // A lease of two minutes is renewed after one, by asking the server that gave it.
        machine.until("false || [ $(cut -d. -f1 /proc/uptime) -gt 75 ]", BOOT)?;
        let requests = machine.capture(0)?.sent_by(&mac(0)).count(|frame| {
            matches!(
                frame.kind,
                Kind::Dhcp4 {
                    message: "REQUEST",
                    ..
                }
            )
        });
        ensure!(
            requests >= 2,
            "{requests} DHCPv4 requests in 75 s: not renewed"
        );
        ensure!(dhcp.said("DHCPRENEW")?, "DHCPv6 was not renewed");
        machine.power_off()
    });
}

#[test]
fn address_that_somebody_else_holds_is_refused_and_their_mac_is_named() {
    scenario(|folder| {
        let network = network(folder)?;
        let holder = network
            .lan()
            .neighbour(&["192.0.2.7/24", "2001:db8:1::7/64"])?;
        let mut machine = boot(
            folder,
            &network,
            "ip=192.0.2.7::192.0.2.1:24::eth0:none ip=[2001:db8:1::7]:::64::eth0:none",
        )?;
        for address in ["192.0.2.7", "2001:db8:1::7"] {
            let words = format!("{address} is held by {} on eth0: not used", holder.mac());
            machine.until(&format!("dmesg | grep -F '{words}'"), BOOT)?;
        }
        let addresses = machine.run("ip addr show eth0")?;
        ensure!(
            !addresses.contains("192.0.2.7") && !addresses.contains("2001:db8:1::7"),
            "{addresses}"
        );
        for address in ["192.0.2.7/24", "2001:db8:1::7/64"] {
            let refused = machine.run(&format!(
                "net up eth0 --address {address} 2>&1; echo status $?"
            ))?;
            ensure!(
                refused.contains(holder.mac()) && refused.contains("status 1"),
                "{refused}"
            );
            ensure!(refused.contains("--force"), "{refused}");
        }
        let forced = machine.run("net up eth0 --address 192.0.2.7/24 --force 2>&1")?;
        ensure!(forced.contains("eth0 has 192.0.2.7/24"), "{forced}");
        let free = machine.run("net up eth0 --address 192.0.2.8/24 --gateway 192.0.2.1 2>&1")?;
        ensure!(!free.contains("held by"), "{free}");
        let addresses = machine.run("ip addr show eth0")?;
        ensure!(
            addresses.contains("192.0.2.8/24") && !addresses.contains("192.0.2.7/24"),
            "{addresses}"
        );
        machine.reaches(WORLD)?;
        machine.power_off()
    });
}

#[test]
fn malformed_argument_is_named_on_every_console_and_the_others_apply() {
    scenario(|folder| {
        let network = network(folder)?;
        let mut machine = boot(
            folder,
            &network,
            "ip=192.0.2.777::192.0.2.1:24::eth0:none vlan=eth0.9999:eth0 \
             ip=192.0.2.7::192.0.2.1:24::eth0:none",
        )?;
        machine.has_address("eth0", "192.0.2.7/24")?;
        machine.expect_on_screen("'192.0.2.777' is not", BOOT)?;
        machine.expect_on_screen("'eth0.9999' is not", BOOT)?;
        machine.save_screen("malformed.png")?;
        let serial = std::fs::read_to_string(machine.folder().join("ttyS0.log"))?;
        ensure!(
            serial.contains("'192.0.2.777' is not"),
            "not on the serial console"
        );
        machine.power_off()
    });
}

#[test]
fn without_any_network_there_is_a_shell_and_a_word_about_it() {
    scenario(|folder| {
        let mut machine = Machine::new(folder, "machine")
            .direct("ip=192.0.2.7::192.0.2.1:24::eth0:none")?
            .start()?;
        machine.wait_for_shell()?;
        let status =
            machine.run("net status; net up eth0 --address 192.0.2.7/24; echo status $?")?;
        ensure!(status.contains("no Ethernet link"), "{status}");
        ensure!(status.contains("status 1"), "{status}");
        machine.power_off()
    });
}

#[test]
fn odd_gateways_are_pointed_out_with_the_likely_typing_error() {
    scenario(|folder| {
        let network = network(folder)?;
        let mut machine = boot(folder, &network, "ip=off")?;
        let up = |machine: &mut Running, words: &str| {
            machine.run(&format!("net up eth0 {words} 2>&1; echo status $?"))
        };
        let outside = up(&mut machine, "--address 192.0.2.7/24 --gateway 129.0.2.1")?;
        ensure!(
            outside.contains("is it 192.0.2.1?") && outside.contains("status 0"),
            "{outside}"
        );
        let silent = up(&mut machine, "--address 192.0.2.7/24 --gateway 192.0.2.254")?;
        ensure!(
            silent.contains("192.0.2.254 does not answer on eth0; 192.0.2.1 does"),
            "{silent}"
        );
        let network_address = up(&mut machine, "--address 192.0.2.0/24")?;
        ensure!(
            network_address.contains("of the network") && network_address.contains("status 1"),
            "{network_address}"
        );
        let lacks = up(&mut machine, "--address 192.0.2.7")?;
        ensure!(
            lacks.contains("lacks its prefix") && lacks.contains("status 2"),
            "{lacks}"
        );
        let right = up(&mut machine, "--address 192.0.2.7/24 --gateway 192.0.2.1")?;
        ensure!(!right.contains("note:"), "{right}");
        machine.reaches(WORLD)?;
        machine.power_off()
    });
}

#[test]
fn net_setup_asks_and_sets_up() {
    scenario(|folder| {
        let network = network(folder)?;
        let mut machine = boot(folder, &network, "ip=off")?;
        let console = machine.console()?;
        let soon = Duration::from_secs(20);
        console.send("net setup\n")?;
        for (question, answer) in [
            ("Link [eth0]: ", ""),
            ("(y or n) [n]: ", ""),
            ("192.0.2.7/24: ", "192.0.2.7"),
            ("lacks its prefix", ""),
            ("192.0.2.7/24: ", "192.0.2.7/24"),
            ("Gateway, or none [192.0.2.1]: ", ""),
            ("DNS servers, or none [none]: ", "192.0.2.1"),
            (
                "--address 192.0.2.7/24 --gateway 192.0.2.1 --dns 192.0.2.1",
                "",
            ),
        ] {
            console.expect(question, soon)?;
            if !question.contains("lacks") && !question.contains("--address") {
                console.send(&format!("{answer}\n"))?;
            }
        }
        console.expect("[y]: ", soon)?;
        console.send("\n")?;
        console.expect("eth0 has 192.0.2.7/24", soon)?;
        machine.reaches(WORLD)?;
        let resolv = machine.run("cat /etc/resolv.conf")?;
        ensure!(resolv.contains("nameserver 192.0.2.1"), "{resolv}");
        // Half-way out: nothing changes.
        let console = machine.console()?;
        console.send("net setup\n")?;
        console.expect("Link [eth0]: ", soon)?;
        console.send("\x03")?;
        // What is typed before the prompt is thrown away with the line.
        console.expect("kedge:/root#", soon)?;
        let after = machine.run("ip addr show eth0; net down eth0")?;
        ensure!(after.contains("192.0.2.7/24"), "{after}");
        ensure!(!machine.run("ip addr show eth0")?.contains("inet"));
        machine.power_off()
    });
}

#[test]
fn net_test_tells_a_good_network_from_a_captive_one_and_a_right_clock_from_a_wrong_one() {
    scenario(|folder| {
        let mut network = network(folder)?;
        let web = folder.folder("web")?;
        std::fs::write(web.join("nm"), "NetworkManager is online\n")?;
        network.serve_http(&web)?;
        let _dns = Dnsmasq::new("1h")
            .dns()
            .name("network-test.debian.org", "192.0.2.1")
            .start(network.lan())?;
        let mut machine = boot(
            folder,
            &network,
            "ip=192.0.2.7::192.0.2.1:24::eth0:none nameserver=192.0.2.1",
        )?;
        machine.has_address("eth0", "192.0.2.7/24")?;
        let good = machine.run("net test; echo status $?")?;
        ensure!(
            good.contains("status 0") && !good.contains("FAILED"),
            "{good}"
        );
        for what in ["gateway", "DNS", "world", "clock"] {
            ensure!(good.contains(&format!("ok     {what}")), "{what}: {good}");
        }
        let wrong =
            machine.run("date -s 2027-03-01 >/dev/null; net test --json; echo status $?")?;
        ensure!(wrong.contains("status 1"), "{wrong}");
        ensure!(wrong.contains(r#"{"what":"clock","fine":false"#), "{wrong}");
        std::fs::write(web.join("nm"), "<html>Please log in to the hotel</html>\n")?;
        let captive = machine.run("net test; echo status $?")?;
        ensure!(
            captive.contains("FAILED world") && captive.contains("captive"),
            "{captive}"
        );
        let gone = machine.run("ip route del default; net test; echo status $?")?;
        ensure!(gone.contains("FAILED gateway"), "{gone}");
        machine.power_off()
    });
}
