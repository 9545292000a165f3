//! The values that the plans are run with.

use std::collections::HashMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

/// Days from the anchor to the as-of: 27 weeks.
pub const DAYS_OF_WEEKS: u64 = 189;
const SECONDS_A_DAY: i64 = 86_400;

/// Everything that decides a run's results beside its input and its model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The moment as of which the day is known; records after it are left out.
    pub as_of: DateTime<Utc>,
    /// How many days an engagement counts.
    pub lookback_days: u32,
    /// Closest connections kept a user.
    pub closest: u32,
    /// Recommendations kept a user.
    pub recommendations: u32,
    /// The lowest reputation that is recommended, in millionths.
    pub min_pred: u32,
    /// The day before the first day of week 1.
    pub week_anchor: NaiveDate,
    /// The ranking's name, one of [`crate::plans::RANKINGS`].
    pub ranking: String,
}

impl Parameters {
    /// The defaults of the contract for `as_of`.
    pub fn new(as_of: DateTime<Utc>) -> Self {
        Self {
            as_of,
            lookback_days: 90,
            closest: 50,
            recommendations: 20,
            min_pred: 500_000,
            week_anchor: default_anchor(as_of),
            ranking: "seed".into(),
        }
    }

    /// The lookback in seconds, the unit of weights.
    pub fn lookback_seconds(&self) -> i64 {
        i64::from(self.lookback_days) * SECONDS_A_DAY
    }

    /// The values by the names under which the plans use them.
    pub fn values(&self) -> HashMap<String, ScalarValue> {
        let anchor_day = self
            .week_anchor
            .signed_duration_since(NaiveDate::default())
            .num_days();
        [
            ("as_of", self.as_of.timestamp()),
            ("lookback_seconds", self.lookback_seconds()),
            ("closest", i64::from(self.closest)),
            ("recommendations", i64::from(self.recommendations)),
            ("min_pred", i64::from(self.min_pred)),
            ("anchor_day", anchor_day),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), ScalarValue::Int64(Some(value))))
        .collect()
    }
}

/// The anchor when none is given: so that week 27 ends with the day of the as-of.
pub fn default_anchor(as_of: DateTime<Utc>) -> NaiveDate {
    let day = as_of.date_naive();
    day.checked_sub_days(Days::new(DAYS_OF_WEEKS))
        .unwrap_or(day)
}
