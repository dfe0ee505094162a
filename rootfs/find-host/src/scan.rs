//! The scan: one thread begins connections at an even pace and waits for all of them; a few more
//! speak SSH with what answered.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::neighbours::{self, Neighbours};
use crate::probe::{Host, probe};
use crate::targets::Targets;
use crate::wanted::Wanted;

/// Hosts that are spoken SSH with at a time: each takes a few milliseconds of a processor.
const SPEAKERS: usize = 16;
/// Open ports that wait for that; connecting pauses meanwhile.
const WAITING: usize = 64;
/// Files that are not connections: epoll, standard streams, and what the speakers open.
const OTHER_FILES: u64 = 128;
/// The longest sleep: how long ctrl-C and a speaker's result may wait.
const TICK: Duration = Duration::from_millis(20);
/// A pause when the kernel is short of something.
const SHORTAGE: Duration = Duration::from_millis(100);
/// Shortages in a row after which it will not get better.
const SHORTAGES: u32 = 100;

/// How to scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// New connections a second.
    pub rate: u32,
    /// How long a connection may take to come about.
    pub timeout: Duration,
}

/// How far a scan came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections begun.
    pub tried: u64,
    /// Ports that were open.
    pub open: u64,
    /// Ports that were closed: somebody is there.
    pub closed: u64,
    /// Addresses of which a router, or this machine, said that there is no way.
    pub unreachable: u64,
    /// Addresses that did not answer.
    pub silent: u64,
    /// Hosts that speak SSH.
    pub ssh: u64,
}

impl Tally {
    /// Addresses of which something is known.
    pub fn done(&self) -> u64 {
        self.open + self.closed + self.unreachable + self.silent
    }
}

/// What a scan tells while it runs.
pub trait Watcher {
    /// A host that speaks SSH. Returns whether to go on.
    fn host(&mut self, host: Host) -> bool;
    /// Called many times a second.
    fn progress(&mut self, tally: &Tally);
}

/// How a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every address was tried, or the watcher had enough.
    Complete,
    /// `stop` was set.
    Stopped,
}

/// A scan that could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refuses.
    #[error("cannot open connections: {0}")]
    Connections(io::Error),
    /// Nothing can be reached.
    #[error("no address can be reached: {0} (net status shows addresses and routes)")]
    Unreachable(io::Error),
}

/// Scans; tells `watcher` what is found. `seed` decides the order.
///
/// # Errors
/// When connections cannot be made from here at all.
pub fn scan(
    targets: &Targets,
    port: u16,
    wanted: &Arc<Wanted>,
    pace: Pace,
    seed: u64,
    stop: &AtomicBool,
    watcher: &mut impl Watcher,
) -> Result<(Tally, End), Error> {
    let mut scan = Scan::new(port, wanted, pace).map_err(Error::Connections)?;
    let mut addresses = targets.shuffled(seed).peekable();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok((scan.tally, End::Stopped));
        }
        scan.begin_due(&mut addresses)?;
        scan.wait().map_err(Error::Connections)?;
        scan.expire();
        scan.speak();
        while let Ok(result) = scan.results.try_recv() {
            scan.speaking -= 1;
            if let Some(host) = result {
                scan.tally.ssh += 1;
                if !watcher.host(host) {
                    return Ok((scan.tally, End::Complete));
                }
            }
        }
        watcher.progress(&scan.tally);
        if addresses.peek().is_none() && scan.is_idle() {
            return match scan.no_way {
                Some(error) if scan.tally.unreachable == scan.tally.tried => {
                    Err(Error::Unreachable(error.into()))
                }
                _ => Ok((scan.tally, End::Complete)),
            };
        }
    }
}

struct Connection {
    socket: OwnedFd,
    address: SocketAddr,
    began: Instant,
}

struct Scan<'a> {
    port: u16,
    wanted: &'a Arc<Wanted>,
    pace: Pace,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    /// Connections under way, by number.
    connecting: HashMap<u64, Connection>,
    /// When each of them is given up; those that are no longer under way are passed over.
    deadlines: BTreeSet<(Instant, u64)>,
    most: usize,
    /// Connections that may begin now; grows with time.
    credit: f64,
    last: Instant,
    resume: Instant,
    shortages: u32,
    neighbours: Neighbours,
    waiting: VecDeque<(OwnedFd, SocketAddr)>,
    speaking: usize,
    sender: Sender<Option<Host>>,
    results: Receiver<Option<Host>>,
    tally: Tally,
    no_way: Option<Errno>,
}

impl<'a> Scan<'a> {
    fn new(port: u16, wanted: &'a Arc<Wanted>, pace: Pace) -> io::Result<Scan<'a>> {
        let now = Instant::now();
        let (sender, results) = channel();
        Ok(Scan {
            port,
            wanted,
            pace,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(1024),
            connecting: HashMap::new(),
            deadlines: BTreeSet::new(),
            most: most_connections(pace),
            credit: 1.0,
            last: now,
            resume: now,
            shortages: 0,
            neighbours: Neighbours::here(),
            waiting: VecDeque::new(),
            speaking: 0,
            sender,
            results,
            tally: Tally::default(),
            no_way: None,
        })
    }

    fn is_idle(&self) -> bool {
        self.connecting.is_empty() && self.waiting.is_empty() && self.speaking == 0
    }

    /// Begins as many connections as the pace allows.
    fn begin_due(
        &mut self,
        addresses: &mut std::iter::Peekable<impl Iterator<Item = IpAddr>>,
    ) -> Result<(), Error> {
        let now = Instant::now();
        let rate = f64::from(self.pace.rate);
        // What was missed is made up for in small part only: a pause must not end in a burst.
        let burst = (rate * TICK.as_secs_f64() * 2.0).max(1.0);
        self.credit = (self.credit + (now - self.last).as_secs_f64() * rate).min(burst);
        self.last = now;
        while self.credit >= 1.0
            && now >= self.resume
            && self.connecting.len() < self.most
            && self.waiting.len() < WAITING
        {
            let Some(address) = addresses.peek() else {
                break;
            };
            if !self.neighbours.has_room(*address, now) {
                break;
            }
            let address = SocketAddr::new(*address, self.port);
            if let Err(errno) = self.begin(address, now) {
                self.shortages += 1;
                self.resume = now + SHORTAGE;
                if self.shortages > SHORTAGES {
                    return Err(Error::Connections(errno.into()));
                }
                break;
            }
            self.shortages = 0;
            self.credit -= 1.0;
            addresses.next();
        }
        Ok(())
    }

    /// Begins one. An error means that the kernel is short of something, and to try again.
    fn begin(&mut self, address: SocketAddr, now: Instant) -> Result<(), Errno> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match socket_with(family, SocketType::STREAM, flags, None) {
            Err(Errno::AFNOSUPPORT) => {
                self.tally.tried += 1;
                self.no_way(Errno::AFNOSUPPORT);
                return Ok(());
            }
            socket => socket?,
        };
        match connect(&socket, &address) {
            Err(Errno::INPROGRESS) => {
                let id = self.tally.tried;
                epoll::add(
                    &self.epoll,
                    &socket,
                    epoll::EventData::new_u64(id),
                    epoll::EventFlags::OUT,
                )?;
                let timeout = if self.neighbours.began(address.ip()) {
                    self.pace.timeout.min(neighbours::LONGEST)
                } else {
                    self.pace.timeout
                };
                self.deadlines.insert((now + timeout, id));
                let connection = Connection {
                    socket,
                    address,
                    began: now,
                };
                self.connecting.insert(id, connection);
            }
            Err(
                errno @ (Errno::NOBUFS
                | Errno::NOMEM
                | Errno::AGAIN
                | Errno::ADDRNOTAVAIL
                | Errno::INTR),
            ) => return Err(errno),
            result => self.settle(result, socket, address),
        }
        self.tally.tried += 1;
        Ok(())
    }

    fn settle(&mut self, result: Result<(), Errno>, socket: OwnedFd, address: SocketAddr) {
        match result {
            Ok(()) => {
                self.tally.open += 1;
                self.waiting.push_back((socket, address));
            }
            Err(Errno::CONNREFUSED | Errno::CONNRESET) => self.tally.closed += 1,
            Err(Errno::TIMEDOUT) => self.tally.silent += 1,
            Err(errno) => self.no_way(errno),
        }
    }

    fn no_way(&mut self, errno: Errno) {
        self.tally.unreachable += 1;
        self.no_way = Some(errno);
    }

    fn wait(&mut self) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: TICK.subsec_nanos().into(),
        };
        let mut events = std::mem::take(&mut self.events);
        let result = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout));
        for event in events.drain(..) {
            let Some(connection) = self.connecting.remove(&event.data.u64()) else {
                continue;
            };
            let _ = epoll::delete(&self.epoll, &connection.socket);
            let result = sockopt::socket_error(&connection.socket).and_then(|result| result);
            let answered = matches!(result, Ok(()) | Err(Errno::CONNREFUSED));
            self.ended(&connection, answered);
            self.settle(result, connection.socket, connection.address);
        }
        self.events = events;
        match result {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives up connections that took too long.
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((until, id)) = self.deadlines.pop_first() {
            if until > now {
                self.deadlines.insert((until, id));
                break;
            }
            if let Some(connection) = self.connecting.remove(&id) {
                self.tally.silent += 1;
                self.ended(&connection, false);
            }
        }
    }

    fn ended(&mut self, connection: &Connection, answered: bool) {
        let now = Instant::now();
        let took = now - connection.began;
        self.neighbours
            .ended(connection.address.ip(), answered, took, now);
    }

    /// Starts to speak with hosts that wait for it.
    fn speak(&mut self) {
        while self.speaking < SPEAKERS {
            let Some((socket, address)) = self.waiting.pop_front() else {
                return;
            };
            let (sender, wanted) = (self.sender.clone(), Arc::clone(self.wanted));
            let speaker = std::thread::Builder::new().spawn(move || {
                let host = probe(TcpStream::from(socket), address, &wanted);
                let _ = sender.send(host);
            });
            match speaker {
                Ok(_) => self.speaking += 1,
                // The socket went with the closure. It was open, and that is all that is known.
                Err(_) => return,
            }
        }
    }
}

/// How many connections may be under way: what the pace needs, as far as the limit on open files
/// can be raised.
fn most_connections(pace: Pace) -> usize {
    let needed = (f64::from(pace.rate) * pace.timeout.as_secs_f64()).ceil() as u64 + 1;
    let wanted = needed + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    let Some(current) = limit.current.filter(|current| *current < wanted) else {
        return needed as usize;
    };
    let reachable = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    // Root may raise the upper limit, too.
    let current = [wanted, reachable]
        .into_iter()
        .find(|current| {
            let new = Rlimit {
                current: Some(*current),
                maximum: limit.maximum.map(|maximum| maximum.max(*current)),
            };
            setrlimit(Resource::Nofile, new).is_ok()
        })
        .unwrap_or(current);
    (current.saturating_sub(OTHER_FILES) as usize).max(1)
}
