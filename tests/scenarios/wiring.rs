//! The networks that the other scenarios are built from, seen from a guest: segments, pulled cables, a
//! switch with VLANs, two cards on one segment, and captures that tell what was sent.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use kedge_tests::machine::mac;
use kedge_tests::{COMMAND, Kind, Machine, Network, Nic, Port, Running, Switch, scenario};

#[test]
fn cables_switches_and_captures_are_as_a_guest_expects() {
    scenario(|folder| {
        let network = Network::new(&folder.folder("network")?)?;
        let rack = network.segment("rack", &[])?;
        let storage = network.segment("storage", &["198.51.100.1/24"])?;
        let pair = network.segment("pair", &["203.0.113.1/24"])?;
        let switch = Switch::new()
            .port(&rack, Port::Trunk(vec![10, 20]))
            .port(&storage, Port::Access(20))
            .start()?;
        let machine = Machine::new(folder, "machine")
            .direct("")?
            .nic_on(network.lan(), Nic::E1000)
            .nic_on(&rack, Nic::Virtio)
            .nic_on(&pair, Nic::E1000)
            .nic_on(&pair, Nic::Virtio)
            .nic_user(Nic::Virtio);
        let mut machine = machine.start()?;
        machine.wait_for_shell()?;

        // Which of the guest's links is which card is for the kernel to say.
        let eth = |machine: &mut Running, n: usize| -> Result<String> {
            let found = machine.run(&format!("grep -il {} /sys/class/net/eth*/address", mac(n)))?;
            let link = found.split('/').nth(4).unwrap_or_default();
            Ok(link.to_owned())
        };
        let links: Vec<String> = (0..5)
            .map(|n| eth(&mut machine, n))
            .collect::<Result<_>>()?;

        // The first segment, and the cable pulled out and plugged in.
        machine.run(&format!("ip address add 192.0.2.7/24 dev {}", links[0]))?;
        machine.run("ping -c 1 -W 10 192.0.2.1")?;
        for (up, wanted) in [(false, "0"), (true, "1")] {
            machine.set_link(0, up)?;
            carrier(&mut machine, &links[0], wanted)?;
        }
        machine.run("ping -c 1 -W 10 192.0.2.1")?;

        // A VLAN through the switch.
        machine.run(&format!("vconfig add {} 20", links[1]))?;
        let vlan = format!("{}.20", links[1]);
        machine.run(&format!("ip address add 198.51.100.7/24 dev {vlan}"))?;
        machine.run(&format!("ip link set {vlan} up"))?;
        machine.run("ping -c 1 -W 10 198.51.100.1")?;
        switch.plug(&storage, false);
        let lost = machine.console()?.try_run("ping -c 1 -W 2 198.51.100.1")?;
        ensure!(lost.status != 0, "a ping went through a pulled cable");
        switch.plug(&storage, true);
        let counts = switch.counts(&storage);
        ensure!(
            counts.in_untagged > 0 && counts.in_tagged == 0,
            "{counts:?}"
        );
        ensure!(
            switch.counts(&rack).in_tagged > 0,
            "{:?}",
            switch.counts(&rack)
        );

        // A bond of two cards on one segment, and the leg that is in use pulled.
        for step in [
            "echo +bond9 >/sys/class/net/bonding_masters".to_owned(),
            "echo active-backup >/sys/class/net/bond9/bonding/mode".to_owned(),
            "echo 100 >/sys/class/net/bond9/bonding/miimon".to_owned(),
            format!(
                "ip link set {0} down; ip link set {1} down",
                links[2], links[3]
            ),
            "ip link set bond9 up".to_owned(),
            format!("echo +{} >/sys/class/net/bond9/bonding/slaves", links[2]),
            format!("echo +{} >/sys/class/net/bond9/bonding/slaves", links[3]),
            "ip address add 203.0.113.7/24 dev bond9".to_owned(),
        ] {
            machine.run(&step)?;
        }
        machine.run("ping -c 1 -W 10 203.0.113.1")?;
        let active = machine.run("cat /sys/class/net/bond9/bonding/active_slave")?;
        let leg = links.iter().position(|link| link == active.trim());
        let Some(leg @ (2 | 3)) = leg else {
            bail!("the bond uses {active:?} of {links:?}");
        };
        machine.set_link(leg, false)?;
        carrier(&mut machine, &links[leg], "0")?;
        machine.run("ping -c 5 -W 10 203.0.113.1")?;

        // QEMU's own network has a DHCP server too.
        machine.run(&format!("udhcpc -i {} -n -q -s /bin/true", links[4]))?;
        machine.wait_for_frame(4, "DHCP's ACK", COMMAND, |frame| {
            matches!(
                frame.kind,
                Kind::Dhcp4 {
                    client: false,
                    message: "ACK"
                }
            )
        })?;

        // The captures tell what each card has sent.
        let sent = machine.capture(0)?.sent_by(&mac(0));
        ensure!(
            sent.any(|frame| frame.kind.asks_for4([192, 0, 2, 1].into())),
            "{sent}"
        );
        let error = sent.nothing_but(|frame| frame.kind.is_neighbour_discovery());
        let error = format!("{:#}", error.err().unwrap_or_else(|| anyhow::anyhow!("")));
        ensure!(
            error.contains("ICMP type 8 from 192.0.2.7 to 192.0.2.1"),
            "{error}"
        );
        let tagged = machine.capture(1)?.sent_by(&mac(1));
        ensure!(
            tagged.any(|frame| frame.vlans == [20] && matches!(frame.kind, Kind::Icmp { .. })),
            "{tagged}"
        );
        machine.power_off()
    });
}

/// Waits until the guest sees the carrier come or go.
fn carrier(machine: &mut Running, link: &str, wanted: &str) -> Result<()> {
    let deadline = Instant::now() + COMMAND;
    while machine
        .run(&format!("cat /sys/class/net/{link}/carrier"))?
        .trim()
        != wanted
    {
        ensure!(Instant::now() < deadline, "{link} has not carrier {wanted}");
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}
