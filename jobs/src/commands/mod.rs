//! The commands of the command line.

mod cluster;
mod database;
mod demo;
mod explain;
mod job;
mod runs;
mod score;
mod serve;
mod sql;
mod train;
mod why;

pub(crate) use job::moment;

use anyhow::Result;

use crate::cli::{Command, EngineOptions};
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
        Command::Migrate(options) => database::migrate(options).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Generate(options) => demo::generate(&options),
        Command::Explain(options) => explain::run(options).await,
        Command::Runs(options) => runs::list(options).await,
        Command::Rollback(options) => runs::rollback(options).await,
        Command::Sql(options) => sql::run(options).await,
        Command::Serve(options) => crate::serve::run(options).await,
        Command::User(options) => serve::user(options),
        Command::Train(options) => train::run(options).await,
        Command::Jobs(options) => cluster::jobs(options).await,
        Command::Cancel(options) => cluster::cancel(options).await,
        Command::Attach(options) => cluster::attach(options).await,
        Command::Score(options) => score::run(options).await,
        Command::Why(options) => why::run(&options).await,
    }
}

/// Whether a command has connections, to a cluster or to PostgreSQL.
pub fn has_connections(command: &Command) -> bool {
    match command {
        Command::Run(options)
        | Command::ClosestConnections(options)
        | Command::ReputationScores(options)
        | Command::Recommend(options)
        | Command::Check(options)
        | Command::Publish(options) => {
            options.cluster.cluster.is_some() || options.database.database_url.is_some()
        }
        Command::Demo(options) => options.database.database_url.is_some(),
        Command::Rollback(options) => options.database.database_url.is_some(),
        Command::Jobs(_) | Command::Cancel(_) | Command::Migrate(_) | Command::Serve(_) => true,
        _ => false,
    }
}

/// The threads that a command asks for.
pub fn threads(command: &Command) -> usize {
    let engine: Option<&EngineOptions> = match command {
        Command::Run(options)
        | Command::ClosestConnections(options)
        | Command::ReputationScores(options)
        | Command::Recommend(options)
        | Command::Check(options)
        | Command::Publish(options) => Some(&options.engine),
        Command::Demo(options) => Some(&options.engine),
        Command::Sql(options) => Some(&options.engine),
        Command::Train(options) => Some(&options.engine),
        _ => None,
    };
    engine.map_or_else(
        || graph_recs_sql::Engine::default().threads,
        |engine| engine.engine().threads,
    )
}
