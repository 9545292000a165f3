//! Options of the commands about the reputation model.

use std::path::PathBuf;

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;

use super::EngineOptions;
use graph_recs_serve::values::{parse_date, parse_time};

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
