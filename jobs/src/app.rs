//! The program: its log, its runtime, and how it ends.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use graph_recs_sql::InputError;

use crate::database::DatabaseError;
use crate::{commands, config, database, pipeline, warehouse};

/// Runs the command line of the process and gives its exit code.
pub fn main() -> ExitCode {
    if let Err(error) = database::hide_url(std::env::args_os()) {
        return report(&error.into(), 1);
    }
    let cli = match config::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return report(&error, 2),
    };
    if !commands::has_connections(&cli.command) {
        end_quietly_on_closed_pipes();
    }
    start_log(&cli.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(commands::threads(&cli.command))
        .thread_stack_size(16 << 20)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli.command)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit_code(&error);
            report(&error, code)
        }
    }
}

/// Lets `graph-recs … | head` end as other programs do, without a word; Rust ignores the signal otherwise. Not for who
/// has connections: the signal also comes when the other end of one goes away.
fn end_quietly_on_closed_pipes() {
    // SAFETY: called before any other thread is there; sets the default disposition, no handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Logs to standard error: a plain level is that of graph-recs alone, its libraries only warn.
fn start_log(level: &str) {
    let filter = if level.contains(['=', ',']) {
        level.to_string()
    } else {
        format!("warn,graph_recs={level}")
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    // The one place where the program speaks of its end.
    #[allow(clippy::print_stderr)]
    {
        eprintln!("graph-recs: {}", told(error));
    }
    ExitCode::from(code)
}

/// The error and its causes, each said once: many libraries repeat a cause in their own text.
fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if !told.contains(&text) {
            if !told.is_empty() {
                told.push_str(": ");
            }
            told.push_str(&text);
        }
    }
    told
}

/// The exit code that an error stands for, by its kind.
fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<pipeline::ChecksFailed>() {
            return 3;
        }
        if let Some(input) = cause.downcast_ref::<InputError>() {
            return match input {
                InputError::Ambiguous { .. } | InputError::Unreadable { .. } => 1,
                _ => 4,
            };
        }
        if let Some(warehouse::WarehouseError::LockHeld { .. }) = cause.downcast_ref() {
            return 5;
        }
        match cause.downcast_ref() {
            Some(DatabaseError::Url(_)) => return 2,
            Some(DatabaseError::ChecksFailed { .. }) => return 3,
            Some(DatabaseError::LockHeld) => return 5,
            _ => {}
        }
        if let Some(usage) = cause.downcast_ref::<clap::Error>()
            && usage.kind() != ErrorKind::DisplayHelp
        {
            return 2;
        }
    }
    1
}
