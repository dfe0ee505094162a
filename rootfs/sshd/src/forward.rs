//! TCP connections on behalf of the client: to where it says, and from where it listens.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// How long one address may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connections under way. A name server or a host that does not answer blocks a thread, no more.
#[derive(Debug)]
pub(crate) struct Dialler {
    results: Receiver<Dialled>,
    sender: Sender<Dialled>,
    /// Readable when there is a result.
    pub(crate) wake: OwnedFd,
    waker: OwnedFd,
}

/// What came of one.
#[derive(Debug)]
pub(crate) struct Dialled {
    /// The channel that it is for.
    pub(crate) channel: u32,
    pub(crate) stream: io::Result<TcpStream>,
}

impl Dialler {
    pub(crate) fn new() -> io::Result<Self> {
        let (sender, results) = channel();
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
        let (wake, waker) = rustix::pipe::pipe_with(flags)?;
        Ok(Self {
            results,
            sender,
            wake,
            waker,
        })
    }

    /// Begins to connect.
    pub(crate) fn dial(&self, channel: u32, host: String, port: u16) -> io::Result<()> {
        let sender = self.sender.clone();
        let waker = self.waker.try_clone()?;
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || {
                let stream = connect(&host, port);
                let _ = sender.send(Dialled { channel, stream });
                let _ = rustix::io::write(&waker, &[0]);
            })?;
        Ok(())
    }

    /// What has come of them since.
    pub(crate) fn results(&self) -> impl Iterator<Item = Dialled> + '_ {
        let mut bytes = [0; 64];
        let _ = rustix::io::read(&self.wake, &mut bytes);
        self.results.try_iter()
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// Where the client wants to be called.
#[derive(Debug)]
pub(crate) struct Listening {
    /// As the client has named it.
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) sockets: Vec<TcpListener>,
}

impl Listening {
    /// Listens on this machine's own addresses only, as OpenSSH does by default: nothing but SSH
    /// itself answers the network. Port 0 is any.
    pub(crate) fn open(address: &str, port: u16) -> io::Result<Self> {
        let bind = |ip, port| {
            let socket = TcpListener::bind(SocketAddr::new(ip, port))?;
            socket.set_nonblocking(true)?;
            io::Result::Ok(socket)
        };
        let first = bind(Ipv4Addr::LOCALHOST.into(), port)?;
        let port = first.local_addr()?.port();
        let mut sockets = vec![first];
        // There may be no IPv6.
        sockets.extend(bind(Ipv6Addr::LOCALHOST.into(), port));
        Ok(Self {
            address: address.to_string(),
            port,
            sockets,
        })
    }
}
