//! `net up` and `net down`: one link, set up by the operator.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::assign::{Insist, assign, prepare};
use crate::config::ip::Fixed;
use crate::control::{self, Message};
use crate::links::{self, Link};
use crate::prefix::{Prefix, same_family};
use crate::rtnetlink::{Change, Origin, Rtnetlink};
use crate::status::Status;

/// Lower than what DHCP's and the command line's routes have: who is there knows best.
const METRIC: u32 = 50;
/// A switch's port takes a moment to carry.
const CARRIER: Duration = Duration::from_secs(5);
/// Some switches keep a new port silent for half a minute.
const ADDRESS: Duration = Duration::from_secs(60);

/// What `net up` is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) link: String,
    /// Without one, DHCP and routers are asked.
    pub(crate) address: Option<Prefix>,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) nameservers: Vec<IpAddr>,
    pub(crate) mtu: Option<u32>,
    pub(crate) force: bool,
    /// Beside the addresses that `net up` set before.
    pub(crate) add: bool,
}

/// Does it. The error is one sentence.
pub(crate) fn up(wish: &Wish) -> Result<(), String> {
    let link = find(&wish.link)?;
    let mut rtnetlink =
        Rtnetlink::open().map_err(|e| format!("the kernel gives no socket: {e}"))?;
    let link = wait_for_carrier(&mut rtnetlink, link)?;
    match wish.address {
        Some(address) => fixed(&mut rtnetlink, &link, address, wish),
        None => ask(&link),
    }
}

fn find(name: &str) -> Result<Link, String> {
    links::link(name).ok_or_else(|| {
        let names: Vec<String> = links::links().into_iter().map(|link| link.name).collect();
        let there = match names.as_slice() {
            [] => "there is none".to_owned(),
            names => format!("there is {}", names.join(", ")),
        };
        format!("no Ethernet link {}: {there}", name.escape_debug())
    })
}

/// Brings a link up, which may take its driver and the switch a moment.
fn wait_for_carrier(rtnetlink: &mut Rtnetlink, link: Link) -> Result<Link, String> {
    let name = link.name.clone();
    let gone = || format!("{name} has gone");
    if !link.up {
        links::set_ipv6(&name, false, false);
        rtnetlink
            .change_link(link.index, Change::Up(true))
            .map_err(|e| format!("cannot bring up {name}: {e}"))?;
    }
    let deadline = Instant::now() + CARRIER;
    loop {
        let link = links::link(&name).ok_or_else(gone)?;
        if link.carrier {
            return Ok(link);
        }
        if Instant::now() >= deadline {
            eprintln!("{name} has no carrier: is there a cable, and is the switch's port on?");
            return Ok(link);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn fixed(
    rtnetlink: &mut Rtnetlink,
    link: &Link,
    address: Prefix,
    wish: &Wish,
) -> Result<(), String> {
    let name = &link.name;
    let fixed = Fixed {
        address,
        peer: None,
        gateway: wish.gateway,
    };
    let kernel = |what: &str| {
        let what = what.to_owned();
        move |e: io::Error| format!("cannot {what} on {name}: {e}")
    };
    prepare(rtnetlink, link, wish.mtu, None).map_err(kernel("set the MTU"))?;
    let insist = if wish.force { Insist::Yes } else { Insist::No };
    links::keep_second_addresses();
    let before = rtnetlink
        .addresses()
        .map_err(kernel("read the addresses"))?;
    let assigned = assign(rtnetlink, link, &fixed, METRIC, Origin::Operator, insist)
        .map_err(|e| format!("{e}; --force insists"))?;
    if !wish.add {
        let old = before.iter().filter(|old| {
            old.link == link.index
                && old.origin == Origin::Operator
                && old.prefix != address
                && same_family(old.prefix.address, address.address)
        });
        for old in old {
            rtnetlink
                .remove_address(link.index, old.prefix)
                .map_err(kernel("remove the old address"))?;
        }
    }
    for remark in assigned.remarks {
        eprintln!("note: {remark}");
    }
    let nameservers = wish.nameservers.clone();
    let told = control::tell(&Message::Manual {
        link: name.clone(),
        nameservers,
    });
    match told {
        Err(e) if !wish.nameservers.is_empty() => {
            return Err(format!(
                "{name} has {address}, but DNS servers were not set: the network service does not listen ({e})"
            ));
        }
        _ => {}
    }
    eprintln!("{name} has {address}");
    Ok(())
}

/// Has the daemon ask, and waits for an answer.
fn ask(link: &Link) -> Result<(), String> {
    let name = &link.name;
    control::tell(&Message::Automatic { link: name.clone() })
        .map_err(|e| format!("cannot ask on {name}: the network service does not listen ({e})"))?;
    let began = Instant::now();
    loop {
        let status = Status::look().map_err(|e| format!("the kernel does not answer: {e}"))?;
        let found = status.addresses_of(link).find(|a| a.is_usable());
        if let Some(found) = found {
            eprintln!("\r{name} has {} ({})", found.prefix, found.origin.words());
            return Ok(());
        }
        let waited = began.elapsed();
        if waited >= ADDRESS {
            eprintln!();
            return Err(format!(
                "nobody gave {name} an address within {} s. Asking goes on; net setup takes a fixed one",
                ADDRESS.as_secs()
            ));
        }
        let left = (ADDRESS - waited).as_secs();
        eprint!(
            "\r{name}: asking DHCP servers and routers, {left:>2} s more (ctrl-C: no longer wait)"
        );
        let _ = io::stderr().flush();
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// `net down`: no addresses, no clients; the link stays up, and silent.
pub(crate) fn down(name: &str) -> Result<(), String> {
    let link = find(name)?;
    let _ = control::tell(&Message::Manual {
        link: link.name.clone(),
        nameservers: Vec::new(),
    });
    // The DHCP client's last word comes first.
    std::thread::sleep(Duration::from_millis(200));
    links::set_ipv6(name, false, false);
    let kernel = |e: io::Error| format!("cannot take the addresses from {name}: {e}");
    let mut rtnetlink = Rtnetlink::open().map_err(kernel)?;
    for address in rtnetlink.addresses().map_err(kernel)? {
        if address.link == link.index {
            rtnetlink
                .remove_address(link.index, address.prefix)
                .map_err(kernel)?;
        }
    }
    eprintln!("{name} has no address any more");
    Ok(())
}

/// Reads the arguments of `net up`.
pub(crate) fn parse(arguments: &[String]) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value = || {
            inline
                .clone()
                .or_else(|| rest.next().cloned())
                .ok_or_else(|| format!("{name} wants a value"))
        };
        let ip = |text: String| {
            text.parse::<IpAddr>()
                .map_err(|_| format!("{} is no IP address", text.escape_debug()))
        };
        match name {
            "--address" => wish.address = Some(address(&value()?)?),
            "--gateway" => wish.gateway = Some(ip(value()?)?),
            "--dns" => {
                for server in value()?.split(',') {
                    wish.nameservers.push(ip(server.to_owned())?);
                }
            }
            "--mtu" => {
                let text = value()?;
                let mtu = text.parse().ok().filter(|mtu| (68..=65_535).contains(mtu));
                wish.mtu = Some(mtu.ok_or_else(|| format!("{text} is no MTU"))?);
            }
            "--force" => wish.force = true,
            "--add" => wish.add = true,
            option if option.starts_with('-') => {
                return Err(format!("net up has no option {}", option.escape_debug()));
            }
            link if wish.link.is_empty() => wish.link = link.to_owned(),
            other => return Err(format!("{} is one word too many", other.escape_debug())),
        }
    }
    if wish.link.is_empty() {
        return Err("which link? net status lists them".into());
    }
    if wish.address.is_none() && (wish.gateway.is_some() || wish.force || wish.add) {
        return Err("--gateway, --add and --force go with --address".into());
    }
    if let (Some(address), Some(gateway)) = (wish.address, wish.gateway)
        && !same_family(address.address, gateway)
    {
        return Err(format!("{gateway} is not of the same family as {address}"));
    }
    Ok(wish)
}

/// An address with a prefix: without one nobody knows what is on the link.
pub(crate) fn address(text: &str) -> Result<Prefix, String> {
    text.parse().map_err(|()| match text.parse::<IpAddr>() {
        Ok(ip) => format!(
            "{ip} lacks its prefix, such as {ip}/{} (/{} where the gateway is all there is)",
            if ip.is_ipv4() { 24 } else { 64 },
            crate::prefix::bits(ip)
        ),
        Err(_) => format!(
            "{} is no address with prefix, such as 192.0.2.7/24",
            text.escape_debug()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Wish, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn arguments_in_any_order() {
        let wish =
            words("--address 192.0.2.7/24 eth0 --gateway=192.0.2.1 --dns 192.0.2.53,::1 --force")
                .unwrap();
        assert_eq!(wish.link, "eth0");
        assert_eq!(wish.address, "192.0.2.7/24".parse().ok());
        assert_eq!(wish.nameservers.len(), 2);
        assert!(wish.force && !wish.add);
        assert_eq!(words("eth0").unwrap().address, None);
    }

    #[test]
    fn wrong_words_are_named() {
        for (text, part) in [
            ("", "which link"),
            ("eth0 eth1", "eth1"),
            ("eth0 --adress x", "--adress"),
            ("eth0 --address", "wants a value"),
            ("eth0 --address 192.0.2.7", "192.0.2.7/24"),
            ("eth0 --address 192.0.2/24", "192.0.2/24"),
            ("eth0 --gateway 192.0.2.1", "--address"),
            ("eth0 --address 192.0.2.7/24 --gateway ::1", "family"),
            ("eth0 --mtu 9", "9"),
            ("eth0 --dns 1.2.3.4,x", "x"),
        ] {
            let e = words(text).unwrap_err();
            assert!(e.contains(part), "{text}: {e}");
        }
    }
}
