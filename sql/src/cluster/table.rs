//! A table of pieces: Parquet files, or ranges of them, that jobs wrote.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion_datasource::PartitionedFile;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// A Parquet file, or the row groups that begin within a byte range of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceFile {
    /// Path in its store.
    pub path: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// From and up to which byte; all of it without one.
    pub range: Option<(u64, u64)>,
}

/// A table over piece files, read in one partition.
#[derive(Debug)]
pub struct PieceTable {
    store: ObjectStoreUrl,
    schema: SchemaRef,
    files: Vec<PieceFile>,
    sorted_by_user: bool,
}

impl PieceTable {
    /// The table over `files` of `store`, all with the columns of `schema`. `sorted_by_user`: its rows, file after
    /// file, come in the order of user_id.
    pub fn new(
        store: ObjectStoreUrl,
        schema: SchemaRef,
        files: Vec<PieceFile>,
        sorted_by_user: bool,
    ) -> Self {
        Self {
            store,
            schema,
            files,
            sorted_by_user,
        }
    }
}

#[async_trait]
impl TableProvider for PieceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let mut group = Vec::with_capacity(self.files.len());
        for file in &self.files {
            // A name is written once: no time of change and no tag are needed to tell versions apart.
            let meta = ObjectMeta {
                location: Path::parse(&file.path).map_err(object_store::Error::from)?,
                last_modified: DateTime::UNIX_EPOCH,
                size: file.size,
                e_tag: None,
                version: None,
            };
            let whole = PartitionedFile::new_from_meta(meta);
            group.push(match file.range {
                Some((start, end)) => whole.with_range(start as i64, end as i64),
                None => whole,
            });
        }
        let source = Arc::new(ParquetSource::new(self.schema()));
        let mut config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_group(FileGroup::new(group))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit);
        if self.sorted_by_user {
            let by_user = PhysicalSortExpr::new_default(col("user_id", &self.schema)?).asc();
            let by_user = PhysicalSortExpr {
                options: datafusion::arrow::compute::SortOptions {
                    descending: false,
                    nulls_first: false,
                },
                ..by_user
            };
            config = config.with_output_ordering(LexOrdering::new([by_user]).into_iter().collect());
        }
        Ok(DataSourceExec::from_data_source(config.build()))
    }
}
