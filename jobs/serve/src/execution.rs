//! Running statements: in threads of their own, within limits, until the last row, a limit, or somebody's cancel.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::audit::Entry;
use super::catalog::Snapshot;
use super::limits::{Limits, Place, Quota, Usage};
use super::refusal::{Kind, Refusal};
use super::service::{Caller, Prepared, Service, Session, fit};

/// A statement's rows as they come. Dropping it stops the work.
pub struct Rows {
    /// Their columns.
    pub schema: SchemaRef,
    /// Names of their columns, as PostgreSQL gives them.
    pub names: Vec<String>,
    first: Option<RecordBatch>,
    /// The last of them is nothing: without it the work was lost.
    rest: Option<Receiver<Result<Option<RecordBatch>, Refusal>>>,
    limits: Limits,
    deadline: Instant,
    cancel: CancellationToken,
    account: Account,
    _work: Option<Work>,
}

/// What a running statement holds.
struct Work {
    task: AbortHandle,
    _place: Place,
    _listed: Listed,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Notes in the audit log what became of a statement, at the latest when it is dropped.
pub struct Account {
    service: Arc<Service>,
    caller: Caller,
    at: DateTime<Utc>,
    started: Instant,
    text: String,
    run: Option<String>,
    usage: Arc<Usage>,
    outcome: &'static str,
    error: Option<String>,
}

impl Account {
    /// Of a statement that has just come.
    pub fn new(service: &Arc<Service>, caller: &Caller, text: &str) -> Self {
        Self {
            service: Arc::clone(service),
            caller: caller.clone(),
            at: Utc::now(),
            started: Instant::now(),
            text: text.to_string(),
            run: None,
            usage: Arc::default(),
            // Nobody waited for its end.
            outcome: Kind::Cancelled.code(),
            error: None,
        }
    }

    /// Notes the run that it saw.
    pub fn saw(&mut self, snapshot: &Snapshot) {
        self.run = snapshot.run_id().map(String::from);
    }

    /// Notes how it ended.
    pub fn end<T>(&mut self, result: &Result<T, Refusal>) {
        match result {
            Ok(_) => self.outcome = "ok",
            Err(refusal) => {
                self.outcome = refusal.kind.code();
                self.error = Some(refusal.message.clone());
            }
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.service.audit.note(Entry {
            at: self.at,
            user: std::mem::take(&mut self.caller.user.name),
            peer: std::mem::take(&mut self.caller.peer),
            protocol: self.caller.protocol,
            run: self.run.take(),
            statement: std::mem::take(&mut self.text),
            outcome: self.outcome,
            error: self.error.take(),
            rows: self.usage.rows.load(Ordering::Relaxed),
            bytes: self.usage.bytes.load(Ordering::Relaxed),
            scanned: self.usage.scanned.load(Ordering::Relaxed),
            milliseconds: self.started.elapsed().as_secs_f64() * 1e3,
        });
    }
}

/// The statements that run.
#[derive(Debug, Default)]
pub struct Running {
    next: AtomicU64,
    list: Arc<Mutex<HashMap<u64, (CancellationToken, Arc<Quota>)>>>,
}

/// A statement's line among those that run.
struct Listed {
    number: u64,
    list: Arc<Mutex<HashMap<u64, (CancellationToken, Arc<Quota>)>>>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.remove(&self.number);
    }
}

impl Running {
    fn enter(&self, cancel: CancellationToken, quota: Arc<Quota>) -> Listed {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.insert(number, (cancel, quota));
        Listed {
            number,
            list: Arc::clone(&self.list),
        }
    }

    /// Cancels all.
    pub fn cancel_all(&self) {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        for (cancel, _) in list.values() {
            cancel.cancel();
        }
    }

    /// Whether none runs.
    pub fn is_empty(&self) -> bool {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.is_empty()
    }

    /// Cancels the statement that holds the most memory, the newest of equals; whether there was one.
    pub fn cancel_largest(&self) -> bool {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let running = list
            .iter()
            .filter(|(_, (cancel, _))| !cancel.is_cancelled());
        let largest = running.max_by_key(|(number, (_, quota))| (quota.reserved(), **number));
        if let Some((_, (cancel, _))) = largest {
            cancel.cancel();
        }
        largest.is_some()
    }
}

fn cancelled() -> Refusal {
    Refusal::new(Kind::Cancelled, "canceling statement due to user request")
}

fn timed_out(timeout: Duration) -> Refusal {
    Refusal::new(
        Kind::Timeout,
        format!(
            "canceling statement due to statement timeout: it took longer than {} s",
            timeout.as_secs_f64()
        ),
    )
}

/// What a statement is run with.
#[derive(Default)]
pub struct Run {
    /// Values of its parameters.
    pub values: Vec<ScalarValue>,
    /// The state of the catalog that it sees; the newest when nothing is given.
    pub snapshot: Option<Arc<Snapshot>>,
    /// A shorter time than the user's.
    pub timeout: Option<Duration>,
    /// Stops it.
    pub cancel: CancellationToken,
}

impl Service {
    /// Runs a statement; its first rows are there when this returns.
    ///
    /// # Errors
    /// Whatever stops it.
    pub async fn run(
        self: &Arc<Self>,
        caller: &Caller,
        prepared: &Arc<Prepared>,
        run: Run,
    ) -> Result<Rows, Refusal> {
        let mut account = Account::new(self, caller, &prepared.text);
        let snapshot = run.snapshot.clone();
        let snapshot = snapshot.unwrap_or_else(|| self.catalog.snapshot());
        account.saw(&snapshot);
        let mut limits = self.limits.of(&caller.user.limits);
        if let Some(timeout) = run.timeout {
            limits.statement_timeout = limits.statement_timeout.min(timeout);
        }
        let deadline = Instant::now() + limits.statement_timeout;
        let cancel = run.cancel.clone();
        let timeout = limits.statement_timeout;
        let begun = self.begin(caller, prepared, run, snapshot, &account.usage);
        let begun = tokio::select! {
            begun = timeout_at(deadline, begun) => begun.unwrap_or_else(|_| Err(timed_out(timeout))),
            () = cancel.cancelled() => Err(cancelled()),
        };
        let (rest, work) = match begun {
            Ok(begun) => begun,
            Err(refusal) => {
                account.end(&Err::<(), _>(refusal.clone()));
                return Err(refusal);
            }
        };
        let mut rows = Rows {
            schema: Arc::clone(&prepared.schema),
            names: prepared.names.clone(),
            first: None,
            rest: Some(rest),
            limits,
            deadline,
            cancel,
            account,
            _work: Some(work),
        };
        // What goes wrong at once is said before any row is promised.
        rows.first = rows.next().await.transpose()?;
        Ok(rows)
    }

    async fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        prepared: &Arc<Prepared>,
        run: Run,
        snapshot: Arc<Snapshot>,
        usage: &Arc<Usage>,
    ) -> Result<(Receiver<Result<Option<RecordBatch>, Refusal>>, Work), Refusal> {
        let limits = self.limits.of(&caller.user.limits);
        let place = self
            .gate
            .enter(&caller.user.name, limits.max_statements)
            .await?;
        let session = self.session(&caller.user, snapshot, usage)?;
        let listed = self.running.enter(run.cancel, Arc::clone(&session.quota));
        let (sender, receiver) = channel(2);
        let prepared = Arc::clone(prepared);
        let task = self.work.spawn(async move {
            let done = work(&prepared, session, run.values, &sender).await;
            let _ = sender.send(done.map(|()| None)).await;
        });
        Ok((
            receiver,
            Work {
                task: task.abort_handle(),
                _place: place,
                _listed: listed,
            },
        ))
    }
}

/// A plan whose joins pause now and then. DataFusion's own pauses are where rows are read; a join that makes endless rows
/// of a few would never come back there, and what never pauses cannot be stopped.
pub(super) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let paused = plan.transform_up(|node| {
        let makes_rows = node.children().len() > 1 || node.is::<UnnestExec>();
        Ok(match makes_rows {
            true => Transformed::yes(Arc::new(CooperativeExec::new(node)) as _),
            false => Transformed::no(node),
        })
    });
    Ok(paused?.data)
}

async fn work(
    prepared: &Prepared,
    session: Session,
    values: Vec<ScalarValue>,
    sender: &Sender<Result<Option<RecordBatch>, Refusal>>,
) -> Result<(), Refusal> {
    let mut plan = Arc::unwrap_or_clone(prepared.plan(&session).await?);
    if !prepared.parameters.is_empty() {
        let values = fit(values, &prepared.parameters);
        plan = plan.replace_params_with_values(&ParamValues::from(values))?;
    }
    let physical = interruptible(session.state.create_physical_plan(&plan).await?)?;
    if let Some(elsewhere) = &session.elsewhere {
        let sent = elsewhere.rows(&session, &plan, &physical);
        if let Some((mut rows, bytes)) = sent.await? {
            session.usage.scanned.fetch_add(bytes, Ordering::Relaxed);
            while let Some(batch) = rows.next().await {
                if sender.send(Ok(Some(batch?))).await.is_err() {
                    break;
                }
            }
            return Ok(());
        }
    }
    let mut rows = execute_stream(physical, session.state.task_ctx())?;
    while let Some(batch) = rows.next().await {
        if sender.send(Ok(Some(batch?))).await.is_err() {
            break;
        }
    }
    Ok(())
}

impl Rows {
    /// Rows that are there already.
    pub(super) fn ready(
        prepared: &Prepared,
        batch: Option<RecordBatch>,
        limits: Limits,
        account: Account,
    ) -> Self {
        Self {
            schema: Arc::clone(&prepared.schema),
            names: prepared.names.clone(),
            first: batch,
            rest: None,
            deadline: Instant::now() + limits.statement_timeout,
            limits,
            cancel: CancellationToken::new(),
            account,
            _work: None,
        }
    }

    /// How much of its time is left.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The next rows; nothing after the last ones, or after an error.
    pub async fn next(&mut self) -> Option<Result<RecordBatch, Refusal>> {
        if let Some(first) = self.first.take() {
            if self.rest.is_none() {
                let counted = self.count(&first);
                self.account.end(&counted);
            }
            return Some(Ok(first));
        }
        let rest = self.rest.as_mut()?;
        let next = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Some(Err(cancelled())),
            next = timeout_at(self.deadline, rest.recv()) => match next {
                Ok(Some(next)) => next.transpose(),
                Ok(None) => Some(Err(Refusal::new(Kind::Internal, "the statement's work was lost"))),
                Err(_) => Some(Err(timed_out(self.limits.statement_timeout))),
            },
        };
        let next = match next {
            Some(Ok(batch)) => match self.count(&batch) {
                Ok(()) => return Some(Ok(batch)),
                Err(refusal) => Some(Err(refusal)),
            },
            other => other,
        };
        // It is over, well or not.
        self.rest = None;
        self._work = None;
        match &next {
            Some(result) => self.account.end(result),
            None => self.account.end(&Ok(())),
        }
        next
    }

    /// The rows that are still to come.
    pub fn stream(self) -> impl Stream<Item = Result<RecordBatch, Refusal>> {
        stream::unfold(self, |mut rows| async move {
            let next = rows.next().await?;
            Some((next, rows))
        })
    }

    fn count(&self, batch: &RecordBatch) -> Result<(), Refusal> {
        let usage = &self.account.usage;
        let rows = batch.num_rows() as u64;
        let rows = usage.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        let bytes = bytes_of(batch);
        let bytes = usage.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let over = |what: String| {
            let text = format!(
                "the result has more than {what} that one may have: aggregate, or LIMIT it"
            );
            Err(Refusal::new(Kind::Limit, text))
        };
        if rows > self.limits.max_rows {
            return over(format!("the {} rows", self.limits.max_rows));
        }
        if bytes > self.limits.max_bytes {
            return over(format!("the {} MiB", self.limits.max_bytes >> 20));
        }
        Ok(())
    }
}

/// Bytes of a batch's own rows, not of what it is a slice of.
fn bytes_of(batch: &RecordBatch) -> u64 {
    let columns = batch.columns().iter();
    let bytes = columns.map(|column| {
        let data = column.to_data();
        data.get_slice_memory_size()
            .unwrap_or_else(|_| column.get_array_memory_size()) as u64
    });
    bytes.sum()
}
