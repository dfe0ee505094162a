//! DHCPv4: busybox's udhcpc does it, this starts one for a link, and is the program that it runs to tell
//! what it got.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::control::{Lease4, Message, routes, tell, words};
use crate::prefix::Prefix;

/// Starts a client on a link. It ends when the daemon does.
pub(crate) fn start(link: &str, again: Option<Ipv4Addr>) -> io::Result<Child> {
    let mut command = Command::new("udhcpc");
    command
        .args(["-f", "-i", link])
        // Four questions in eight seconds, four seconds of rest, and over again: servers that come up
        // late, and switches that keep a port silent for half a minute, are what it is for.
        .args(["-t", "4", "-T", "2", "-A", "4"])
        // An address that somebody has is declined.
        .arg("-a300")
        .args(["-O", "ntpsrv", "-O", "staticroutes", "-O", "mtu"])
        // What we are is nobody's business.
        .args(["-V", ""])
        .args(["-s", "/etc/udhcpc/default.script"]);
    if let Some(address) = again {
        command.args(["-r", &address.to_string()]);
    }
    ends_with_parent(&mut command).spawn()
}

/// A child that writes to nobody, and does not outlive this process.
pub(crate) fn ends_with_parent(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // SAFETY: prctl(2) is a system call and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        })
    }
}

/// What udhcpc runs with its event as the argument, and what it got in the environment.
///
/// # Errors
/// When the daemon cannot be told.
pub(crate) fn event(event: &str, variable: impl Fn(&str) -> Option<String>) -> io::Result<()> {
    let link = variable("interface").unwrap_or_default();
    let message = match event {
        "bound" | "renew" => match lease(&variable) {
            Some(lease) => Message::Lease4 { link, lease },
            None => return Err(io::Error::other("the DHCP server gave no usable address")),
        },
        "deconfig" | "nak" => Message::Expired4 { link },
        // No answer yet; it goes on.
        _ => return Ok(()),
    };
    tell(&message)
}

fn lease(variable: &impl Fn(&str) -> Option<String>) -> Option<Lease4> {
    let text = |name: &str| variable(name).unwrap_or_default();
    let address: Ipv4Addr = text("ip").parse().ok()?;
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
        return None;
    }
    let length = text("mask").parse().unwrap_or(32);
    Some(Lease4 {
        address: Prefix::new(IpAddr::V4(address), length)?,
        server: text("serverid").parse().ok(),
        gateway: words(&text("router")).into_iter().next(),
        routes: routes(&text("staticroutes")),
        nameservers: words(&text("dns")),
        ntp: words(&text("ntpsrv")),
        // Less than IPv4's least reassembly size is a mistake or an attack.
        mtu: text("mtu")
            .parse()
            .ok()
            .filter(|mtu| (576..=65_535).contains(mtu)),
        lifetime: text("lease").parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &'static [(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        |name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn what_udhcpc_says_becomes_a_lease() {
        let lease = lease(&with(&[
            ("ip", "192.0.2.100"),
            ("mask", "24"),
            ("router", "192.0.2.1 192.0.2.2"),
            ("dns", "192.0.2.53 rubbish 192.0.2.54"),
            (
                "staticroutes",
                "0.0.0.0/0 192.0.2.1 198.51.100.0/24 192.0.2.9",
            ),
            ("mtu", "68"),
        ]))
        .unwrap();
        assert_eq!(lease.address.to_string(), "192.0.2.100/24");
        assert_eq!(lease.gateway, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(lease.nameservers.len(), 2);
        assert_eq!(lease.routes.len(), 2);
        assert_eq!(lease.mtu, None);
    }

    #[test]
    fn addresses_that_are_no_hosts_are_no_lease() {
        assert_eq!(lease(&with(&[("ip", "0.0.0.0")])), None);
        assert_eq!(lease(&with(&[("ip", "127.0.0.1"), ("mask", "8")])), None);
        assert_eq!(lease(&with(&[("ip", "192.0.2.7"), ("mask", "77")])), None);
        assert_eq!(lease(&with(&[])), None);
    }
}
