//! Step 2 on a cluster: staging the messages by author, and the authors' reputations.

use anyhow::{Context, Result};
use datafusion::prelude::SessionContext;
use graph_recs_sql::cluster::{Digest, Form, Segment, Written};
use graph_recs_udfs::scan::Source;

use super::connections::{Staged, same};
use super::session::Cluster;
use crate::pipeline::cluster_parts::{
    Accounts, DUPLICATES, Job, StepRecord, from_summary, numbers, settle_messages,
};
use graph_recs_warehouse::{DataFile, Table};

/// Ids that one task looks for copies among.
const IDS_A_PIECE: u64 = 20_000_000;

impl Cluster {
    /// Step 2, by the model.
    pub(crate) async fn scored_reputations(&self, job: &Job) -> Result<StepRecord> {
        let staged = Staged::from([(
            Source::Message.name(),
            self.stage(job, Source::Message, self.buckets(), "messages")
                .await?,
        )]);
        let pieces = staged.get(Source::Message.name()).context("no messages")?;
        let mut account = Self::staged_account(pieces);
        let all: Vec<&Written> = pieces.iter().collect();
        let quarantined = self.quarantine("quarantine-messages", &all).await?;
        let mut accounts = Accounts::from([(Source::Message.name().to_string(), account.clone())]);
        job.require_readable(self, &accounts, &all).await?;

        let copies = self.copies(&staged).await?;
        let buckets = self.buckets();
        self.expect("message counts", buckets as usize);
        self.expect("scores", buckets as usize);
        let parts = self
            .each(0..buckets, |bucket| {
                self.scores_of(&staged, &copies, bucket)
            })
            .await?;

        let mut record = StepRecord::default();
        let (mut documents, mut reputations) = (0, Vec::new());
        for part in parts {
            for (reason, records) in part.left_out {
                *account.left_out.entry(reason).or_default() += records;
            }
            account.used += part.messages;
            documents += part.documents;
            reputations.push(part.reputations);
        }
        let context = self.context()?;
        let copies: Vec<&Written> = copies.iter().collect();
        self.table(&context, "duplicate_messages", &copies, false)
            .await?;
        self.expect("tallies", 1);
        let tally = self.statement(&context, DUPLICATES).await?;
        let tally = numbers(&self.ask("tallies", "copies", tally, |_| Ok(())).await?)?;
        settle_messages(&mut account, &tally)?;
        let left_out: u64 = account.left_out.values().sum();
        same("messages", account.used + left_out, account.read).map_err(anyhow::Error::msg)?;
        accounts.insert(Source::Message.name().to_string(), account);
        record.accounts = accounts;
        record.counts = [
            ("weekly_documents".to_string(), documents),
            ("quarantined".to_string(), i64::try_from(quarantined)?),
        ]
        .into();
        self.score_tables(&reputations, &mut record).await?;
        Ok(record)
    }

    /// Step 2, with reputations from a file that the driver wrote.
    pub(crate) async fn given_scores(
        &self,
        given: &DataFile,
        record: &mut StepRecord,
    ) -> Result<()> {
        let given = Written {
            path: self.book.in_store(&given.path),
            size: given.size,
            digest: Digest {
                rows: given.rows,
                ..Digest::default()
            },
            segments: Vec::new(),
            unreadable: None,
        };
        self.score_tables(&[given], record).await
    }

    /// The published table of reputations and the file of scores.
    pub(crate) async fn score_tables(
        &self,
        reputations: &[Written],
        record: &mut StepRecord,
    ) -> Result<()> {
        self.expect("score tables", reputations.len() + 1);
        let tables = self.each(
            reputations.iter().enumerate(),
            |(number, piece)| async move {
                let name = format!("{number:05}");
                let plan = || async {
                    let context = self.context()?;
                    self.table(&context, "user_reputations", &[piece], true)
                        .await?;
                    self.plan(&context, "reputation_scores").await
                };
                let target = self.part(Table::ReputationScores, &name);
                self.make("score tables", &name, target, plan, |table| {
                    same("scores", table.digest.rows, piece.digest.rows)?;
                    let (found, weeks) = (table.digest.sum("weeks"), piece.digest.sum("weeks"));
                    same("weeks of scores", found as u64, weeks as u64)
                })
                .await
            },
        );
        let all: Vec<&Written> = reputations.iter().collect();
        let rows: u64 = all.iter().map(|piece| piece.digest.rows).sum();
        let plan = || async {
            let context = self.context()?;
            self.table(&context, "user_reputations", &all, false)
                .await?;
            let sql = "SELECT user_id, pred FROM user_reputations ORDER BY user_id";
            self.statement(&context, sql).await
        };
        let target = self.file("score tables", "file", Form::Scores);
        let file = self.make("score tables", "file", target, plan, |file| {
            same("scores", file.digest.rows, rows)
        });
        let (tables, file) = tokio::try_join!(tables, file)?;
        self.book
            .publish_file(&file, "reputation_score.csv")
            .await?;
        for table in &tables {
            record.add_file(Table::ReputationScores, self.book.data_file(table)?);
        }
        // What step 3 reads.
        self.book.enter("reputations", &reputations).await
    }

    /// All messages whose id is not their own.
    async fn copies(&self, staged: &Staged) -> Result<Vec<Written>> {
        let pieces = staged.get(Source::Message.name()).context("no messages")?;
        let messages: u64 = pieces.iter().map(|piece| piece.digest.rows).sum();
        let shares = messages.div_ceil(IDS_A_PIECE).max(1);
        self.expect("copies", usize::try_from(shares)?);
        self.each(0..shares, |share| async move {
            let piece = format!("{share:05}");
            let plan = || async {
                let context = self.context()?;
                self.raw_schema(&context)?;
                let files = pieces.iter().map(Written::file).collect();
                let share = format!("((id % {shares}) + {shares}) % {shares} = {share}");
                self.raw(&context, Source::Message, files, &share).await?;
                self.define(&context, &["message_records"]).await?;
                self.plan(&context, "duplicate_messages").await
            };
            let target = self.file("copies", &piece, Form::Unordered);
            self.make("copies", &piece, target, plan, |_| Ok(())).await
        })
        .await
    }

    /// Makes those of the `copies` known as `duplicate_messages` whose authors' messages are there.
    async fn copies_of_bucket(&self, context: &SessionContext, copies: &[Written]) -> Result<()> {
        let copies: Vec<&Written> = copies.iter().collect();
        self.table(context, "copies", &copies, false).await?;
        let mine = "SELECT copies.* FROM copies LEFT SEMI JOIN staged_messages AS message \
                    ON copies.user_id = message.user_id";
        let mine = context.sql(mine).await?.into_view();
        context.register_table("duplicate_messages", mine)?;
        Ok(())
    }

    async fn scores_of(&self, staged: &Staged, copies: &[Written], bucket: u32) -> Result<Scores> {
        let piece = format!("{bucket:05}");
        let context = self.context()?;
        self.raw_schema(&context)?;
        let files = Self::bucket_files(staged, Source::Message, bucket);
        self.raw(&context, Source::Message, files, "true").await?;
        self.define(&context, &["message_records"]).await?;
        self.copies_of_bucket(&context, copies).await?;
        self.define(&context, &["weekly_messages"]).await?;
        let segments = staged.values().flatten().flat_map(|piece| &piece.segments);
        let rows = segments.filter(|segment: &&Segment| segment.bucket == bucket);
        let expected: u64 = rows.map(|segment| segment.digest.rows).sum();
        let summary = self.plan(&context, "message_summary").await?;
        let summary = self.ask("message counts", &piece, summary, |rows| {
            let counted = from_summary(rows).map_err(|error| error.to_string())?;
            let read = counted.values().map(|account| account.read).sum();
            same("messages", read, expected)
        });
        let reputations = self.make(
            "scores",
            &piece,
            self.file("scores", &piece, Form::Intermediate),
            || self.plan(&context, "user_reputations"),
            |_| Ok(()),
        );
        let (summary, reputations) = tokio::try_join!(summary, reputations)?;
        let mut left_out = std::collections::BTreeMap::new();
        for account in from_summary(&summary)?.into_values() {
            left_out.extend(account.left_out);
        }
        Ok(Scores {
            messages: reputations.digest.sum("messages") as u64,
            documents: reputations.digest.sum("weeks"),
            left_out,
            reputations,
        })
    }
}

/// One bucket's reputations.
struct Scores {
    messages: u64,
    documents: i64,
    left_out: std::collections::BTreeMap<String, u64>,
    reputations: Written,
}
