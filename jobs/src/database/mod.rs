//! PostgreSQL: where the platform's services read the current run.
//!
//! ```text
//! graph_recs.closest_connections, .recommendations, .rec_reasons   views of the current run
//! graph_recs.<table>_by_run                                       views of the runs that are still there
//! graph_recs.runs, .current_run, .quality_results                 what was published, and what was checked
//! graph_recs_store.<table>, partitions <table>_0, <table>_1        the rows: two slots of three tables
//! ```
//!
//! A run is loaded into the slot that is not current, detached meanwhile, by several connections at once, and becomes
//! current by one row in `graph_recs.runs`, committed after the checks have passed. See docs/adr/0008-postgresql.md.

mod checks;
mod copy;
mod error;
mod load;
mod migrate;
mod probe;
mod publish;
mod slots;
mod table;
mod url;

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection};
use sqlx::query::Query;
use sqlx::{ConnectOptions, Connection, Postgres, SqlSafeStr, Transaction};

pub use checks::Checked;
pub use error::DatabaseError;
pub use migrate::newest;
pub use probe::Probe;
pub use publish::{Loaded, Outcome};
pub use url::{DatabaseUrl, VARIABLE, hide_url};

/// The longest that a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest that the server may take for a piece of work; longer means that the connection is lost.
const ANSWER: Duration = Duration::from_secs(600);

/// A PostgreSQL database. Connections are made when they are needed.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// The database at a URL; does not connect yet.
    ///
    /// # Errors
    /// [`DatabaseError::Url`].
    pub fn new(url: &DatabaseUrl) -> Result<Self, DatabaseError> {
        let options = url.options()?.disable_statement_logging();
        Ok(Self { options })
    }

    async fn connect(&self) -> Result<PgConnection, DatabaseError> {
        in_time(CONNECT, self.options.connect()).await
    }
}

/// What comes of `work` when it is done within `limit`.
async fn in_time<T>(
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

/// Begins a transaction that the server does not end for being slow or idle, and ends soon after we are gone. The
/// settings are those that the server's version knows; they end with the transaction.
async fn begin(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, DatabaseError> {
    begin_with(connection, "BEGIN").await
}

/// As [`begin`], with a statement that says more of the transaction.
async fn begin_with<'c>(
    connection: &'c mut PgConnection,
    statement: &'static str,
) -> Result<Transaction<'c, Postgres>, DatabaseError> {
    let mut transaction = in_time(ANSWER, connection.begin_with(statement)).await?;
    let settings = "SELECT set_config(name, wanted, true) \
         FROM (VALUES ('client_connection_check_interval', '1s'), ('idle_in_transaction_session_timeout', '0'), \
                      ('jit', 'off'), ('lock_timeout', '0'), ('statement_timeout', '0'), ('transaction_timeout', '0')) \
              AS settings (name, wanted) \
         JOIN pg_settings USING (name)";
    execute(&mut transaction, settings.to_owned()).await?;
    Ok(transaction)
}

/// A statement with parameters, prepared without a name: behind a pooler a name may be another client's.
fn query<'q>(sql: impl SqlSafeStr) -> Query<'q, Postgres, PgArguments> {
    sqlx::query(sql).persistent(false)
}

/// Runs statements without parameters, in the simple protocol.
async fn execute(connection: &mut PgConnection, sql: String) -> Result<u64, DatabaseError> {
    let done = in_time(ANSWER, async {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(connection)
            .await
    });
    Ok(done.await?.rows_affected())
}
