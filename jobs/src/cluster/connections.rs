//! Step 1 on a cluster: staging the engagements by user, and whom each user is closest to.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use datafusion::prelude::SessionContext;
use graph_recs_sql::cluster::{Form, PieceFile, Written};
use graph_recs_udfs::scan::Source;

use super::session::Cluster;
use crate::pipeline::cluster_parts::{
    Account, Accounts, CONNECTIONS_TALLY, ENGAGEMENT_SOURCES, Job, SUSPENDED, StepRecord,
    from_summary, numbers, settle, settle_users,
};
use graph_recs_warehouse::Table;

/// A source's staged pieces.
pub type Staged = BTreeMap<&'static str, Vec<Written>>;

impl Cluster {
    /// Stages engagements and users, a piece of bytes at a time.
    pub(super) async fn engagements(&self, job: &Job) -> Result<Staged> {
        let mut staged = Staged::new();
        for source in ENGAGEMENT_SOURCES {
            let pieces = self.stage(job, source, self.buckets(), "engagements");
            staged.insert(source.name(), pieces.await?);
        }
        staged.insert(
            Source::User.name(),
            self.stage(job, Source::User, 1, "users").await?,
        );
        Ok(staged)
    }

    /// The suspended users, in a file that every bucket reads.
    pub(super) async fn suspended(&self, users: &[Written]) -> Result<Written> {
        self.expect("suspended", 1);
        let plan = || async {
            let context = self.context()?;
            self.raw_schema(&context)?;
            self.users(&context, users).await?;
            self.plan(&context, "suspended_users").await
        };
        let target = self.file("suspended", "all", Form::Unordered);
        let known = Self::staged_account(users).read;
        self.make("suspended", "all", target, plan, |written| {
            at_most("suspended users", written.digest.rows, known)
        })
        .await
    }

    /// Makes the staged users known as the raw source, with those of which only the id can be read.
    pub(super) async fn users(&self, context: &SessionContext, users: &[Written]) -> Result<()> {
        let files = users.iter().map(Written::file).collect();
        self.raw(context, Source::User, files, "true").await?;
        let refused = users.iter().filter_map(|piece| piece.unreadable.as_ref());
        let refused: Vec<PieceFile> = refused.map(|found| found.file.clone()).collect();
        if refused.is_empty() {
            return Ok(());
        }
        self.files(context, "refused", refused).await?;
        let all = context
            .sql(
                "SELECT * FROM raw.users UNION ALL \
                 SELECT user_id, CAST(NULL AS BOOLEAN), reason, file, line, raw FROM refused",
            )
            .await?
            .into_view();
        context.deregister_table("raw.users")?;
        context.register_table("raw.users", all)?;
        Ok(())
    }

    /// What staging read of a source: records, and those that could not be read by reason.
    pub(super) fn staged_account(pieces: &[Written]) -> Account {
        let mut account = Account::default();
        for piece in pieces {
            account.read += piece.digest.rows;
            for (reason, records) in piece.unreadable.iter().flat_map(|found| &found.reasons) {
                account.read += records;
                *account.left_out.entry(reason.clone()).or_default() += records;
            }
        }
        account
    }

    /// The quarantine of some sources as one file: sorted, its bytes never in this process.
    pub(super) async fn quarantine(&self, name: &str, pieces: &[&Written]) -> Result<u64> {
        let found = || pieces.iter().filter_map(|piece| piece.unreadable.as_ref());
        let records: u64 = found().flat_map(|found| found.reasons.values()).sum();
        if records == 0 {
            return Ok(0);
        }
        self.expect("quarantine", 1);
        let files: Vec<PieceFile> = found().map(|found| found.file.clone()).collect();
        let plan = || async {
            let context = self.context()?;
            self.files(&context, "refused", files).await?;
            let sql = "SELECT source, file, line, reason, raw FROM refused ORDER BY source, file, line, reason, raw";
            self.statement(&context, sql).await
        };
        let target = self.file("quarantine", name, Form::Unordered);
        let written = self
            .make("quarantine", name, target, plan, |written| {
                same("quarantined records", written.digest.rows, records)
            })
            .await?;
        self.book
            .publish_file(&written, &format!("{name}.parquet"))
            .await?;
        Ok(records)
    }

    /// The files of one bucket of a source.
    pub(super) fn bucket_files(staged: &Staged, source: Source, bucket: u32) -> Vec<PieceFile> {
        let pieces = staged.get(source.name()).into_iter().flatten();
        pieces.flat_map(|piece| piece.bucket(bucket)).collect()
    }

    /// Step 1.
    pub(crate) async fn closest_connections(&self, job: &Job) -> Result<StepRecord> {
        let staged = self.engagements(job).await?;
        let mut accounts = Accounts::new();
        for (source, pieces) in &staged {
            accounts.insert(source.to_string(), Self::staged_account(pieces));
        }
        let all: Vec<&Written> = staged.values().flatten().collect();
        let quarantined = self.quarantine("quarantine-engagements", &all).await?;
        job.require_readable(self, &accounts, &all).await?;
        let users = staged.get(Source::User.name()).context("no users")?;
        let suspended = self.suspended(users).await?;

        let buckets = self.buckets();
        self.expect("counts", buckets as usize);
        self.expect("connections", buckets as usize);
        self.expect("connection tables", buckets as usize);
        self.expect("tallies", buckets as usize);
        let parts = self
            .each(0..buckets, |bucket| {
                self.connections_of(&staged, &suspended, bucket)
            })
            .await?;

        let mut record = StepRecord::default();
        let mut with_connections = 0;
        for part in parts {
            for (source, counted) in part.accounts {
                let account = accounts.entry(source).or_default();
                account.used += counted.used;
                for (reason, records) in counted.left_out {
                    *account.left_out.entry(reason).or_default() += records;
                }
            }
            with_connections += part.users;
            record.add_file(Table::ClosestConnections, self.book.data_file(&part.table)?);
        }
        settle_users(&mut accounts);
        record.accounts = accounts;
        record.counts = [
            ("users_with_connections".to_string(), with_connections),
            ("quarantined".to_string(), i64::try_from(quarantined)?),
            (SUSPENDED.to_string(), i64::try_from(suspended.digest.rows)?),
        ]
        .into();
        record.counts.extend(job.columns().await?);
        self.book
            .publish_file(&suspended, &format!("{SUSPENDED}.parquet"))
            .await?;
        Ok(record)
    }

    async fn connections_of(
        &self,
        staged: &Staged,
        suspended: &Written,
        bucket: u32,
    ) -> Result<Part> {
        let piece = format!("{bucket:05}");
        let context = self.context()?;
        self.raw_schema(&context)?;
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for source in ENGAGEMENT_SOURCES {
            let files = Self::bucket_files(staged, source, bucket);
            self.raw(&context, source, files, "true").await?;
            let segments = staged.get(source.name()).into_iter().flatten();
            let segments = segments.flat_map(|piece| &piece.segments);
            let rows = segments.filter(|segment| segment.bucket == bucket);
            expected.insert(
                source.name().into(),
                rows.map(|found| found.digest.rows).sum(),
            );
        }
        self.table(&context, "suspended_users", &[suspended], false)
            .await?;
        self.define(&context, &["engagement_records", "engagements"])
            .await?;

        let left_out = self.plan(&context, "left_out_engagements").await?;
        let left_out = self.ask("counts", &piece, left_out, |rows| {
            let counted = from_summary(rows).map_err(|error| error.to_string())?;
            for (source, records) in &expected {
                let found = counted.get(source).map_or(0, |account| account.read);
                at_most(&format!("{source} records left out"), found, *records)?;
            }
            Ok(())
        });
        let connections = self.make(
            "connections",
            &piece,
            self.file("connections", &piece, Form::Intermediate),
            || self.plan(&context, "user_connections"),
            |_| Ok(()),
        );
        let (left_out, connections) = tokio::try_join!(left_out, connections)?;
        let mut accounts = from_summary(&left_out)?;
        for (source, records) in expected {
            accounts.entry(source).or_default().read = records;
        }

        let context = self.context()?;
        self.table(&context, "user_connections", &[&connections], true)
            .await?;
        let weights = connections.digest.sum("connections[].weight");
        let table = self.make(
            "connection tables",
            &piece,
            self.part(Table::ClosestConnections, &piece),
            || self.plan(&context, "closest_connections"),
            |table| {
                let listed = connections.digest.sum("connections") as u64;
                same("closest connections", table.digest.rows, listed)?;
                self.same_weights(weights, &table.digest)
            },
        );
        let tally = self.statement(&context, CONNECTIONS_TALLY).await?;
        let tally = self.ask("tallies", &piece, tally, |rows| {
            // Every engagement that counts is used or a copy, source by source.
            let tally = numbers(rows).map_err(|error| error.to_string())?;
            for (source, account) in &accounts {
                let left_out: u64 = account.left_out.values().sum();
                let of = |kind: &str| tally.get(&format!("{kind}_{source}")).copied().unwrap_or(0);
                let found = of("used") + of("duplicate");
                same(
                    &format!("{source} engagements"),
                    found as u64,
                    account.read - left_out,
                )?;
            }
            Ok(())
        });
        let (table, tally) = tokio::try_join!(table, tally)?;
        settle(&mut accounts, &numbers(&tally)?)?;
        Ok(Part {
            users: i64::try_from(connections.digest.rows)?,
            accounts,
            table,
        })
    }

    /// Whether published weights are those in seconds, but for the eighth place's rounding.
    pub(super) fn same_weights(
        &self,
        seconds: i64,
        table: &graph_recs_sql::cluster::Digest,
    ) -> Result<(), String> {
        let lookback = self.lookback_seconds();
        let published = table.sum("weight") as f64 / 1e8;
        let expected = seconds as f64 / lookback;
        let rounding = 0.5e-8 * table.rows as f64 + expected.abs() * 1e-12;
        if (published - expected).abs() <= rounding + 1e-8 {
            return Ok(());
        }
        Err(format!(
            "weights add up to {published} instead of {expected}"
        ))
    }
}

/// One bucket's closest connections.
struct Part {
    users: i64,
    accounts: Accounts,
    table: Written,
}

/// Refuses a count that is not the one expected.
pub(super) fn same(what: &str, found: u64, expected: u64) -> Result<(), String> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{found} {what} instead of {expected}"))
}

fn at_most(what: &str, found: u64, limit: u64) -> Result<(), String> {
    if found <= limit {
        return Ok(());
    }
    Err(format!("{found} {what} of {limit}"))
}
