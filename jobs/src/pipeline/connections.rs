//! Step 1: whom each user is closest to.

use std::sync::Arc;

use anyhow::Result;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use graph_recs_sql::session;
use graph_recs_sql::tee::tee;
use graph_recs_udfs::scan::Source;

use super::accounts;
use super::run::{Run, Step, StepRecord, counted};
use super::work::single_row;
use crate::progress::StepBar;
use graph_recs_warehouse::Table;

/// The engagement sources by the number that the plans give them.
pub(crate) const ENGAGEMENT_SOURCES: [Source; 4] =
    [Source::Follow, Source::Reply, Source::Mention, Source::Like];

/// The count of suspended users, and the file with their ids, which the next run compares with its own.
pub(crate) const SUSPENDED: &str = "suspended_users";
/// The table with those of the run published before.
pub(crate) const LAST_SUSPENDED: &str = "previous_suspended_users";

/// The column of users' ids.
pub(crate) fn suspended_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        "user_id",
        DataType::Int32,
        true,
    )]))
}

/// Sums of the engagements that were used and of further copies, by source.
pub(crate) const TALLY: &str = "SELECT \
     sum(used[1]) AS used_follow, sum(used[2]) AS used_reply, sum(used[3]) AS used_mention, sum(used[4]) AS used_like, \
     sum(duplicates[1]) AS duplicate_follow, sum(duplicates[2]) AS duplicate_reply, \
     sum(duplicates[3]) AS duplicate_mention, sum(duplicates[4]) AS duplicate_like \
     FROM user_connections";

impl Run {
    pub(super) async fn closest_connections_here(&self, bar: &StepBar) -> Result<StepRecord> {
        let parameters = self.job.options.parameters.values();
        self.hold_suspended_users().await?;
        let records = session::query(&self.context, "engagement_records", &parameters).await?;
        tee(&self.context, "engagement_records", records, 4).await?;
        session::define(&self.context, "engagements", &parameters).await?;
        let suspended = self
            .context
            .table("suspended_users")
            .await?
            .collect()
            .await?;
        let suspended = concat_batches(&suspended_schema(), &suspended)?;
        let suspended_users = i64::try_from(suspended.num_rows())?;
        self.work.write_rows(SUSPENDED, suspended).await?;
        let counts = session::query(&self.context, "engagement_counts", &parameters).await?;
        let left_out = session::query(&self.context, "left_out_engagements", &parameters).await?;
        let unreadable =
            session::query(&self.context, "unreadable_engagements", &parameters).await?;
        let user_summary = session::query(&self.context, "user_summary", &parameters).await?;
        let connections = session::query(&self.context, "user_connections", &parameters).await?;
        tee(&self.context, "user_connections", connections, 3).await?;

        bar.says("adding up engagements");
        let (mut summary, left_out, mut unreadable, user_summary, users, file, tallies) = tokio::try_join!(
            async { Ok(counts.collect().await?) },
            async { Ok(left_out.collect().await?) },
            async { Ok(unreadable.collect().await?) },
            async { Ok(user_summary.collect().await?) },
            async {
                let connections = self.context.table("user_connections").await?;
                self.work.write_table("user_connections", connections).await
            },
            self.write_published(Table::ClosestConnections),
            async { single_row(self.context.sql(TALLY).await?).await },
        )?;
        self.context.deregister_table("user_connections")?;
        self.work
            .register_table(&self.context, "user_connections")
            .await?;
        summary.extend(left_out);
        summary.extend(user_summary.clone());
        unreadable.extend(user_summary);

        let mut accounts = accounts::from_summary(&summary)?;
        let quarantine = accounts::quarantine(&unreadable)?;
        self.work
            .write_rows(
                "quarantine-engagements",
                accounts::quarantine_batch(&quarantine)?,
            )
            .await?;
        let sources: Vec<Source> = ENGAGEMENT_SOURCES
            .into_iter()
            .chain([Source::User])
            .collect();
        self.work
            .write_json(&counted(Step::ClosestConnections), &accounts)
            .await?;
        let limit = self.job.options.max_bad_share;
        accounts::require_readable(&accounts, &quarantine, &sources, &self.job.input, limit)?;

        accounts::settle(&mut accounts, &tallies)?;
        accounts::settle_users(&mut accounts);
        Ok(StepRecord {
            files: [(Table::ClosestConnections.name().to_string(), vec![file])].into(),
            accounts,
            counts: [
                (
                    "users_with_connections".to_string(),
                    i64::try_from(users.rows)?,
                ),
                ("quarantined".to_string(), i64::try_from(quarantine.len())?),
                (SUSPENDED.to_string(), suspended_users),
            ]
            .into_iter()
            .chain(self.job.columns().await?)
            .collect(),
            ..StepRecord::default()
        })
    }
}
