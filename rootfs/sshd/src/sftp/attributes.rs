//! Attributes of files as SFTP has them, and the line that `ls -l` shows.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid};

use super::Failure;
use kedge_ssh_wire::{Malformed, Put, Reader};

const SIZE: u32 = 1;
const UIDGID: u32 = 2;
const PERMISSIONS: u32 = 4;
const ACMODTIME: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;

/// What a client wants a file to have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    size: Option<u64>,
    owner: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    times: Option<(u32, u32)>,
}

impl Wanted {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = reader.u32()?;
        let mut wanted = Self::default();
        if flags & SIZE != 0 {
            wanted.size = Some(reader.u64()?);
        }
        if flags & UIDGID != 0 {
            wanted.owner = Some((reader.u32()?, reader.u32()?));
        }
        if flags & PERMISSIONS != 0 {
            wanted.mode = Some(reader.u32()? & 0o7777);
        }
        if flags & ACMODTIME != 0 {
            wanted.times = Some((reader.u32()?, reader.u32()?));
        }
        if flags & EXTENDED != 0 {
            for _ in 0..reader.u32()? {
                reader.string()?;
                reader.string()?;
            }
        }
        Ok(wanted)
    }

    fn timestamps(&self) -> Option<Timestamps> {
        let (access, modification) = self.times?;
        let time = |seconds: u32| Timespec {
            tv_sec: seconds.into(),
            tv_nsec: 0,
        };
        Some(Timestamps {
            last_access: time(access),
            last_modification: time(modification),
        })
    }

    /// Sets them on an open file.
    pub(super) fn apply(&self, file: &std::fs::File) -> Result<(), Failure> {
        if let Some(size) = self.size {
            file.set_len(size)?;
        }
        if let Some((user, group)) = self.owner {
            rustix::fs::fchown(file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        // After the owner: a change of it takes set-user-id away.
        if let Some(mode) = self.mode {
            rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
        }
        if let Some(times) = self.timestamps() {
            rustix::fs::futimens(file, &times)?;
        }
        Ok(())
    }

    /// Sets them on a path, or on the link that it is.
    pub(super) fn apply_at(&self, path: &[u8], follow: bool) -> Result<(), Failure> {
        let flags = if follow {
            AtFlags::empty()
        } else {
            AtFlags::SYMLINK_NOFOLLOW
        };
        if let Some(size) = self.size {
            let file = rustix::fs::open(
                path,
                rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            rustix::fs::ftruncate(&file, size)?;
        }
        if let Some((user, group)) = self.owner {
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            rustix::fs::chownat(CWD, path, Some(user), Some(group), flags)?;
        }
        if let Some(mode) = self.mode {
            // A link has no mode of its own on Linux: the kernel says so.
            rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), flags)?;
        }
        if let Some(times) = self.timestamps() {
            rustix::fs::utimensat(CWD, path, &times, flags)?;
        }
        Ok(())
    }
}

/// A file's attributes.
pub(super) fn put(out: &mut Vec<u8>, metadata: &Metadata) {
    out.put_u32(SIZE | UIDGID | PERMISSIONS | ACMODTIME);
    out.put_u64(metadata.size());
    out.put_u32(metadata.uid());
    out.put_u32(metadata.gid());
    out.put_u32(metadata.mode());
    out.put_u32(time(metadata.atime()));
    out.put_u32(time(metadata.mtime()));
}

/// Version 3 counts until 2106.
fn time(seconds: i64) -> u32 {
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}

/// The line of `ls -l`, with `name` at its end. `now` is in seconds since 1970.
pub(super) fn long_name(metadata: &Metadata, name: &[u8], now: i64) -> Vec<u8> {
    let mode = metadata.mode();
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o060_000 => 'b',
        0o020_000 => 'c',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '-',
    };
    let mut letters = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    let mut line = format!(
        "{letters} {:>3} {:<8} {:<8} {:>8} {} ",
        metadata.nlink(),
        metadata.uid(),
        metadata.gid(),
        metadata.size(),
        date(metadata.mtime(), now)
    )
    .into_bytes();
    line.extend_from_slice(name);
    line
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `Nov 21 10:54` for the last half year, otherwise `Nov 21  2024`; UTC.
fn date(seconds: i64, now: i64) -> String {
    let days = seconds.div_euclid(86400);
    let clock = seconds.rem_euclid(86400);
    // Howard Hinnant's days-to-civil: years that begin in March have their leap day at the end.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = year_of_era + era * 400 + i64::from(month < 2);
    let month = MONTHS[usize::try_from(month).unwrap_or(0)];
    if (now - 182 * 86400..=now).contains(&seconds) {
        let (hour, minute) = (clock / 3600, clock / 60 % 60);
        format!("{month} {day:>2} {hour:02}:{minute:02}")
    } else {
        format!("{month} {day:>2} {year:>5}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against date(1): `date -u -d @N '+%b %e  %Y'`.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "Jan  1  1970"),
            (951_782_400, "Feb 29  2000"),
            (951_868_800, "Mar  1  2000"),
            (1_735_689_599, "Dec 31  2024"),
            (4_107_542_400, "Mar  1  2100"),
            (-1, "Dec 31  1969"),
        ] {
            assert_eq!(date(seconds, i64::MAX), expected);
        }
        assert_eq!(date(951_782_400 + 3660, 951_790_000), "Feb 29 01:01");
    }
}
