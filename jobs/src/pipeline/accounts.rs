//! The accounts of a run: for every source the records read, used, and left out by reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use graph_recs_sql::Input;
use graph_recs_udfs::records::Reason;
use graph_recs_udfs::scan::Source;
use graph_recs_udfs::text::shown;
use graph_recs_warehouse::report::Account;

/// Accounts by source name.
pub type Accounts = BTreeMap<String, Account>;

/// A source's share of unreadable records is over the limit.
#[derive(Debug, thiserror::Error)]
#[error(
    "{unreadable} of {read} records of source {source_name} cannot be read ({share:.2} %, more than the {limit:.2} % \
     of --max-bad-share), first {first}; mend the export, or raise --max-bad-share when that is known and accepted"
)]
pub struct TooManyUnreadable {
    source_name: String,
    unreadable: u64,
    read: u64,
    share: f64,
    limit: f64,
    first: String,
}

/// Sorts the rows of a summary plan (source, left_out, records) into accounts. What is neither
/// left out nor a copy is used only once a step says so, hence it stays out of `used` here.
pub fn from_summary(batches: &[RecordBatch]) -> Result<Accounts> {
    let mut accounts = Accounts::new();
    for batch in batches {
        let texts = |name: &str| -> Result<StringArray> { text_column(batch, name) };
        let (sources, left_out) = (texts("source")?, texts("left_out")?);
        let records = batch
            .column_by_name("records")
            .context("a summary without records")?;
        let records = records.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let account = accounts.entry(sources.value(row).to_string()).or_default();
            let count = u64::try_from(records.value(row))?;
            account.read += count;
            if left_out.is_valid(row) {
                *account
                    .left_out
                    .entry(left_out.value(row).to_string())
                    .or_default() += count;
            }
        }
    }
    Ok(accounts)
}

/// Enters what the tallies of the engagements say (`used_<source>`, `duplicate_<source>`).
pub fn settle(accounts: &mut Accounts, tallies: &BTreeMap<String, i64>) -> Result<()> {
    for (name, count) in tallies {
        let (kind, source) = name.split_once('_').context("a tally without a source")?;
        let account = accounts.entry(source.to_string()).or_default();
        let count = u64::try_from(*count)?;
        match kind {
            "used" => account.used = count,
            _ if count > 0 => {
                account.left_out.insert("duplicate".into(), count);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Users have no copies: everything that is not left out is used.
pub fn settle_users(accounts: &mut Accounts) {
    if let Some(users) = accounts.get_mut(Source::User.name()) {
        users.used = users.read - users.left_out.values().sum::<u64>();
    }
}

/// Enters what the tally of message copies says (`copies`, `outside_weeks`). A copy outside of the weeks was counted as
/// that before it was known to be a copy.
pub fn settle_messages(account: &mut Account, tally: &BTreeMap<String, i64>) -> Result<()> {
    let count = |name: &str| u64::try_from(tally.get(name).copied().unwrap_or(0));
    let copies = count("copies")?;
    if copies > 0 {
        let outside = count("outside_weeks")?;
        if let Some(counted) = account.left_out.get_mut("outside_weeks") {
            *counted = counted.saturating_sub(outside);
        }
        account.left_out.insert("duplicate".into(), copies);
    }
    Ok(())
}

/// The records that cannot be read among rows of (source, left_out, file, line, raw), which for others are null in `file`.
pub fn quarantine(batches: &[RecordBatch]) -> Result<Vec<Unreadable>> {
    let mut found = Vec::new();
    for batch in batches {
        let texts = |name: &str| -> Result<StringArray> { text_column(batch, name) };
        let (sources, reasons) = (texts("source")?, texts("left_out")?);
        let (files, raws) = (texts("file")?, texts("raw")?);
        let lines = batch
            .column_by_name("line")
            .context("a summary without line")?
            .as_primitive::<Int64Type>();
        for row in (0..batch.num_rows()).filter(|row| files.is_valid(*row)) {
            found.push(Unreadable {
                source: sources.value(row).to_string(),
                file: files.value(row).to_string(),
                line: lines.value(row),
                reason: reasons.value(row).to_string(),
                raw: raws.value(row).to_string(),
            });
        }
    }
    found.sort();
    Ok(found)
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// Source name.
    pub source: String,
    /// File, relative to the input folder.
    pub file: String,
    /// Line in the file, from 1.
    pub line: i64,
    /// Why.
    pub reason: String,
    /// The record as it stands there.
    pub raw: String,
}

/// The quarantine's columns.
pub fn quarantine_batch(records: &[Unreadable]) -> Result<RecordBatch> {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let schema = Schema::new(vec![
        text("source"),
        text("file"),
        Field::new("line", DataType::Int64, false),
        text("reason"),
        text("raw"),
    ]);
    let strings = |of: fn(&Unreadable) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(records.iter().map(of)))
    };
    let columns = vec![
        strings(|record| &record.source),
        strings(|record| &record.file),
        Arc::new(Int64Array::from_iter_values(
            records.iter().map(|record| record.line),
        )) as ArrayRef,
        strings(|record| &record.reason),
        strings(|record| &record.raw),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// Fails when a source has no record, or more unreadable ones than `max_bad_share` (0 to 1) allows.
pub fn require_readable(
    accounts: &Accounts,
    quarantine: &[Unreadable],
    sources: &[Source],
    input: &Input,
    max_bad_share: f64,
) -> Result<()> {
    for source in sources {
        let name = source.name();
        let read = accounts.get(name).map_or(0, |account| account.read);
        if read == 0 {
            bail!(input.empty(*source));
        }
        let mut unreadable = quarantine
            .iter()
            .filter(|record| record.source == name)
            .peekable();
        let first = unreadable.peek().map(|record| {
            format!(
                "{} line {}: {}: {:.200}",
                shown(&record.file),
                record.line,
                record.reason,
                shown(&record.raw)
            )
        });
        let unreadable = unreadable.count() as u64;
        unreadable_share(*source, unreadable, read, max_bad_share, || {
            first.unwrap_or_default()
        })?;
    }
    Ok(())
}

/// Fails when `unreadable` of a source's `read` records are more than `max_bad_share` (0 to 1) allows; `first` tells
/// the first of them.
pub fn unreadable_share(
    source: Source,
    unreadable: u64,
    read: u64,
    max_bad_share: f64,
    first: impl FnOnce() -> String,
) -> Result<()> {
    let share = unreadable as f64 / read as f64;
    if share > max_bad_share {
        bail!(TooManyUnreadable {
            source_name: source.name().to_string(),
            unreadable,
            read,
            share: share * 100.0,
            limit: max_bad_share * 100.0,
            first: first(),
        });
    }
    Ok(())
}

/// The accounts as a table for the checks: source, fate (read, used, left_out), reason, records.
pub fn as_table(accounts: &Accounts) -> Result<RecordBatch> {
    let mut rows: Vec<(&str, &str, Option<&str>, i64)> = Vec::new();
    for (source, account) in accounts {
        rows.push((source, "read", None, i64::try_from(account.read)?));
        rows.push((source, "used", None, i64::try_from(account.used)?));
        for (reason, records) in &account.left_out {
            rows.push((source, "left_out", Some(reason), i64::try_from(*records)?));
        }
    }
    let schema = Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("fate", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, true),
        Field::new("records", DataType::Int64, false),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.2))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.3))),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

/// Whether a reason is one for which a record cannot be read, rather than one for which it does not count.
pub fn is_unreadable(reason: &str) -> bool {
    Reason::ALL.iter().any(|known| known.as_str() == reason)
}

fn text_column(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch
        .column_by_name(name)
        .with_context(|| format!("a summary without {name}"))?;
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
}
