//! Numbers by chance that come again when their seed does: what damage does must be told again, and looked into.

/// A sequence of numbers (xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators").
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The sequence of this seed, which is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// The seed in `KEDGE_SEED`, or this one; says which it is.
    pub fn told(seed: u64) -> Self {
        let given = std::env::var("KEDGE_SEED").ok();
        let seed = given.and_then(|text| text.parse().ok()).unwrap_or(seed);
        println!("KEDGE_SEED={seed} makes the same again");
        Self::new(seed)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }

    /// One of these; there is at least one.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_all_of_them_come() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            [(); 200].map(|()| chance.below(7))
        };
        assert_eq!(numbers(5), numbers(5));
        assert_ne!(numbers(5), numbers(6));
        assert!((0..7).all(|n| numbers(5).contains(&n)));
    }
}
