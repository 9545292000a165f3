//! The command line.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use graph_recs_serve::options::{CatalogOptions, UserOptions};
use graph_recs_serve::values::{
    parse_date, parse_share, parse_size, parse_time, parse_user_columns,
};

use crate::database::DatabaseUrl;
use crate::log::{Level, LogFormat};

mod cluster;
mod model;
mod operations;

pub use cluster::{
    AttachOptions, CancelOptions, ClusterArgs, JobsOptions, SchedulerArgs, ServeCommandOptions,
    StatementsArgs,
};
pub use model::{ScoreOptions, TrainCommandOptions, WhyOptions};
pub use operations::{BackfillOptions, CleanOptions, DoctorOptions, Organ, TelemetryOptions};

/// Tells a social trading platform whom each of its users should follow, and why.
///
/// Every option can also stand in a TOML file (--config, or GRAPH_RECS_CONFIG), under its name without the dashes,
/// and in the environment variable shown. The command line wins over the environment, that over the file.
///
/// Exit codes: 0 done, 1 error, 2 wrong usage, 3 a quality check failed, 4 input not there,
/// 5 another run holds the lock.
#[derive(Debug, Parser)]
#[command(name = "graph-recs", version, disable_help_subcommand = true)]
pub struct Cli {
    /// TOML file with options, one `name = value` a line; an unknown name is an error
    #[arg(
        long,
        global = true,
        env = "GRAPH_RECS_CONFIG",
        value_name = "FILE",
        help_heading = "Options of every command"
    )]
    pub config: Option<PathBuf>,
    /// How much is logged to standard error: error, warn, info, debug, trace, or a filter like `graph_recs=debug`
    #[arg(
        long,
        global = true,
        env = "GRAPH_RECS_LOG",
        default_value = "info",
        value_name = "LEVEL",
        value_parser = Level::parse,
        help_heading = "Options of every command"
    )]
    pub log: Level,
    /// What log lines look like
    #[arg(
        long,
        global = true,
        env = "GRAPH_RECS_LOG_FORMAT",
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        help_heading = "Options of every command"
    )]
    pub log_format: LogFormat,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daily job: all steps, the quality checks, and the publication
    Run(RunOptions),
    /// Step 1 alone: each user's closest connections
    ClosestConnections(RunOptions),
    /// Step 2 alone: each author's reputation score
    ReputationScores(RunOptions),
    /// Step 3 alone: recommendations and their reasons
    Recommend(RunOptions),
    /// The quality checks alone, on a run's finished steps, or with --database-url on what PostgreSQL has
    Check(RunOptions),
    /// The publication alone, of a run whose checks passed
    Publish(RunOptions),
    /// Make or change the tables in PostgreSQL
    Migrate(MigrateOptions),
    /// Make a realistic synthetic day, run it, and show recommendations with their reasons
    Demo(DemoOptions),
    /// Make a synthetic day of raw exports
    Generate(GenerateOptions),
    /// Show a user's closest connections, recommendations, and the reasons for each
    Explain(ExplainOptions),
    /// Run the daily job for several days, in their order; days that are done are passed over
    Backfill(BackfillOptions),
    /// List the published runs
    Runs(WarehouseOptions),
    /// Make an earlier published run the current one again
    Rollback(RollbackOptions),
    /// Remove the files of old runs
    Clean(CleanOptions),
    /// Check input, warehouse, database, cluster, model, clock and disk, and say what to do
    Doctor(DoctorOptions),
    /// Ask the warehouse, and a day's raw exports, anything in SQL
    Sql(SqlOptions),
    /// Serve the catalog to analysts: PostgreSQL's protocol and Arrow Flight SQL
    Serve(ServeCommandOptions),
    /// Add, list and remove users of `serve`
    User(UserOptions),
    /// Train the reputation model
    Train(TrainCommandOptions),
    /// List the runs that a cluster works on
    Jobs(JobsOptions),
    /// Stop a run's work on a cluster
    Cancel(CancelOptions),
    /// Watch a run that works on a cluster until it ends
    Attach(AttachOptions),
    /// Score texts from standard input, one a line: a probability a line
    Score(ScoreOptions),
    /// Show which words made a text's score
    Why(WhyOptions),
}

/// Options of the daily job and of its steps.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// Folder of the raw exports, or the folder above the dated ones (see --date)
    #[arg(long, env = "GRAPH_RECS_INPUT", value_name = "DIR")]
    pub input: Option<String>,
    /// The day: names the input folder <input>/<YYYYMMDD>, and the default of --as-of
    #[arg(long, env = "GRAPH_RECS_DATE", value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub date: Option<NaiveDate>,
    /// The moment as of which the day is known, UTC; later records are left out [default: start of --date]
    #[arg(long, env = "GRAPH_RECS_AS_OF", value_name = "TIME", value_parser = parse_time)]
    pub as_of: Option<DateTime<Utc>>,
    /// Folder of the warehouse; made when it is not there
    #[arg(long, env = "GRAPH_RECS_WAREHOUSE", value_name = "DIR")]
    pub warehouse: Option<String>,
    /// A file that the day's folder must have before it counts as there, like _SUCCESS: its writer adds it last
    #[arg(long, env = "GRAPH_RECS_READY_FILE", value_name = "NAME")]
    pub ready_file: Option<String>,
    /// Publish behind a run of a later day: readers stay with the later one
    #[arg(long, env = "GRAPH_RECS_KEEP_LATER", value_parser = clap::builder::FalseyValueParser::new())]
    pub keep_later: bool,
    /// CSV file (header user_id,pred), or its object-store URL, to take reputation scores from instead of from the model
    #[arg(
        long,
        env = "GRAPH_RECS_REPUTATION_SCORES",
        value_name = "FILE",
        conflicts_with = "model"
    )]
    pub reputation_scores: Option<String>,
    /// Model folder, as `graph-recs train` writes it, or its object-store URL [default: the model that is built in]
    #[arg(long, env = "GRAPH_RECS_MODEL", value_name = "DIR")]
    pub model: Option<String>,
    /// Days for which an engagement counts
    #[arg(long, env = "GRAPH_RECS_LOOKBACK_DAYS", value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=36500))]
    pub lookback_days: u32,
    /// Closest connections kept for each user
    #[arg(long, env = "GRAPH_RECS_CLOSEST", value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10000))]
    pub closest: u32,
    /// Recommendations kept for each user
    #[arg(long, env = "GRAPH_RECS_RECOMMENDATIONS", value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10000))]
    pub recommendations: u32,
    /// Lowest reputation that is recommended, 0 to 1; 0.5 is as much like the good users as like the others
    #[arg(long, env = "GRAPH_RECS_MIN_REPUTATION", value_name = "X", default_value = "0.5", value_parser = parse_share)]
    pub min_reputation: f64,
    /// How candidates are ranked: the name of a ranking in sql/recommend
    #[arg(long, env = "GRAPH_RECS_RANKING", value_name = "NAME", default_value = "seed", value_parser = clap::builder::PossibleValuesParser::new(graph_recs_sql::plans::RANKINGS.iter().copied()))]
    pub ranking: String,
    /// The day before the first day of week 1 [default: 189 days before the as-of's day]
    #[arg(long, env = "GRAPH_RECS_WEEK_ANCHOR", value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub week_anchor: Option<NaiveDate>,
    /// Share of a source's records, 0 to 1, that may be unreadable; over it the run fails
    #[arg(long, env = "GRAPH_RECS_MAX_BAD_SHARE", value_name = "X", default_value = "0.01", value_parser = parse_share)]
    pub max_bad_share: f64,
    /// How many columns the records of user.csv have, when it is not what most have, or not what they had in the run published before
    #[arg(long, env = "GRAPH_RECS_USER_COLUMNS", value_name = "N", value_parser = parse_user_columns)]
    pub user_columns: Option<usize>,
    /// PostgreSQL
    #[command(flatten)]
    pub database: DatabaseOptions,
    /// Threads and memory
    #[command(flatten)]
    pub engine: EngineOptions,
    /// Print one JSON object as the last line on standard output instead of the report
    #[arg(long, env = "GRAPH_RECS_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
    /// Figures and spans
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
    /// A cluster to work on. Last: its heading goes for all that follows
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Options of the database.
#[derive(Clone, Debug, Args)]
pub struct DatabaseOptions {
    /// PostgreSQL that services read: `run` and `publish` publish there, too, `check` checks what is there;
    /// postgres://user:password@host:port/database, the password rather in PGPASSWORD or ~/.pgpass
    #[arg(
        long,
        env = "GRAPH_RECS_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        hide_default_value = true
    )]
    pub database_url: Option<DatabaseUrl>,
}

/// Options of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateOptions {
    /// PostgreSQL
    #[command(flatten)]
    pub database: DatabaseOptions,
    /// Version of the tables; one before the present one undoes what came after it, 0 removes all [default: the newest]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i64).range(0..=crate::database::newest()))]
    pub to: Option<i64>,
}

/// Options of the engine.
#[derive(Clone, Debug, Args)]
pub struct EngineOptions {
    /// Threads that work on the plans [default: one a core]
    #[arg(long, env = "GRAPH_RECS_THREADS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Memory for the plans' operators, like 4GB or 512MiB, at least 64MiB; beyond it they spill to disk [default: unlimited]
    #[arg(long, env = "GRAPH_RECS_MEMORY_LIMIT", value_name = "SIZE", value_parser = parse_size)]
    pub memory_limit: Option<u64>,
    /// Rows of a batch
    #[arg(long, env = "GRAPH_RECS_BATCH_SIZE", value_name = "N", default_value_t = 8192, hide = true, value_parser = clap::value_parser!(u32).range(1..=1048576))]
    pub batch_size: u32,
}

impl EngineOptions {
    /// The engine that is asked for.
    pub fn engine(&self) -> graph_recs_sql::Engine {
        let default = graph_recs_sql::Engine::default();
        graph_recs_sql::Engine {
            threads: self
                .threads
                .map_or(default.threads, |threads| threads as usize),
            memory_limit: self
                .memory_limit
                .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            batch_size: self.batch_size as usize,
            spill_folder: None,
        }
    }
}

/// Options of the demo.
#[derive(Debug, Args)]
pub struct DemoOptions {
    /// Folder to make the day and the warehouse in; an earlier demo there is replaced
    #[arg(
        long,
        env = "GRAPH_RECS_DEMO_OUT",
        value_name = "DIR",
        default_value = "demo"
    )]
    pub out: PathBuf,
    /// Users
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub users: u32,
    /// Follows, replies, mentions and likes
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub engagements: u64,
    /// Messages
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub messages: u64,
    /// Seed: the same seed makes the same day
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub seed: u64,
    /// PostgreSQL
    #[command(flatten)]
    pub database: DatabaseOptions,
    /// Threads and memory
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// Options of the generator.
#[derive(Debug, Args)]
pub struct GenerateOptions {
    /// Folder to write the exports to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Users
    #[arg(long, value_name = "N")]
    pub users: u32,
    /// Follows, replies, mentions and likes
    #[arg(long, value_name = "N")]
    pub engagements: u64,
    /// Messages
    #[arg(long, value_name = "N")]
    pub messages: u64,
    /// How close-knit the network is
    #[arg(long, value_enum, default_value_t)]
    pub ties: crate::generate::Ties,
    /// Seed: the same seed makes the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The moment before which everything happens, UTC
    #[arg(long, value_name = "TIME", default_value = "2019-10-01T00:00:00Z", value_parser = parse_time)]
    pub as_of: DateTime<Utc>,
    /// Put in records that cannot be read, about 0.1 %
    #[arg(long)]
    pub dirty: bool,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// The user's id
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pub user: i32,
    /// Folder of the warehouse
    #[arg(long, env = "GRAPH_RECS_WAREHOUSE", value_name = "DIR")]
    pub warehouse: String,
    /// Closest connections shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub closest: usize,
}

/// Options of commands that only need a warehouse.
#[derive(Debug, Args)]
pub struct WarehouseOptions {
    /// Folder of the warehouse
    #[arg(long, env = "GRAPH_RECS_WAREHOUSE", value_name = "DIR")]
    pub warehouse: String,
    /// Print one JSON object as the last line on standard output
    #[arg(long, env = "GRAPH_RECS_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
}

/// Options of `rollback`.
#[derive(Debug, Args)]
pub struct RollbackOptions {
    /// The run to make current, as `graph-recs runs` names it
    #[arg(long, value_name = "RUN")]
    pub to: String,
    /// Where, and how to answer
    #[command(flatten)]
    pub warehouse: WarehouseOptions,
    /// PostgreSQL
    #[command(flatten)]
    pub database: DatabaseOptions,
}

/// Options of `sql`.
#[derive(Debug, Args)]
pub struct SqlOptions {
    /// What there is to ask
    #[command(flatten)]
    pub catalog: CatalogOptions,
    /// Run this statement and leave
    #[arg(short, long, value_name = "SQL", conflicts_with = "file")]
    pub command: Option<String>,
    /// Run the statements of this file and leave
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// How results are written; parquet goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Threads and memory
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// How query results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// CSV with a header
    Csv,
    /// One JSON object a line
    Json,
    /// Parquet, to a file or pipe
    Parquet,
}
