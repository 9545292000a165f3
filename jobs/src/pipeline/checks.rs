//! The quality checks: plain SQL, each a count that must be 0, before anything is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use futures::stream::{self, StreamExt, TryStreamExt};
use graph_recs_sql::plans::{CHECKS, Plan};
use graph_recs_sql::session;
use graph_recs_warehouse::report::{CheckResult, Severity};

use super::accounts::{self, Accounts};
use super::cluster_parts::{mean, name_and_mean};
use super::connections::{LAST_SUSPENDED, SUSPENDED, suspended_schema};
use super::run::{Run, Step, StepRecord};
use super::work::{WorkFolder, single_row};
use crate::cluster::Cluster;
use crate::progress::StepBar;
use graph_recs_warehouse::{Publication, Table};

/// Name of the file with the results, kept also when some check fails.
pub(super) const CHECK_RESULTS: &str = "check_results";

/// Means of the run published before: name, table, and how to ask for it.
pub(crate) const MEANS: [(&str, Table, &str); 2] = [
    (
        "pred",
        Table::ReputationScores,
        "SELECT avg(pred) FROM last_reputation_scores",
    ),
    (
        "score",
        Table::Recommendations,
        "SELECT avg(CAST(score AS DOUBLE)) FROM last_recommendations",
    ),
];

/// Some check of severity error failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "quality checks failed, nothing was published: {failed}. The candidate is kept for inspection; once the cause is \
     mended, remove _runs/{run} from the warehouse to compute it anew"
)]
pub struct ChecksFailed {
    run: String,
    failed: String,
}

impl Run {
    pub(super) async fn checks(&self, bar: &StepBar) -> Result<StepRecord> {
        let parameters = self.job.options.parameters.values();
        let mut counted = match &self.cluster {
            Some(cluster) => self.counted_by(cluster).await?,
            None => {
                self.hold_suspended_users().await?;
                self.register_checked().await?;
                session::join_in_partitions(&self.context);
                BTreeMap::new()
            }
        };
        let counted = CHECKS.iter().map(|check| {
            let known = counted.remove(check.name);
            let parameters = &parameters;
            async move {
                bar.says(check.name);
                let count = match known {
                    Some(count) => count,
                    None => {
                        let frame = session::query_plan(&self.context, check, parameters).await?;
                        let count = single_row(frame)
                            .await
                            .with_context(|| format!("sql/{}", check.path))?;
                        count.values().next().copied().unwrap_or(0)
                    }
                };
                let (severity, says) = check_header(check)?;
                anyhow::Ok(CheckResult {
                    name: check.name.to_string(),
                    severity,
                    says,
                    count,
                })
            }
        });
        let at_once = self.checks_at_once().await?;
        let results: Vec<CheckResult> = stream::iter(counted)
            .buffered(at_once)
            .try_collect()
            .await?;
        self.work.write_json(CHECK_RESULTS, &results).await?;
        let failed: Vec<String> = results
            .iter()
            .filter(|result| result.severity == Severity::Error && result.count != 0)
            .map(|result| {
                format!(
                    "{} ({}): {}",
                    result.name,
                    result.count,
                    result.says.trim_end_matches('.')
                )
            })
            .collect();
        if !failed.is_empty() {
            bail!(ChecksFailed {
                run: self.id.clone(),
                failed: failed.join("; ")
            });
        }
        Ok(StepRecord {
            checks: results,
            ..StepRecord::default()
        })
    }

    /// One check leaves cores idle while it ends: two are at work where both have the memory to hold a table for a join.
    async fn checks_at_once(&self) -> Result<usize> {
        const BYTES_A_ROW: u64 = 100;
        let files = self.files().await?;
        let rows =
            Table::ALL.map(|table| files.get(table).iter().map(|file| file.rows).sum::<u64>());
        let needed = rows.iter().sum::<u64>().saturating_mul(BYTES_A_ROW);
        let limit = self.job.options.engine.memory_limit;
        Ok(match limit.is_none_or(|limit| needed <= limit as u64) {
            true => 2,
            false => 1,
        })
    }

    /// What a cluster counts; the checks that it leaves out are asked here, of a few rows.
    async fn counted_by(&self, cluster: &Cluster) -> Result<BTreeMap<String, i64>> {
        let warehouse = &self.job.warehouse;
        let files = self.files().await?;
        let mut written = Vec::new();
        for table in Table::ALL {
            let rows: u64 = files.get(table).iter().map(|file| file.rows).sum();
            written.push((table.name(), i64::try_from(rows)?));
        }
        self.register_rows("written", name_and_rows(&written)?)?;
        self.register_rows("accounts", accounts::as_table(&self.accounts().await?)?)?;
        let last = self.job.published_before(&self.id).await?;
        let (mut rows, mut last_files) = (Vec::new(), None);
        if let Some(last) = &last {
            for table in Table::ALL {
                rows.push((table.name(), i64::try_from(*last.rows.get(table))?));
            }
            last_files = Some(warehouse.candidate_of(last).await?.files);
        }
        self.register_rows("previous_rows", name_and_rows(&rows)?)?;
        self.register_counts(last.as_ref()).await?;
        let last_run = last.map(|last| last.run_id);
        cluster
            .checks(&self.job, &files, last_files.as_ref(), last_run)
            .await
    }

    /// Makes the candidate's tables, the accounts and the last run's figures known to the checks.
    async fn register_checked(&self) -> Result<()> {
        let warehouse = &self.job.warehouse;
        let mut written = Vec::new();
        let files = self.files().await?;
        for table in Table::ALL {
            let rows: u64 = files.get(table).iter().map(|file| file.rows).sum();
            written.push((table.name(), i64::try_from(rows)?));
            self.context.register_table(
                table.name(),
                warehouse.candidate_provider(table, files.get(table))?,
            )?;
        }
        self.register_rows("written", name_and_rows(&written)?)?;
        self.register_rows("accounts", accounts::as_table(&self.accounts().await?)?)?;

        let last = self.job.published_before(&self.id).await?;
        self.register_counts(last.as_ref()).await?;
        self.register_last_suspended(last.as_ref()).await?;
        let (mut rows, mut means) = (Vec::new(), Vec::new());
        if let Some(last) = &last {
            for table in Table::ALL {
                rows.push((table.name(), i64::try_from(*last.rows.get(table))?));
                let provider = warehouse
                    .table_provider(table, *last.versions.get(table))
                    .await?;
                let name = format!("last_{}", table.name());
                self.context.register_table(name, provider)?;
            }
            for (name, _, sql) in MEANS {
                let found = self.context.sql(sql).await?.collect().await?;
                means.extend(mean(&found).map(|mean| (name, mean)));
            }
        }
        self.register_rows("previous_rows", name_and_rows(&rows)?)?;
        self.register_rows("previous_means", name_and_mean(&means)?)
    }

    /// Makes the counts of this run and of the one published before known to the checks.
    async fn register_counts(&self, last: Option<&Publication>) -> Result<()> {
        let record = self.record(Step::ClosestConnections).await?;
        let counts = record.unwrap_or_default().counts;
        let previous = last.and_then(Publication::report);
        let previous = previous.map(|report| report.counts).unwrap_or_default();
        for (name, counts) in [("counts", counts), ("previous_counts", previous)] {
            let rows: Vec<(&str, i64)> = counts
                .iter()
                .map(|(name, count)| (name.as_str(), *count))
                .collect();
            self.register_rows(name, name_and_rows(&rows)?)?;
        }
        Ok(())
    }

    /// Makes the users known who were suspended in the run published before; none where it did not keep them.
    async fn register_last_suspended(&self, last: Option<&Publication>) -> Result<()> {
        let kept = match last {
            Some(last) => {
                WorkFolder::new(Arc::clone(self.warehouse()), &last.run_id)
                    .read_rows(&self.context, SUSPENDED)
                    .await?
            }
            None => None,
        };
        let rows = kept.unwrap_or_else(|| RecordBatch::new_empty(suspended_schema()));
        self.register_rows(LAST_SUSPENDED, rows)
    }

    fn register_rows(&self, name: &str, rows: RecordBatch) -> Result<()> {
        self.context.register_batch(name, rows)?;
        Ok(())
    }

    /// The accounts of all sources read so far.
    pub(super) async fn accounts(&self) -> Result<Accounts> {
        let mut accounts = Accounts::new();
        for step in [Step::ClosestConnections, Step::ReputationScores] {
            if let Some(record) = self.record(step).await? {
                accounts.extend(record.accounts);
            }
        }
        Ok(accounts)
    }
}

/// Rows by table name, as a table for the checks.
pub(crate) fn name_and_rows(rows: &[(&str, i64)]) -> Result<RecordBatch> {
    let schema = Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("rows", DataType::Int64, false),
    ]);
    let names = StringArray::from_iter_values(rows.iter().map(|(name, _)| name));
    let counts = Int64Array::from_iter_values(rows.iter().map(|(_, rows)| *rows));
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(names), Arc::new(counts)],
    )?)
}

/// A check's severity and sentence, from the comment lines at its head.
pub fn check_header(check: &Plan) -> Result<(Severity, String)> {
    let mut lines = check.sql.lines().map_while(|line| line.strip_prefix("-- "));
    let severity = match lines.next() {
        Some("severity: error") => Severity::Error,
        Some("severity: warn") => Severity::Warn,
        _ => bail!("sql/{} does not begin with its severity", check.path),
    };
    Ok((severity, lines.collect::<Vec<_>>().join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_says_what_must_hold() {
        for check in CHECKS.iter().chain(graph_recs_sql::postgres::CHECKS) {
            let (_, says) = check_header(check).unwrap();
            assert!(says.ends_with('.'), "{}: {says}", check.path);
        }
    }
}
