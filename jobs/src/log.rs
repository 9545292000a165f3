//! The log, on standard error: lines for people, or one JSON object a line for programs.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use chrono::{SecondsFormat, Utc};
pub use graph_recs_sql::cluster::process::LogFormat;
use graph_recs_sql::host::LogLines;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The run that the process works on.
static RUN: RwLock<Option<String>> = RwLock::new(None);

/// What is logged.
#[derive(Clone, Debug)]
pub struct Level(String);

impl Level {
    /// Of a level, which is that of graph-recs alone, its libraries only warn; or of a filter like `graph_recs=debug`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let filter = match text.contains(['=', ',']) {
            true => text.to_owned(),
            false => format!("warn,graph_recs={text}"),
        };
        let level = Self(filter);
        level.filter().map_err(|error| error.to_string())?;
        Ok(level)
    }

    fn filter(&self) -> Result<EnvFilter, ParseError> {
        EnvFilter::builder().parse(&self.0)
    }
}

/// Starts the log. Where it cannot be written, nobody reads it: that is no reason to stop, nor to say it there.
pub fn start(level: &Level, format: LogFormat) {
    let log = tracing_subscriber::fmt()
        // Parsed before, when the option was read.
        .with_env_filter(level.filter().unwrap_or_default())
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(|| LogLines);
    match format {
        LogFormat::Text => log.with_target(false).init(),
        LogFormat::Json => log.event_format(JsonLines).init(),
    }
}

/// From now on lines are those of this run.
pub fn run_begins(run_id: &str) {
    *RUN.write().unwrap_or_else(PoisonError::into_inner) = Some(run_id.to_owned());
}

/// The run that the process works on, once it is known.
pub fn run() -> Option<String> {
    RUN.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Writes an event as a JSON object.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        line.insert("time".into(), now.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("run_id".into(), run().into());
        line.insert("target".into(), event.metadata().target().into());
        event.record(&mut Fields(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
