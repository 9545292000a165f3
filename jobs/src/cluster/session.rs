//! A run's hold on a cluster: its pieces, their plans, and what they are made of.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::stream::{self, StreamExt, TryStreamExt};
use graph_recs_sql::cluster::{Answer, Form, Needs, PieceFile, PieceTable, Target, Written, build};
use graph_recs_sql::{Engine, session};
use graph_recs_udfs::model::LazyModel;
use graph_recs_udfs::scan::Source;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::ClusterOptions;
use super::book::{Book, Division};
use super::pool::{Pool, Timing, Work};
use super::progress::{Board, Phase, Reporter, Snapshot};
use crate::pipeline::Job;
use crate::pipeline::cluster_parts::Accounts;
use crate::progress::Progress;
use graph_recs_warehouse::{DataFile, Table};

/// Plans at once in the making or under way; the pool decides how many are sent.
const PLANS_AT_ONCE: usize = 512;
/// Bytes of exports for which a bucket more pays.
const BUCKET_BYTES: u64 = 512 << 20;
/// Each bucket costs a read of what all buckets share, so there are not arbitrarily many.
const BUCKETS: std::ops::RangeInclusive<u32> = 4..=256;

/// A run's hold on a cluster.
pub struct Cluster {
    pool: Pool,
    pub(super) book: Book,
    board: Arc<Board>,
    reporter: Mutex<Option<Reporter>>,
    division: Division,
    engine: Engine,
    model: LazyModel,
    parameters: HashMap<String, ScalarValue>,
    store: Arc<dyn ObjectStore>,
    store_url: ObjectStoreUrl,
    options: ClusterOptions,
}

impl Cluster {
    /// Reaches the cluster for a run, waits until an executor is there, and asks all of them whether they are fit.
    pub async fn open(
        options: ClusterOptions,
        job: &Job,
        run: &str,
        progress: Progress,
    ) -> Result<Self> {
        let engine = Engine {
            threads: 1,
            ..job.engine().clone()
        };
        let model = job.model().clone();
        let needs = Needs {
            build: build(),
            model: job.model_ref()?,
        };
        let mut settings = engine.travelling_settings();
        settings.extend(options.settings.clone());
        let book = Book::new(job.warehouse(), run)?;
        let board = Arc::new(Board::new(progress, &options.url));
        let reporter = Reporter::start(Arc::clone(&board), book.clone());
        let pool = Pool::open(options.clone(), needs, settings, run).await?;
        let division = match book.read("division").await? {
            Some(division) => division,
            None => {
                let bytes: u64 = job.input().bytes();
                let buckets = u32::try_from(bytes.div_ceil(BUCKET_BYTES)).unwrap_or(u32::MAX);
                let division = Division {
                    buckets: options
                        .buckets
                        .unwrap_or(buckets.clamp(*BUCKETS.start(), *BUCKETS.end())),
                    piece_bytes: options.piece_bytes,
                };
                book.enter("division", &division).await?;
                division
            }
        };
        let store = job.warehouse().root_store();
        Ok(Self {
            pool,
            store_url: ObjectStoreUrl::parse(book.store_url())?,
            book,
            board,
            reporter: Mutex::new(Some(reporter)),
            division,
            engine,
            model,
            parameters: job.parameters().values(),
            store,
            options,
        })
    }

    /// The buckets of users.
    pub(super) fn buckets(&self) -> u32 {
        self.division.buckets
    }

    /// Bytes of an export that one piece reads.
    pub(super) fn piece_bytes(&self) -> u64 {
        self.division.piece_bytes.max(1)
    }

    /// How long a step may take.
    pub fn step_deadline(&self) -> std::time::Duration {
        self.options.step_deadline
    }

    /// The values by which plans are run.
    pub(super) fn parameters(&self) -> &HashMap<String, ScalarValue> {
        &self.parameters
    }

    /// What the pieces so far took.
    pub fn timings(&self) -> Vec<Timing> {
        self.pool.timings()
    }

    /// Keeps what was counted before it is known whether the run may go on.
    pub(crate) async fn book_counted(&self, name: &str, accounts: &Accounts) -> Result<()> {
        self.book.enter_work(name, accounts).await
    }

    /// Tells whoever looks in how the run ended.
    pub async fn ended(&self, error: Option<String>) -> Result<()> {
        if let Ok(mut reporter) = self.reporter.lock() {
            reporter.take();
        }
        let end = Snapshot {
            phase: match error {
                None => Phase::Done,
                Some(_) => Phase::Failed,
            },
            error,
            ..self.board.snapshot()
        };
        self.pool.settle().await;
        self.book.enter_work("timings", &self.timings()).await?;
        self.book.enter_work(super::progress::FILE, &end).await
    }

    /// Removes what only the run's steps needed, once it is published.
    pub async fn tidy(&self, kept: &[DataFile]) -> Result<()> {
        self.book.tidy(kept).await
    }

    /// The store that the warehouse lies in.
    pub(super) fn store_url(&self) -> ObjectStoreUrl {
        self.store_url.clone()
    }

    /// The lookback in seconds, by which weights are divided.
    pub(super) fn lookback_seconds(&self) -> f64 {
        match self.parameters.get("lookback_seconds") {
            Some(ScalarValue::Int64(Some(seconds))) => *seconds as f64,
            _ => f64::NAN,
        }
    }

    /// Makes files known as a table whose columns the first of them tells.
    pub(super) async fn files(
        &self,
        context: &SessionContext,
        name: &str,
        files: Vec<PieceFile>,
    ) -> Result<()> {
        let first = files.first().context("a table without files")?;
        let schema = self.schema_of(context, &first.path).await?;
        let table = PieceTable::new(self.store_url.clone(), schema, files, false);
        context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    /// A session to plan in: the embedded one's functions and settings, on one thread, its plans fit to be sent.
    pub(super) fn context(&self) -> Result<SessionContext> {
        Ok(self.engine.travelling(self.model.clone())?)
    }

    /// The schema `raw` in a session.
    pub(super) fn raw_schema(&self, context: &SessionContext) -> Result<()> {
        let catalog = context
            .catalog("datafusion")
            .context("no default catalog")?;
        catalog.register_schema(
            "raw",
            Arc::new(datafusion::catalog::MemorySchemaProvider::new()),
        )?;
        Ok(())
    }

    /// Makes a source's staged records known as the raw source, without those that can't be read. `condition`
    /// narrows them.
    pub(super) async fn raw(
        &self,
        context: &SessionContext,
        source: Source,
        files: Vec<PieceFile>,
        condition: &str,
    ) -> Result<()> {
        let schema = staged_schema(source);
        let name = format!("staged_{}", source.table_name());
        let columns: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| format!("\"{}\"", field.name()))
            .collect();
        let table = PieceTable::new(self.store_url.clone(), schema, files, false);
        context.register_table(name.as_str(), Arc::new(table))?;
        let view = context
            .sql(&format!(
                "SELECT {}, CAST(NULL AS VARCHAR) AS reason, CAST(NULL AS VARCHAR) AS file, \
                 CAST(NULL AS BIGINT) AS line, CAST(NULL AS VARCHAR) AS raw FROM {name} WHERE {condition}",
                columns.join(", ")
            ))
            .await?
            .into_view();
        context.register_table(format!("raw.{}", source.table_name()), view)?;
        Ok(())
    }

    /// Makes pieces known as a table. At least one piece is needed, for the columns.
    pub(super) async fn table(
        &self,
        context: &SessionContext,
        name: &str,
        pieces: &[&Written],
        sorted_by_user: bool,
    ) -> Result<()> {
        let first = pieces.first().context("a table without pieces")?;
        let schema = self.schema_of(context, &first.path).await?;
        let files = pieces.iter().map(|piece| piece.file()).collect();
        let table = PieceTable::new(self.store_url.clone(), schema, files, sorted_by_user);
        context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    async fn schema_of(&self, context: &SessionContext, path: &str) -> Result<SchemaRef> {
        let meta = self.store.head(&Path::parse(path)?).await?;
        let format = ParquetFormat::default().with_force_view_types(false);
        Ok(format
            .infer_schema(&context.state(), &self.store, &[meta])
            .await?)
    }

    /// The plan `name` in a session, to be sent.
    pub(super) async fn plan(
        &self,
        context: &SessionContext,
        name: &str,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        physical(session::query(context, name, &self.parameters).await?).await
    }

    /// A statement in a session, to be sent.
    pub(super) async fn statement(
        &self,
        context: &SessionContext,
        sql: &str,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        physical(context.sql(sql).await?).await
    }

    /// Makes plans known as views.
    pub(super) async fn define(&self, context: &SessionContext, names: &[&str]) -> Result<()> {
        for name in names {
            session::define(context, name, &self.parameters).await?;
        }
        Ok(())
    }

    /// A stage has this many more pieces.
    pub(super) fn expect(&self, stage: &str, pieces: usize) {
        self.board.expect(stage, pieces);
    }

    /// Does something for all `items`, many at a time; results come in the items' order.
    pub(super) async fn each<I, T, F>(
        &self,
        items: impl IntoIterator<Item = I>,
        work: impl Fn(I) -> F,
    ) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>>,
    {
        stream::iter(items)
            .map(work)
            .buffered(PLANS_AT_ONCE)
            .try_collect()
            .await
    }

    /// A piece in a file: found in the book, or made, verified and entered.
    pub(super) async fn make<F>(
        &self,
        stage: &str,
        piece: &str,
        target: impl Fn(&str) -> Target + Sync,
        plan: impl FnOnce() -> F,
        verify: impl Fn(&Written) -> Result<(), String> + Sync,
    ) -> Result<Written>
    where
        F: Future<Output = Result<Arc<dyn ExecutionPlan>>>,
    {
        if let Some(found) = self.book.piece(stage, piece).await? {
            self.board.done(stage);
            return Ok(found);
        }
        let work = Work {
            stage,
            piece,
            plan: plan().await?,
            target: &target,
            verify: &|answer| match answer {
                Answer::Written(written) => verify(written),
                Answer::Rows(_) => Err("rows instead of a file".into()),
            },
        };
        let Answer::Written(written) = self.pool.run(work).await? else {
            anyhow::bail!("rows instead of a file");
        };
        self.book
            .enter(&format!("{stage}/{piece}"), &written)
            .await?;
        self.board.done(stage);
        Ok(*written)
    }

    /// Few rows that a plan gives.
    pub(super) async fn ask(
        &self,
        stage: &str,
        piece: &str,
        plan: Arc<dyn ExecutionPlan>,
        verify: impl Fn(&[RecordBatch]) -> Result<(), String> + Sync,
    ) -> Result<Vec<RecordBatch>> {
        let work = Work {
            stage,
            piece,
            plan,
            target: &|_| Target::Rows,
            verify: &|answer| match answer {
                Answer::Rows(rows) => verify(rows),
                Answer::Written(_) => Err("a file instead of rows".into()),
            },
        };
        let answer = self.pool.run(work).await?;
        self.board.done(stage);
        match answer {
            Answer::Rows(rows) => Ok(rows),
            Answer::Written(_) => anyhow::bail!("a file instead of rows"),
        }
    }

    /// A file that later steps read.
    pub(super) fn file(
        &self,
        stage: &str,
        piece: &str,
        form: Form,
    ) -> impl Fn(&str) -> Target + Sync {
        let (stage, piece) = (stage.to_string(), piece.to_string());
        let ending = if form == Form::Scores {
            "csv"
        } else {
            "parquet"
        };
        move |attempt| Target::File {
            store: self.book.store_url().to_string(),
            path: self.book.place(&stage, &piece, attempt, ending),
            form,
        }
    }

    /// A part of a published table.
    pub(super) fn part(&self, table: Table, piece: &str) -> impl Fn(&str) -> Target + Sync {
        let piece = piece.to_string();
        move |attempt| Target::File {
            store: self.book.store_url().to_string(),
            path: self.book.table_place(table, &piece, attempt),
            form: Form::Published,
        }
    }

    /// Stages the records of a source: reads each piece of its files once and divides the records among `buckets`.
    pub(super) async fn stage(
        &self,
        job: &Job,
        source: Source,
        buckets: u32,
        stage: &str,
    ) -> Result<Vec<Written>> {
        let input = job.input();
        let files = input.files(source).unwrap_or_default();
        let bytes: u64 = files.iter().map(|file| file.meta.size).sum();
        let table = input.table(source).context("a source is missing")?;
        let wanted = usize::try_from(bytes.div_ceil(self.piece_bytes()))?.max(1);
        let pieces = table.split(wanted);
        self.expect(stage, pieces.len());
        self.each(
            pieces.into_iter().enumerate(),
            |(number, records)| async move {
                let piece = format!("{}-{number:05}", source.name());
                let target = |attempt: &str| Target::Buckets {
                    store: self.book.store_url().to_string(),
                    path: self.book.place(stage, &piece, attempt, "parquet"),
                    quarantine: self
                        .book
                        .place(stage, &piece, attempt, "quarantine.parquet"),
                    source: source.name().to_string(),
                    buckets,
                };
                let plan = || async {
                    let context = self.context()?;
                    context.register_table("records", Arc::new(records))?;
                    self.statement(&context, "SELECT * FROM records").await
                };
                self.make(stage, &piece, target, plan, |_| Ok(())).await
            },
        )
        .await
    }
}

/// The columns of staged records: the typed ones.
fn staged_schema(source: Source) -> SchemaRef {
    let all = source.schema();
    let typed = all.fields().len() - 4;
    Arc::new(Schema::new(
        all.fields().iter().take(typed).cloned().collect::<Vec<_>>(),
    ))
}

async fn physical(frame: DataFrame) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(frame.create_physical_plan().await?)
}
