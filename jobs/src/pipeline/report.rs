//! The report of a run: for people as a table, for programs as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use graph_recs_warehouse::Table;
use graph_recs_warehouse::report::{CheckResult, Report, Severity, SourceAccount, StepReport};

use super::accounts::{Accounts, is_unreadable};
use super::checks::CHECK_RESULTS;
use super::recommend::FATES;
use super::run::{Run, Step, counted};

/// What a run has done so far.
pub(super) async fn collect(run: &Run) -> Result<Report> {
    let mut report = Report {
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
            add_unfinished(&mut report, run, step).await?;
            continue;
        };
        report.steps.push(StepReport {
            step: step.name().to_string(),
            seconds: record.cost.seconds,
            peak_memory_bytes: record.cost.peak_memory_bytes,
        });
        report.rows.extend(
            record
                .files
                .iter()
                .map(|(table, files)| (table.clone(), files.iter().map(|file| file.rows).sum())),
        );
        for (name, count) in record.counts {
            *report.counts.entry(name).or_default() += count;
        }
        report.checks.extend(record.checks);
        add_accounts(&mut report, record.accounts);
    }
    Ok(report)
}

/// What a step found before it failed.
async fn add_unfinished(report: &mut Report, run: &Run, step: Step) -> Result<()> {
    if step == Step::Checks {
        let results: Option<Vec<CheckResult>> = run.work.read_json(CHECK_RESULTS).await?;
        report.checks.extend(results.unwrap_or_default());
    }
    if let Some(accounts) = run.work.read_json(&counted(step)).await? {
        add_accounts(report, accounts);
    }
    Ok(())
}

fn add_accounts(report: &mut Report, accounts: Accounts) {
    let accounts = accounts.into_iter();
    let named = accounts.map(|(source, account)| SourceAccount { source, account });
    report.sources.extend(named);
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
