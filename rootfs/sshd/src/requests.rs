//! What a client that is logged in may ask for: RFC 4254.

use crate::authorized_keys::Options;
use crate::channel::{Channel, End};
use crate::connection::{Connection, PROHIBITED, SHORTAGE, UNKNOWN_TYPE, confirm, refuse};
use crate::forward::Listening;
use crate::process::{Program, signal_of};
use crate::protocol::{Error, message};
use crate::terminal;
use kedge_ssh_wire::{Malformed, Put, Reader};

/// Channels at a time on one connection. Each can hold a window of memory.
pub(crate) const MOST_CHANNELS: usize = 128;

/// Ports that one client may listen on.
const MOST_LISTENING: usize = 32;

/// Environment variables of one session, and how long each may be.
const MOST_VARIABLES: usize = 64;
const LONGEST_VARIABLE: usize = 4096;

/// Those that the session sets itself, or that make its programs do something else than they say.
const KEPT: [&str; 9] = [
    "HOME", "USER", "LOGNAME", "SHELL", "PATH", "TERM", "ENV", "IFS", "BASH_ENV",
];

/// One that a client asks for.
struct Asked<'a> {
    name: &'a str,
    reply: bool,
    reader: Reader<'a>,
}

impl Connection {
    /// Does what one message says.
    pub(crate) fn handle(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(payload);
        match reader.byte()? {
            message::IGNORE | message::DEBUG | message::UNIMPLEMENTED | message::EXT_INFO => {}
            // Sent before the client knew that it is in (RFC 4252, section 5.1).
            message::USERAUTH_REQUEST => {}
            message::DISCONNECT => return Err(Error::Disconnected),
            message::GLOBAL_REQUEST => self.global_request(reader)?,
            // Answers to being asked whether it is still there; that it answers is all.
            message::REQUEST_SUCCESS | message::REQUEST_FAILURE => {}
            message::CHANNEL_OPEN => self.open(reader)?,
            message::CHANNEL_OPEN_CONFIRMATION => {
                let channel = self.channels.get_mut(&reader.u32()?);
                let (peer, window) = (reader.u32()?, reader.u32()?);
                let max_packet = reader.u32()?;
                match channel {
                    Some(channel)
                        if !channel.open
                            && max_packet > 0
                            && !matches!(channel.end, End::Dialling) =>
                    {
                        channel.open = true;
                        channel.peer = peer;
                        channel.window = window;
                        channel.max_packet = max_packet;
                    }
                    _ => return Err(Error::OutOfPlace(message::CHANNEL_OPEN_CONFIRMATION)),
                }
            }
            message::CHANNEL_OPEN_FAILURE => {
                let id = reader.u32()?;
                if self.channels.get(&id).is_some_and(|channel| !channel.open) {
                    self.channels.remove(&id);
                }
            }
            message::CHANNEL_WINDOW_ADJUST => {
                let channel = self.channel(&mut reader)?;
                channel.window = channel.window.saturating_add(reader.u32()?);
            }
            message::CHANNEL_DATA => {
                let id = reader.u32()?;
                let data = reader.string()?;
                // It may be on its way while we close.
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.receive(data, &mut self.transport)?;
                }
            }
            // A client has no second stream to send.
            message::CHANNEL_EXTENDED_DATA => {}
            message::CHANNEL_EOF => {
                let id = reader.u32()?;
                if let Some(channel) = self.channels.get_mut(&id) {
                    channel.receive_end();
                }
            }
            message::CHANNEL_CLOSE => {
                let id = reader.u32()?;
                if let Some(mut channel) = self.channels.remove(&id) {
                    channel.close(&mut self.transport);
                    self.endings.extend(channel.give_up());
                }
            }
            message::CHANNEL_REQUEST => self.channel_request(reader)?,
            // We ask for nothing that is answered.
            message::CHANNEL_SUCCESS | message::CHANNEL_FAILURE => {}
            other => {
                if other < message::GLOBAL_REQUEST {
                    return Err(Error::OutOfPlace(other));
                }
                let sequence = self.transport.last_sequence();
                self.transport.send(|out| {
                    out.put_byte(message::UNIMPLEMENTED);
                    out.put_u32(sequence);
                });
            }
        }
        Ok(())
    }

    fn channel(&mut self, reader: &mut Reader<'_>) -> Result<&mut Channel, Error> {
        let id = reader.u32()?;
        self.channels
            .get_mut(&id)
            .ok_or(Error::Malformed(Malformed))
    }

    fn options(&self) -> &Options {
        &self.login.options
    }

    /// RFC 4254, section 5.1.
    fn open(&mut self, mut reader: Reader<'_>) -> Result<(), Error> {
        let kind = reader.text()?;
        let (peer, window, max_packet) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if max_packet == 0 {
            return Err(Error::Malformed(Malformed));
        }
        if self.channels.len() >= MOST_CHANNELS {
            refuse(&mut self.transport, peer, SHORTAGE, "too many channels");
            return Ok(());
        }
        match kind {
            "session" => {
                let id = self.new_id();
                let end = End::Session {
                    environment: self.environment(),
                    terminal: None,
                };
                let channel = Channel::new(peer, window, max_packet, true, end);
                self.channels.insert(id, channel);
                confirm(&mut self.transport, peer, id);
            }
            "direct-tcpip" => {
                let host = reader.text()?.to_string();
                let port = u16::try_from(reader.u32()?).map_err(|_| Malformed)?;
                if !self.options().forwarding {
                    refuse(
                        &mut self.transport,
                        peer,
                        PROHIBITED,
                        "this key may not forward",
                    );
                    return Ok(());
                }
                let id = self.new_id();
                if let Err(e) = self.dialler.dial(id, host, port) {
                    refuse(&mut self.transport, peer, SHORTAGE, &e.to_string());
                    return Ok(());
                }
                let channel = Channel::new(peer, window, max_packet, false, End::Dialling);
                self.channels.insert(id, channel);
            }
            _ => refuse(
                &mut self.transport,
                peer,
                UNKNOWN_TYPE,
                "no such type of channel here",
            ),
        }
        Ok(())
    }

    /// What every session has.
    fn environment(&self) -> Vec<(String, String)> {
        let (client, server) = (self.ends.client, self.ends.server);
        let (ip, port) = (client.ip(), client.port());
        vec![
            (
                "SSH_CLIENT".into(),
                format!("{ip} {port} {}", server.port()),
            ),
            (
                "SSH_CONNECTION".into(),
                format!("{ip} {port} {} {}", server.ip(), server.port()),
            ),
        ]
    }

    /// RFC 4254, sections 4 and 7.1.
    fn global_request(&mut self, mut reader: Reader<'_>) -> Result<(), Error> {
        let name = reader.text()?;
        let reply = reader.boolean()?;
        let answer: Option<Option<u16>> = match name {
            "tcpip-forward" => {
                let address = reader.text()?;
                let port = u16::try_from(reader.u32()?).map_err(|_| Malformed)?;
                self.listen(address, port)
                    .map(|chosen| (port == 0).then_some(chosen))
            }
            "cancel-tcpip-forward" => {
                let address = reader.text()?;
                let port = u16::try_from(reader.u32()?).map_err(|_| Malformed)?;
                let before = self.listening.len();
                self.listening
                    .retain(|place| (place.address.as_str(), place.port) != (address, port));
                (self.listening.len() < before).then_some(None)
            }
            _ => None,
        };
        if reply {
            self.transport.send(|out| match answer {
                None => out.put_byte(message::REQUEST_FAILURE),
                Some(port) => {
                    out.put_byte(message::REQUEST_SUCCESS);
                    if let Some(port) = port {
                        out.put_u32(port.into());
                    }
                }
            });
        }
        Ok(())
    }

    /// The port, when it can be listened on.
    fn listen(&mut self, address: &str, port: u16) -> Option<u16> {
        if !self.options().forwarding || self.listening.len() >= MOST_LISTENING {
            return None;
        }
        let listening = Listening::open(address, port).ok()?;
        let port = listening.port;
        self.listening.push(listening);
        Some(port)
    }

    /// RFC 4254, section 6.
    fn channel_request(&mut self, mut reader: Reader<'_>) -> Result<(), Error> {
        let id = reader.u32()?;
        let asked = Asked {
            name: reader.text()?,
            reply: reader.boolean()?,
            reader,
        };
        let reply = asked.reply;
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        if channel.is_closed() {
            return Ok(());
        }
        let peer = channel.peer;
        let done = session_request(channel, &self.login.options, asked)?;
        if reply {
            self.transport.send(|out| {
                out.put_byte(if done {
                    message::CHANNEL_SUCCESS
                } else {
                    message::CHANNEL_FAILURE
                });
                out.put_u32(peer);
            });
        }
        Ok(())
    }
}

/// Whether it was done.
fn session_request(
    channel: &mut Channel,
    options: &Options,
    asked: Asked<'_>,
) -> Result<bool, Error> {
    let mut reader = asked.reader;
    match asked.name {
        "pty-req" => {
            let request = terminal::Request::read(&mut reader)?;
            match &mut channel.end {
                End::Session { terminal, .. } if options.terminal => *terminal = Some(request),
                _ => return Ok(false),
            }
        }
        "env" => {
            let (name, value) = (reader.text()?, reader.text()?);
            match &mut channel.end {
                End::Session { environment, .. }
                    if environment.len() < MOST_VARIABLES
                        && may_set(name, options)
                        && value.len() <= LONGEST_VARIABLE
                        && !value.contains('\0') =>
                {
                    environment.push((name.to_string(), value.to_string()));
                }
                _ => return Ok(false),
            }
        }
        "shell" => return Ok(start(channel, options, Program::Shell, "")),
        "exec" => {
            let command = reader.string()?.to_vec();
            let original = String::from_utf8_lossy(&command).into_owned();
            return Ok(start(
                channel,
                options,
                Program::Command(command),
                &original,
            ));
        }
        "subsystem" => {
            let name = reader.text()?;
            if name != "sftp" {
                return Ok(false);
            }
            return Ok(start(channel, options, Program::Sftp, name));
        }
        "window-change" => {
            let size = terminal::size(&mut reader)?;
            if let End::Process(process) = &channel.end {
                process.resize(size);
            }
        }
        "signal" => match (&channel.end, signal_of(reader.text()?)) {
            (End::Process(process), Some(signal)) => process.signal(signal),
            _ => return Ok(false),
        },
        // Agents, X11, break, end-of-write, end-of-channel.
        _ => return Ok(false),
    }
    Ok(true)
}

/// Runs what was asked for, or what the key is for.
fn start(channel: &mut Channel, options: &Options, program: Program, original: &str) -> bool {
    let (program, more) = match &options.command {
        Some(command) => {
            let original = original.replace('\0', "");
            let more = vec![("SSH_ORIGINAL_COMMAND".to_string(), original)];
            (Program::Command(command.clone().into_bytes()), more)
        }
        None => (program, Vec::new()),
    };
    match channel.start(&program, &more) {
        Ok(()) => true,
        Err(e) => {
            crate::say::warning(format_args!("ssh: cannot start a program: {e}"));
            false
        }
    }
}

/// A key that is for one command must not change what that command does.
fn may_set(name: &str, options: &Options) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let harmless = name == "LANG" || name.starts_with("LC_");
    plain
        && !name.is_empty()
        && name.len() <= 64
        && (harmless
            || options.command.is_none()
                && !KEPT.contains(&name)
                && !name.starts_with("LD_")
                && !name.starts_with("SSH_"))
}
