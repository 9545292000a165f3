//! Parquet exports: each row's columns, as text, go through the same checks as a line of text.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::parquet::arrow::ParquetRecordBatchStreamBuilder;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::Source;
use super::columns::{Columns, Record};
use crate::records::{engagement_from_fields, message_from_fields, user_from_fields};

/// The rows of a Parquet file, in batches. `line` is the row's number, from 1.
pub(crate) async fn open(
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
    mut columns: Columns,
    batch_size: usize,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let reader = StoredFile { store, file };
    let file = columns.file().to_string();
    let unreadable = move |error: ParquetError| {
        DataFusionError::Execution(format!(
            "{file} cannot be read as Parquet ({error}): it is cut off or not what its ending says; export it again"
        ))
    };
    let builder = ParquetRecordBatchStreamBuilder::new(reader)
        .await
        .map_err(&unreadable)?;
    let batches = builder
        .with_batch_size(batch_size)
        .build()
        .map_err(&unreadable)?;
    let mut line = 0u64;
    Ok(batches
        .map(move |batch| {
            let batch = batch.map_err(&unreadable)?;
            push_rows(&mut columns, &batch, &mut line)?;
            columns.finish(1)
        })
        .boxed())
}

/// A file of an object store as the Parquet reader asks for it.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let bytes = self.store.get_range(&self.file.location, range);
        bytes
            .map(|bytes| bytes.map_err(|error| ParquetError::External(Box::new(error))))
            .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let size = self.file.size;
        async move {
            ParquetMetaDataReader::new()
                .load_and_finish(self, size)
                .await
                .map(Arc::new)
        }
        .boxed()
    }
}

/// The columns that a source has in Parquet; those after the bar may be missing.
fn names(source: Source) -> &'static [&'static str] {
    match source {
        Source::Follow => &["user_id", "engaged_with_user_id", "timestamp"],
        Source::Reply | Source::Mention | Source::Like => {
            &["user_id", "engaged_with_user_id", "message_id", "timestamp"]
        }
        Source::User => &["user_id", "suspended"],
        Source::Message => &[
            "id",
            "body",
            "created_at",
            "user_id",
            "recommended",
            "link_description",
        ],
    }
}

fn push_rows(columns: &mut Columns, batch: &RecordBatch, line: &mut u64) -> Result<()> {
    let source = columns.source();
    let mut texts: Vec<Option<StringArray>> = Vec::new();
    for name in names(source) {
        let optional = matches!(*name, "recommended" | "link_description");
        let text = match batch.column_by_name(name) {
            Some(column) => Some(as_text(column)?),
            None if optional => None,
            None => {
                return Err(DataFusionError::Execution(format!(
                    "{}: there is no column {name}; a Parquet export of {} needs the columns {}",
                    columns.file(),
                    source.name(),
                    names(source).join(", ")
                )));
            }
        };
        texts.push(text);
    }
    let mut fields: Vec<Option<&str>> = Vec::with_capacity(texts.len());
    for row in 0..batch.num_rows() {
        fields.clear();
        fields.extend(texts.iter().map(|column| {
            column
                .as_ref()
                .filter(|column| column.is_valid(row))
                .map(|column| column.value(row))
        }));
        let parsed = match source {
            Source::User => user_from_fields(&fields).map(Record::User),
            Source::Message => message_from_fields(&fields).map(Record::Message),
            Source::Follow => engagement_from_fields(true, &fields).map(Record::Engagement),
            _ => engagement_from_fields(false, &fields).map(Record::Engagement),
        };
        match parsed {
            Ok(record) => columns.push(record),
            Err(reason) => columns.push_unreadable(reason, *line, || {
                fields
                    .iter()
                    .map(|field| field.unwrap_or_default())
                    .collect::<Vec<_>>()
                    .join(",")
            }),
        }
        *line += 1;
    }
    Ok(())
}

/// A column as text. Times lose their zone's name (they are UTC), as the text exports have none.
fn as_text(column: &Arc<dyn Array>) -> Result<StringArray> {
    let plain = match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => cast(column, &DataType::Timestamp(*unit, None))?,
        _ => Arc::clone(column),
    };
    let text = cast(&plain, &DataType::Utf8)?;
    text.as_any()
        .downcast_ref::<StringArray>()
        .cloned()
        .ok_or_else(|| DataFusionError::Internal("a cast to Utf8 gave another type".into()))
}
