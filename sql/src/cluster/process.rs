//! What the processes of a cluster have in common.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

use super::tls::TlsOptions;

/// Deep plans are planned, read and run by recursion.
const STACK_BYTES: usize = 32 << 20;

/// Options of a scheduler and of an executor, beside Ballista's own.
#[derive(Args, Clone, Debug)]
pub struct ProcessOptions {
    /// Certificates
    #[command(flatten)]
    pub tls: TlsOptions,
    /// What log lines look like
    #[arg(
        long,
        env = "GRAPH_RECS_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub log_format: LogFormat,
}

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line: time, level, run_id, target, message, and what else is known
    Json,
}

impl ProcessOptions {
    /// Starts the log on standard error: what `filter` lets through, like `warn,graph_recs_sql=info`.
    pub fn start_log(&self, filter: &str) {
        let log = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(io::stderr);
        match self.log_format {
            LogFormat::Json => log.json().flatten_event(true).init(),
            LogFormat::Text => log.init(),
        }
    }
}

/// Ends a program as its work did, and says on standard error why when that was no good end.
pub fn ended(program: &str, result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The one place where these programs speak of their end.
            #[allow(clippy::print_stderr)]
            {
                eprintln!("{program}: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What the process works in.
///
/// # Errors
/// When there are no threads to be had.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
}
