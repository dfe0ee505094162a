//! `net daemon`: gives links their addresses for as long as the system runs. Init starts it.
//!
//! One loop waits for the kernel's news of links and addresses, and for what DHCP clients and `net up`
//! have to say ([`crate::control`]); after each of them everything is looked at anew, so that no order of
//! events matters. What takes time is done elsewhere: DHCP clients are processes, and a fixed address,
//! which is looked for on the link first, is put there by a thread.
//!
//! Which link a fixed address without one belongs on: the one that `BOOTIF=` names; else the only one
//! there is; else the one on which the gateway answers.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use kedge_message::{info, notice, warning};
use kedge_settings::Words;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::assign::{Assigned, Insist, Refusal, add_gateway, assign, prepare};
use crate::config::ip::{Automatic, Fixed, Method, Wanted};
use crate::config::{Config, ExtraRoute};
use crate::control::{self, Lease4, Message};
use crate::devices::Devices;
use crate::dhcp4::{self, ends_with_parent};
use crate::links::{self, Link};
use crate::neighbour::who_has;
use crate::prefix::Prefix;
use crate::resolv::Servers;
use crate::rtnetlink::{Address, Changed, Origin, Route, Rtnetlink, Watch};

/// There once the first address is, or none can be expected: what waits for the network at boot need not
/// wait longer.
pub const SETTLED: &str = "/run/kedge/net/settled";

/// Clients that ended are started again after so long, and so are attempts to place a fixed address.
const AGAIN: Duration = Duration::from_secs(3);
/// An address that somebody else holds is tried again after so long: they may go.
const TAKEN_AGAIN: Duration = Duration::from_secs(60);
/// So often the gateway is looked for on all links before the first is taken.
const SEARCHES: u32 = 3;
/// Metric of the first default route; each further link's is so much higher.
const METRIC: u32 = 100;
/// What the kernel gives routes that routers advertise (`IP6_RT_PRIO_USER`); a later link's is higher.
const LATER_ROUTER: u32 = 2048;

/// A fixed address to be.
struct Job {
    wanted: Wanted,
    fixed: Fixed,
    state: State,
    searches: u32,
    /// The last refusal, so that it is told once.
    told: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Due(Instant),
    Running,
    Done,
}

/// What a thread found.
struct Outcome {
    job: usize,
    result: Result<(String, Assigned), Failure>,
}

enum Failure {
    /// Nobody answers for the gateway on any link.
    NoGateway,
    Refused(Refusal),
}

/// A link that gets its addresses by asking.
#[derive(Default)]
struct Asking {
    method: Automatic,
    dhcp4: Option<Child>,
    dhcp6: Option<Child>,
    due: Option<Instant>,
    /// The carrier went; when it is back, servers are asked again.
    lost: bool,
    lease: Option<Lease4>,
    /// A client was started anew: that it has no lease yet takes nothing away.
    renewing: bool,
}

struct Daemon {
    rtnetlink: Rtnetlink,
    watch: Watch,
    control: UnixDatagram,
    config: Config,
    devices: Devices,
    jobs: Vec<Job>,
    results: (Sender<Outcome>, Receiver<Outcome>),
    asking: BTreeMap<String, Asking>,
    /// Links that the operator has taken over, and those that are to ask because they said so.
    operators: BTreeMap<String, Option<Automatic>>,
    servers: Servers,
    routes: Vec<ExtraRoute>,
    metrics: Vec<String>,
    told: Vec<(u32, Prefix)>,
    duplicates: Vec<(u32, Prefix)>,
    first_router: Option<u32>,
    settled: bool,
    keep_hostname: bool,
}

/// Runs it.
///
/// # Errors
/// When the kernel gives no socket, or the control socket cannot be made.
pub(crate) fn run() -> io::Result<std::convert::Infallible> {
    links::keep_second_addresses();
    let words = Words::here()?;
    let config = Config::parse(&words);
    for complaint in &config.complaints {
        warning!("{complaint}");
    }
    if config.has_ip && config.wanted.is_empty() {
        warning!("no ip= makes sense, so no link gets an address by itself: type net setup");
    }
    let mut daemon = Daemon {
        rtnetlink: Rtnetlink::open()?,
        watch: Watch::open()?,
        control: control::listen()?,
        devices: Devices::default(),
        jobs: jobs(&config),
        results: channel(),
        asking: BTreeMap::new(),
        operators: BTreeMap::new(),
        servers: Servers::default(),
        routes: config.routes.clone(),
        metrics: Vec::new(),
        told: Vec::new(),
        duplicates: Vec::new(),
        first_router: None,
        settled: false,
        keep_hostname: words.last("kedge.hostname").is_some(),
        config,
    };
    let own = daemon.config.nameservers.clone();
    daemon.servers.set("command line", own, Vec::new());
    daemon.serve()
}

fn jobs(config: &Config) -> Vec<Job> {
    let now = Instant::now();
    let fixed = config
        .wanted
        .iter()
        .filter_map(|wanted| match wanted.method {
            Method::Fixed(fixed) => Some((wanted.clone(), fixed)),
            _ => None,
        });
    fixed
        .map(|(wanted, fixed)| Job {
            wanted,
            fixed,
            state: State::Due(now),
            searches: 0,
            told: None,
        })
        .collect()
}

impl Daemon {
    fn serve(mut self) -> ! {
        loop {
            self.look();
            self.wait();
            for change in self.watch.take() {
                if let Changed::DnsServers {
                    link,
                    servers,
                    lifetime,
                } = change
                {
                    self.router_told(link, servers, lifetime);
                }
            }
            while let Some(message) = control::next(&self.control) {
                self.take(message);
            }
            while let Ok(outcome) = self.results.1.try_recv() {
                self.placed(outcome);
            }
        }
    }

    /// Until there is news, or something is due; a second at most, for clients that ended.
    fn wait(&self) {
        let mut fds = [
            PollFd::new(&self.watch, PollFlags::IN),
            PollFd::new(&self.control, PollFlags::IN),
        ];
        let timeout = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        if poll(&mut fds, Some(&timeout)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Does what is due, given how things are.
    fn look(&mut self) {
        self.devices.make(&mut self.rtnetlink, &self.config);
        let links = links::links();
        for link in &links {
            self.tend(link);
        }
        self.place(&links);
        let addresses = self.rtnetlink.addresses().unwrap_or_default();
        self.add_routes(&links, &addresses);
        self.prefer_first_router(&links);
        self.announce(&links, &addresses);
    }

    /// How a link is to ask; `None`: not at all.
    fn method(&self, link: &Link) -> Option<Automatic> {
        if let Some(by_operator) = self.operators.get(&link.name) {
            return *by_operator;
        }
        if !self.config.has_ip {
            return Some(Automatic::ALL);
        }
        let wanted = self
            .config
            .wanted
            .iter()
            .filter(|wanted| wanted.on.as_ref().is_none_or(|on| link.is(on)));
        wanted
            .filter_map(|wanted| match wanted.method {
                Method::Automatic(method) => Some(method),
                _ => None,
            })
            .reduce(|a, b| Automatic {
                dhcp4: a.dhcp4 || b.dhcp4,
                routers: a.routers || b.routers,
                dhcp6: a.dhcp6 || b.dhcp6,
            })
    }

    /// Whether a link is, or is to be, a leg of something: then it has no addresses of its own.
    fn is_a_leg(&self, link: &Link) -> bool {
        let config = &self.config;
        let legs = config.bonds.iter().flat_map(|bond| &bond.legs);
        let ports = config.bridges.iter().flat_map(|bridge| &bridge.ports);
        link.master.is_some() || legs.chain(ports).any(|name| *name == link.name)
    }

    /// Whether a link can have addresses now.
    fn is_usable(&self, link: &Link) -> bool {
        link.up && link.carrier && !self.is_a_leg(link)
    }

    /// Starts a link's clients when it carries, and again when it does so again.
    fn tend(&mut self, link: &Link) {
        if !self.is_usable(link) {
            if let Some(asking) = self.asking.get_mut(&link.name) {
                asking.lost = true;
            }
            return;
        }
        let Some(method) = self.method(link) else {
            self.asking.remove(&link.name);
            return;
        };
        if !self.asking.contains_key(&link.name) {
            info!("{}: asks for addresses", link.name);
            for wanted in &self.config.wanted {
                let meant = wanted.on.as_ref().is_some_and(|on| link.is(on));
                if meant && let Err(e) = prepare(&mut self.rtnetlink, link, wanted.mtu, wanted.mac)
                {
                    warning!("{}: cannot change its MTU or MAC address: {e}", link.name);
                }
            }
            if method.routers || method.dhcp6 {
                links::set_ipv6(&link.name, true, method.routers);
            }
        }
        let asking = self.asking.entry(link.name.clone()).or_default();
        asking.method = method;
        asking.reap();
        let again = std::mem::take(&mut asking.lost);
        if again {
            asking.stop();
        }
        if asking.due.is_none_or(|due| Instant::now() >= due)
            && let Err(e) = asking.start(&link.name)
        {
            warning!("{}: cannot start a DHCP client: {e}", link.name);
            asking.due = Some(Instant::now() + TAKEN_AGAIN);
        }
    }

    /// Starts to place each fixed address that is due and has a link to be on.
    fn place(&mut self, links: &[Link]) {
        let usable = links.iter().filter(|link| self.is_usable(link));
        let usable: Vec<Link> = usable.cloned().collect();
        // Whether there is any choice, does not depend on which carry already.
        let choice = links.iter().filter(|link| !self.is_a_leg(link)).count() > 1;
        for at in 0..self.jobs.len() {
            let job = &self.jobs[at];
            if !matches!(job.state, State::Due(due) if Instant::now() >= due) {
                continue;
            }
            let boot = self.config.boot_link.filter(|_| job.wanted.on.is_none());
            let candidates: Vec<Link> = usable
                .iter()
                .filter(|link| job.wanted.on.as_ref().is_none_or(|on| link.is(on)))
                .filter(|link| boot.is_none_or(|mac| link.mac == mac && link.driver.is_some()))
                .cloned()
                .collect();
            if candidates.is_empty() {
                continue;
            }
            let search =
                choice && job.wanted.on.is_none() && boot.is_none() && job.searches < SEARCHES;
            let gateway = job.fixed.gateway.filter(|_| search);
            let metric = self.metric(&candidates[0].name);
            let (wanted, fixed) = (self.jobs[at].wanted.clone(), self.jobs[at].fixed);
            let results = self.results.0.clone();
            self.jobs[at].state = State::Running;
            self.jobs[at].searches += 1;
            std::thread::spawn(move || {
                let result = on_right_link(&candidates, gateway, &wanted, &fixed, metric);
                let _ = results.send(Outcome { job: at, result });
                let _ = control::tell(&Message::Wake);
            });
        }
    }

    /// Takes what a thread found.
    fn placed(&mut self, outcome: Outcome) {
        let job = &mut self.jobs[outcome.job];
        let address = job.fixed.address;
        match outcome.result {
            Ok((link, assigned)) => {
                job.state = State::Done;
                for remark in assigned.remarks {
                    warning!("{link}: {remark}");
                }
                if let Some(name) = job.wanted.hostname.as_ref().filter(|_| !self.keep_hostname)
                    && let Err(e) = rustix::system::sethostname(name.as_bytes())
                {
                    warning!("cannot set the host name {name}: {e}");
                }
                let nameservers = job.wanted.nameservers.clone();
                let by = format!("{link}, command line");
                self.servers.set(&by, nameservers, Vec::new());
            }
            Err(failure) => {
                let (text, again) = match failure {
                    Failure::NoGateway => (
                        format!("{address}: the gateway answers on no link yet; looking on"),
                        AGAIN,
                    ),
                    Failure::Refused(e) => (
                        format!(
                            "{e}; tried again every minute. To use it all the same: net up ... --force"
                        ),
                        TAKEN_AGAIN,
                    ),
                };
                job.state = State::Due(Instant::now() + again);
                if job.told.as_ref() != Some(&text) {
                    warning!("{text}");
                    job.told = Some(text);
                }
                self.settle();
            }
        }
    }

    /// The metric of a link's default routes: the first link that asks for one has the lowest.
    fn metric(&mut self, link: &str) -> u32 {
        let at = self.metrics.iter().position(|name| name == link);
        let at = at.unwrap_or_else(|| {
            self.metrics.push(link.to_owned());
            self.metrics.len() - 1
        });
        METRIC + at as u32
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Lease4 { link, lease } => self.leased4(&link, lease),
            Message::Expired4 { link } => self.expired4(&link),
            Message::Lease6 {
                link,
                addresses,
                nameservers,
                ntp,
            } => self.leased6(&link, &addresses, nameservers, ntp),
            Message::Expired6 { link } => {
                // The kernel removes the addresses by itself: they were given for a time.
                notice!("{link}: the DHCPv6 lease is over; asking again");
                self.servers.set(&format!("{link}, DHCPv6"), vec![], vec![]);
            }
            Message::Manual { link, nameservers } => {
                self.asking.remove(&link);
                self.operators.insert(link.clone(), None);
                self.servers.forget(&link);
                let by = format!("{link}, net up");
                self.servers.set(&by, nameservers, Vec::new());
            }
            Message::Automatic { link } => {
                self.asking.remove(&link);
                self.servers.forget(&link);
                self.operators.insert(link, Some(Automatic::ALL));
            }
            Message::Wake => {}
        }
    }

    fn leased4(&mut self, name: &str, lease: Lease4) {
        let Some(link) = links::link(name) else {
            return;
        };
        let metric = self.metric(name);
        // Whoever runs udhcpc by hand gets an address as well.
        let asking = self.asking.get_mut(name);
        let before = asking.and_then(|asking| {
            asking.renewing = false;
            asking.lease.replace(lease.clone())
        });
        if let Err(e) = self.apply4(&link, &lease, before.as_ref(), metric) {
            warning!("{name}: cannot use what DHCP gave ({}): {e}", lease.address);
        }
        let nameservers = lease.nameservers.iter().map(|&s| s.into()).collect();
        let ntp = lease.ntp.iter().map(|&s| s.into()).collect();
        self.servers.set(&format!("{name}, DHCP"), nameservers, ntp);
    }

    fn apply4(
        &mut self,
        link: &Link,
        lease: &Lease4,
        before: Option<&Lease4>,
        metric: u32,
    ) -> io::Result<()> {
        let rtnetlink = &mut self.rtnetlink;
        if let Some(mtu) = lease.mtu {
            prepare(rtnetlink, link, Some(mtu), None)?;
        }
        let lifetime = lease.lifetime.map(|seconds| (seconds, seconds));
        rtnetlink.add_address(link.index, lease.address, None, Origin::Dhcp, lifetime)?;
        if let Some(before) = before {
            if before.address != lease.address {
                rtnetlink.remove_address(link.index, before.address)?;
            }
            if before.gateway != lease.gateway
                && let Some(gateway) = before.gateway
            {
                let old = Route::default(gateway.into(), link.index, metric, Origin::Dhcp);
                rtnetlink.remove_route(&old)?;
            }
        }
        let own = [lease.address];
        if lease.routes.is_empty() {
            return lease.gateway.map_or(Ok(()), |gateway| {
                add_gateway(rtnetlink, link, &own, gateway.into(), metric, Origin::Dhcp)
            });
        }
        for (to, gateway) in &lease.routes {
            let gateway = IpAddr::V4(*gateway);
            let on_link = gateway.is_unspecified();
            if to.length() == 0 && !on_link {
                add_gateway(rtnetlink, link, &own, gateway, metric, Origin::Dhcp)?;
                continue;
            }
            rtnetlink.add_route(&Route {
                to: *to,
                gateway: (!on_link).then_some(gateway),
                link: link.index,
                metric,
                origin: Origin::Dhcp,
                on_link: !on_link && !lease.address.contains(gateway),
            })?;
        }
        Ok(())
    }

    fn expired4(&mut self, name: &str) {
        let Some(asking) = self.asking.get_mut(name).filter(|asking| !asking.renewing) else {
            return;
        };
        let (Some(lease), Some(link)) = (asking.lease.take(), links::link(name)) else {
            return;
        };
        notice!(
            "{name}: the DHCP lease of {} is over; asking again",
            lease.address
        );
        if let Some(gateway) = lease.gateway {
            let metric = self.metric(name);
            let route = Route::default(gateway.into(), link.index, metric, Origin::Dhcp);
            let _ = self.rtnetlink.remove_route(&route);
        }
        if let Err(e) = self.rtnetlink.remove_address(link.index, lease.address) {
            warning!("{name}: cannot remove {}: {e}", lease.address);
        }
        self.servers.set(&format!("{name}, DHCP"), vec![], vec![]);
    }

    fn leased6(
        &mut self,
        name: &str,
        addresses: &[(Ipv6Addr, u32, u32)],
        nameservers: Vec<Ipv6Addr>,
        ntp: Vec<Ipv6Addr>,
    ) {
        let Some(link) = links::link(name).filter(|_| self.asking.contains_key(name)) else {
            return;
        };
        for &(address, preferred, valid) in addresses {
            // What else is on the link is for routers to say (RFC 5942).
            let prefix = Prefix::host(address.into());
            let lifetime = Some((preferred, valid));
            let added =
                self.rtnetlink
                    .add_address(link.index, prefix, None, Origin::Dhcp, lifetime);
            if let Err(e) = added {
                warning!("{name}: cannot use what DHCPv6 gave ({address}): {e}");
            }
        }
        let all = |servers: Vec<Ipv6Addr>| servers.into_iter().map(IpAddr::from).collect();
        self.servers
            .set(&format!("{name}, DHCPv6"), all(nameservers), all(ntp));
    }

    fn router_told(&mut self, index: u32, servers: Vec<Ipv6Addr>, lifetime: u32) {
        let links = links::links();
        let Some(link) = links.iter().find(|link| link.index == index) else {
            return;
        };
        // A link that does not listen to routers does not get here: the kernel drops what they say.
        let servers = if lifetime == 0 { vec![] } else { servers };
        let scoped = |v6: &Ipv6Addr| !v6.is_unicast_link_local() && !v6.is_multicast();
        let servers = servers
            .into_iter()
            .filter(scoped)
            .map(IpAddr::from)
            .collect();
        let by = format!("{}, router advertisement", link.name);
        self.servers.set(&by, servers, Vec::new());
    }

    /// Adds the further routes whose link and gateway are there by now.
    fn add_routes(&mut self, links: &[Link], addresses: &[Address]) {
        let rtnetlink = &mut self.rtnetlink;
        self.routes.retain(|extra| {
            let reaches = |link: &&Link| match &extra.on {
                Some(on) => link.is(on) && addresses.iter().any(|a| a.link == link.index),
                None => addresses
                    .iter()
                    .any(|a| a.link == link.index && a.prefix.contains(extra.gateway)),
            };
            let Some(link) = links.iter().find(reaches) else {
                return true;
            };
            let inside = |a: &Address| a.link == link.index && a.prefix.contains(extra.gateway);
            let route = Route {
                to: extra.to,
                gateway: Some(extra.gateway),
                link: link.index,
                metric: METRIC,
                origin: Origin::CommandLine,
                on_link: !addresses.iter().any(inside),
            };
            if let Err(e) = rtnetlink.add_route(&route) {
                warning!("cannot add the route to {}: {e}", extra.to);
            }
            false
        });
    }

    /// The first link whose router answers has the default route; those of others come after it.
    fn prefer_first_router(&mut self, links: &[Link]) {
        if self.first_router.is_some() {
            return;
        }
        let routes = self.rtnetlink.routes().unwrap_or_default();
        let from_router = |route: &&Route| route.is_default() && route.origin == Origin::Router;
        let Some(first) = routes.iter().find(from_router) else {
            return;
        };
        self.first_router = Some(first.link);
        for link in links.iter().filter(|link| link.index != first.link) {
            links::set_router_metric(&link.name, LATER_ROUTER);
        }
        links::set_router_metric("default", LATER_ROUTER);
    }

    /// Tells the operator of each address that comes and goes, once.
    fn announce(&mut self, links: &[Link], addresses: &[Address]) {
        let name = |index: u32| {
            let link = links.iter().find(|link| link.index == index);
            link.map_or("?", |link| link.name.as_str())
        };
        let now: Vec<&Address> = addresses.iter().filter(|a| a.is_usable()).collect();
        self.told.retain(|(link, prefix)| {
            let there = now.iter().any(|a| a.link == *link && a.prefix == *prefix);
            if !there {
                notice!("{}: {} is gone", name(*link), prefix.address);
            }
            there
        });
        let mut news = false;
        for address in now {
            let key = (address.link, address.prefix);
            if self.told.contains(&key) {
                continue;
            }
            self.told.push(key);
            news = true;
            // While SSH listens; with another port the banner says the whole line.
            let ssh = match Path::new("/run/kedge/ssh/port").exists() {
                true => format!("; ssh root@{}", address.prefix.address),
                false => String::new(),
            };
            notice!(
                "{}: {} ({}){ssh}",
                name(address.link),
                address.prefix,
                address.origin.words()
            );
        }
        if news {
            self.settle();
        }
        for address in addresses.iter().filter(|address| address.duplicate) {
            self.drop_duplicate(links, address);
        }
    }

    /// The kernel found that somebody has this IPv6 address, and does not use it.
    fn drop_duplicate(&mut self, links: &[Link], address: &Address) {
        let key = (address.link, address.prefix);
        let Some(link) = links.iter().find(|link| link.index == address.link) else {
            return;
        };
        if self.duplicates.contains(&key) {
            return;
        }
        self.duplicates.push(key);
        let holder = who_has(link, address.prefix.address, None).ok().flatten();
        let holder = holder.map_or("somebody else".into(), |mac| mac.to_string());
        warning!(
            "{}: {} is held by {holder}: not used",
            link.name,
            address.prefix.address
        );
    }

    fn settle(&mut self) {
        let placing = |job: &Job| job.state == State::Running;
        if self.settled || self.jobs.iter().any(placing) {
            return;
        }
        self.settled = true;
        if let Err(e) = crate::resolv::replace(Path::new(SETTLED), "") {
            warning!("cannot write {SETTLED}: {e}");
        }
    }
}

impl Asking {
    fn start(&mut self, link: &str) -> io::Result<()> {
        if self.method.dhcp4 && self.dhcp4.is_none() {
            let again = self
                .lease
                .as_ref()
                .and_then(|lease| match lease.address.address {
                    IpAddr::V4(v4) => Some(v4),
                    IpAddr::V6(_) => None,
                });
            self.renewing = again.is_some();
            self.dhcp4 = Some(dhcp4::start(link, again)?);
        }
        if self.method.dhcp6 && self.dhcp6.is_none() {
            let mut command = Command::new("/proc/self/exe");
            command.args(["net", "dhcp6", link]);
            self.dhcp6 = Some(ends_with_parent(&mut command).spawn()?);
        }
        Ok(())
    }

    /// Forgets clients that ended; others are started after a while.
    fn reap(&mut self) {
        for client in [&mut self.dhcp4, &mut self.dhcp6] {
            if client
                .as_mut()
                .is_some_and(|c| !matches!(c.try_wait(), Ok(None)))
            {
                *client = None;
                self.due = Some(Instant::now() + AGAIN);
            }
        }
    }

    fn stop(&mut self) {
        for client in [&mut self.dhcp4, &mut self.dhcp6] {
            if let Some(mut client) = client.take() {
                let _ = client.kill();
                let _ = client.wait();
            }
        }
        self.due = None;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop();
    }
}

/// In a thread: finds the link, and puts the address there.
fn on_right_link(
    candidates: &[Link],
    gateway: Option<IpAddr>,
    wanted: &Wanted,
    fixed: &Fixed,
    metric: u32,
) -> Result<(String, Assigned), Failure> {
    let link = match gateway {
        None => &candidates[0],
        Some(gateway) => candidates
            .iter()
            .find(|link| matches!(who_has(link, gateway, None), Ok(Some(_))))
            .ok_or(Failure::NoGateway)?,
    };
    let kernel = |source| {
        Failure::Refused(Refusal::Kernel {
            what: "set up the link",
            link: link.name.clone(),
            source,
        })
    };
    let mut rtnetlink = Rtnetlink::open().map_err(kernel)?;
    prepare(&mut rtnetlink, link, wanted.mtu, wanted.mac).map_err(kernel)?;
    // With its new hardware address.
    let link = links::link(&link.name).unwrap_or_else(|| link.clone());
    let origin = Origin::CommandLine;
    let assigned = assign(&mut rtnetlink, &link, fixed, metric, origin, Insist::No);
    assigned
        .map(|assigned| (link.name, assigned))
        .map_err(Failure::Refused)
}
