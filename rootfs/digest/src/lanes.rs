//! MD5 (RFC 1321) of several contents side by side.
//!
//! Each step of MD5 waits for the one before it, and there are 64 of them for 64 bytes: a processor that hashes one content does
//! little else than wait. With eight contents in the eight lanes of a register it waits for eight at once. A package database
//! has many thousands of files, so there are always eight.
//!
//! Who uses this keeps a [`Content`] for each, fills all of them, and hashes what all of them have with [`hash_all`].

#[cfg(target_arch = "x86_64")]
mod avx2;
mod rounds;
mod words;

use std::io;

use crate::Digest;
use rounds::blocks;
use words::{Plain, wide};

/// How many contents are hashed at once.
pub const LANES: usize = 8;

/// MD5 takes so many bytes at a time.
const BLOCK: usize = 64;

/// The most that [`pad`] writes.
const MOST_PADDING: usize = BLOCK + 8;

/// What is known of one content so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane([u32; 4]);

impl Default for Lane {
    /// Nothing hashed yet (section 3.3).
    fn default() -> Lane {
        Lane([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476])
    }
}

impl Lane {
    /// Adds contents of one length, whole blocks of MD5, each to its lane.
    pub(crate) fn add_all(lanes: &mut [Lane], contents: &[&[u8]]) {
        let count = contents.first().map_or(0, |first| first.len() / BLOCK);
        let mut lanes: Vec<&mut Lane> = lanes.iter_mut().collect();
        hash(&mut lanes, contents, count);
    }

    /// The digest of a content of `length` bytes, of which the last ones are still to be added.
    pub(crate) fn end(mut self, last: &[u8], length: u64) -> Digest {
        let mut room = last.to_vec();
        room.resize(last.len() + MOST_PADDING, 0);
        let padding = pad(length, &mut room[last.len()..]);
        Lane::add_all(
            std::slice::from_mut(&mut self),
            &[&room[..last.len() + padding]],
        );
        self.finish()
    }

    /// The digest, when what [`pad`] wrote was hashed too.
    fn finish(self) -> Digest {
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Digest::Md5(digest)
    }
}

/// Writes what belongs behind a content of `length` bytes: a one, zeros up to eight bytes before the end of a block, and the length
/// in bits (sections 3.1, 3.2). Returns how many bytes these are.
///
/// # Panics
/// Where `room` has fewer than [`MOST_PADDING`] bytes.
fn pad(length: u64, room: &mut [u8]) -> usize {
    let filled = (length % BLOCK as u64) as usize;
    let zeros = (2 * BLOCK - 9 - filled) % BLOCK;
    room[0] = 0x80;
    room[1..=zeros].fill(0);
    let bits = length.wrapping_mul(8).to_le_bytes();
    room[1 + zeros..][..8].copy_from_slice(&bits);
    zeros + 9
}

/// Hashes the first `count` blocks of each content, and adds that to its lane.
///
/// # Panics
/// Where there are more contents or lanes than [`LANES`], other than as many of both, or a content is shorter.
fn hash(lanes: &mut [&mut Lane], contents: &[&[u8]], count: usize) {
    assert_eq!(lanes.len(), contents.len());
    let length = count * BLOCK;
    match contents {
        [] => {}
        // Alone it is done sooner without seven others.
        [content] => {
            let mut state = lanes[0].0.map(|word| Plain([word]));
            blocks(&mut state, &[&content[..length]]);
            lanes[0].0 = state.map(|Plain([word])| word);
        }
        [first, ..] => {
            // Lanes that nobody needs compute the first again.
            let mut state = [[0; LANES]; 4];
            let mut slices = [&first[..length]; LANES];
            for (index, (lane, content)) in lanes.iter().zip(contents).enumerate() {
                slices[index] = &content[..length];
                (0..4).for_each(|word| state[word][index] = lane.0[word]);
            }
            wide(&mut state, &slices);
            for (index, lane) in lanes.iter_mut().enumerate() {
                lane.0 = state.map(|words| words[index]);
            }
        }
    }
}

/// One read: of all contents together, small enough to stay in the processor's second cache until it is hashed.
const PIECE: usize = 32 << 10;

/// Room for a piece, what is left of the one before it, and the padding.
pub fn room() -> Box<[u8]> {
    vec![0; BLOCK + PIECE + MOST_PADDING].into()
}

/// One content, as it is read.
#[derive(Debug)]
pub struct Content {
    lane: Lane,
    /// What was read and not yet hashed is at `start..end` of it.
    room: Box<[u8]>,
    start: usize,
    end: usize,
    /// How much was read.
    length: u64,
    /// The padding is there.
    ended: bool,
}

impl Content {
    /// Nothing of it read yet; `room` is what [`room`] makes.
    pub fn new(room: Box<[u8]>) -> Content {
        Content {
            lane: Lane::default(),
            room,
            start: 0,
            end: 0,
            length: 0,
            ended: false,
        }
    }

    /// How many whole blocks wait.
    fn blocks(&self) -> usize {
        (self.end - self.start) / BLOCK
    }

    /// How much was read: where the next read begins.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Sees to it that a block waits: `read` gets the place of the next byte, and room; 0 is the end.
    ///
    /// # Errors
    /// Those of `read`; nothing is lost by one, and it may be called again.
    pub fn fill(
        &mut self,
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while self.blocks() == 0 && !self.ended {
            self.room.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            let count = read(self.length, &mut self.room[self.end..][..PIECE])?;
            if count == 0 {
                self.end += pad(self.length, &mut self.room[self.end..]);
                self.ended = true;
            }
            self.end += count;
            self.length += count as u64;
        }
        Ok(())
    }

    /// Whether all of it is hashed.
    pub fn is_done(&self) -> bool {
        self.ended && self.blocks() == 0
    }

    /// The digest, when all of it is hashed; and the room, for another.
    pub fn finish(self) -> (Digest, Box<[u8]>) {
        (self.lane.finish(), self.room)
    }
}

/// Hashes as many blocks of each as all of them have.
///
/// # Panics
/// Where there are more than [`LANES`].
pub fn hash_all<'a>(contents: impl Iterator<Item = &'a mut Content>) {
    let mut contents: Vec<&mut Content> = contents.collect();
    let count = contents.iter().map(|one| one.blocks()).min().unwrap_or(0);
    let mut lanes = Vec::with_capacity(LANES);
    let mut slices: Vec<&[u8]> = Vec::with_capacity(LANES);
    for one in &mut contents {
        slices.push(&one.room[one.start..one.end]);
        lanes.push(&mut one.lane);
        one.start += count * BLOCK;
    }
    hash(&mut lanes, &slices, count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Hasher};

    fn md5(content: &[u8]) -> Digest {
        let mut hasher = Hasher::new(Algorithm::Md5);
        hasher.update(content);
        hasher.finish()
    }

    fn padded(content: &[u8]) -> Vec<u8> {
        let mut bytes = content.to_vec();
        bytes.resize(content.len() + MOST_PADDING, 0xaa);
        let count = pad(content.len() as u64, &mut bytes[content.len()..]);
        bytes.truncate(content.len() + count);
        assert_eq!(bytes.len() % BLOCK, 0);
        bytes
    }

    fn content(length: usize, seed: usize) -> Vec<u8> {
        (0..length)
            .map(|i| (i * 37 + seed * 101 + i / 251) as u8)
            .collect()
    }

    /// One to eight at once, of each length around two blocks.
    #[test]
    fn each_lane_is_what_another_implementation_computes() {
        for together in 1..=LANES {
            for length in 0..200 {
                let contents: Vec<Vec<u8>> = (0..together).map(|n| content(length, n)).collect();
                let padded: Vec<Vec<u8>> = contents.iter().map(|c| padded(c)).collect();
                let mut lanes = vec![Lane::default(); together];
                let slices: Vec<&[u8]> = padded.iter().map(|p| &p[..]).collect();
                let mut all: Vec<&mut Lane> = lanes.iter_mut().collect();
                hash(&mut all, &slices, padded[0].len() / BLOCK);
                for (lane, content) in lanes.iter().zip(&contents) {
                    assert_eq!(
                        lane.finish(),
                        md5(content),
                        "{length} bytes, {together} at once"
                    );
                }
            }
        }
    }

    /// As it is used: lanes that begin and end at different times.
    #[test]
    fn lanes_of_different_lengths_do_not_disturb_each_other() {
        let contents: Vec<Vec<u8>> = (0..5).map(|n| content(100 + 300 * n, n)).collect();
        let padded: Vec<Vec<u8>> = contents.iter().map(|c| padded(c)).collect();
        let mut lanes = [Lane::default(); 5];
        for block in 0..padded[4].len() / BLOCK {
            let there = |p: &Vec<u8>| p.len() > block * BLOCK;
            let mut some: Vec<&mut Lane> = lanes
                .iter_mut()
                .zip(&padded)
                .filter(|(_, p)| there(p))
                .map(|(lane, _)| lane)
                .collect();
            let slices: Vec<&[u8]> = padded
                .iter()
                .filter(|p| there(p))
                .map(|p| &p[block * BLOCK..])
                .collect();
            hash(&mut some, &slices, 1);
        }
        for (lane, content) in lanes.iter().zip(&contents) {
            assert_eq!(lane.finish(), md5(content));
        }
    }

    /// What a processor without AVX2 runs.
    #[test]
    fn narrow_registers_compute_the_same() {
        let padded = padded(&content(1000, 3));
        let mut state = Lane::default().0.map(|word| Plain([word; LANES]));
        blocks(&mut state, &[&padded[..]; LANES]);
        let expected = md5(&content(1000, 3));
        for lane in 0..LANES {
            assert_eq!(Lane(state.map(|words| words.0[lane])).finish(), expected);
        }
    }
}
