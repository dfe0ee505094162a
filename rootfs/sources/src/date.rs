//! Dates as Release files write them (RFC 5322 and near it), and as people read them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, by this machine's clock.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Seconds since 1970 of "Sat, 11 Jul 2026 10:16:37 UTC" or "Sat, 11 Jul 2026 10:16:37 +0000".
pub(crate) fn parse(text: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let text = text.split_once(", ").map_or(text, |(_, date)| date);
    let mut words = text.split_ascii_whitespace();
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next().filter(|month| month.len() == 3)?;
    let month = MONTHS.find(month).filter(|at| at % 3 == 0)? as i64 / 3 + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut time = words
        .next()?
        .split(':')
        .map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let east = match words.next()? {
        "UTC" | "GMT" | "Z" => 0,
        zone => {
            let (sign, digits) = zone.split_at_checked(1)?;
            let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
            let east = number / 100 * 60 + number % 100;
            match sign {
                "+" => east,
                "-" => -east,
                _ => return None,
            }
        }
    };
    let fits = (1970..3000).contains(&year)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !fits {
        return None;
    }
    let days = days_from_civil(year, month, day);
    u64::try_from(days * 86400 + hour * 3600 + (minute - east) * 60 + second).ok()
}

/// "2026-07-11", in UTC.
pub(crate) fn day(seconds: u64) -> String {
    let (year, month, day) = civil_from_days((seconds / 86400) as i64);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Days since 1970 of a date of the Gregorian calendar; a year begins in March here, so that the day that is sometimes there
/// is its last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are date(1)'s.
    #[test]
    fn dates_of_release_files() {
        for (text, expected) in [
            ("Sat, 11 Jul 2026 10:16:37 UTC", Some(1_783_764_997)),
            ("Sat,  1 Mar 2025 00:00:00 +0000", Some(1_740_787_200)),
            ("Thu, 29 Feb 2024 23:30:00 -0130", Some(1_709_254_800)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("1 Jan 2100 00:00:00 Z", Some(4_102_444_800)),
            ("Sat, 11 Jul 2026 10:16:37", None),
            ("Sat, 11 anF 2026 10:16:37 UTC", None),
            ("Sat, 99 Jul 2026 10:16:37 UTC", None),
            ("tomorrow", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn every_day_is_found_again() {
        for days in 0..80_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        assert_eq!(day(1_709_254_800), "2024-03-01");
    }
}
