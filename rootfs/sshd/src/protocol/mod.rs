//! The SSH protocol up to the login: RFC 4253 (transport), 8731 (key exchange), 8308 (extensions),
//! 4252 (authentication), and OpenSSH's PROTOCOL file (ciphers, strict key exchange).
//!
//! Only what every client of the last ten years speaks is here; [`crate`] says why it is our own.

pub(crate) mod agreement;
pub(crate) mod authentication;
pub(crate) mod cipher;
pub(crate) mod key_exchange;
pub(crate) mod transport;

use std::io;

use kedge_ssh_wire::Malformed;

/// The numbers of messages, by their names in the RFCs.
pub(crate) mod message {
    pub(crate) const DISCONNECT: u8 = 1;
    pub(crate) const IGNORE: u8 = 2;
    pub(crate) const UNIMPLEMENTED: u8 = 3;
    pub(crate) const DEBUG: u8 = 4;
    pub(crate) const SERVICE_REQUEST: u8 = 5;
    pub(crate) const SERVICE_ACCEPT: u8 = 6;
    pub(crate) const EXT_INFO: u8 = 7;
    pub(crate) const KEXINIT: u8 = 20;
    pub(crate) const NEWKEYS: u8 = 21;
    pub(crate) const KEX_ECDH_INIT: u8 = 30;
    pub(crate) const KEX_ECDH_REPLY: u8 = 31;
    pub(crate) const USERAUTH_REQUEST: u8 = 50;
    pub(crate) const USERAUTH_FAILURE: u8 = 51;
    pub(crate) const USERAUTH_SUCCESS: u8 = 52;
    pub(crate) const USERAUTH_PK_OK: u8 = 60;
    pub(crate) const GLOBAL_REQUEST: u8 = 80;
    pub(crate) const REQUEST_SUCCESS: u8 = 81;
    pub(crate) const REQUEST_FAILURE: u8 = 82;
    pub(crate) const CHANNEL_OPEN: u8 = 90;
    pub(crate) const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
    pub(crate) const CHANNEL_OPEN_FAILURE: u8 = 92;
    pub(crate) const CHANNEL_WINDOW_ADJUST: u8 = 93;
    pub(crate) const CHANNEL_DATA: u8 = 94;
    pub(crate) const CHANNEL_EXTENDED_DATA: u8 = 95;
    pub(crate) const CHANNEL_EOF: u8 = 96;
    pub(crate) const CHANNEL_CLOSE: u8 = 97;
    pub(crate) const CHANNEL_REQUEST: u8 = 98;
    pub(crate) const CHANNEL_SUCCESS: u8 = 99;
    pub(crate) const CHANNEL_FAILURE: u8 = 100;
}

/// Reasons to disconnect (RFC 4253, section 11.1).
pub(crate) mod reason {
    pub(crate) const PROTOCOL_ERROR: u32 = 2;
    pub(crate) const KEY_EXCHANGE_FAILED: u32 = 3;
    pub(crate) const NO_MORE_AUTH_METHODS_AVAILABLE: u32 = 14;
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the client closed the connection")]
    Closed,
    #[error("the client said that it ends the connection")]
    Disconnected,
    #[error("the connection broke: {0}")]
    Socket(#[source] io::Error),
    #[error("the client does not speak SSH 2.0")]
    Version,
    #[error("a packet has an impossible length")]
    PacketLength,
    #[error("a packet was changed on its way")]
    Forged,
    #[error("the client never changes its keys")]
    KeyUsedUp,
    #[error("the client knows no {0} that is known here")]
    NothingInCommon(&'static str),
    #[error("the client's part of the key exchange makes no sense")]
    KeyExchange,
    #[error("the client took too long")]
    Late,
    #[error("message {0} is out of place")]
    OutOfPlace(u8),
    #[error("too many attempts to log in")]
    Attempts,
    #[error("the client does not answer any more")]
    Dead,
    #[error("the client ignores flow control")]
    Flood,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no randomness: {0}")]
    Random(#[source] io::Error),
}

impl Error {
    /// Which reason to tell the client, if it still listens.
    pub(crate) fn reason(&self) -> Option<u32> {
        match self {
            Self::Closed | Self::Disconnected | Self::Socket(_) | Self::Late | Self::Dead => None,
            Self::NothingInCommon(_) | Self::KeyExchange => Some(reason::KEY_EXCHANGE_FAILED),
            Self::Attempts => Some(reason::NO_MORE_AUTH_METHODS_AVAILABLE),
            _ => Some(reason::PROTOCOL_ERROR),
        }
    }
}

/// Fills `bytes` from the kernel's generator.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// A length as the protocol counts it. No buffer here is near 4 GiB.
pub(crate) fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
