//! Files that only later steps of the same run read: Arrow's own format, since writing and reading it is little more than
//! copying. Parquet's levels of lists alone took longer than all that is computed from them.

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::MetadataVersion;
use datafusion::arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use tokio::io::AsyncWriteExt;

use super::error::WarehouseError;
use super::writer::DataFile;

/// Bytes to whose multiples parts of the file are padded. DataFusion 55 finds the schema of a file in an object store only
/// with the least that the format allows.
const ALIGNMENT: usize = 8;

/// Writes a stream as one Arrow file at `path`, replacing what is there, a batch as it comes.
///
/// # Errors
/// Errors of the stream and of the store. After an error nothing is at `path` that was not there before.
pub async fn write_intermediate(
    store: Arc<dyn ObjectStore>,
    path: &Path,
    schema: &Schema,
    mut rows: SendableRecordBatchStream,
) -> Result<DataFile, WarehouseError> {
    let mut upload = BufWriter::new(store, path.clone());
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = FileWriter::try_new_with_options(Vec::new(), schema, options)?;
    let (mut size, mut row_count) = (0, 0);
    let mut encoded = |bytes: &mut Vec<u8>| {
        size += bytes.len() as u64;
        std::mem::take(bytes).into()
    };
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        row_count += batch.num_rows() as u64;
        writer.write(&batch)?;
        upload.put(encoded(writer.get_mut())).await?;
    }
    writer.finish()?;
    upload.put(encoded(writer.get_mut())).await?;
    let io = |source| WarehouseError::Io {
        path: path.to_string(),
        source,
    };
    upload.shutdown().await.map_err(io)?;
    Ok(DataFile {
        path: path.to_string(),
        size,
        rows: row_count,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use datafusion::arrow::ipc::reader::FileReader;
    use datafusion::error::DataFusionError;
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use futures::stream;

    use super::*;

    fn numbers(from: i64, to: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..to));
        RecordBatch::try_from_iter([("n", numbers)]).unwrap()
    }

    async fn written(
        folder: &std::path::Path,
        parts: Vec<Result<RecordBatch, DataFusionError>>,
    ) -> Result<DataFile, WarehouseError> {
        let store = object_store::local::LocalFileSystem::new_with_prefix(folder).unwrap();
        let schema = numbers(0, 0).schema();
        let rows = RecordBatchStreamAdapter::new(Arc::clone(&schema), stream::iter(parts));
        let path = Path::from("n.arrow");
        write_intermediate(Arc::new(store), &path, &schema, Box::pin(rows)).await
    }

    #[tokio::test]
    async fn batches_come_back_as_they_went() {
        let folder = tempfile::tempdir().unwrap();
        let parts = [numbers(0, 3), numbers(3, 3_000_000).slice(0, 2_000_000)];
        let file = written(folder.path(), parts.clone().map(Ok).into()).await;
        let file = file.unwrap();
        assert_eq!(file.rows, 2_000_003);
        let content = std::fs::File::open(folder.path().join("n.arrow")).unwrap();
        assert_eq!(file.size, content.metadata().unwrap().len());
        let read: Result<Vec<_>, _> = FileReader::try_new(content, None).unwrap().collect();
        assert_eq!(read.unwrap(), parts);
    }

    #[tokio::test]
    async fn a_cut_off_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let broken = DataFusionError::Execution("broken".to_owned());
        let parts = vec![Ok(numbers(0, 3_000_000)), Err(broken)];
        let result = written(folder.path(), parts).await;
        assert!(matches!(result, Err(WarehouseError::Query(_))));
        assert!(!folder.path().join("n.arrow").exists());
    }
}
