//! Whether a file may be read into memory as a whole: a machine that is repaired may have little, and what asks for more is
//! ended.

use std::fs;

/// What no machine lacks.
const ALWAYS: u64 = 8 << 20;

/// Whether there is room for so many bytes, and as much again for all else.
pub(crate) fn has_room(length: u64) -> bool {
    length <= ALWAYS
        || fits(
            length,
            &fs::read_to_string("/proc/meminfo").unwrap_or_default(),
        )
}

/// By proc_meminfo(5). Where it does not say, nobody can tell.
fn fits(length: u64, meminfo: &str) -> bool {
    let available = meminfo.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("MemAvailable:")?.trim();
        kilobytes.strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    available.is_none_or(|available| length / 512 <= available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_available_may_be_taken() {
        let meminfo = "MemTotal:         200000 kB\nMemAvailable:     100000 kB\n";
        assert!(fits(50_000 << 10, meminfo));
        assert!(!fits(51_000 << 10, meminfo));
        assert!(fits(u64::MAX, "") && has_room(ALWAYS) && !fits(u64::MAX, meminfo));
    }
}
