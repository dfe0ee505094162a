//! This machine's clocks: the kernel's, which counts, and the RTC, from which the kernel took it at
//! its start.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_settime};

/// What can be done to a clock; a test has one of its own.
pub trait Clock {
    /// The time.
    fn now(&self) -> SystemTime;
    /// Sets it at once.
    ///
    /// # Errors
    /// When that is not allowed (CAP_SYS_TIME).
    fn step(&mut self, to: SystemTime) -> io::Result<()>;
    /// Lets it run a little faster or slower until it has made up for `nanoseconds`.
    ///
    /// # Errors
    /// When that is not allowed.
    fn slew(&mut self, nanoseconds: i64) -> io::Result<()>;
}

/// The kernel's.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Clock for System {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn step(&mut self, to: SystemTime) -> io::Result<()> {
        let since = to
            .duration_since(UNIX_EPOCH)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let time = Timespec {
            tv_sec: i64::try_from(since.as_secs()).map_err(|_| io::ErrorKind::InvalidInput)?,
            tv_nsec: since.subsec_nanos().into(),
        };
        Ok(clock_settime(ClockId::Realtime, time)?)
    }

    fn slew(&mut self, nanoseconds: i64) -> io::Result<()> {
        let microseconds = nanoseconds / 1000;
        let delta = libc::timeval {
            tv_sec: microseconds / 1_000_000,
            tv_usec: microseconds % 1_000_000,
        };
        // SAFETY: adjtime reads one timeval, which lives here, and may be told to write none.
        match unsafe { libc::adjtime(&raw const delta, std::ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What the first RTC says, taken as UTC; `None` where there is none.
pub fn rtc() -> Option<SystemTime> {
    let text = std::fs::read_to_string("/sys/class/rtc/rtc0/since_epoch").ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(text.trim().parse().ok()?))
}

/// When this program was built: nothing is true that says it is earlier.
///
/// The builder fixes one time for every file of the image and hands it on as `KEDGE_EPOCH`; else it is
/// 2026-01-01.
pub fn build_date() -> SystemTime {
    const FALLBACK: u64 = 1_767_225_600;
    let seconds = option_env!("KEDGE_EPOCH").and_then(|text| text.parse().ok());
    UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or(FALLBACK))
}

/// Sets the clock to `build` when it is earlier: the RTC's battery is empty, or it was never set.
/// Says how far it was behind, or `None` when it was not.
///
/// # Errors
/// When the clock cannot be set.
pub fn at_least(build: SystemTime) -> io::Result<Option<Duration>> {
    at_least_of(&mut System, build)
}

fn at_least_of(clock: &mut impl Clock, build: SystemTime) -> io::Result<Option<Duration>> {
    match build.duration_since(clock.now()) {
        Ok(behind) if !behind.is_zero() => {
            clock.step(build)?;
            Ok(Some(behind))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A clock that stands still, and notes what was done to it.
    #[derive(Debug)]
    pub(crate) struct Still {
        pub(crate) time: SystemTime,
        pub(crate) steps: u32,
        pub(crate) slewed: i64,
    }

    impl Still {
        pub(crate) fn at(time: SystemTime) -> Still {
            Still {
                time,
                steps: 0,
                slewed: 0,
            }
        }
    }

    impl Clock for Still {
        fn now(&self) -> SystemTime {
            self.time
        }
        fn step(&mut self, to: SystemTime) -> io::Result<()> {
            self.time = to;
            self.steps += 1;
            Ok(())
        }
        fn slew(&mut self, nanoseconds: i64) -> io::Result<()> {
            self.slewed += nanoseconds;
            Ok(())
        }
    }

    #[test]
    fn the_clock_is_never_earlier_than_the_build() {
        let build = build_date();
        let mut clock = Still::at(UNIX_EPOCH);
        assert_eq!(
            at_least_of(&mut clock, build).unwrap(),
            Some(build.duration_since(UNIX_EPOCH).unwrap())
        );
        assert_eq!(clock.time, build);
        let later = build + Duration::from_secs(1);
        let mut clock = Still::at(later);
        assert_eq!(at_least_of(&mut clock, build).unwrap(), None);
        assert_eq!((clock.time, clock.steps), (later, 0));
    }
}
