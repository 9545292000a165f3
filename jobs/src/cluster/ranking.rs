//! Step 3 on a cluster: whom each user should follow, and why.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use graph_recs_sql::cluster::{Form, Written};
use graph_recs_udfs::scan::Source;

use super::connections::{Staged, same};
use super::session::Cluster;
use crate::pipeline::cluster_parts::{
    CANDIDATES_TALLY, ENGAGEMENT_SOURCES, FATES, Job, StepRecord, numbers,
};
use graph_recs_warehouse::Table;

impl Cluster {
    /// Step 3. What steps 1 and 2 left in the book is taken from there.
    pub(crate) async fn recommendations(&self, job: &Job) -> Result<StepRecord> {
        let staged = self.engagements(job).await?;
        let suspended = self
            .suspended(staged.get(Source::User.name()).context("no users")?)
            .await?;
        let reputations: Vec<Written> = self
            .book
            .read("reputations")
            .await?
            .context("the reputations of step 2 are not in the run's book")?;
        let buckets = self.buckets();
        self.expect("candidates", buckets as usize);
        let gathered = self
            .each(0..buckets, |bucket| {
                self.candidates_of(bucket, &reputations, &suspended)
            })
            .await?;
        let candidates: Vec<&Written> = gathered.iter().map(|(_, candidates)| candidates).collect();

        self.expect("ranking", buckets as usize);
        self.expect("recommendation tables", 2 * buckets as usize);
        self.expect("tallies", buckets as usize);
        let ranking = &job.parameters().ranking;
        let parts = self
            .each(0..buckets, |bucket| {
                let (connections, candidates) = (&gathered, &candidates);
                let staged = &staged;
                async move {
                    let (connections, _) =
                        connections.get(bucket as usize).context("no such bucket")?;
                    self.recommendations_of(bucket, ranking, staged, connections, candidates)
                        .await
                }
            })
            .await?;
        let mut record = StepRecord::default();
        for (tally, recommendations, reasons) in parts {
            for (name, count) in tally {
                *record.counts.entry(name).or_default() += count;
            }
            record.add_file(
                Table::Recommendations,
                self.book.data_file(&recommendations)?,
            );
            record.add_file(Table::RecReasons, self.book.data_file(&reasons)?);
        }
        Ok(record)
    }

    /// The connections of a bucket's users, and what these pass on to those who are close to them.
    async fn candidates_of(
        &self,
        bucket: u32,
        reputations: &[Written],
        suspended: &Written,
    ) -> Result<(Written, Written)> {
        let piece = format!("{bucket:05}");
        let connections = self.book.piece("connections", &piece).await?;
        let connections =
            connections.context("the connections of step 1 are not in the run's book: a run goes on as it began, with or without --cluster; \
             remove it from _runs to begin anew")?;
        let plan = || async {
            let context = self.context()?;
            let all: Vec<&Written> = reputations.iter().collect();
            self.table(&context, "user_connections", &[&connections], true)
                .await?;
            self.table(&context, "user_reputations", &all, false)
                .await?;
            self.table(&context, "suspended_users", &[suspended], false)
                .await?;
            self.plan(&context, "candidates").await
        };
        let target = self.file("candidates", &piece, Form::Unordered);
        let candidates = self
            .make("candidates", &piece, target, plan, |written| {
                let (found, expected) = (&written.digest, &connections.digest);
                same("users with candidates", found.rows, expected.rows)?;
                let listed = expected.sum("connections") as u64;
                same("candidates", found.sum("candidates") as u64, listed)?;
                for part in ["id", "weight"] {
                    let (found, expected) = (
                        found.sum(&format!("candidates[].{part}")),
                        expected.sum(&format!("connections[].{part}")),
                    );
                    same(
                        &format!("as the sum of {part}"),
                        found as u64,
                        expected as u64,
                    )?;
                }
                Ok(())
            })
            .await?;
        Ok((connections, candidates))
    }

    async fn recommendations_of(
        &self,
        bucket: u32,
        ranking: &str,
        staged: &Staged,
        connections: &Written,
        candidates: &[&Written],
    ) -> Result<(BTreeMap<String, i64>, Written, Written)> {
        let piece = format!("{bucket:05}");
        let plan = || async {
            let context = self.context()?;
            self.raw_schema(&context)?;
            for source in ENGAGEMENT_SOURCES {
                let files = Self::bucket_files(staged, source, bucket);
                self.raw(&context, source, files, "true").await?;
            }
            self.table(&context, "user_connections", &[connections], true)
                .await?;
            self.table(&context, "candidates", candidates, false)
                .await?;
            self.define(&context, &["all_candidates", "followed"])
                .await?;
            self.plan(&context, ranking).await
        };
        let target = self.file("ranking", &piece, Form::Intermediate);
        let ranked = self
            .make("ranking", &piece, target, plan, |written| {
                same("users", written.digest.rows, connections.digest.rows)?;
                let tally = |name: &str| written.digest.sum(&format!("tallies.{name}")) as u64;
                same(
                    "fates of candidates",
                    FATES.map(tally).iter().sum(),
                    tally("candidates"),
                )?;
                let listed = written.digest.sum("recommendations") as u64;
                same("recommendations", listed, tally("recommended"))
            })
            .await?;

        let names =
            ["recommendations", "reasons", "candidates"].map(|kind| format!("{kind}-{piece}"));
        let [recommendations_name, reasons_name, tally_name] = &names;
        let context = self.context()?;
        self.table(&context, "user_recommendations", &[&ranked], true)
            .await?;
        let digest = &ranked.digest;
        let recommendations = self.make(
            "recommendation tables",
            recommendations_name,
            self.part(Table::Recommendations, &piece),
            || self.plan(&context, "recommendations"),
            |table| {
                let listed = digest.sum("recommendations") as u64;
                same("recommendations", table.digest.rows, listed)
            },
        );
        let reasons = self.make(
            "recommendation tables",
            reasons_name,
            self.part(Table::RecReasons, &piece),
            || self.plan(&context, "rec_reasons"),
            |table| {
                let listed = digest.sum("reasons") as u64;
                same("reasons", table.digest.rows, listed)?;
                self.same_weights(digest.sum("reasons[].weight"), &table.digest)
            },
        );
        let tally = self.statement(&context, CANDIDATES_TALLY).await?;
        let tally = self.ask("tallies", tally_name, tally, |rows| {
            let tally = numbers(rows).map_err(|error| error.to_string())?;
            let recommended = tally.get("recommended").copied().unwrap_or(0);
            let listed = digest.sum("recommendations");
            same("recommendations", recommended as u64, listed as u64)
        });
        let (recommendations, reasons, tally) = tokio::try_join!(recommendations, reasons, tally)?;
        Ok((numbers(&tally)?, recommendations, reasons))
    }
}
