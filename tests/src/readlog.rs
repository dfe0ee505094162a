//! The log of nbdkit's log filter: what was read from a medium, and when.
//!
//! Standing outermost, the filter writes a request when it comes and again when it is answered, in
//! nbdkit's local time (the harness sets it to UTC):
//!
//! ```text
//! 2026-11-21 07:36:14.978133 connection=1 Read id=1 offset=0x0 count=0x200 ...
//! 2026-11-21 07:36:15.078368 connection=1 ...Read id=1 return=0
//! ```
//!
//! Not parsed: writes, trims and the answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One read request as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// When the request came.
    pub at: SystemTime,
    /// First byte.
    pub offset: u64,
    /// Bytes asked for.
    pub length: u64,
}

/// All reads from a medium, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads(pub Vec<Read>);

impl Reads {
    /// Reads the log; lines of any other kind are passed over.
    pub fn parse(log: &str) -> Self {
        Self(log.lines().filter_map(read).collect())
    }

    /// Bytes read, those read twice counted twice.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|read| read.length).sum()
    }

    /// How many reads there were of each length.
    pub fn by_length(&self) -> BTreeMap<u64, usize> {
        let mut count = BTreeMap::new();
        for read in &self.0 {
            *count.entry(read.length).or_default() += 1;
        }
        count
    }

    /// The reads that are not of `length` bytes directly behind the read before them.
    pub fn out_of_step(&self, length: u64) -> Vec<Read> {
        let mut next = 0;
        let mut found = Vec::new();
        for read in &self.0 {
            if read.length != length || read.offset != next {
                found.push(*read);
            }
            next = read.offset + read.length;
        }
        found
    }

    /// The reads that came after `time`.
    pub fn after(&self, time: SystemTime) -> Vec<Read> {
        self.0
            .iter()
            .copied()
            .filter(|read| read.at > time)
            .collect()
    }

    /// Count, bytes and sizes in one line, for people.
    pub fn summary(&self) -> String {
        let mut text = format!("{} reads, {} bytes:", self.0.len(), self.bytes());
        for (length, count) in self.by_length().iter().rev() {
            let _ = write!(text, " {count}x{length}");
        }
        text
    }
}

fn read(line: &str) -> Option<Read> {
    let (stamp, rest) = line.split_at_checked(26)?;
    let mut words = rest.split_whitespace();
    words.next()?.strip_prefix("connection=")?;
    if words.next()? != "Read" {
        return None;
    }
    let mut field = |name: &str| {
        let text = words.by_ref().find_map(|word| word.strip_prefix(name))?;
        u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
    };
    Some(Read {
        offset: field("offset=")?,
        length: field("count=")?,
        at: time(stamp)?,
    })
}

/// "2026-11-21 07:36:14.978133" in UTC.
fn time(stamp: &str) -> Option<SystemTime> {
    let mut numbers = stamp
        .split(['-', ' ', ':', '.'])
        .map(|text| text.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hours, minutes, seconds, micros) = (next()?, next()?, next()?, next()?);
    // Days since 1970-01-01 with the year beginning in March, so that the leap day is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    let seconds = ((days * 24 + hours) * 60 + minutes) * 60 + seconds;
    Some(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    // As nbdkit 1.32 wrote it.
    const LOG: &str = "\
2026-11-21 07:36:13.895601 Ready thread_model=3
2026-11-21 07:36:14.953101 Preconnect id=1 readonly=1 ...
2026-11-21 07:36:14.953328 connection=1 Connect export=\"\" tls=0 size=0x400000 write=0 flush=1
2026-11-21 07:36:14.978133 connection=1 Read id=1 offset=0x0 count=0x200 ...
2026-11-21 07:36:15.078368 connection=1 ...Read id=1 return=0
2026-11-21 07:36:15.267538 connection=1 Read id=2 offset=0x200 count=0x10000 ...
2026-11-21 07:36:15.367759 connection=1 ...Read id=2 return=0
2026-11-21 07:36:16.000000 connection=1 Read id=3 offset=0x10200 count=0x10000 ...
2026-11-21 07:36:20.896919 connection=1 Disconnect transactions=2
";

    #[test]
    fn requests_are_read_and_answers_are_not() {
        let reads = Reads::parse(LOG);
        assert_eq!(reads.0.len(), 3);
        assert_eq!(reads.bytes(), 0x20200);
        assert_eq!(reads.summary(), "3 reads, 131584 bytes: 2x65536 1x512");
        let gap = reads.0[1].at.duration_since(reads.0[0].at).unwrap();
        assert_eq!(gap, Duration::from_micros(289_405));
    }

    #[test]
    fn what_is_small_or_elsewhere_is_out_of_step() {
        let mut reads = Reads::parse(LOG);
        assert_eq!(reads.out_of_step(0x10000), [reads.0[0]]);
        reads.0[2].offset = 0;
        assert_eq!(reads.out_of_step(0x10000), [reads.0[0], reads.0[2]]);
    }

    #[test]
    fn time_is_counted_from_1970() {
        let seconds = |stamp| {
            time(stamp)
                .unwrap()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs()
        };
        assert_eq!(seconds("1970-01-01 00:00:01.000000"), 1);
        // `date -ud "2024-02-29 12:00:00" +%s`
        assert_eq!(seconds("2024-02-29 12:00:00.000000"), 1_709_208_000);
        assert_eq!(seconds("2026-11-21 07:36:14.978133"), 1_795_246_574);
    }
}
