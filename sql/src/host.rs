//! What a process finds on its machine: variables that are set to nothing, streams that nobody takes, threads that it is
//! not given. None of it makes a program panic or wait for ever.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use graph_recs_udfs::text::{shown, shown_lines};
use tokio::runtime::{Builder, Runtime};

/// What the variables begin with that this program and its libraries look at.
const PREFIXES: [&str; 8] = [
    "GRAPH_RECS_",
    "OTEL_EXPORTER_",
    "AWS_",
    "AZURE_",
    "AZURITE_",
    "GOOGLE_",
    "BALLISTA_",
    "PG",
];
/// Threads that a runtime has beside its workers from the start, for what blocks: reading and writing files above all.
const BLOCKING: usize = 4;
/// They are not given back: others may have taken their places when they are needed again.
const KEEP: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long starting them may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A variable that no program can read.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable {name} is not UTF-8: look at how it is set, or unset it")]
pub struct UnreadableVariable {
    name: String,
}

/// Unsets the variables that are set to nothing or to white space, and takes line breaks off the ends of others: compose
/// files set many to "", and `echo value | base64` ends a Kubernetes secret with a line break.
///
/// # Errors
/// When one is not UTF-8.
pub fn tidy_variables() -> Result<(), UnreadableVariable> {
    for (name, value) in std::env::vars_os() {
        let Some(known) = name.to_str() else { continue };
        if !PREFIXES.iter().any(|prefix| known.starts_with(prefix)) {
            continue;
        }
        let Some(text) = value.to_str() else {
            let name = known.to_owned();
            return Err(UnreadableVariable { name });
        };
        let tidy = text.trim_matches(['\n', '\r']);
        if text.trim().is_empty() {
            // SAFETY: at the start of a process, before it has other threads.
            unsafe { std::env::remove_var(&name) };
        } else if tidy != text {
            // SAFETY: as above.
            unsafe { std::env::set_var(&name, tidy) };
        }
    }
    Ok(())
}

/// Says on standard error, in the program's name, what went wrong. It may be closed or full: then nobody hears it.
pub fn complain(program: &str, what: &str) {
    let _ = writeln!(io::stderr(), "{program}: {}", shown_lines(what));
}

/// Standard error for a log, a line an event. Nothing in a line steers a terminal or looks like another line.
#[derive(Debug, Default)]
pub struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let safe = format!("{}\n", shown(text));
        io::stderr().write_all(safe.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// What a panic in one of a process's threads means for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panics {
    /// Its end with exit code 1: nobody may wait for a thread that is gone.
    EndTheProcess,
    /// The end of what the thread did; a service goes on for others. Only that of the main thread ends the process.
    EndTheTask,
}

/// From now on a panic, which is a bug or a thread that the system does not give, is said in one line.
pub fn on_panic(program: &'static str, meaning: Panics) {
    std::panic::set_hook(Box::new(move |panic| {
        let what = panic.payload_as_str().unwrap_or("it gives no reason");
        let place = panic.location().map(ToString::to_string);
        let place = place.unwrap_or_default();
        let refused = refused(what);
        if let Some(refused) = refused {
            complain(program, &format!("{refused} ({what})"));
        } else {
            complain(
                program,
                &format!(
                    "a bug in this program, please report it: {what} ({place}). What is published is as it was"
                ),
            );
            let backtrace = Backtrace::capture();
            if backtrace.status() == BacktraceStatus::Captured {
                complain(program, &backtrace.to_string());
            }
        }
        let is_main = thread::current().name() == Some("main");
        if is_main || meaning == Panics::EndTheProcess {
            // SAFETY: takes no lock and runs nothing else, so it ends the process whatever the other threads do.
            unsafe { libc::_exit(1) };
        }
    }));
}

/// What the system refused, told from the words in which libraries panic over it.
fn refused(what: &str) -> Option<String> {
    let says = |number: u8| {
        let forms = [format!("os error {number})"), format!("code: {number},")];
        forms.iter().any(|form| what.contains(form))
    };
    if says(11) || says(12) {
        let is_thread = what.to_lowercase().contains("thread");
        return is_thread.then(|| NoThreads.to_string());
    }
    let files = "the system gives this process no more open files: raise the limit (ulimit -n)";
    (says(23) || says(24)).then(|| files.to_owned())
}

/// The system gives the process fewer threads than it needs.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system gives this process no more threads: raise the limit of processes (ulimit -u, the pids limit of the \
     container or service) or of address space (ulimit -v), or ask for fewer with --threads"
)]
pub struct NoThreads;

/// A runtime of so many workers, whose threads have stacks of so many bytes; `further` says what else it is to be.
///
/// A library that is refused a thread panics, or puts the work off until another thread has time for it, which may be
/// never. So all that is needed is asked for here first, and kept.
///
/// # Errors
/// [`NoThreads`] as an [`io::Error`]; other errors of the system, as too few open files.
pub fn runtime(
    workers: usize,
    stack: usize,
    further: impl FnOnce(&mut Builder),
) -> io::Result<Runtime> {
    require_threads(workers + 2 * BLOCKING, stack)?;
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(workers)
        .thread_stack_size(stack)
        .thread_keep_alive(KEEP)
        .enable_all();
    further(&mut builder);
    let runtime = builder.build()?;
    let (started, news) = channel();
    let ends: Vec<Sender<()>> = (0..BLOCKING)
        .map(|_| {
            let (end, until) = channel();
            let started = started.clone();
            runtime.spawn_blocking(move || wait(&started, &until));
            end
        })
        .collect();
    for _ in &ends {
        if news.recv_timeout(PATIENCE).is_err() {
            // Waiting for what did not start would have no end.
            std::mem::forget(runtime);
            return Err(io::Error::other(NoThreads));
        }
    }
    Ok(runtime)
}

/// Fails when the system does not give so many threads at once.
fn require_threads(count: usize, stack: usize) -> io::Result<()> {
    let (started, _news) = channel();
    let mut threads = Vec::with_capacity(count);
    let mut refused = None;
    for _ in 0..count {
        let (end, until) = channel();
        let started = started.clone();
        let thread = thread::Builder::new()
            .stack_size(stack)
            .spawn(move || wait(&started, &until));
        match thread {
            Ok(thread) => threads.push((end, thread)),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    for (end, thread) in threads {
        drop(end);
        // It does nothing that could panic.
        let _ = thread.join();
    }
    match refused {
        Some(error) => Err(io::Error::new(error.kind(), NoThreads)),
        None => Ok(()),
    }
}

/// Says that it has begun, and waits for the end.
fn wait(started: &Sender<()>, until: &Receiver<()>) {
    // Nobody may listen.
    let _ = started.send(());
    let _ = until.recv();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_told_from_bugs() {
        for refusal in [
            "OS can't spawn worker thread: Resource temporarily unavailable (os error 11)",
            "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }",
            "The global thread pool has not been initialized.: ThreadPoolBuildError { kind: IOError(Os { code: 11, kind: \
             WouldBlock, message: \"Resource temporarily unavailable\" }) }",
        ] {
            assert_eq!(refused(refusal), Some(NoThreads.to_string()), "{refusal}");
        }
        let files = "failed to create UnixStream: Os { code: 24, kind: Uncategorized, message: \"Too many open files\" }";
        assert!(refused(files).is_some_and(|refused| refused.contains("ulimit -n")));
        assert_eq!(
            refused("index out of bounds: the len is 3 but the index is 7"),
            None
        );
        assert_eq!(refused("a thread of code: 112, os error 114"), None);
    }

    #[test]
    fn more_threads_than_any_system_gives_are_an_error() {
        // No address space holds two stacks of this size.
        let error = runtime(2, 1 << 46, |_| {}).unwrap_err();
        assert!(error.to_string().contains("no more threads"), "{error}");
        assert_eq!(
            runtime(2, 1 << 20, |_| {}).unwrap().block_on(async { 7 }),
            7
        );
    }
}
