//! Connections, and transactions in settings of their own.

use std::sync::atomic::Ordering;
use std::time::Duration;

use graph_recs_sql::postgres::SETTINGS;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, Postgres, Row, SqlSafeStr, Transaction};

use super::Database;
use super::error::DatabaseError;

/// The longest that the server may take for a piece of work; longer means that the connection is lost.
pub(super) const ANSWER: Duration = Duration::from_secs(600);
/// A transaction as it should be, whatever server, database and role have as defaults. Nobody's limit of time ends it;
/// a wait for somebody else's lock ends shortly before [`ANSWER`], at the server. The rest of the settings comes with
/// the first statement.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; \
    SET LOCAL lock_timeout = '590s'; SET LOCAL idle_in_transaction_session_timeout = 0";
/// The same, in which all statements see one moment.
const BEGIN_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0; \
    SET LOCAL lock_timeout = '590s'; SET LOCAL idle_in_transaction_session_timeout = 0";

impl Database {
    /// Connects to the server that took the last connection, or else to the next that can be published to.
    pub(super) async fn connect(&self) -> Result<PgConnection, DatabaseError> {
        let last = self.last.load(Ordering::Relaxed);
        let mut found: Option<DatabaseError> = None;
        for turn in 0..self.servers.len() {
            let index = (last + turn) % self.servers.len();
            let error = match self.connect_to(&self.servers[index]).await {
                Ok(connection) => {
                    self.last.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                // The others have the same users.
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => error,
            };
            // That a standby answered says more than that another server did not.
            if found.is_none() || matches!(error, DatabaseError::ReadOnly { .. }) {
                found = Some(error);
            }
        }
        Err(found.unwrap_or_else(|| DatabaseError::Url("it names no server".to_owned())))
    }

    async fn connect_to(&self, server: &PgConnectOptions) -> Result<PgConnection, DatabaseError> {
        let mut connection = in_time(self.patience, server.connect()).await?;
        if self.servers.len() > 1 {
            let tried = self.begin(&mut connection).await?;
            in_time(ANSWER, tried.rollback()).await?;
        }
        Ok(connection)
    }

    /// Begins a transaction in settings of its own; they end with it.
    ///
    /// # Errors
    /// [`DatabaseError::ReadOnly`] where nothing can be written.
    pub(super) async fn begin<'c>(
        &self,
        connection: &'c mut PgConnection,
    ) -> Result<Transaction<'c, Postgres>, DatabaseError> {
        self.begin_as(connection, BEGIN).await
    }

    /// As [`Self::begin`], and all statements see one moment.
    pub(super) async fn begin_moment<'c>(
        &self,
        connection: &'c mut PgConnection,
    ) -> Result<Transaction<'c, Postgres>, DatabaseError> {
        self.begin_as(connection, BEGIN_MOMENT).await
    }

    async fn begin_as<'c>(
        &self,
        connection: &'c mut PgConnection,
        statements: &'static str,
    ) -> Result<Transaction<'c, Postgres>, DatabaseError> {
        let mut transaction = in_time(ANSWER, connection.begin_with(statements)).await?;
        let settings = query(SETTINGS).bind(self.mark);
        let row = in_time(ANSWER, settings.fetch_one(&mut *transaction)).await?;
        let (standby, read_only): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
        if standby || read_only {
            return Err(DatabaseError::ReadOnly { standby });
        }
        Ok(transaction)
    }
}

/// What comes of `work` when it is done within `limit`.
pub(super) async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(DatabaseError::Silent {
            seconds: limit.as_secs(),
        }),
    }
}

/// A statement with parameters, prepared without a name: behind a pooler a name may be another client's.
pub(super) fn query<'q>(sql: impl SqlSafeStr) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

/// Runs statements without parameters, in the simple protocol.
pub(super) async fn execute(
    connection: &mut PgConnection,
    sql: String,
) -> Result<u64, DatabaseError> {
    let done = in_time(ANSWER, async {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(connection)
            .await
    });
    Ok(done.await?.rows_affected())
}
