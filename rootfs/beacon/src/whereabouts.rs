//! Where this machine is: its links and their addresses, and when they change.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kedge_net::rtnetlink::{Rtnetlink, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Changes come in crowds: a link, its addresses, its routes. They are over after so long a silence ...
const SILENCE: Duration = Duration::from_millis(700);
/// ... or are taken as they are after so long.
const LONGEST: Duration = Duration::from_secs(5);

/// A link, and the addresses by which others may reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its global addresses, those of IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// The links, as the kernel has them now: those with an address, and those that are hardware.
///
/// # Errors
/// When the kernel does not answer.
pub fn links() -> io::Result<Vec<Link>> {
    let addresses = Rtnetlink::open()?.addresses()?;
    Ok(kedge_net::links::links()
        .into_iter()
        .filter_map(|link| {
            let mut own: Vec<IpAddr> = addresses
                .iter()
                .filter(|address| address.link == link.index && address.is_usable())
                .map(|address| address.prefix.address)
                .filter(|address| !address.is_loopback() && !is_link_local(*address))
                .collect();
            own.sort();
            own.dedup();
            (link.driver.is_some() || !own.is_empty()).then(|| Link {
                name: link.name,
                mac: link.mac.to_string(),
                addresses: own,
            })
        })
        .collect())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether the whole internet may reach such an address: not one of RFC 1918, 6598 or 4193.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            !(v4.is_private() || (a == 100 && b & 0xc0 == 64))
        }
        IpAddr::V6(v6) => !v6.is_unique_local(),
    }
}

/// The first public addresses; in a machine with more, that of the first link.
pub fn public(links: &[Link]) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    let all = || {
        links
            .iter()
            .flat_map(|link| &link.addresses)
            .filter(|address| is_public(**address))
    };
    let v4 = all().find_map(|address| match address {
        IpAddr::V4(v4) => Some(*v4),
        IpAddr::V6(_) => None,
    });
    let v6 = all().find_map(|address| match address {
        IpAddr::V6(v6) => Some(*v6),
        IpAddr::V4(_) => None,
    });
    (v4, v6)
}

/// Notices changes.
pub struct Changes {
    watch: Watch,
}

impl Changes {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn watch() -> io::Result<Changes> {
        Ok(Changes {
            watch: Watch::open()?,
        })
    }

    /// Waits until something changed, and then until it is quiet again.
    ///
    /// # Errors
    /// When the kernel does not tell any more.
    pub fn wait(&self) -> io::Result<()> {
        self.wait_for(None)?;
        let first = Instant::now();
        self.watch.take();
        while first.elapsed() < LONGEST && self.wait_for(Some(SILENCE))? {
            self.watch.take();
        }
        Ok(())
    }

    /// Whether something came within `time`.
    fn wait_for(&self, time: Option<Duration>) -> io::Result<bool> {
        let timeout = time.and_then(|time| Timespec::try_from(time).ok());
        let fd = self.watch.as_fd();
        loop {
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones() {
        for (address, expected) in [
            ("192.168.1.1", false),
            ("10.1.2.3", false),
            ("172.31.0.1", false),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("100.128.0.1", true),
            ("192.0.2.1", true),
            ("fd00::1", false),
            ("2001:db8::1", true),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }
}
