//! Step 3: whom each user should follow, and why.

use anyhow::Result;
use graph_recs_sql::session;
use graph_recs_sql::tee::tee;

use super::run::{Run, Step, StepRecord};
use super::work::single_row;
use crate::progress::StepBar;
use graph_recs_warehouse::Table;

/// Candidates by what became of them.
pub(crate) const TALLY: &str = "SELECT sum(tallies['paths']) AS paths, sum(tallies['candidates']) AS candidates, \
     sum(tallies['self']) AS self, sum(tallies['followed']) AS followed, sum(tallies['suspended']) AS suspended, \
     sum(tallies['without_score']) AS without_score, sum(tallies['low_reputation']) AS low_reputation, \
     sum(tallies['beyond_limit']) AS beyond_limit, sum(tallies['recommended']) AS recommended \
     FROM user_recommendations";

/// What is dropped of a user's candidates, each under one reason; with `recommended` these are all of them.
pub(crate) const FATES: [&str; 7] = [
    "self",
    "followed",
    "suspended",
    "without_score",
    "low_reputation",
    "beyond_limit",
    "recommended",
];

impl Run {
    pub(super) async fn recommendations_here(&self, bar: &StepBar) -> Result<StepRecord> {
        self.needed(Step::ClosestConnections).await?;
        self.needed(Step::ReputationScores).await?;
        let parameters = self.job.options.parameters.values();
        self.hold_suspended_users().await?;
        self.register_work("user_connections").await?;
        self.register_work("user_reputations").await?;
        bar.says("gathering candidates");
        session::define(&self.context, "candidates", &parameters).await?;
        // Neither keeps all threads at work.
        tokio::try_join!(
            session::hold(&self.context, "all_candidates", &parameters),
            session::hold(&self.context, "followed", &parameters),
        )?;
        bar.says("ranking second-degree connections");
        let ranked = session::query(
            &session::whole_files(&self.context),
            &self.job.options.parameters.ranking,
            &parameters,
        )
        .await?;
        tee(&self.context, "user_recommendations", ranked, 3).await?;
        let (recommendations, reasons, counts) = tokio::try_join!(
            self.write_published(Table::Recommendations),
            self.write_published(Table::RecReasons),
            async { single_row(self.context.sql(TALLY).await?).await },
        )?;
        Ok(StepRecord {
            files: [
                (
                    Table::Recommendations.name().to_string(),
                    vec![recommendations],
                ),
                (Table::RecReasons.name().to_string(), vec![reasons]),
            ]
            .into(),
            counts,
            ..StepRecord::default()
        })
    }

    /// Registers an intermediate table of an earlier step, unless this process made it.
    pub(super) async fn register_work(&self, name: &str) -> Result<()> {
        if !self.context.table_exist(name)? {
            self.work.register_table(&self.context, name).await?;
        }
        Ok(())
    }
}
