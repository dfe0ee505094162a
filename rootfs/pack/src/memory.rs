//! Is there room? Asked before anything is loaded.

use std::path::Path;

use kedge_pack_index::{Group, Index};

use crate::Error;
use crate::place::Place;

/// What the rest of the system needs meanwhile.
const RESERVE: u64 = 8 << 20;

/// What loading takes at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// Of memory, while it lasts.
    pub(crate) memory: u64,
    /// Of the root file system, for good.
    pub(crate) room: u64,
}

/// What these groups take: their packed bytes wait for the decoder, whose dictionary is about as large as
/// the largest group unpacked.
pub(crate) fn need(index: &Index, groups: impl Iterator<Item = usize>) -> Need {
    let groups: Vec<&Group> = groups.map(|group| &index.groups[group]).collect();
    let sum = |of: fn(&Group) -> u64| groups.iter().map(|group| of(group)).sum::<u64>();
    let unpacked = sum(|group| group.unpacked);
    let dictionary = groups.iter().map(|group| group.unpacked).max();
    Need {
        memory: unpacked
            .saturating_add(sum(|group| group.packed))
            .saturating_add(dictionary.unwrap_or(0))
            .saturating_add(RESERVE),
        room: unpacked,
    }
}

/// Checks that there is so much.
pub(crate) fn check(place: &Place, need: Need) -> Result<(), Error> {
    if let Some(available) = available(&place.proc)
        && available < need.memory
    {
        return Err(Error::Memory {
            needed: need.memory,
            available,
        });
    }
    // The root file system of the image is a tmpfs, which takes half of the memory at most.
    if let Ok(file_system) = rustix::fs::statvfs(&place.root) {
        let free = file_system.f_bavail.saturating_mul(file_system.f_frsize);
        if file_system.f_blocks > 0 && free < need.room {
            return Err(Error::Room {
                needed: need.room,
                available: free,
            });
        }
    }
    Ok(())
}

/// `MemAvailable` of proc(5), in bytes.
fn available(proc: &Path) -> Option<u64> {
    let info = std::fs::read_to_string(proc.join("meminfo")).ok()?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}
