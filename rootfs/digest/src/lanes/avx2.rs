//! In registers of AVX2, by name: the compiler makes no vectors by itself of what is linked for size, as the image is.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::words::Word;
use super::{BLOCK, LANES, rounds};

#[derive(Clone, Copy)]
struct Wide(__m256i);

/// # Safety
/// Only with AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn blocks(state: &mut [[u32; LANES]; 4], contents: &[&[u8]; LANES]) {
    // SAFETY: both are 32 bytes, and each bit pattern is one of either.
    let mut words = state.map(|word| Wide(unsafe { transmute::<[u32; LANES], __m256i>(word) }));
    rounds::blocks(&mut words, contents);
    // SAFETY: as above.
    *state = words.map(|word| unsafe { transmute::<__m256i, [u32; LANES]>(word.0) });
}

// SAFETY, of all that follows: only `blocks` makes one of these, and may be called only with AVX2.
impl Word<LANES> for Wide {
    #[inline(always)]
    fn all(word: u32) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_set1_epi32(word.cast_signed()) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_add_epi32(self.0, other.0) })
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_or_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm256_xor_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn not(self) -> Self {
        self.xor(Self::all(u32::MAX))
    }

    #[inline(always)]
    fn rotate<const LEFT: i32, const RIGHT: i32>(self) -> Self {
        // SAFETY: as above.
        let (left, right) = unsafe {
            (
                _mm256_slli_epi32::<LEFT>(self.0),
                _mm256_srli_epi32::<RIGHT>(self.0),
            )
        };
        Self(left).or(Self(right))
    }

    #[inline(always)]
    fn message(blocks: [&[u8; BLOCK]; LANES]) -> [Self; 16] {
        // SAFETY: as above.
        unsafe { message(&blocks) }
    }
}

/// The words of a block of each content. No closures: the functions of the library that take them know nothing of AVX2, and what
/// is inlined into one of them is slow.
#[target_feature(enable = "avx2")]
fn message(blocks: &[&[u8; BLOCK]; LANES]) -> [Wide; 16] {
    let mut message = [Wide(_mm256_setzero_si256()); 16];
    for (half, words) in message.chunks_exact_mut(LANES).enumerate() {
        let mut rows = [_mm256_setzero_si256(); LANES];
        for (row, block) in rows.iter_mut().zip(blocks) {
            let bytes = &block[half * (BLOCK / 2)..][..BLOCK / 2];
            // SAFETY: there are 32 bytes, which need not be aligned.
            *row = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        }
        transpose(rows, words);
    }
    message
}

/// Eight words of each content to eight contents of each word.
#[target_feature(enable = "avx2")]
fn transpose([a, b, c, d, e, f, g, h]: [__m256i; LANES], words: &mut [Wide]) {
    let (first, last) = (quarters(a, b, c, d), quarters(e, f, g, h));
    let (low, high) = words.split_at_mut(LANES / 2);
    for (at, (low, high)) in low.iter_mut().zip(high).enumerate() {
        low.0 = _mm256_permute2x128_si256::<0x20>(first[at], last[at]);
        high.0 = _mm256_permute2x128_si256::<0x31>(first[at], last[at]);
    }
}

/// Words 0 and 4, 1 and 5, 2 and 6, 3 and 7 of four contents.
#[target_feature(enable = "avx2")]
fn quarters(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> [__m256i; 4] {
    let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (low_2, high_2) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(low, low_2),
        _mm256_unpackhi_epi64(low, low_2),
        _mm256_unpacklo_epi64(high, high_2),
        _mm256_unpackhi_epi64(high, high_2),
    ]
}
