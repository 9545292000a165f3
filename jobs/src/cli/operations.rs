//! Options of the commands that keep the daily job going, and of what watches it.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};

use super::{RunOptions, WarehouseOptions};
use graph_recs_serve::values::parse_date;

/// Where a run's figures and spans go.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of what watches runs")]
pub struct TelemetryOptions {
    /// File for the run's figures at its end, in Prometheus' text format, for node_exporter's textfile collector
    #[arg(long, env = "GRAPH_RECS_METRICS_FILE", value_name = "FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Answer on this address with the run's figures as long as it works
    #[arg(long, env = "GRAPH_RECS_METRICS_LISTEN", value_name = "HOST:PORT")]
    pub metrics_listen: Option<String>,
    /// OpenTelemetry collector (OTLP over HTTP, http://host:4318) for a span a step
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// Options of `backfill`.
#[derive(Debug, Args)]
pub struct BackfillOptions {
    /// The first day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub from: NaiveDate,
    /// The last day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub to: NaiveDate,
    /// Say of each day whether it is published, changed since, new or missing; do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Pass over days whose input is not there, instead of stopping with exit code 4
    #[arg(long)]
    pub skip_missing: bool,
    /// Those of `run`, for every day
    #[command(flatten)]
    pub run: RunOptions,
}

/// Options of `clean`.
#[derive(Debug, Args)]
pub struct CleanOptions {
    /// How many of the last published runs to keep, the current one among them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub keep: u32,
    /// How many of them keep their quarantine and working tables, too [default: all]
    #[arg(long, value_name = "N")]
    pub keep_work: Option<u32>,
    /// Hours for which a reader may go on with a run that is not the current one any more, and somebody may look at a
    /// candidate that was not published
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub grace: u32,
    /// Remove it; without this what would be removed is only listed
    #[arg(long)]
    pub yes: bool,
    /// Where, and how to answer
    #[command(flatten)]
    pub warehouse: WarehouseOptions,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// Look at these only [default: at everything that the options name]
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',')]
    pub only: Vec<Organ>,
    /// Those of `run`
    #[command(flatten)]
    pub run: RunOptions,
}

/// What `doctor` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Organ {
    /// The day's exports
    Input,
    /// The warehouse: can it be read and written, is it locked
    Warehouse,
    /// PostgreSQL
    Database,
    /// Scheduler and executors
    Cluster,
    /// The reputation model
    Model,
    /// The clock
    Clock,
    /// Room on the disk
    Disk,
}
