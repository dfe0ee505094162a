//! Digests of what a content would be with some of its blocks replaced. What is in front of the first of these was hashed before,
//! once; MD5 of several such goes side by side.

use crate::lanes::{LANES, Lane};
use crate::{Algorithm, Digest, Hasher};

/// Blocks by their numbers, and what is there instead.
pub type Replaced<'a> = Vec<(usize, &'a [u8])>;

/// A content of which variants are hashed.
pub struct Original<'a> {
    bytes: &'a [u8],
    /// Bytes of a block.
    size: usize,
    starts: Starts,
}

/// What is known in front of each block.
enum Starts {
    Md5(Vec<Lane>),
    Others(Vec<Hasher>),
}

impl<'a> Original<'a> {
    /// In blocks of `size` bytes; what is behind the last whole one cannot be replaced.
    ///
    /// # Panics
    /// Where `size` is no multiple of 64.
    pub fn new(bytes: &'a [u8], size: usize, algorithm: Algorithm) -> Original<'a> {
        assert!(size > 0 && size.is_multiple_of(64));
        let blocks = bytes.chunks_exact(size);
        let starts = match algorithm {
            Algorithm::Md5 => {
                let mut lane = Lane::default();
                let start = |block| {
                    let start = lane;
                    Lane::add_all(std::slice::from_mut(&mut lane), &[block]);
                    start
                };
                Starts::Md5(blocks.map(start).collect())
            }
            _ => {
                let mut hasher = Hasher::new(algorithm);
                let start = |block| {
                    let start = hasher.clone();
                    hasher.update(block);
                    start
                };
                Starts::Others(blocks.map(start).collect())
            }
        };
        Original {
            bytes,
            size,
            starts,
        }
    }

    /// How many whole blocks it has.
    pub fn blocks(&self) -> usize {
        self.bytes.len() / self.size
    }

    /// A block of it.
    ///
    /// # Panics
    /// Where there is none.
    pub fn block(&self, number: usize) -> &'a [u8] {
        &self.bytes[number * self.size..][..self.size]
    }

    /// A block of a variant.
    fn part<'b>(&'b self, replaced: &Replaced<'b>, number: usize) -> &'b [u8] {
        let instead = replaced.iter().find(|(of, _)| *of == number);
        instead.map_or_else(|| self.block(number), |(_, block)| block)
    }

    /// The digest of each of these variants, of which there are at most [`LANES`]; each replaces some block.
    ///
    /// # Panics
    /// Where there are more, or a block that is not there is replaced, or by other than a block.
    pub fn digests(&self, variants: &[Replaced]) -> Vec<Digest> {
        let changed = variants.iter().flatten().map(|(number, _)| *number);
        let Some(first) = changed.min() else {
            return Vec::new();
        };
        let rest = &self.bytes[self.blocks() * self.size..];
        match &self.starts {
            Starts::Md5(starts) => {
                assert!(variants.len() <= LANES);
                let mut lanes = vec![starts[first]; variants.len()];
                for number in first..self.blocks() {
                    let slices: Vec<&[u8]> =
                        variants.iter().map(|v| self.part(v, number)).collect();
                    Lane::add_all(&mut lanes, &slices);
                }
                let length = self.bytes.len() as u64;
                lanes
                    .into_iter()
                    .map(|lane| lane.end(rest, length))
                    .collect()
            }
            Starts::Others(starts) => {
                let digest = |replaced: &Replaced| {
                    let mut hasher = starts[first].clone();
                    for number in first..self.blocks() {
                        hasher.update(self.part(replaced, number));
                    }
                    hasher.update(rest);
                    hasher.finish()
                };
                variants.iter().map(digest).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variant_is_hashed_as_if_it_were_there() {
        let bytes: Vec<u8> = (0..5000u32).map(|i| (i * i / 7) as u8).collect();
        let (size, other) = (512, [0xa5; 512]);
        for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
            let original = Original::new(&bytes, size, algorithm);
            assert_eq!(original.blocks(), 9);
            let exchange =
                |a: usize, b: usize| vec![(a, original.block(b)), (b, original.block(a))];
            let variants = [
                exchange(2, 7),
                exchange(8, 1),
                vec![(3, &other[..])],
                exchange(4, 5),
                vec![(8, &other[..])],
            ];
            let expected = variants.iter().map(|replaced| {
                let mut all = bytes.clone();
                for (number, block) in replaced {
                    all[number * size..][..size].copy_from_slice(block);
                }
                let mut hasher = Hasher::new(algorithm);
                hasher.update(&all);
                hasher.finish()
            });
            let expected: Vec<Digest> = expected.collect();
            assert_eq!(original.digests(&variants), expected, "{algorithm}");
        }
    }
}
