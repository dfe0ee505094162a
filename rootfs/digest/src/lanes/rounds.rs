//! MD5's rounds (RFC 1321, section 3.4), over a word of each content at once.

use super::BLOCK;
use super::words::Word;

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

/// One step: `of` is the round's function of the other three words.
#[inline(always)]
fn step<const LEFT: i32, const RIGHT: i32, const N: usize, W: Word<N>>(
    of: W,
    word: W,
    next: W,
    message: W,
    sine: u32,
) -> W {
    // What is known before the word of the last step comes first: the processor need not wait for that.
    let sum = word.add(message.add(W::all(sine))).add(of);
    next.add(sum.rotate::<LEFT, RIGHT>())
}

/// Hashes all of the contents, which are whole blocks and of one length.
#[inline(always)]
pub(super) fn blocks<const N: usize, W: Word<N>>(state: &mut [W; 4], contents: &[&[u8]; N]) {
    let parts = contents.map(|content| content.as_chunks::<BLOCK>().0);
    let count = parts.iter().map(|part| part.len()).min().unwrap_or(0);
    for block in 0..count {
        let message = W::message(parts.map(|part| &part[block]));
        let m = |index: usize| message[index % 16];
        let [mut a, mut b, mut c, mut d] = *state;
        for i in (0..16).step_by(4) {
            let f = |x: W, y: W, z: W| z.xor(x.and(y.xor(z)));
            a = step::<7, 25, N, W>(f(b, c, d), a, b, m(i), SINES[i]);
            d = step::<12, 20, N, W>(f(a, b, c), d, a, m(i + 1), SINES[i + 1]);
            c = step::<17, 15, N, W>(f(d, a, b), c, d, m(i + 2), SINES[i + 2]);
            b = step::<22, 10, N, W>(f(c, d, a), b, c, m(i + 3), SINES[i + 3]);
        }
        for i in (16..32).step_by(4) {
            // The halves have no bit in common.
            let g = |x: W, y: W, z: W| y.and(z.not()).add(x.and(z));
            a = step::<5, 27, N, W>(g(b, c, d), a, b, m(5 * i + 1), SINES[i]);
            d = step::<9, 23, N, W>(g(a, b, c), d, a, m(5 * i + 6), SINES[i + 1]);
            c = step::<14, 18, N, W>(g(d, a, b), c, d, m(5 * i + 11), SINES[i + 2]);
            b = step::<20, 12, N, W>(g(c, d, a), b, c, m(5 * i + 16), SINES[i + 3]);
        }
        for i in (32..48).step_by(4) {
            let h = |x: W, y: W, z: W| x.xor(y).xor(z);
            a = step::<4, 28, N, W>(h(b, c, d), a, b, m(3 * i + 5), SINES[i]);
            d = step::<11, 21, N, W>(h(a, b, c), d, a, m(3 * i + 8), SINES[i + 1]);
            c = step::<16, 16, N, W>(h(d, a, b), c, d, m(3 * i + 11), SINES[i + 2]);
            b = step::<23, 9, N, W>(h(c, d, a), b, c, m(3 * i + 14), SINES[i + 3]);
        }
        for i in (48..64).step_by(4) {
            let k = |x: W, y: W, z: W| y.xor(x.or(z.not()));
            a = step::<6, 26, N, W>(k(b, c, d), a, b, m(7 * i), SINES[i]);
            d = step::<10, 22, N, W>(k(a, b, c), d, a, m(7 * i + 7), SINES[i + 1]);
            c = step::<15, 17, N, W>(k(d, a, b), c, d, m(7 * i + 14), SINES[i + 2]);
            b = step::<21, 11, N, W>(k(c, d, a), b, c, m(7 * i + 21), SINES[i + 3]);
        }
        for (word, new) in state.iter_mut().zip([a, b, c, d]) {
            *word = word.add(new);
        }
    }
}
