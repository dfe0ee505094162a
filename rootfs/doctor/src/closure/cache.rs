//! `/etc/ld.so.cache`: where the dynamic linker looks before its default folders (glibc's sysdeps/generic/dl-cache.h,
//! elf/cache.c).
//!
//! Read is the format that glibc has had since 2.2, alone or behind the older one's entries, in the byte order of this machine.

use std::path::PathBuf;

/// The older format's magic; its entries are passed over.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// `cache_extension_magic`.
const EXTENSION_MAGIC: u32 = 0xeaa4_2174;
/// `cache_extension_tag_glibc_hwcaps`.
const TAG_HWCAPS: u32 = 1;
/// `DL_CACHE_HWCAP_EXTENSION`: the low half is an index into the names of the extension.
const HWCAP_EXTENSION: u64 = 1 << 62;
const MOST_EXTENSIONS: u32 = 64;

/// What one entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cached {
    /// Where the library is, below ROOT.
    pub(super) path: PathBuf,
    /// The folder of `glibc-hwcaps` that it is for ("x86-64-v3"), or some older mark of a processor.
    pub(super) hwcaps: Option<String>,
}

/// The file's bytes, of which the header has been understood.
pub(super) struct Cache {
    /// From the newer format's header on: what its offsets count from.
    bytes: Vec<u8>,
    count: usize,
    hwcaps: Vec<String>,
}

impl Cache {
    /// `Err` says what is wrong: then the dynamic linker does without it.
    pub(super) fn parse(mut bytes: Vec<u8>) -> Result<Cache, String> {
        if bytes.starts_with(OLD_MAGIC) {
            let old = word(&bytes, 12).ok_or("it ends in its header")? as usize;
            let end = old.checked_mul(12).and_then(|n| n.checked_add(16));
            let end = end.and_then(|n| n.checked_next_multiple_of(8));
            match end.filter(|&end| end <= bytes.len()) {
                Some(end) => drop(bytes.drain(..end)),
                None => return Err(format!("it is too short for its {old} entries")),
            }
        }
        if !bytes.starts_with(MAGIC) {
            return Err("it does not begin as such a file does".into());
        }
        let count = word(&bytes, 20).ok_or("it ends in its header")? as usize;
        let strings = word(&bytes, 24).ok_or("it ends in its header")? as usize;
        let end = count.checked_mul(ENTRY).and_then(|n| n.checked_add(HEADER));
        let end = end.and_then(|n| n.checked_add(strings));
        if end.is_none_or(|end| end > bytes.len()) {
            return Err(format!(
                "it has {} bytes, too few for its {count} entries",
                bytes.len()
            ));
        }
        let hwcaps = hwcaps(&bytes).unwrap_or_default();
        let cache = Cache {
            bytes,
            count,
            hwcaps,
        };
        cache.check()?;
        Ok(cache)
    }

    /// Whether the dynamic linker, which halves the list again and again, would find everything.
    fn check(&self) -> Result<(), String> {
        let mut last: Option<&[u8]> = None;
        for index in 0..self.count {
            let (key, _) = self
                .names(index)
                .ok_or_else(|| format!("entry {index} of {} leads out of it", self.count))?;
            if last.is_some_and(|last| by_version(last, key).is_lt()) {
                return Err(format!(
                    "entry {index} of {} is not in its order",
                    self.count
                ));
            }
            last = Some(key);
        }
        Ok(())
    }

    /// All entries for a library's name, in the file's order.
    pub(super) fn find<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = Cached> + 'a {
        let of = move |index| {
            let (key, value) = self.names(index)?;
            (key == name).then_some(())?;
            let low = word(&self.bytes, HEADER + index * ENTRY + 16)?;
            let high = word(&self.bytes, HEADER + index * ENTRY + 20)?;
            let bits = u64::from(high) << 32 | u64::from(low);
            let hwcaps = match bits {
                0 => None,
                _ if bits & HWCAP_EXTENSION == 0 => Some(format!("{bits:#x}")),
                _ => Some(self.hwcaps.get(low as usize).cloned().unwrap_or_default()),
            };
            Some(Cached {
                path: super::path(value),
                hwcaps,
            })
        };
        (0..self.count).filter_map(of)
    }

    fn names(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let entry = HEADER + index * ENTRY;
        let key = string(&self.bytes, word(&self.bytes, entry + 4)?)?;
        let value = string(&self.bytes, word(&self.bytes, entry + 8)?)?;
        Some((key, value))
    }
}

/// The names that the extension has for marks of processors.
fn hwcaps(bytes: &[u8]) -> Option<Vec<String>> {
    let at = word(bytes, 32).filter(|&at| at != 0)? as usize;
    (word(bytes, at)? == EXTENSION_MAGIC).then_some(())?;
    let sections = word(bytes, at.checked_add(4)?)?.min(MOST_EXTENSIONS) as usize;
    for section in 0..sections {
        let section = at.checked_add(8 + section * 16)?;
        if word(bytes, section)? != TAG_HWCAPS {
            continue;
        }
        let (from, size) = (
            word(bytes, section + 8)? as usize,
            word(bytes, section + 12)?,
        );
        let names = (0..size.min(4 * MOST_EXTENSIONS) as usize / 4).map(|index| {
            let name = string(bytes, word(bytes, from.checked_add(4 * index)?)?)?;
            Some(String::from_utf8_lossy(name).into_owned())
        });
        return names.collect();
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

fn string(bytes: &[u8], at: u32) -> Option<&[u8]> {
    let rest = bytes.get(at as usize..)?;
    // Paths are no longer than this.
    let rest = &rest[..rest.len().min(4097)];
    rest.split(|&b| b == 0)
        .next()
        .filter(|s| s.len() < rest.len())
}

/// `_dl_cache_libcmp`: as `strcmp`, but runs of digits are numbers, and come after anything else.
fn by_version(mut a: &[u8], mut b: &[u8]) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    let number = |s: &mut &[u8]| {
        let digits = s.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = s.split_at(digits);
        *s = rest;
        number.iter().fold(0u32, |n, b| {
            n.wrapping_mul(10).wrapping_add(u32::from(b - b'0'))
        })
    };
    loop {
        let (x, y) = match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (x, y) => (x.copied().unwrap_or(0), y.copied().unwrap_or(0)),
        };
        let by = match (x.is_ascii_digit(), y.is_ascii_digit()) {
            (true, true) => number(&mut a).cmp(&number(&mut b)),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                (a, b) = (&a[1..], b.get(1..).unwrap_or_default());
                (x as i8).cmp(&(y as i8))
            }
        };
        if by.is_ne() {
            return by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_this_host() -> Vec<u8> {
        std::fs::read("/etc/ld.so.cache").unwrap()
    }

    /// `ldconfig -p` is the reference.
    #[test]
    fn every_entry_is_read_as_ldconfig_reads_it() {
        let cache = Cache::parse(of_this_host()).unwrap();
        let printed = std::process::Command::new("/sbin/ldconfig")
            .arg("-p")
            .output()
            .unwrap();
        let text = String::from_utf8(printed.stdout).unwrap();
        let mut lines = 0;
        for line in text.lines().filter(|line| line.contains("=>")) {
            let (name, path) = line.trim().split_once(" => ").unwrap();
            let name = name.split(" (").next().unwrap();
            let found = cache
                .find(name.as_bytes())
                .any(|c| format!("/{}", c.path.display()) == path);
            assert!(found, "{line}");
            lines += 1;
        }
        assert_eq!(lines, cache.count);
        assert_eq!(cache.find(b"libnothing.so.1").count(), 0);
    }

    #[test]
    fn a_damaged_one_is_refused_or_read_and_never_panics() {
        let whole = of_this_host();
        let strings = whole.len() / 2;
        for end in (0..whole.len()).step_by(whole.len() / 200 + 1) {
            let cut = Cache::parse(whole[..end].to_vec());
            assert!(cut.is_err() || end > strings, "{end}");
        }
        let (mut refused, mut tried) = (0, 0);
        for bit in (0..HEADER * 8).chain((HEADER * 8..whole.len() * 8).step_by(4001)) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match Cache::parse(flipped) {
                Err(_) => refused += 1,
                Ok(cache) => drop(cache.find(b"libc.so.6").collect::<Vec<_>>()),
            }
            tried += 1;
        }
        assert!(refused > 150, "{refused} of {tried}");
    }

    #[test]
    fn the_order_is_the_dynamic_linkers() {
        use std::cmp::Ordering;
        for (a, b, expected) in [
            ("libz.so.1", "libz.so.1", Ordering::Equal),
            ("libz.so.10", "libz.so.9", Ordering::Greater),
            ("liba", "libab", Ordering::Less),
            ("lib1", "libz", Ordering::Greater),
        ] {
            assert_eq!(by_version(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
