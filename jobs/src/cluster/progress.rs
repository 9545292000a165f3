//! How far a run on a cluster is: bars a stage for who watches, and a file for who looks in later.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tracing::debug;

use super::book::Book;
use crate::progress::{Counter, Progress};

/// What a run on a cluster is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// At work.
    #[default]
    Running,
    /// Through.
    Done,
    /// It ended with an error.
    Failed,
}

/// A stage's pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Pieces that are done.
    pub done: usize,
    /// Pieces that there are.
    pub of: usize,
}

/// How far a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What it is doing.
    pub phase: Phase,
    /// The error that it ended with.
    pub error: Option<String>,
    /// When this was written; the driver writes every second.
    pub at: DateTime<Utc>,
    /// The scheduler.
    pub cluster: String,
    /// The stages by name, in the order in which they began.
    pub stages: Vec<(String, StageProgress)>,
}

/// The file in the run's work folder.
pub const FILE: &str = "progress";

/// Counts the pieces of all stages.
pub struct Board {
    shown: Progress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    snapshot: Snapshot,
    counters: BTreeMap<String, Counter>,
}

impl Board {
    /// A board of a run on the cluster at `url`.
    pub fn new(shown: Progress, url: &str) -> Self {
        let snapshot = Snapshot {
            cluster: url.to_string(),
            ..Snapshot::default()
        };
        Self {
            shown,
            state: Mutex::new(State {
                snapshot,
                counters: BTreeMap::new(),
            }),
        }
    }

    /// A stage has this many more pieces.
    pub fn expect(&self, stage: &str, pieces: usize) {
        self.change(stage, |progress| progress.of += pieces);
    }

    /// A piece of a stage is done.
    pub fn done(&self, stage: &str) {
        self.change(stage, |progress| progress.done += 1);
    }

    fn change(&self, stage: &str, change: impl FnOnce(&mut StageProgress)) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let stages = &mut state.snapshot.stages;
        let index = match stages.iter().position(|(name, _)| name == stage) {
            Some(index) => index,
            None => {
                stages.push((stage.to_string(), StageProgress::default()));
                stages.len() - 1
            }
        };
        let Some((_, progress)) = stages.get_mut(index) else {
            return;
        };
        change(progress);
        let now = *progress;
        let shown = &self.shown;
        state
            .counters
            .entry(stage.to_string())
            .or_insert_with(|| shown.counter(stage))
            .show(now.done, now.of);
    }

    /// How far the run is.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self
            .state
            .lock()
            .map(|state| state.snapshot.clone())
            .unwrap_or_default();
        snapshot.at = Utc::now();
        snapshot
    }
}

/// How soon a change is written, and how often the driver says that it is there.
const SOON: Duration = Duration::from_millis(200);
const EVERY: Duration = Duration::from_secs(1);

/// Writes the board's state when it has changed and every second, until it is dropped.
pub struct Reporter(JoinHandle<()>);

impl Drop for Reporter {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Reporter {
    /// Begins to report.
    pub fn start(board: std::sync::Arc<Board>, book: Book) -> Self {
        Self(tokio::spawn(async move {
            let (mut told, mut at) = (None, Instant::now());
            loop {
                let now = board.snapshot();
                if told.as_ref() != Some(&now.stages) || at.elapsed() >= EVERY {
                    if let Err(error) = book.enter_work(FILE, &now).await {
                        debug!("progress not written: {error:#}");
                    }
                    (told, at) = (Some(now.stages), Instant::now());
                }
                tokio::time::sleep(SOON).await;
            }
        }))
    }
}
