//! The one operator that our Ballista jobs consist of.

use std::fmt::{self, Formatter};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, BinaryArray, Float64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err, internal_err};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, execute_stream,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::write::{Written, write_buckets, write_file};

/// What a job is to make of its plan's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PieceSpec {
    /// The job's name, `graph-recs/<run>/<stage>/<piece>/<attempt>`: for the executor's log.
    pub name: String,
    /// The driver's [`super::build`]; an executor of another refuses the piece.
    pub build: String,
    /// Where the rows go.
    pub target: Target,
    /// What [`Target::Rows`] may take, when that is bounded.
    pub allowance: Option<Allowance>,
}

/// What a statement may take of an executor, whoever waits for it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Bytes of rows.
    pub bytes: u64,
    /// Seconds.
    pub seconds: u64,
}

/// Where a piece's rows go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Back to whoever asked, as they come; they wait on the executor's disk until they are fetched.
    Rows,
    /// To one file.
    File {
        /// The store.
        store: String,
        /// Path of the file in it, which no other attempt writes.
        path: String,
        /// What kind of file.
        form: Form,
    },
    /// Raw records, to one file divided among buckets of users, and to a quarantine file.
    Buckets {
        /// The store.
        store: String,
        /// Path of the file in it, which no other attempt writes.
        path: String,
        /// Path of the quarantine's file.
        quarantine: String,
        /// The source's name.
        source: String,
        /// How many buckets.
        buckets: u32,
    },
}

/// What kind of file a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// A published table's file: rows by user, no nulls.
    Published,
    /// Rows by user that later steps read.
    Intermediate,
    /// Rows in any order that later steps read.
    Unordered,
    /// CSV of user_id and pred.
    Scores,
}

/// A job's answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What [`Target::File`] and [`Target::Buckets`] wrote.
    Written(Box<Written>),
    /// The rows of [`Target::Rows`].
    Rows(Vec<RecordBatch>),
}

/// How a piece failed, as it is told over the wire at the head of the error's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may pass: a full disk, a store that does not answer. Worth another try.
    Passing,
    /// It will come again: the input, the plan or the program is at fault.
    Lasting,
}

/// An answer with the seconds that its task worked.
#[derive(Clone, Debug)]
pub struct Done {
    /// What was answered.
    pub answer: Answer,
    /// Seconds of work on the executor.
    pub seconds: f64,
}

impl Failure {
    const PASSING: &str = "graph-recs-passing:";
    const LASTING: &str = "graph-recs-lasting:";

    /// The kind of an error on the executor.
    fn of(error: &DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Self::Passing,
            // Parquet and Arrow hand on errors of the store as text or boxed.
            root if root.to_string().contains("No space left") => Self::Passing,
            DataFusionError::ParquetError(error) => match error.as_ref() {
                datafusion::parquet::errors::ParquetError::External(_) => Self::Passing,
                _ => Self::Lasting,
            },
            _ => Self::Lasting,
        }
    }

    fn mark(error: DataFusionError) -> DataFusionError {
        let kind = match Self::of(&error) {
            Self::Passing => Self::PASSING,
            Self::Lasting => Self::LASTING,
        };
        exec_datafusion_err!("{kind} {}", error.strip_backtrace())
    }

    /// The kind and the message in a failed job's text, when the operator said it. What Ballista says by itself,
    /// as of a lost connection, may pass.
    pub fn read(text: &str) -> (Self, String) {
        for (mark, kind) in [
            (Self::PASSING, Self::Passing),
            (Self::LASTING, Self::Lasting),
        ] {
            if let Some((_, message)) = text.split_once(mark) {
                return (kind, message.trim().to_string());
            }
        }
        (Self::Passing, text.to_string())
    }

    /// An error that lasts, in the words of the operator.
    pub(super) fn lasting(message: &str) -> DataFusionError {
        exec_datafusion_err!("{} {message}", Self::LASTING)
    }
}

/// The plan of a piece: known where it is made and run, bytes on its way.
#[derive(Clone, Debug)]
pub(super) enum Inner {
    Plan(Arc<dyn ExecutionPlan>),
    Bytes(Bytes),
    /// Why this process can't read it: said when it is run, for only then does the driver hear it.
    Refused(String),
}

/// Runs a plan and writes its rows as one piece. A leaf with one partition for whoever plans with it.
#[derive(Clone, Debug)]
pub struct PieceExec {
    pub(super) spec: PieceSpec,
    pub(super) inner: Inner,
    properties: Arc<PlanProperties>,
}

impl PieceExec {
    /// The piece that `plan`'s rows make.
    pub fn new(spec: PieceSpec, plan: Arc<dyn ExecutionPlan>) -> Self {
        Self::of(spec, Inner::Plan(plan))
    }

    pub(super) fn of(spec: PieceSpec, inner: Inner) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(answer_schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            spec,
            inner,
            properties: Arc::new(properties),
        }
    }
}

fn answer_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("answer", DataType::Binary, false),
        Field::new("seconds", DataType::Float64, false),
    ]))
}

impl Done {
    /// Reads a job's result.
    ///
    /// # Errors
    /// When the batches are no answer to `target`.
    pub fn read(target: &Target, batches: &[RecordBatch]) -> Result<Self> {
        let last = batches.iter().rfind(|batch| batch.num_rows() > 0);
        let Some((bytes, seconds)) = last.and_then(|batch| {
            let (bytes, seconds) = answers(batch)?;
            let row = batch.num_rows() - 1;
            Some((bytes.value(row), seconds.value(row)))
        }) else {
            return exec_err!("a job without an answer");
        };
        let answer = match target {
            Target::Rows => {
                let mut rows = Vec::new();
                for batch in batches {
                    rows.extend(rows_of(batch)?);
                }
                Answer::Rows(rows)
            }
            _ => Answer::Written(Box::new(
                serde_json::from_slice(bytes)
                    .map_err(|error| DataFusionError::External(Box::new(error)))?,
            )),
        };
        Ok(Self { answer, seconds })
    }
}

fn answers(batch: &RecordBatch) -> Option<(&BinaryArray, &Float64Array)> {
    let seconds = batch.column(1).as_primitive_opt::<Float64Type>()?;
    Some((batch.column(0).as_binary_opt::<i32>()?, seconds))
}

/// The rows of [`Target::Rows`] in a batch of a job's result.
///
/// # Errors
/// When it is none.
pub fn rows_of(batch: &RecordBatch) -> Result<Vec<RecordBatch>> {
    let Some((chunks, _)) = answers(batch) else {
        return exec_err!("a job without an answer");
    };
    let mut rows = Vec::new();
    for chunk in chunks.iter().flatten() {
        for batch in StreamReader::try_new(chunk, None)? {
            rows.push(batch?);
        }
    }
    Ok(rows)
}

impl DisplayAs for PieceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "PieceExec: {:?}", self.spec.target)
    }
}

impl ExecutionPlan for PieceExec {
    fn name(&self) -> &str {
        "PieceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let plan = match &self.inner {
            Inner::Plan(plan) => plan,
            Inner::Refused(why) => return Err(Failure::lasting(why)),
            Inner::Bytes(_) => {
                return internal_err!("a piece that was only passed on can't be run");
            }
        };
        if partition != 0 {
            return internal_err!("a piece has one partition, not {partition}");
        }
        let (plan, target) = (Arc::clone(plan), self.spec.target.clone());
        let started = Instant::now();
        let mut log = Log {
            name: self.spec.name.clone(),
            started,
            outcome: "stopped",
        };
        let answers: BoxStream<'static, Result<Vec<u8>>> = match target {
            Target::Rows => chunks(execute_stream(plan, context)?, self.spec.allowance),
            target => stream::once(async move { written(plan, &target, context).await }).boxed(),
        };
        let answers = answers.map(move |bytes| {
            log.note(&bytes);
            let bytes = BinaryArray::from_vec(vec![&bytes.map_err(Failure::mark)?]);
            let seconds = Float64Array::from(vec![started.elapsed().as_secs_f64()]);
            let columns: Vec<Arc<dyn Array>> = vec![Arc::new(bytes), Arc::new(seconds)];
            Ok(RecordBatch::try_new(answer_schema(), columns)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            answer_schema(),
            answers,
        )))
    }
}

/// Notes in the executor's log what became of a piece, when it is dropped.
struct Log {
    name: String,
    started: Instant,
    outcome: &'static str,
}

impl Log {
    fn note<T>(&mut self, answer: &Result<T>) {
        self.outcome = match answer {
            Ok(_) => "done",
            Err(_) => "failed",
        };
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut parts = self.name.split('/').skip(1);
        let mut part = || parts.next().unwrap_or_default();
        tracing::info!(
            run_id = part(),
            stage = part(),
            piece = part(),
            seconds = self.started.elapsed().as_secs_f64(),
            "{}",
            self.outcome
        );
    }
}

/// Bytes of rows in one answer, about: what is handed out at once must not be more than a message takes.
const ANSWER_BYTES: usize = 8 << 20;

/// Rows as answers; one without rows at the end, which tells that it is the end.
fn chunks(
    rows: SendableRecordBatchStream,
    allowance: Option<Allowance>,
) -> BoxStream<'static, Result<Vec<u8>>> {
    let end = RecordBatch::new_empty(rows.schema());
    let deadline = allowance.map(|allowed| Instant::now() + Duration::from_secs(allowed.seconds));
    let bounded = stream::try_unfold((rows, 0_u64), move |(mut rows, mut given)| async move {
        let next = match deadline {
            None => rows.next().await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), rows.next())
                .await
                .map_err(|_| Failure::lasting("canceling statement due to statement timeout"))?,
        };
        let Some(batch) = next.transpose()? else {
            return Ok(None);
        };
        given += batch.get_array_memory_size() as u64;
        match allowance {
            Some(allowed) if given > allowed.bytes => Err(Failure::lasting(&format!(
                "the result has more than the {} MiB that one may have: aggregate, or LIMIT it",
                allowed.bytes >> 20
            ))),
            _ => Ok(Some((batch, (rows, given)))),
        }
    });
    let sliced = bounded.map_ok(|batch| {
        let parts = batch.get_array_memory_size().div_ceil(ANSWER_BYTES);
        let rows = batch.num_rows().div_ceil(parts.max(1)).max(1);
        let starts = (0..batch.num_rows()).step_by(rows);
        let slices: Vec<Result<RecordBatch>> = starts
            .map(|start| Ok(batch.slice(start, rows.min(batch.num_rows() - start))))
            .collect();
        stream::iter(slices)
    });
    let chunk = |batch: Result<RecordBatch>| {
        let batch = batch?;
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema())?;
        writer.write(&batch)?;
        writer.finish()?;
        drop(writer);
        Ok(bytes)
    };
    let end = stream::once(async move { Ok(end) });
    sliced.try_flatten().chain(end).map(chunk).boxed()
}

async fn written(
    plan: Arc<dyn ExecutionPlan>,
    target: &Target,
    context: Arc<TaskContext>,
) -> Result<Vec<u8>> {
    let runtime = context.runtime_env();
    let store = |url: &str| runtime.object_store(ObjectStoreUrl::parse(url)?);
    let parse = |path: &str| {
        Path::parse(path).map_err(|error| {
            DataFusionError::ObjectStore(Box::new(object_store::Error::from(error)))
        })
    };
    let rows = execute_stream(plan, Arc::clone(&context))?;
    let written = match target {
        Target::Rows => return internal_err!("rows are not written"),
        Target::File {
            store: url,
            path,
            form,
        } => write_file(store(url)?, &parse(path)?, *form, rows).await?,
        Target::Buckets {
            store: url,
            path,
            quarantine,
            source,
            buckets,
        } => {
            let (path, quarantine) = (parse(path)?, parse(quarantine)?);
            write_buckets(store(url)?, &path, &quarantine, source, *buckets, rows).await?
        }
    };
    serde_json::to_vec(&written).map_err(|error| DataFusionError::External(Box::new(error)))
}
