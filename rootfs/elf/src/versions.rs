//! Symbol versions (LSB, "Symbol Versioning"): chains of records, each of which says how far it is to the next.

use goblin::elf::dynamic::{DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM};

use crate::view::View;

pub(crate) const VERNEED_SIZE: u64 = 16;
pub(crate) const VERNAUX_SIZE: u64 = 16;
pub(crate) const VERDEF_SIZE: u64 = 20;
pub(crate) const VERDAUX_SIZE: u64 = 8;

/// `VER_FLG_BASE`: the file itself, not a version of it.
pub(crate) const BASE: u16 = 1;
/// `VER_FLG_WEAK`.
pub(crate) const WEAK: u16 = 2;

/// More than any library has; chains are not followed further.
const MOST_RECORDS: usize = 1 << 15;

/// `Verneed`.
#[derive(Debug)]
pub(crate) struct Needed {
    pub(crate) at: u64,
    pub(crate) version: u16,
    pub(crate) count: u16,
    pub(crate) file: u64,
    pub(crate) aux: u64,
    pub(crate) next: u64,
    pub(crate) names: Vec<NeededName>,
}

/// `Vernaux`.
#[derive(Debug)]
pub(crate) struct NeededName {
    pub(crate) at: u64,
    pub(crate) hash: u32,
    pub(crate) flags: u16,
    pub(crate) index: u16,
    pub(crate) name: u64,
    pub(crate) next: u64,
}

/// `Verdef`.
#[derive(Debug)]
pub(crate) struct Defined {
    pub(crate) at: u64,
    pub(crate) version: u16,
    pub(crate) flags: u16,
    pub(crate) index: u16,
    pub(crate) count: u16,
    pub(crate) hash: u32,
    pub(crate) aux: u64,
    pub(crate) next: u64,
    /// `vda_name`, `vda_next`: its own name, then those of its parents.
    pub(crate) names: Vec<(u64, u64)>,
}

/// `.gnu.version_r`.
pub(crate) fn needed(view: &View<'_>) -> Vec<Needed> {
    let (mut all, mut left) = (Vec::new(), MOST_RECORDS);
    let Some(mut at) = start(view, DT_VERNEED) else {
        return all;
    };
    let count = view.tag(DT_VERNEEDNUM).map_or(0, |e| e.value);
    while (all.len() as u64) < count && left > 0 {
        let Some(mut record) = read_needed(view, at) else {
            break;
        };
        let mut name_at = at.saturating_add(record.aux);
        while record.names.len() < usize::from(record.count) && left > 0 {
            let Some(name) = read_needed_name(view, name_at) else {
                break;
            };
            name_at = name_at.saturating_add(name.next);
            let last = name.next == 0;
            record.names.push(name);
            left -= 1;
            if last {
                break;
            }
        }
        left = left.saturating_sub(1);
        at = at.saturating_add(record.next);
        let last = record.next == 0;
        all.push(record);
        if last {
            break;
        }
    }
    all
}

/// `.gnu.version_d`.
pub(crate) fn defined(view: &View<'_>) -> Vec<Defined> {
    let (mut all, mut left) = (Vec::new(), MOST_RECORDS);
    let Some(mut at) = start(view, DT_VERDEF) else {
        return all;
    };
    let count = view.tag(DT_VERDEFNUM).map_or(0, |e| e.value);
    while (all.len() as u64) < count && left > 0 {
        let Some(mut record) = read_defined(view, at) else {
            break;
        };
        let mut name_at = at.saturating_add(record.aux);
        while record.names.len() < usize::from(record.count) && left > 0 {
            let (Some(name), Some(next)) = (view.u32(name_at), view.u32(name_at.saturating_add(4)))
            else {
                break;
            };
            record.names.push((u64::from(name), u64::from(next)));
            name_at = name_at.saturating_add(u64::from(next));
            left -= 1;
            if next == 0 {
                break;
            }
        }
        left = left.saturating_sub(1);
        at = at.saturating_add(record.next);
        let last = record.next == 0;
        all.push(record);
        if last {
            break;
        }
    }
    all
}

fn start(view: &View<'_>, tag: u64) -> Option<u64> {
    view.offset(view.tag(tag)?.value)
}

fn read_needed(view: &View<'_>, at: u64) -> Option<Needed> {
    view.part(at..at.checked_add(VERNEED_SIZE)?)?;
    Some(Needed {
        at,
        version: view.u16(at)?,
        count: view.u16(at + 2)?,
        file: view.u32(at + 4)?.into(),
        aux: view.u32(at + 8)?.into(),
        next: view.u32(at + 12)?.into(),
        names: Vec::new(),
    })
}

fn read_needed_name(view: &View<'_>, at: u64) -> Option<NeededName> {
    view.part(at..at.checked_add(VERNAUX_SIZE)?)?;
    Some(NeededName {
        at,
        hash: view.u32(at)?,
        flags: view.u16(at + 4)?,
        index: view.u16(at + 6)?,
        name: view.u32(at + 8)?.into(),
        next: view.u32(at + 12)?.into(),
    })
}

fn read_defined(view: &View<'_>, at: u64) -> Option<Defined> {
    view.part(at..at.checked_add(VERDEF_SIZE)?)?;
    Some(Defined {
        at,
        version: view.u16(at)?,
        flags: view.u16(at + 2)?,
        index: view.u16(at + 4)?,
        count: view.u16(at + 6)?,
        hash: view.u32(at + 8)?,
        aux: view.u32(at + 12)?.into(),
        next: view.u32(at + 16)?.into(),
        names: Vec::new(),
    })
}

/// The gABI's hash of a name, which versions and `DT_HASH` use.
pub(crate) fn system_v_hash(name: &[u8]) -> u32 {
    let mut hash = 0u32;
    for &byte in name {
        hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        hash = (hash ^ (high >> 24)) & !high;
    }
    hash
}
