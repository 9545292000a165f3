//! The command line.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use graph_recs_sql::cluster::tls::TlsOptions;

use crate::database::DatabaseUrl;

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
        help_heading = "Options of every command"
    )]
    pub log: String,
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
    /// List the published runs
    Runs(WarehouseOptions),
    /// Make an earlier published run the current one again
    Rollback(RollbackOptions),
    /// Ask the warehouse, and a day's raw exports, anything in SQL
    Sql(SqlOptions),
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
#[derive(Debug, Args)]
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
    /// CSV file (header user_id,pred) to take reputation scores from instead of from the model
    #[arg(
        long,
        env = "GRAPH_RECS_REPUTATION_SCORES",
        value_name = "FILE",
        conflicts_with = "model"
    )]
    pub reputation_scores: Option<PathBuf>,
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
    /// PostgreSQL
    #[command(flatten)]
    pub database: DatabaseOptions,
    /// Threads and memory
    #[command(flatten)]
    pub engine: EngineOptions,
    /// Print one JSON object as the last line on standard output instead of the report
    #[arg(long, env = "GRAPH_RECS_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
    /// A cluster to work on. Last: its heading goes for all that follows
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

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
    /// Folder of the warehouse: its current run's tables are there by name, past runs' as runs."<run>".<table>
    #[arg(long, env = "GRAPH_RECS_WAREHOUSE", value_name = "DIR")]
    pub warehouse: Option<String>,
    /// Folder of raw exports, or the folder above the dated ones (see --date): gives raw.follows …
    /// raw.messages, quarantine, engagements, weekly_messages
    #[arg(long, value_name = "DIR")]
    pub input: Option<String>,
    /// The day: names the input folder <input>/<YYYYMMDD>, and the default of --as-of
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub date: Option<NaiveDate>,
    /// The moment as of which the input is known, UTC
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub as_of: Option<DateTime<Utc>>,
    /// Model folder for reputation(), or its object-store URL [default: the model that is built in]
    #[arg(long, env = "GRAPH_RECS_MODEL", value_name = "DIR")]
    pub model: Option<String>,
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

/// Options of `train`.
#[derive(Debug, Args)]
pub struct TrainCommandOptions {
    /// Folder of the raw exports, or the folder above the dated ones (see --date)
    #[arg(long, env = "GRAPH_RECS_INPUT", value_name = "DIR")]
    pub input: String,
    /// The day: names the input folder <input>/<YYYYMMDD>, and the default of --as-of
    #[arg(long, env = "GRAPH_RECS_DATE", value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub date: Option<NaiveDate>,
    /// The moment as of which the day is known, UTC [default: start of --date]
    #[arg(long, env = "GRAPH_RECS_AS_OF", value_name = "TIME", value_parser = parse_time)]
    pub as_of: Option<DateTime<Utc>>,
    /// The day before the first day of week 1 [default: 189 days before the as-of's day]
    #[arg(long, env = "GRAPH_RECS_WEEK_ANCHOR", value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub week_anchor: Option<NaiveDate>,
    /// File with the ids of the hand-picked good users, one a line, a first line `user_id` is skipped [default: authors of messages with recommended = true]
    #[arg(long, value_name = "FILE")]
    pub good_users: Option<PathBuf>,
    /// Folder of further messages: word vectors are learnt from their texts too, but for those of users in --input
    #[arg(long, value_name = "DIR")]
    pub texts: Option<String>,
    /// Folder to write the model to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Cross-validation by user with this many folds; 0 for one split into train, validation and test
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub folds: usize,
    /// The most passes over the training documents [default: that of the shipped model]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Seed of all randomness [default: that of the shipped model]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Folder of checkpoints that a training that was cut off goes on from
    #[arg(long, value_name = "DIR")]
    pub checkpoints: Option<PathBuf>,
    /// Where tensors are computed: cpu, or cuda in a build that has it
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = ["cpu", "cuda"])]
    pub device: String,
    /// Threads and memory
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// Options of `score`.
#[derive(Debug, Args)]
pub struct ScoreOptions {
    /// Model folder, or its object-store URL [default: the model that is built in]
    #[arg(long, env = "GRAPH_RECS_MODEL", value_name = "DIR")]
    pub model: Option<String>,
    /// The texts are cleaned already, as weekly_messages.clean_body is
    #[arg(long)]
    pub cleaned: bool,
    /// Compute by the plain network instead of by tables: far slower, equal to 1e-5
    #[arg(long)]
    pub plain: bool,
    /// Threads [default: one a core]
    #[arg(long, env = "GRAPH_RECS_THREADS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
}

/// Options of `why`.
#[derive(Debug, Args)]
pub struct WhyOptions {
    /// The text, as it was written
    pub text: String,
    /// Model folder, or its object-store URL [default: the model that is built in]
    #[arg(long, env = "GRAPH_RECS_MODEL", value_name = "DIR")]
    pub model: Option<String>,
    /// Word sequences shown on each side
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Print one JSON object with every filter's window instead
    #[arg(long, env = "GRAPH_RECS_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
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

fn parse_date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .or_else(|_| NaiveDate::parse_from_str(text, "%Y%m%d"))
        .map_err(|_| "not a date like 2019-10-01".to_string())
}

fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let plain = text.strip_suffix('Z').unwrap_or(text);
    ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(plain, form).ok())
        .or_else(|| {
            parse_date(plain)
                .ok()
                .map(|date| date.and_time(chrono::NaiveTime::MIN))
        })
        .map(|time| time.and_utc())
        .ok_or_else(|| "not a UTC time like 2019-10-01T00:00:00Z".to_string())
}

fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a number from 0 to 1".to_string()),
    }
}

/// A size of memory: less than that nothing can be done with.
fn parse_size(text: &str) -> Result<u64, String> {
    match parse_any_size(text)? {
        bytes if bytes < 64 << 20 => Err("too small: 64MiB is the least".to_string()),
        bytes => Ok(bytes),
    }
}

fn parse_any_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text
        .get(digits.len()..)
        .unwrap_or_default()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err("not a size like 4GB or 512MiB".to_string()),
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "not a size like 4GB or 512MiB".to_string())?;
    Ok(number.checked_mul(unit).ok_or("a size beyond 64 bits")?)
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not of the form name=value")?;
    Ok((name.trim().to_string(), value.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(parse_size("4GB"), Ok(4_000_000_000));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert!(parse_size("1").is_err());
        assert!(parse_size("4 parsecs").is_err());
        assert!(parse_size("99999999999999GB").is_err());
    }

    #[test]
    fn times_are_read_in_all_forms() {
        let expected = parse_time("2019-10-02T00:00:00Z");
        assert!(expected.is_ok());
        assert_eq!(parse_time("2019-10-02 00:00:00"), expected);
        assert_eq!(parse_time("2019-10-02"), expected);
        assert!(parse_time("2019-02-30").is_err());
    }
}
