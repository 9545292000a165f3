//! Statements on a cluster's executors: those that read much and need nothing of this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::stream::BoxStream;
use graph_recs_sql::session;

use super::refusal::Refusal;
use super::service::Session;

/// Rows as they come. Dropping them stops the work.
pub type RemoteRows = BoxStream<'static, Result<RecordBatch, Refusal>>;

/// Executors that statements can be sent to.
#[async_trait]
pub trait Remote: fmt::Debug + Send + Sync {
    /// Statements that read fewer bytes of files are done here.
    fn min_scan(&self) -> u64;

    /// The rows that a plan of one partition gives, which an executor runs whole; `None` when the plan cannot be sent.
    ///
    /// # Errors
    /// Whatever stopped it.
    async fn rows(
        &self,
        statement: Sent<'_>,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<Option<RemoteRows>, Refusal>;

    /// Waits until what was given up is stopped there, but not for long.
    async fn settle(&self);
}

/// A statement on its way to an executor.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// For whoever looks at the cluster's jobs.
    pub name: &'a str,
    /// How long it may take there.
    pub timeout: Duration,
    /// Bytes of rows that it may give.
    pub max_bytes: u64,
}

/// Decides what is sent.
#[derive(Debug)]
pub struct Elsewhere {
    remote: Arc<dyn Remote>,
    known: HashMap<String, Arc<ScalarUDF>>,
}

impl Elsewhere {
    /// Executors know the functions of `state`.
    pub fn new(remote: Arc<dyn Remote>, state: &SessionState) -> Self {
        Self {
            remote,
            known: state.scalar_functions().clone(),
        }
    }

    /// The rows of a statement, when executors are to run it, and the bytes of files that they read; `here` is its plan
    /// for this process. Files of more than `max_scan` bytes do not go to executors unseen: of those each byte that is
    /// read is counted here.
    ///
    /// # Errors
    /// Whatever stopped it.
    pub(super) async fn rows(
        &self,
        session: &Session,
        plan: &LogicalPlan,
        here: &Arc<dyn ExecutionPlan>,
    ) -> Result<Option<(RemoteRows, u64)>, Refusal> {
        let limits = &session.limits;
        let bytes = match file_bytes(here) {
            Some(bytes) if (self.remote.min_scan()..=limits.max_scan).contains(&bytes) => bytes,
            _ => return Ok(None),
        };
        if !self.knows(plan)? {
            return Ok(None);
        }
        let mut config = session.state.config().clone().with_target_partitions(1);
        session::fit_to_travel(&mut config);
        let state = SessionStateBuilder::new_from_existing(session.state.clone())
            .with_config(config)
            .build();
        let mut plan = super::execution::interruptible(state.create_physical_plan(plan).await?)?;
        if plan.output_partitioning().partition_count() > 1 {
            plan = Arc::new(CoalescePartitionsExec::new(plan));
        }
        // One row more than may be had, so that the limit is noticed here; the rest never fills an executor's disk.
        let rows = usize::try_from(limits.max_rows).unwrap_or(usize::MAX);
        let plan = Arc::new(GlobalLimitExec::new(plan, 0, Some(rows.saturating_add(1))));
        let sent = Sent {
            name: &session.name,
            timeout: limits.statement_timeout,
            max_bytes: limits.max_bytes,
        };
        let rows = self.remote.rows(sent, plan).await?;
        Ok(rows.map(|rows| (rows, bytes)))
    }

    /// See [`Remote::settle`].
    pub async fn settle(&self) {
        self.remote.settle().await;
    }

    /// Whether executors have all the functions: those of the catalog, and those behind a wall, are of this process.
    fn knows(&self, plan: &LogicalPlan) -> Result<bool, DataFusionError> {
        let mut known = true;
        plan.apply_with_subqueries(|node| {
            node.apply_expressions(|expression| {
                expression.apply(|part| {
                    if let Expr::ScalarFunction(call) = part {
                        known &= self.known.get(call.func.name()) == Some(&call.func);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(known)
    }
}

/// Bytes of the files that a plan reads; `None` when it reads anything else, or only their first rows.
fn file_bytes(plan: &Arc<dyn ExecutionPlan>) -> Option<u64> {
    if !plan.children().is_empty() {
        return plan.children().into_iter().map(file_bytes).sum();
    }
    let scan = plan.downcast_ref::<DataSourceExec>()?;
    let source: &dyn std::any::Any = scan.data_source().as_ref();
    let config = source.downcast_ref::<FileScanConfig>()?;
    if config.limit.is_some() {
        // A look at the first rows.
        return None;
    }
    let files = config.file_groups.iter().flat_map(|group| group.files());
    Some(
        files
            .map(|file| match &file.range {
                Some(range) => u64::try_from(range.end - range.start).unwrap_or(0),
                None => file.object_meta.size,
            })
            .sum(),
    )
}
