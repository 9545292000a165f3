//! A run: its steps in their order, and going on where it was cut off.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use chrono::Utc;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::prelude::SessionContext;
use graph_recs_sql::session;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::accounts::Accounts;
use super::job::Job;
use super::meter::{Cost, Meter};
use super::report;
use super::work::WorkFolder;
use crate::cluster::Cluster;
use crate::progress::{Progress, StepBar};
use crate::telemetry::Watch;
use graph_recs_warehouse::report::{Changed, CheckResult, Report};
use graph_recs_warehouse::{
    Candidate, DataFile, PerTable, PublicationKind, Table, Warehouse, WarehouseLock, write_parquet,
};

/// With less memory than this for their operators, steps that could be at work at the same time take turns: two would
/// leave each other too little to go on with.
const ROOM_FOR_TWO: usize = 512 << 20;

/// A step of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Step 1: whom each user is closest to.
    ClosestConnections,
    /// Step 2: how good each author's reputation is.
    ReputationScores,
    /// Step 3: whom each user should follow, and why.
    Recommendations,
    /// The quality checks.
    Checks,
}

impl Step {
    /// The step's name, also that of its record.
    pub fn name(self) -> &'static str {
        match self {
            Step::ClosestConnections => "closest_connections",
            Step::ReputationScores => "reputation_scores",
            Step::Recommendations => "recommendations",
            Step::Checks => "checks",
        }
    }

    /// The command that runs the step alone.
    fn command(self) -> &'static str {
        match self {
            Step::ClosestConnections => "closest-connections",
            Step::ReputationScores => "reputation-scores",
            Step::Recommendations => "recommend",
            Step::Checks => "check",
        }
    }
}

/// What a finished step leaves behind for the next ones and for the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRecord {
    /// Time and memory.
    pub cost: Cost,
    /// Files of published tables, by table name.
    pub files: BTreeMap<String, Vec<DataFile>>,
    /// Accounts of the sources that the step read.
    pub accounts: Accounts,
    /// Further counts by name.
    pub counts: BTreeMap<String, i64>,
    /// Results of the quality checks.
    pub checks: Vec<CheckResult>,
}

/// Whether a step had to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It was done now.
    Done,
    /// An earlier, cut-off run had finished it.
    FoundDone,
}

/// What publishing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// The run is the current one now.
    Now,
    /// It was the current one already.
    Already,
}

/// Name of the file with what a step counted in its sources before it went on.
pub(super) fn counted(step: Step) -> String {
    format!("{}.counted", step.name())
}

/// A run under way. The warehouse is locked for as long as it lives.
pub struct Run {
    pub(super) id: String,
    pub(super) job: Job,
    pub(super) work: WorkFolder,
    pub(super) context: SessionContext,
    pub(super) progress: Progress,
    pub(super) cluster: Option<Cluster>,
    pub(super) suspended: OnceCell<()>,
    /// How it differs from what was published of its day before.
    pub(super) changed: Option<Changed>,
    pub(super) lock: WarehouseLock,
}

impl Run {
    /// The run's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The warehouse that it publishes to.
    pub fn warehouse(&self) -> &Arc<Warehouse> {
        &self.job.warehouse
    }

    /// Whether a run of a later as-of stays the current one.
    pub fn keeps_later(&self) -> bool {
        self.job.options.keep_later
    }

    /// How it differs from what was published of its day before.
    pub fn changed(&self) -> Option<&Changed> {
        self.changed.as_ref()
    }

    /// Where it shows its progress.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// All steps in their order, the first two at the same time unless memory is short; finished ones are not done
    /// again.
    pub async fn all(&self) -> Result<Published> {
        let limit = self.job.options.engine.memory_limit;
        if limit.is_some_and(|bytes| bytes < ROOM_FOR_TWO) {
            self.step(Step::ClosestConnections).await?;
            self.step(Step::ReputationScores).await?;
        } else {
            tokio::try_join!(
                self.step(Step::ClosestConnections),
                self.step(Step::ReputationScores)
            )?;
        }
        self.step(Step::Recommendations).await?;
        self.step(Step::Checks).await?;
        self.job.require_same_input().await?;
        self.publish().await
    }

    /// One step, unless it is done already.
    ///
    /// # Errors
    /// When a step that it builds on is not done.
    pub async fn step(&self, step: Step) -> Result<StepOutcome> {
        if self.record(step).await?.is_some() {
            self.progress.found(step.name());
            return Ok(StepOutcome::FoundDone);
        }
        let bar = self.progress.start(step.name());
        let watch = Watch::start(step.name());
        let done = self.measured(step, &bar).await;
        watch.done(done.as_ref());
        bar.done(&done?);
        Ok(StepOutcome::Done)
    }

    /// A step, and its record.
    async fn measured(&self, step: Step, bar: &StepBar) -> Result<Cost> {
        let meter = Meter::start();
        let mut record = match &self.cluster {
            None => self.do_here(step, bar).await,
            Some(cluster) => self.do_on(cluster, step, bar).await,
        }
        .with_context(|| format!("step {} of run {}", step.name(), self.id))?;
        record.cost = meter.stop();
        self.work.write_json(step.name(), &record).await?;
        Ok(record.cost)
    }

    /// A step in this process.
    async fn do_here(&self, step: Step, bar: &StepBar) -> Result<StepRecord> {
        match step {
            Step::ClosestConnections => self.closest_connections_here(bar).await,
            Step::ReputationScores => self.reputation_scores_here(bar).await,
            Step::Recommendations => self.recommendations_here(bar).await,
            Step::Checks => self.checks(bar).await,
        }
    }

    /// A step on a cluster.
    async fn do_on(&self, cluster: &Cluster, step: Step, bar: &StepBar) -> Result<StepRecord> {
        let work = async {
            match step {
                Step::ClosestConnections => cluster.closest_connections(&self.job).await,
                Step::ReputationScores if self.job.given_scores.is_some() => {
                    let mut record = StepRecord::default();
                    let given = self.given_piece().await?;
                    cluster.given_scores(&given, &mut record).await?;
                    Ok(record)
                }
                Step::ReputationScores => cluster.scored_reputations(&self.job).await,
                Step::Recommendations => {
                    self.needed(Step::ClosestConnections).await?;
                    self.needed(Step::ReputationScores).await?;
                    cluster.recommendations(&self.job).await
                }
                Step::Checks => self.checks(bar).await,
            }
        };
        let deadline = cluster.step_deadline();
        tokio::time::timeout(deadline, work)
            .await
            .with_context(|| {
                format!("not done within {} s (--step-deadline)", deadline.as_secs())
            })?
    }

    /// Makes the run the current one. A run that was published before stays as it was, current or not.
    pub async fn publish(&self) -> Result<Published> {
        self.needed(Step::Checks).await?;
        let warehouse = &self.job.warehouse;
        if warehouse
            .publications()
            .await?
            .iter()
            .any(|publication| publication.run_id == self.id)
        {
            return Ok(Published::Already);
        }
        let report = self.keep_report().await?;
        let candidate = Candidate {
            run_id: self.id.clone(),
            as_of: self.job.options.parameters.as_of,
            model_hash: self.job.model_hash(),
            report: serde_json::to_string(&report)?,
            files: self.files().await?,
        };
        self.lock.check()?;
        if self.job.options.keep_later {
            warehouse
                .publish_in_its_place(&candidate, Utc::now())
                .await?;
        } else {
            warehouse
                .publish(&candidate, PublicationKind::Publish, Utc::now())
                .await?;
        }
        if let Some(cluster) = &self.cluster {
            let files = self.files().await?;
            let kept: Vec<DataFile> = Table::ALL
                .into_iter()
                .flat_map(|table| files.get(table).clone())
                .collect();
            cluster.tidy(&kept).await?;
        }
        Ok(Published::Now)
    }

    /// Tells who watches the run how it ended, and the cluster to stop what is still under way.
    pub async fn ended(&self, error: Option<&anyhow::Error>) -> Result<()> {
        match &self.cluster {
            Some(cluster) => cluster.ended(error.map(|error| format!("{error:#}"))).await,
            None => Ok(()),
        }
    }

    /// Whether the run is the one that readers see.
    pub async fn is_current(&self) -> Result<bool> {
        let current = self.job.warehouse.current().await?;
        Ok(current.is_some_and(|current| current.run_id == self.id))
    }

    /// Keeps the report of what is done so far.
    pub async fn keep_report(&self) -> Result<Report> {
        let report = self.report().await?;
        self.work.write_json("report", &report).await?;
        Ok(report)
    }

    /// The report of what is done so far.
    pub async fn report(&self) -> Result<Report> {
        report::collect(self).await
    }

    /// What a finished step left behind.
    pub(super) async fn record(&self, step: Step) -> Result<Option<StepRecord>> {
        self.work.read_json(step.name()).await
    }

    /// As [`Run::record`], for a step that must be done by now.
    pub(super) async fn needed(&self, step: Step) -> Result<StepRecord> {
        self.record(step).await?.with_context(|| {
            format!(
                "run {} has not finished step {} yet: run `graph-recs {}` with the same options first",
                self.id,
                step.name(),
                step.command()
            )
        })
    }

    /// The files of the four tables.
    pub(super) async fn files(&self) -> Result<PerTable<Vec<DataFile>>> {
        let mut files: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
        for step in [
            Step::ClosestConnections,
            Step::ReputationScores,
            Step::Recommendations,
        ] {
            files.extend(self.needed(step).await?.files);
        }
        PerTable::try_from_fn(|table| {
            let files = files.get(table.name()).cloned();
            files.with_context(|| format!("no step wrote table {}", table.name()))
        })
    }

    /// Computes a published table and writes its file where nobody reads yet.
    pub(super) async fn write_published(&self, table: Table) -> Result<DataFile> {
        let parameters = self.job.options.parameters.values();
        let context = session::in_file_order(&self.context);
        let frame = session::query(&context, table.name(), &parameters).await?;
        let path = Warehouse::data_path(table, &self.id, 0)?;
        let store = self.job.warehouse.object_store();
        // Tasks of their own: computing rows and encoding them keep a thread busy each.
        let written = tokio::spawn(async move {
            let rows = spawn_buffered(frame.execute_stream().await?, 2);
            anyhow::Ok(write_parquet(store, &path, table.schema(), rows).await?)
        });
        written.await?
    }

    /// Makes `suspended_users` known, computed once a run.
    pub(super) async fn hold_suspended_users(&self) -> Result<()> {
        let parameters = self.job.options.parameters.values();
        self.suspended
            .get_or_try_init(|| async {
                session::hold(&self.context, "suspended_users", &parameters)
                    .await
                    .map(|_| ())
            })
            .await?;
        Ok(())
    }
}
