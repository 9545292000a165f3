//! One user's candidates, judged and ranked.

use std::cmp::Reverse;

use datafusion::common::Result;

use super::lists::CandidateList;
use super::table::{Standing, Table};

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
    /// The candidate of each path, by position in the table.
    reached: Vec<u32>,
    /// Positions in the table of those that nothing speaks against; longer than these are many.
    judged: Vec<u32>,
    /// Score, id and position in the table, best first.
    pub(super) recommended: Vec<(Reverse<i128>, i32, u32)>,
    /// The place in `recommended` of each candidate, or [`NOWHERE`].
    places: Vec<u32>,
    /// Reasons as they are found; longer than these are many.
    walked: Vec<(u32, Reverse<i64>, i32)>,
    /// Place in `recommended`, weight and reason, in the order of the result.
    pub(super) reasons: Vec<(u32, Reverse<i64>, i32)>,
    pub(super) tallies: Tallies,
}

/// The place of those who are not recommended.
const NOWHERE: u32 = u32::MAX;

impl Ranking {
    /// Ranks what `paths` lead to, keeping the `k` best of at least `min_pred` millionths.
    ///
    /// Whether a candidate or a path is kept is as good as random to the processor. So both are written down in any case,
    /// and the next one goes over those that are not kept: no branch, none foretold wrongly.
    pub(super) fn rank<'a>(
        &mut self,
        user_id: i32,
        paths: &[Paths<'a>],
        followed: &[&'a [i32]],
        k: usize,
        min_pred: i64,
    ) -> Result<()> {
        self.add_up(paths)?;
        for &id in followed.iter().copied().flatten() {
            self.table.know(id, Standing::FOLLOWED);
        }
        self.table.know(user_id, Standing::SELF);
        self.tallies = Tallies {
            paths: self.reached.len() as i64,
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

    /// Finds the candidates and the weights that lead to them.
    fn add_up(&mut self, paths: &[Paths<'_>]) -> Result<()> {
        for paths in paths.iter().take(AHEAD) {
            paths.candidates.prefetch();
        }
        let count = paths.iter().map(|paths| paths.candidates.ids.len()).sum();
        self.table.reset(count)?;
        self.reached.clear();
        self.reached.resize(count, 0);
        let mut rest = &mut self.reached[..];
        for (place, Paths { candidates, .. }) in paths.iter().enumerate() {
            if let Some(ahead) = paths.get(place + AHEAD) {
                ahead.candidates.prefetch();
            }
            let reached = rest.split_off_mut(..candidates.ids.len());
            self.table.add_paths(
                candidates.ids,
                candidates.standings,
                candidates.weights,
                reached.unwrap_or_default(),
            )?;
        }
        Ok(())
    }

    /// Scores the candidates that nothing speaks against and counts the others.
    fn judge(&mut self, min_pred: i64) {
        let candidates = self.table.candidates();
        let tallies = &mut self.tallies;
        if self.judged.len() <= candidates.len() {
            self.judged.resize(candidates.len() + 1, 0);
        }
        let mut kept = 0;
        for (at, candidate) in candidates.iter().enumerate() {
            let pred = candidate.standing.pred();
            self.judged[kept] = at as u32;
            let scored = pred >= 0;
            let enough = i64::from(pred) >= min_pred;
            kept += usize::from(scored & enough);
            tallies.low_reputation += i64::from(scored & !enough);
            if !scored {
                *match candidate.standing {
                    Standing::SELF => &mut tallies.itself,
                    Standing::FOLLOWED => &mut tallies.followed,
                    Standing::SUSPENDED => &mut tallies.suspended,
                    _ => &mut tallies.without_score,
                } += 1;
            }
        }
        tallies.candidates = candidates.len() as i64;
        let scored = |&at: &u32| {
            let candidate = candidates[at as usize];
            // At most 2^31 times 2^63, which is less than 10^38.
            let score = i128::from(candidate.standing.pred()) * i128::from(candidate.weight);
            (Reverse(score), candidate.id, at)
        };
        self.recommended.clear();
        self.recommended
            .extend(self.judged[..kept].iter().map(scored));
    }

    /// Goes through the paths once more for those that lead to the recommended.
    fn collect_reasons(&mut self, paths: &[Paths<'_>]) {
        self.places.clear();
        self.places.resize(self.table.candidates().len(), NOWHERE);
        for (place, &(_, _, at)) in self.recommended.iter().enumerate() {
            self.places[at as usize] = place as u32;
        }
        if self.walked.len() <= self.reached.len() {
            let none = (NOWHERE, Reverse(0), 0);
            self.walked.resize(self.reached.len() + 1, none);
        }
        let mut kept = 0;
        let mut reached = self.reached.iter();
        for paths in paths {
            for (&weight, &at) in paths.candidates.weights.iter().zip(&mut reached) {
                let place = self.places[at as usize];
                self.walked[kept] = (place, Reverse(weight), paths.reason_id);
                kept += usize::from(place != NOWHERE);
            }
        }
        self.reasons.clear();
        self.reasons.extend_from_slice(&self.walked[..kept]);
        self.reasons.sort_unstable();
    }

    /// Memory held, in bytes.
    pub(super) fn size(&self) -> usize {
        self.table.size()
            + self.reached.capacity() * size_of::<u32>()
            + self.judged.capacity() * size_of::<u32>()
            + self.walked.capacity() * size_of::<(u32, Reverse<i64>, i32)>()
            + self.recommended.capacity() * size_of::<(Reverse<i128>, i32, u32)>()
            + self.places.capacity() * size_of::<u32>()
            + self.reasons.capacity() * size_of::<(u32, Reverse<i64>, i32)>()
    }
}
