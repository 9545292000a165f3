//! A job: what is asked for, with its input found, until a run of it starts.

use std::sync::Arc;

use anyhow::Result;
use chrono::{NaiveDate, Utc};
use graph_recs_sql::{Engine, Input, InputError, Parameters, session};
use graph_recs_udfs::model::LazyModel;
use graph_recs_udfs::scan::Source;
use tokio::sync::OnceCell;
use tracing::warn;

use super::given_scores::GivenScores;
use super::identity::Identity;
use super::run::{Run, Step};
use super::work::WorkFolder;
use crate::cluster::{Cluster, ClusterOptions};
use crate::log;
use crate::progress::Progress;
use crate::telemetry;
use graph_recs_warehouse::report::Changed;
use graph_recs_warehouse::{Publication, SPILL, Warehouse, WarehouseLock};

/// What a job is asked to do.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Input folder, or the folder above the dated ones.
    pub input: String,
    /// The day, when given.
    pub date: Option<NaiveDate>,
    /// Warehouse folder.
    pub warehouse: String,
    /// What decides the results beside input and model.
    pub parameters: Parameters,
    /// The share of unreadable records, 0 to 1, over which a source fails the run.
    pub max_bad_share: f64,
    /// Scores to take from a file instead of from the model.
    pub reputation_scores: Option<String>,
    /// A model folder instead of the shipped model.
    pub model: Option<String>,
    /// Threads and memory.
    pub engine: Engine,
    /// The cluster to work on; this process alone without one.
    pub cluster: Option<ClusterOptions>,
    /// How many columns the records of `user.csv` must have, when it is said.
    pub user_columns: Option<usize>,
    /// A file that the input folder must have, by which its writer says that it is finished.
    pub ready_file: Option<String>,
    /// Whether a run of a later as-of stays the current one.
    pub keep_later: bool,
}

/// Counts of this name, and the source's, say how many columns its records have.
const COLUMNS: &str = "columns_";

/// Among so many users somebody's flag says something, be it a 0.
const MANY_USERS: u64 = 100;

/// Who is suspended may not be told by the column that is looked at.
#[derive(Debug, thiserror::Error)]
pub enum UsersInDoubt {
    /// The users' records have another number of columns than in the run published before.
    #[error(
        "most records of user.csv have {now} columns; in run {run}, published before, they had {before}. Who is suspended \
         is told by the 12th column: look whether it still tells that, then say --user-columns {now}; or mend the export"
    )]
    Columns {
        /// Columns of most records.
        now: usize,
        /// Columns in the run before.
        before: i64,
        /// The run before.
        run: String,
    },
    /// No record says anything where the flag should be.
    #[error(
        "none of the {records} records of user.csv says in its 12th column whether the user is suspended: it is empty in \
         all. Did the columns move? If nobody is suspended, export a 0 there, or say --user-columns {now}"
    )]
    NoFlag {
        /// Columns of most records.
        now: usize,
        /// How many records there are.
        records: u64,
    },
}

/// A job with its input and its model found and its warehouse opened.
pub struct Job {
    pub(super) options: JobOptions,
    pub(super) input: Input,
    pub(super) warehouse: Arc<Warehouse>,
    pub(super) model: LazyModel,
    /// The model's hash, when the job scores with it.
    model_hash: Option<String>,
    pub(super) given_scores: Option<GivenScores>,
}

impl Job {
    /// Finds the input and the model and opens the warehouse.
    ///
    /// # Errors
    /// An [`graph_recs_sql::InputError`] when the folder or one of the sources needed is not there.
    pub async fn open(options: JobOptions) -> Result<Self> {
        let input = Input::open(&options.input, options.date).await?;
        let input = input.with_user_columns(options.user_columns);
        if let Some(marker) = &options.ready_file {
            input.require_marker(marker).await?;
        }
        input.require(&needed_sources(&options))?;
        let model = LazyModel::open(options.model.as_deref()).await?;
        let model_hash = match &options.reputation_scores {
            Some(_) => None,
            None => Some(model.get()?.hash().to_string()),
        };
        let given_scores = match &options.reputation_scores {
            Some(location) => Some(GivenScores::open(location).await?),
            None => None,
        };
        let warehouse = Arc::new(Warehouse::open(&options.warehouse)?);
        Ok(Self {
            options,
            input,
            warehouse,
            model,
            model_hash,
            given_scores,
        })
    }

    /// Fails when the input's files are others now than they were when the job was opened.
    pub(super) async fn require_same_input(&self) -> Result<()> {
        let sources = self.sources();
        // Exports that are gone by now were read whole, or reading them would have failed.
        let now = Input::open(&self.options.input, self.options.date).await;
        match now {
            Ok(now) if now.fingerprints(&sources) != self.input.fingerprints(&sources) => {
                Err(InputError::Changed.into())
            }
            _ => Ok(()),
        }
    }

    /// How many columns the records of each CSV source have, as counts of the run.
    pub(crate) async fn columns(&self) -> Result<Vec<(String, i64)>> {
        let mut found = Vec::new();
        for source in self.sources() {
            if let Some(columns) = self.input.columns(source).await? {
                let name = format!("{COLUMNS}{}", source.name());
                found.push((name, i64::try_from(columns)?));
            }
        }
        Ok(found)
    }

    /// The run that is current, unless it is this one.
    pub(super) async fn published_before(&self, run_id: &str) -> Result<Option<Publication>> {
        let current = self.warehouse.current().await?;
        Ok(current.filter(|current| current.run_id != run_id))
    }

    /// The sources that the job reads.
    pub(super) fn sources(&self) -> Vec<Source> {
        needed_sources(&self.options)
    }

    /// The model's hash, when the job scores with it.
    pub(crate) fn model_hash(&self) -> Option<String> {
        self.model_hash.clone()
    }

    /// The run's name: its as-of and a hash of all that decides its results.
    ///
    /// # Errors
    /// When what decides the results cannot be written as JSON.
    pub fn run_id(&self) -> Result<String> {
        Identity::of(self).run_id()
    }

    /// How the run differs from the last one of the same as-of that was published; `None` when there is none.
    ///
    /// # Errors
    /// As [`Self::run_id`], and errors of the warehouse.
    pub async fn changed(&self) -> Result<Option<Changed>> {
        Identity::of(self).changed(self).await
    }

    /// The warehouse.
    pub fn warehouse(&self) -> &Arc<Warehouse> {
        &self.warehouse
    }

    /// Locks the warehouse and starts the run, or goes on with it.
    ///
    /// # Errors
    /// When another run holds the lock.
    pub async fn start(self, progress: Progress) -> Result<Run> {
        self.start_for(None, progress).await
    }

    /// As [`Self::start`], for one step: steps that write different files may be at work at the same time, each in a
    /// process of its own.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_step(self, step: Step, progress: Progress) -> Result<Run> {
        self.start_for(Some(step), progress).await
    }

    async fn start_for(self, step: Option<Step>, progress: Progress) -> Result<Run> {
        let identity = Identity::of(&self);
        let id = identity.run_id()?;
        for name in self.input.passed_over() {
            tracing::info!("{name} in the input folder is passed over: it is no export");
        }
        log::run_begins(&id);
        telemetry::run_begins(&id, self.options.parameters.as_of.timestamp());
        let (warehouse, now) = (&self.warehouse, Utc::now());
        // Each step has a cluster for itself: a driver ends what others have under way for its run.
        let alone = step.filter(|_| self.options.cluster.is_none());
        let lock = match alone {
            Some(step) => WarehouseLock::acquire_for_step(warehouse, &id, now, step.name()).await?,
            None => WarehouseLock::acquire(warehouse, &id, now).await?,
        };
        // What seems half written may be another step's, which is writing it.
        if !lock.is_shared() {
            warehouse.remove_half_written(&id)?;
        }
        let work = WorkFolder::new(Arc::clone(&self.warehouse), &id);
        let changed = identity.changed(&self).await?;
        if let Some(changed) = &changed {
            let what = changed.what.join("; ");
            warn!(
                "run {} was published for this day before; since then: {what}",
                changed.since
            );
        }
        let last = self.published_before(&id).await?;
        require_users(&self.input, self.options.user_columns, last.as_ref()).await?;
        identity.keep(&work).await?;
        let mut engine = self.options.engine.clone();
        if engine.spill_folder.is_none() {
            let local = self.warehouse.url().to_file_path().ok();
            engine.spill_folder = local.map(|folder| folder.join("_runs").join(SPILL));
        }
        let context = engine.session(self.model.clone())?;
        session::register_input(&context, &self.input)?;
        let cluster = match &self.options.cluster {
            Some(options) => {
                Some(Cluster::open(options.clone(), &self, &id, progress.clone()).await?)
            }
            None => None,
        };
        Ok(Run {
            id,
            job: self,
            work,
            context,
            progress,
            cluster,
            suspended: OnceCell::new(),
            changed,
            lock,
        })
    }
}

/// Fails when the flag of suspension, which is found by its place, may stand elsewhere, and nobody `said` how many columns
/// there are: the users' records have another number of columns than in the run published before, `last`, or not one of
/// many says anything in the flag's place.
///
/// # Errors
/// [`UsersInDoubt`], and errors of reading.
pub async fn require_users(
    input: &Input,
    said: Option<usize>,
    last: Option<&Publication>,
) -> Result<()> {
    if said.is_some() {
        return Ok(());
    }
    let form = input.user_form().await?;
    let Some(now) = form.columns else {
        return Ok(());
    };
    let name = format!("{COLUMNS}{}", Source::User.name());
    let report = last.and_then(Publication::report);
    let before = report.and_then(|report| report.counts.get(&name).copied());
    match (before, last) {
        (Some(before), Some(last)) if i64::try_from(now)? != before => Err(UsersInDoubt::Columns {
            now,
            before,
            run: last.run_id.clone(),
        }
        .into()),
        _ if form.with_flag == 0 && form.records >= MANY_USERS => Err(UsersInDoubt::NoFlag {
            now,
            records: form.records,
        }
        .into()),
        _ => Ok(()),
    }
}

fn needed_sources(options: &JobOptions) -> Vec<Source> {
    let all = Source::ALL.into_iter();
    all.filter(|source| *source != Source::Message || options.reputation_scores.is_none())
        .collect()
}
