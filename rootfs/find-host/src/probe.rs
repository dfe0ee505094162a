//! One host: SSH as far as its host keys.
//!
//! A server shows one host key in a key exchange, and signs the exchange with it; only then is it
//! known that the key is the server's, and not one that it has copied. Which kind of key that is, the
//! client chooses. So a host is asked again for its other kinds until the key that is looked for was
//! seen, or it has no more.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use russh::client::{Config, Handler, Session};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Names, Preferred, SshId};

use crate::wanted::{Wanted, fingerprint};

/// How long SSH may take with one host, all exchanges together.
const LONGEST: Duration = Duration::from_secs(5);
/// A banner has at most 255 letters (RFC 4253, 4.2).
const BANNER: usize = 255;

/// A kind of host key: a server has at most one key of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// `ssh-ed25519`
    Ed25519,
    /// `ecdsa-sha2-nistp256` and the like: a server has one of them.
    Ecdsa,
    /// `ssh-rsa`, signed with SHA-2.
    Rsa,
}

impl Family {
    /// All of them, the usual first.
    pub const ALL: [Family; 3] = [Family::Ed25519, Family::Ecdsa, Family::Rsa];

    pub(crate) fn of(algorithm: &Algorithm) -> Option<Family> {
        match algorithm {
            Algorithm::Ed25519 => Some(Family::Ed25519),
            Algorithm::Ecdsa { .. } => Some(Family::Ecdsa),
            Algorithm::Rsa { .. } => Some(Family::Rsa),
            _ => None,
        }
    }

    fn algorithms(self) -> Vec<Algorithm> {
        match self {
            Family::Ed25519 => vec![Algorithm::Ed25519],
            Family::Ecdsa => [
                EcdsaCurve::NistP256,
                EcdsaCurve::NistP384,
                EcdsaCurve::NistP521,
            ]
            .into_iter()
            .map(|curve| Algorithm::Ecdsa { curve })
            .collect(),
            Family::Rsa => [HashAlg::Sha512, HashAlg::Sha256]
                .into_iter()
                .map(|hash| Algorithm::Rsa { hash: Some(hash) })
                .collect(),
        }
    }
}

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
    let until = Instant::now() + LONGEST;
    let mut host = Host {
        address,
        banner: String::new(),
        keys: Vec::new(),
    };
    let mut families = wanted.families();
    let mut stream = Some(stream);
    while !families.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let connection = match stream.take() {
            Some(stream) => Ok(stream),
            None => again(address, left),
        };
        let Some((banner, key)) = connection.ok().and_then(|s| exchange(s, &families, left)) else {
            break;
        };
        let Some(family) = Family::of(&key.algorithm()).filter(|f| families.contains(f)) else {
            break;
        };
        families.retain(|other| *other != family);
        let key = Key {
            kind: key.algorithm().to_string(),
            fingerprint: fingerprint(&key),
        };
        host.banner = banner;
        let found = wanted.is(&key.fingerprint);
        host.keys.push(key);
        if found {
            break;
        }
    }
    (!host.keys.is_empty()).then_some(host)
}

fn again(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// One key exchange: the banner, and a key that signed it.
fn exchange(
    stream: TcpStream,
    families: &[Family],
    timeout: Duration,
) -> Option<(String, PublicKey)> {
    // Whatever russh started ends with this runtime.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let seen = Seen::default();
    let preferred = Preferred {
        key: families
            .iter()
            .flat_map(|family| family.algorithms())
            .collect::<Vec<_>>()
            .into(),
        ..Preferred::default()
    };
    let config = Arc::new(Config {
        client_id: SshId::Standard(
            concat!("SSH-2.0-kedge_", env!("CARGO_PKG_VERSION"), " find-host").into(),
        ),
        preferred,
        ..Config::default()
    });
    let handler = seen.clone();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).ok()?;
        let connect = russh::client::connect_stream(config, stream, handler);
        tokio::time::timeout(timeout, connect).await.ok()?.ok()
    });
    let seen = seen.0.lock().ok()?.clone();
    Some((seen.banner?, seen.key?))
}

#[derive(Clone, Debug, Default)]
struct Shown {
    banner: Option<String>,
    key: Option<PublicKey>,
}

/// What the server showed. russh calls here once the signature was found right.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Shown>>);

impl Handler for Seen {
    type Error = russh::Error;

    fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> impl Future<Output = Result<bool, russh::Error>> + Send {
        if let (PublicKeyOrCertificate::PublicKey { key, .. }, Ok(mut seen)) = (key, self.0.lock())
        {
            seen.key = Some(key.clone());
        }
        std::future::ready(Ok(true))
    }

    fn kex_done(
        &mut self,
        _secret: Option<&[u8]>,
        _names: &Names,
        session: &mut Session,
    ) -> impl Future<Output = Result<(), russh::Error>> + Send {
        if let Ok(mut seen) = self.0.lock() {
            let banner = session.remote_sshid().iter().take(BANNER);
            seen.banner = Some(
                banner
                    .map(|b| match b {
                        b' '..=b'~' => char::from(*b),
                        _ => '?',
                    })
                    .collect(),
            );
        }
        std::future::ready(Ok(()))
    }
}
