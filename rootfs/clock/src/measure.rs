//! How far off the clock is: several samples from one server, of which the quickest counts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::sntp::{self, Error, Sample};
use crate::system::{Clock, build_date};

/// Samples when it matters: the way's delays are least where the exchange was quickest (RFC 5905, 10).
const SAMPLES: u32 = 4;
/// Between them, as NTP's own burst has it.
const PAUSE: Duration = Duration::from_secs(2);
/// An offset up to which one sample is enough, and the clock is not set but slewed.
const SMALL: u64 = 500_000_000;

/// A server's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// As it was named.
    pub server: String,
    /// Which of its addresses answered.
    pub address: SocketAddr,
    /// The best sample.
    pub best: Sample,
}

/// Asks the addresses of `server` in turn until one answers, and that one more often when the
/// clock is far off.
///
/// # Errors
/// What was wrong with the last address.
pub fn measure(server: &str, clock: &impl Clock) -> Result<Measurement, Error> {
    let addresses = sntp::resolve(server)?;
    let mut failure = Error::Silent;
    for address in addresses {
        match burst(address, clock) {
            Ok(best) => {
                return Ok(Measurement {
                    server: server.into(),
                    address,
                    best,
                });
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn burst(address: SocketAddr, clock: &impl Clock) -> Result<Sample, Error> {
    let ask = || sntp::ask(address, clock.now(), build_date());
    let mut best = ask()?;
    if best.offset.unsigned_abs() <= SMALL {
        return Ok(best);
    }
    for _ in 1..SAMPLES {
        std::thread::sleep(PAUSE);
        match ask() {
            Ok(sample) if sample.delay < best.delay => best = sample,
            Ok(_) => {}
            // It wants to be asked less often, or the way is lossy: what is known is enough.
            Err(_) => break,
        }
    }
    Ok(best)
}

/// What was done to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was set at once.
    Stepped,
    /// It runs a little faster or slower for a while.
    Slewed,
}

/// Sets the clock right.
///
/// # Errors
/// When that is not allowed.
pub fn apply(offset: i64, clock: &mut impl Clock) -> std::io::Result<Done> {
    if offset.unsigned_abs() <= SMALL {
        clock.slew(offset)?;
        return Ok(Done::Slewed);
    }
    let by = Duration::from_nanos(offset.unsigned_abs());
    let now = clock.now();
    let to = if offset < 0 {
        now.checked_sub(by)
    } else {
        now.checked_add(by)
    };
    let to = to.ok_or(std::io::ErrorKind::InvalidInput)?;
    clock.step(to.max(build_date()))?;
    Ok(Done::Stepped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::tests::Still;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_small_offset_does_not_make_the_clock_jump() {
        let mut clock = Still::at(UNIX_EPOCH);
        assert_eq!(apply(-500_000_000, &mut clock).unwrap(), Done::Slewed);
        assert_eq!((clock.steps, clock.slewed), (0, -500_000_000));
    }

    #[test]
    fn a_large_offset_is_stepped_either_way() {
        let start = build_date() + Duration::from_secs(1000);
        let by = Duration::from_nanos(500_000_001);
        let mut clock = Still::at(start);
        assert_eq!(apply(500_000_001, &mut clock).unwrap(), Done::Stepped);
        assert_eq!(clock.time, start + by);
        apply(-500_000_001, &mut clock).unwrap();
        assert_eq!((clock.time, clock.slewed), (start, 0));
    }

    #[test]
    fn no_server_sets_the_clock_to_before_the_build() {
        let mut clock = Still::at(build_date() + Duration::from_secs(1000));
        for offset in [i64::MAX, i64::MIN, -2_000_000_000_000] {
            let _ = apply(offset, &mut clock);
            assert!(clock.time >= build_date(), "{offset}");
        }
    }
}
