//! A DHCPv6 client for one link (RFC 8415, sections 18.2.1 to 18.2.5): asks for an address, reports it to
//! the daemon, and renews it. A process of its own, because it waits, and because it reads what strangers
//! send.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dhcproto::v6::{DhcpOption, IANA, Message, MessageType, NtpSuboption, ORO, OptionCode, Status};
use dhcproto::{Decodable, Decoder, Encodable};
use kedge_message::info;

use crate::control;
use crate::links::{self, Link};
use crate::rtnetlink::Rtnetlink;

/// `All_DHCP_Relay_Agents_and_Servers`.
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
/// The first wait for an answer; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// RFC 8415 goes up to an hour (SOL_MAX_RT). Somebody waits for this machine.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After so many requests without an answer another server is looked for (REQ_MAX_RC).
const REQUESTS: u32 = 10;
/// Nothing is renewed more often, whatever the server says.
const LEAST_TIME: u32 = 30;

/// What a server gave.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    server: Vec<u8>,
    /// With the seconds for which each is preferred, and valid.
    addresses: Vec<(Ipv6Addr, u32, u32)>,
    /// When to renew, when to ask any server, when it is over: seconds.
    times: [u32; 3],
    nameservers: Vec<Ipv6Addr>,
    ntp: Vec<Ipv6Addr>,
}

/// Asks on `name` for as long as this process lives.
///
/// # Errors
/// When the link has gone, or no socket can be had there.
pub(crate) fn run(name: &str) -> io::Result<()> {
    let gone = || io::Error::other(format!("there is no link {name}"));
    let link = links::link(name).ok_or_else(gone)?;
    loop {
        let mut client = Client::open(&link)?;
        let lease = client.solicit()?;
        control::tell(&client.report(&lease))?;
        client.keep(lease)?;
        control::tell(&control::Message::Expired6 { link: name.into() })?;
        links::link(name).ok_or_else(gone)?;
    }
}

struct Client {
    link: Link,
    socket: UdpSocket,
    duid: Vec<u8>,
}

impl Client {
    fn open(link: &Link) -> io::Result<Client> {
        let own = loop {
            let addresses = Rtnetlink::open()?.addresses()?;
            let own = addresses.iter().find_map(|a| match a.prefix.address {
                std::net::IpAddr::V6(v6)
                    if a.link == link.index && v6.is_unicast_link_local() && !a.tentative =>
                {
                    Some(v6)
                }
                _ => None,
            });
            match own {
                Some(own) => break own,
                None => sleep(Duration::from_millis(200)),
            }
        };
        // DUID-LL (section 11.4): the same at every boot.
        let mut duid = vec![0, 3, 0, 1];
        duid.extend(link.mac.0);
        Ok(Client {
            socket: UdpSocket::bind(SocketAddrV6::new(own, CLIENT_PORT, 0, link.index))?,
            duid,
            link: link.clone(),
        })
    }

    fn message(&self, kind: MessageType, lease: Option<&Lease>) -> Message {
        let mut id = [0; 3];
        // Waits for the kernel's randomness, which makes it collect some; libraries that wait in poll(2)
        // on /dev/random would wait for ever. If there is none, an answer could be foreseen, not more.
        let _ = rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty());
        let mut message = Message::new_with_id(kind, id);
        let options = message.opts_mut();
        options.insert(DhcpOption::ClientId(self.duid.clone()));
        options.insert(DhcpOption::ORO(ORO {
            opts: vec![OptionCode::DomainNameServers, OptionCode::NtpServer],
        }));
        if kind == MessageType::Solicit {
            options.insert(DhcpOption::RapidCommit);
        }
        let mut addresses = dhcproto::v6::DhcpOptions::new();
        if let Some(lease) = lease {
            if kind != MessageType::Rebind {
                options.insert(DhcpOption::ServerId(lease.server.clone()));
            }
            for &(addr, ..) in &lease.addresses {
                addresses.insert(DhcpOption::IAAddr(dhcproto::v6::IAAddr {
                    addr,
                    preferred_life: 0,
                    valid_life: 0,
                    opts: dhcproto::v6::DhcpOptions::new(),
                }));
            }
        }
        let [_, _, a, b, c, d] = self.link.mac.0;
        options.insert(DhcpOption::IANA(IANA {
            id: u32::from_be_bytes([a, b, c, d]),
            t1: 0,
            t2: 0,
            opts: addresses,
        }));
        message
    }

    /// Sends a message, again and again, until `answer` takes what comes back, `until` has come, or it was
    /// sent `times` times.
    fn ask<T>(
        &self,
        mut message: Message,
        first_wait: Duration,
        times: u32,
        until: Option<Instant>,
        answer: impl Fn(&Message) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let began = Instant::now();
        let mut wait = first_wait;
        for _ in 0..times {
            let elapsed = began.elapsed().as_millis() / 10;
            message.opts_mut().remove(OptionCode::ElapsedTime);
            message.opts_mut().insert(DhcpOption::ElapsedTime(
                elapsed.try_into().unwrap_or(u16::MAX),
            ));
            let bytes = message.to_vec().map_err(io::Error::other)?;
            let to = SocketAddrV6::new(SERVERS, SERVER_PORT, 0, self.link.index);
            // Without a carrier there is nobody to hear it; the next one may be heard.
            if let Err(e) = self.socket.send_to(&bytes, to) {
                info!("DHCPv6 on {}: cannot send: {e}", self.link.name);
            }
            let next = Instant::now() + wait;
            let next = until.map_or(next, |until| until.min(next));
            while let Some(reply) = self.receive(next)? {
                if reply.xid() == message.xid()
                    && matches!(reply.opts().get(OptionCode::ClientId), Some(DhcpOption::ClientId(id)) if *id == self.duid)
                    && let Some(found) = answer(&reply)
                {
                    return Ok(Some(found));
                }
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            wait = (wait * 2).min(LONGEST_WAIT.max(first_wait));
        }
        Ok(None)
    }

    fn receive(&self, until: Instant) -> io::Result<Option<Message>> {
        let mut buffer = [0; 4096];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => {
                    let bytes = buffer.get(..length).unwrap_or(&buffer);
                    if let Ok(message) = Message::decode(&mut Decoder::new(bytes)) {
                        return Ok(Some(message));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // An ICMP error for what was sent before.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Section 18.2.1, then 18.2.2: from the first server that offers an address.
    fn solicit(&mut self) -> io::Result<Lease> {
        loop {
            let solicit = self.message(MessageType::Solicit, None);
            let offer = self.ask(solicit, FIRST_WAIT, u32::MAX, None, |reply| {
                let committed = reply.msg_type() == MessageType::Reply
                    && reply.opts().get(OptionCode::RapidCommit).is_some();
                let offered = reply.msg_type() == MessageType::Advertise;
                lease(reply)
                    .filter(|_| committed || offered)
                    .map(|lease| (lease, committed))
            })?;
            let Some((lease_offered, committed)) = offer else {
                continue;
            };
            if committed {
                return Ok(lease_offered);
            }
            let request = self.message(MessageType::Request, Some(&lease_offered));
            if let Some(lease) = self.ask(request, FIRST_WAIT, REQUESTS, None, reply_lease)? {
                return Ok(lease);
            }
        }
    }

    /// Renews a lease (sections 18.2.4 and 18.2.5) until it is over.
    fn keep(&mut self, mut lease: Lease) -> io::Result<()> {
        loop {
            let had = Instant::now();
            let [renew, rebind, over] = lease
                .times
                .map(|seconds| had + Duration::from_secs(seconds.into()));
            sleep(renew.saturating_duration_since(Instant::now()));
            // Section 15: ten seconds at first (REN_TIMEOUT, REB_TIMEOUT).
            let wait = Duration::from_secs(10);
            let message = self.message(MessageType::Renew, Some(&lease));
            let mut renewed = self.ask(message, wait, u32::MAX, Some(rebind), reply_lease)?;
            if renewed.is_none() {
                let message = self.message(MessageType::Rebind, Some(&lease));
                renewed = self.ask(message, wait, u32::MAX, Some(over), reply_lease)?;
            }
            match renewed {
                Some(renewed) => lease = renewed,
                None => return Ok(()),
            }
            control::tell(&self.report(&lease))?;
        }
    }

    fn report(&self, lease: &Lease) -> control::Message {
        control::Message::Lease6 {
            link: self.link.name.clone(),
            addresses: lease.addresses.clone(),
            nameservers: lease.nameservers.clone(),
            ntp: lease.ntp.clone(),
        }
    }
}

fn reply_lease(reply: &Message) -> Option<Lease> {
    (reply.msg_type() == MessageType::Reply)
        .then(|| lease(reply))
        .flatten()
}

/// The addresses in a message; `None` when there are none, or the server says no.
fn lease(message: &Message) -> Option<Lease> {
    let options = message.opts();
    let refused = |options: &dhcproto::v6::DhcpOptions| {
        matches!(options.get(OptionCode::StatusCode),
            Some(DhcpOption::StatusCode(code)) if code.status != Status::Success)
    };
    if refused(options) {
        return None;
    }
    let Some(DhcpOption::ServerId(server)) = options.get(OptionCode::ServerId) else {
        return None;
    };
    let Some(DhcpOption::IANA(association)) = options.get(OptionCode::IANA) else {
        return None;
    };
    if refused(&association.opts) {
        return None;
    }
    let addresses: Vec<(Ipv6Addr, u32, u32)> = association
        .opts
        .iter()
        .filter_map(|option| match option {
            DhcpOption::IAAddr(a) if usable(a.addr) && a.valid_life > 0 => {
                Some((a.addr, a.preferred_life.min(a.valid_life), a.valid_life))
            }
            _ => None,
        })
        .collect();
    let valid = addresses.iter().map(|&(_, _, valid)| valid).min()?;
    let preferred = addresses.iter().map(|&(_, preferred, _)| preferred).min()?;
    // Section 14.2: where the server leaves it to us, a half and four fifths.
    let over = valid.max(LEAST_TIME);
    let pick = |value: u32, default: u32| if value == 0 { default } else { value };
    let renew = pick(association.t1, preferred / 2).clamp(LEAST_TIME / 2, over);
    let rebind = pick(association.t2, preferred / 5 * 4).clamp(renew, over);
    let servers = |option: Option<&DhcpOption>| match option {
        Some(DhcpOption::DomainNameServers(servers)) => servers.clone(),
        Some(DhcpOption::NtpServer(servers)) => servers
            .iter()
            .filter_map(|server| match server {
                NtpSuboption::ServerAddress(address) => Some(*address),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    Some(Lease {
        server: server.clone(),
        addresses,
        times: [renew, rebind, over],
        nameservers: servers(options.get(OptionCode::DomainNameServers)),
        ntp: servers(options.get(OptionCode::NtpServer)),
    })
}

fn usable(address: Ipv6Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dhcproto::v6::{DhcpOptions, IAAddr, StatusCode};

    fn reply(address: &str, valid: u32, t1: u32) -> Message {
        let mut message = Message::new(MessageType::Reply);
        let mut addresses = DhcpOptions::new();
        addresses.insert(DhcpOption::IAAddr(IAAddr {
            addr: address.parse().unwrap(),
            preferred_life: valid / 2,
            valid_life: valid,
            opts: DhcpOptions::new(),
        }));
        message
            .opts_mut()
            .insert(DhcpOption::ServerId(vec![1, 2, 3]));
        message.opts_mut().insert(DhcpOption::IANA(IANA {
            id: 1,
            t1,
            t2: 0,
            opts: addresses,
        }));
        message
    }

    #[test]
    fn a_lease_has_an_address_and_times_in_order() {
        let found = lease(&reply("2001:db8::99", 3600, 0)).unwrap();
        assert_eq!(found.times, [900, 1440, 3600]);
        let hasty = lease(&reply("2001:db8::99", 1, 1)).unwrap();
        assert_eq!(hasty.times, [15, 15, 30]);
        let odd = lease(&reply("2001:db8::99", 100, u32::MAX)).unwrap();
        assert!(odd.times.is_sorted());
    }

    #[test]
    fn what_gives_no_address_is_no_lease() {
        for address in ["fe80::1", "::1", "ff02::1", "::"] {
            assert_eq!(lease(&reply(address, 3600, 0)), None, "{address}");
        }
        assert_eq!(lease(&reply("2001:db8::99", 0, 0)), None);
        let mut refused = reply("2001:db8::99", 3600, 0);
        refused
            .opts_mut()
            .insert(DhcpOption::StatusCode(StatusCode {
                status: Status::NoAddrsAvail,
                msg: String::new(),
            }));
        assert_eq!(lease(&refused), None);
    }
}
