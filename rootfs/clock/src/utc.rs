//! Time as people and programs read it: `2026-01-01T00:00:00Z` (RFC 3339), UTC always.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc(pub SystemTime);

impl Utc {
    /// Seconds since 1970; negative before.
    pub fn unix(self) -> i64 {
        match self.0.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => {
                -i64::try_from(before.duration().as_secs_f64().ceil() as u64).unwrap_or(i64::MAX)
            }
        }
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix = self.unix();
        let (year, month, day) = date(unix.div_euclid(86_400));
        let second = unix.rem_euclid(86_400);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Year, month and day of the day that is so many days after 1970-01-01, in the Gregorian
/// calendar: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn date(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin on a 1st of March, so that a leap day ends a year.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn it_is_the_date_that_date_prints() {
        for unix in [
            0,
            951_782_399,
            951_782_400,
            1_709_251_199,
            1_767_225_600,
            4_107_542_400,
            9_999_999_999,
        ] {
            let output = Command::new("date")
                .args(["--utc", "+%Y-%m-%dT%H:%M:%SZ", "--date"])
                .arg(format!("@{unix}"))
                .output()
                .unwrap();
            let time = Utc(UNIX_EPOCH + Duration::from_secs(unix));
            assert_eq!(
                time.to_string(),
                String::from_utf8(output.stdout).unwrap().trim()
            );
        }
        let before = Utc(UNIX_EPOCH - Duration::from_millis(500));
        assert_eq!(before.to_string(), "1969-12-31T23:59:59Z");
    }
}
