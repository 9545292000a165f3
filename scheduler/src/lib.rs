//! `graph-recs-scheduler`: a Ballista scheduler that hands the pieces of a run to executors.
//!
//! Options are Ballista's own, with TLS beside them and with defaults that notice a lost executor within seconds.
//! Without `--bind-host` it listens on the loopback address only: Ballista has no authentication.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{Config, SchedulerConfig};
use ballista_scheduler::scheduler_process::start_server;
use graph_recs_sql::cluster::process::{Options, Program};
use graph_recs_sql::cluster::tls::{Tunnels, guard_ports};
use graph_recs_sql::cluster::{Codec, process_config};

const PROGRAM: Program = Program {
    name: "graph-recs-scheduler",
    about: "Hands the pieces of graph-recs runs to executors",
    defaults: &[
        ("bind_host", "127.0.0.1"),
        ("log_level_setting", "warn"),
        ("executor_timeout_seconds", "10"),
        ("expire_dead_executor_interval_seconds", "1"),
    ],
};

/// The program, by the command line's options; comes back when it was told to stop, or could not go on.
pub fn main() -> ExitCode {
    PROGRAM.run(serve)
}

async fn serve(options: Options<Config>) -> Result<(), Box<dyn Error>> {
    let filter = &options.ballista.log_level_setting;
    options.process.start_log(filter)?;
    let (mut ballista, tls) = (options.ballista, options.process.tls);
    let host: IpAddr = ballista.bind_host.parse().map_err(|_| {
        format!(
            "--bind-host {:?} is no address like 10.0.0.7",
            ballista.bind_host
        )
    })?;
    let mut address = SocketAddr::from((host, ballista.bind_port));
    // Executors send their results to the name that the scheduler tells them.
    if ballista.external_host == "localhost"
        && address.ip() != IpAddr::from([127, 0, 0, 1])
        && !address.ip().is_unspecified()
    {
        ballista.external_host = address.ip().to_string();
    }
    let mut config: SchedulerConfig = ballista.try_into()?;
    config = config.with_override_config_producer(Arc::new(process_config));
    config.override_physical_codec = Some(Arc::new(Codec::relay()));
    if tls.wanted() {
        guard_ports(&tls, address.ip(), &[address.port()]).await?;
        address.set_ip(Ipv4Addr::LOCALHOST.into());
        config.override_create_grpc_client_endpoint = Some(Tunnels::new(&tls)?.endpoints());
    }
    let cluster = BallistaCluster::new_from_config(&config).await?;
    start_server(cluster, address, Arc::new(config)).await?;
    Ok(())
}
