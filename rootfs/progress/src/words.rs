//! Sizes and times for people.

/// "740 kB", "1.1 MB", "120 MB".
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..999_500 => format!("{} kB", (bytes + 500) / 1_000),
        999_500..99_950_000 => {
            let tenths = (bytes + 50_000) / 100_000;
            format!("{}.{} MB", tenths / 10, tenths % 10)
        }
        _ => format!("{} MB", bytes.saturating_add(500_000) / 1_000_000),
    }
}

/// "5 s", "3 min", "2 h".
pub fn seconds(seconds: f64) -> String {
    let seconds = seconds.ceil().max(0.0) as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_two_or_three_digits() {
        for (count, expected) in [
            (999, "999 B"),
            (743_120, "743 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_099_999, "1.1 MB"),
            (99_949_999, "99.9 MB"),
            (99_950_000, "100 MB"),
            (u64::MAX / 2, "9223372036855 MB"),
            (u64::MAX, "18446744073709 MB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!(seconds(4.2), "5 s");
        assert_eq!(seconds(121.0), "3 min");
        assert_eq!(seconds(f64::MAX), seconds(u64::MAX as f64));
    }
}
