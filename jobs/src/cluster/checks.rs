//! The quality checks on a cluster.
//!
//! Most checks ask about users one by one, so their counts add up over buckets: each bucket is asked all of these
//! in one statement, with the tables that are looked up by another user whole. The others are asked once.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use datafusion::arrow::datatypes::Schema;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use graph_recs_sql::cluster::{PieceFile, PieceTable};
use graph_recs_sql::plans::CHECKS;
use graph_recs_udfs::scan::Source;

use super::session::Cluster;
use crate::pipeline::cluster_parts::{
    Job, LAST_SUSPENDED, MEANS, SUSPENDED, name_and_mean, name_and_rows, numbers, suspended_schema,
};
use graph_recs_warehouse::{DataFile, PerTable, Table};

/// Checks of whole tables: means, and counts of users who may be met in several buckets.
const WHOLE: [&str; 4] = [
    "scores_near_last_run",
    "users_known",
    "users_readable",
    "suspended_users_known",
];
/// Checks of a few numbers that the driver has.
pub(crate) const BY_THE_DRIVER: [&str; 4] = [
    "records_accounted_for",
    "row_counts_near_last_run",
    "columns_as_in_last_run",
    "suspended_users_near_last_run",
];
/// Checks that look a table up by another user than the row's, and the table.
const LOOKED_UP: [(&str, Table); 3] = [
    (
        "recommended_are_connections_of_reasons",
        Table::ClosestConnections,
    ),
    ("no_low_reputation_recommended", Table::ReputationScores),
    ("reasons_add_up_to_scores", Table::ReputationScores),
];

impl Cluster {
    /// The counts of all checks but those of the driver, by name. `last`: the files of the run published before;
    /// `last_run`: its name.
    pub(crate) async fn checks(
        &self,
        job: &Job,
        files: &PerTable<Vec<DataFile>>,
        last: Option<&PerTable<Vec<DataFile>>>,
        last_run: Option<String>,
    ) -> Result<BTreeMap<String, i64>> {
        let staged = self.engagements(job).await?;
        let users = staged.get(Source::User.name()).context("no users")?;
        let suspended = self.suspended(users).await?;
        let buckets = self.buckets();
        self.expect("checks", buckets as usize + WHOLE.len());
        let by_bucket = self.each(0..buckets, |bucket| {
            let (staged, suspended) = (&staged, &suspended);
            async move {
                let context = self.context()?;
                self.raw_schema(&context)?;
                let mut written = Vec::new();
                for table in Table::ALL {
                    let all = files.get(table);
                    let here = |file: &&DataFile| part_of(&file.path) == Some(bucket);
                    let mine: Vec<DataFile> = all.iter().filter(here).cloned().collect();
                    let rows: u64 = mine.iter().map(|file| file.rows).sum();
                    written.push((table.name(), i64::try_from(rows)?));
                    self.published(&context, table.name(), table, &mine)?;
                    self.published(&context, &whole(table), table, all)?;
                }
                context.register_batch("written", name_and_rows(&written)?)?;
                let follows = Self::bucket_files(staged, Source::Follow, bucket);
                self.raw(&context, Source::Follow, follows, "true").await?;
                self.table(&context, "suspended_users", &[suspended], false)
                    .await?;
                let counts = self.counts(&context, |name| !WHOLE.contains(&name)).await?;
                let piece = format!("{bucket:05}");
                numbers(&self.ask("checks", &piece, counts, |_| Ok(())).await?)
            }
        });
        let last_run = last_run.as_deref();
        let by_table = async {
            let means = self.last_means(last).await?;
            self.each(WHOLE, |check| {
                let (means, suspended) = (&means, &suspended);
                async move {
                    let context = self.context()?;
                    self.raw_schema(&context)?;
                    for table in Table::ALL {
                        self.published(&context, table.name(), table, files.get(table))?;
                    }
                    self.users(&context, users).await?;
                    self.table(&context, "suspended_users", &[suspended], false)
                        .await?;
                    self.last_suspended(&context, last_run).await?;
                    context.register_batch("previous_means", name_and_mean(means)?)?;
                    let counts = self.counts(&context, |name| name == check).await?;
                    numbers(&self.ask("checks", check, counts, |_| Ok(())).await?)
                }
            })
            .await
        };
        let (by_bucket, by_table) = tokio::try_join!(by_bucket, by_table)?;
        let mut counts = BTreeMap::new();
        for (name, count) in by_bucket.into_iter().chain(by_table).flatten() {
            *counts.entry(name).or_default() += count;
        }
        Ok(counts)
    }

    /// Makes the users known who were suspended in the run published before; none where it did not keep them.
    async fn last_suspended(&self, context: &SessionContext, run: Option<&str>) -> Result<()> {
        let file = match run {
            Some(run) => {
                self.book
                    .file_of(run, &format!("{SUSPENDED}.parquet"))
                    .await?
            }
            None => None,
        };
        let files = file.into_iter().collect();
        let table = PieceTable::new(self.store_url(), suspended_schema(), files, false);
        context.register_table(LAST_SUSPENDED, Arc::new(table))?;
        Ok(())
    }

    /// The means of the run published before.
    async fn last_means(
        &self,
        last: Option<&PerTable<Vec<DataFile>>>,
    ) -> Result<Vec<(&'static str, f64)>> {
        let Some(last) = last else {
            return Ok(Vec::new());
        };
        let mut means = Vec::new();
        for (name, table, sql) in MEANS {
            let context = self.context()?;
            let known_as = format!("last_{}", table.name());
            self.published(&context, &known_as, table, last.get(table))?;
            let plan = self.statement(&context, sql).await?;
            self.expect("checks", 1);
            let rows = self.ask("checks", &known_as, plan, |_| Ok(())).await?;
            means.extend(crate::pipeline::cluster_parts::mean(&rows).map(|mean| (name, mean)));
        }
        Ok(means)
    }

    /// Files of a published table as a table. Its columns may be null as far as the session knows: else it would
    /// take for granted that none is.
    fn published(
        &self,
        context: &SessionContext,
        name: &str,
        table: Table,
        files: &[DataFile],
    ) -> Result<()> {
        let schema = table.schema();
        let fields = schema.fields().iter();
        let nullable = fields.map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let files = files.iter().map(|file| PieceFile {
            path: self.book.in_store(&file.path),
            size: file.size,
            range: None,
        });
        let table = PieceTable::new(self.store_url(), schema, files.collect(), false);
        context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    /// One statement that counts what some checks count.
    async fn counts(
        &self,
        context: &SessionContext,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let asked = CHECKS
            .iter()
            .filter(|check| !BY_THE_DRIVER.contains(&check.name) && wanted(check.name));
        let columns: Vec<String> = asked
            .map(|check| {
                let mut sql = check.sql.to_string();
                for (name, table) in LOOKED_UP {
                    if name == check.name {
                        sql = sql.replace(table.name(), &whole(table));
                    }
                }
                format!("({sql}\n) AS {}", check.name)
            })
            .collect();
        let frame = context
            .sql(&format!("SELECT {}", columns.join(", ")))
            .await?
            .with_param_values(self.parameters().clone().into_iter().collect::<Vec<_>>())?;
        Ok(frame.create_physical_plan().await?)
    }
}

/// A table's name with the rows of all buckets.
fn whole(table: Table) -> String {
    format!("all_{}", table.name())
}

/// The bucket that a file's name tells.
fn part_of(path: &str) -> Option<u32> {
    let (_, name) = path.rsplit_once('/')?;
    name.strip_prefix("part-")?.get(..5)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_its_bucket() {
        assert_eq!(part_of("rec_reasons/run/part-00012-8a.parquet"), Some(12));
        assert_eq!(part_of("rec_reasons/run/other.parquet"), None);
    }

    #[test]
    fn every_special_check_is_there() {
        let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        let looked_up = LOOKED_UP.iter().map(|(name, _)| *name);
        for name in WHOLE.into_iter().chain(BY_THE_DRIVER).chain(looked_up) {
            assert!(names.contains(&name), "{name}");
        }
    }
}
