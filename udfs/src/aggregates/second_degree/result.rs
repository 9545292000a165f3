//! The result column of `second_degree`.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Fields};
use datafusion::arrow;
use datafusion::common::Result;

use super::super::arguments::{Offsets, field, list_array, list_of, struct_array};
use super::ranking::{Ranking, Tallies};

const SCORE: (u8, i8) = (38, 0);

static REASON: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("rec_id", DataType::Int32),
        field("reason_id", DataType::Int32),
        field("weight", DataType::Int64),
    ])
});

static RECOMMENDATION: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field("rec_id", DataType::Int32),
        field("score", DataType::Decimal128(SCORE.0, SCORE.1)),
    ])
});

/// A count's name and how to get it.
type Tally = (&'static str, fn(&Tallies) -> i64);

const TALLIES: [Tally; 9] = [
    ("candidates", |t| t.candidates),
    ("self", |t| t.itself),
    ("followed", |t| t.followed),
    ("suspended", |t| t.suspended),
    ("without_score", |t| t.without_score),
    ("low_reputation", |t| t.low_reputation),
    ("beyond_limit", |t| t.beyond_limit),
    ("recommended", |t| t.recommended),
    ("paths", |t| t.paths),
];

static TALLY_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    TALLIES
        .iter()
        .map(|(name, _)| field(name, DataType::Int64))
        .collect()
});

/// The fields of the result.
pub(super) static RESULT: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        field(
            "recommendations",
            list_of(DataType::Struct(RECOMMENDATION.clone())),
        ),
        field("reasons", list_of(DataType::Struct(REASON.clone()))),
        field("tallies", DataType::Struct(TALLY_FIELDS.clone())),
    ])
});

/// The result under construction, user by user.
pub(super) struct ResultBuilder {
    rec_ids: Vec<i32>,
    scores: Vec<i128>,
    recommendation_offsets: Offsets,
    recommended: Vec<i32>,
    reason_ids: Vec<i32>,
    weights: Vec<i64>,
    reason_offsets: Offsets,
    tallies: Vec<Tallies>,
    present: Vec<bool>,
}

impl ResultBuilder {
    /// For that many users.
    pub(super) fn with_capacity(users: usize) -> Self {
        Self {
            rec_ids: Vec::new(),
            scores: Vec::new(),
            recommendation_offsets: Offsets::with_capacity(users),
            recommended: Vec::new(),
            reason_ids: Vec::new(),
            weights: Vec::new(),
            reason_offsets: Offsets::with_capacity(users),
            tallies: Vec::with_capacity(users),
            present: Vec::with_capacity(users),
        }
    }

    /// Appends a group without rows.
    pub(super) fn append_null(&mut self) -> Result<()> {
        self.end_user(Tallies::default(), false)
    }

    /// Appends the user that was ranked last.
    pub(super) fn append(&mut self, ranking: &Ranking) -> Result<()> {
        let recommended = ranking.recommended.iter();
        self.rec_ids.extend(recommended.clone().map(|one| one.1));
        self.scores.extend(recommended.map(|one| one.0));
        let reasons = ranking.reasons.iter();
        self.recommended
            .extend(reasons.clone().map(|reason| reason.rec_id));
        self.reason_ids
            .extend(reasons.clone().map(|reason| reason.reason_id));
        self.weights.extend(reasons.map(|reason| reason.weight));
        self.end_user(ranking.tallies, true)
    }

    fn end_user(&mut self, tallies: Tallies, present: bool) -> Result<()> {
        self.recommendation_offsets.end_at(self.rec_ids.len())?;
        self.reason_offsets.end_at(self.reason_ids.len())?;
        self.tallies.push(tallies);
        self.present.push(present);
        Ok(())
    }

    /// The finished column.
    pub(super) fn finish(self) -> Result<StructArray> {
        let scores =
            Decimal128Array::from(self.scores).with_precision_and_scale(SCORE.0, SCORE.1)?;
        let recommendations = vec![
            Arc::new(Int32Array::from(self.rec_ids)) as ArrayRef,
            Arc::new(scores),
        ];
        let reasons = vec![
            Arc::new(Int32Array::from(self.recommended)) as ArrayRef,
            Arc::new(Int32Array::from(self.reason_ids)),
            Arc::new(Int64Array::from(self.weights)),
        ];
        let count =
            |get: fn(&Tallies) -> i64| Int64Array::from_iter_values(self.tallies.iter().map(get));
        let tallies = TALLIES
            .iter()
            .map(|(_, get)| Arc::new(count(*get)) as ArrayRef)
            .collect();
        let lists = |offsets: Offsets, fields, columns| {
            list_array(
                offsets.finish(),
                Arc::new(struct_array(fields, columns)?),
                None,
            )
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(lists(
                self.recommendation_offsets,
                &RECOMMENDATION,
                recommendations,
            )?),
            Arc::new(lists(self.reason_offsets, &REASON, reasons)?),
            Arc::new(struct_array(&TALLY_FIELDS, tallies)?),
        ];
        Ok(StructArray::try_new(
            RESULT.clone(),
            columns,
            Some(NullBuffer::from(self.present)),
        )?)
    }
}
