//! Step 2: how good each author's reputation is, by the model or from a file.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::BufRead;

use anyhow::{Context, Result, bail};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema};
use datafusion::prelude::CsvReadOptions;
use futures::StreamExt;
use graph_recs_sql::session;
use graph_recs_udfs::scan::Source;

use super::accounts;
use super::run::{Run, Step, StepRecord, counted};
use super::work::single_row;
use crate::progress::StepBar;
use crate::warehouse::{DataFile, Table};

/// Copies of messages, in the weeks and outside of them.
pub(crate) const DUPLICATES: &str = "SELECT count(*) AS copies, \
     sum(CASE WHEN week BETWEEN 1 AND 27 THEN 0 ELSE 1 END) AS outside_weeks \
     FROM duplicate_messages WHERE rank > 1";
const MESSAGES_USED: &str = "SELECT sum(messages) AS messages, sum(CAST(weeks AS BIGINT)) AS weekly_documents FROM user_reputations";
const GIVEN_UNFIT: &str = "SELECT count(*) AS unfit FROM given_scores \
     WHERE user_id IS NULL OR user_id NOT BETWEEN 1 AND 2147483647 OR pred IS NULL OR NOT (pred >= 0 AND pred <= 1)";
const GIVEN_TWICE: &str = "SELECT count(*) AS twice FROM \
     (SELECT user_id FROM given_scores GROUP BY user_id HAVING count(*) > 1)";

impl Run {
    pub(super) async fn reputation_scores_here(&self, bar: &StepBar) -> Result<StepRecord> {
        let mut record = if self.job.options.reputation_scores.is_some() {
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
        for view in ["message_records", "duplicate_ids"] {
            session::define(&self.context, view, &parameters).await?;
        }
        bar.says("counting messages");
        let summary = session::query(&self.context, "message_summary", &parameters)
            .await?
            .collect()
            .await?;
        let mut accounts = accounts::from_summary(&summary)?;
        let quarantine = accounts::quarantine(&summary)?;
        self.work
            .write_rows(
                "quarantine-messages",
                accounts::quarantine_batch(&quarantine)?,
            )
            .await?;
        self.work
            .write_json(&counted(Step::ReputationScores), &accounts)
            .await?;
        let limit = self.job.options.max_bad_share;
        accounts::require_readable(
            &accounts,
            &quarantine,
            &[Source::Message],
            &self.job.input,
            limit,
        )?;

        bar.says("looking for copies");
        session::hold(&self.context, "duplicate_messages", &parameters).await?;
        session::define(&self.context, "weekly_messages", &parameters).await?;

        bar.says("reading and scoring messages");
        let reputations = session::query(&self.context, "user_reputations", &parameters).await?;
        self.work
            .write_table("user_reputations", reputations)
            .await?;
        self.work
            .register_table(&self.context, "user_reputations")
            .await?;

        let duplicates = single_row(self.context.sql(DUPLICATES).await?).await?;
        let used = single_row(self.context.sql(MESSAGES_USED).await?).await?;
        let value = |values: &BTreeMap<String, i64>, name: &str| -> i64 {
            values.get(name).copied().unwrap_or(0)
        };
        let account = accounts
            .entry(Source::Message.name().to_string())
            .or_default();
        account.used = u64::try_from(value(&used, "messages"))?;
        let copies = u64::try_from(value(&duplicates, "copies"))?;
        if copies > 0 {
            // A copy outside of the weeks was counted as that before it was known to be a copy.
            let outside = u64::try_from(value(&duplicates, "outside_weeks"))?;
            if let Some(counted) = account.left_out.get_mut("outside_weeks") {
                *counted = counted.saturating_sub(outside);
            }
            account.left_out.insert("duplicate".into(), copies);
        }
        Ok(StepRecord {
            accounts,
            counts: [
                (
                    "weekly_documents".to_string(),
                    value(&used, "weekly_documents"),
                ),
                ("quarantined".to_string(), i64::try_from(quarantine.len())?),
            ]
            .into(),
            ..StepRecord::default()
        })
    }

    /// The reputations of a file, as the model would have given them.
    pub(super) async fn given_reputations(&self) -> Result<DataFile> {
        let Some(file) = &self.job.options.reputation_scores else {
            bail!("no scores are given");
        };
        let shown = file.display();
        let schema = Schema::new(vec![
            Field::new("user_id", DataType::Int64, true),
            Field::new("pred", DataType::Float64, true),
        ]);
        let options = CsvReadOptions::new()
            .schema(&schema)
            .has_header(true)
            .file_extension("");
        let path = file
            .to_str()
            .with_context(|| format!("{shown} is not a UTF-8 path"))?;
        let unreadable = || {
            format!(
                "--reputation-scores {shown}: it needs the header user_id,pred and a row a user"
            )
        };
        let mut header = String::new();
        std::io::BufReader::new(std::fs::File::open(file).with_context(unreadable)?)
            .read_line(&mut header)
            .with_context(unreadable)?;
        if header.trim_end().trim_start_matches('\u{feff}') != "user_id,pred" {
            bail!(
                "{}, but its first line is {:?}",
                unreadable(),
                header.trim_end()
            );
        }
        self.context
            .register_csv("given_scores", path, options)
            .await
            .with_context(unreadable)?;
        let unfit = single_row(self.context.sql(GIVEN_UNFIT).await?)
            .await
            .with_context(unreadable)?;
        if unfit.values().any(|count| *count > 0) {
            bail!(
                "--reputation-scores {shown}: {} rows have no user id from 1 to 2147483647 or no pred from 0 to 1",
                unfit.values().sum::<i64>()
            );
        }
        let twice = single_row(self.context.sql(GIVEN_TWICE).await?).await?;
        if twice.values().any(|count| *count > 0) {
            bail!(
                "--reputation-scores {shown}: {} users have more than one row",
                twice.values().sum::<i64>()
            );
        }
        let parameters = self.job.options.parameters.values();
        let reputations = session::query(&self.context, "given_reputations", &parameters).await?;
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
