//! One host: SSH as far as its host keys.
//!
//! A server shows one host key in a key exchange, and signs the exchange with it; only then is it
//! known that the key is the server's, and not one that it has copied. Which kind of key that is, the
//! client chooses. So a host is asked again for its other kinds until the key that is looked for was
//! seen, or it has no more.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::host_key::{fingerprint, type_of};
use crate::ssh;
use crate::wanted::Wanted;

/// How long SSH may take with one host, all exchanges together.
const LONGEST: Duration = Duration::from_secs(5);

/// A host key that a server proved to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its type, such as `ssh-ed25519`.
    pub kind: String,
    /// As OpenSSH prints it.
    pub fingerprint: String,
}

/// What an open port turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where.
    pub address: SocketAddr,
    /// What it calls itself, such as `SSH-2.0-OpenSSH_9.2`; printable ASCII.
    pub banner: String,
    /// Its keys: all of them, or those up to the first that is looked for.
    pub keys: Vec<Key>,
}

/// Asks one host; `None` when no SSH came of it. Takes at most five seconds.
pub fn probe(stream: TcpStream, address: SocketAddr, wanted: &Wanted) -> Option<Host> {
    let deadline = Instant::now() + LONGEST;
    let mut host = Host {
        address,
        banner: String::new(),
        keys: Vec::new(),
    };
    let mut families = wanted.families();
    let mut connection = stream.set_nonblocking(false).map(|()| stream);
    while let Ok(stream) = connection {
        let Ok(shown) = ssh::host_key(stream, &families, deadline) else {
            break;
        };
        families.retain(|family| *family != shown.family && shown.offers.contains(family));
        host.banner = shown.version.iter().map(|b| printable(*b)).collect();
        let fingerprint = fingerprint(&shown.blob);
        let found = wanted.is(&fingerprint);
        host.keys.push(Key {
            kind: type_of(&shown.blob).unwrap_or_default().to_string(),
            fingerprint,
        });
        if found || families.is_empty() {
            break;
        }
        connection = again(address, deadline);
    }
    (!host.keys.is_empty()).then_some(host)
}

fn again(address: SocketAddr, deadline: Instant) -> io::Result<TcpStream> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    TcpStream::connect_timeout(&address, left)
}

fn printable(byte: u8) -> char {
    match byte {
        b' '..=b'~' => char::from(byte),
        _ => '?',
    }
}
