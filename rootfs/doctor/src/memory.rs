//! Whether a file may be read into memory as a whole: a machine that is repaired may have little, and what asks for more is
//! ended.

use std::fs;

/// What no machine lacks.
const ALWAYS: u64 = 8 << 20;

/// What programs can still get (`MemAvailable` of proc_meminfo(5)), in bytes; nothing where the kernel does not say.
pub fn available() -> Option<u64> {
    available_by(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_by(meminfo: &str) -> Option<u64> {
    let mut lines = meminfo.lines();
    let line = lines.find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Whether there is room for so many bytes, and as much again for all else.
pub(crate) fn has_room(length: u64) -> bool {
    length <= ALWAYS || fits(length, available())
}

/// Where nobody says how much there is, nobody can tell.
fn fits(length: u64, available: Option<u64>) -> bool {
    available.is_none_or(|available| length <= available / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_available_may_be_taken() {
        let meminfo = "MemTotal:         200000 kB\nMemAvailable:     100000 kB\n";
        let available = available_by(meminfo);
        assert_eq!(available, Some(100_000 << 10));
        assert!(fits(50_000 << 10, available));
        assert!(!fits(51_000 << 10, available));
        assert_eq!(available_by(""), None);
        assert!(fits(u64::MAX, None) && has_room(ALWAYS) && !fits(u64::MAX, available));
    }
}
