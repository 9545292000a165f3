//! The candidates of one user, found by id in an open-addressing table that the next user takes over.

use std::ops::{BitOr, BitOrAssign};

use datafusion::common::{Result, exec_datafusion_err, exec_err};

/// What is known about an id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    /// The user itself.
    pub(super) const SELF: Self = Self(1);
    /// The user follows it.
    pub(super) const FOLLOWED: Self = Self(2);
    /// A path leads to it.
    pub(super) const REACHED: Self = Self(4);
    /// It is suspended.
    pub(super) const SUSPENDED: Self = Self(8);
    /// It has a reputation score.
    pub(super) const SCORED: Self = Self(16);

    /// Whether all of `marks` are set.
    pub(super) fn has(self, marks: Self) -> bool {
        self.0 & marks.0 == marks.0
    }
}

impl BitOr for Marks {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// An id that a path leads to, or that is only known as the user or as followed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: i32,
    pub(super) marks: Marks,
    /// The reputation in millionths; only with [`Marks::SCORED`].
    pub(super) pred: i64,
    /// The sum of the weights of its paths.
    pub(super) weight: i64,
}

/// Candidates in order of first appearance, with linear probing over slots of `id, position + 1`; an empty slot is 0.
/// At most half of the slots are taken.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<u64>,
    /// Slots in use for the present user, less one.
    mask: usize,
    candidates: Vec<Candidate>,
}

/// 32 well-mixed upper bits (Knuth's multiplicative hashing, TAOCP 6.4).
pub(super) fn hash(id: i32) -> u32 {
    id.cast_unsigned().wrapping_mul(0x9E37_79B1)
}

impl Table {
    /// Forgets everything and makes room for `ids` ids.
    pub(super) fn reset(&mut self, ids: usize) -> Result<()> {
        if ids > 1 << 29 {
            return exec_err!("second_degree: more than 2^29 paths for one user");
        }
        let slots = (2 * ids).next_power_of_two().max(64);
        if self.slots.len() < slots {
            self.slots = vec![0; slots];
        } else {
            self.slots[..slots].fill(0);
        }
        self.mask = slots - 1;
        self.candidates.clear();
        Ok(())
    }

    /// The entry of `id`, new if need be.
    #[inline]
    fn entry(&mut self, id: i32) -> &mut Candidate {
        // The product's upper bits are the good ones.
        let mut slot = (hash(id) >> (self.mask.leading_zeros() - (usize::BITS - 32))) as usize;
        let key = u64::from(id.cast_unsigned()) << 32;
        let at = loop {
            let found = self.slots[slot];
            if found == 0 {
                self.candidates.push(Candidate {
                    id,
                    marks: Marks::default(),
                    pred: 0,
                    weight: 0,
                });
                self.slots[slot] = key | self.candidates.len() as u64;
                break self.candidates.len() - 1;
            }
            if found ^ key <= u64::from(u32::MAX) {
                break (found as u32 - 1) as usize;
            }
            slot = (slot + 1) & self.mask;
        };
        &mut self.candidates[at]
    }

    /// Marks an id, whether a path leads to it or not.
    pub(super) fn mark(&mut self, id: i32, marks: Marks) {
        self.entry(id).marks |= marks;
    }

    /// Adds a path to `id`. Should its paths disagree, the greatest reputation counts, and a suspension.
    #[inline]
    pub(super) fn add_path(
        &mut self,
        id: i32,
        weight: i64,
        pred: Option<i64>,
        suspended: bool,
    ) -> Result<()> {
        let candidate = self.entry(id);
        candidate.marks |= if suspended {
            Marks::REACHED | Marks::SUSPENDED
        } else {
            Marks::REACHED
        };
        if let Some(pred) = pred {
            candidate.pred = if candidate.marks.has(Marks::SCORED) {
                candidate.pred.max(pred)
            } else {
                pred
            };
            candidate.marks |= Marks::SCORED;
        }
        candidate.weight = (candidate.weight.checked_add(weight)).ok_or_else(|| {
            exec_datafusion_err!("second_degree: the weights of candidate {id} exceed 64 bits")
        })?;
        Ok(())
    }

    /// Everything since the last reset.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
            + self.candidates.capacity() * size_of::<Candidate>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

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
                table.add_path(id, weight as i64, None, false).unwrap();
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
        let paths = [(Some(3), false), (None, true), (Some(5), false)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut table = Table::default();
            table.reset(3).unwrap();
            for at in order {
                table.add_path(1, 1, paths[at].0, paths[at].1).unwrap();
            }
            let candidate = table.candidates()[0];
            assert_eq!((candidate.pred, candidate.weight), (5, 3));
            assert!(
                candidate
                    .marks
                    .has(Marks::REACHED | Marks::SUSPENDED | Marks::SCORED)
            );
        }
    }

    #[test]
    fn weights_beyond_64_bits_are_an_error() {
        let mut table = Table::default();
        table.reset(2).unwrap();
        table.add_path(1, i64::MAX, None, false).unwrap();
        assert!(table.add_path(1, 1, None, false).is_err());
    }
}
