//! The commands of the command line.

mod backfill;
mod clean;
mod cluster;
mod database;
mod demo;
mod doctor;
mod explain;
mod job;
mod runs;
mod score;
mod serve;
mod sql;
mod train;
mod why;

use anyhow::Result;

use crate::cli::{Command, EngineOptions, RunOptions};
use crate::pipeline::Step;

/// Carries out a command.
pub async fn run(command: Command) -> Result<()> {
    match command {
        Command::Run(options) => job::run(options).await,
        Command::ClosestConnections(options) => job::step(options, Step::ClosestConnections).await,
        Command::ReputationScores(options) => job::step(options, Step::ReputationScores).await,
        Command::Recommend(options) => job::step(options, Step::Recommendations).await,
        Command::Check(options) => job::check(options).await,
        Command::Publish(options) => job::publish(options).await,
        Command::Backfill(options) => backfill::run(options).await,
        Command::Clean(options) => clean::run(options).await,
        Command::Doctor(options) => doctor::run(options).await,
        Command::Migrate(options) => database::migrate(options).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Generate(options) => demo::generate(&options),
        Command::Explain(options) => explain::run(options).await,
        Command::Runs(options) => runs::list(options).await,
        Command::Rollback(options) => runs::rollback(options).await,
        Command::Sql(options) => sql::run(options).await,
        Command::Serve(options) => serve::run(options).await,
        Command::User(options) => serve::user(options),
        Command::Train(options) => train::run(options).await,
        Command::Jobs(options) => cluster::jobs(options).await,
        Command::Cancel(options) => cluster::cancel(options).await,
        Command::Attach(options) => cluster::attach(options).await,
        Command::Score(options) => score::run(options).await,
        Command::Why(options) => why::run(&options).await,
    }
}

/// The options of the daily job, when a command has them.
pub fn run_options(command: &Command) -> Option<&RunOptions> {
    match command {
        Command::Run(options)
        | Command::ClosestConnections(options)
        | Command::ReputationScores(options)
        | Command::Recommend(options)
        | Command::Check(options)
        | Command::Publish(options) => Some(options),
        Command::Backfill(options) => Some(&options.run),
        Command::Doctor(options) => Some(&options.run),
        _ => None,
    }
}

/// Whether a command serves others until it is told to stop.
pub fn serves(command: &Command) -> bool {
    matches!(command, Command::Serve(_))
}

/// An answer on standard output that is all that a command gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Said when everything is done.
    Whole,
    /// Written as it comes: a reader that has gone stops the command.
    Streamed,
}

/// How a command answers when it does nothing else.
pub fn only_answers(command: &Command) -> Option<Answer> {
    match command {
        Command::Sql(_) | Command::Score(_) => Some(Answer::Streamed),
        Command::Explain(_)
        | Command::Runs(_)
        | Command::Why(_)
        | Command::Jobs(_)
        | Command::Doctor(_) => Some(Answer::Whole),
        _ => None,
    }
}

/// The threads that a command asks for.
pub fn threads(command: &Command) -> usize {
    let engine: Option<&EngineOptions> = match command {
        Command::Demo(options) => Some(&options.engine),
        Command::Sql(options) => Some(&options.engine),
        Command::Train(options) => Some(&options.engine),
        other => run_options(other).map(|options| &options.engine),
    };
    engine.map_or_else(
        || graph_recs_sql::Engine::default().threads,
        |engine| engine.engine().threads,
    )
}
