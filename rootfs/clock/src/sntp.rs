//! SNTP: asking one server for the time (RFC 4330, and RFC 5905 section 14).
//!
//! The request holds nothing about this machine: its transmit timestamp is 64 random bits, by which
//! the answer is told from one that somebody else made up (RFC 5905, 6: the "origin timestamp" must
//! match), and this machine's time is remembered here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::utc::Utc;

/// The port of NTP.
pub const PORT: u16 = 123;
/// The header, which is all there is without keys.
const LENGTH: usize = 48;
/// Leap indicator, version 4, mode 3 (client).
const REQUEST: u8 = 0b00_100_011;
const MODE_SERVER: u8 = 4;
const LEAP_UNKNOWN: u8 = 3;
/// Higher strata are not synchronised.
const STRATUM_MAX: u8 = 15;
/// A server that is further from its reference than this cannot be relied upon (RFC 5905, MAXDIST
/// is 1.5 s; SNTP may be more patient).
const DISTANCE_MAX: f64 = 8.0;
/// Seconds from 1900, where NTP begins to count, to 1970.
const NTP_TO_UNIX: i64 = 2_208_988_800;
/// Nanoseconds by which two clocks may differ in the length of one exchange.
const GRAIN: i128 = 50_000_000;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// Why there is no time from a server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is unknown.
    #[error("its name is not known: {0}")]
    Name(io::Error),
    /// The socket says why.
    #[error("no answer: {0}")]
    Socket(#[from] io::Error),
    /// Nothing came.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// An answer that says not to use it.
    #[error("it answers, but {0}")]
    Refused(#[from] Refusal),
}

/// Why an answer is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A kiss code (RFC 5905, 7.4), such as RATE.
    #[error("does not want to be asked ({0})")]
    Kiss(String),
    /// Leap 3, a stratum that means so, or a reference that is far away.
    #[error("says that its own clock is not set")]
    NotSynchronised,
    /// Its time cannot be.
    #[error("says that it is {0}, before this system was built")]
    BeforeBuild(String),
}

/// What one exchange gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How far this machine's clock is behind the server's, in nanoseconds.
    pub offset: i64,
    /// How long the question and the answer were on their way, in nanoseconds.
    pub delay: i64,
    /// How far the server is from a reference clock.
    pub stratum: u8,
}

/// The addresses of `HOST`, `HOST:PORT`, an address or `[ADDRESS]:PORT`.
///
/// # Errors
/// When the name is not known.
pub fn resolve(server: &str) -> Result<Vec<SocketAddr>, Error> {
    let (host, port) = split(server);
    let addresses: Vec<_> = (host, port)
        .to_socket_addrs()
        .map_err(Error::Name)?
        .take(ADDRESSES)
        .collect();
    if addresses.is_empty() {
        return Err(Error::Name(io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

fn split(server: &str) -> (&str, u16) {
    if server.parse::<Ipv6Addr>().is_ok() {
        return (server, PORT);
    }
    if let Some((host, port)) = server.rsplit_once(':')
        && let Ok(port) = port.parse()
        && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
    {
        return (host.trim_start_matches('[').trim_end_matches(']'), port);
    }
    (server.trim_start_matches('[').trim_end_matches(']'), PORT)
}

/// Asks one address once.
///
/// # Errors
/// When there is no answer, or none to use.
pub fn ask(server: SocketAddr, now: SystemTime, build: SystemTime) -> Result<Sample, Error> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Answers from elsewhere do not come through, and an unreachable server is told at once.
    socket.connect(server)?;
    let mut secret = [0; 8];
    getrandom(&mut secret, GetRandomFlags::empty()).map_err(io::Error::from)?;
    let began = Instant::now();
    socket.send(&request(secret))?;
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Error::Silent);
        }
        socket.set_read_timeout(Some(left))?;
        let mut answer = [0; 512];
        let length = match socket.recv(&mut answer) {
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(Error::Silent),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        let elapsed = began.elapsed();
        // What is no answer to this question may be somebody's guess: the true one may still come.
        if let Some(reply) = Reply::parse(&answer[..length], secret) {
            return Ok(reply.sample(now, elapsed, build)?);
        }
    }
}

fn request(secret: [u8; 8]) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = REQUEST;
    packet[40..48].copy_from_slice(&secret);
    packet
}

/// An answer to our question; not yet that it can be used.
#[derive(Debug)]
struct Reply {
    leap: u8,
    stratum: u8,
    distance: f64,
    reference: [u8; 4],
    received: u64,
    sent: u64,
}

impl Reply {
    fn parse(packet: &[u8], secret: [u8; 8]) -> Option<Reply> {
        let header: &[u8; LENGTH] = packet.get(..LENGTH)?.try_into().ok()?;
        let word = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_be_bytes(bytes)
        };
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        if header[0] & 7 != MODE_SERVER || header[24..32] != secret {
            return None;
        }
        // Root delay and dispersion, in seconds with 16 bits of fraction.
        let short = |at: usize| f64::from(word(at)) / 65_536.0;
        Some(Reply {
            leap: header[0] >> 6,
            stratum: header[1],
            distance: short(4) / 2.0 + short(8),
            reference: [header[12], header[13], header[14], header[15]],
            received: long(32),
            sent: long(40),
        })
    }

    fn sample(
        &self,
        asked: SystemTime,
        elapsed: Duration,
        build: SystemTime,
    ) -> Result<Sample, Refusal> {
        if self.stratum == 0 {
            let code = self.reference.iter().take_while(|b| b.is_ascii_graphic());
            return Err(Refusal::Kiss(code.map(|b| char::from(*b)).collect()));
        }
        if self.leap == LEAP_UNKNOWN
            || self.stratum > STRATUM_MAX
            || self.distance > DISTANCE_MAX
            || self.sent == 0
        {
            return Err(Refusal::NotSynchronised);
        }
        let build = nanoseconds(build);
        let (received, sent) = (unix(self.received, build), unix(self.sent, build));
        if sent < build {
            let time = UNIX_EPOCH + Duration::from_nanos(sent.max(0).unsigned_abs() as u64);
            return Err(Refusal::BeforeBuild(Utc(time).to_string()));
        }
        let asked = nanoseconds(asked);
        let answered = asked + elapsed.as_nanos().cast_signed();
        let offset = ((received - asked) + (sent - answered)) / 2;
        let delay = (answered - asked) - (sent - received);
        // It cannot have thought about it for longer than the exchange took.
        if sent < received || delay < -GRAIN {
            return Err(Refusal::NotSynchronised);
        }
        let clamp = |n: i128| n.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        Ok(Sample {
            offset: clamp(offset),
            // Less than nothing is what two clocks' grain makes of a short way.
            delay: clamp(delay.max(0)),
            stratum: self.stratum,
        })
    }
}

/// Nanoseconds since 1970.
fn nanoseconds(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos().cast_signed(),
        Err(before) => -before.duration().as_nanos().cast_signed(),
    }
}

/// The time of an NTP timestamp, in nanoseconds since 1970. Its 32 bits of seconds come round in
/// 2036: the time meant is the one that is within 68 years of the build.
fn unix(timestamp: u64, build: i128) -> i128 {
    let seconds = (timestamp >> 32) as u32;
    let fraction = timestamp & 0xffff_ffff;
    let build_seconds = (build / 1_000_000_000) as i64;
    let build_ntp = (build_seconds + NTP_TO_UNIX) as u32;
    let ahead = seconds.wrapping_sub(build_ntp).cast_signed();
    let seconds = i128::from(build_seconds) + i128::from(ahead);
    seconds * 1_000_000_000 + i128::from((fraction * 1_000_000_000) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::build_date;

    const SECRET: [u8; 8] = *b"4random!";

    /// An answer as a server that is set would send it, at `seconds` after the build.
    fn answer(secret: [u8; 8], seconds: i64) -> [u8; LENGTH] {
        let ntp = (Utc(build_date()).unix() + NTP_TO_UNIX + seconds) as u32;
        let mut packet = [0; LENGTH];
        packet[0] = 0b00_100_100;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&secret);
        packet[32..36].copy_from_slice(&ntp.to_be_bytes());
        packet[40..44].copy_from_slice(&ntp.to_be_bytes());
        packet
    }

    fn sample(packet: &[u8]) -> Result<Sample, Refusal> {
        let reply = Reply::parse(packet, SECRET).expect("an answer to the question");
        reply.sample(build_date(), Duration::from_millis(500), build_date())
    }

    #[test]
    fn the_offset_is_from_the_middle_of_the_exchange() {
        let got = sample(&answer(SECRET, 100)).unwrap();
        assert_eq!(
            got,
            Sample {
                offset: 99_750_000_000,
                delay: 500_000_000,
                stratum: 2
            }
        );
    }

    #[test]
    fn the_year_2036_comes_and_goes() {
        let years = 11 * 31_557_600;
        let got = sample(&answer(SECRET, years)).unwrap();
        assert_eq!(got.offset, years * 1_000_000_000 - 250_000_000);
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let good = answer(SECRET, 0);
        assert!(Reply::parse(&good, *b"5random!").is_none());
        assert!(Reply::parse(&good[..47], SECRET).is_none());
        assert!(Reply::parse(&[], SECRET).is_none());
        // Mode 5 is a broadcast, 3 our own question come back.
        for mode in [0, 1, 2, 3, 5, 6, 7] {
            let mut packet = good;
            packet[0] = 0b00_100_000 | mode;
            assert!(Reply::parse(&packet, SECRET).is_none(), "{mode}");
        }
    }

    #[test]
    fn a_server_that_should_not_be_used_is_not() {
        let with = |change: fn(&mut [u8; LENGTH])| {
            let mut packet = answer(SECRET, 0);
            change(&mut packet);
            sample(&packet).unwrap_err()
        };
        let unset = Refusal::NotSynchronised;
        assert_eq!(with(|p| p[0] |= 0b11_000_000), unset);
        assert_eq!(with(|p| p[1] = 16), unset);
        assert_eq!(with(|p| p[1] = 255), unset);
        // 9 s of dispersion.
        assert_eq!(with(|p| p[9] = 9), unset);
        assert_eq!(with(|p| p[40..48].fill(0)), unset);
        // Sent before it was received, and received a minute before it was sent.
        assert_eq!(with(|p| p[35] += 1), unset);
        assert_eq!(with(|p| p[35] -= 60), unset);
        let kiss = with(|p| {
            p[1] = 0;
            p[12..16].copy_from_slice(b"RATE");
        });
        assert_eq!(kiss, Refusal::Kiss("RATE".into()));
        let escape = with(|p| {
            p[1] = 0;
            p[12..16].copy_from_slice(b"\x1b[2J");
        });
        assert_eq!(escape, Refusal::Kiss(String::new()));
        assert_eq!(
            sample(&answer(SECRET, -86_400)).unwrap_err(),
            Refusal::BeforeBuild("2025-12-31T00:00:00Z".into())
        );
    }

    #[test]
    fn a_question_tells_nothing_of_this_machine() {
        let packet = request(SECRET);
        assert_eq!(packet[0], 0x23);
        assert!(packet[1..40].iter().all(|b| *b == 0));
        assert_eq!(packet[40..], SECRET);
    }

    #[test]
    fn a_port_may_follow_the_server() {
        for (given, host, port) in [
            ("a.example", "a.example", 123),
            ("a.example:1123", "a.example", 1123),
            ("192.0.2.1:5", "192.0.2.1", 5),
            ("2001:db8::1", "2001:db8::1", 123),
            ("[2001:db8::1]", "2001:db8::1", 123),
            ("[2001:db8::1]:5", "2001:db8::1", 5),
            ("fe80::1%eth0", "fe80::1%eth0", 123),
        ] {
            assert_eq!(split(given), (host, port), "{given}");
        }
    }
}
