//! Parquet files whose bytes depend on their rows alone.
//!
//! Pages of a Parquet file end where a batch handed to the writer ends, so the rows are cut into
//! batches of a fixed size first; row groups, encodings and the writer's name are fixed too.
//! A file appears under its name only when it is complete: local disk writes to a staging name and
//! renames, S3 completes a multipart upload.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::BatchCoalescer;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::arrow::AsyncArrowWriter;
use datafusion::parquet::arrow::arrow_writer::ArrowWriterOptions;
use futures::StreamExt;
use graph_recs_sql::parquet::published;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::error::WarehouseError;

/// Rows handed to the Parquet writer at once.
const CHUNK_ROWS: usize = 8 * 1024;

/// A Parquet file of the warehouse.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DataFile {
    /// Path relative to the warehouse.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Rows.
    pub rows: u64,
}

/// Writes a stream as one Parquet file at `path`, replacing what is there.
///
/// The same rows in the same order give the same bytes, however the stream cuts them into batches.
/// A stream without rows gives a file without rows. Holds at most one row group in memory.
///
/// # Errors
/// [`WarehouseError::Schema`] when names or types of the columns differ from `schema` or a null
/// meets a column that has none; errors of the stream and of the store. After an error nothing is
/// at `path` that was not there before.
pub async fn write_parquet(
    store: Arc<dyn ObjectStore>,
    path: &Path,
    schema: SchemaRef,
    mut rows: SendableRecordBatchStream,
) -> Result<DataFile, WarehouseError> {
    check_columns(path, &schema, &rows.schema())?;
    let options = ArrowWriterOptions::new()
        .with_properties(published(&schema)?)
        .with_skip_arrow_metadata(true);
    let upload = BufWriter::new(store, path.clone());
    let mut writer = AsyncArrowWriter::try_new_with_options(upload, Arc::clone(&schema), options)?;
    let mut chunks = BatchCoalescer::new(Arc::clone(&schema), CHUNK_ROWS);
    let mut row_count = 0;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        row_count += batch.num_rows() as u64;
        let mut rest = conform(path, &schema, &batch)?;
        while rest.num_rows() > 0 {
            // A whole chunk of a batch is written as it lies; only what is less is put together with others.
            let buffered = chunks.get_buffered_rows();
            let taken = (CHUNK_ROWS - buffered).min(rest.num_rows());
            let chunk = rest.slice(0, taken);
            rest = rest.slice(taken, rest.num_rows() - taken);
            if taken == CHUNK_ROWS {
                writer.write(&chunk).await?;
            } else {
                chunks.push_batch(chunk)?;
            }
            while let Some(chunk) = chunks.next_completed_batch() {
                writer.write(&chunk).await?;
            }
        }
    }
    chunks.finish_buffered_batch()?;
    while let Some(chunk) = chunks.next_completed_batch() {
        writer.write(&chunk).await?;
    }
    writer.finish().await?;
    Ok(DataFile {
        path: path.to_string(),
        size: writer.bytes_written() as u64,
        rows: row_count,
    })
}

/// Same names and types in the same order; nullability is judged by the rows.
fn check_columns(path: &Path, expected: &Schema, found: &Schema) -> Result<(), WarehouseError> {
    let describe = |schema: &Schema| -> Vec<String> {
        let fields = schema.fields().iter();
        fields
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect()
    };
    let (expected, found) = (describe(expected), describe(found));
    if expected == found {
        return Ok(());
    }
    Err(WarehouseError::Schema {
        path: path.to_string(),
        reason: format!("expected {expected:?}, found {found:?}"),
    })
}

/// The batch under the table's schema; refuses a null where the table has none.
fn conform(
    path: &Path,
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, WarehouseError> {
    RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec()).map_err(|error| {
        WarehouseError::Schema {
            path: path.to_string(),
            reason: error.to_string(),
        }
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Decimal128Array, Int32Array};
    use datafusion::error::DataFusionError;
    use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::stream;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::Table;

    /// `n` rows of rec_reasons.
    fn reasons(n: i32) -> RecordBatch {
        let weights = (0..n).map(|i| i128::from(i) * 7_919 % 100_000_007 + 1);
        let weights = Decimal128Array::from_iter_values(weights);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values((0..n).map(|i| i / 20))),
            Arc::new(Int32Array::from_iter_values((0..n).map(|i| i % 977))),
            Arc::new(Int32Array::from_iter_values(0..n)),
            Arc::new(weights.with_precision_and_scale(18, 8).unwrap()),
        ];
        RecordBatch::try_new(Table::RecReasons.schema(), columns).unwrap()
    }

    fn cut(batch: &RecordBatch, size: usize) -> SendableRecordBatchStream {
        let starts = (0..batch.num_rows()).step_by(size);
        let parts: Vec<_> = starts
            .map(|start| Ok(batch.slice(start, size.min(batch.num_rows() - start))))
            .collect();
        stream_of(batch.schema(), parts)
    }

    fn stream_of(
        schema: SchemaRef,
        parts: Vec<Result<RecordBatch, DataFusionError>>,
    ) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(parts)))
    }

    #[tokio::test]
    async fn bytes_do_not_depend_on_batches() {
        let rows = reasons(300_000);
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut bytes = Vec::new();
        for size in [1_000, 8_192, 12_345, 300_000] {
            let path = Path::from(format!("{size}.parquet"));
            let file = write_parquet(Arc::clone(&store), &path, rows.schema(), cut(&rows, size))
                .await
                .unwrap();
            assert_eq!(file.rows, 300_000);
            let content = store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(file.size, content.len() as u64);
            bytes.push(content);
        }
        assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]));

        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes[0].clone()).unwrap();
        let metadata = Arc::clone(reader.metadata());
        assert_eq!(metadata.num_row_groups(), 2);
        let columns = metadata.row_group(0).columns().iter();
        let with_statistics = columns.map(|column| column.statistics().is_some());
        assert!(with_statistics.eq([true, false, false, false]));
        assert_eq!(
            metadata.file_metadata().created_by(),
            Some(graph_recs_sql::parquet::CREATED_BY)
        );
        assert_eq!(**reader.schema(), *Table::RecReasons.schema());
        let read = reader.with_batch_size(300_000).build().unwrap();
        let read: Vec<_> = read.map(Result::unwrap).collect();
        assert_eq!(
            datafusion::arrow::compute::concat_batches(&rows.schema(), &read).unwrap(),
            rows
        );
    }

    #[tokio::test]
    async fn writes_a_file_without_rows() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("empty.parquet");
        let rows = stream_of(Table::RecReasons.schema(), vec![]);
        let file = write_parquet(Arc::clone(&store), &path, Table::RecReasons.schema(), rows)
            .await
            .unwrap();
        assert_eq!(file.rows, 0);
        let content = store.get(&path).await.unwrap().bytes().await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
        assert_eq!(**reader.schema(), *Table::RecReasons.schema());
    }

    #[tokio::test]
    async fn a_cut_off_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(store);
        let broken = DataFusionError::Execution("broken".to_owned());
        let parts = vec![Ok(reasons(600_000)), Err(broken)];
        let rows = stream_of(Table::RecReasons.schema(), parts);
        let path = Path::from("part.parquet");
        let result =
            write_parquet(Arc::clone(&store), &path, Table::RecReasons.schema(), rows).await;
        assert!(matches!(result, Err(WarehouseError::Query(_))));
        assert!(!folder.path().join("part.parquet").exists());
    }

    #[tokio::test]
    async fn refuses_other_columns_and_nulls() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("x.parquet");
        let rows = cut(&reasons(10), 10);
        let schema = Table::ClosestConnections.schema();
        let result = write_parquet(Arc::clone(&store), &path, schema, rows).await;
        assert!(matches!(result, Err(WarehouseError::Schema { .. })));

        let nullable = Arc::new(Schema::new(
            Table::RecReasons
                .schema()
                .fields()
                .iter()
                .map(|field| field.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        ));
        let mut columns = reasons(1).columns().to_vec();
        columns[1] = Arc::new(Int32Array::from(vec![None]));
        let null = RecordBatch::try_new(Arc::clone(&nullable), columns).unwrap();
        let rows = stream_of(nullable, vec![Ok(null)]);
        let result =
            write_parquet(Arc::clone(&store), &path, Table::RecReasons.schema(), rows).await;
        assert!(matches!(result, Err(WarehouseError::Schema { .. })));
        assert!(store.head(&path).await.is_err());
    }
}
