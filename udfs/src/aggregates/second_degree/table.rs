//! The candidates of one user, found by id in an open-addressing table that the next user takes over.

use datafusion::common::{Result, exec_datafusion_err, exec_err};

/// What is known of somebody: the reputation in millionths, -1 without one, or what else speaks against it.
///
/// Of two that disagree the reason that is judged first counts, or the greater reputation: see [`Standing::and`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing(i32);

impl Standing {
    /// Suspended, whatever the score.
    pub(super) const SUSPENDED: Self = Self(-2);
    /// The user follows it.
    pub(super) const FOLLOWED: Self = Self(-3);
    /// The user itself.
    pub(super) const SELF: Self = Self(-4);

    /// As candidates tell it; what is less than [`Self::SUSPENDED`] is suspended.
    pub(super) fn told(standing: i32) -> Self {
        Self(standing).max(Self::SUSPENDED)
    }

    /// The reputation, or a number below 0.
    pub(super) fn pred(self) -> i32 {
        self.0
    }

    /// Both at once.
    fn and(self, other: Self) -> Self {
        if self.min(other) <= Self::SUSPENDED {
            self.min(other)
        } else {
            self.max(other)
        }
    }
}

/// An id that a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: i32,
    pub(super) standing: Standing,
    /// The sum of the weights of its paths.
    pub(super) weight: i64,
}

/// Candidates in order of first appearance, with linear probing over slots that hold their position + 1; an empty slot is
/// 0. At most a quarter of the slots are taken: a collision costs more than the memory, which stays in the first cache.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<u32>,
    /// Slots in use for the present user, as a power of two.
    bits: u32,
    candidates: Vec<Candidate>,
}

/// Slots for a user of few paths, as a power of two.
const LEAST_BITS: u32 = 6;

impl Table {
    /// Forgets everything and makes room for `paths` paths.
    pub(super) fn reset(&mut self, paths: usize) -> Result<()> {
        if paths > 1 << 28 {
            return exec_err!("second_degree: more than 2^28 paths for one user");
        }
        self.bits = (4 * paths)
            .next_power_of_two()
            .trailing_zeros()
            .max(LEAST_BITS);
        let slots = 1 << self.bits;
        if self.slots.len() < slots {
            self.slots = vec![0; slots];
        } else {
            self.slots[..slots].fill(0);
        }
        self.candidates.clear();
        self.candidates.reserve(paths);
        Ok(())
    }

    /// The slot of `id`, or the empty one where it would be. The first to look at is that of Knuth's multiplicative hashing
    /// (TAOCP 6.4), whose upper bits are the good ones.
    #[inline(always)]
    fn slot_of(&self, id: i32) -> usize {
        let slots = &self.slots[..1 << self.bits];
        let mut slot = id.cast_unsigned().wrapping_mul(0x9E37_79B1) >> (u32::BITS - self.bits);
        loop {
            let at = slot as usize & (slots.len() - 1);
            let found = slots[at] as usize;
            if found == 0 || self.candidates[found - 1].id == id {
                return at;
            }
            slot += 1;
        }
    }

    /// Adds a path to `id` and gives the candidate's position.
    #[inline]
    pub(super) fn add_path(&mut self, id: i32, standing: Standing, weight: i64) -> Result<u32> {
        let slot = self.slot_of(id);
        let found = self.slots[slot];
        if found == 0 {
            let at = self.candidates.len() as u32;
            self.candidates.push(Candidate {
                id,
                standing,
                weight,
            });
            self.slots[slot] = at + 1;
            return Ok(at);
        }
        let candidate = &mut self.candidates[found as usize - 1];
        if candidate.standing != standing {
            candidate.standing = candidate.standing.and(standing);
        }
        let sum = candidate.weight.checked_add(weight);
        candidate.weight = sum.ok_or_else(|| {
            exec_datafusion_err!("second_degree: the weights of candidate {id} exceed 64 bits")
        })?;
        Ok(found - 1)
    }

    /// Says something more of `id`, if it is a candidate.
    pub(super) fn know(&mut self, id: i32, standing: Standing) {
        let found = self.slots[self.slot_of(id)] as usize;
        if found > 0 {
            let candidate = &mut self.candidates[found - 1];
            candidate.standing = candidate.standing.and(standing);
        }
    }

    /// Everything since the last reset.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.slots.capacity() * size_of::<u32>()
            + self.candidates.capacity() * size_of::<Candidate>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const UNSCORED: Standing = Standing(-1);

    #[test]
    fn adds_up_like_a_map_and_forgets_on_reset() {
        let mut table = Table::default();
        for round in 1..4 {
            let ids: Vec<i32> = (0..1000)
                .map(|i| (i * 7919 * round) % 400 - 200)
                .chain([i32::MIN, i32::MAX])
                .collect();
            table.reset(ids.len()).unwrap();
            let mut expected = BTreeMap::new();
            for (weight, &id) in ids.iter().enumerate() {
                let at = table.add_path(id, UNSCORED, weight as i64).unwrap();
                assert_eq!(table.candidates()[at as usize].id, id);
                *expected.entry(id).or_insert(0) += weight as i64;
            }
            let found: BTreeMap<i32, i64> = table
                .candidates()
                .iter()
                .map(|c| (c.id, c.weight))
                .collect();
            assert_eq!(table.candidates().len(), found.len(), "an id has one entry");
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn paths_that_disagree_give_the_same_in_any_order() {
        let three = [Standing(3), UNSCORED, Standing(5)];
        let suspended = [Standing(3), UNSCORED, Standing::SUSPENDED];
        for (paths, expected) in [(three, Standing(5)), (suspended, Standing::SUSPENDED)] {
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                let mut table = Table::default();
                table.reset(3).unwrap();
                for at in order {
                    table.add_path(1, paths[at], 1).unwrap();
                }
                let candidate = table.candidates()[0];
                assert_eq!((candidate.standing, candidate.weight), (expected, 3));
            }
        }
    }

    #[test]
    fn only_candidates_are_known_more_of_and_the_first_reason_counts() {
        let mut table = Table::default();
        table.reset(2).unwrap();
        table.add_path(1, Standing::SUSPENDED, 1).unwrap();
        table.add_path(2, Standing::told(7), 1).unwrap();
        table.know(1, Standing::FOLLOWED);
        table.know(2, Standing::SELF);
        table.know(2, Standing::FOLLOWED);
        table.know(3, Standing::FOLLOWED);
        let found: Vec<_> = table.candidates().iter().map(|c| c.standing).collect();
        assert_eq!(found, [Standing::FOLLOWED, Standing::SELF]);
        assert_eq!(Standing::told(-9), Standing::SUSPENDED);
    }

    #[test]
    fn weights_beyond_64_bits_are_an_error() {
        let mut table = Table::default();
        table.reset(2).unwrap();
        table.add_path(1, UNSCORED, i64::MAX).unwrap();
        assert!(table.add_path(1, UNSCORED, 1).is_err());
    }
}
