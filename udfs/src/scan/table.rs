//! The table over one source's files.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::{FileGroup, FileOpener, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_datasource::PartitionedFile;
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::OnceCell;

use super::columns::{COLUMNS, HAS_FLAG};
use super::decode::decode;
use super::format::{Format, SourceFile};
use super::source::{RecordOpener, shown};
use super::{RecordSource, Source, chunks};
use crate::records::{count_columns, is_blank};

/// A file is not cut into ranges smaller than this.
const SMALLEST_RANGE: u64 = 1 << 20;

/// One source of a day: all its files, read as one table.
#[derive(Clone, Debug)]
pub struct RecordTable {
    source: Source,
    store: ObjectStoreUrl,
    root: Path,
    files: Arc<[SourceFile]>,
    user_form: FoundUserForm,
    schema: SchemaRef,
    /// The one group of ranges that is read of the files; all of them when there is none.
    piece: Option<FileGroup>,
}

/// What the records of `user.csv` tell together.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserForm {
    /// How many columns most of them have, the smaller number where two are as frequent; `None` without CSV.
    pub columns: Option<usize>,
    /// How many there are in CSV files.
    pub records: u64,
    /// In how many of these the flag of suspension says anything.
    pub with_flag: u64,
}

/// The form of a day's users, found once, when it is first needed.
#[derive(Clone, Debug, Default)]
pub struct FoundUserForm(Arc<OnceCell<UserForm>>);

impl FoundUserForm {
    /// So many columns, whatever the files have.
    pub fn said(columns: usize) -> Self {
        let form = UserForm {
            columns: Some(columns),
            ..UserForm::default()
        };
        Self(Arc::new(OnceCell::new_with(Some(form))))
    }
}

impl RecordTable {
    /// The table over `files` of `store`; `root` is the input folder that file names are shown relative to.
    pub fn new(
        source: Source,
        store: ObjectStoreUrl,
        root: Path,
        files: Vec<SourceFile>,
        user_form: FoundUserForm,
    ) -> Self {
        Self {
            source,
            store,
            root,
            files: files.into(),
            user_form,
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

    /// How many columns most records have: of `user.csv` all records, of another source those at the beginning of its first
    /// CSV file. `None` where no CSV file tells.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn columns(&self, store: Arc<dyn ObjectStore>) -> Result<Option<usize>> {
        match self.source {
            Source::Message => Ok(None),
            Source::User => Ok(self.user_form(store).await?.columns),
            _ => self.count_first_columns(store).await,
        }
    }

    /// What the records of `user.csv` tell together.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub async fn user_form(&self, store: Arc<dyn ObjectStore>) -> Result<UserForm> {
        let found = &self.user_form.0;
        found
            .get_or_try_init(|| self.find_user_form(store))
            .await
            .copied()
    }

    fn text_files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.format.is_text())
    }

    async fn find_user_form(&self, store: Arc<dyn ObjectStore>) -> Result<UserForm> {
        let fields = vec![
            Field::new(COLUMNS, DataType::Int64, true),
            Field::new(HAS_FLAG, DataType::Boolean, true),
        ];
        let opener = RecordOpener {
            source: self.source,
            root: self.root.clone(),
            user_columns: None,
            schema: Arc::new(Schema::new(fields)),
            batch_size: 8192,
            object_store: store,
        };
        let mut form = UserForm::default();
        let mut counts = BTreeMap::new();
        for file in self.text_files() {
            let file = PartitionedFile::new_from_meta(file.meta.clone());
            let mut batches = opener.open(file)?.await?;
            while let Some(batch) = batches.next().await {
                let batch = batch?;
                form.records += batch.num_rows() as u64;
                form.with_flag += batch.column(1).as_boolean().true_count() as u64;
                for columns in batch.column(0).as_primitive::<Int64Type>().iter().flatten() {
                    *counts.entry(columns as usize).or_default() += 1;
                }
            }
        }
        form.columns = most(counts);
        Ok(form)
    }

    async fn count_first_columns(&self, store: Arc<dyn ObjectStore>) -> Result<Option<usize>> {
        let Some(file) = self.text_files().next() else {
            return Ok(None);
        };
        let name = shown(&file.meta.location, &self.root);
        let chunks = chunks::read(store, &file.meta, 0..file.meta.size, file.meta.size);
        let mut chunks = decode(chunks, file.format, self.source, name);
        let mut records = BTreeMap::new();
        if let Some(chunk) = chunks.next().await {
            let lines = chunk?;
            let lines = lines.split_inclusive(|byte| *byte == b'\n');
            for line in lines.filter(|line| line.ends_with(b"\n") && !is_blank(line)) {
                if let Some(columns) = count_columns(line) {
                    *records.entry(columns).or_default() += 1;
                }
            }
        }
        Ok(most(records))
    }

    /// Deals the files out to `partitions` groups of about the same size. Plain line-delimited files are cut into
    /// ranges; compressed ones, Parquet, and CSV with line breaks in fields are read whole.
    fn file_groups(&self, partitions: usize) -> Vec<FileGroup> {
        let total: u64 = self.files.iter().map(|file| file.meta.size).sum();
        let share = total.div_ceil(partitions.max(1) as u64).max(SMALLEST_RANGE);
        let mut pieces: Vec<(u64, PartitionedFile)> = Vec::new();
        let files = self.files.iter();
        for file in files.filter(|file| file.format != Format::Empty) {
            let whole = self.source == Source::User || file.format != Format::Text;
            let file = &file.meta;
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
        let mut groups: Vec<FileGroup> = groups
            .into_iter()
            .filter(|(_, files)| !files.is_empty())
            .map(|(_, files)| FileGroup::new(files))
            .collect();
        if groups.is_empty() {
            groups.push(FileGroup::new(Vec::new()));
        }
        groups
    }
}

/// The number that most records have.
fn most(records: BTreeMap<usize, u64>) -> Option<usize> {
    let records = records.into_iter();
    records
        .max_by_key(|(columns, records)| (*records, Reverse(*columns)))
        .map(|(columns, _)| columns)
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
        let store = state.runtime_env().object_store(&self.store)?;
        let user_columns = match self.source {
            Source::User => self.columns(store).await?,
            _ => None,
        };
        let root = self.root.clone();
        let source = Arc::new(RecordSource::new(self.source, root, user_columns));
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
