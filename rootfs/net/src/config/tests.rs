use super::ip::{Automatic, Fixed, Method};
use super::*;

fn config(cmdline: &str) -> Config {
    Config::parse(&Words::parse(b"", cmdline.as_bytes()))
}

fn one(value: &str) -> Wanted {
    let config = config(&format!("ip={value}"));
    assert_eq!(config.complaints, [""; 0], "{value}");
    assert_eq!(config.wanted.len(), 1, "{value}");
    config.wanted.into_iter().next().unwrap()
}

fn fixed(value: &str) -> Fixed {
    match one(value).method {
        Method::Fixed(fixed) => fixed,
        other => panic!("{value}: {other:?}"),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> Option<Selector> {
    Some(Selector::Name(text.into()))
}

#[test]
fn methods_by_themselves_and_on_a_link() {
    assert_eq!(one("dhcp").on, None);
    assert_eq!(one("any").method, Method::Automatic(Automatic::ALL));
    assert_eq!(one("off").method, Method::Off);
    assert_eq!(one("eth1:dhcp").on, name("eth1"));
    let wanted = one("eth1:auto6:9000:02:00:00:00:00:09");
    assert_eq!(
        (wanted.mtu, wanted.mac),
        (Some(9000), "02:00:00:00:00:09".parse().ok())
    );
    let by_mac = one("52:54:00:00:00:01:dhcp");
    assert_eq!(
        by_mac.on,
        Some(Selector::Mac("52-54-00-00-00-01".parse().unwrap()))
    );
}

#[test]
fn fixed_addresses_of_both_families() {
    let wanted = one("192.0.2.7::192.0.2.1:255.255.255.0:host:eth0:none");
    assert_eq!(wanted.on, name("eth0"));
    assert_eq!(wanted.hostname.as_deref(), Some("host"));
    let v4 = fixed("192.0.2.7::192.0.2.1:24::eth0:none");
    assert_eq!(v4.address.to_string(), "192.0.2.7/24");
    assert_eq!(v4.gateway, Some(ip("192.0.2.1")));
    let v6 = fixed("[2001:db8::7]::[fe80::1]:64::eth0:none");
    assert_eq!(v6.address.to_string(), "2001:db8::7/64");
    assert_eq!(v6.gateway, Some(ip("fe80::1")));
    // What iPXE's script hands on.
    assert_eq!(one("192.0.2.7::192.0.2.1:255.255.255.0:::none").on, None);
    // Without a mask, everything by the gateway.
    let host = fixed("192.0.2.7::203.0.113.1:::eth0:none");
    assert!(host.address.is_host());
    // The kernel's documentation has a server in the second field.
    assert_eq!(
        fixed("192.0.2.7:192.0.2.5:192.0.2.1:24::eth0:off").peer,
        None
    );
    assert_eq!(
        fixed("192.0.2.7:192.0.2.5::32::eth0:off").peer,
        Some(ip("192.0.2.5"))
    );
    let dns = one("192.0.2.7::192.0.2.1:24::eth0:none:192.0.2.53:[2001:db8::53]");
    assert_eq!(dns.nameservers, [ip("192.0.2.53"), ip("2001:db8::53")]);
    let options = one("192.0.2.7::192.0.2.1:24::eth0:none:1400:02-00-00-00-00-09");
    assert_eq!(options.mtu, Some(1400));
    assert!(options.mac.is_some());
}

#[test]
fn a_fixed_address_can_go_with_a_method_that_asks() {
    let config = config("ip=192.0.2.7::192.0.2.1:24::eth0:auto6");
    assert_eq!(config.wanted.len(), 2);
    assert!(matches!(config.wanted[0].method, Method::Fixed(_)));
    assert!(matches!(config.wanted[1].method, Method::Automatic(_)));
    assert_eq!(one("::::host:eth0:dhcp").hostname.as_deref(), Some("host"));
}

#[test]
fn devices_made_of_others() {
    let config = config(
        "vlan=eth0.5:eth0 vlan=vlan0042:bond0 bond=bond0:eth0,eth1:mode=802.3ad,lacp_rate=fast:9000 \
         bond bridge=br1:eth2,eth3 bridge",
    );
    assert_eq!(config.complaints, [""; 0]);
    assert_eq!(
        config.vlans.iter().map(|vlan| vlan.id).collect::<Vec<_>>(),
        [5, 42]
    );
    let bond = &config.bonds[0];
    assert_eq!(bond.legs, ["eth0", "eth1"]);
    assert_eq!(bond.mtu, Some(9000));
    assert_eq!(bond.options[0], ("mode".into(), "802.3ad".into()));
    assert!(bond.options.contains(&("miimon".into(), "100".into())));
    assert_eq!(config.bonds[1].options[0].1, "balance-rr");
    assert_eq!(config.bridges[0].ports, ["eth2", "eth3"]);
    assert_eq!(config.bridges[1].name, "br0");
}

#[test]
fn servers_routes_and_the_boot_link() {
    let config = config(
        "nameserver=192.0.2.53 nameserver=[2001:db8::53] nameserver=2001:db8::54 \
         BOOTIF=01-52-54-00-00-00-01 rd.route=198.51.100.0/24:192.0.2.9:eth0 \
         rd.route=[2001:db8:3::/48]:[2001:db8::2] quiet",
    );
    assert_eq!(config.complaints, [""; 0]);
    assert_eq!(config.nameservers.len(), 3);
    assert_eq!(config.boot_link, "52:54:00:00:00:01".parse().ok());
    assert_eq!(config.routes[0].to.to_string(), "198.51.100.0/24");
    assert_eq!(config.routes[0].on, name("eth0"));
    assert_eq!(config.routes[1].to.to_string(), "2001:db8:3::/48");
    assert!(!config.has_ip);
}

#[test]
fn each_malformed_word_is_named_and_the_others_apply() {
    let bad = [
        ("ip=192.0.2.777::192.0.2.1:24::eth0:none", "192.0.2.777"),
        ("ip=192.0.2.7::192.0.2.1:33::eth0:none", "33"),
        (
            "ip=192.0.2.7::192.0.2.1:255.255.0.255::eth0:none",
            "255.255.0.255",
        ),
        ("ip=192.0.2.7::2001:24::eth0:none", "2001"),
        ("ip=192.0.2.7::[2001:db8::1]:24::eth0:none", "[2001:db8::1]"),
        ("ip=192.0.2.7::192.0.2.1:24::eth/0:none", "eth/0"),
        ("ip=192.0.2.7::192.0.2.1:24::eth0:sometimes", "sometimes"),
        ("ip=192.0.2.7::192.0.2.1:24:-x:eth0:none", "-x"),
        ("ip=192.0.2.7::192.0.2.1:24::eth0:none:99999999", "99999999"),
        ("ip=dhpc", "dhpc"),
        ("ip=eth0:dhpc", "dhpc"),
        ("ip=", ""),
        ("ip", ""),
        ("vlan=eth0.5000:eth0", "eth0.5000"),
        ("vlan=eth0", "eth0"),
        ("bond=bond0:eth0:../x=1", "../x=1"),
        ("bridge=br0:eth0:x", "x"),
        ("nameserver=192.0.2", "192.0.2"),
        ("BOOTIF=01-52-54", "01-52-54"),
        ("rd.route=198.51.100.0:192.0.2.1", "198.51.100.0"),
        ("rd.route=198.51.100.0/24:[::1]", "::1"),
    ];
    for (word, part) in bad {
        let config = config(&format!("{word} ip=eth9:dhcp"));
        assert_eq!(config.wanted.len(), 1, "{word}");
        assert_eq!(config.complaints.len(), 1, "{word}");
        let complaint = &config.complaints[0];
        assert!(
            complaint.contains(&format!("'{word}': '{part}' is not ")),
            "{word}: {complaint}"
        );
    }
}

#[test]
fn hostile_words_do_not_panic() {
    let alphabet = [
        ":",
        "[",
        "]",
        "1.2.3.4",
        "24",
        "::",
        "eth0",
        "none",
        "\u{1f600}",
        "00",
    ];
    for n in 0..10usize.pow(5) {
        let value: String = (0..5).map(|i| alphabet[n / 10usize.pow(i) % 10]).collect();
        let _ = ip::parse(&value);
    }
    for word in ["vlan", "bond", "bridge", "rd.route", "BOOTIF", "nameserver"] {
        for n in 0..10usize.pow(3) {
            let value: String = (0..3).map(|i| alphabet[n / 10usize.pow(i) % 10]).collect();
            config(&format!("{word}={value}"));
        }
    }
}
