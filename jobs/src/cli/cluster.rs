//! Options of the work on a cluster, and of the commands that look after it.

use std::path::PathBuf;

use clap::Args;
use graph_recs_serve::options::ServeOptions;
use graph_recs_sql::cluster::tls::TlsOptions;

use graph_recs_serve::values::{parse_any_size, parse_setting};

/// Options of the work on a cluster.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of the work on a cluster")]
pub struct ClusterArgs {
    /// Work on the cluster of this scheduler, df://host:port, instead of in this process
    #[arg(long, env = "GRAPH_RECS_CLUSTER", value_name = "URL")]
    pub cluster: Option<String>,
    /// Certificates
    #[command(flatten)]
    pub tls: TlsOptions,
    /// Leave the run to a process in the background; `graph-recs attach` watches it
    #[arg(long, requires = "cluster")]
    pub detach: bool,
    /// Seconds to wait for an executor, at the start and whenever there is none
    #[arg(
        long,
        env = "GRAPH_RECS_WAIT_FOR_EXECUTORS",
        value_name = "S",
        default_value_t = 60
    )]
    pub wait_for_executors: u64,
    /// Seconds that one piece may take; then it is tried again
    #[arg(
        long,
        env = "GRAPH_RECS_PIECE_DEADLINE",
        value_name = "S",
        default_value_t = 1800
    )]
    pub piece_deadline: u64,
    /// Seconds that one step may take; then the run fails
    #[arg(
        long,
        env = "GRAPH_RECS_STEP_DEADLINE",
        value_name = "S",
        default_value_t = 21600
    )]
    pub step_deadline: u64,
    /// How often a piece is tried that fails for a reason that may pass
    #[arg(long, env = "GRAPH_RECS_TRIES", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub tries: u32,
    /// Buckets that users are divided among [default: one for each 512 MiB of exports, 4 to 256]
    #[arg(long, env = "GRAPH_RECS_BUCKETS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub buckets: Option<u32>,
    /// How much of an export one piece reads
    #[arg(long, env = "GRAPH_RECS_PIECE_SIZE", value_name = "SIZE", default_value = "128MiB", value_parser = parse_any_size)]
    pub piece_size: u64,
    /// A setting of Ballista or DataFusion for the run's jobs, like ballista.planner.adaptive.enabled=false
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_setting)]
    pub cluster_setting: Vec<(String, String)>,
}

/// How to reach a scheduler.
#[derive(Clone, Debug, Args)]
pub struct SchedulerArgs {
    /// The scheduler, df://host:port
    #[arg(long, env = "GRAPH_RECS_CLUSTER", value_name = "URL")]
    pub cluster: String,
    /// Certificates
    #[command(flatten)]
    pub tls: TlsOptions,
}

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct ServeCommandOptions {
    /// The service
    #[command(flatten)]
    pub service: ServeOptions,
    /// Executors for its statements
    #[command(flatten)]
    pub cluster: StatementsArgs,
}

/// Executors that work on analysts' statements.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of the work on a cluster")]
pub struct StatementsArgs {
    /// Have the executors of this scheduler, df://host:port, work on statements that read much
    #[arg(long, env = "GRAPH_RECS_SERVE_CLUSTER", value_name = "URL")]
    pub cluster: Option<String>,
    /// Bytes of files from which on a statement is sent to them; what reads less is done here sooner
    #[arg(long, env = "GRAPH_RECS_CLUSTER_MIN_SCAN", value_name = "SIZE", default_value = "16MiB", value_parser = parse_any_size)]
    pub cluster_min_scan: u64,
    /// As --tls-ca of the other commands
    #[arg(long, env = "GRAPH_RECS_TLS_CA", value_name = "FILE")]
    pub cluster_tls_ca: Option<PathBuf>,
    /// As --tls-cert of the other commands
    #[arg(long, env = "GRAPH_RECS_TLS_CERT", value_name = "FILE", requires_all = ["cluster_tls_ca", "cluster_tls_key"])]
    pub cluster_tls_cert: Option<PathBuf>,
    /// As --tls-key of the other commands
    #[arg(
        long,
        env = "GRAPH_RECS_TLS_KEY",
        value_name = "FILE",
        requires = "cluster_tls_cert"
    )]
    pub cluster_tls_key: Option<PathBuf>,
    /// Seconds that a statement waits for an executor when there is none
    #[arg(
        long,
        env = "GRAPH_RECS_WAIT_FOR_EXECUTORS",
        value_name = "S",
        default_value_t = 60
    )]
    pub wait_for_executors: u64,
}

/// Options of `jobs`.
#[derive(Debug, Args)]
pub struct JobsOptions {
    /// The scheduler
    #[command(flatten)]
    pub scheduler: SchedulerArgs,
    /// Print one JSON object as the last line on standard output
    #[arg(long, env = "GRAPH_RECS_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
}

/// Options of `cancel`.
#[derive(Debug, Args)]
pub struct CancelOptions {
    /// The run, as `graph-recs jobs` names it
    #[arg(value_name = "JOB")]
    pub run: String,
    /// The scheduler
    #[command(flatten)]
    pub scheduler: SchedulerArgs,
}

/// Options of `attach`.
#[derive(Debug, Args)]
pub struct AttachOptions {
    /// The run, as `graph-recs jobs` names it
    #[arg(value_name = "JOB")]
    pub run: String,
    /// Folder of the warehouse that the run works in
    #[arg(long, env = "GRAPH_RECS_WAREHOUSE", value_name = "DIR")]
    pub warehouse: String,
}
