//! A try of what a publisher does, before anything is asked of it. It leaves nothing.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use graph_recs_sql::postgres::RIGHTS;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::error::DatabaseError;
use super::migrate::{require_version, version};
use super::publish::{current, lock};
use super::waits::Whom;
use super::{ANSWER, Database, execute, in_time, query};

/// Transactions that a publisher has open at the same time: its own, one that watches, and for each table one that loads
/// and one that reads the run before.
const AT_ONCE: usize = 8;
/// The longest that they may take to begin.
const PATIENCE: Duration = Duration::from_secs(15);

/// Of so many missing rights it is told.
const TOLD: usize = 4;

/// What a database says of itself.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its version, as `17.2`.
    pub server: String,
    /// Its clock.
    pub clock: DateTime<Utc>,
    /// The run that its readers see.
    pub current: Option<String>,
}

impl Database {
    /// Connects, and tries what is needed to publish there: rights, room, the publishers' lock, enough connections.
    ///
    /// # Errors
    /// What a publisher would meet.
    pub async fn probe(&self) -> Result<Probe, DatabaseError> {
        self.watched(None, self.probe_as_it_is()).await
    }

    async fn probe_as_it_is(&self) -> Result<Probe, DatabaseError> {
        let mut connection = self.connect().await?;
        let mut transaction = self.begin(&mut connection).await?;
        let asked = query(
            "SELECT current_setting('server_version'), clock_timestamp(), \
             has_database_privilege(current_user, current_database(), 'CREATE')",
        );
        let row = in_time(ANSWER, asked.fetch_one(&mut *transaction)).await?;
        let may_create: bool = row.try_get(2)?;
        if !may_create && version(&mut transaction).await? == 0 {
            return Err(DatabaseError::NoCreate);
        }
        require_version(&mut transaction).await?;
        require_rights(&mut transaction).await?;
        if !lock(&mut transaction).await? {
            let holder = self.named(Whom::Publisher).await;
            return Err(DatabaseError::LockHeld { holder });
        }
        let run = current(&mut transaction).await?;
        // Rolled back.
        let table = "graph_recs_store.doctor";
        let trial = format!(
            "CREATE TABLE {table} (LIKE graph_recs_store.recommendations); \
             INSERT INTO {table} VALUES (1, 2, 1, 0, 1, now(), now()); \
             CREATE UNIQUE INDEX ON {table} (user_id, rec_id)"
        );
        execute(&mut transaction, trial).await?;
        self.require_connections().await?;
        in_time(ANSWER, transaction.rollback()).await?;
        in_time(ANSWER, connection.close()).await?;
        Ok(Probe {
            server: row.try_get(0)?,
            clock: row.try_get(1)?,
            current: run.map(|run| run.run_id),
        })
    }

    /// Opens, beside one that is open, as many transactions as a publisher does.
    async fn require_connections(&self) -> Result<(), DatabaseError> {
        let opened = async {
            let mut connections = try_join_all((1..AT_ONCE).map(|_| self.connect())).await?;
            let transactions = connections.iter_mut().map(|open| self.begin(open));
            try_join_all(transactions).await.map(drop)
        };
        match tokio::time::timeout(PATIENCE, opened).await {
            Ok(opened) => opened,
            Err(_) => Err(DatabaseError::Crowded { needed: AT_ONCE }),
        }
    }
}

async fn require_rights(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let rows = in_time(ANSWER, query(RIGHTS).fetch_all(connection)).await?;
    let lacks = rows.iter().map(|row| row.try_get(0));
    let mut lacks = lacks.collect::<Result<Vec<String>, _>>()?;
    if lacks.is_empty() {
        return Ok(());
    }
    let more = lacks.len().saturating_sub(TOLD);
    lacks.truncate(TOLD);
    if more > 0 {
        lacks.push(format!("and {more} more"));
    }
    Err(DatabaseError::Rights {
        lacks: lacks.join(", "),
    })
}
