//! A connection of one download: who was connected to, patience with silence and not with the whole, ctrl-C while
//! waiting, and whether the server sent more than it announced.
//!
//! The HTTP library lets its lowest layer be given; TLS and HTTP are its own. (Its own layer would wait without
//! asking whether somebody pressed ctrl-C, and does not say whom it connected to.)

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout,
    RustlsConnector, Transport,
};
use ureq::{Agent, Error, Timeout};

use crate::download::Settings;
use crate::error::Stopped;

/// How often somebody who waits looks whether to go on.
const TICK: Duration = Duration::from_millis(200);
/// Read from the socket at once. Larger ones gain nothing that could be measured on loopback.
pub(crate) const INPUT: usize = 128 << 10;
/// Requests are small.
pub(crate) const OUTPUT: usize = 16 << 10;

/// What the layers below HTTP saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Who was connected to: the server, or a proxy.
    pub(crate) address: Option<SocketAddr>,
    /// Since when somebody waits for content. Bytes that are none (names of chunks, what follows the last one) do not count
    /// as an answer: a server could send them for ever.
    pub(crate) waiting: Option<Instant>,
    /// Set when all that was announced has come: what comes then is too much.
    pub(crate) complete: bool,
    /// It came.
    pub(crate) surplus: bool,
}

/// Shared by the layers of one connection and who reads from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An agent for one request.
pub(crate) fn agent(config: Config, settings: &Settings, watch: &Watch) -> Agent {
    let line = Line {
        settings: settings.clone(),
        watch: watch.clone(),
    };
    let last = Last(watch.clone());
    let chain =
        ().chain(ConnectProxyConnector::default())
            .chain(line.clone())
            .chain(RustlsConnector::default())
            .chain(last);
    Agent::with_parts(config, chain, line)
}

/// Names and TCP.
#[derive(Clone, Debug)]
struct Line {
    settings: Settings,
    watch: Watch,
}

impl Resolver for Line {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        });
        let fixed = |name: &str| self.settings.resolve.iter().find(|r| r.is_for(name, port));
        let addresses = if let Some(resolve) = fixed(host) {
            vec![SocketAddr::new(resolve.address, port)]
        } else if let Ok(address) = host.parse::<IpAddr>() {
            vec![SocketAddr::new(address, port)]
        } else {
            let name = (host.to_string(), port);
            let lookup = move || Ok(name.to_socket_addrs()?.collect());
            wait(&self.settings, self.settings.connect, lookup)?
                .ok_or(Error::Timeout(Timeout::Resolve))?
        };
        let mut found = self.empty();
        for address in addresses.into_iter().take(16) {
            found.push(address);
        }
        match found.is_empty() {
            true => Err(Error::HostNotFound),
            false => Ok(found),
        }
    }
}

impl<In: Transport> Connector<In> for Line {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(through_proxy) = chained {
            return Ok(Some(Either::A(through_proxy)));
        }
        let stream = connect(&self.settings, &details.addrs)?;
        self.watch.seen().address = stream.peer_addr().ok();
        let (settings, watch) = (self.settings.clone(), self.watch.clone());
        Ok(Some(Either::B(Tcp::new(stream, settings, watch)?)))
    }
}

/// A connection to the first of `addresses` that takes one.
pub(crate) fn connect(settings: &Settings, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let began = Instant::now();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    for (number, &address) in addresses.iter().enumerate() {
        let left = settings.connect.saturating_sub(began.elapsed());
        // Each has its share of what is left, and none too little to answer at all.
        let share = left / (addresses.len() - number).max(1) as u32;
        let share = share.max(Duration::from_secs(1));
        let attempt = wait(settings, share, move || {
            TcpStream::connect_timeout(&address, share)
        });
        match attempt {
            Ok(Some(stream)) => return Ok(stream),
            Ok(None) => failures.push((address, io::ErrorKind::TimedOut.into())),
            Err(error) if is_stopped(&error) => return Err(error.into()),
            Err(error) => failures.push((address, error)),
        }
    }
    let Some(kind) = failures.first().map(|(_, error)| error.kind()) else {
        return Err(Error::HostNotFound);
    };
    let texts = failures.iter().map(|(address, error)| match error.kind() {
        io::ErrorKind::TimedOut => format!("{address} does not answer"),
        _ => format!("{address}: {error}"),
    });
    Err(io::Error::new(kind, texts.collect::<Vec<_>>().join(", ")).into())
}

fn is_stopped(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|e| e.is::<Stopped>())
}

/// Runs what may take long in a thread, which is left alone when that takes longer than `longest` (then `None`), or
/// when somebody wants this to end.
pub(crate) fn wait<T: Send + 'static>(
    settings: &Settings,
    longest: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Option<T>> {
    let (send, receive) = sync_channel(1);
    std::thread::Builder::new().spawn(move || drop(send.send(work())))?;
    let began = Instant::now();
    loop {
        match receive.recv_timeout(TICK.min(longest)) {
            Ok(done) => return done.map(Some),
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("a thread died")),
            Err(RecvTimeoutError::Timeout) => settings.check()?,
        }
        if began.elapsed() >= longest {
            return Ok(None);
        }
    }
}

/// TCP.
#[derive(Debug)]
struct Tcp {
    stream: TcpStream,
    buffers: LazyBuffers,
    settings: Settings,
    watch: Watch,
}

impl Tcp {
    fn new(stream: TcpStream, settings: Settings, watch: Watch) -> io::Result<Tcp> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(settings.silence))?;
        Ok(Tcp {
            stream,
            buffers: LazyBuffers::new(INPUT, OUTPUT),
            settings,
            watch,
        })
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        self.settings.check()?;
        let output = &self.buffers.output()[..amount];
        match (&self.stream).write_all(output) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                Err(Error::Timeout(Timeout::SendRequest))
            }
            sent => Ok(sent?),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        // Also when bytes come all the time.
        self.settings.check()?;
        let waited = self.watch.seen().waiting.map(|since| since.elapsed());
        let patience = self
            .settings
            .silence
            .checked_sub(waited.unwrap_or_default());
        let patience = patience.ok_or(Error::Timeout(timeout.reason))?;
        let longest = (*timeout.after).min(patience);
        let (began, input) = (Instant::now(), self.buffers.input_append_buf());
        let count = read(&self.stream, input, &self.settings, began, longest)?;
        let count = count.ok_or(Error::Timeout(timeout.reason))?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // No connection is used for a second request.
        false
    }
}

/// Reads what has come, waiting until `longest` after `began`; then `None`. The stream must have [`TICK`] as its timeout.
fn read(
    mut stream: &TcpStream,
    buffer: &mut [u8],
    settings: &Settings,
    began: Instant,
    longest: Duration,
) -> io::Result<Option<usize>> {
    loop {
        match stream.read(buffer) {
            Ok(count) => return Ok(Some(count)),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                settings.check()?;
                if began.elapsed() >= longest {
                    return Ok(None);
                }
            }
            Err(e) => return Err(e),
        }
    }
}

/// A connection without a protocol, whose reads end with the settings' patience.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    settings: Settings,
}

impl Raw {
    pub(crate) fn new(stream: TcpStream, settings: &Settings) -> io::Result<Raw> {
        stream.set_read_timeout(Some(TICK))?;
        Ok(Raw {
            stream,
            settings: settings.clone(),
        })
    }

    /// Who was connected to.
    pub fn address(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (began, silence) = (Instant::now(), self.settings.silence);
        read(&self.stream, buffer, &self.settings, began, silence)?
            .ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

/// The layer that HTTP sees: when a connection is given up whose answer is complete, looks whether more comes. HTTP asked
/// for its end, so that this does not wait for long.
#[derive(Debug)]
pub(crate) struct Last(pub(crate) Watch);

#[derive(Debug)]
pub(crate) struct Watched<T: Transport> {
    below: T,
    watch: Watch,
}

impl<In: Transport> Connector<In> for Last {
    type Out = Watched<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|below| Watched {
            below,
            watch: self.0.clone(),
        }))
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.below.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.below.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.below.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.below.is_open()
    }

    fn is_tls(&self) -> bool {
        self.below.is_tls()
    }
}

impl<T: Transport> Drop for Watched<T> {
    fn drop(&mut self) {
        if !self.watch.seen().complete {
            return;
        }
        let soon = NextTimeout {
            after: ureq::unversioned::transport::time::Duration::Exact(TICK),
            reason: Timeout::PerRead,
            ..NextTimeout::default()
        };
        let more = !self.below.buffers().input().is_empty()
            || self.below.await_input(soon).unwrap_or(false);
        self.watch.seen().surplus = more;
    }
}
