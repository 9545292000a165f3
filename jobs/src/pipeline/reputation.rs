//! Step 2: how good each author's reputation is, by the model or from a file.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Result, bail};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int32Type;
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use graph_recs_sql::session;
use graph_recs_sql::tee::tee;
use graph_recs_udfs::scan::Source;

use super::accounts::{self, Accounts};
use super::run::{Run, Step, StepRecord, counted};
use super::work::single_row;
use crate::progress::StepBar;
use graph_recs_warehouse::{DataFile, Table};

/// Copies of messages, in the weeks and outside of them: for [`accounts::settle_messages`].
pub(crate) const DUPLICATES: &str = "SELECT count(*) AS copies, \
     sum(CASE WHEN week BETWEEN 1 AND 27 THEN 0 ELSE 1 END) AS outside_weeks \
     FROM duplicate_messages WHERE copy > 1";
const MESSAGES_USED: &str = "SELECT sum(messages) AS messages, sum(CAST(weeks AS BIGINT)) AS weekly_documents FROM user_reputations";

impl Run {
    pub(super) async fn reputation_scores_here(&self, bar: &StepBar) -> Result<StepRecord> {
        let mut record = if self.job.given_scores.is_some() {
            self.given_reputations().await?;
            StepRecord::default()
        } else {
            self.scored_reputations(bar).await?
        };
        bar.says("writing scores");
        let file = self.write_published(Table::ReputationScores).await?;
        record.add_file(Table::ReputationScores, file);
        self.write_score_file().await?;
        Ok(record)
    }

    async fn scored_reputations(&self, bar: &StepBar) -> Result<StepRecord> {
        let parameters = self.job.options.parameters.values();
        bar.says("reading and scoring messages");
        let records = session::query(&self.context, "message_records", &parameters).await?;
        tee(&self.context, "message_records", records, 3).await?;
        let copies = session::query(&self.context, "duplicate_messages", &parameters).await?;
        tee(&self.context, "duplicate_messages", copies, 2).await?;
        session::define(&self.context, "weekly_messages", &parameters).await?;
        let summary = session::query(&self.context, "message_summary", &parameters).await?;
        let scoring = session::in_large_batches(&self.context);
        let reputations = session::query(&scoring, "user_reputations", &parameters).await?;
        let counted = async {
            let summary = summary.collect().await?;
            self.count_messages(&summary).await
        };
        let ((mut accounts, quarantined), _, duplicates) = tokio::try_join!(
            counted,
            self.work.write_table("user_reputations", reputations),
            async { single_row(self.context.sql(DUPLICATES).await?).await },
        )?;
        self.work
            .register_table(&self.context, "user_reputations")
            .await?;

        let used = single_row(self.context.sql(MESSAGES_USED).await?).await?;
        let value = |values: &BTreeMap<String, i64>, name: &str| -> i64 {
            values.get(name).copied().unwrap_or(0)
        };
        let account = accounts
            .entry(Source::Message.name().to_string())
            .or_default();
        account.used = u64::try_from(value(&used, "messages"))?;
        accounts::settle_messages(account, &duplicates)?;
        Ok(StepRecord {
            accounts,
            counts: [
                (
                    "weekly_documents".to_string(),
                    value(&used, "weekly_documents"),
                ),
                ("quarantined".to_string(), i64::try_from(quarantined)?),
            ]
            .into(),
            ..StepRecord::default()
        })
    }

    /// Accounts of the messages, as far as each by itself tells, and how many cannot be read, which must not be too many.
    async fn count_messages(&self, summary: &[RecordBatch]) -> Result<(Accounts, usize)> {
        let accounts = accounts::from_summary(summary)?;
        let quarantine = accounts::quarantine(summary)?;
        self.work
            .write_rows(
                "quarantine-messages",
                accounts::quarantine_batch(&quarantine)?,
            )
            .await?;
        self.work
            .write_json(&counted(Step::ReputationScores), &accounts)
            .await?;
        accounts::require_readable(
            &accounts,
            &quarantine,
            &[Source::Message],
            &self.job.input,
            self.job.options.max_bad_share,
        )?;
        Ok((accounts, quarantine.len()))
    }

    /// The reputations of a file, as the model would have given them.
    async fn given(&self) -> Result<DataFrame> {
        let Some(given) = &self.job.given_scores else {
            bail!("no scores are given");
        };
        given.register(&self.context).await?;
        let parameters = self.job.options.parameters.values();
        Ok(session::query(&self.context, "given_reputations", &parameters).await?)
    }

    /// The reputations of a file as a piece that a cluster goes on with.
    pub(super) async fn given_piece(&self) -> Result<DataFile> {
        let reputations = self.given().await?;
        self.work.write_piece("user_reputations", reputations).await
    }

    /// The reputations of a file as the table that the next step reads.
    async fn given_reputations(&self) -> Result<DataFile> {
        let reputations = self.given().await?;
        let file = self
            .work
            .write_table("user_reputations", reputations)
            .await?;
        self.work
            .register_table(&self.context, "user_reputations")
            .await?;
        Ok(file)
    }

    /// Writes `reputation_score.csv`: header `user_id,pred`, six decimals, by user.
    async fn write_score_file(&self) -> Result<()> {
        let frame = self
            .context
            .sql("SELECT user_id, pred FROM user_reputations ORDER BY user_id")
            .await?;
        let mut rows = frame.execute_stream().await?;
        let mut text = String::from("user_id,pred\n");
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let users = batch.column(0).as_primitive::<Int32Type>();
            let preds = batch.column(1).as_primitive::<Int32Type>();
            for row in 0..batch.num_rows() {
                let pred = preds.value(row);
                writeln!(
                    text,
                    "{},{}.{:06}",
                    users.value(row),
                    pred / 1_000_000,
                    pred % 1_000_000
                )?;
            }
        }
        self.work
            .write_bytes("reputation_score.csv", text.into_bytes())
            .await
    }
}
