//! A word of each of several contents, and what MD5 does with words.

use super::{BLOCK, LANES};

/// A word of each of `N` contents. All of it is inlined into who knows which registers there are.
pub(super) trait Word<const N: usize>: Copy {
    fn all(word: u32) -> Self;
    fn add(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    /// To the left by `LEFT`; `RIGHT` is the rest of 32.
    fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self;
    /// The words of a block of each content.
    fn message(blocks: [&[u8; BLOCK]; N]) -> [Self; 16];
}

/// In whatever registers there are.
#[derive(Clone, Copy)]
pub(super) struct Plain<const N: usize>(pub(super) [u32; N]);

impl<const N: usize> Plain<N> {
    #[inline(always)]
    fn each(self, other: Self, of: impl Fn(u32, u32) -> u32) -> Self {
        Self(std::array::from_fn(|lane| of(self.0[lane], other.0[lane])))
    }
}

impl<const N: usize> Word<N> for Plain<N> {
    #[inline(always)]
    fn all(word: u32) -> Self {
        Self([word; N])
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
    fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
        self.each(self, |a, _| a << LEFT | a >> RIGHT)
    }

    #[inline(always)]
    fn message(blocks: [&[u8; BLOCK]; N]) -> [Self; 16] {
        let mut message = [Self::all(0); 16];
        for (lane, block) in blocks.iter().enumerate() {
            let (words, _) = block.as_chunks::<4>();
            for (to, bytes) in message.iter_mut().zip(words) {
                to.0[lane] = u32::from_le_bytes(*bytes);
            }
        }
        message
    }
}

/// With the widest registers that there are.
pub(super) fn wide(state: &mut [[u32; LANES]; 4], contents: &[&[u8]; LANES]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, as it has just said.
        return unsafe { super::avx2::blocks(state, contents) };
    }
    let mut words = state.map(Plain);
    super::rounds::blocks(&mut words, contents);
    *state = words.map(|word| word.0);
}
