//! `graph-recs-executor`: a Ballista executor that works on the pieces of graph-recs runs.
//!
//! Options are Ballista's own, with TLS beside them. Without `--bind-host` it listens on the loopback address only:
//! Ballista has no authentication.

mod flight;

use std::error::Error;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::config::Config;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use datafusion::execution::SessionStateDefaults;
use graph_recs_sql::allocator;
use graph_recs_sql::cluster::process::{Options, Program};
use graph_recs_sql::cluster::tls::{Tunnels, guard_ports};
use graph_recs_sql::cluster::{Codec, build, executor_runtime, process_config};
use graph_recs_udfs::model::LazyModel;

const PROGRAM: Program = Program {
    name: "graph-recs-executor",
    about: "Works on the pieces of graph-recs runs",
    defaults: &[
        ("bind_host", "127.0.0.1"),
        ("log_level_setting", "warn,graph_recs_sql=info"),
        ("scheduler_connect_timeout_seconds", "30"),
        ("executor_heartbeat_interval_seconds", "2"),
        ("job_data_clean_up_interval_seconds", "600"),
        ("job_data_ttl_seconds", "3600"),
    ],
};

/// The program, by the command line's options; comes back when it was told to stop, or could not go on.
pub fn main() -> ExitCode {
    allocator::keep_freed_memory();
    PROGRAM.run(serve)
}

async fn serve(options: Options<Config>) -> Result<(), Box<dyn Error>> {
    let tls = options.process.tls.clone();
    let mut config: ExecutorProcessConfig = options.ballista.try_into()?;
    options.process.start_log(&config.special_mod_log_level)?;
    // The build at the head of the id lets a driver see strangers in the scheduler's list.
    config.executor_id = format!("{}.{}", build(), config.executor_id);
    config.override_function_registry = Some(Arc::new(functions()?));
    config.override_config_producer = Some(Arc::new(process_config));
    config.override_physical_codec = Some(Arc::new(Codec::executor()));
    let work_folder = config.work_dir.clone();
    if let Some(folder) = &work_folder {
        check_writable(Path::new(folder))?;
    }
    config.override_runtime_producer =
        Some(Arc::new(move |_| executor_runtime(work_folder.as_deref())));
    config.override_arrow_flight_service = Some(Arc::new(flight::serve));
    if tls.wanted() {
        let public: IpAddr = config.bind_host.parse().map_err(|_| {
            format!(
                "--bind-host {:?} is no address like 10.0.0.7",
                config.bind_host
            )
        })?;
        guard_ports(&tls, public, &[config.port, config.grpc_port]).await?;
        config.external_host.get_or_insert(public.to_string());
        config.bind_host = "127.0.0.1".into();
        config.override_create_grpc_client_endpoint = Some(Tunnels::new(&tls)?.endpoints());
    }
    start_executor_process(Arc::new(config)).await?;
    Ok(())
}

/// Every piece would fail otherwise, and not before the first comes.
fn check_writable(folder: &Path) -> Result<(), Box<dyn Error>> {
    let probe = folder.join(format!(".graph-recs-{}", std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|error| {
            let folder = folder.display();
            format!("--work-dir {folder} cannot be written ({error}): name a folder that this user may write to").into()
        })
}

fn functions() -> Result<BallistaFunctionRegistry, Box<dyn Error>> {
    let mut registry = BallistaFunctionRegistry::default();
    // Ballista's own list leaves out those of lists and structs.
    for function in SessionStateDefaults::default_scalar_functions() {
        registry
            .scalar_functions
            .insert(function.name().to_string(), function);
    }
    for function in graph_recs_udfs::scalar_functions(LazyModel::default()) {
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
