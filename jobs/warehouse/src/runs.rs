//! The `runs` table: which versions of the tables belong to which run. Its commits are the moments
//! of publishing.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use serde::{Deserialize, Serialize};

use super::error::WarehouseError;
use super::report::Report;
use super::tables::{PerTable, Table};

/// Name of the table's folder.
pub(super) const NAME: &str = "runs";
/// One sentence about the table.
pub(super) const COMMENT: &str =
    "Which versions of the tables belong to which run; the last row is the current run";

/// Why a run was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationKind {
    /// It was computed.
    Publish,
    /// An earlier run was made current again.
    Rollback,
}

impl PublicationKind {
    /// As in the column `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for PublicationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PublicationKind {
    type Err = WarehouseError;

    fn from_str(name: &str) -> Result<Self, WarehouseError> {
        [Self::Publish, Self::Rollback]
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| damaged(format!("{name:?} is not a kind of publication")))
    }
}

/// A row of `runs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Counts from 1 without gaps.
    pub number: u64,
    /// The run that became current.
    pub run_id: String,
    /// The run's as-of.
    pub as_of: DateTime<Utc>,
    /// When it was published, in whole microseconds.
    pub published_at: DateTime<Utc>,
    /// Why it was published.
    pub kind: PublicationKind,
    /// Version of each Delta table that holds the run.
    pub versions: PerTable<u64>,
    /// Rows of each table.
    pub rows: PerTable<u64>,
    /// Hash of the reputation model, when the run used one.
    pub model_hash: Option<String>,
    /// The run's report, JSON.
    pub report: String,
}

impl Publication {
    /// The run's report; `None` when it is not of this version's form.
    pub fn report(&self) -> Option<Report> {
        serde_json::from_str(&self.report).ok()
    }
}

fn version_column(table: Table) -> String {
    format!("{table}_version")
}

fn rows_column(table: Table) -> String {
    format!("{table}_rows")
}

/// Arrow schema of `runs`; the comments are in the fields' metadata, as Delta has them.
pub(super) fn schema() -> SchemaRef {
    let timestamp = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let field = |name: &str, data_type, nullable, comment: &str| {
        let metadata = HashMap::from([("comment".to_owned(), comment.to_owned())]);
        Field::new(name, data_type, nullable).with_metadata(metadata)
    };
    let mut fields = vec![
        field("publication", DataType::Int64, false, "Counts from 1"),
        field(
            "run_id",
            DataType::Utf8,
            false,
            "The run that became current",
        ),
        field("as_of", timestamp(), false, "The run's as-of"),
        field("published_at", timestamp(), false, "When it was published"),
        field("kind", DataType::Utf8, false, "publish or rollback"),
    ];
    fields.extend(Table::ALL.map(|table| {
        let comment = format!("Version of the Delta table {table} that holds the run");
        field(&version_column(table), DataType::Int64, false, &comment)
    }));
    fields.extend(Table::ALL.map(|table| {
        let comment = format!("Rows of {table}");
        field(&rows_column(table), DataType::Int64, false, &comment)
    }));
    fields.push(field(
        "model_hash",
        DataType::Utf8,
        true,
        "Hash of the reputation model, when the run used one",
    ));
    fields.push(field(
        "report",
        DataType::Utf8,
        false,
        "The run's report, JSON",
    ));
    Arc::new(Schema::new(fields))
}

/// The publication as a batch of one row.
pub(super) fn encode(publication: &Publication) -> Result<RecordBatch, WarehouseError> {
    let bigint = |number: u64| -> Result<ArrayRef, WarehouseError> {
        let number = i64::try_from(number).map_err(|_| damaged(format!("{number} in runs")))?;
        Ok(Arc::new(Int64Array::from(vec![number])))
    };
    let string = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let timestamp = |at: DateTime<Utc>| -> ArrayRef {
        let micros = TimestampMicrosecondArray::from(vec![at.timestamp_micros()]);
        Arc::new(micros.with_timezone("UTC"))
    };
    let mut columns = vec![
        bigint(publication.number)?,
        string(Some(&publication.run_id)),
        timestamp(publication.as_of),
        timestamp(publication.published_at),
        string(Some(publication.kind.name())),
    ];
    for table in Table::ALL {
        columns.push(bigint(*publication.versions.get(table))?);
    }
    for table in Table::ALL {
        columns.push(bigint(*publication.rows.get(table))?);
    }
    columns.push(string(publication.model_hash.as_deref()));
    columns.push(string(Some(&publication.report)));
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// The publications in a Parquet file of `runs`.
pub(super) fn decode(parquet: Bytes) -> Result<Vec<Publication>, WarehouseError> {
    // The types of the Parquet schema, whatever Arrow types another writer noted beside it.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(parquet, options)?;
    let mut publications = Vec::new();
    for batch in reader.build()? {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            publications.push(decode_row(&batch, row)?);
        }
    }
    Ok(publications)
}

fn decode_row(batch: &RecordBatch, row: usize) -> Result<Publication, WarehouseError> {
    let number = |name: &str| {
        let number = column::<Int64Array>(batch, name)?.value(row);
        u64::try_from(number).map_err(|_| damaged(format!("{name} {number} in runs")))
    };
    let string = |name: &str| {
        let strings = column::<StringArray>(batch, name)?;
        Ok::<_, WarehouseError>(strings.is_valid(row).then(|| strings.value(row).to_owned()))
    };
    let text = |name: &str| string(name).map(Option::unwrap_or_default);
    let timestamp = |name: &str| {
        let micros = column::<TimestampMicrosecondArray>(batch, name)?.value(row);
        DateTime::from_timestamp_micros(micros)
            .ok_or_else(|| damaged(format!("{name} {micros} in runs")))
    };
    Ok(Publication {
        number: number("publication")?,
        run_id: text("run_id")?,
        as_of: timestamp("as_of")?,
        published_at: timestamp("published_at")?,
        kind: text("kind")?.parse()?,
        versions: PerTable::try_from_fn(|table| number(&version_column(table)))?,
        rows: PerTable::try_from_fn(|table| number(&rows_column(table)))?,
        model_hash: string("model_hash")?,
        report: text("report")?,
    })
}

fn column<'a, A: Array + 'static>(
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a A, WarehouseError> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref())
        .ok_or_else(|| {
            damaged(format!(
                "runs lacks the column {name}, or its type is another"
            ))
        })
}

fn damaged(what: String) -> WarehouseError {
    WarehouseError::Damaged(what)
}
