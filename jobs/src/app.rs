//! The program: its log, its runtime, and how it ends.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind as UsageKind;
use graph_recs_sql::{InputError, allocator};
use graph_recs_udfs::stores;
use tokio::signal::unix::{SignalKind, signal};
use tracing::error;

use crate::cli::Command;
use crate::database::DatabaseError;
use crate::log::{self, LogFormat};
use crate::{commands, config, database, pipeline};
use graph_recs_warehouse::WarehouseError;

/// How long the end of a process may wait for half uploads to be removed.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs the command line of the process and gives its exit code.
pub fn main() -> ExitCode {
    allocator::keep_freed_memory();
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
    log::start(&cli.log, cli.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(commands::threads(&cli.command))
        .thread_stack_size(16 << 20)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(until_stopped(cli.command));
            // Work that was given up must not keep the process. Nor are threads let go of one by one: glibc before 2.38
            // may crash in that when one of them ends at the same moment (its bug 19951).
            std::mem::forget(runtime);
            result
        }
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit_code(&error);
            if cli.log_format == LogFormat::Json {
                error!(exit_code = code, "{}", told(&error));
                return ExitCode::from(code);
            }
            report(&error, code)
        }
    }
}

/// Asked to end: by Ctrl-C, by a service manager, by whoever schedules runs.
#[derive(Debug, thiserror::Error)]
#[error(
    "stopped by {signal}: nothing more was done; the same command goes on after the last finished step"
)]
struct Stopped {
    signal: &'static str,
}

/// A command, given up at a request to end: locks are released and half uploads removed. Work on a cluster ends by
/// itself then.
async fn until_stopped(command: Command) -> anyhow::Result<()> {
    let stoppable =
        commands::run_options(&command).is_some_and(|options| options.cluster.cluster.is_none());
    let result = if stoppable {
        let mut terminations = signal(SignalKind::terminate())?;
        tokio::select! {
            result = commands::run(command) => result,
            _ = tokio::signal::ctrl_c() => Err(Stopped { signal: "Ctrl-C" }.into()),
            _ = terminations.recv() => Err(Stopped { signal: "SIGTERM" }.into()),
        }
    } else {
        commands::run(command).await
    };
    stores::settle(SETTLE).await;
    result
}

/// Lets `graph-recs … | head` end as other programs do, without a word; Rust ignores the signal otherwise. Not for who
/// has connections: the signal also comes when the other end of one goes away.
fn end_quietly_on_closed_pipes() {
    // SAFETY: called before any other thread is there; sets the default disposition, no handler of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    // The one place where the program speaks of its end.
    #[allow(clippy::print_stderr)]
    {
        eprintln!("graph-recs: {}", told(error));
    }
    ExitCode::from(code)
}

/// The error and its causes, each said once: many libraries repeat a cause in their own text. Then what to do, where
/// only the kind of a cause tells it.
pub(crate) fn told(error: &anyhow::Error) -> String {
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
    if let Some(advice) = error.chain().find_map(advice) {
        told.push_str(". ");
        told.push_str(advice);
    }
    told
}

/// What to do about a cause that lies outside of the program.
fn advice(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        return match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(
                "The disk is full: make room (`graph-recs clean --keep N` removes old runs) and give the same command \
                 again; what is published is as it was",
            ),
            ErrorKind::PermissionDenied => Some(
                "This user may not do that there: give it the folder, or another folder; what is published is as it was",
            ),
            ErrorKind::ReadOnlyFilesystem => {
                Some("The disk can only be read; what is published is as it was")
            }
            _ => None,
        };
    }
    match cause.downcast_ref::<object_store::Error>()? {
        error if is_refusal(error) => Some(
            "The store refuses these credentials: look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE), \
             at the bucket's name and region, and whether they may list, read and write there",
        ),
        object_store::Error::Precondition { .. } => Some(
            "A file changed while it was read: are the day's exports still being written? Give the same command again \
             when they are finished",
        ),
        _ => None,
    }
}

/// Whether a store refuses who asks. Of a listing it is only told in words.
fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error::{Generic, PermissionDenied, Unauthenticated};
    match error {
        PermissionDenied { .. } | Unauthenticated { .. } => true,
        Generic { source, .. } => {
            let text = source.to_string();
            ["403 Forbidden", "401 Unauthorized"]
                .iter()
                .any(|status| text.contains(status))
        }
        _ => false,
    }
}

/// The exit code that an error stands for, by its kind.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if cause.is::<pipeline::ChecksFailed>() {
            return 3;
        }
        if let Some(input) = cause.downcast_ref::<InputError>() {
            return match input {
                InputError::Ambiguous { .. }
                | InputError::Changed
                | InputError::Unreadable { .. }
                | InputError::NoStore { .. } => 1,
                _ => 4,
            };
        }
        if let Some(WarehouseError::LockHeld { .. }) = cause.downcast_ref() {
            return 5;
        }
        match cause.downcast_ref() {
            Some(DatabaseError::Url(_)) => return 2,
            Some(DatabaseError::ChecksFailed { .. }) => return 3,
            Some(DatabaseError::LockHeld) => return 5,
            _ => {}
        }
        if let Some(usage) = cause.downcast_ref::<clap::Error>()
            && usage.kind() != UsageKind::DisplayHelp
        {
            return 2;
        }
    }
    1
}
