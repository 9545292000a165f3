//! The service for analysts: statements over the catalog, by PostgreSQL's protocol and Arrow Flight SQL.
//!
//! A statement's way: its text is measured ([`guard`]), parsed, said in DataFusion's way ([`dialect`]), planned over
//! one [`catalog::Snapshot`], its plan looked at (again [`guard`]: it only reads), and run in threads of its own within
//! [`limits`] ([`execution`]), or, when it only looks up users' rows, at once ([`point`]). What became of it goes to
//! the [`audit`] log.

mod audit;
mod bounded;
pub mod catalog;
mod describe;
mod dialect;
mod execution;
mod flight;
mod guard;
mod limits;
mod lookup;
pub mod options;
mod point;
mod postgres;
pub mod refusal;
mod remote;
mod scram;
mod service;
mod stores;
pub mod users;
pub mod values;

use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionContext;
use graph_recs_sql::{Engine, Input, host, session};
use graph_recs_udfs::model::LazyModel;
use object_store::path::Path as StorePath;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use url::Url;

pub use remote::{Remote, RemoteRows, Sent};

use audit::Audit;
use catalog::Catalog;
use graph_recs_warehouse::Warehouse;
use limits::{Gate, Limits};
use options::ServeOptions;
use postgres::{Listener, Options};
use service::{Parts, Service};
use stores::Readable;
use users::Users;

/// Threads that work on statements have room for deep plans.
const STACK: usize = 64 << 20;
/// By how much statements give way to other programs.
const NICE: i32 = 5;
/// How often the memory of the process is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Serves until a signal says to stop; what reads much is sent to `remote`, when there is one.
///
/// # Errors
/// When it cannot begin: nothing to serve, an address in use, no users where they are needed.
pub async fn run(options: ServeOptions, remote: Option<Arc<dyn Remote>>) -> Result<()> {
    check_addresses(&options)?;
    // Before anybody can see that it serves, and say so.
    let told_to_stop = told_to_stop()?;
    let users = options.users.as_deref().map(Users::open).transpose()?;
    let users = users.map(Arc::new);
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        _ => None,
    };
    let tls = |protocol: &[u8]| {
        tls.map(|(file, key)| tls_with(file, key, protocol))
            .transpose()
    };
    // Never dropped: that may not be done from within another runtime, and statements that were given up must not keep
    // the process.
    let work = ManuallyDrop::new(threads(&options)?);
    let service = build(&options, work.handle().clone(), remote).await?;
    let bind = async |address: SocketAddr| {
        let listener = TcpListener::bind(address).await;
        listener.with_context(|| format!("cannot listen on {address}"))
    };
    let postgres = bind(options.listen).await?;
    let address = postgres.local_addr()?;
    let listener = Listener::new(
        Arc::clone(&service),
        Options {
            users: users.clone(),
            tls: tls(b"postgresql")?,
            max_connections: options.limits.max_connections as usize,
        },
    );
    if users.is_none() {
        tracing::warn!("nobody is asked who they are: --users names a file of users");
    }
    tracing::info!("PostgreSQL's protocol on {address}");
    let refresh = {
        let service = Arc::clone(&service);
        let pause = Duration::from_secs(options.refresh);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(pause).await;
                if let Err(error) = service.refresh().await {
                    tracing::warn!("no look for a new publication: {error:#}");
                }
            }
        })
    };
    let watch = watch_memory(&service, options.limits.memory_limit)?;
    let mut serving = vec![refresh, watch, tokio::spawn(listener.listen(postgres))];
    if let Some(address) = options.flight_listen {
        let listener = bind(address).await?;
        tracing::info!("Arrow Flight SQL on {}", listener.local_addr()?);
        let tls = tls(b"h2")?;
        serving.push(tokio::spawn(flight::listen(
            listener,
            tls,
            Arc::clone(&service),
            users,
        )));
    }
    told_to_stop.await;
    tracing::info!("stopping");
    service.stop().await;
    for task in serving {
        task.abort();
    }
    Ok(())
}

fn check_addresses(options: &ServeOptions) -> Result<()> {
    if options.catalog.warehouse.is_none() && options.catalog.input.is_none() {
        bail!("nothing to serve: give --warehouse, --input, or both");
    }
    let open = |address: &SocketAddr| !address.ip().is_loopback();
    if options.users.is_none() {
        for address in std::iter::once(&options.listen).chain(&options.flight_listen) {
            if open(address) {
                bail!(
                    "{address} can be reached from other machines, and nobody would be asked who they are: \
                     give --users, or listen on 127.0.0.1"
                );
            }
        }
    }
    if let Some(address) = options
        .flight_listen
        .as_ref()
        .filter(|address| open(address))
        && options.tls_cert.is_none()
    {
        bail!("{address}: passwords come as they are by Flight SQL: give --tls-cert and --tls-key");
    }
    Ok(())
}

fn tls_with(certificate: &Path, key: &Path, protocol: &[u8]) -> Result<TlsAcceptor> {
    let readable = |file: &Path| format!("{} is no readable PEM file", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| readable(certificate))?;
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| readable(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .context("--tls-cert and --tls-key do not fit together")?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Threads for statements, so that the others answer whatever statements do.
fn threads(options: &ServeOptions) -> Result<tokio::runtime::Runtime> {
    let threads = options
        .limits
        .threads
        .map_or_else(|| Engine::default().threads, |threads| threads as usize);
    let gentle = || {
        // SAFETY: of the calling thread alone, which is Linux's reading of it; it may fail, then all stays as it is.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    };
    Ok(host::runtime(threads, STACK, |builder| {
        builder.thread_name("statements").on_thread_start(gentle);
    })?)
}

async fn build(
    options: &ServeOptions,
    work: tokio::runtime::Handle,
    remote: Option<Arc<dyn Remote>>,
) -> Result<Arc<Service>> {
    let limits = &options.limits;
    let memory = usize::try_from(limits.memory_limit)?;
    let given = &options.catalog;
    let model = LazyModel::open(given.model.as_deref()).await?;
    let engine = Engine {
        threads: work.metrics().num_workers(),
        ..Engine::default()
    };
    let context = engine.session(model)?;
    session::join_in_partitions(&context);
    let disk = DiskManagerBuilder::default().with_max_temp_directory_size(limits.spill_limit);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let context = SessionContext::new_with_state(
        datafusion::execution::SessionStateBuilder::new_from_existing(context.state())
            .with_runtime_env(runtime)
            .build(),
    );
    let mut readable = Vec::new();
    let warehouse = match &given.warehouse {
        Some(location) => {
            let warehouse = Warehouse::open(location)?;
            readable.push(of_warehouse(&warehouse)?);
            Some(warehouse)
        }
        None => None,
    };
    let input = match &given.input {
        Some(location) => {
            let as_of = given.moment()?;
            let input = Input::open(location, given.date).await?;
            readable.push(of_input(&input, &context)?);
            Some((input, as_of))
        }
        None => None,
    };
    let of_day = input.as_ref().map(|(input, as_of)| (input, *as_of));
    let catalog = Catalog::open(warehouse, of_day, &context).await?;
    if given.warehouse.is_some() && catalog.snapshot().number().is_none() {
        tracing::warn!("nothing is published yet: the tables of graph_recs are empty until then");
    }
    Service::new(Parts {
        catalog,
        context,
        limits: Limits {
            statement_timeout: Duration::from_secs(limits.statement_timeout),
            max_rows: limits.max_rows,
            max_bytes: limits.max_bytes,
            max_scan: limits.max_scan,
            max_memory: limits.max_memory.unwrap_or(limits.memory_limit / 2),
            max_statements: limits.max_user_statements,
        },
        max_text: limits.max_statement_size,
        gate: Gate::new(
            limits.max_statements as usize,
            limits.max_waiting as usize,
            Duration::from_secs(limits.wait),
        ),
        audit: Audit::open(options.audit_log.as_deref())?,
        work,
        readable: readable.into(),
        remote,
    })
}

fn of_warehouse(warehouse: &Warehouse) -> Result<Readable> {
    let folder = StorePath::from_url_path(warehouse.url().path())?;
    Ok(Readable {
        base: warehouse.url().clone(),
        store: warehouse.root_store(),
        folder,
    })
}

fn of_input(input: &Input, context: &SessionContext) -> Result<Readable> {
    let base: &Url = input.store_url().as_ref();
    Ok(Readable {
        base: base.clone(),
        store: context.runtime_env().object_store(input.store_url())?,
        folder: input.root().clone(),
    })
}

/// Cancels statements while the process holds more than it should: not all memory is asked for at the pool.
fn watch_memory(service: &Arc<Service>, limit: u64) -> Result<tokio::task::JoinHandle<()>> {
    let before = resident()?;
    // Half as much again for what operators do not ask for, and for rows on their way.
    let most = before + limit + limit / 2;
    let service = Arc::clone(service);
    Ok(tokio::spawn(async move {
        let mut patience = 0_u32;
        loop {
            tokio::time::sleep(LOOK).await;
            let held = resident().unwrap_or_default();
            if held <= most {
                patience = 0;
                continue;
            }
            // What was cancelled takes a moment to go.
            if patience.is_multiple_of(10) && service.cancel_largest() {
                tracing::warn!(
                    "the process holds {} MiB, more than {} MiB: the largest statement is cancelled",
                    held >> 20,
                    most >> 20
                );
            }
            patience += 1;
        }
    }))
}

/// Bytes of memory that the process holds.
fn resident() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .context("/proc/self/statm has another form")?
        .parse()?;
    Ok(pages * 4096)
}

/// Ends at the first signal to stop from now on.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
