//! The table over one source's files.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::PartitionedFile;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::chunks::Encoding;
use super::{RecordSource, Source};

/// A file is not cut into ranges smaller than this.
const SMALLEST_RANGE: u64 = 1 << 20;

/// One source of a day: all its files, read as one table.
#[derive(Clone, Debug)]
pub struct RecordTable {
    source: Source,
    store: ObjectStoreUrl,
    root: Path,
    files: Arc<[ObjectMeta]>,
    schema: SchemaRef,
    /// The one group of ranges that is read of the files; all of them when there is none.
    piece: Option<FileGroup>,
}

impl RecordTable {
    /// The table over `files` of `store`; `root` is the input folder that file names are shown relative to.
    pub fn new(source: Source, store: ObjectStoreUrl, root: Path, files: Vec<ObjectMeta>) -> Self {
        Self {
            source,
            store,
            root,
            files: files.into(),
            schema: source.schema(),
            piece: None,
        }
    }

    /// At most `pieces` tables of about the same size that together have each record once, each read in one
    /// partition.
    pub fn split(&self, pieces: usize) -> Vec<Self> {
        let groups = self.file_groups(pieces).into_iter();
        let piece = |group| Self {
            piece: Some(group),
            ..self.clone()
        };
        groups.map(piece).collect()
    }

    /// Deals the files out to `partitions` groups of about the same size. Plain line-delimited files are cut into
    /// ranges; compressed ones, Parquet, and CSV with line breaks in fields are read whole.
    fn file_groups(&self, partitions: usize) -> Vec<FileGroup> {
        let total: u64 = self.files.iter().map(|file| file.size).sum();
        let share = total.div_ceil(partitions.max(1) as u64).max(SMALLEST_RANGE);
        let mut pieces: Vec<(u64, PartitionedFile)> = Vec::new();
        for file in self.files.iter() {
            let whole =
                self.source == Source::User || Encoding::of(&file.location) != Encoding::Plain;
            let count = if whole {
                1
            } else {
                file.size.div_ceil(share).max(1)
            };
            for index in 0..count {
                let (start, end) = (file.size * index / count, file.size * (index + 1) / count);
                let piece = PartitionedFile::new_from_meta(file.clone());
                let piece = if count == 1 {
                    piece
                } else {
                    piece.with_range(start as i64, end as i64)
                };
                pieces.push((end - start, piece));
            }
        }
        // Largest first to the emptiest group: the classic bound of 4/3 of the best possible.
        pieces.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); partitions.max(1)];
        for (size, piece) in pieces {
            if let Some(group) = groups.iter_mut().min_by_key(|(filled, _)| *filled) {
                group.0 += size;
                group.1.push(piece);
            }
        }
        groups
            .into_iter()
            .filter(|(_, files)| !files.is_empty())
            .map(|(_, files)| FileGroup::new(files))
            .collect()
    }
}

#[async_trait]
impl TableProvider for RecordTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = Arc::new(RecordSource::new(self.source, self.root.clone()));
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_groups(match &self.piece {
                Some(piece) => vec![piece.clone()],
                None => self.file_groups(state.config().target_partitions()),
            })
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
