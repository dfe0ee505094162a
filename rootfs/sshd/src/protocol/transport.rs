//! The binary packet protocol of RFC 4253, section 6: bytes of the socket to messages and back.
//!
//! A message is decrypted in the buffer that it was read into, and built in the buffer that it is
//! sent from: at 500 MB/s each further copy would show.

use std::io;
use std::net::TcpStream;
use std::ops::Range;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::Error;
use super::cipher::{Opening, Sealing};
use super::number;
use kedge_ssh_wire::Put;

/// What a packet may measure before login: RFC 4253, section 6.1, wants 35,000 to be taken.
const LARGEST_BEFORE_LOGIN: usize = 35_000;

/// And after it: what OpenSSH takes.
const LARGEST: usize = 256 * 1024;

/// RFC 4253, section 6.
const LEAST_PADDING: usize = 4;

/// How much is read from the socket at once.
const READ: usize = 128 * 1024;

/// Keys must change before the sequence number, which is the nonce of ChaCha20, comes round.
/// OpenSSH's client does it after each gigabyte; one that never does is cut off here.
const MOST_PACKETS_PER_KEY: u32 = 1 << 31;

/// One connection's packets.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: TcpStream,
    /// What was read, and which part of it is still to be looked at.
    pub(crate) incoming: Vec<u8>,
    unread: Range<usize>,
    opening: Opening,
    in_sequence: u32,
    in_packets: u32,
    /// The decrypted length of the packet that is under way.
    length: Option<usize>,
    largest: usize,
    outgoing: Vec<u8>,
    sent: usize,
    sealing: Sealing,
    out_sequence: u32,
    out_packets: u32,
}

impl Transport {
    /// Takes over a connected socket, which becomes non-blocking.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            incoming: Vec::new(),
            unread: 0..0,
            opening: Opening::Clear,
            in_sequence: 0,
            in_packets: 0,
            length: None,
            largest: LARGEST_BEFORE_LOGIN,
            outgoing: Vec::new(),
            sent: 0,
            sealing: Sealing::Clear,
            out_sequence: 0,
            out_packets: 0,
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The peer has shown who it is.
    pub(crate) fn logged_in(&mut self) {
        self.largest = LARGEST;
    }

    /// How many bytes wait to be sent.
    pub(crate) fn backlog(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    /// Reads what is there. `false` when nothing is.
    pub(crate) fn fill(&mut self) -> Result<bool, Error> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        if self.incoming.len() < READ {
            self.incoming.resize(READ, 0);
        }
        if self.unread.start > 0 && self.incoming.len() - self.unread.end < READ / 2 {
            self.incoming.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.incoming.len() {
            // One packet larger than the buffer: bounded by `largest`.
            self.incoming.resize(self.incoming.len() * 2, 0);
        }
        match rustix::io::read(&self.socket, &mut self.incoming[self.unread.end..]) {
            Ok(0) => Err(Error::Closed),
            Ok(count) => {
                self.unread.end += count;
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(false),
            Err(e) => Err(Error::Socket(e.into())),
        }
    }

    /// The next message's place in `incoming`, decrypted; `None` when it is not all there.
    pub(crate) fn next(&mut self) -> Result<Option<Range<usize>>, Error> {
        let available = self.unread.len();
        let start = self.unread.start;
        let length = match self.length {
            Some(length) => length,
            None => {
                let Some(header) = self.incoming[self.unread.clone()].first_chunk::<4>() else {
                    return Ok(None);
                };
                let length = self.opening.length(self.in_sequence, *header);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                if length < 6 || length > self.largest {
                    return Err(Error::PacketLength);
                }
                self.length = Some(length);
                length
            }
        };
        let whole = 4 + length + self.opening.tag_length();
        if available < whole {
            return Ok(None);
        }
        self.length = None;
        self.unread.start += whole;
        self.opening
            .open(self.in_sequence, &mut self.incoming[start..start + whole])?;
        self.in_sequence = self.in_sequence.wrapping_add(1);
        self.in_packets += 1;
        if self.in_packets > MOST_PACKETS_PER_KEY {
            return Err(Error::KeyUsedUp);
        }
        let padding = usize::from(self.incoming[start + 4]);
        let payload = length
            .checked_sub(1 + padding)
            .filter(|&payload| payload > 0 && padding >= LEAST_PADDING)
            .ok_or(Error::PacketLength)?;
        Ok(Some(start + 5..start + 5 + payload))
    }

    /// The sequence number of the message that [`Self::next`] gave last.
    pub(crate) fn last_sequence(&self) -> u32 {
        self.in_sequence.wrapping_sub(1)
    }

    /// Takes one line off the front: the peer's version. `None` when it is not all there.
    pub(crate) fn line(&mut self, longest: usize) -> Result<Option<Vec<u8>>, Error> {
        let bytes = &self.incoming[self.unread.clone()];
        match bytes.iter().take(longest).position(|&b| b == b'\n') {
            Some(end) => {
                let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
                let line = line.to_vec();
                self.unread.start += end + 1;
                Ok(Some(line))
            }
            None if bytes.len() >= longest => Err(Error::Version),
            None => Ok(None),
        }
    }

    /// Sends bytes as they are: our version.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Sends one message, which `build` appends to the buffer.
    pub(crate) fn send(&mut self, build: impl FnOnce(&mut Vec<u8>)) {
        let start = self.begin();
        build(&mut self.outgoing);
        self.finish(start);
    }

    /// Sends one message, whose end `read` puts into a slice of at most `room` bytes. Nothing is
    /// sent when it gives no bytes.
    pub(crate) fn send_read(
        &mut self,
        head: &[u8],
        room: usize,
        read: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>,
    ) -> rustix::io::Result<usize> {
        let start = self.begin();
        self.outgoing.extend_from_slice(head);
        // The string's length is known only once it is read.
        let length_at = self.outgoing.len();
        let data = length_at + 4;
        self.outgoing.resize(data + room, 0);
        let count = match read(&mut self.outgoing[data..]) {
            Ok(count) if count > 0 => count,
            nothing => {
                self.outgoing.truncate(start);
                return nothing;
            }
        };
        self.outgoing.truncate(data + count);
        self.outgoing[length_at..data].copy_from_slice(&number(count).to_be_bytes());
        self.finish(start);
        Ok(count)
    }

    fn begin(&mut self) -> usize {
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
        let start = self.outgoing.len();
        self.outgoing.put_u32(0);
        self.outgoing.put_byte(0);
        start
    }

    fn finish(&mut self, start: usize) {
        let payload = self.outgoing.len() - start - 5;
        let padding = self.sealing.padding(payload);
        // Zeros: what encrypts them makes them as good as random ones.
        let end = self.outgoing.len() + padding;
        self.outgoing.resize(end + self.sealing.tag_length(), 0);
        let length = number(1 + payload + padding);
        self.outgoing[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.outgoing[start + 4] = padding as u8;
        self.sealing
            .seal(self.out_sequence, &mut self.outgoing[start..], end - start);
        self.out_sequence = self.out_sequence.wrapping_add(1);
        self.out_packets = self.out_packets.saturating_add(1);
    }

    /// Writes what the socket takes now.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.out_packets > MOST_PACKETS_PER_KEY {
            return Err(Error::KeyUsedUp);
        }
        while self.backlog() > 0 {
            let flags = rustix::net::SendFlags::NOSIGNAL;
            match rustix::net::send(&self.socket, &self.outgoing[self.sent..], flags) {
                Ok(count) => self.sent += count,
                Err(rustix::io::Errno::AGAIN) => {
                    // The front goes when it is most of it: each byte is moved once at most.
                    if self.sent > self.backlog() {
                        self.outgoing.drain(..self.sent);
                        self.sent = 0;
                    }
                    return Ok(());
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::Socket(e.into())),
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }

    /// Waits until there is something to read, and everything is sent.
    pub(crate) fn exchange(&mut self, deadline: Instant) -> Result<(), Error> {
        loop {
            self.flush()?;
            let mut flags = PollFlags::IN;
            if self.backlog() > 0 {
                flags |= PollFlags::OUT;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Late);
            }
            let timeout = rustix::event::Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.socket, flags)];
            match rustix::event::poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::Socket(e.into())),
            }
            let ready = fds[0].revents();
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) && self.fill()? {
                return Ok(());
            }
        }
    }

    /// Waits until everything is sent, or it is too late.
    pub(crate) fn drain(&mut self, deadline: Instant) -> Result<(), Error> {
        while self.backlog() > 0 {
            self.flush()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Late);
            }
            if self.backlog() > 0 {
                let timeout = rustix::event::Timespec {
                    tv_sec: left.as_secs() as i64,
                    tv_nsec: left.subsec_nanos().into(),
                };
                let mut fds = [PollFd::new(&self.socket, PollFlags::OUT)];
                let _ = rustix::event::poll(&mut fds, Some(&timeout));
            }
        }
        Ok(())
    }

    /// New keys for what we send; `strict` begins the count of packets anew.
    pub(crate) fn seal_with(&mut self, sealing: Sealing, strict: bool) {
        self.sealing = sealing;
        self.out_packets = 0;
        if strict {
            self.out_sequence = 0;
        }
    }

    /// New keys for what we are sent.
    pub(crate) fn open_with(&mut self, opening: Opening, strict: bool) {
        self.opening = opening;
        self.in_packets = 0;
        if strict {
            self.in_sequence = 0;
        }
    }
}

#[cfg(test)]
#[path = "transport_tests.rs"]
pub(crate) mod tests;
