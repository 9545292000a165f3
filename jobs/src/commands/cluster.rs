//! `jobs`, `cancel`, `attach`, and leaving a run to the background.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::Utc;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::job::job_options;
use crate::cli::{AttachOptions, CancelOptions, ClusterArgs, JobsOptions, RunOptions};
use crate::cluster::{Client, ClusterOptions, JobLine, Phase, Snapshot, job_prefix};
use crate::pipeline::{Job, WorkFolder, render};
use crate::progress::{Counter, Progress};
use graph_recs_udfs::stores::{is_pipe, is_remote, local_path};
use graph_recs_warehouse::Warehouse;
use graph_recs_warehouse::report::Report;

/// How often a run is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// A driver writes every second: after this long it is gone.
const SILENT_AT_MOST: chrono::TimeDelta = chrono::TimeDelta::seconds(30);
/// How long `cancel` looks for further jobs of a run.
const CANCEL_FOR: Duration = Duration::from_secs(10);
/// After so many looks in a row that find none it looks for no further ones.
const NO_MORE: usize = 3;
/// And after so many when there never was one: between two stages a run has nothing at work for a moment.
const NONE_AT_ALL: usize = 10;

/// The work on a cluster that the options describe.
pub fn options(options: ClusterArgs) -> Option<ClusterOptions> {
    let url = options.cluster?;
    Some(ClusterOptions {
        url,
        tls: options.tls,
        wait: Duration::from_secs(options.wait_for_executors),
        piece_deadline: Duration::from_secs(options.piece_deadline),
        step_deadline: Duration::from_secs(options.step_deadline),
        tries: options.tries,
        buckets: options.buckets,
        piece_bytes: options.piece_size,
        settings: options.cluster_setting,
        stop: stop(),
    })
}

/// Turns true at the first Ctrl-C or request to end; the second ends the process as it stands.
fn stop() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut interrupts), Ok(mut terminations)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            // Then they do what they always do: end the process.
            return sender.closed().await;
        };
        loop {
            tokio::select! {
                _ = interrupts.recv() => {}
                _ = terminations.recv() => {}
                () = sender.closed() => return,
            }
            if sender.send_replace(true) {
                std::process::exit(1);
            }
            warn!("stopping the work on the cluster");
        }
    });
    receiver
}

/// Leaves the run to a process of its own.
pub async fn detach(options: RunOptions) -> Result<()> {
    if let Some(scores) = &options.reputation_scores
        && !is_remote(scores)
        && is_pipe(&local_path(scores)?)
    {
        bail!(
            "--reputation-scores {scores}: a run in the background cannot read a pipe; write the scores to a file"
        );
    }
    let options = job_options(options)?;
    let location = options.warehouse.clone();
    let job = Job::open(options).await?;
    let run = job.run_id()?;
    let warehouse = Warehouse::open(&location)?;
    let folder = match warehouse.url().to_file_path() {
        Ok(path) => path.join("_runs").join(&run),
        Err(()) => std::env::temp_dir(),
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    let log = folder.join(format!("{run}.log"));
    let file = std::fs::File::create(&log)
        .with_context(|| format!("{} cannot be written", log.display()))?;
    let arguments = std::env::args_os().skip(1);
    let child = Command::new(std::env::current_exe()?)
        .args(arguments.filter(|argument| argument != "--detach"))
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .context("the run's process cannot be started")?;
    say_line!(
        "run {run} works in process {}, its log is {}",
        child.id(),
        log.display()
    );
    say_line!("watch it: graph-recs attach {run} --warehouse {location}");
    Ok(())
}

/// The run, stage and piece that a job's name tells.
fn parts(job: &JobLine) -> Option<(&str, &str)> {
    let mut parts = job.job_name.strip_prefix("graph-recs/")?.split('/');
    Some((parts.next()?, parts.next()?))
}

/// Lists the runs that a cluster has work of.
pub async fn jobs(options: JobsOptions) -> Result<()> {
    let client = Client::new(&options.scheduler.cluster, &options.scheduler.tls)?;
    let executors = client.executors().await?;
    let jobs = client.jobs().await?;
    let mut runs: BTreeMap<&str, BTreeMap<&str, BTreeMap<&str, u32>>> = BTreeMap::new();
    let mut others = 0;
    for job in &jobs {
        match parts(job) {
            Some((run, stage)) => {
                let states = runs.entry(run).or_default().entry(stage).or_default();
                *states.entry(&job.status).or_default() += 1;
            }
            None => others += 1,
        }
    }
    if options.json {
        let executors: Vec<_> = executors
            .iter()
            .map(|executor| json!({ "id": executor.id, "host": executor.host, "cores": executor.cores() }))
            .collect();
        say_line!(
            "{}",
            json!({ "runs": runs, "executors": executors, "other_jobs": others })
        );
        return Ok(());
    }
    let cores: usize = executors.iter().map(|executor| executor.cores()).sum();
    say_line!("{} executors with {cores} cores", executors.len());
    if runs.is_empty() {
        say_line!("no run has work here");
    }
    for (run, stages) in &runs {
        say_line!("\nrun {run}");
        say_line!(
            "  {:<24}{:>9}{:>9}{:>9}{:>9}",
            "stage",
            "waiting",
            "at work",
            "done",
            "failed"
        );
        for (stage, states) in stages {
            let count = |state: &str| states.get(state).copied().unwrap_or(0);
            say_line!(
                "  {stage:<24}{:>9}{:>9}{:>9}{:>9}",
                count("Queued"),
                count("Running"),
                count("Completed"),
                count("Failed")
            );
        }
    }
    Ok(())
}

/// Stops a run's work: its jobs now, and by that its driver.
pub async fn cancel(options: CancelOptions) -> Result<()> {
    let client = Client::new(&options.scheduler.cluster, &options.scheduler.tls)?;
    let prefix = job_prefix(&options.run);
    let mut cancelled: HashSet<String> = HashSet::new();
    let begun = std::time::Instant::now();
    let mut quiet = 0;
    // A driver between two jobs sends the next one before it sees that the run is cancelled.
    let mut patience = NONE_AT_ALL;
    while begun.elapsed() < CANCEL_FOR && quiet < patience {
        let active = client.jobs().await?.into_iter().filter(|job| {
            job.job_name.starts_with(&prefix)
                && ["Queued", "Running"].contains(&job.status.as_str())
        });
        let active: Vec<JobLine> = active.collect();
        quiet = if active.is_empty() { quiet + 1 } else { 0 };
        for job in active {
            client.cancel(&job.job_id).await?;
            cancelled.insert(job.job_id);
            patience = NO_MORE;
        }
        sleep(EVERY).await;
    }
    if cancelled.is_empty() {
        bail!(
            "run {} has no job at work on the cluster: `graph-recs jobs` lists those that have",
            options.run
        );
    }
    say_line!("run {}: {} jobs cancelled", options.run, cancelled.len());
    Ok(())
}

/// Shows a run's progress until it ends, and ends as it did.
pub async fn attach(options: AttachOptions) -> Result<()> {
    let warehouse = std::sync::Arc::new(Warehouse::open(&options.warehouse)?);
    let work = WorkFolder::new(warehouse, &options.run);
    let progress = Progress::new();
    let mut counters: HashMap<String, Counter> = HashMap::new();
    let begun = std::time::Instant::now();
    loop {
        let Some(now) = work.read_json::<Snapshot>("progress").await? else {
            if begun.elapsed() > Duration::from_secs(10) {
                bail!(
                    "no run {} works on a cluster in {}: `graph-recs jobs` lists those that do",
                    options.run,
                    options.warehouse
                );
            }
            sleep(EVERY).await;
            continue;
        };
        for (stage, pieces) in &now.stages {
            counters
                .entry(stage.clone())
                .or_insert_with(|| progress.counter(stage))
                .show(pieces.done, pieces.of);
        }
        match now.phase {
            Phase::Done => {
                if let Some(report) = work.read_json::<Report>("report").await? {
                    say!("{}", render(&report));
                }
                say_line!("\nrun {} is done", options.run);
                return Ok(());
            }
            Phase::Failed => bail!(now.error.unwrap_or_else(|| "the run failed".into())),
            Phase::Running => {}
        }
        if Utc::now() - now.at > SILENT_AT_MOST {
            bail!(
                "the driver of run {} has not been heard of since {}: start the run again, it goes on",
                options.run,
                now.at.format("%Y-%m-%d %H:%M:%S UTC")
            );
        }
        sleep(EVERY).await;
    }
}
