//! dnsmasq, judged by clients that did not come from here where there are any.

use super::*;
use crate::{Folder, Network, Segment};

fn network(name: &str) -> Result<(Folder, Network)> {
    let folder = Folder::new(&format!("unit.dnsmasq.{name}"))?;
    let network = Network::new(folder.path())?;
    Ok((folder, network))
}

/// What a DHCP client gets: the variables that udhcpc gives its script.
fn lease(segment: &Segment) -> Result<String> {
    let folder = segment.namespace().file("script", "sh");
    std::fs::write(&folder, "#!/bin/sh\n[ \"$1\" = bound ] && set\nexit 0\n")?;
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let client = segment.neighbour(&[])?;
    let mut command = Command::new("/bin/busybox");
    command
        .args([
            "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "3", "-T", "2",
        ])
        .args(["-O", "ntpsrv", "-s"])
        .arg(folder);
    Ok(String::from_utf8_lossy(&client.run(&mut command)?).into_owned())
}

#[test]
fn each_segment_has_its_own_dhcp_server() -> Result<()> {
    let (_folder, network) = network("two")?;
    let other = network.segment("other", &["198.51.100.1/24"])?;
    let silent = network.segment("silent", &["203.0.113.1/24"])?;
    let here = Dnsmasq::new("2m").range4("192.0.2.100", "192.0.2.199");
    let mut here = here.ntp("192.0.2.123").start(network.lan())?;
    let there = Dnsmasq::new("1h").range4("198.51.100.50", "198.51.100.60");
    let there = there.start(&other)?;
    let got = lease(network.lan())?;
    for wanted in [
        "ip='192.0.2.",
        "lease='120'",
        "ntpsrv='192.0.2.123'",
        "router='192.0.2.1'",
    ] {
        assert!(got.contains(wanted), "{wanted} is not in {got}");
    }
    let got = lease(&other)?;
    assert!(got.contains("ip='198.51.100."), "{got}");
    assert!(lease(&silent).is_err());
    here.wait_for("DHCPACK(lan)", Duration::from_secs(10))?;
    assert!(!here.said("DHCPACK(other)")? && !there.said("DHCPACK(lan)")?);
    Ok(())
}

#[test]
fn a_wrong_server_can_be_a_neighbour() -> Result<()> {
    let (_folder, network) = network("wrong")?;
    let rogue = network.lan().neighbour(&["10.9.9.1/24"])?;
    let _server = Dnsmasq::new("2m")
        .range4("10.9.9.100", "10.9.9.199")
        .start(&rogue)?;
    let got = lease(network.lan())?;
    assert!(got.contains("ip='10.9.9."), "{got}");
    Ok(())
}

#[test]
fn a_late_server_is_silent_until_then() -> Result<()> {
    let (_folder, network) = network("late")?;
    let dhcp = Dnsmasq::new("2m").range4("192.0.2.100", "192.0.2.199");
    let mut server = dhcp.start_late(network.lan(), Duration::from_secs(5))?;
    assert!(!server.said("started")?);
    server.wait_until_it_serves()?;
    assert!(lease(network.lan())?.contains("ip='192.0.2."));
    Ok(())
}

#[test]
fn a_range_that_would_not_be_served_is_refused() -> Result<()> {
    let (_folder, network) = network("range")?;
    let error = Dnsmasq::new("2m").range4("192.0.3.1", "192.0.3.9");
    let error = error.start(network.lan()).unwrap_err();
    assert!(
        error.to_string().contains("no address in the prefix"),
        "{error:#}"
    );
    Ok(())
}

#[test]
fn names_of_the_test_are_answered_and_no_others() -> Result<()> {
    let (_folder, network) = network("names")?;
    let mut server = Dnsmasq::new("2m")
        .dns()
        .name("news.example", "192.0.2.8")
        .name("news.example", "2001:db8::8")
        .start(network.lan())?;
    let client = network.lan().neighbour(&["192.0.2.9/24"])?;
    let ask = |name: &str| {
        let mut command = Command::new("/bin/busybox");
        let answer = client.run(command.args(["nslookup", name, "192.0.2.1"]))?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = ask("news.example")?;
    assert!(
        answer.contains("192.0.2.8") && answer.contains("2001:db8::8"),
        "{answer}"
    );
    assert!(ask("old.example").is_err());
    server.wait_for(
        "query[A] news.example from 192.0.2.9",
        Duration::from_secs(10),
    )
}

/// The addresses that the kernel of a new neighbour has made by itself, and what it was told.
fn autoconfigured(segment: &Segment) -> Result<String> {
    let client = segment.neighbour(&[])?;
    let script = "echo 1 >/proc/sys/net/ipv6/conf/eth0/accept_ra
        echo 3 >/proc/sys/net/ipv6/conf/eth0/router_solicitations
        ip link set eth0 down && ip link set eth0 up
        for i in $(seq 100); do
            ip -6 route show default | grep -q . && break
            sleep 0.1
        done
        ip -6 route show default && ip -6 -o address show dev eth0";
    let out = client.run(Command::new("sh").args(["-c", script]))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[test]
fn advertisements_give_a_route_and_addresses_only_where_they_shall() -> Result<()> {
    let (_folder, network) = network("advertise")?;
    let lan = network.segment("slaac", &["2001:db8:1::1/64"])?;
    let other = network.segment("stateful", &["2001:db8:2::1/64"])?;
    let slaac = Dnsmasq::new("2m").advertise("2001:db8:1::", Addresses::Slaac);
    let _slaac = slaac.dns().start(&lan)?;
    let stateful = Dnsmasq::new("2m").advertise("2001:db8:2::", Addresses::Stateful);
    let _stateful = stateful.start(&other)?;
    let got = autoconfigured(&lan)?;
    assert!(got.contains("default via fe80::"), "{got}");
    assert!(got.contains("inet6 2001:db8:1::"), "{got}");
    let got = autoconfigured(&other)?;
    assert!(got.contains("default via fe80::"), "{got}");
    assert!(!got.contains("inet6 2001:db8:2:"), "{got}");
    Ok(())
}

/// The flags of the first router advertisement that is heard on a segment, those of its prefix, and
/// whether it has an RDNSS. `start` starts the router.
fn advertised<T>(segment: &Segment, start: impl FnOnce() -> Result<T>) -> Result<(u8, u8, bool)> {
    let name = segment.tap_name();
    segment.make_tap(&name)?;
    let tap = crate::sockets::open_tap(segment.namespace(), &name)?;
    rustix::io::ioctl_fionbio(&tap, true)?;
    let _router = start()?;
    let mut bytes = [0; 2000];
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let Ok(length) = rustix::io::read(&tap, &mut bytes) else {
            anyhow::ensure!(Instant::now() < deadline, "no router has advertised itself");
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let frame = crate::Frame::new(Duration::ZERO, &bytes[..length]);
        if frame.kind != crate::Kind::RouterAdvertisement {
            continue;
        }
        // RFC 4861, 4.2: options follow the first 16 bytes; lengths are in 8 bytes.
        let message = &frame.bytes[14 + 40..];
        let (mut prefix, mut rdnss, mut options) = (0, false, &message[16..]);
        while let [kind, length @ 1..=255, ..] = options {
            match kind {
                3 => prefix = options[3],
                25 => rdnss = true,
                _ => {}
            }
            options = &options[usize::from(*length) * 8..];
        }
        return Ok((message[5], prefix, rdnss));
    }
}

#[test]
fn advertisements_have_the_flags_that_were_asked_for() -> Result<()> {
    let (_folder, network) = network("flags")?;
    // M is 0x80 and O is 0x40; of the prefix, L is 0x80 and A is 0x40.
    for (n, (addresses, dns, flags, prefix)) in [
        (Addresses::Slaac, true, 0x00, 0xc0),
        (Addresses::Stateless, false, 0x40, 0xc0),
        (Addresses::Stateful, true, 0xc0, 0x80),
        (Addresses::Both, false, 0xc0, 0xc0),
    ]
    .into_iter()
    .enumerate()
    {
        let prefix_of_it = format!("2001:db8:{n}::");
        let lan = network.segment(&format!("ra{n}"), &[&format!("{prefix_of_it}1/64")])?;
        let mut server = Dnsmasq::new("2m").advertise(&prefix_of_it, addresses);
        if dns {
            server = server.dns();
        }
        let got = advertised(&lan, || server.start(&lan))?;
        assert_eq!(got, (flags, prefix, dns), "{addresses:?}");
    }
    Ok(())
}

#[test]
fn dhcp6_offers_addresses_of_its_range() -> Result<()> {
    let (_folder, network) = network("dhcp6")?;
    let lan = network.segment("six", &["2001:db8:2::1/64"])?;
    let server = Dnsmasq::new("2m").advertise("2001:db8:2::", Addresses::Stateful);
    let _server = server.start(&lan)?;
    let client = lan.neighbour(&[])?;
    let index = client.namespace().ip("-o link show dev eth0")?;
    let index = index.split(':').next().unwrap_or_default().parse()?;
    let socket = crate::sockets::bind_udp(client.namespace(), "[::]:546".parse()?)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    // RFC 8415: SOLICIT; a client identifier, and a request for an address.
    let mut solicit = vec![1, 1, 2, 3];
    solicit.extend(b"\0\x01\0\x0a\0\x03\0\x01\x02\0\0\0\x07\x07");
    solicit.extend(b"\0\x03\0\x0c\0\0\0\x07\0\0\0\0\0\0\0\0");
    let servers = std::net::SocketAddrV6::new("ff02::1:2".parse()?, 547, 0, index);
    let mut answer = [0; 2000];
    let heard = (0..10).find_map(|_| {
        // Until its link-local address is there it cannot send.
        match socket.send_to(&solicit, servers) {
            Ok(_) => socket.recv(&mut answer).ok(),
            Err(_) => {
                std::thread::sleep(Duration::from_millis(200));
                None
            }
        }
    });
    let answer = &answer[..heard.context("no answer came")?];
    assert_eq!(answer[0], 2, "this is no ADVERTISE");
    let offered = b"\x20\x01\x0d\xb8\0\x02\0\0\0\0\0\0\0\0\x01";
    assert!(
        crate::console::find(answer, offered).is_some(),
        "{answer:x?}"
    );
    Ok(())
}
