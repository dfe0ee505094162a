//! One connection from its first byte to its last: the process `kedge sshd --connection`.
//!
//! The login is a conversation, read and answered in turn. After it one loop waits for everything at
//! once: the client, what runs for it, and connections that are made on its behalf. Nothing in that
//! loop blocks, and nothing is read that cannot be passed on.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::channel::{Channel, End, MAX_PACKET, Source, WINDOW};
use crate::forward::{Dialler, Listening};
use crate::host_key::HostKey;
use crate::process::Ending;
use crate::protocol::authentication::{Login, Policy, authenticate};
use crate::protocol::key_exchange::KeyExchange;
use crate::protocol::transport::Transport;
use crate::protocol::{Error, message};
use kedge_ssh_wire::Put;

/// From the first byte to the login.
pub(crate) const LOGIN: Duration = Duration::from_secs(60);

/// How long a later key exchange may take.
const REKEY: Duration = Duration::from_secs(60);

/// So much may wait to be sent before programs are left alone until the client has read it. It has to
/// hold more than the socket takes at once.
const BACKLOG: usize = 256 * 1024;

/// And so much before the client is not read any more: it asks, and does not take the answers.
const MOST_BACKLOG: usize = 2 * 1024 * 1024;

/// How often a silent client is asked whether it is still there, and how many times in vain. Three
/// minutes: a cable that is plugged over takes less.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const UNANSWERED: u32 = 6;

/// Who is at the two ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
}

impl Ends {
    /// Of a connected socket.
    pub(crate) fn of(socket: &TcpStream) -> std::io::Result<Self> {
        let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        Ok(Self {
            client: plain(socket.peer_addr()?),
            server: plain(socket.local_addr()?),
        })
    }
}

/// A connection whose client is known.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    keys: KeyExchange,
    host_key: HostKey,
    pub(crate) login: Login,
    pub(crate) ends: Ends,
    pub(crate) channels: BTreeMap<u32, Channel>,
    pub(crate) next_channel: u32,
    pub(crate) dialler: Dialler,
    pub(crate) listening: Vec<Listening>,
    pub(crate) endings: Vec<Ending>,
    keep_alive: Duration,
    heard: Instant,
    unanswered: u32,
}

/// Something that can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Client,
    Dialled,
    Called(usize, usize),
    Input(u32),
    Output(u32, Source),
    Exit(u32),
}

/// Exchanges keys and waits for a login. What goes wrong the client is told, as far as it matters.
pub(crate) fn log_in(
    socket: TcpStream,
    host_key: HostKey,
    policy: &Policy,
    ends: Ends,
    keep_alive: Option<Duration>,
) -> Result<Connection, Error> {
    let deadline = Instant::now() + LOGIN;
    let mut transport = Transport::new(socket).map_err(Error::Socket)?;
    let result = (|| {
        let mut keys = KeyExchange::begin(&mut transport, deadline)?;
        keys.run(&mut transport, &host_key, None, deadline)?;
        let session_id = *keys.session_id().ok_or(Error::KeyExchange)?;
        let login = authenticate(&mut transport, &session_id, policy, deadline)?;
        Ok((keys, login))
    })();
    match result {
        Ok((keys, login)) => Ok(Connection {
            transport,
            keys,
            host_key,
            login,
            ends,
            channels: BTreeMap::new(),
            next_channel: 0,
            dialler: Dialler::new().map_err(Error::Socket)?,
            listening: Vec::new(),
            endings: Vec::new(),
            keep_alive: keep_alive.unwrap_or(KEEP_ALIVE),
            heard: Instant::now(),
            unanswered: 0,
        }),
        Err(error) => {
            disconnect(&mut transport, &error);
            Err(error)
        }
    }
}

/// Says why, if the client can still be told.
fn disconnect(transport: &mut Transport, error: &Error) {
    if let Some(reason) = error.reason() {
        transport.send(|out| {
            out.put_byte(message::DISCONNECT);
            out.put_u32(reason);
            out.put_string(error.to_string().as_bytes());
            out.put_string(b"");
        });
        let _ = transport.drain(Instant::now() + Duration::from_secs(1));
    }
}

impl Connection {
    /// Runs until the client goes, and then until all that it started has gone.
    pub(crate) fn run(mut self) -> Error {
        let error = loop {
            if let Err(error) = self.turn() {
                break error;
            }
        };
        disconnect(&mut self.transport, &error);
        for channel in self.channels.values_mut() {
            self.endings.extend(channel.give_up());
        }
        self.listening.clear();
        while !self.endings.is_empty() {
            self.endings.retain(|ending| !ending.over());
            std::thread::sleep(Duration::from_millis(20));
        }
        error
    }

    /// One round: wait, and do what can be done.
    fn turn(&mut self) -> Result<(), Error> {
        for ready in self.wait()? {
            match ready {
                Ready::Client => {
                    if self.transport.fill()? {
                        self.heard = Instant::now();
                        self.unanswered = 0;
                    }
                }
                Ready::Dialled => self.dialled(),
                Ready::Called(listening, socket) => self.called(listening, socket),
                Ready::Input(id) => {
                    if let Some(channel) = self.channels.get_mut(&id) {
                        channel.feed(&mut self.transport);
                    }
                }
                Ready::Output(id, source) => self.pump(id, source)?,
                Ready::Exit(id) => {
                    if let Some(channel) = self.channels.get_mut(&id) {
                        channel.look_for_exit();
                    }
                }
            }
        }
        loop {
            let all = self.messages()?;
            self.finish_channels();
            self.keep_alive()?;
            self.transport.flush()?;
            // What was left because of the answers' number must not wait for the client to say more.
            if all || self.transport.backlog() >= MOST_BACKLOG {
                return Ok(());
            }
        }
    }

    /// Every message that has come, unless the client does not take the answers; whether it was all.
    fn messages(&mut self) -> Result<bool, Error> {
        loop {
            if self.transport.backlog() >= MOST_BACKLOG {
                return Ok(false);
            }
            let Some(place) = self.transport.next()? else {
                return Ok(true);
            };
            // The message stays where it is; the buffer is lent out meanwhile.
            let buffer = std::mem::take(&mut self.transport.incoming);
            let payload = &buffer[place];
            if payload.first() == Some(&message::KEXINIT) {
                let theirs = payload.to_vec();
                self.transport.incoming = buffer;
                let deadline = Instant::now() + REKEY;
                self.keys
                    .run(&mut self.transport, &self.host_key, Some(theirs), deadline)?;
                continue;
            }
            let result = self.handle(payload);
            self.transport.incoming = buffer;
            result?;
        }
    }

    /// Passes on what a program says, while there is room.
    fn pump(&mut self, id: u32, source: Source) -> Result<(), Error> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        while channel.may_send() && self.transport.backlog() < BACKLOG {
            if !channel.send(source, &mut self.transport) {
                break;
            }
        }
        self.transport.flush()
    }

    fn finish_channels(&mut self) {
        for channel in self.channels.values_mut() {
            if !channel.is_closed() && channel.finish(&mut self.transport) {
                self.endings.extend(channel.give_up());
            }
        }
        if !self.endings.is_empty() {
            self.endings.retain(|ending| !ending.over());
        }
    }

    fn keep_alive(&mut self) -> Result<(), Error> {
        if self.heard.elapsed() < self.keep_alive * (self.unanswered + 1) {
            return Ok(());
        }
        if self.unanswered >= UNANSWERED {
            return Err(Error::Dead);
        }
        self.unanswered += 1;
        self.transport.send(|out| {
            out.put_byte(message::GLOBAL_REQUEST);
            out.put_string(b"keepalive@openssh.com");
            out.put_byte(1);
        });
        Ok(())
    }

    /// Waits until something can be done.
    fn wait(&self) -> Result<Vec<Ready>, Error> {
        let mut places: Vec<Ready> = Vec::new();
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        let mut add = |ready, fd, flags| {
            places.push(ready);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        let backlog = self.transport.backlog();
        let mut client = PollFlags::empty();
        if backlog < MOST_BACKLOG {
            client |= PollFlags::IN;
        }
        if backlog > 0 {
            client |= PollFlags::OUT;
        }
        add(Ready::Client, self.transport.socket().as_fd(), client);
        add(Ready::Dialled, self.dialler.wake.as_fd(), PollFlags::IN);
        for (i, listening) in self.listening.iter().enumerate() {
            for (j, socket) in listening.sockets.iter().enumerate() {
                add(Ready::Called(i, j), socket.as_fd(), PollFlags::IN);
            }
        }
        for (&id, channel) in &self.channels {
            if channel.is_closed() {
                continue;
            }
            if channel.has_input()
                && let Some(sink) = channel.sink()
            {
                add(Ready::Input(id), sink, PollFlags::OUT);
            }
            if channel.may_send() && backlog < BACKLOG {
                for source in [Source::Output, Source::Errors] {
                    if let Some(fd) = channel.source(source) {
                        add(Ready::Output(id, source), fd, PollFlags::IN);
                    }
                }
            }
            if let Some(pidfd) = channel.exit_source() {
                add(Ready::Exit(id), pidfd.as_fd(), PollFlags::IN);
            }
        }
        let timeout = self.patience();
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            Err(e) => return Err(Error::Socket(e.into())),
        }
        let ready = |fd: &PollFd<'_>| {
            let flags = fd.revents();
            !flags.is_empty() && flags != PollFlags::OUT
        };
        Ok(places
            .into_iter()
            .zip(&fds)
            .filter(|(place, fd)| match place {
                Ready::Client => ready(fd),
                _ => !fd.revents().is_empty(),
            })
            .map(|(place, _)| place)
            .collect())
    }

    /// Until something has to be done even when nothing happens.
    fn patience(&self) -> Timespec {
        let due = self.keep_alive * (self.unanswered + 1);
        let mut left = due.saturating_sub(self.heard.elapsed());
        if !self.endings.is_empty() {
            left = left.min(Duration::from_millis(50));
        }
        Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        }
    }

    /// A connection that was made for the client, or not.
    fn dialled(&mut self) {
        let results: Vec<_> = self.dialler.results().collect();
        for result in results {
            let Some(channel) = self.channels.get_mut(&result.channel) else {
                continue;
            };
            match result.stream {
                Ok(socket) => {
                    channel.open = true;
                    channel.end = End::Stream {
                        socket,
                        reads: true,
                        writes: true,
                    };
                    confirm(&mut self.transport, channel.peer, result.channel);
                }
                Err(e) => {
                    let peer = channel.peer;
                    self.channels.remove(&result.channel);
                    refuse(&mut self.transport, peer, CONNECT_FAILED, &e.to_string());
                }
            }
        }
    }

    /// Somebody calls at a port that the client listens on.
    fn called(&mut self, listening: usize, socket: usize) {
        let Some(place) = self.listening.get(listening) else {
            return;
        };
        let Some(Ok((stream, from))) = place.sockets.get(socket).map(|socket| socket.accept())
        else {
            return;
        };
        if self.channels.len() >= crate::requests::MOST_CHANNELS
            || stream.set_nonblocking(true).is_err()
        {
            return;
        }
        let _ = stream.set_nodelay(true);
        let (address, port) = (place.address.clone(), place.port);
        let id = self.new_id();
        self.transport.send(|out| {
            out.put_byte(message::CHANNEL_OPEN);
            out.put_string(b"forwarded-tcpip");
            out.put_u32(id);
            out.put_u32(WINDOW);
            out.put_u32(MAX_PACKET);
            out.put_string(address.as_bytes());
            out.put_u32(port.into());
            out.put_string(from.ip().to_string().as_bytes());
            out.put_u32(from.port().into());
        });
        let end = End::Stream {
            socket: stream,
            reads: true,
            writes: true,
        };
        self.channels.insert(id, Channel::new(0, 0, 0, false, end));
    }

    /// A number for a channel that no other has.
    pub(crate) fn new_id(&mut self) -> u32 {
        while self.channels.contains_key(&self.next_channel) {
            self.next_channel = self.next_channel.wrapping_add(1);
        }
        let id = self.next_channel;
        self.next_channel = self.next_channel.wrapping_add(1);
        id
    }
}

/// Why a channel is not opened (RFC 4254, section 5.1).
pub(crate) const PROHIBITED: u32 = 1;
pub(crate) const CONNECT_FAILED: u32 = 2;
pub(crate) const UNKNOWN_TYPE: u32 = 3;
pub(crate) const SHORTAGE: u32 = 4;

/// Agrees to a channel.
pub(crate) fn confirm(transport: &mut Transport, peer: u32, id: u32) {
    transport.send(|out| {
        out.put_byte(message::CHANNEL_OPEN_CONFIRMATION);
        out.put_u32(peer);
        out.put_u32(id);
        out.put_u32(WINDOW);
        out.put_u32(MAX_PACKET);
    });
}

/// Does not agree to a channel.
pub(crate) fn refuse(transport: &mut Transport, peer: u32, code: u32, why: &str) {
    transport.send(|out| {
        out.put_byte(message::CHANNEL_OPEN_FAILURE);
        out.put_u32(peer);
        out.put_u32(code);
        out.put_string(why.as_bytes());
        out.put_string(b"");
    });
}

#[cfg(test)]
#[path = "connection_tests.rs"]
pub(crate) mod tests;
