//! One user's candidates, judged and ranked.

use std::cmp::Reverse;

use datafusion::common::Result;

use super::candidates::{CandidateList, Listed};
use super::table::{SUSPENDED, Table};

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

/// A connection that leads to somebody recommended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) rec_id: i32,
    pub(super) reason_id: i32,
    pub(super) weight: i64,
}

/// What a candidate is ranked by.
fn score(candidate: &Listed) -> i128 {
    i128::from(candidate.standing()) * i128::from(candidate.weight())
}

/// A number of 32 bits that is never greater for the smaller of two scores, but may be equal for such as are nearly so.
fn rough_score(candidate: &Listed) -> i32 {
    let score = i64::from(candidate.standing()).saturating_mul(candidate.weight());
    let bits = (score as f32).to_bits().cast_signed();
    // As in `f32::total_cmp`: of two numbers below 0 the greater has the smaller bits.
    bits ^ ((bits >> 31).cast_unsigned() >> 1).cast_signed()
}

/// A number that at least `k` of `scores`, and where they differ hardly more, reach.
///
/// Counting those above a guess takes no branches and many scores at once: a few guesses cost less than moving scores about.
fn reached_by(scores: &[i32], k: usize) -> i32 {
    let (Some(&low), Some(&high)) = (scores.iter().min(), scores.iter().max()) else {
        return i32::MIN;
    };
    // At least k reach `low`, and less than k are above `high`, or these are all the same.
    let (mut low, mut high) = (low, high);
    while low < high {
        let middle = (low & high) + ((low ^ high) >> 1);
        let above = scores.iter().map(|&score| u32::from(score > middle));
        let above = above.sum::<u32>() as usize;
        if above < k {
            high = middle;
        } else {
            low = middle + 1;
            if above <= k + k / 4 {
                break;
            }
        }
    }
    low
}

/// Scratch memory for ranking, passed from user to user, and the last user's result.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    table: Table,
    /// Places in [`Table::judgeable`] of the candidates that nothing speaks against; longer than these are many.
    judged: Vec<u32>,
    /// The rough scores of these.
    scores: Vec<i32>,
    /// The best, rough score and place in one number; the last is nobody while they are chosen.
    best: Vec<u64>,
    /// Score and id, best first.
    pub(super) recommended: Vec<(i128, i32)>,
    /// In the order of the result.
    pub(super) reasons: Vec<Reason>,
    pub(super) tallies: Tallies,
}

impl Ranking {
    /// Ranks what `paths` lead to, keeping the `k` best of at least `min_pred` millionths.
    pub(super) fn rank(
        &mut self,
        user_id: i32,
        paths: &[Paths<'_>],
        followed: &[i32],
        k: usize,
        min_pred: i64,
    ) -> Result<()> {
        self.tallies = Tallies::default();
        let count = paths.iter().map(|paths| paths.candidates.len()).sum();
        self.table.reset(user_id, followed, count)?;
        for Paths { candidates, .. } in paths {
            self.table.add_paths(*candidates);
        }
        self.table.join()?;
        self.judge(min_pred);
        self.choose(k);
        self.collect_reasons(paths);
        Ok(())
    }

    /// Finds the candidates that nothing speaks against and counts the others.
    ///
    /// Whether a candidate is kept is as good as random to the processor. So it is written down in any case, and the next
    /// one goes over it if it is not kept: no branch, none foretold wrongly.
    fn judge(&mut self, min_pred: i64) {
        let candidates = self.table.judgeable();
        if self.judged.len() <= candidates.len() {
            self.judged.resize(candidates.len() + 1, 0);
        }
        let judged = &mut self.judged[..];
        let below = (min_pred.clamp(0, 1 << 31) - 1) as i32;
        let (mut kept, mut suspended, mut unusable) = (0, 0, 0);
        for (at, candidate) in candidates.iter().enumerate() {
            judged[kept] = at as u32;
            let pred = candidate.standing();
            kept += usize::from(pred > below);
            unusable += i64::from(pred < 0);
            suspended += i64::from(pred <= SUSPENDED);
        }
        self.scores.clear();
        let scores = judged[..kept].iter();
        self.scores
            .extend(scores.map(|&at| rough_score(&candidates[at as usize])));
        let (itself, followed) = self.table.known_candidates();
        let repeats = self.table.repeats() as i64;
        let tallies = &mut self.tallies;
        tallies.paths = candidates.len() as i64;
        tallies.itself = i64::from(itself);
        tallies.followed = followed as i64;
        tallies.candidates = tallies.paths - repeats + tallies.itself + tallies.followed;
        tallies.suspended = suspended;
        tallies.without_score = unusable - suspended - repeats;
        tallies.low_reputation = tallies.paths - unusable - kept as i64;
    }

    /// Takes the `k` best: by rough scores a few too many, whose scores then tell.
    fn choose(&mut self, k: usize) {
        let count = self.scores.len();
        let least = match count > k {
            true => reached_by(&self.scores, k),
            false => i32::MIN,
        };
        let best = &mut self.best;
        best.clear();
        best.resize(count + 1, 0);
        let mut chosen = 0;
        for (&at, &score) in self.judged.iter().zip(&self.scores) {
            let in_order = score.cast_unsigned() ^ 1 << 31;
            best[chosen] = u64::from(in_order) << 32 | u64::from(at);
            chosen += usize::from(score >= least);
        }
        best.truncate(chosen);
        best.sort_unstable_by(|one, other| other.cmp(one));
        let candidates = self.table.judgeable();
        let candidate = |one: u64| &candidates[one as u32 as usize];
        for equal in best.chunk_by_mut(|one, other| one >> 32 == other >> 32) {
            equal
                .sort_unstable_by_key(|&one| (Reverse(score(candidate(one))), candidate(one).id()));
        }
        best.truncate(k);
        self.tallies.recommended = best.len() as i64;
        self.tallies.beyond_limit = (count - best.len()) as i64;
        self.recommended.clear();
        let recommended = best.iter().map(|&one| candidate(one));
        self.recommended
            .extend(recommended.map(|candidate| (score(candidate), candidate.id())));
    }

    /// Collects the paths that lead to the recommended.
    fn collect_reasons(&mut self, paths: &[Paths<'_>]) {
        self.reasons.clear();
        for (&one, &(_, rec_id)) in self.best.iter().zip(&self.recommended) {
            let first = self.reasons.len();
            let reasons = self.table.paths_to(one as u32 as usize);
            self.reasons.extend(reasons.map(|(list, place)| Reason {
                rec_id,
                reason_id: paths[list].reason_id,
                weight: paths[list].candidates.get(place).weight(),
            }));
            self.reasons[first..].sort_unstable_by(|one, other| {
                let by_weight = other.weight.cmp(&one.weight);
                by_weight.then(one.reason_id.cmp(&other.reason_id))
            });
        }
    }
}
