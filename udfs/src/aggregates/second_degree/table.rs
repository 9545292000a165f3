//! All paths of one user, joined by where they lead, in memory that the next user takes over.

use datafusion::common::{Result, exec_err};

use super::candidates::{CandidateList, Listed};

/// The standing of somebody suspended, whatever the score; what is less says the same.
pub(super) const SUSPENDED: i32 = -2;
/// The standing of somebody without a score.
const WITHOUT_SCORE: i32 = -1;

/// The standing of whom two paths disagree about: the reason that is judged first, or the greater reputation.
fn both(one: i32, other: i32) -> i32 {
    if one.min(other) <= SUSPENDED {
        SUSPENDED
    } else {
        one.max(other)
    }
}

/// Everybody known before is first written down as if by a path of no weight, the user itself before all others; then
/// come the lists. The first path to somebody stands for them all.
///
/// First paths are found in rounds, and nearly all in the first round. Every path writes its number into the slot of where
/// it leads, from the last path to the first, so that the first one stays. Then every path looks who stayed: itself, the
/// first to the same, or one that leads to somebody else and has driven out all that lead to the same. The last are those
/// of the next round. There is nothing to wait for and, in the long loops, nothing to foretell wrongly; and no slot has to be
/// emptied, since none is read but those just written.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// What the paths say. A first path tells the sum of the weights, the others lead nowhere any more: see
    /// [`Self::judgeable`]. Longer than the paths are many, as `ways` and `later`.
    paths: Vec<Listed>,
    ways: Vec<Way>,
    /// How many paths there are so far.
    count: usize,
    /// How many of them stand for those known before.
    known: usize,
    /// The first path of each list.
    starts: Vec<usize>,
    /// How many paths of lists are not the first to somebody.
    repeats: usize,
    /// Slots for up to [`FEW`] paths, which stay in the first cache.
    few: Vec<u16>,
    /// Slots for more.
    many: Vec<u32>,
    later: Vec<Later>,
    lost: Vec<u32>,
}

/// How a path is reached.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// Another path to the same: of a first path the last one, of others the one before. 0 for none: that is the user.
    other: u32,
    list: u32,
}

/// A path and the one that was found in its slot.
#[derive(Clone, Copy, Debug, Default)]
struct Later {
    found: u32,
    path: u32,
}

/// Nearly all users have no more paths.
const FEW: usize = 2048;
/// A quarter of the slots taken costs a path in some ten a second round.
const SLOTS_A_PATH: usize = 4;
/// With fewer than the candidates there are more rounds.
const MOST_SLOTS: usize = 1 << 28;

/// The number of a path, as slots hold it.
trait Number: Copy + Into<u32> {
    /// Of a number that is small enough.
    fn of(path: usize) -> Self;
}

impl Number for u16 {
    fn of(path: usize) -> Self {
        path as u16
    }
}

impl Number for u32 {
    fn of(path: usize) -> Self {
        path as u32
    }
}

/// The slot of `id` among a power of two of them, by Knuth's multiplicative hashing (TAOCP 6.4), whose upper bits are the
/// good ones.
#[inline(always)]
fn slot_of<N>(slots: &[N], id: i32) -> usize {
    let hash = id.cast_unsigned().wrapping_mul(0x9E37_79B1);
    (hash >> (u32::BITS - slots.len().trailing_zeros())) as usize & (slots.len() - 1)
}

/// A round for `paths` with their ids: gives how many of them are `later` than another in the same slot.
#[inline(always)]
fn meet<N: Number>(
    paths: impl DoubleEndedIterator<Item = (usize, i32)> + Clone,
    slots: &mut [N],
    later: &mut [Later],
) -> usize {
    for (path, id) in paths.clone().rev() {
        slots[slot_of(slots, id)] = N::of(path);
    }
    let mut count = 0;
    for (path, id) in paths {
        let (found, path) = (slots[slot_of(slots, id)].into(), path as u32);
        later[count] = Later { found, path };
        count += usize::from(found != path);
    }
    count
}

impl Table {
    /// Forgets everything, writes down who is known, and makes room for `paths` paths.
    pub(super) fn reset(&mut self, user_id: i32, followed: &[i32], paths: usize) -> Result<()> {
        if paths > 1 << 28 {
            return exec_err!("second_degree: more than 2^28 paths for one user");
        }
        self.known = 1 + followed.len();
        let room = self.known + paths;
        if self.paths.len() < room {
            self.paths.resize(room, Listed::new(0, 0, 0));
            self.ways.resize(room, Way::default());
            self.later.resize(room, Later::default());
        }
        let known = std::iter::once(&user_id).chain(followed);
        for ((path, way), &id) in self.paths.iter_mut().zip(&mut self.ways).zip(known) {
            *path = Listed::new(id, WITHOUT_SCORE, 0);
            *way = Way::default();
        }
        self.count = self.known;
        self.starts.clear();
        self.repeats = 0;
        Ok(())
    }

    /// Adds a list of paths. [`Self::reset`] must have made room for them.
    pub(super) fn add_paths(&mut self, listed: CandidateList<'_>) {
        let (first, list) = (self.count, self.starts.len() as u32);
        self.starts.push(first);
        self.count += listed.len();
        let paths = &mut self.paths[first..self.count];
        let ways = &mut self.ways[first..self.count];
        for ((path, way), listed) in paths.iter_mut().zip(ways).zip(listed.iter()) {
            *path = listed;
            *way = Way { other: 0, list };
        }
    }

    /// Joins the paths to the same, once all are added.
    pub(super) fn join(&mut self) -> Result<()> {
        let fits = if self.count <= FEW {
            let mut slots = std::mem::take(&mut self.few);
            slots.resize(SLOTS_A_PATH * FEW, 0);
            // A number of slots that the compiler knows makes the loops shorter.
            let fits = self.join_in(&mut slots[..SLOTS_A_PATH * FEW]);
            self.few = slots;
            fits
        } else {
            let size = (SLOTS_A_PATH * self.count).next_power_of_two();
            let size = size.min(MOST_SLOTS);
            let mut slots = std::mem::take(&mut self.many);
            slots.resize(slots.len().max(size), 0);
            let fits = self.join_in(&mut slots[..size]);
            self.many = slots;
            fits
        };
        if !fits {
            return exec_err!("second_degree: the weights of a candidate exceed 64 bits");
        }
        Ok(())
    }

    /// With these slots; tells whether all sums fit 64 bits.
    #[inline(always)]
    fn join_in<N: Number>(&mut self, slots: &mut [N]) -> bool {
        let paths = &mut self.paths[..self.count];
        let ways = &mut self.ways[..self.count];
        let all = paths.iter().map(Listed::id).enumerate();
        let mut count = meet(all, slots, &mut self.later);
        let mut fits = true;
        while count > 0 {
            self.lost.clear();
            for &Later { found, path } in &self.later[..count] {
                let (first, this) = (found as usize, path as usize);
                let (before, said) = (paths[first], paths[this]);
                if before.id() != said.id() {
                    self.lost.push(path);
                } else if this >= self.known {
                    let (sum, overflows) = before.weight().overflowing_add(said.weight());
                    fits &= !overflows;
                    let standing = both(before.standing(), said.standing());
                    paths[first] = Listed::new(said.id(), standing, sum);
                    paths[this] = Listed::new(said.id(), WITHOUT_SCORE, 0);
                    ways[this].other = ways[first].other;
                    ways[first].other = path;
                    self.repeats += 1;
                }
            }
            let ids = |&path: &u32| (path as usize, paths[path as usize].id());
            count = meet(self.lost.iter().map(ids), slots, &mut self.later);
        }
        fits
    }

    /// The paths of all lists. Each candidate is there once, with all that is known of it, among others without a score:
    /// these are [`Self::repeats`].
    ///
    /// Those known before are not there, but their paths are.
    pub(super) fn judgeable(&self) -> &[Listed] {
        &self.paths[self.known..self.count]
    }

    /// How many of [`Self::judgeable`] are no candidates to judge.
    pub(super) fn repeats(&self) -> usize {
        self.repeats
    }

    /// Whether the user itself is a candidate, and how many of the followed are.
    pub(super) fn known_candidates(&self) -> (bool, usize) {
        let is_candidate = |way: &Way| way.other > 0;
        let (itself, followed) = (&self.ways[0], &self.ways[1..self.known]);
        let followed = followed.iter().filter(|way| is_candidate(way)).count();
        (is_candidate(itself), followed)
    }

    /// The paths to the candidate at that place of [`Self::judgeable`]: list, and place in it.
    pub(super) fn paths_to(&self, at: usize) -> impl Iterator<Item = (usize, usize)> {
        let mut next = self.known + at;
        std::iter::from_fn(move || {
            let path = next;
            let Way { other, list } = self.ways[path];
            next = other as usize;
            (path > 0).then(|| (list as usize, path - self.starts[list as usize]))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SOMEBODY: i32 = 1_000_000;

    /// A table of `lists`: id, standing, weight.
    fn joined(table: &mut Table, followed: &[i32], lists: &[&[(i32, i32, i64)]]) -> Result<()> {
        let count = lists.iter().map(|list| list.len()).sum();
        table.reset(SOMEBODY, followed, count)?;
        for list in lists {
            let listed = list
                .iter()
                .map(|&(id, standing, weight)| Listed::new(id, standing, weight));
            let words: Vec<_> = listed.map(|listed| listed.0).collect();
            table.add_paths(CandidateList(&words));
        }
        table.join()
    }

    /// Id, standing and weight of what is to be judged, without the paths that are none of it.
    fn candidates(table: &Table) -> BTreeMap<i32, (i32, i64)> {
        let mut found = BTreeMap::new();
        let mut repeats = 0;
        for listed in table.judgeable() {
            match found.contains_key(&listed.id()) {
                true => repeats += 1,
                false => _ = found.insert(listed.id(), (listed.standing(), listed.weight())),
            }
        }
        assert_eq!(table.repeats(), repeats);
        found
    }

    #[test]
    fn adds_up_like_a_map_and_forgets_on_reset() {
        let mut table = Table::default();
        for (round, count) in [(1, 1000), (2, 5000), (3, 1000), (4, 9)] {
            let ids = (0..count).map(|i| (i * 7919 * round) % 400 - 200);
            let list: Vec<_> = (ids.chain([i32::MIN, i32::MAX]).zip(0..))
                .map(|(id, weight)| (id, 5, weight))
                .collect();
            let mut expected = BTreeMap::new();
            for &(id, standing, weight) in &list {
                expected.entry(id).or_insert((standing, 0)).1 += weight;
            }
            joined(&mut table, &[], &[&list[..3], &list[3..]]).unwrap();
            assert_eq!(candidates(&table), expected);
        }
    }

    #[test]
    fn those_who_share_a_slot_have_a_round_each() {
        // The inverse of the hash function: so many numbers in the same slot.
        let inverse = (0..5).fold(0x9E37_79B1_u32, |x, _| {
            x.wrapping_mul(2_u32.wrapping_sub(x.wrapping_mul(0x9E37_79B1)))
        });
        let ids = (1..100_u32).map(|hash| hash.wrapping_mul(inverse).cast_signed());
        let list: Vec<_> = ids.map(|id| (id, 1, i64::from(id))).collect();
        let mut table = Table::default();
        joined(&mut table, &[], &[&list, &list]).unwrap();
        let expected = list.iter().map(|&(id, ..)| (id, (1, 2 * i64::from(id))));
        assert_eq!(candidates(&table), expected.collect());
    }

    #[test]
    fn paths_that_disagree_give_the_same_in_any_order() {
        let three = [3, WITHOUT_SCORE, 5];
        let suspended = [3, WITHOUT_SCORE, -7];
        for (standings, expected) in [(three, 5), (suspended, SUSPENDED)] {
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
                let list = order.map(|at| (1, standings[at], 1));
                let mut table = Table::default();
                joined(&mut table, &[], &[&list]).unwrap();
                assert_eq!(candidates(&table), [(1, (expected, 3))].into());
            }
        }
    }

    #[test]
    fn whoever_is_known_is_not_judged_but_counted_once() {
        let mut table = Table::default();
        // Followed twice, the user itself, a suspended one, and nobody's candidate.
        let followed = [2, 2, SOMEBODY, 3, 9];
        let list = [
            (1, 7, 1),
            (2, 7, 1),
            (SOMEBODY, 7, 1),
            (3, -2, 1),
            (2, 7, 1),
        ];
        joined(&mut table, &followed, &[&list]).unwrap();
        assert_eq!(table.known_candidates(), (true, 2));
        let judged = table.judgeable().iter();
        let judged = judged.filter(|listed| listed.standing() != WITHOUT_SCORE);
        assert_eq!(judged.copied().collect::<Vec<_>>(), [Listed::new(1, 7, 1)]);
        assert_eq!(table.repeats(), 4);
    }

    #[test]
    fn weights_beyond_64_bits_are_an_error() {
        let list = [(1, 5, i64::MAX), (1, 5, 1)];
        let mut table = Table::default();
        assert!(joined(&mut table, &[], &[&list]).is_err());
        assert!(joined(&mut table, &[1], &[&list]).is_err());
        joined(&mut table, &[], &[&list[1..]]).unwrap();
    }

    #[test]
    fn paths_are_found_by_where_they_lead() {
        let mut table = Table::default();
        for _ in 0..2 {
            let path = |id: i32| (id, 5, 1);
            let lists = [&[1, 0, 1].map(path)[..], &[], &[2, 1].map(path)];
            joined(&mut table, &[8], &lists).unwrap();
            let to = |at| table.paths_to(at).collect::<Vec<_>>();
            assert_eq!(to(0), [(0, 0), (2, 1), (0, 2)]);
            assert_eq!(to(1), [(0, 1)]);
            assert_eq!(to(3), [(2, 0)]);
        }
    }
}
