//! `run` and the commands of single steps.

use anyhow::Result;
use chrono::{DateTime, NaiveDate, Utc};
use graph_recs_sql::Parameters;
use graph_recs_sql::parameters::default_anchor;
use serde_json::json;

use super::database;
use crate::cli::RunOptions;
use crate::database::Database;
use crate::pipeline::{Job, JobOptions, Published, Run, Step, StepOutcome, render, start_of_day};
use crate::progress::Progress;
use crate::warehouse::PublicationKind;

/// The whole job.
pub async fn run(options: RunOptions) -> Result<()> {
    let json = options.json;
    if options.cluster.detach {
        return super::cluster::detach(options).await;
    }
    let database = database::open(&options.database)?;
    let run = start(options).await?;
    let outcome = run.all().await;
    if outcome.is_err() {
        run.keep_report().await?;
    }
    run.ended(outcome.as_ref().err()).await?;
    if !json {
        // A run that fails shows how far it came, above its error.
        print!("{}", render(&run.report().await?));
    }
    finish(&run, outcome?, database, json).await
}

/// One step.
pub async fn step(options: RunOptions, step: Step) -> Result<()> {
    let json = options.json;
    let run = start(options).await?;
    let outcome = run.step(step).await;
    run.ended(outcome.as_ref().err()).await?;
    let report = run.report().await?;
    if !json {
        print!("{}", render(&report));
    }
    let done = match outcome? {
        StepOutcome::Done => "done",
        StepOutcome::FoundDone => "was done already",
    };
    if json {
        println!(
            "{}",
            json!({ "run_id": run.id(), "step": step.name(), "outcome": done, "report": report })
        );
    } else {
        println!("\nstep {} of run {}: {done}", step.name(), run.id());
    }
    Ok(())
}

/// The publication.
pub async fn publish(options: RunOptions) -> Result<()> {
    let json = options.json;
    let database = database::open(&options.database)?;
    let run = start(options).await?;
    let published = run.publish().await?;
    finish(&run, published, database, json).await
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

async fn finish(
    run: &Run,
    published: Published,
    database: Option<Database>,
    json: bool,
) -> Result<()> {
    let current = run.is_current().await?;
    let already = published == Published::Already;
    let loaded = match database {
        Some(database) => {
            let (warehouse, progress) = (run.warehouse(), run.progress());
            let kind = PublicationKind::Publish;
            Some(database::publish(&database, warehouse, run.id(), kind, progress).await?)
        }
        None => None,
    };
    if json {
        let report = run.report().await?;
        println!(
            "{}",
            json!({ "run_id": run.id(), "published": true, "already_published": already, "current": current,
                    "database": loaded.map(|loaded| loaded.json()), "report": report })
        );
    } else {
        let id = run.id();
        match (already, current) {
            (false, _) => println!("\nrun {id} is published and current"),
            (true, true) => println!("\nrun {id} was published before: nothing changed"),
            (true, false) => println!(
                "\nrun {id} was published before, and another run is current: nothing changed; \
                 `graph-recs rollback --to {id}` makes it current again"
            ),
        }
        if let Some(loaded) = loaded {
            loaded.print(id);
        }
    }
    Ok(())
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
        reputation_scores: options.reputation_scores,
        model: options.model,
        engine: options.engine.engine(),
        cluster: super::cluster::options(options.cluster),
    })
}

/// The moment as of which a day is known, as the options say it.
pub fn moment(as_of: Option<DateTime<Utc>>, date: Option<NaiveDate>) -> Result<DateTime<Utc>> {
    match (as_of, date) {
        (Some(as_of), _) => Ok(as_of),
        (None, Some(date)) => Ok(start_of_day(date)),
        (None, None) => Err(missing("--as-of or --date")),
    }
}

/// Wrong usage: an option that this command cannot do without.
pub fn missing(option: &str) -> anyhow::Error {
    let kind = clap::error::ErrorKind::MissingRequiredArgument;
    let error = clap::Error::raw(kind, format!("{option} is needed"));
    anyhow::Error::new(error).context("wrong usage")
}
