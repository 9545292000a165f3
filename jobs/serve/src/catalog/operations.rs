//! Schema ops: what the runs' reports say, as tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::catalog::{MemTable, TableProvider};

use super::history;
use graph_recs_warehouse::report::{Report, Severity};
use graph_recs_warehouse::{Publication, Table};

/// The tables of schema `ops`.
pub fn tables(publications: &[Publication]) -> Result<BTreeMap<String, Arc<dyn TableProvider>>> {
    let mut reports: Vec<Report> = Vec::new();
    for publication in history::last_of_each_run(publications.to_vec()) {
        let report = serde_json::from_str(&publication.report);
        reports.push(report.with_context(|| format!("report of run {}", publication.run_id))?);
    }
    let tables = [
        ("runs", runs(publications)?),
        ("steps", steps(&reports)?),
        ("checks", checks(&reports)?),
        ("left_out", left_out(&reports)?),
        ("counts", counts(&reports)?),
    ];
    let mut named: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
    for (name, rows) in tables {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        named.insert(name.to_string(), Arc::new(table));
    }
    Ok(named)
}

fn text<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from(values.into_iter().collect::<Vec<_>>()))
}

fn number(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    let values = values.into_iter();
    Arc::new(Int64Array::from_iter(
        values.map(|value| i64::try_from(value).ok()),
    ))
}

fn moment(values: impl Iterator<Item = chrono::DateTime<chrono::Utc>>) -> ArrayRef {
    let values = values.map(|at| at.timestamp_micros());
    let values: Vec<i64> = values.collect();
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
}

fn runs(publications: &[Publication]) -> Result<RecordBatch> {
    let each = || publications.iter();
    let newest = publications.last().map(|publication| publication.number);
    let is_current: BooleanArray = each().map(|p| Some(Some(p.number) == newest)).collect();
    let hashes: StringArray = each().map(|p| p.model_hash.as_deref()).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("publication", number(each().map(|p| p.number))),
        ("run_id", text(each().map(|p| p.run_id.as_str()))),
        ("as_of", moment(each().map(|p| p.as_of))),
        ("published_at", moment(each().map(|p| p.published_at))),
        ("kind", text(each().map(|p| p.kind.name()))),
        ("is_current", Arc::new(is_current)),
    ];
    for table in Table::ALL {
        let rows = number(each().map(|p| *p.rows.get(table)));
        columns.push((table.name(), rows));
    }
    columns.push(("model_hash", Arc::new(hashes)));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn steps(reports: &[Report]) -> Result<RecordBatch> {
    let each = || {
        reports
            .iter()
            .flat_map(|report| report.steps.iter().map(move |step| (report, step)))
    };
    let seconds = Float64Array::from(each().map(|(_, step)| step.seconds).collect::<Vec<_>>());
    Ok(RecordBatch::try_from_iter([
        (
            "run_id",
            text(each().map(|(report, _)| report.run_id.as_str())),
        ),
        ("step", text(each().map(|(_, step)| step.step.as_str()))),
        ("seconds", Arc::new(seconds) as ArrayRef),
        (
            "peak_memory_bytes",
            number(each().map(|(_, step)| step.peak_memory_bytes)),
        ),
    ])?)
}

fn checks(reports: &[Report]) -> Result<RecordBatch> {
    let each = || {
        reports
            .iter()
            .flat_map(|report| report.checks.iter().map(move |check| (report, check)))
    };
    let severity = |severity| match severity {
        Severity::Error => "error",
        Severity::Warn => "warn",
    };
    let found = Int64Array::from(each().map(|(_, check)| check.count).collect::<Vec<_>>());
    Ok(RecordBatch::try_from_iter([
        (
            "run_id",
            text(each().map(|(report, _)| report.run_id.as_str())),
        ),
        ("name", text(each().map(|(_, check)| check.name.as_str()))),
        (
            "severity",
            text(each().map(|(_, check)| severity(check.severity))),
        ),
        ("violations", Arc::new(found) as ArrayRef),
        (
            "description",
            text(each().map(|(_, check)| check.says.as_str())),
        ),
    ])?)
}

fn left_out(reports: &[Report]) -> Result<RecordBatch> {
    let mut rows: Vec<(&str, &str, &str, u64)> = Vec::new();
    for report in reports {
        for source in &report.sources {
            let (run, name) = (report.run_id.as_str(), source.source.as_str());
            rows.push((run, name, "read", source.account.read));
            rows.push((run, name, "used", source.account.used));
            let reasons = source.account.left_out.iter();
            rows.extend(reasons.map(|(reason, records)| (run, name, reason.as_str(), *records)));
        }
    }
    Ok(RecordBatch::try_from_iter([
        ("run_id", text(rows.iter().map(|row| row.0))),
        ("source", text(rows.iter().map(|row| row.1))),
        ("reason", text(rows.iter().map(|row| row.2))),
        ("records", number(rows.iter().map(|row| row.3))),
    ])?)
}

fn counts(reports: &[Report]) -> Result<RecordBatch> {
    let each = || {
        reports
            .iter()
            .flat_map(|report| report.counts.iter().map(move |count| (report, count)))
    };
    let counted = Int64Array::from(each().map(|(_, (_, count))| *count).collect::<Vec<_>>());
    Ok(RecordBatch::try_from_iter([
        (
            "run_id",
            text(each().map(|(report, _)| report.run_id.as_str())),
        ),
        ("name", text(each().map(|(_, (name, _))| name.as_str()))),
        ("count", Arc::new(counted) as ArrayRef),
    ])?)
}
