//! What the processes of a cluster have in common.

use std::error::Error;
use std::future::Future;
use std::process::ExitCode;
use std::thread;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::tls::TlsOptions;
use crate::host::{self, LogLines, Panics};

/// Deep plans are planned, read and run by recursion.
const STACK_BYTES: usize = 32 << 20;

/// A scheduler or an executor.
pub struct Program {
    /// The name that it is called by.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Ballista's options that have another default here: their names in its configuration, and the default.
    pub defaults: &'static [(&'static str, &'static str)],
}

/// What a program is started with: Ballista's own options, and those beside them.
#[derive(Parser)]
pub struct Options<B: Args> {
    /// Ballista's
    #[command(flatten)]
    pub ballista: B,
    /// Beside them
    #[command(flatten)]
    pub process: ProcessOptions,
}

impl Program {
    /// Serves by the command line's options. Comes back when the program was told to stop or could not go on, and has
    /// said on standard error why when that was no good end.
    pub fn run<B, S>(&self, serve: impl FnOnce(Options<B>) -> S) -> ExitCode
    where
        B: Args,
        S: Future<Output = Result<(), Box<dyn Error>>>,
    {
        host::on_panic(self.name, Panics::EndTheTask);
        if let Err(error) = host::tidy_variables() {
            host::complain(self.name, &error.to_string());
            return ExitCode::from(2);
        }
        let served = || -> Result<(), Box<dyn Error>> {
            let options = self.options()?;
            let workers = thread::available_parallelism().map_or(1, usize::from);
            host::runtime(workers, STACK_BYTES, |_| {})?.block_on(serve(options))
        };
        match served() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                host::complain(self.name, &told(error.as_ref()));
                ExitCode::FAILURE
            }
        }
    }

    /// The command line's options; the process ends with usage or help when they ask for it.
    fn options<B: Args>(&self) -> Result<Options<B>, clap::Error> {
        let mut command = Options::<B>::command()
            .name(self.name)
            .version(env!("CARGO_PKG_VERSION"))
            .about(self.about);
        for &(option, value) in self.defaults {
            command = command.mut_arg(option, |option| option.default_value(value));
        }
        Options::from_arg_matches(&command.get_matches())
    }
}

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
    ///
    /// # Errors
    /// When `filter` is none.
    pub fn start_log(&self, filter: &str) -> Result<(), Box<dyn Error>> {
        let filter = EnvFilter::builder().parse(filter);
        let filter = filter.map_err(|error| format!("--log-level-setting: {error}"))?;
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .log_internal_errors(false)
            .with_writer(|| LogLines);
        match self.log_format {
            LogFormat::Json => log.json().flatten_event(true).init(),
            LogFormat::Text => log.init(),
        }
        Ok(())
    }
}

/// The error and its causes, each said once.
fn told(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !told.contains(&text) {
            told.push_str(": ");
            told.push_str(&text);
        }
        cause = error.source();
    }
    told
}
