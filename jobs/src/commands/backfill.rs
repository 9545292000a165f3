//! `backfill`: the daily job for several days, in their order.

use anyhow::{Context, Result};
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::database;
use super::job::{complete, job_options, watched};
use crate::app::exit_code;
use crate::cli::{BackfillOptions, RunOptions};
use crate::pipeline::{Job, Published};
use crate::progress::Progress;
use graph_recs_warehouse::PublicationKind;

/// What became of a day, or would.
enum Day {
    /// Its run was published before and nothing has changed since.
    Already { run: String },
    /// Published now.
    Published { run: String, changed: Vec<String> },
    /// Would be published.
    Due { run: String, changed: Vec<String> },
    /// There is no input.
    Missing { why: String },
}

/// Runs every day that is due.
pub async fn run(options: BackfillOptions) -> Result<()> {
    if options.to < options.from {
        return Err(usage("--to is before --from"));
    }
    if options.run.date.is_some() || options.run.as_of.is_some() {
        return Err(usage(
            "--from and --to say which days: leave out --date and --as-of",
        ));
    }
    if options.run.cluster.detach {
        return Err(usage("--detach is for a single run"));
    }
    let json = options.run.json;
    let days: Vec<NaiveDate> = options
        .from
        .iter_days()
        .take_while(|day| *day <= options.to)
        .collect();
    let mut rows: Vec<Value> = Vec::new();
    for day in &days {
        let mut run = options.run.clone();
        run.date = Some(*day);
        // Readers never go back to an earlier day.
        run.keep_later = true;
        let done = one_day(run, &options).await.with_context(|| {
            format!("day {day} (the days before it are done; the same command goes on from it)")
        })?;
        if !json {
            say_line!("{day}  {}", done.told());
        }
        rows.push(done.json(*day));
    }
    if json {
        say_line!("{}", json!({ "days": rows, "dry_run": options.dry_run }));
    }
    Ok(())
}

async fn one_day(run: RunOptions, options: &BackfillOptions) -> Result<Day> {
    let job = match Job::open(job_options(run.clone())?).await {
        Ok(job) => job,
        Err(error) if (options.skip_missing || options.dry_run) && exit_code(&error) == 4 => {
            return Ok(Day::Missing {
                why: error.to_string(),
            });
        }
        Err(error) => return Err(error),
    };
    let id = job.run_id()?;
    let publications = job.warehouse().publications().await?;
    if publications.iter().any(|known| known.run_id == id) {
        let current = publications.last().is_some_and(|last| last.run_id == id);
        if let Some(database) = database::open(&run.database)?
            && current
            && !options.dry_run
        {
            // Where an earlier attempt reached the warehouse only.
            let (kind, progress) = (PublicationKind::Publish, Progress::new());
            database::publish(&database, job.warehouse(), &id, kind, &progress).await?;
        }
        return Ok(Day::Already { run: id });
    }
    if options.dry_run {
        let changed = job
            .changed()
            .await?
            .map_or(Vec::new(), |changed| changed.what);
        return Ok(Day::Due { run: id, changed });
    }
    drop(job);
    let telemetry = run.telemetry.clone();
    let done = watched(&telemetry, true, complete(run)).await?;
    let changed = done
        .changed()
        .map_or(Vec::new(), |changed| changed.what.clone());
    let run = done.run_id().to_owned();
    Ok(match done.published {
        Published::Now => Day::Published { run, changed },
        Published::Already => Day::Already { run },
    })
}

impl Day {
    fn told(&self) -> String {
        let because = |changed: &[String]| match changed.is_empty() {
            true => String::new(),
            false => format!("; it was published before, but: {}", changed.join("; ")),
        };
        match self {
            Self::Already { run } => format!("run {run} was published before: nothing changed"),
            Self::Published { run, changed } => {
                format!("run {run} is published{}", because(changed))
            }
            Self::Due { run, changed } => format!("run {run} is due{}", because(changed)),
            Self::Missing { why } => format!("missing: {why}"),
        }
    }

    fn json(&self, day: NaiveDate) -> Value {
        let date = day.to_string();
        match self {
            Self::Already { run } => {
                json!({ "date": date, "outcome": "already_published", "run_id": run })
            }
            Self::Published { run, changed } => {
                json!({ "date": date, "outcome": "published", "run_id": run, "changed": changed })
            }
            Self::Due { run, changed } => {
                json!({ "date": date, "outcome": "due", "run_id": run, "changed": changed })
            }
            Self::Missing { why } => json!({ "date": date, "outcome": "missing", "why": why }),
        }
    }
}

fn usage(what: &str) -> anyhow::Error {
    let error = clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, what);
    anyhow::Error::new(error).context("wrong usage")
}
