//! Parquet exports, as any engine writes them: each row's values go through the same checks as a line of text.
//!
//! A column that cannot say what is needed is refused before rows are read; a value that cannot is that record's fault
//! alone. Nothing but the needed columns is read or decoded, and nothing about the others can stop a run.

mod file;
mod links;
mod mapping;
mod schema;
mod values;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};

use self::file::StoredFile;
use self::mapping::Mapping;
use self::values::Values;
use super::Source;
use super::columns::{Columns, Record};
use crate::records::{Field, engagement_from_fields, message_from_fields, user_from_fields};

/// The rows of a Parquet file, in batches. `line` is the row's number, from 1.
pub(crate) async fn open(
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    columns: Columns,
    batch_size: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let name = columns.file().to_string();
    let opened = AssertUnwindSafe(open_file(store, file, columns, batch_size)).catch_unwind();
    let batches = opened
        .await
        .unwrap_or_else(|panic| Err(broken(&name, panic)))?;
    // The library takes some damages for impossible: no reason to end the process.
    let caught = AssertUnwindSafe(batches).catch_unwind();
    Ok(caught
        .map(move |batch| batch.unwrap_or_else(|panic| Err(broken(&name, panic))))
        .boxed())
}

async fn open_file(
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    columns: Columns,
    batch_size: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let name: Arc<str> = columns.file().into();
    let reader = StoredFile::new(store, file, Arc::clone(&name));
    let footer = reader.footer().await?;
    let rows = footer.rows(&name)?;
    if rows == 0 {
        return Ok(futures::stream::empty().boxed());
    }
    let mapping = Mapping::new(columns.source(), &name, &footer)?;
    let metadata = footer.only(&mapping, &reader)?;
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
    let damaged = file::damaged(&name);
    let projection = ProjectionMask::leaves(builder.parquet_schema(), mapping.leaves());
    let batches = builder
        .with_batch_size(batch_size)
        .with_projection(projection)
        .build()
        .map_err(&damaged)?
        .map_err(damaged);
    let state = (batches, columns, mapping, 0);
    Ok(
        futures::stream::try_unfold(state, move |(mut batches, mut columns, mapping, line)| {
            let name = Arc::clone(&name);
            async move {
                let Some(batch) = batches.try_next().await? else {
                    return match line == rows {
                        true => Ok(None),
                        false => Err(file::cut_off(&name, rows, line)),
                    };
                };
                push_rows(
                    &mut columns,
                    &mapping.fields(&batch)?,
                    line,
                    batch.num_rows(),
                );
                let line = line + batch.num_rows() as u64;
                Ok(Some((
                    columns.finish(1)?,
                    (batches, columns, mapping, line),
                )))
            }
        })
        .boxed(),
    )
}

/// Adds the rows of a batch, the first of which has this number, from 0.
fn push_rows(columns: &mut Columns, fields: &[Values], first: u64, rows: usize) {
    let source = columns.source();
    let values: Vec<_> = fields.iter().map(Values::fields).collect();
    let mut record = vec![Field::Null; values.len()];
    for (row, line) in (0..rows).zip(first..) {
        for (field, values) in record.iter_mut().zip(&values) {
            *field = values.get(row).copied().unwrap_or(Field::Null);
        }
        let read = match source {
            Source::User => user_from_fields(&record).map(Record::User),
            Source::Message => message_from_fields(&record).map(Record::Message),
            Source::Follow => engagement_from_fields(true, &record).map(Record::Engagement),
            Source::Reply | Source::Mention | Source::Like => {
                engagement_from_fields(false, &record).map(Record::Engagement)
            }
        };
        match read {
            Ok(record) => columns.push(record),
            // Of a user that cannot be read the id counts.
            Err(reason) => {
                columns.push_unreadable_user(reason, user_id(source, &record), line, || {
                    let texts: Vec<_> = fields.iter().map(|field| field.shown(row)).collect();
                    texts.join(",")
                })
            }
        }
    }
}

/// The id of a user whose row may not be readable.
fn user_id(source: Source, record: &[Field<'_>]) -> Option<i32> {
    match source {
        Source::User => record.first()?.user_id().ok(),
        _ => None,
    }
}

/// The error of a file that the library panicked at.
fn broken(name: &str, panic: Box<dyn Any + Send>) -> DataFusionError {
    let said = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(said), _) => said.as_str(),
        (_, Some(said)) => *said,
        _ => "it makes no sense",
    };
    file::damage(name, said)
}

#[cfg(test)]
mod tests;
