//! The six sources and the `FileSource` that reads them.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::physical_plan::{
    FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, apply_expression_roots};
use datafusion_datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion_datasource::{PartitionedFile, TableSchema};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::columns::Columns;
use super::format::Format;

/// One of the platform's six daily exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Who follows whom, the whole history.
    Follow,
    /// Replies to messages.
    Reply,
    /// Mentions in messages.
    Mention,
    /// Likes of messages.
    Like,
    /// The users, with their suspension flag.
    User,
    /// The messages themselves.
    Message,
}

impl Source {
    /// All sources, in the order in which reports list them.
    pub const ALL: [Source; 6] = [
        Source::Follow,
        Source::Reply,
        Source::Mention,
        Source::Like,
        Source::User,
        Source::Message,
    ];

    /// The name used in reports, in the quarantine and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Source::Follow => "follow",
            Source::Reply => "reply",
            Source::Mention => "mention",
            Source::Like => "like",
            Source::User => "user",
            Source::Message => "message",
        }
    }

    /// The table of schema `raw` that scans this source.
    pub fn table_name(self) -> &'static str {
        match self {
            Source::Follow => "follows",
            Source::Reply => "replies",
            Source::Mention => "mentions",
            Source::Like => "likes",
            Source::User => "users",
            Source::Message => "messages",
        }
    }

    /// The file's name without its ending, also the name of a folder of part files.
    pub fn file_stem(self) -> &'static str {
        match self {
            Source::Message => "st_messages",
            other => other.name(),
        }
    }

    /// The uncompressed text file's ending.
    pub fn file_ending(self) -> &'static str {
        match self {
            Source::Message => "data",
            _ => "csv",
        }
    }

    /// The columns of a scan. The typed ones are null in unreadable records, but for a user's id that can be read; the
    /// last four are null in readable ones.
    pub fn schema(self) -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Second, None);
        let mut fields = match self {
            Source::Follow | Source::Reply | Source::Mention | Source::Like => {
                let mut fields = vec![
                    Field::new("user_id", DataType::Int32, true),
                    Field::new("engaged_with_user_id", DataType::Int32, true),
                ];
                if self != Source::Follow {
                    fields.push(Field::new("message_id", DataType::Int64, true));
                }
                fields.push(Field::new("timestamp", time, true));
                fields
            }
            Source::User => vec![
                Field::new("user_id", DataType::Int32, true),
                Field::new("suspended", DataType::Boolean, true),
            ],
            Source::Message => vec![
                Field::new("id", DataType::Int64, true),
                Field::new("user_id", DataType::Int32, true),
                Field::new("created_at", time, true),
                Field::new("recommended", DataType::Boolean, true),
                Field::new("body", DataType::Utf8, true),
                Field::new("link_description", DataType::Utf8, true),
            ],
        };
        fields.extend([
            Field::new("reason", DataType::Utf8, true),
            Field::new("file", DataType::Utf8, true),
            Field::new("line", DataType::Int64, true),
            Field::new("raw", DataType::Utf8, true),
        ]);
        Arc::new(Schema::new(fields))
    }
}

/// Reads one source's files as record batches of [`Source::schema`].
#[derive(Clone, Debug)]
pub struct RecordSource {
    source: Source,
    /// The folder that `file` is told relative to.
    root: Path,
    /// How many columns a user's record should have, where that is known.
    user_columns: Option<usize>,
    table_schema: TableSchema,
    projection: SplitProjection,
    batch_size: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl RecordSource {
    /// A reader of `source`; `root` is the input folder that file names are shown relative to. Users whose records have
    /// not `user_columns` columns cannot be read.
    pub fn new(source: Source, root: Path, user_columns: Option<usize>) -> Self {
        let table_schema = TableSchema::from(source.schema());
        Self {
            source,
            root,
            user_columns,
            projection: SplitProjection::unprojected(&table_schema),
            table_schema,
            batch_size: 8192,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The source whose records it reads.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The folder that file names are shown relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many columns a user's record should have, where that is known.
    pub fn user_columns(&self) -> Option<usize> {
        self.user_columns
    }
}

impl FileSource for RecordSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let schema = Arc::new(
            self.table_schema
                .file_schema()
                .project(&self.projection.file_indices)?,
        );
        let opener = Arc::new(RecordOpener {
            source: self.source,
            root: self.root.clone(),
            user_columns: self.user_columns,
            schema,
            batch_size: base_config.batch_size.unwrap_or(self.batch_size),
            object_store,
        });
        ProjectionOpener::try_new(
            self.projection.clone(),
            opener,
            self.table_schema.file_schema(),
        )
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            batch_size,
            ..self.clone()
        })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(Self {
            projection,
            ..self.clone()
        })))
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "records"
    }

    fn fmt_extra(&self, _: DisplayFormatType, f: &mut Formatter) -> fmt::Result {
        write!(f, ", source={}", self.source.name())
    }

    /// Files are cut into ranges when the table is scanned: only there is known which of them can be cut.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.projection.source.iter(), f)
    }
}

/// Opens one file, or one byte range of it.
pub(super) struct RecordOpener {
    pub(super) source: Source,
    pub(super) root: Path,
    pub(super) user_columns: Option<usize>,
    pub(super) schema: SchemaRef,
    pub(super) batch_size: usize,
    pub(super) object_store: Arc<dyn ObjectStore>,
}

impl FileOpener for RecordOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let shown = shown(&file.object_meta.location, &self.root);
        let schema = Arc::clone(&self.schema);
        let columns = Columns::new(self.source, schema, shown.clone(), self.user_columns);
        let store = Arc::clone(&self.object_store);
        let (source, batch_size) = (self.source, self.batch_size);
        Ok(Box::pin(async move {
            let (file, range) = (file.object_meta, file.range);
            let format = match &range {
                // Only text is cut into ranges.
                Some(_) => Format::Text,
                None => Format::look(&*store, &file, source)
                    .await
                    .map_err(|error| DataFusionError::Execution(format!("{shown} {error}")))?,
            };
            match format {
                Format::Empty => Ok(futures::stream::empty().boxed()),
                Format::Parquet => super::parquet::open(store, file, columns, batch_size).await,
                format => {
                    let range = range.map(|range| range.start as u64..range.end as u64);
                    Ok(super::reader::open(
                        store, file, range, format, columns, batch_size,
                    ))
                }
            }
        }))
    }
}

/// A file's name below the input folder.
pub(crate) fn shown(location: &Path, root: &Path) -> String {
    match location.prefix_match(root) {
        Some(parts) => parts
            .map(|part| part.as_ref().to_string())
            .collect::<Vec<_>>()
            .join("/"),
        None => location.to_string(),
    }
}
