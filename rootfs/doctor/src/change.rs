//! One thing that was done to a file's content: how it is told, and how it is undone.

use std::fmt;

/// So many bits are told one by one.
const NAMED: usize = 4;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// What is at these offsets is in each other's place.
    Exchanged {
        first: usize,
        second: usize,
        length: usize,
    },
    /// Of the bytes at these offsets the bits that are set are not as they were.
    Flipped(Vec<(usize, u8)>),
}

/// "the 4096 bytes at 0x47000 and those at 0x91000 are in each other's place", "bit 5 of the byte at 0x4c020 was flipped".
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Exchanged {
                first,
                second,
                length,
            } => write!(
                f,
                "the {length} bytes at {first:#x} and those at {second:#x} are in each other's place, blocks of a disk"
            ),
            Change::Flipped(bytes) => {
                let bits = |&(at, mask): &(usize, u8)| {
                    let set = (0..8).filter(move |bit| mask >> bit & 1 != 0);
                    set.map(move |bit| (at, bit))
                };
                let all: Vec<(usize, u32)> = bytes.iter().flat_map(bits).collect();
                let named = all.iter().take(NAMED);
                let named: Vec<String> = named
                    .map(|(at, bit)| format!("bit {bit} of the byte at {at:#x}"))
                    .collect();
                let named = named.join(", ");
                match all.len() {
                    1 => write!(f, "{named} was flipped, and nothing else"),
                    count if count <= NAMED => {
                        write!(f, "{count} bits were flipped, and nothing else: {named}")
                    }
                    count => write!(
                        f,
                        "{count} bits were flipped, and nothing else: {named}, ..."
                    ),
                }
            }
        }
    }
}

impl Change {
    /// Makes of the damaged content what it was.
    pub(crate) fn undo(&self, bytes: &mut [u8]) {
        match self {
            Change::Exchanged {
                first,
                second,
                length,
            } => {
                let (front, back) = bytes.split_at_mut(*second);
                front[*first..][..*length].swap_with_slice(&mut back[..*length]);
            }
            Change::Flipped(flipped) => flipped.iter().for_each(|(at, mask)| bytes[*at] ^= mask),
        }
    }
}
