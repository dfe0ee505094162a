//! An NTP server (RFC 5905, RFC 4330) that says whatever time the test wants. A real one refuses to lie,
//! and takes minutes before it says anything.
//!
//! ```ignore
//! let ntp = NtpServer::start(network.lan(), "192.0.2.1:123".parse()?, NtpAnswer::Offset(3600.0))?;
//! ntp.answer(NtpAnswer::KissOfDeath(*b"RATE"));
//! ensure!(ntp.requests().is_empty());
//! ```

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::records::{GLANCE, Records, Serving};
use crate::segment::Station;
use crate::sockets::bind_udp;

/// Seconds from 1900, where NTP's time begins, to 1970 (RFC 868).
const FROM_1900: u64 = 2_208_988_800;

/// The length of a message without extensions.
const LENGTH: usize = 48;

/// What the server says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NtpAnswer {
    /// The host's time and so many seconds.
    Offset(f64),
    /// "Go away" (stratum 0) for this reason: `RATE`, `DENY`, `RSTR`.
    KissOfDeath([u8; 4]),
    /// A time of which it says that it is not in step with any other (leap indicator 3).
    Unsynchronised(f64),
    /// The time of somebody who has not seen the question, as one who guesses answers would.
    Forged(f64),
    /// Nothing.
    Silence,
}

/// A server that runs until it is dropped.
#[derive(Debug)]
#[must_use = "the server ends when this is dropped"]
pub struct NtpServer {
    answer: Arc<Mutex<NtpAnswer>>,
    came: Arc<Records<(SystemTime, SocketAddr)>>,
    _serving: Serving,
}

impl NtpServer {
    /// Serves at an address of the station's.
    pub fn start(at: &Station, address: SocketAddr, answer: NtpAnswer) -> Result<Self> {
        let socket = bind_udp(at.namespace(), address)?;
        socket.set_read_timeout(Some(GLANCE))?;
        let answer = Arc::new(Mutex::new(answer));
        let came = Arc::new(Records::default());
        let (current, records) = (Arc::clone(&answer), Arc::clone(&came));
        let serving = Serving::start(move || {
            let mut buffer = [0; 1024];
            let Ok((length, from)) = socket.recv_from(&mut buffer) else {
                return;
            };
            let now = SystemTime::now();
            let answer = *current.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(request) = buffer[..length].first_chunk() {
                if let Some(reply) = reply(request, answer, now) {
                    // Whoever has gone needs none.
                    let _ = socket.send_to(&reply, from);
                }
                records.push((now, from));
            }
        });
        Ok(Self {
            answer,
            came,
            _serving: serving,
        })
    }

    /// Says this from now on.
    pub fn answer(&self, answer: NtpAnswer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Who has asked so far, and when.
    pub fn requests(&self) -> Vec<(SystemTime, SocketAddr)> {
        self.came.all()
    }

    /// Waits until there were `count` requests; gives all of them.
    pub fn wait_for(
        &self,
        count: usize,
        timeout: Duration,
    ) -> Result<Vec<(SystemTime, SocketAddr)>> {
        self.came.wait_for("NTP requests", count, timeout)
    }
}

/// The answer to a client's message (RFC 5905, 7.3), if it is one.
fn reply(request: &[u8; LENGTH], answer: NtpAnswer, now: SystemTime) -> Option<[u8; LENGTH]> {
    let (version, mode) = (request[0] >> 3 & 7, request[0] & 7);
    if mode != 3 {
        return None;
    }
    let mut reply = [0; LENGTH];
    let (leap, stratum, reference, offset) = match answer {
        NtpAnswer::Offset(offset) | NtpAnswer::Forged(offset) => (0, 1, *b"LOCL", offset),
        NtpAnswer::Unsynchronised(offset) => (3, 16, *b"INIT", offset),
        NtpAnswer::KissOfDeath(reason) => (3, 0, reason, 0.0),
        NtpAnswer::Silence => return None,
    };
    reply[0] = leap << 6 | version << 3 | 4;
    reply[1] = stratum;
    // Poll interval as asked, precision 2^-20 s; root delay and dispersion stay 0.
    reply[2] = request[2];
    reply[3] = (-20_i8).cast_unsigned();
    reply[12..16].copy_from_slice(&reference);
    let time = timestamp(now, offset);
    reply[16..24].copy_from_slice(&time);
    if !matches!(answer, NtpAnswer::Forged(_)) {
        // Originate: the client's transmit time, by which it knows its own question.
        reply[24..32].copy_from_slice(&request[40..48]);
    }
    reply[32..40].copy_from_slice(&time);
    reply[40..48].copy_from_slice(&time);
    Some(reply)
}

/// Seconds since 1900 modulo 2^32, and their fraction.
fn timestamp(now: SystemTime, offset: f64) -> [u8; 8] {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let shift = Duration::from_secs_f64(offset.abs());
    let since = if offset < 0.0 {
        since.saturating_sub(shift)
    } else {
        since + shift
    };
    let seconds = u128::from(since.as_secs() + FROM_1900) % (1 << 32);
    let fraction = (u128::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    let stamp = (seconds << 32 | fraction) as u64;
    stamp.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Folder, Network};

    fn request() -> [u8; LENGTH] {
        let mut request = [0; LENGTH];
        // Version 4, client.
        request[0] = 4 << 3 | 3;
        request[40..48].copy_from_slice(b"originat");
        request
    }

    #[test]
    fn time_is_counted_from_1900() {
        // RFC 868: 2,629,584,000 is 1 May 1983, 00:00.
        let may = UNIX_EPOCH + Duration::from_secs(420_595_200);
        assert_eq!(timestamp(may, 0.0)[..4], 2_629_584_000_u32.to_be_bytes());
        assert_eq!(timestamp(may, -0.5)[..4], 2_629_583_999_u32.to_be_bytes());
        assert_eq!(timestamp(may, -0.5)[4..], 0x8000_0000_u32.to_be_bytes());
        // From 2036 on the seconds begin again (era 1).
        let later = UNIX_EPOCH + Duration::from_secs((1 << 32) - FROM_1900 + 7);
        assert_eq!(timestamp(later, 0.0)[..4], [0, 0, 0, 7]);
    }

    #[test]
    fn a_reply_knows_its_question_unless_it_is_forged() {
        let now = SystemTime::now();
        let good = reply(&request(), NtpAnswer::Offset(0.0), now).unwrap();
        assert_eq!((good[0], good[1]), (4 << 3 | 4, 1));
        assert_eq!(&good[24..32], b"originat");
        let forged = reply(&request(), NtpAnswer::Forged(0.0), now).unwrap();
        assert_ne!(&forged[24..32], b"originat");
        let death = reply(&request(), NtpAnswer::KissOfDeath(*b"RATE"), now).unwrap();
        assert_eq!(
            (death[0] >> 6, death[1], &death[12..16]),
            (3, 0, &b"RATE"[..])
        );
        assert_eq!(reply(&[0; LENGTH], NtpAnswer::Offset(0.0), now), None);
        assert_eq!(reply(&request(), NtpAnswer::Silence, now), None);
    }

    #[test]
    fn a_client_in_the_network_is_answered_as_the_test_wants() -> Result<()> {
        let folder = Folder::new("unit.ntp.answered")?;
        let network = Network::new(folder.path())?;
        let at = "192.0.2.1:123".parse()?;
        let server = NtpServer::start(network.lan(), at, NtpAnswer::Offset(1e6))?;
        let guest = network.lan().neighbour(&["192.0.2.9/24"])?;
        let socket = bind_udp(guest.namespace(), "192.0.2.9:0".parse()?)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut answer = [0; 100];
        socket.send_to(&request(), at)?;
        assert_eq!(socket.recv(&mut answer)?, LENGTH);
        let told = u32::from_be_bytes(answer[40..44].try_into()?);
        let now = timestamp(SystemTime::now(), 0.0);
        let ahead = told.wrapping_sub(u32::from_be_bytes(now[..4].try_into()?));
        assert!((999_900..=1_000_000).contains(&ahead), "{ahead}");
        server.answer(NtpAnswer::KissOfDeath(*b"DENY"));
        socket.send_to(&request(), at)?;
        socket.recv(&mut answer)?;
        assert_eq!(answer[1], 0);
        assert_eq!(server.wait_for(2, Duration::from_secs(20))?.len(), 2);
        Ok(())
    }
}
