//! Scans files as a run does.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileScanConfigBuilder, FileSource};
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::TryStreamExt;
use graph_recs_udfs::scan::{RecordSource, Source};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// What a scan of one file gives, which is read in ranges that end at these places and in its end. Users have so many
/// columns, where that is known.
pub fn scan(
    source: Source,
    user_columns: Option<usize>,
    name: &str,
    bytes: &[u8],
    ends: &[u64],
) -> Result<Vec<RecordBatch>, String> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Path::from(name);
    let read = async {
        store
            .put(&location, Bytes::copy_from_slice(bytes).into())
            .await
            .unwrap();
        let file = store.head(&location).await.unwrap();
        let records: Arc<dyn FileSource> =
            Arc::new(RecordSource::new(source, Path::default(), user_columns));
        let url = ObjectStoreUrl::parse("memory://").unwrap();
        let config = FileScanConfigBuilder::new(url, Arc::clone(&records)).build();
        let opener = records.create_file_opener(Arc::clone(&store), &config, 0)?;
        let mut batches = Vec::new();
        let mut start = 0;
        for end in ends.iter().copied().chain([file.size]) {
            let piece = PartitionedFile::new_from_meta(file.clone());
            let piece = match ends {
                [] => piece,
                _ => piece.with_range(start as i64, end as i64),
            };
            start = end;
            batches.extend(opener.open(piece)?.await?.try_collect::<Vec<_>>().await?);
        }
        Ok(batches)
    };
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    }
    let read = RUNTIME.with(|runtime| runtime.block_on(read));
    read.map_err(|error: datafusion::error::DataFusionError| error.to_string())
}
