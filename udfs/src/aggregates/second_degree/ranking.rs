//! One user's candidates, judged and ranked.

use datafusion::common::Result;

use super::candidates::CandidateList;
use super::table::{Candidate, Standing, Table};

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

/// A candidate's score and id in one number: the greater, the better.
type Key = u128;

/// What makes any score positive: it is less than 2^31 times 2^63 either way.
const BIAS: i128 = 1 << 94;

/// The sign of an id.
const SIGN: u32 = 1 << 31;

/// A score takes 95 bits, an id 32: they fit whatever they are.
fn key(candidate: &Candidate) -> Key {
    let score = i128::from(candidate.standing.pred()) * i128::from(candidate.weight);
    let smaller_first = !(candidate.id.cast_unsigned() ^ SIGN);
    (score + BIAS).cast_unsigned() << 32 | Key::from(smaller_first)
}

/// Score and id.
fn of_key(key: Key) -> (i128, i32) {
    let id = !(key as u32) ^ SIGN;
    ((key >> 32).cast_signed() - BIAS, id.cast_signed())
}

/// Scratch memory for ranking, passed from user to user, and the last user's result.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    table: Table,
    /// Positions among the candidates of those that nothing speaks against; longer than these are many.
    judged: Vec<u32>,
    /// What these are ranked by.
    keys: Vec<Key>,
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
        self.add_up(paths)?;
        let tallies = &mut self.tallies;
        for &id in followed {
            let before = self.table.know(id, Standing::FOLLOWED);
            tallies.followed +=
                i64::from(before.is_some_and(|before| before != Standing::FOLLOWED));
        }
        let before = self.table.know(user_id, Standing::SELF);
        tallies.itself = i64::from(before.is_some());
        tallies.followed -= i64::from(before == Some(Standing::FOLLOWED));
        self.judge(min_pred);
        self.choose(k);
        self.collect_reasons(paths);
        Ok(())
    }

    /// Finds the candidates and the weights that lead to them.
    fn add_up(&mut self, paths: &[Paths<'_>]) -> Result<()> {
        let count = paths.iter().map(|paths| paths.candidates.len()).sum();
        self.table.reset(count)?;
        self.tallies.paths = count as i64;
        for Paths { candidates, .. } in paths {
            self.table.add_paths(*candidates)?;
        }
        Ok(())
    }

    /// Makes keys of the candidates that nothing speaks against and counts the others.
    ///
    /// Whether a candidate is kept is as good as random to the processor. So it is written down in any case, and the next
    /// one goes over it if it is not kept: no branch, none foretold wrongly.
    fn judge(&mut self, min_pred: i64) {
        let candidates = self.table.candidates();
        if self.judged.len() <= candidates.len() {
            self.judged.resize(candidates.len() + 1, 0);
        }
        let below = (min_pred.clamp(0, 1 << 31) - 1) as i32;
        let (mut kept, mut suspended, mut unusable) = (0, 0, 0);
        for (at, candidate) in candidates.iter().enumerate() {
            self.judged[kept] = at as u32;
            let pred = candidate.standing.pred();
            kept += usize::from(pred > below);
            unusable += i64::from(pred < 0);
            suspended += i64::from(candidate.standing == Standing::SUSPENDED);
        }
        self.keys.clear();
        let judged = self.judged[..kept].iter();
        self.keys
            .extend(judged.map(|&at| key(&candidates[at as usize])));
        let tallies = &mut self.tallies;
        tallies.candidates = candidates.len() as i64;
        tallies.suspended = suspended;
        tallies.without_score = unusable - suspended - tallies.followed - tallies.itself;
        tallies.low_reputation = tallies.candidates - unusable - kept as i64;
    }

    /// Takes the `k` best.
    fn choose(&mut self, k: usize) {
        let keys = &mut self.keys;
        if keys.len() > k {
            self.tallies.beyond_limit = (keys.len() - k) as i64;
            keys.select_nth_unstable_by(k, |one, other| other.cmp(one));
            keys.truncate(k);
        }
        self.tallies.recommended = keys.len() as i64;
        keys.sort_unstable_by(|one, other| other.cmp(one));
        self.recommended.clear();
        self.recommended.extend(keys.iter().map(|&key| of_key(key)));
    }

    /// Collects the paths that lead to the recommended.
    fn collect_reasons(&mut self, paths: &[Paths<'_>]) {
        self.reasons.clear();
        for &(_, rec_id) in &self.recommended {
            let first = self.reasons.len();
            let reasons = self.table.paths_to(rec_id).map(|(list, place)| Reason {
                rec_id,
                reason_id: paths[list].reason_id,
                weight: paths[list].candidates.get(place).weight(),
            });
            self.reasons.extend(reasons);
            self.reasons[first..].sort_unstable_by(|one, other| {
                let by_weight = other.weight.cmp(&one.weight);
                by_weight.then(one.reason_id.cmp(&other.reason_id))
            });
        }
    }
}
