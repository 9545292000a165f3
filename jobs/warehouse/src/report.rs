//! What a run did: kept with its publication, and read by people and by schema `ops` of the service for analysts.

use std::collections::BTreeMap;

use graph_recs_sql::Parameters;
use serde::{Deserialize, Serialize};

/// What a run did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The run's name.
    pub run_id: String,
    /// The input folder.
    pub input: String,
    /// The parameters.
    pub parameters: Parameters,
    /// The hash of the model, when one scored.
    pub model_hash: Option<String>,
    /// Records of each source.
    pub sources: Vec<SourceAccount>,
    /// Second-degree candidates by what became of them, and other counts.
    pub counts: BTreeMap<String, i64>,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// What each step cost.
    pub steps: Vec<StepReport>,
    /// Results of the quality checks.
    pub checks: Vec<CheckResult>,
    /// How the run differs from the one that was published of the same day before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
}

/// The records of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceAccount {
    /// Source name.
    pub source: String,
    /// Records read, used and left out.
    #[serde(flatten)]
    pub account: Account,
}

/// What a step cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Step name.
    pub step: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The most memory the process held during the step.
    pub peak_memory_bytes: u64,
}

/// The records of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Records read.
    pub read: u64,
    /// Records that went into the results.
    pub used: u64,
    /// Records left out, by reason.
    pub left_out: BTreeMap<String, u64>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The check's name, that of its SQL file.
    pub name: String,
    /// Whether a count above 0 stops the run.
    pub severity: Severity,
    /// What must hold.
    pub says: String,
    /// How often it does not.
    pub count: i64,
}

/// What a failing check leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run stops, nothing is published.
    Error,
    /// The run goes on.
    Warn,
}

/// How a run differs from one of the same day that was published before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The run published before.
    pub since: String,
    /// What is different, one sentence a difference.
    pub what: Vec<String>,
}
