//! One group, for queries without GROUP BY and for windows: the same code with a single group.

use std::fmt;

use arrow::array::ArrayRef;
use datafusion::arrow;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// A [`GroupsAccumulator`] of which only group 0 is used.
pub(super) struct SingleGroup<G>(G);

impl<G> fmt::Debug for SingleGroup<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SingleGroup")
    }
}

impl<G: GroupsAccumulator + Sync> SingleGroup<G> {
    /// Wraps an accumulator that holds one group without rows.
    pub(super) fn new(groups: G) -> Self {
        Self(groups)
    }
}

impl<G: GroupsAccumulator + Sync> Accumulator for SingleGroup<G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |v| v.len());
        self.0.update_batch(values, &vec![0; rows], None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |v| v.len());
        self.0.merge_batch(states, &vec![0; rows], 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // A window asks again and again, so what is emitted is put back.
        let state = self.0.state(EmitTo::All)?;
        self.0.merge_batch(&state, &[0], 1)?;
        let value = ScalarValue::try_from_array(&self.0.evaluate(EmitTo::All)?, 0)?;
        self.0.merge_batch(&state, &[0], 1)?;
        Ok(value)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = self.0.state(EmitTo::All)?;
        self.0.merge_batch(&state, &[0], 1)?;
        state
            .iter()
            .map(|column| ScalarValue::try_from_array(column, 0))
            .collect()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.size()
    }
}
