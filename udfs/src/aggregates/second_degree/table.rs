//! The candidates of one user, found by id in an open-addressing table that the next user takes over.

use datafusion::common::{Result, exec_err};

use super::candidates::CandidateList;

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

/// Candidates in order of first appearance, found by linear probing. At most an eighth of the slots are taken: a collision
/// costs more than the memory, which stays in the first cache.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Positions in `candidates`; 0, nobody's, where a slot is empty.
    slots: Vec<u32>,
    /// Slots in use for the present user, as a power of two.
    bits: u32,
    /// The first is [`NOBODY`].
    candidates: Vec<Candidate>,
    /// How many of `candidates` there are; the others are what they were before.
    count: usize,
    /// The last path to each of `candidates`; none to nobody.
    last: Vec<u32>,
    /// Paths are numbered from 1.
    paths: Vec<Path>,
    /// The first path of each list.
    starts: Vec<u32>,
    /// The number of the next path.
    next: usize,
}

/// A path, which knows the one before it to the same candidate; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
struct Path {
    before: u32,
    list: u32,
}

/// What a candidate is before its first path: it changes nothing.
const NOBODY: Candidate = Candidate {
    id: 0,
    standing: Standing(-1),
    weight: 0,
};

/// Slots for a user of few paths, as a power of two.
const LEAST_BITS: u32 = 6;

/// The slot of `id` among a power of two of them, or the empty one where it would be, and the position there. The first to
/// look at is that of Knuth's multiplicative hashing (TAOCP 6.4), whose upper bits are the good ones.
#[inline(always)]
fn find(slots: &[u32], candidates: &[Candidate], bits: u32, id: i32) -> (usize, usize) {
    let mut place = id.cast_unsigned().wrapping_mul(0x9E37_79B1) >> (u32::BITS - bits);
    loop {
        let slot = place as usize & (slots.len() - 1);
        let at = slots[slot];
        let differs = candidates[at as usize].id ^ id;
        // Either is 0. With `||` and even `|` the compiler makes it two branches, and which one ends the search is as
        // good as random.
        if at.min(differs.cast_unsigned()) == 0 {
            return (slot, at as usize);
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
        self.bits = (8 * paths)
            .next_power_of_two()
            .trailing_zeros()
            .max(LEAST_BITS);
        let slots = 1 << self.bits;
        if self.slots.len() < slots {
            self.slots = vec![0; slots];
        } else {
            self.slots[..slots].fill(0);
        }
        if self.candidates.len() <= paths {
            self.candidates.resize(paths + 1, NOBODY);
            self.last.resize(paths + 1, 0);
            self.paths.resize(paths + 1, Path::default());
        }
        self.starts.clear();
        self.count = 1;
        self.next = 1;
        Ok(())
    }

    /// Adds a list of paths. [`Self::reset`] must have made room for them.
    ///
    /// Whether somebody is a candidate already is as good as random to the processor. So a new one begins as nobody, and
    /// there is no branch.
    pub(super) fn add_paths(&mut self, listed: CandidateList<'_>) -> Result<()> {
        let slots = &mut self.slots[..1 << self.bits];
        let candidates = &mut self.candidates[..];
        let last = &mut self.last[..candidates.len()];
        let (bits, mut count) = (self.bits, self.count);
        let (list, first) = (self.starts.len() as u32, self.next as u32);
        self.starts.push(first);
        self.next += listed.len();
        let paths = &mut self.paths[first as usize..self.next];
        let mut beyond = false;
        for ((number, path), listed) in (first..).zip(paths).zip(listed.iter()) {
            let id = listed.id();
            let (slot, found) = find(slots, candidates, bits, id);
            let is_new = found == 0;
            let at = if is_new { count } else { found };
            let before = candidates[found];
            let (sum, overflows) = before.weight.overflowing_add(listed.weight());
            beyond |= overflows;
            *path = Path {
                before: last[found],
                list,
            };
            last[at] = number;
            candidates[at] = Candidate {
                id,
                standing: before.standing.and(Standing::told(listed.standing())),
                weight: sum,
            };
            slots[slot] = at as u32;
            count += usize::from(is_new);
        }
        self.count = count;
        if beyond {
            return exec_err!("second_degree: the weights of a candidate exceed 64 bits");
        }
        Ok(())
    }

    /// The position of `id` in `candidates`, 0 if it is none.
    fn position(&self, id: i32) -> usize {
        find(
            &self.slots[..1 << self.bits],
            &self.candidates,
            self.bits,
            id,
        )
        .1
    }

    /// Says something more of `id`, if it is a candidate, and gives what was known before.
    pub(super) fn know(&mut self, id: i32, standing: Standing) -> Option<Standing> {
        let at = self.position(id);
        (at > 0).then(|| {
            let candidate = &mut self.candidates[at];
            let before = candidate.standing;
            candidate.standing = before.and(standing);
            before
        })
    }

    /// Everything since the last reset.
    pub(super) fn candidates(&self) -> &[Candidate] {
        &self.candidates[1..self.count]
    }

    /// The paths that lead to `id`: list, and place in it.
    pub(super) fn paths_to(&self, id: i32) -> impl Iterator<Item = (usize, usize)> {
        let mut next = self.last[self.position(id)];
        std::iter::from_fn(move || {
            let number = next;
            let path = self.paths[number as usize];
            next = path.before;
            let list = path.list as usize;
            (number > 0).then(|| (list, (number - self.starts[list]) as usize))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::candidates::Listed;
    use super::*;

    const UNSCORED: i32 = -1;

    impl Table {
        /// As [`Table::add_paths`], one path.
        fn add_path(&mut self, id: i32, standing: i32, weight: i64) -> Result<()> {
            let path = [Listed::new(id, standing, weight).0];
            self.add_paths(CandidateList(&path))
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
                table.add_path(id, UNSCORED, weight as i64).unwrap();
                assert_eq!(table.paths_to(id).next(), Some((weight, 0)));
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
        let before = table.know(1, Standing::FOLLOWED);
        assert_eq!(before, Some(Standing::SUSPENDED));
        assert_eq!(table.know(2, Standing::SELF), Some(Standing(7)));
        assert_eq!(table.know(2, Standing::FOLLOWED), Some(Standing::SELF));
        assert_eq!(table.know(3, Standing::FOLLOWED), None);
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

    #[test]
    fn paths_are_found_by_where_they_lead() {
        let mut table = Table::default();
        for _ in 0..2 {
            table.reset(5).unwrap();
            for ids in [&[1, 0, 1][..], &[], &[2, 1]] {
                let list: Vec<_> = ids.iter().map(|&id| Listed::new(id, 5, 1).0).collect();
                table.add_paths(CandidateList(&list)).unwrap();
            }
            let to = |id| table.paths_to(id).collect::<Vec<_>>();
            assert_eq!(to(1), [(2, 1), (0, 2), (0, 0)]);
            assert_eq!(to(0), [(0, 1)]);
            assert_eq!(to(2), [(2, 0)]);
            assert_eq!(to(3), []);
        }
    }
}
