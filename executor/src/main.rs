//! `graph-recs-executor`: a Ballista executor that has the functions of graph-recs.
//!
//! Options are Ballista's own. Without `--bind-host` it listens on the loopback address only: Ballista has no
//! authentication.

use std::error::Error;
use std::sync::Arc;

use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::config::Config;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use clap::{CommandFactory, FromArgMatches};
use graph_recs_udfs::model::Model;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let command = Config::command()
        .name("graph-recs-executor")
        .mut_arg("bind_host", |host| host.default_value("127.0.0.1"));
    let options = Config::from_arg_matches(&command.get_matches())?;
    let mut config: ExecutorProcessConfig = options.try_into()?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(
            &config.special_mod_log_level,
        ))
        .with_writer(std::io::stderr)
        .init();
    config.override_function_registry = Some(Arc::new(functions()?));
    start_executor_process(Arc::new(config)).await?;
    Ok(())
}

fn functions() -> Result<BallistaFunctionRegistry, Box<dyn Error>> {
    let mut registry = BallistaFunctionRegistry::default();
    for function in graph_recs_udfs::scalar_functions(Model::shipped()?) {
        registry
            .scalar_functions
            .insert(function.name().to_string(), function);
    }
    for function in graph_recs_udfs::aggregate_functions() {
        registry
            .aggregate_functions
            .insert(function.name().to_string(), function);
    }
    Ok(registry)
}
