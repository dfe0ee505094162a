//! A switch with VLANs between segments: learning, with access and trunk ports (IEEE 802.1Q). The build
//! host's kernel may have no 802.1Q, so it is a thread of the test with a tap in each segment.
//!
//! ```ignore
//! let rack = network.segment("rack", &[])?;      // where the guest's cable ends; nobody else is there
//! let storage = network.segment("storage", &["198.51.100.1/24"])?;
//! let switch = Switch::new()
//!     .port(&rack, Port::Trunk(vec![10, 20]))
//!     .port(network.lan(), Port::Access(10))
//!     .port(&storage, Port::Access(20))
//!     .start()?;
//! let machine = Machine::new(folder, "machine").nic_on(&rack, Nic::Virtio);
//! // … the guest has vlan10 and vlan20 …
//! ensure!(switch.counts(&rack).refused == 0, "{:?}", switch.counts(&rack));
//! switch.plug(&storage, false);                  // the cable between switch and segment is out
//! ```
//!
//! A segment is on one port of one switch: there is no spanning tree.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::segment::Segment;
use crate::sockets::open_tap;

/// How soon it sees that it shall end, in ns.
const GLANCE: i64 = 100_000_000;

/// What a port does with tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// Frames have no tag, and belong to this VLAN.
    Access(u16),
    /// Frames are tagged with one of these VLANs.
    Trunk(Vec<u16>),
}

/// What has passed through a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came into the switch with a tag.
    pub in_tagged: u64,
    /// Came into the switch without one.
    pub in_untagged: u64,
    /// Left the switch with a tag.
    pub out_tagged: u64,
    /// Left the switch without one.
    pub out_untagged: u64,
    /// Came in and went nowhere: a tag on an access port, none or an unknown one on a trunk.
    pub refused: u64,
}

/// A switch that is being put together.
#[derive(Debug, Default)]
pub struct Switch {
    ports: Vec<(Segment, Port)>,
}

impl Switch {
    /// A switch without ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has a port that is plugged into `segment`.
    pub fn port(mut self, segment: &Segment, port: Port) -> Self {
        self.ports.push((segment.clone(), port));
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Switching> {
        let mut taps = Vec::new();
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for (segment, port) in self.ports {
            let name = segment.device().to_owned();
            if names.contains(&name) {
                bail!("{name} is plugged into the switch twice");
            }
            let device = segment.tap_name();
            segment.make_tap(&device)?;
            let tap = open_tap(segment.namespace(), &device)?;
            segment.wait_until_it_passes(&device)?;
            rustix::io::ioctl_fionbio(&tap, true).context("opening a switch's port")?;
            taps.push(tap);
            names.push(name);
            ports.push(port);
        }
        let state = Arc::new(Mutex::new(State::new(ports)));
        let ends = Arc::new(AtomicBool::new(false));
        let thread = {
            let (state, ends) = (Arc::clone(&state), Arc::clone(&ends));
            std::thread::spawn(move || pass(&taps, &state, &ends))
        };
        Ok(Switching {
            names,
            state,
            ends,
            thread: Some(thread),
        })
    }
}

/// A switch that runs, until it is dropped.
#[derive(Debug)]
#[must_use = "the switch ends when this is dropped"]
pub struct Switching {
    names: Vec<String>,
    state: Arc<Mutex<State>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switching {
    /// What has passed through the port in `segment` so far.
    ///
    /// # Panics
    /// When the switch has no port there.
    pub fn counts(&self, segment: &Segment) -> Counts {
        lock(&self.state).counts[self.port(segment)]
    }

    /// Pulls the cable between the switch and `segment`, or plugs it in: no frame passes without it.
    /// The guest's own carrier is [`Running::set_link`](crate::Running::set_link)'s.
    ///
    /// # Panics
    /// When the switch has no port there.
    pub fn plug(&self, segment: &Segment, plugged: bool) {
        let port = self.port(segment);
        let mut state = lock(&self.state);
        state.plugged[port] = plugged;
        state.learnt.retain(|_, at| *at != port);
    }

    fn port(&self, segment: &Segment) -> usize {
        let name = segment.device();
        let at = self.names.iter().position(|have| have == name);
        at.unwrap_or_else(|| panic!("the switch has no port in {name}"))
    }
}

impl Drop for Switching {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has no other end.
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes frames on until `ends`.
fn pass(taps: &[OwnedFd], state: &Mutex<State>, ends: &AtomicBool) {
    // The largest frame that a tap gives: no offloads were asked for.
    let mut frame = vec![0; 65536];
    while !ends.load(Ordering::Relaxed) {
        let mut ready: Vec<_> = taps
            .iter()
            .map(|tap| PollFd::new(tap, PollFlags::IN))
            .collect();
        let glance = Timespec {
            tv_sec: 0,
            tv_nsec: GLANCE,
        };
        match rustix::event::poll(&mut ready, Some(&glance)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("the switch cannot wait for frames: {error}"),
        }
        for (port, tap) in taps.iter().enumerate() {
            // A few at once, and then the other ports' turn.
            for _ in 0..64 {
                let Ok(length) = rustix::io::read(tap, &mut frame[..]) else {
                    break;
                };
                let out = lock(state).switch(port, &frame[..length]);
                for (to, bytes) in out {
                    // A full queue drops it, as a switch does.
                    let _ = rustix::io::write(&taps[to], &bytes);
                }
            }
        }
    }
}

/// What the switch knows, and where frames go; apart from the taps.
#[derive(Debug)]
struct State {
    ports: Vec<Port>,
    plugged: Vec<bool>,
    counts: Vec<Counts>,
    /// Who was heard where, in each VLAN.
    learnt: HashMap<(u16, [u8; 6]), usize>,
}

impl State {
    fn new(ports: Vec<Port>) -> Self {
        Self {
            plugged: vec![true; ports.len()],
            counts: vec![Counts::default(); ports.len()],
            learnt: HashMap::new(),
            ports,
        }
    }

    /// Where a frame goes that came in at `port`, and how it looks there.
    fn switch(&mut self, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let (Some(to), Some(from)) = (address(frame, 0), address(frame, 6)) else {
            return Vec::new();
        };
        if !self.plugged[port] {
            return Vec::new();
        }
        let tag = tag(frame);
        let counts = &mut self.counts[port];
        match tag {
            Some(_) => counts.in_tagged += 1,
            None => counts.in_untagged += 1,
        }
        let vlan = match (&self.ports[port], tag) {
            (Port::Access(vlan), None) => *vlan,
            (Port::Trunk(vlans), Some(vlan)) if vlans.contains(&vlan) => vlan,
            _ => {
                counts.refused += 1;
                return Vec::new();
            }
        };
        self.learnt.insert((vlan, from), port);
        let known = self.learnt.get(&(vlan, to)).copied();
        let mut out = Vec::new();
        for (at, kind) in self.ports.iter().enumerate() {
            if at == port || known.is_some_and(|known| known != at) || !self.plugged[at] {
                continue;
            }
            let untagged =
                || [&frame[..12], &frame[if tag.is_some() { 16 } else { 12 }..]].concat();
            match kind {
                Port::Access(own) if *own == vlan => {
                    self.counts[at].out_untagged += 1;
                    out.push((at, untagged()));
                }
                Port::Trunk(vlans) if vlans.contains(&vlan) => {
                    self.counts[at].out_tagged += 1;
                    let mut bytes = untagged();
                    let [high, low] = vlan.to_be_bytes();
                    bytes.splice(12..12, [0x81, 0x00, high, low]);
                    out.push((at, bytes));
                }
                _ => {}
            }
        }
        out
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

/// The VLAN of a frame's tag; 0 is only a priority.
fn tag(frame: &[u8]) -> Option<u16> {
    match frame.get(12..18) {
        Some([0x81, 0x00, high, low, ..]) => Some(u16::from_be_bytes([*high, *low]) & 0xfff),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::frame::{Frame, Kind};
    use crate::{Folder, Network};

    const A: [u8; 6] = [2, 0, 0, 0, 9, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 9, 2];
    const ALL: [u8; 6] = [0xff; 6];

    fn frame(to: [u8; 6], from: [u8; 6], vlan: Option<u8>) -> Vec<u8> {
        let mut frame = [to, from].concat();
        if let Some(vlan) = vlan {
            frame.extend([0x81, 0, 0, vlan]);
        }
        frame.extend(b"\x88\xb5payload");
        frame
    }

    fn state() -> State {
        State::new(vec![
            Port::Trunk(vec![10, 20]),
            Port::Access(10),
            Port::Access(20),
            Port::Access(10),
        ])
    }

    #[test]
    fn a_frame_stays_in_its_vlan_and_is_tagged_as_the_port_wants() {
        let mut state = state();
        let out = state.switch(0, &frame(ALL, A, Some(10)));
        let plain = frame(ALL, A, None);
        assert_eq!(out, [(1, plain.clone()), (3, plain.clone())]);
        let out = state.switch(2, &frame(ALL, B, None));
        assert_eq!(out, [(0, frame(ALL, B, Some(20)))]);
    }

    #[test]
    fn who_was_heard_is_sent_to_where_it_was_heard() {
        let mut state = state();
        state.switch(1, &frame(ALL, B, None));
        let out = state.switch(0, &frame(B, A, Some(10)));
        assert_eq!(out, [(1, frame(B, A, None))]);
        // In another VLAN it was not heard.
        let out = state.switch(0, &frame(B, A, Some(20)));
        assert_eq!(out, [(2, frame(B, A, None))]);
        // What is for somebody on the same port is not for the others.
        state.switch(1, &frame(ALL, A, None));
        assert_eq!(state.switch(1, &frame(B, A, None)), []);
    }

    #[test]
    fn frames_that_a_port_does_not_take_are_counted() {
        let mut state = state();
        assert_eq!(state.switch(0, &frame(ALL, A, None)), []);
        assert_eq!(state.switch(0, &frame(ALL, A, Some(30))), []);
        assert_eq!(state.switch(1, &frame(ALL, A, Some(10))), []);
        assert_eq!(state.counts[0].refused, 2);
        assert_eq!(state.counts[0].in_tagged, 1);
        assert_eq!(state.counts[1].refused, 1);
        assert_eq!(state.switch(0, b"short"), []);
    }

    /// A tagged ARP request for `target` from 192.0.2.9, as a guest on the trunk sends it.
    fn ask(target: [u8; 4], vlan: u8) -> Vec<u8> {
        let mut frame = frame(ALL, A, Some(vlan));
        frame.truncate(16);
        frame.extend(b"\x08\x06\0\x01\x08\0\x06\x04\0\x01");
        frame.extend(A);
        frame.extend([192, 0, 2, 9]);
        frame.extend([0; 6]);
        frame.extend(target);
        frame
    }

    /// The first ARP reply that comes within `patience`.
    fn reply(tap: &OwnedFd, patience: Duration) -> Option<Frame> {
        let deadline = Instant::now() + patience;
        let mut bytes = [0; 2000];
        while Instant::now() < deadline {
            match rustix::io::read(tap, &mut bytes) {
                Ok(length) => {
                    let frame = Frame::new(Duration::ZERO, &bytes[..length]);
                    if matches!(frame.kind, Kind::Arp { request: false, .. }) {
                        return Some(frame);
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        None
    }

    #[test]
    fn tagged_frames_of_a_guest_reach_a_server_on_an_access_port() -> Result<()> {
        let folder = Folder::new("unit.switch.tagged")?;
        let network = Network::new(folder.path())?;
        let rack = network.segment("rack", &[])?;
        let switch = Switch::new()
            .port(&rack, Port::Trunk(vec![10, 20]))
            .port(network.lan(), Port::Access(10))
            .start()?;
        // In place of a guest's card.
        let device = rack.tap_name();
        rack.make_tap(&device)?;
        let card = open_tap(rack.namespace(), &device)?;
        rack.wait_until_it_passes(&device)?;
        rustix::io::ioctl_fionbio(&card, true)?;
        rustix::io::write(&card, &ask([192, 0, 2, 1], 10))?;
        let answer = reply(&card, Duration::from_secs(20)).context("nobody answered")?;
        assert_eq!(answer.vlans, [10]);
        assert_eq!(answer.source.to_string(), network.lan().mac());
        // In the other VLAN, and behind a pulled cable, nobody is there.
        rustix::io::write(&card, &ask([192, 0, 2, 1], 20))?;
        switch.plug(network.lan(), false);
        rustix::io::write(&card, &ask([192, 0, 2, 1], 10))?;
        assert_eq!(reply(&card, Duration::from_millis(500)), None);
        switch.plug(network.lan(), true);
        rustix::io::write(&card, &ask([192, 0, 2, 1], 10))?;
        assert!(reply(&card, Duration::from_secs(20)).is_some());
        let counts = switch.counts(&rack);
        assert!(
            counts.in_tagged >= 3 && counts.out_tagged >= 2,
            "{counts:?}"
        );
        assert_eq!((counts.in_untagged, counts.out_untagged), (0, 0));
        Ok(())
    }
}
