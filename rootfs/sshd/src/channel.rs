//! A channel (RFC 4254, section 5): one stream each way, with a window each way.
//!
//! The client may send what the window lets it, and the window grows only when the program at this
//! end has taken what came before. That is what keeps a fast client and a slow program, and the other
//! way round, from filling memory or from standing in each other's way.

use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::process::{Ending, Exit, Process, Program, name_of};
use crate::protocol::transport::Transport;
use crate::protocol::{Error, message, number};
use crate::terminal;
use kedge_ssh_wire::Put;

/// How much a client may send ahead: at 100 ms this is 20 MB/s. OpenSSH's number.
pub(crate) const WINDOW: u32 = 2 * 1024 * 1024;

/// The window is opened again when so much was taken.
const STEP: u32 = WINDOW / 16;

/// The largest message of data that is taken.
pub(crate) const MAX_PACKET: u32 = 64 * 1024;

/// How much is read from a program at once.
const READ: u32 = 32 * 1024;

/// Standard error's number (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// What is at this end.
#[derive(Debug)]
pub(crate) enum End {
    /// A session in which nothing runs yet.
    Session {
        environment: Vec<(String, String)>,
        terminal: Option<terminal::Request>,
    },
    Process(Process),
    /// A connection that is being made.
    Dialling,
    /// A connection, and which of its directions are open.
    Stream {
        socket: TcpStream,
        reads: bool,
        writes: bool,
    },
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Channel {
    /// The client's number for it.
    pub(crate) peer: u32,
    /// What we may send yet.
    pub(crate) window: u32,
    /// The largest data that the client takes in one message.
    pub(crate) max_packet: u32,
    /// Whether the client has agreed to a channel that we opened.
    pub(crate) open: bool,
    pub(crate) end: End,
    /// What the client may send yet.
    granted: u32,
    /// What was taken since the window was opened last.
    taken: u32,
    /// What the program has not taken yet, from `input_start` on.
    input: Vec<u8>,
    input_start: usize,
    input_ended: bool,
    exit: Option<Exit>,
    eof_sent: bool,
    close_sent: bool,
}

/// A place at which bytes come out of this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Output,
    Errors,
}

impl Channel {
    pub(crate) fn new(peer: u32, window: u32, max_packet: u32, open: bool, end: End) -> Self {
        Self {
            peer,
            window,
            max_packet,
            open,
            end,
            granted: WINDOW,
            taken: 0,
            input: Vec::new(),
            input_start: 0,
            input_ended: false,
            exit: None,
            eof_sent: false,
            close_sent: false,
        }
    }

    /// Where the client's bytes go, while anybody takes them.
    pub(crate) fn sink(&self) -> Option<BorrowedFd<'_>> {
        match &self.end {
            End::Process(process) => process.input.as_ref().map(AsFd::as_fd),
            End::Stream { socket, writes, .. } if *writes => Some(socket.as_fd()),
            _ => None,
        }
    }

    /// Where bytes for the client come from, while there may be any.
    pub(crate) fn source(&self, which: Source) -> Option<BorrowedFd<'_>> {
        match (&self.end, which) {
            (End::Process(process), Source::Output) => process.output.as_ref().map(AsFd::as_fd),
            (End::Process(process), Source::Errors) => process.errors.as_ref().map(AsFd::as_fd),
            (End::Stream { socket, reads, .. }, Source::Output) if *reads => Some(socket.as_fd()),
            _ => None,
        }
    }

    /// What says that the program has ended, until it has.
    pub(crate) fn exit_source(&self) -> Option<&OwnedFd> {
        match &self.end {
            End::Process(process) if self.exit.is_none() => Some(&process.pidfd),
            _ => None,
        }
    }

    /// Whether bytes wait for the program to take them.
    pub(crate) fn has_input(&self) -> bool {
        self.input_start < self.input.len()
    }

    /// Bytes from the client.
    pub(crate) fn receive(&mut self, data: &[u8], transport: &mut Transport) -> Result<(), Error> {
        self.granted = self
            .granted
            .checked_sub(number(data.len()))
            .ok_or(Error::Flood)?;
        // What comes after the end is a mistake of the client's, and harmless.
        if self.input_ended || self.close_sent {
            return Ok(());
        }
        let written = if self.has_input() || matches!(self.end, End::Dialling) {
            0
        } else {
            self.write(data)
        };
        self.take(number(written), transport);
        // What was handed on goes when it is most of it, so each byte is moved once at most: while a
        // client is ahead of the program for a whole disk, there is never a moment with nothing left.
        if self.input_start > self.input.len() / 2 {
            self.input.drain(..self.input_start);
            self.input_start = 0;
        }
        self.input.extend_from_slice(&data[written..]);
        Ok(())
    }

    /// The client has no more to say.
    pub(crate) fn receive_end(&mut self) {
        self.input_ended = true;
        if !self.has_input() {
            self.close_sink();
        }
    }

    /// Hands on what waits.
    pub(crate) fn feed(&mut self, transport: &mut Transport) {
        let input = std::mem::take(&mut self.input);
        let written = self.write(&input[self.input_start..]);
        self.input = input;
        self.input_start += written;
        if !self.has_input() {
            // The memory goes back, too: most channels never need it again.
            self.input = Vec::new();
            self.input_start = 0;
            if self.input_ended {
                self.close_sink();
            }
        }
        self.take(number(written), transport);
    }

    /// Writes what fits now. Where nobody reads any more, everything is taken and lost.
    fn write(&mut self, data: &[u8]) -> usize {
        let mut written = 0;
        while written < data.len() {
            let Some(sink) = self.sink() else {
                return data.len();
            };
            match rustix::io::write(sink, &data[written..]) {
                Ok(count) => written += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.close_sink();
                    return data.len();
                }
            }
        }
        written
    }

    fn close_sink(&mut self) {
        match &mut self.end {
            End::Process(process) => process.input = None,
            End::Stream { socket, writes, .. } => {
                let _ = socket.shutdown(std::net::Shutdown::Write);
                *writes = false;
            }
            End::Session { .. } | End::Dialling => {}
        }
    }

    fn take(&mut self, count: u32, transport: &mut Transport) {
        self.taken += count;
        if self.taken >= STEP && !self.close_sent {
            let (peer, taken) = (self.peer, std::mem::take(&mut self.taken));
            self.granted += taken;
            transport.send(|out| {
                out.put_byte(message::CHANNEL_WINDOW_ADJUST);
                out.put_u32(peer);
                out.put_u32(taken);
            });
        }
    }

    /// Whether the client takes more bytes.
    pub(crate) fn may_send(&self) -> bool {
        self.open && self.window > 0 && !self.eof_sent
    }

    /// Sends what there is to read, once. `false` when there was nothing.
    pub(crate) fn send(&mut self, which: Source, transport: &mut Transport) -> bool {
        let mut head = vec![match which {
            Source::Output => message::CHANNEL_DATA,
            Source::Errors => message::CHANNEL_EXTENDED_DATA,
        }];
        head.put_u32(self.peer);
        if which == Source::Errors {
            head.put_u32(STDERR);
        }
        let room = self.window.min(self.max_packet).min(READ);
        let Some(source) = self.source(which) else {
            return false;
        };
        let result = transport.send_read(&head, room as usize, |buffer| {
            rustix::io::read(source, buffer)
        });
        match result {
            Ok(count) if count > 0 => {
                self.window -= number(count);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // A terminal whose programs have all gone says EIO.
            Ok(_) | Err(_) => {
                self.close_source(which);
                false
            }
        }
    }

    fn close_source(&mut self, which: Source) {
        match (&mut self.end, which) {
            (End::Process(process), Source::Output) => process.output = None,
            (End::Process(process), Source::Errors) => process.errors = None,
            (End::Stream { reads, .. }, _) => *reads = false,
            (End::Session { .. } | End::Dialling, _) => {}
        }
    }

    /// Starts a program in a session in which none runs yet.
    pub(crate) fn start(
        &mut self,
        program: &Program,
        more: &[(String, String)],
    ) -> std::io::Result<()> {
        let End::Session {
            environment,
            terminal,
        } = &mut self.end
        else {
            return Err(std::io::Error::other("something runs in this session"));
        };
        environment.extend_from_slice(more);
        // SFTP is bytes, whatever was asked for before.
        let terminal = terminal
            .as_ref()
            .filter(|_| !matches!(program, Program::Sftp));
        let process = Process::start(program, environment, terminal)?;
        self.end = End::Process(process);
        Ok(())
    }

    /// The program may have ended.
    pub(crate) fn look_for_exit(&mut self) {
        if let End::Process(process) = &self.end
            && self.exit.is_none()
        {
            self.exit = process.ended();
        }
    }

    /// Tells the client what has come to an end, and gives whether all has.
    ///
    /// A program that has ended has written all that it will: once its pipes have nothing more to
    /// give, that was it, even where something that it left behind holds them open.
    pub(crate) fn finish(&mut self, transport: &mut Transport) -> bool {
        if !self.open {
            return false;
        }
        let over = match &self.end {
            End::Session { .. } | End::Dialling => false,
            End::Process(process) => {
                // A terminal is hung up when its leader ends, and then says so itself.
                let ended = self.exit.is_some() && !process.has_terminal();
                let dry = |fd: &Option<OwnedFd>| fd.as_ref().is_none_or(|fd| ended && is_dry(fd));
                dry(&process.output) && dry(&process.errors)
            }
            End::Stream { reads, .. } => !reads,
        };
        if !over {
            return false;
        }
        let peer = self.peer;
        if !self.eof_sent {
            self.eof_sent = true;
            transport.send(|out| {
                out.put_byte(message::CHANNEL_EOF);
                out.put_u32(peer);
            });
        }
        match &self.end {
            End::Process(_) => {
                let Some(exit) = self.exit else { return false };
                send_exit(peer, exit, transport);
            }
            End::Stream { writes, .. } if *writes => return false,
            _ => {}
        }
        self.close(transport);
        true
    }

    /// Says that this channel is closed, once.
    pub(crate) fn close(&mut self, transport: &mut Transport) {
        if !self.close_sent {
            self.close_sent = true;
            let peer = self.peer;
            transport.send(|out| {
                out.put_byte(message::CHANNEL_CLOSE);
                out.put_u32(peer);
            });
        }
    }

    /// Whether we have said so.
    pub(crate) fn is_closed(&self) -> bool {
        self.close_sent
    }

    /// Gives up this end. What runs there has to go.
    pub(crate) fn give_up(&mut self) -> Option<Ending> {
        self.input = Vec::new();
        self.input_start = 0;
        match std::mem::replace(&mut self.end, End::Dialling) {
            End::Process(process) => Some(process.end()),
            _ => None,
        }
    }
}

/// Whether nothing is to be read now.
fn is_dry(fd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&now)) {
        Ok(_) => !fds[0].revents().contains(PollFlags::IN),
        Err(_) => true,
    }
}

/// RFC 4254, section 6.10.
fn send_exit(peer: u32, exit: Exit, transport: &mut Transport) {
    transport.send(|out| {
        out.put_byte(message::CHANNEL_REQUEST);
        out.put_u32(peer);
        match exit {
            Exit::Status(status) => {
                out.put_string(b"exit-status");
                out.put_byte(0);
                out.put_u32(status);
            }
            Exit::Signal { number, core } => {
                out.put_string(b"exit-signal");
                out.put_byte(0);
                out.put_string(name_of(number).as_bytes());
                out.put_byte(u8::from(core));
                out.put_string(b"");
                out.put_string(b"");
            }
        }
    });
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
