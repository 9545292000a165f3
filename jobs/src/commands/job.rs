//! `run` and the commands of single steps.

use anyhow::Result;
use graph_recs_sql::Parameters;
use graph_recs_sql::parameters::default_anchor;
use serde_json::json;
use tracing::warn;

use super::database::{self, InDatabase};
use crate::cli::{RunOptions, TelemetryOptions};
use crate::database::Database;
use crate::pipeline::{Job, JobOptions, Published, Run, Step, StepOutcome, render};
use crate::progress::Progress;
use crate::telemetry::{self, Watch};
use graph_recs_serve::values::{missing, moment};
use graph_recs_warehouse::PublicationKind;
use graph_recs_warehouse::report::Changed;

/// The whole job.
pub async fn run(options: RunOptions) -> Result<()> {
    let json = options.json;
    if options.cluster.detach {
        return super::cluster::detach(options).await;
    }
    let telemetry = options.telemetry.clone();
    // The answer comes last: programs read the last line.
    let done = watched(&telemetry, true, complete(options)).await?;
    done.tell(json).await
}

/// A run that is published.
pub struct Complete {
    run: Run,
    /// What publishing it did.
    pub published: Published,
    /// Whether it is the one that readers see.
    pub current: bool,
    loaded: Option<InDatabase>,
}

/// All steps and the publication.
pub async fn complete(options: RunOptions) -> Result<Complete> {
    let json = options.json;
    let database = database::open(&options.database)?;
    let run = start(options).await?;
    let outcome = run.all().await;
    if outcome.is_err() {
        run.keep_report().await?;
    }
    run.ended(outcome.as_ref().err()).await?;
    let report = run.report().await?;
    telemetry::reported(&report);
    if !json {
        // A run that fails shows how far it came, above its error.
        say!("{}", render(&report));
    }
    load(run, outcome?, database).await
}

/// One step.
pub async fn step(options: RunOptions, step: Step) -> Result<()> {
    let (json, telemetry) = (options.json, options.telemetry.clone());
    let work = async {
        let job = Job::open(job_options(options)?).await?;
        let run = job.start_step(step, Progress::new()).await?;
        let outcome = run.step(step).await;
        run.ended(outcome.as_ref().err()).await?;
        let report = run.report().await?;
        if !json {
            say!("{}", render(&report));
        }
        Ok((run, outcome?, report))
    };
    let (run, outcome, report) = watched(&telemetry, false, work).await?;
    let done = match outcome {
        StepOutcome::Done => "done",
        StepOutcome::FoundDone => "was done already",
    };
    if json {
        say_line!(
            "{}",
            json!({ "run_id": run.id(), "step": step.name(), "outcome": done, "report": report })
        );
    } else {
        say_line!("\nstep {} of run {}: {done}", step.name(), run.id());
    }
    Ok(())
}

/// The publication.
pub async fn publish(options: RunOptions) -> Result<()> {
    let json = options.json;
    let telemetry = options.telemetry.clone();
    let work = async {
        let database = database::open(&options.database)?;
        let run = start(options).await?;
        let published = run.publish().await?;
        telemetry::reported(&run.report().await?);
        load(run, published, database).await
    };
    watched(&telemetry, true, work).await?.tell(json).await
}

/// Does `work` and tells those who watch how it ended: figures of `whole` runs, spans of all.
pub async fn watched<T>(
    telemetry: &TelemetryOptions,
    whole: bool,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    if let Some(address) = &telemetry.metrics_listen {
        telemetry::listen(address).await?;
    }
    let outcome = work.await;
    telemetry::run_ended(outcome.as_ref().err().map_or(0, crate::app::exit_code));
    let board = telemetry::snapshot();
    // Whoever watches must not make a run fail.
    if let Some(file) = telemetry.metrics_file.as_ref().filter(|_| whole)
        && let Err(error) = telemetry::write(&board, file)
    {
        warn!("{error:#}");
    }
    if let Some(endpoint) = &telemetry.otlp_endpoint
        && let Err(error) = telemetry::send(&board, endpoint).await
    {
        warn!("{error:#}");
    }
    outcome
}

/// The quality checks of a run, and those of what the database has, at any time later also without the run's input.
pub async fn check(options: RunOptions) -> Result<()> {
    let Some(database) = database::open(&options.database)? else {
        return step(options, Step::Checks).await;
    };
    let json = options.json;
    let alone = options.input.is_none();
    if !alone {
        step(options, Step::Checks).await?;
    }
    database::check(&database, alone, json).await
}

async fn start(options: RunOptions) -> Result<Run> {
    Job::open(job_options(options)?)
        .await?
        .start(Progress::new())
        .await
}

/// Publishes to the database, too.
async fn load(run: Run, published: Published, database: Option<Database>) -> Result<Complete> {
    let current = run.is_current().await?;
    // The database has the current run only: a run that is published behind it stays out.
    let wanted = current || !run.keeps_later();
    let loaded = match database.filter(|_| wanted) {
        Some(database) => {
            let (warehouse, progress) = (run.warehouse(), run.progress());
            let kind = PublicationKind::Publish;
            let watch = Watch::start("postgresql");
            let loaded = database::publish(&database, warehouse, run.id(), kind, progress).await;
            watch.done(loaded.as_ref().map(InDatabase::cost));
            Some(loaded?)
        }
        None => None,
    };
    Ok(Complete {
        run,
        published,
        current,
        loaded,
    })
}

impl Complete {
    /// The run's name.
    pub fn run_id(&self) -> &str {
        self.run.id()
    }

    /// How the run differs from what was published of its day before.
    pub fn changed(&self) -> Option<&Changed> {
        self.run.changed()
    }

    /// Says what was done.
    async fn tell(&self, json: bool) -> Result<()> {
        let id = self.run.id();
        let already = self.published == Published::Already;
        if json {
            let report = self.run.report().await?;
            say_line!(
                "{}",
                json!({ "run_id": id, "published": true, "already_published": already, "current": self.current,
                        "database": self.loaded.as_ref().map(InDatabase::json), "report": report })
            );
            return Ok(());
        }
        match (already, self.current) {
            (false, true) => say_line!("\nrun {id} is published and current"),
            (false, false) => {
                say_line!("\nrun {id} is published; a run of a later day stays current")
            }
            (true, true) => say_line!("\nrun {id} was published before: nothing changed"),
            (true, false) => say_line!(
                "\nrun {id} was published before, and another run is current: nothing changed; \
                 `graph-recs rollback --to {id}` makes it current again"
            ),
        }
        if let Some(loaded) = &self.loaded {
            loaded.print(id);
        }
        Ok(())
    }
}

/// The job that the options describe.
pub fn job_options(options: RunOptions) -> Result<JobOptions> {
    let as_of = moment(options.as_of, options.date)?;
    // The nearest millionth: reputations are whole millionths.
    let min_pred = (options.min_reputation * 1e6).round() as u32;
    Ok(JobOptions {
        input: options.input.ok_or_else(|| missing("--input"))?,
        date: options.date,
        warehouse: options.warehouse.ok_or_else(|| missing("--warehouse"))?,
        parameters: Parameters {
            as_of,
            lookback_days: options.lookback_days,
            closest: options.closest,
            recommendations: options.recommendations,
            min_pred,
            week_anchor: options.week_anchor.unwrap_or_else(|| default_anchor(as_of)),
            ranking: options.ranking,
        },
        max_bad_share: options.max_bad_share,
        user_columns: options.user_columns,
        reputation_scores: options.reputation_scores,
        model: options.model,
        engine: options.engine.engine(),
        cluster: super::cluster::options(options.cluster),
        ready_file: options.ready_file,
        keep_later: options.keep_later,
    })
}
