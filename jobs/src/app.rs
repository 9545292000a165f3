//! The program: its log, its runtime, and how it ends.

use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind as UsageKind;
use graph_recs_sql::host::{self, Panics};
use graph_recs_sql::{InputError, allocator};
use graph_recs_udfs::stores;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, warn};

use crate::cli::Command;
use crate::commands::Answer;
use crate::database::DatabaseError;
use crate::log::{self, LogFormat};
use crate::{commands, config, database, pipeline, say};
use graph_recs_warehouse::WarehouseError;

/// Name of the program, wherever it speaks of itself.
const NAME: &str = "graph-recs";
/// Deep plans are planned, read and run by recursion.
const STACK_BYTES: usize = 16 << 20;
/// How long the end of a process may wait for half uploads to be removed, and a database to
/// end what was given up.
const SETTLE: Duration = Duration::from_secs(10);

/// Runs the command line of the process and gives its exit code.
pub fn main() -> ExitCode {
    allocator::keep_freed_memory();
    host::on_panic(NAME, Panics::EndTheProcess);
    if let Err(error) = host::tidy_variables() {
        return report(&error.into(), 2);
    }
    if let Err(error) = database::hide_url(std::env::args_os()) {
        return report(&error.into(), 1);
    }
    let cli = match config::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return report(&error, 2),
    };
    if commands::serves(&cli.command) {
        host::on_panic(NAME, Panics::EndTheTask);
    }
    log::start(&cli.log, cli.log_format);
    let answers = commands::only_answers(&cli.command);
    let result = match host::runtime(commands::threads(&cli.command), STACK_BYTES, |_| {}) {
        Ok(runtime) => {
            let result = runtime.block_on(until_stopped(cli.command));
            // Work that was given up must not keep the process. Nor are threads let go of one by one: glibc before 2.38
            // may crash in that when one of them ends at the same moment (its bug 19951).
            std::mem::forget(runtime);
            result
        }
        Err(error) => Err(error.into()),
    };
    match heard(result, answers) {
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

/// The outcome of a command whose standard output may not have been taken. Whoever closes a pipe, as `head` does, has
/// heard enough; else an answer that is all that a command gives must not be lost without a word.
fn heard(result: anyhow::Result<()>, answers: Option<Answer>) -> anyhow::Result<()> {
    let Some(lost) = say::unheard() else {
        return result;
    };
    let enough = lost.kind() == ErrorKind::BrokenPipe;
    match (result, answers) {
        (Err(_), Some(Answer::Streamed)) if enough => Ok(()),
        (Err(_), Some(Answer::Streamed)) | (Ok(()), Some(_)) if !enough => {
            // Not as a cause: what is advised about a full disk is about that of the warehouse.
            Err(anyhow::anyhow!("standard output cannot be written: {lost}"))
        }
        (result, _) => {
            if !enough {
                warn!("standard output cannot be written: {lost}");
            }
            result
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
    let stoppable = match commands::run_options(&command) {
        Some(options) => options.cluster.cluster.is_none(),
        None => matches!(command, Command::Rollback(_) | Command::Migrate(_)),
    };
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
    database::settle(SETTLE).await;
    result
}

fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    host::complain(NAME, &told(error));
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
            _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                Some("Raise the limit of open files (ulimit -n); what is published is as it was")
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
            return match input.may_come() {
                true => 4,
                false => 1,
            };
        }
        if let Some(WarehouseError::LockHeld { .. }) = cause.downcast_ref() {
            return 5;
        }
        match cause.downcast_ref() {
            Some(DatabaseError::Url(_)) => return 2,
            Some(DatabaseError::ChecksFailed { .. }) => return 3,
            Some(DatabaseError::LockHeld { .. }) => return 5,
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
