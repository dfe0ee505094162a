//! MD5 (RFC 1321) of several contents side by side.
//!
//! Each step of MD5 waits for the one before it, and there are 64 of them for 64 bytes: a processor that hashes one content does
//! little else than wait. With eight contents in the eight lanes of a register it waits for eight at once. A package database
//! has many thousands of files, so there are always eight.
//!
//! Who uses this keeps a [`Content`] for each, fills all of them, and hashes what all of them have with [`hash_all`].

use std::io;

use crate::Digest;

/// How many contents are hashed at once.
pub const LANES: usize = 8;

/// MD5 takes so many bytes at a time.
const BLOCK: usize = 64;

/// The most that [`pad`] writes.
const MOST_PADDING: usize = BLOCK + 8;

/// What is known of one content so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lane([u32; 4]);

impl Default for Lane {
    /// Nothing hashed yet (section 3.3).
    fn default() -> Lane {
        Lane([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476])
    }
}

impl Lane {
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
        // Two fill a quarter of the register, and are done sooner one after the other.
        [_] | [_, _] => {
            for (lane, content) in lanes.iter_mut().zip(contents) {
                let mut state = lane.0.map(|word| [word]);
                blocks(&mut state, &[&content[..length]]);
                lane.0 = state.map(|[word]| word);
            }
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

/// With the widest registers that there are.
#[cfg(target_arch = "x86_64")]
fn wide(state: &mut [[u32; LANES]; 4], contents: &[&[u8]; LANES]) {
    #[target_feature(enable = "avx2")]
    fn with_avx2(state: &mut [[u32; LANES]; 4], contents: &[&[u8]; LANES]) {
        blocks(state, contents);
    }
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as it has just said.
        unsafe { with_avx2(state, contents) }
    } else {
        blocks(state, contents);
    }
}

/// With the widest registers that there are.
#[cfg(not(target_arch = "x86_64"))]
fn wide(state: &mut [[u32; LANES]; 4], contents: &[&[u8]; LANES]) {
    blocks(state, contents);
}

/// `floor(2^32 * abs(sin(i + 1)))` (section 3.4).
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// A word of each content. The compiler makes vector instructions of this when it is inlined.
#[derive(Clone, Copy)]
struct Words<const N: usize>([u32; N]);

impl<const N: usize> Words<N> {
    #[inline(always)]
    fn all(word: u32) -> Self {
        Self([word; N])
    }

    #[inline(always)]
    fn each(self, other: Self, of: impl Fn(u32, u32) -> u32) -> Self {
        Self(std::array::from_fn(|lane| of(self.0[lane], other.0[lane])))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.each(other, u32::wrapping_add)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.each(other, |a, b| a & b)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self.each(other, |a, b| a | b)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self.each(other, |a, b| a ^ b)
    }

    #[inline(always)]
    fn not(self) -> Self {
        self.each(self, |a, _| !a)
    }

    #[inline(always)]
    fn rotate<const BY: u32>(self) -> Self {
        self.each(self, |a, _| a.rotate_left(BY))
    }
}

/// One step: `of` is the round's function of the other three words.
#[inline(always)]
fn step<const BY: u32, const N: usize>(
    of: Words<N>,
    word: Words<N>,
    next: Words<N>,
    message: Words<N>,
    sine: u32,
) -> Words<N> {
    let sum = word.add(message).add(Words::all(sine)).add(of);
    next.add(sum.rotate::<BY>())
}

/// Hashes all of the contents, which are whole blocks and of one length (section 3.4).
#[inline(always)]
fn blocks<const N: usize>(state: &mut [[u32; N]; 4], contents: &[&[u8]; N]) {
    let mut sums = state.map(Words);
    let parts = contents.map(|content| content.as_chunks::<BLOCK>().0);
    let count = parts.iter().map(|part| part.len()).min().unwrap_or(0);
    for block in 0..count {
        let mut message = [Words::<N>::all(0); 16];
        for (lane, part) in parts.iter().enumerate() {
            let (words, _) = part[block].as_chunks::<4>();
            for (to, bytes) in message.iter_mut().zip(words) {
                to.0[lane] = u32::from_le_bytes(*bytes);
            }
        }
        let m = |index: usize| message[index % 16];
        let [mut a, mut b, mut c, mut d] = sums;
        for i in (0..16).step_by(4) {
            let f = |x: Words<N>, y: Words<N>, z: Words<N>| z.xor(x.and(y.xor(z)));
            a = step::<7, N>(f(b, c, d), a, b, m(i), SINES[i]);
            d = step::<12, N>(f(a, b, c), d, a, m(i + 1), SINES[i + 1]);
            c = step::<17, N>(f(d, a, b), c, d, m(i + 2), SINES[i + 2]);
            b = step::<22, N>(f(c, d, a), b, c, m(i + 3), SINES[i + 3]);
        }
        for i in (16..32).step_by(4) {
            // The halves have no bit in common.
            let g = |x: Words<N>, y: Words<N>, z: Words<N>| y.and(z.not()).add(x.and(z));
            a = step::<5, N>(g(b, c, d), a, b, m(5 * i + 1), SINES[i]);
            d = step::<9, N>(g(a, b, c), d, a, m(5 * i + 6), SINES[i + 1]);
            c = step::<14, N>(g(d, a, b), c, d, m(5 * i + 11), SINES[i + 2]);
            b = step::<20, N>(g(c, d, a), b, c, m(5 * i + 16), SINES[i + 3]);
        }
        for i in (32..48).step_by(4) {
            let h = |x: Words<N>, y: Words<N>, z: Words<N>| x.xor(y).xor(z);
            a = step::<4, N>(h(b, c, d), a, b, m(3 * i + 5), SINES[i]);
            d = step::<11, N>(h(a, b, c), d, a, m(3 * i + 8), SINES[i + 1]);
            c = step::<16, N>(h(d, a, b), c, d, m(3 * i + 11), SINES[i + 2]);
            b = step::<23, N>(h(c, d, a), b, c, m(3 * i + 14), SINES[i + 3]);
        }
        for i in (48..64).step_by(4) {
            let k = |x: Words<N>, y: Words<N>, z: Words<N>| y.xor(x.or(z.not()));
            a = step::<6, N>(k(b, c, d), a, b, m(7 * i), SINES[i]);
            d = step::<10, N>(k(a, b, c), d, a, m(7 * i + 7), SINES[i + 1]);
            c = step::<15, N>(k(d, a, b), c, d, m(7 * i + 14), SINES[i + 2]);
            b = step::<21, N>(k(c, d, a), b, c, m(7 * i + 21), SINES[i + 3]);
        }
        sums = [
            sums[0].add(a),
            sums[1].add(b),
            sums[2].add(c),
            sums[3].add(d),
        ];
    }
    *state = sums.map(|words| words.0);
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
        let mut state = Lane::default().0.map(|word| [word; LANES]);
        blocks(&mut state, &[&padded[..]; LANES]);
        let expected = md5(&content(1000, 3));
        for lane in 0..LANES {
            assert_eq!(Lane(state.map(|words| words[lane])).finish(), expected);
        }
    }
}
