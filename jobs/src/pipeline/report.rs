//! The report of a run: for people as a table, for programs as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use graph_recs_sql::Parameters;
use serde::{Deserialize, Serialize};

use super::accounts::{Account, Accounts, is_unreadable};
use super::checks::{CHECK_RESULTS, CheckResult, Severity};
use super::identity::Changed;
use super::recommend::FATES;
use super::run::{Run, Step, counted};
use crate::warehouse::Table;

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

impl Report {
    pub(super) async fn collect(run: &Run) -> Result<Self> {
        let mut report = Self {
            run_id: run.id.clone(),
            input: run.job.input.folder().to_string(),
            parameters: run.job.options.parameters.clone(),
            model_hash: run.job.model_hash(),
            sources: Vec::new(),
            counts: BTreeMap::new(),
            rows: BTreeMap::new(),
            steps: Vec::new(),
            checks: Vec::new(),
            changed: run.changed.clone(),
        };
        for step in [
            Step::ClosestConnections,
            Step::ReputationScores,
            Step::Recommendations,
            Step::Checks,
        ] {
            let Some(record) = run.record(step).await? else {
                report.add_unfinished(run, step).await?;
                continue;
            };
            report.steps.push(StepReport {
                step: step.name().to_string(),
                seconds: record.cost.seconds,
                peak_memory_bytes: record.cost.peak_memory_bytes,
            });
            report.rows.extend(
                record.files.iter().map(|(table, files)| {
                    (table.clone(), files.iter().map(|file| file.rows).sum())
                }),
            );
            for (name, count) in record.counts {
                *report.counts.entry(name).or_default() += count;
            }
            report.checks.extend(record.checks);
            report.add_accounts(record.accounts);
        }
        Ok(report)
    }

    /// What a step found before it failed.
    async fn add_unfinished(&mut self, run: &Run, step: Step) -> Result<()> {
        if step == Step::Checks {
            let results: Option<Vec<CheckResult>> = run.work.read_json(CHECK_RESULTS).await?;
            self.checks.extend(results.unwrap_or_default());
        }
        if let Some(accounts) = run.work.read_json(&counted(step)).await? {
            self.add_accounts(accounts);
        }
        Ok(())
    }

    fn add_accounts(&mut self, accounts: Accounts) {
        let accounts = accounts.into_iter();
        let named = accounts.map(|(source, account)| SourceAccount { source, account });
        self.sources.extend(named);
    }
}

/// The report as a page of text.
pub fn render(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(report, &mut page);
    page
}

fn write_page(report: &Report, page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "run {}   as of {}",
        report.run_id,
        report.parameters.as_of.format("%Y-%m-%d %H:%M:%S UTC")
    )?;
    if let Some(changed) = &report.changed {
        let since = &changed.since;
        writeln!(
            page,
            "\nrun {since} was published for this day before; since then:"
        )?;
        for what in &changed.what {
            writeln!(page, "  {what}")?;
        }
    }
    writeln!(
        page,
        "\n{:<22}{:>12}{:>12}{:>12}  left out by reason",
        "source", "read", "used", "left out"
    )?;
    for SourceAccount { source, account } in &report.sources {
        let left_out: u64 = account.left_out.values().sum();
        let reasons: Vec<String> = account
            .left_out
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| {
                let quarantined = if is_unreadable(reason) {
                    " (quarantined)"
                } else {
                    ""
                };
                format!("{reason} {count}{quarantined}")
            })
            .collect();
        let reasons = reasons.join(", ");
        writeln!(
            page,
            "{source:<22}{:>12}{:>12}{left_out:>12}  {reasons}",
            account.read, account.used
        )?;
    }
    if report.counts.contains_key("candidates") {
        writeln!(page, "\nsecond-degree candidates")?;
        for name in ["candidates"].iter().chain(&FATES) {
            writeln!(
                page,
                "  {:<20}{:>12}",
                name,
                report.counts.get(*name).copied().unwrap_or(0)
            )?;
        }
    }
    writeln!(page, "\n{:<22}{:>12}", "table", "rows")?;
    for table in Table::ALL {
        if let Some(rows) = report.rows.get(table.name()) {
            writeln!(page, "{:<22}{rows:>12}", table.name())?;
        }
    }
    writeln!(
        page,
        "\n{:<22}{:>12}{:>14}",
        "step", "seconds", "peak memory"
    )?;
    for step in &report.steps {
        let mib = step.peak_memory_bytes >> 20;
        writeln!(
            page,
            "{:<22}{:>12.2}{:>10} MiB",
            step.step, step.seconds, mib
        )?;
    }
    write_checks(&report.checks, page)
}

/// What checks found, as a table.
pub fn render_checks(checks: &[CheckResult]) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write_checks(checks, &mut page);
    page
}

fn write_checks(checks: &[CheckResult], page: &mut String) -> std::fmt::Result {
    if checks.is_empty() {
        return Ok(());
    }
    writeln!(page, "\n{:<42}{:>10}  result", "check", "count")?;
    for check in checks {
        let result = match (check.count, check.severity) {
            (0, _) => "ok",
            (_, Severity::Warn) => "WARN",
            (_, Severity::Error) => "FAILED",
        };
        writeln!(page, "{:<42}{:>10}  {result}", check.name, check.count)?;
    }
    Ok(())
}
