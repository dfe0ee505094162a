//! The process that listens. It hands each connection to a process of its own, and watches those that
//! have not logged in yet; nothing that a client sends is read here.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::access::{self, FINGERPRINT, PORT};
use crate::admission::{self, Origin};
use crate::arguments::Arguments;
use crate::connection::LOGIN;
use crate::host_key::HostKey;
use crate::protocol::random;
use crate::say;

/// How often it looks whether somebody may log in.
const LOOK: Duration = Duration::from_secs(1);

/// So many looks in a row find nobody before it stops to listen: a file that is being written is
/// empty for a moment.
const LOOKS: u32 = 3;

/// How often failed logins are told: once a minute, however many they were.
const TELL: Duration = Duration::from_secs(60);

/// A connection's process looks at its clock itself; this is for one that hangs.
const TOO_LONG: Duration = LOGIN.saturating_add(Duration::from_secs(10));

/// A connection that has not logged in.
#[derive(Debug)]
struct Beginner {
    process: Child,
    origin: Origin,
    /// A byte comes out of it at the login; its end without one is the connection's.
    news: OwnedFd,
    since: Instant,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Listener {
    arguments: Arguments,
    port: u16,
    socket: Option<TcpListener>,
    beginners: Vec<Beginner>,
    sessions: Vec<Child>,
    /// Looks in a row that found nobody.
    nobody: u32,
    failed: u32,
    refused: u32,
    told: Instant,
    /// What went wrong with listening, as it was said last.
    complaint: String,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    HostKey(#[from] crate::host_key::Error),
    #[error("cannot write to {0}: {1}")]
    Run(std::path::PathBuf, #[source] io::Error),
}

impl Listener {
    /// Makes the host key known.
    pub(crate) fn new(arguments: Arguments, port: u16) -> Result<Self, Error> {
        let key = HostKey::load_or_make(&arguments.host_key)?;
        let run = arguments.run.clone();
        let failed = |e| Error::Run(run.clone(), e);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&run)
            .map_err(failed)?;
        let _ = fs::remove_file(run.join(PORT));
        let text = format!("{}\n", key.fingerprint());
        fs::write(run.join(FINGERPRINT), text).map_err(failed)?;
        Ok(Self {
            arguments,
            port,
            socket: None,
            beginners: Vec::new(),
            sessions: Vec::new(),
            nobody: 0,
            failed: 0,
            refused: 0,
            told: Instant::now(),
            complaint: String::new(),
        })
    }

    /// Serves for ever.
    pub(crate) fn run(mut self) -> ! {
        let mut look = Instant::now();
        loop {
            if look <= Instant::now() {
                self.look();
                look = Instant::now() + LOOK;
            }
            self.wait(look.saturating_duration_since(Instant::now()));
            self.accept();
            self.watch();
        }
    }

    /// Listens while somebody may log in.
    fn look(&mut self) {
        let anybody = access::anybody(&self.arguments.authorized_keys, &self.arguments.run);
        self.nobody = if anybody {
            0
        } else {
            self.nobody.saturating_add(1)
        };
        if anybody && self.socket.is_none() {
            match listen(self.arguments.address, self.port) {
                Ok(socket) => {
                    let text = format!("{}\n", self.port);
                    let _ = fs::write(self.arguments.run.join(PORT), text);
                    say::info(format_args!("ssh: listening on port {}", self.port));
                    self.socket = Some(socket);
                    self.complaint.clear();
                }
                Err(e) => {
                    let complaint = format!("ssh: cannot listen on port {}: {e}", self.port);
                    if complaint != self.complaint {
                        say::warning(format_args!("{complaint}"));
                        self.complaint = complaint;
                    }
                }
            }
        } else if self.nobody >= LOOKS && self.socket.is_some() {
            self.socket = None;
            let _ = fs::remove_file(self.arguments.run.join(PORT));
            say::info(format_args!(
                "ssh: nobody may log in any more; not listening"
            ));
        }
        self.sessions
            .retain_mut(|process| !matches!(process.try_wait(), Ok(Some(_)) | Err(_)));
        if self.told.elapsed() >= TELL && self.failed + self.refused > 0 {
            say::info(format_args!(
                "ssh: {} connections did not log in, {} were refused for being too many",
                self.failed, self.refused
            ));
            (self.failed, self.refused) = (0, 0);
            self.told = Instant::now();
        }
    }

    fn wait(&self, time: Duration) {
        let mut fds = Vec::new();
        if let Some(socket) = &self.socket {
            fds.push(PollFd::new(socket, PollFlags::IN));
        }
        for beginner in &self.beginners {
            fds.push(PollFd::new(&beginner.news, PollFlags::IN));
        }
        let timeout = Timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: time.subsec_nanos().into(),
        };
        // However it ends, everything is looked at.
        let _ = rustix::event::poll(&mut fds, Some(&timeout));
    }

    fn accept(&mut self) {
        // Between two looks at those that wait, not more than there are places.
        for _ in 0..admission::MOST {
            let Some(socket) = &self.socket else { return };
            let (client, from) = match socket.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => {
                    // Out of descriptors or memory, or a client that has gone already: the next
                    // look may find it better, and this one must not spin.
                    std::thread::sleep(Duration::from_millis(10));
                    return;
                }
            };
            let origin = Origin::of(from.ip());
            let others: Vec<Origin> = self.beginners.iter().map(|b| b.origin).collect();
            let mut chance = [0];
            let _ = random(&mut chance);
            if !admission::admits(&others, origin, chance[0]) {
                self.refused += 1;
                continue;
            }
            match self.serve(client, origin) {
                Ok(beginner) => self.beginners.push(beginner),
                Err(e) => say::warning(format_args!("ssh: cannot serve a connection: {e}")),
            }
        }
    }

    fn serve(&self, client: TcpStream, origin: Origin) -> io::Result<Beginner> {
        let (news, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let process = Command::new("/proc/self/exe")
            .arg0("kedge")
            .args(self.arguments.for_connection())
            .stdin(OwnedFd::from(client))
            .stdout(theirs)
            .spawn()?;
        Ok(Beginner {
            process,
            origin,
            news,
            since: Instant::now(),
        })
    }

    /// Looks who has logged in, or gone.
    fn watch(&mut self) {
        let mut i = 0;
        while i < self.beginners.len() {
            let beginner = &mut self.beginners[i];
            if beginner.since.elapsed() > TOO_LONG {
                let _ = beginner.process.kill();
            }
            let mut fds = [PollFd::from_borrowed_fd(
                beginner.news.as_fd(),
                PollFlags::IN,
            )];
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let _ = rustix::event::poll(&mut fds, Some(&now));
            if fds[0].revents().is_empty() {
                i += 1;
                continue;
            }
            let mut byte = [0];
            let logged_in = matches!(rustix::io::read(&beginner.news, &mut byte), Ok(1));
            let mut beginner = self.beginners.swap_remove(i);
            self.failed += u32::from(!logged_in);
            // It ends by itself, but maybe not yet.
            if !matches!(beginner.process.try_wait(), Ok(Some(_))) {
                self.sessions.push(beginner.process);
            }
        }
    }
}

/// Listens on one address, or on all: IPv6 with IPv4, or IPv4 alone where there is no IPv6.
fn listen(address: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    match address {
        Some(address) => bind(SocketAddr::new(address, port)),
        None => bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|e| {
            match e.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                // A port that is taken is taken for IPv4, too.
                Some(rustix::io::Errno::ADDRINUSE | rustix::io::Errno::ACCESS) => Err(e),
                _ => bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
            }
        }),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED) {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 256)?;
    Ok(socket.into())
}
