//! Chance: a seeded stream of random numbers, and draws by weight.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A random stream; `stream` keeps those of one seed apart.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number under `n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.0.next_u32()) * u64::from(n)) >> 32) as u32
    }

    /// A number from `low` up to, not including, `high`.
    pub(super) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low)
    }

    /// A number in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True `per_million` times of a million.
    pub(super) fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < per_million
    }

    /// One of the `items`, all as likely; the empty string of none.
    pub(super) fn one_of(&mut self, items: &[&'static str]) -> &'static str {
        let at = self.below(items.len() as u32) as usize;
        items.get(at).copied().unwrap_or_default()
    }

    pub(super) fn shuffle(&mut self, items: &mut [u32]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u32 + 1) as usize);
        }
    }
}

/// Scatters a number over 64 bits: a choice that must come out the same each time it is asked for,
/// without being kept. (The output function of SplitMix64, Steele et al., OOPSLA 2014.)
pub(super) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One column of an alias table: it stands for itself, or else for `other`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Itself when a 32-bit random number is at or under this.
    keep: u32,
    other: u32,
}

/// Builds the table for draws by weight in constant time (alias method: Walker 1977, Vose 1991).
/// Weights are positive.
pub(super) fn alias_table(weights: &[f64]) -> Vec<Slot> {
    let sum: f64 = weights.iter().sum();
    let scale = weights.len() as f64 / sum;
    let mut share: Vec<f64> = weights.iter().map(|weight| weight * scale).collect();
    let mut slots: Vec<Slot> = (0..weights.len() as u32)
        .map(|other| Slot {
            keep: u32::MAX,
            other,
        })
        .collect();
    let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
        (0..weights.len() as u32).partition(|&i| share[i as usize] < 1.0);
    while let (Some(&small), Some(&large)) = (poor.last(), rich.last()) {
        poor.pop();
        let had = share[small as usize];
        slots[small as usize] = Slot {
            keep: (had * f64::from(u32::MAX)) as u32,
            other: large,
        };
        let left = share[large as usize] - (1.0 - had);
        share[large as usize] = left;
        if left < 1.0 {
            rich.pop();
            poor.push(large);
        }
    }
    slots
}

/// Draws from an alias table with one random number of 64 bits; 0 of an empty table.
pub(super) fn draw(slots: &[Slot], random: u64) -> u32 {
    let product = u128::from(random) * slots.len() as u128;
    let column = (product >> 64) as u32;
    let coin = ((product as u64) >> 32) as u32;
    match slots.get(column as usize) {
        Some(slot) if coin > slot.keep => slot.other,
        _ => column,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let slots = alias_table(&[1.0, 2.0, 3.0, 4.0, 0.5]);
        let mut dice = Dice::new(1, 2);
        let mut seen = [0_u32; 5];
        for _ in 0..105_000 {
            seen[draw(&slots, dice.bits()) as usize] += 1;
        }
        for (count, wanted) in seen.iter().zip([10_000, 20_000, 30_000, 40_000, 5_000]) {
            assert!(count.abs_diff(wanted) < 700, "{seen:?}");
        }
        assert_eq!(draw(&[], 7), 0);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let numbers = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            [dice.bits(), dice.bits()]
        };
        assert_eq!(numbers(1, 1), numbers(1, 1));
        assert_ne!(numbers(1, 1), numbers(1, 2));
        assert_ne!(numbers(1, 1), numbers(2, 1));
    }
}
