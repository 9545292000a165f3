//! Row count and sums of a table: what must be kept when rows move from one file to another.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use datafusion::common::Result;
use serde::{Deserialize, Serialize};

/// Rows, and the sum of every integer in them by its path (`connections.weight`); of lists also the number of items
/// under the list's name. Sums wrap around at 64 bits: they are for comparing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Rows.
    pub rows: u64,
    /// Sums by path.
    pub sums: BTreeMap<String, i64>,
}

impl Digest {
    /// Adds a batch.
    ///
    /// # Errors
    /// None, unless Arrow can't cast an integer to another.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            self.add_array(field.name(), column)?;
        }
        Ok(())
    }

    /// Adds what another digest is of.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (path, sum) in &other.sums {
            self.add_sum(path, *sum);
        }
    }

    /// The sum under `path`; 0 when no row had one.
    pub fn sum(&self, path: &str) -> i64 {
        self.sums.get(path).copied().unwrap_or(0)
    }

    fn add_sum(&mut self, path: &str, sum: i64) {
        let entry = self.sums.entry(path.to_string()).or_default();
        *entry = entry.wrapping_add(sum);
    }

    fn add_array(&mut self, path: &str, array: &ArrayRef) -> Result<()> {
        match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let offsets = list.value_offsets();
                let (start, end) = match (offsets.first(), offsets.last()) {
                    (Some(start), Some(end)) => (*start as usize, *end as usize),
                    _ => (0, 0),
                };
                self.add_sum(path, (end - start) as i64);
                self.add_array(
                    &format!("{path}[]"),
                    &list.values().slice(start, end - start),
                )
            }
            DataType::Struct(fields) => {
                let array = array.as_struct();
                for (field, column) in fields.iter().zip(array.columns()) {
                    self.add_array(&format!("{path}.{}", field.name()), column)?;
                }
                Ok(())
            }
            DataType::Decimal128(_, _) => {
                let values = array.as_primitive::<Decimal128Type>();
                let sum = values
                    .iter()
                    .flatten()
                    .fold(0i64, |sum, value| sum.wrapping_add(value as i64));
                self.add_sum(path, sum);
                Ok(())
            }
            kind if kind.is_integer() || kind.is_temporal() => {
                let values = cast(array, &DataType::Int64)?;
                let values = values.as_primitive::<Int64Type>();
                let sum = values.iter().flatten().fold(0i64, i64::wrapping_add);
                self.add_sum(path, sum);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
