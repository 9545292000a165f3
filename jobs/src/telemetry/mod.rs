//! What a run tells of itself while it works: figures for Prometheus, spans for OpenTelemetry.
//!
//! A process works on one run at a time, so there is one [`Board`] a process, on which the steps write.

mod otlp;
mod prometheus;

pub use otlp::send;
pub use prometheus::{listen, render, write};

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::pipeline::Cost;
use graph_recs_warehouse::report::Report;

/// What is known of the run that the process works on.
#[derive(Clone, Debug, Default)]
pub struct Board {
    /// The run's name.
    pub run_id: Option<String>,
    /// Its as-of, in seconds since 1970.
    pub as_of: Option<i64>,
    /// When it began.
    pub began: Option<SystemTime>,
    /// When it ended.
    pub ended: Option<SystemTime>,
    /// The exit code that it ended with.
    pub exit_code: Option<u8>,
    /// When a run last ended with 0, in seconds since 1970.
    pub last_success: Option<f64>,
    /// What a finished step cost.
    pub steps: BTreeMap<String, Cost>,
    /// What was done when, for spans.
    pub spans: Vec<Span>,
    /// The report, once there is one.
    pub report: Option<Report>,
}

/// Something that took time.
#[derive(Clone, Debug)]
pub struct Span {
    /// What was done.
    pub name: String,
    /// From when.
    pub began: SystemTime,
    /// Until when.
    pub ended: SystemTime,
    /// Why it failed, when it did.
    pub error: Option<String>,
}

static BOARD: Mutex<Option<Board>> = Mutex::new(None);

fn board() -> MutexGuard<'static, Option<Board>> {
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known now.
pub fn snapshot() -> Board {
    board().clone().unwrap_or_default()
}

/// A run begins: what was known of another one is forgotten.
pub fn run_begins(run_id: &str, as_of: i64) {
    let last_success = board().as_ref().and_then(|board| board.last_success);
    *board() = Some(Board {
        run_id: Some(run_id.to_owned()),
        as_of: Some(as_of),
        began: Some(SystemTime::now()),
        last_success,
        ..Board::default()
    });
}

/// What a run found and did.
pub fn reported(report: &Report) {
    board().get_or_insert_default().report = Some(report.clone());
}

/// A run ended with an exit code.
pub fn run_ended(exit_code: u8) {
    let now = SystemTime::now();
    let mut board = board();
    let board = board.get_or_insert_default();
    board.ended = Some(now);
    board.exit_code = Some(exit_code);
    if exit_code == 0 {
        board.last_success = Some(seconds(now));
    }
}

/// Measures something from now on; written down by [`Watch::done`].
pub struct Watch {
    name: String,
    began: SystemTime,
}

impl Watch {
    /// Starts.
    pub fn start(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            began: SystemTime::now(),
        }
    }

    /// It is over: what it cost, or why it failed.
    pub fn done(self, outcome: Result<&Cost, &anyhow::Error>) {
        let mut board = board();
        let board = board.get_or_insert_default();
        if let Ok(cost) = outcome {
            board.steps.insert(self.name.clone(), *cost);
        }
        board.spans.push(Span {
            name: self.name,
            began: self.began,
            ended: SystemTime::now(),
            error: outcome.err().map(|error| format!("{error:#}")),
        });
    }
}

/// Seconds since 1970.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
