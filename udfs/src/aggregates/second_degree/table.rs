//! The candidates of one user, found by id in an open-addressing table that the next user takes over.

use datafusion::common::{Result, exec_err};

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

/// Candidates in order of first appearance, found by linear probing. At most a quarter of the slots are taken: a collision
/// costs more than the memory, which stays in the first cache.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    /// Slots in use for the present user, as a power of two.
    bits: u32,
    candidates: Vec<Candidate>,
    /// How many of `candidates` there are; the others are what they were before.
    count: usize,
}

/// An id and, in the lower half, its candidate's position + 1; an empty slot is 0.
type Slot = u64;

/// Slots for a user of few paths, as a power of two.
const LEAST_BITS: u32 = 6;

/// The slot of `id` among a power of two of them, or the empty one where it would be. The first to look at is that of
/// Knuth's multiplicative hashing (TAOCP 6.4), whose upper bits are the good ones.
#[inline(always)]
fn place_of(slots: &[Slot], bits: u32, id: i32) -> usize {
    let mut place = id.cast_unsigned().wrapping_mul(0x9E37_79B1) >> (u32::BITS - bits);
    loop {
        let at = place as usize & (slots.len() - 1);
        let slot = slots[at];
        if slot as u32 == 0 || (slot >> 32) as u32 == id.cast_unsigned() {
            return at;
        }
        place += 1;
    }
}

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
        if self.candidates.len() < paths {
            let none = Candidate {
                id: 0,
                standing: Standing::SELF,
                weight: 0,
            };
            self.candidates.resize(paths, none);
        }
        self.count = 0;
        Ok(())
    }

    /// Adds a path to each id, with its standing as candidates tell it and its weight, and writes each candidate's position
    /// to `reached`. [`Self::reset`] must have made room for them.
    ///
    /// Whether somebody is a candidate already is as good as random to the processor. So both are computed, and one is
    /// taken.
    pub(super) fn add_paths(
        &mut self,
        ids: &[i32],
        standings: &[i32],
        weights: &[i64],
        reached: &mut [u32],
    ) -> Result<()> {
        let slots = &mut self.slots[..1 << self.bits];
        let candidates = &mut self.candidates[..];
        let (bits, mut count) = (self.bits, self.count);
        let mut beyond = false;
        let paths = ids.iter().zip(standings).zip(weights).zip(reached);
        for (((&id, &standing), &weight), reached) in paths {
            let place = place_of(slots, bits, id);
            let found = slots[place] as u32 as usize;
            let is_new = found == 0;
            let at = if is_new { count } else { found - 1 };
            let candidate = &mut candidates[at];
            let told = Standing::told(standing);
            let before = if is_new { told } else { candidate.standing };
            let (sum, overflows) =
                (if is_new { 0 } else { candidate.weight }).overflowing_add(weight);
            beyond |= overflows;
            *candidate = Candidate {
                id,
                // Hardly ever do two paths disagree.
                standing: if before == told {
                    told
                } else {
                    before.and(told)
                },
                weight: sum,
            };
            slots[place] = u64::from(id.cast_unsigned()) << 32 | (at as u64 + 1);
            *reached = at as u32;
            count += usize::from(is_new);
        }
        self.count = count;
        if beyond {
            return exec_err!("second_degree: the weights of a candidate exceed 64 bits");
        }
        Ok(())
    }

    /// Says something more of `id`, if it is a candidate.
    pub(super) fn know(&mut self, id: i32, standing: Standing) {
        let slots = &self.slots[..1 << self.bits];
        let found = slots[place_of(slots, self.bits, id)] as u32;
        if found > 0 {
            let candidate = &mut self.candidates[found as usize - 1];
            candidate.standing = candidate.standing.and(standing);
        }
    }

    /// Everything since the last reset.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates[..self.count]
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
            + self.candidates.capacity() * size_of::<Candidate>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const UNSCORED: i32 = -1;

    impl Table {
        /// As [`Table::add_paths`], one path.
        fn add_path(&mut self, id: i32, standing: i32, weight: i64) -> Result<u32> {
            let mut reached = [0];
            self.add_paths(&[id], &[standing], &[weight], &mut reached)?;
            Ok(reached[0])
        }
    }

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
        let three = [3, UNSCORED, 5];
        let suspended = [3, UNSCORED, -2];
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
        table.add_path(1, -9, 1).unwrap();
        table.add_path(2, 7, 1).unwrap();
        table.know(1, Standing::FOLLOWED);
        table.know(2, Standing::SELF);
        table.know(2, Standing::FOLLOWED);
        table.know(3, Standing::FOLLOWED);
        let found: Vec<_> = table.candidates().iter().map(|c| c.standing).collect();
        assert_eq!(found, [Standing::FOLLOWED, Standing::SELF]);
    }

    #[test]
    fn weights_beyond_64_bits_are_an_error() {
        let mut table = Table::default();
        table.reset(2).unwrap();
        table.add_path(1, UNSCORED, i64::MAX).unwrap();
        assert!(table.add_path(1, UNSCORED, 1).is_err());
    }
}
