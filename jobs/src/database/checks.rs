//! The checks on what PostgreSQL has: SQL that runs there, each a count that must be 0.

use chrono::{DateTime, Utc};
use graph_recs_sql::postgres::CHECKS;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::error::DatabaseError;
use super::migrate::require_version;
use super::publish::current;
use super::{ANSWER, Database, in_time, query};
use crate::pipeline::check_header;
use graph_recs_warehouse::report::{CheckResult, Severity};

/// The current run of a database, checked.
#[derive(Debug)]
pub struct Checked {
    /// The run.
    pub run_id: String,
    /// What the checks found.
    pub results: Vec<CheckResult>,
}

impl Database {
    /// Checks the current run and keeps the results in `graph_recs.quality_results`.
    ///
    /// # Errors
    /// [`DatabaseError::ChecksFailed`] when a check fails, [`DatabaseError::NothingPublished`].
    pub async fn check(&self, at: DateTime<Utc>) -> Result<Checked, DatabaseError> {
        self.watched(None, self.check_as_it_is(at)).await
    }

    async fn check_as_it_is(&self, at: DateTime<Utc>) -> Result<Checked, DatabaseError> {
        let mut connection = self.connect().await?;
        let mut transaction = self.begin_moment(&mut connection).await?;
        require_version(&mut transaction).await?;
        let run = current(&mut transaction).await?;
        let run_id = run.ok_or(DatabaseError::NothingPublished)?.run_id;
        let results = run_checks(&mut transaction).await?;
        keep(&mut transaction, &run_id, at, Origin::Database, &results).await?;
        in_time(ANSWER, transaction.commit()).await?;
        match failed(&results) {
            None => Ok(Checked { run_id, results }),
            Some(failed) => Err(DatabaseError::ChecksFailed {
                run_id,
                failed,
                consequence: "Readers see it as it is: publish a good run, or go back to one with `graph-recs rollback`",
            }),
        }
    }
}

/// What was checked.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// A run's files.
    Warehouse,
    /// What was loaded.
    Database,
}

/// Asks the checks about the run that is current for this connection.
pub(super) async fn run_checks(
    connection: &mut PgConnection,
) -> Result<Vec<CheckResult>, DatabaseError> {
    let mut results = Vec::new();
    for check in CHECKS {
        let (severity, says) =
            check_header(check).map_err(|error| DatabaseError::Rows(error.to_string()))?;
        let count = in_time(ANSWER, query(check.sql).fetch_one(&mut *connection));
        results.push(CheckResult {
            name: check.name.to_owned(),
            severity,
            says,
            count: count.await?.try_get(0)?,
        });
    }
    Ok(results)
}

/// The checks that failed, in words.
pub(super) fn failed(results: &[CheckResult]) -> Option<String> {
    let failed: Vec<String> = results
        .iter()
        .filter(|result| result.severity == Severity::Error && result.count != 0)
        .map(|result| {
            let says = result.says.trim_end_matches('.');
            format!("{} ({}): {says}", result.name, result.count)
        })
        .collect();
    (!failed.is_empty()).then(|| failed.join("; "))
}

/// Keeps results in `graph_recs.quality_results`.
pub(super) async fn keep(
    connection: &mut PgConnection,
    run_id: &str,
    at: DateTime<Utc>,
    origin: Origin,
    results: &[CheckResult],
) -> Result<(), DatabaseError> {
    let origin = match origin {
        Origin::Warehouse => "warehouse",
        Origin::Database => "database",
    };
    for result in results {
        let severity = match result.severity {
            Severity::Error => "error",
            Severity::Warn => "warn",
        };
        let insert = query(
            "INSERT INTO graph_recs.quality_results \
             (run_id, checked_at, checked, name, severity, says, count) VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT DO NOTHING",
        )
        .bind(run_id)
        .bind(at)
        .bind(origin)
        .bind(&result.name)
        .bind(severity)
        .bind(&result.says)
        .bind(result.count);
        in_time(ANSWER, insert.execute(&mut *connection)).await?;
    }
    Ok(())
}
