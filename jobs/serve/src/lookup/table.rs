//! A table whose files are each sorted by `user_id`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Int32Type, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::parquet::arrow::ParquetRecordBatchStreamBuilder;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, RowSelection, RowSelector,
};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};
use datafusion::parquet::file::page_index::column_index::ColumnIndexMetaData;
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::exec::{LookupExec, Wanted, wanted};
use super::pages::Pages;
use graph_recs_warehouse::DataFile;

/// A published table: whole as any other, and by user.
#[derive(Debug)]
pub struct SortedTable {
    whole: Arc<dyn TableProvider>,
    by_user: Option<Arc<ByUser>>,
}

impl SortedTable {
    /// `whole` is the same table read in full; `files` lie in `store`. Without a page index, or out of order, it is
    /// read in full only.
    ///
    /// # Errors
    /// When a file's metadata cannot be read.
    pub async fn open(
        whole: Arc<dyn TableProvider>,
        store: Arc<dyn ObjectStore>,
        files: Vec<DataFile>,
        pages: Arc<Pages>,
    ) -> Result<Self> {
        let schema = whole.schema();
        let by_user = ByUser::open(schema, store, files, pages).await?;
        Ok(Self {
            whole,
            by_user: by_user.map(Arc::new),
        })
    }
}

/// The pages of a table's files, and which users are in them.
pub(super) struct ByUser {
    schema: SchemaRef,
    store: Arc<dyn ObjectStore>,
    files: Vec<(DataFile, ArrowReaderMetadata)>,
    blocks: Vec<Block>,
    /// Blocks of each file.
    of_file: Vec<Range<usize>>,
    pages: Arc<Pages>,
}

impl fmt::Debug for ByUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByUser({} pages)", self.blocks.len())
    }
}

/// Reads parts of a file.
struct Reader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let bytes = self.store.get_range(&self.path, range);
        bytes.map_err(outside).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            let bytes = self.store.get_ranges(&self.path, &ranges);
            bytes.await.map_err(outside)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let policy = options.map_or(
                PageIndexPolicy::Skip,
                ArrowReaderOptions::column_index_policy,
            );
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_page_index_policy(policy);
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

fn outside(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// A page: rows of a row group, and the users in it.
#[derive(Debug)]
struct Block {
    file: usize,
    row_group: usize,
    skip: usize,
    rows: usize,
    first: i32,
    last: i32,
}

impl ByUser {
    async fn open(
        schema: SchemaRef,
        store: Arc<dyn ObjectStore>,
        files: Vec<DataFile>,
        pages: Arc<Pages>,
    ) -> Result<Option<Self>> {
        let mut by_user = Self {
            schema,
            store,
            files: Vec::new(),
            blocks: Vec::new(),
            of_file: Vec::new(),
            pages,
        };
        for (number, file) in files.into_iter().enumerate() {
            let options = ArrowReaderOptions::new()
                .with_page_index_policy(PageIndexPolicy::Optional)
                .with_skip_arrow_metadata(true);
            let mut reader = by_user.reader(&file);
            let metadata = ArrowReaderMetadata::load_async(&mut reader, options).await?;
            let start = by_user.blocks.len();
            match blocks(&metadata, number) {
                Some(blocks) => by_user.blocks.extend(blocks),
                None => return Ok(None),
            }
            by_user.of_file.push(start..by_user.blocks.len());
            by_user.files.push((file, metadata));
        }
        Ok(Some(by_user))
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn reader(&self, file: &DataFile) -> Reader {
        Reader {
            store: Arc::clone(&self.store),
            path: file.path.as_str().into(),
            size: file.size,
        }
    }

    /// All rows of the users, in the order of the ids.
    pub(super) async fn rows_of(&self, users: &BTreeSet<i32>) -> Result<Vec<RecordBatch>> {
        let mut found = Vec::new();
        for user in users {
            for blocks in &self.of_file {
                let of_file = &self.blocks[blocks.clone()];
                let start = of_file.partition_point(|block| block.last < *user);
                let later = of_file[start..].iter().enumerate();
                for (offset, block) in later.take_while(|(_, block)| block.first <= *user) {
                    let number = blocks.start + start + offset;
                    let key = (std::ptr::from_ref(self) as usize, number);
                    let page = self.pages.get(key, self.read(block)).await?;
                    let ids = page.column(0).as_primitive::<Int32Type>().values();
                    let from = ids.partition_point(|id| id < user);
                    let to = ids.partition_point(|id| id <= user);
                    if from < to {
                        found.push(page.slice(from, to - from));
                    }
                }
            }
        }
        Ok(found)
    }

    async fn read(&self, block: &Block) -> Result<RecordBatch> {
        let (file, metadata) = &self.files[block.file];
        let reader = self.reader(file);
        let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata.clone())
            .with_row_groups(vec![block.row_group])
            .with_row_selection(RowSelection::from(vec![
                RowSelector::skip(block.skip),
                RowSelector::select(block.rows),
            ]))
            .with_batch_size(block.rows)
            .build()?;
        let batches: Vec<RecordBatch> = rows.try_collect().await?;
        let page = concat_batches(&self.schema, &batches)?;
        let ids = page.column(0).as_primitive::<Int32Type>().values();
        if !ids.is_sorted() {
            return Err(DataFusionError::Internal(
                "a file of the warehouse is not sorted by user".into(),
            ));
        }
        Ok(page)
    }
}

/// The pages of a file; nothing when they have no index, or are out of order.
fn blocks(metadata: &ArrowReaderMetadata, file: usize) -> Option<Vec<Block>> {
    let metadata = metadata.metadata();
    let (column_index, offset_index) = (metadata.column_index()?, metadata.offset_index()?);
    let mut blocks: Vec<Block> = Vec::new();
    for row_group in 0..metadata.num_row_groups() {
        let ColumnIndexMetaData::INT32(users) = column_index.get(row_group)?.first()? else {
            return None;
        };
        let pages = offset_index.get(row_group)?.first()?.page_locations();
        let starts: Vec<usize> = pages
            .iter()
            .map(|page| usize::try_from(page.first_row_index).ok())
            .collect::<Option<_>>()?;
        let all = usize::try_from(metadata.row_group(row_group).num_rows()).ok()?;
        for (number, skip) in starts.iter().enumerate() {
            let end = starts.get(number + 1).copied().unwrap_or(all);
            blocks.push(Block {
                file,
                row_group,
                skip: *skip,
                rows: end.checked_sub(*skip)?,
                first: *users.min_value(number)?,
                last: *users.max_value(number)?,
            });
        }
    }
    let in_order = blocks.windows(2).all(|two| two[0].last <= two[1].first);
    in_order.then_some(blocks)
}

#[async_trait]
impl TableProvider for SortedTable {
    fn schema(&self) -> SchemaRef {
        self.whole.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let mut answers = self.whole.supports_filters_pushdown(filters)?;
        for (filter, answer) in filters.iter().zip(&mut answers) {
            if self.by_user.is_some() && wanted(filter).is_some() {
                *answer = TableProviderFilterPushDown::Exact;
            }
        }
        Ok(answers)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let users: Vec<Wanted> = filters.iter().filter_map(wanted).collect();
        match &self.by_user {
            Some(by_user) if !users.is_empty() => Ok(Arc::new(LookupExec::new(
                Arc::clone(by_user),
                users,
                projection,
            )?)),
            _ => self.whole.scan(state, projection, filters, limit).await,
        }
    }
}
