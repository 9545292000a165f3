//! `graph-recs-scheduler`: a Ballista scheduler whose sessions have the functions of graph-recs.
//!
//! Options are Ballista's own. Without `--bind-host` it listens on the loopback address only: Ballista has no
//! authentication.

use std::error::Error;
use std::sync::Arc;

use ballista_core::error::BallistaError;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{Config, SchedulerConfig};
use ballista_scheduler::scheduler_process::start_server;
use clap::{CommandFactory, FromArgMatches};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use graph_recs_sql::session::register_functions;
use graph_recs_udfs::model::Model;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deep plans are planned by recursion.
const STACK_BYTES: usize = 32 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let command = Config::command()
        .name("graph-recs-scheduler")
        .mut_arg("bind_host", |host| host.default_value("127.0.0.1"));
    let options = Config::from_arg_matches(&command.get_matches())?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(
            &options.log_level_setting,
        ))
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()?;
    runtime.block_on(serve(options))?;
    Ok(())
}

async fn serve(options: Config) -> Result<(), Box<dyn Error>> {
    let address = format!("{}:{}", options.bind_host, options.bind_port).parse()?;
    let model = Model::shipped()?;
    let build = move |config: SessionConfig| session_state(config, &model);
    let config: SchedulerConfig = options.try_into()?;
    let config = config.with_override_session_builder(Arc::new(build));
    let cluster = BallistaCluster::new_from_config(&config).await?;
    start_server(cluster, address, Arc::new(config))
        .await
        .map_err(|error: BallistaError| error.into())
}

fn session_state(
    config: SessionConfig,
    model: &Arc<Model>,
) -> datafusion::common::Result<SessionState> {
    let mut state = SessionStateBuilder::new()
        .with_default_features()
        .with_config(config)
        .with_optimizer_rules(ballista_core::optimizer::ballista_default_optimizer_rules())
        .build();
    register_functions(&mut state, model)?;
    Ok(state)
}
