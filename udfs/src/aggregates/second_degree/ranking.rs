//! One user's candidates, judged and ranked.

use std::cmp::Reverse;

use datafusion::common::Result;

use super::lists::CandidateList;
use super::table::{Marks, Table, hash};

/// How many lists of candidates are fetched ahead.
const AHEAD: usize = 3;

/// How many distinct candidates there were and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tallies {
    pub(super) candidates: i64,
    pub(super) itself: i64,
    pub(super) followed: i64,
    pub(super) suspended: i64,
    pub(super) without_score: i64,
    pub(super) low_reputation: i64,
    pub(super) beyond_limit: i64,
    pub(super) recommended: i64,
    /// Pairs of a connection and a candidate.
    pub(super) paths: i64,
}

/// What leads from a user over one of its connections.
#[derive(Clone, Copy)]
pub(super) struct Paths<'a> {
    pub(super) reason_id: i32,
    pub(super) candidates: CandidateList<'a>,
}

/// Scratch memory for ranking, passed from user to user, and the last user's result.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    table: Table,
    /// Score and id, best first.
    pub(super) recommended: Vec<(Reverse<i128>, i32)>,
    /// Place in `recommended`, weight and reason, in the order of the result.
    pub(super) reasons: Vec<(u32, Reverse<i64>, i32)>,
    pub(super) tallies: Tallies,
    /// The recommended by id, with their place.
    places: Vec<(i32, u32)>,
}

impl Ranking {
    /// Ranks what `paths` lead to, keeping the `k` best of at least `min_pred` millionths.
    pub(super) fn rank<'a>(
        &mut self,
        user_id: i32,
        paths: &[Paths<'a>],
        followed: &[&'a [i32]],
        k: usize,
        min_pred: i64,
    ) -> Result<()> {
        let count: usize = paths.iter().map(|paths| paths.candidates.ids.len()).sum();
        self.table
            .reset(1 + count + followed.iter().map(|ids| ids.len()).sum::<usize>())?;
        self.table.mark(user_id, Marks::SELF);
        for &id in followed.iter().copied().flatten() {
            self.table.mark(id, Marks::FOLLOWED);
        }
        for (place, Paths { candidates, .. }) in paths.iter().enumerate() {
            if let Some(ahead) = paths.get(place + AHEAD) {
                ahead.candidates.prefetch();
            }
            for (at, (&id, &weight)) in candidates.ids.iter().zip(candidates.weights).enumerate() {
                self.table
                    .add_path(id, weight, candidates.pred(at), candidates.suspended(at))?;
            }
        }
        self.tallies = Tallies {
            paths: count as i64,
            ..Tallies::default()
        };
        self.judge(min_pred);
        if self.recommended.len() > k {
            self.tallies.beyond_limit = (self.recommended.len() - k) as i64;
            self.recommended.select_nth_unstable(k);
            self.recommended.truncate(k);
        }
        self.tallies.recommended = self.recommended.len() as i64;
        self.recommended.sort_unstable();
        self.collect_reasons(paths);
        Ok(())
    }

    /// Scores the candidates that nothing speaks against and counts the others.
    fn judge(&mut self, min_pred: i64) {
        self.recommended.clear();
        let tallies = &mut self.tallies;
        for candidate in self
            .table
            .candidates()
            .iter()
            .filter(|candidate| candidate.marks.has(Marks::REACHED))
        {
            tallies.candidates += 1;
            let marks = candidate.marks;
            if marks.has(Marks::SELF) {
                tallies.itself += 1;
            } else if marks.has(Marks::FOLLOWED) {
                tallies.followed += 1;
            } else if marks.has(Marks::SUSPENDED) {
                tallies.suspended += 1;
            } else if !marks.has(Marks::SCORED) {
                tallies.without_score += 1;
            } else if candidate.pred < min_pred {
                tallies.low_reputation += 1;
            } else {
                // Two factors of 64 bits: at most 2^126, which is less than 10^38.
                let score = i128::from(candidate.pred) * i128::from(candidate.weight);
                self.recommended.push((Reverse(score), candidate.id));
            }
        }
    }

    /// Goes through the paths once more for those that lead to the recommended.
    fn collect_reasons(&mut self, paths: &[Paths<'_>]) {
        self.reasons.clear();
        self.places.clear();
        self.places.extend(
            self.recommended
                .iter()
                .enumerate()
                .map(|(place, &(_, id))| (id, place as u32)),
        );
        self.places.sort_unstable();
        // A filter of 4096 bits by hash: nearly every other id stops here.
        let mut filter = [0u64; 64];
        let bit = |id: i32| ((hash(id) >> 26) as usize, 1u64 << ((hash(id) >> 20) & 63));
        for &(id, _) in &self.places {
            let (word, bit) = bit(id);
            filter[word] |= bit;
        }
        for &Paths {
            reason_id,
            candidates,
        } in paths
        {
            for (&id, &weight) in candidates.ids.iter().zip(candidates.weights) {
                let (word, bit) = bit(id);
                if filter[word] & bit != 0
                    && let Ok(at) = self.places.binary_search_by_key(&id, |&(id, _)| id)
                {
                    self.reasons
                        .push((self.places[at].1, Reverse(weight), reason_id));
                }
            }
        }
        self.reasons.sort_unstable();
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.table.size()
            + self.recommended.capacity() * size_of::<(Reverse<i128>, i32)>()
            + self.reasons.capacity() * size_of::<(u32, Reverse<i64>, i32)>()
            + self.places.capacity() * size_of::<(i32, u32)>()
    }
}
