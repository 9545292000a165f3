//! What can go wrong with the database.

use chrono::{DateTime, Utc};

use graph_recs_warehouse::WarehouseError;

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The URL cannot be used. It is not repeated here: it may hold a password.
    #[error(
        "the database's URL (--database-url, GRAPH_RECS_DATABASE_URL) is not like postgres://user:password@host:port/database: {0}"
    )]
    Url(String),
    /// The tables are of another version, or not there.
    #[error(
        "the database's tables are of version {found} and this graph-recs needs {needed}: run `graph-recs migrate` of \
         the newest version with the same --database-url"
    )]
    Version {
        /// That of the tables; 0 when there are none.
        found: i64,
        /// That of the program.
        needed: i64,
    },
    /// A migration failed.
    #[error("migration")]
    Migration(#[from] Box<sqlx::migrate::MigrateError>),
    /// Another process publishes to the database.
    #[error("another publisher holds the lock of the database: try again when it is through")]
    LockHeld,
    /// The run is older than the one that the database has.
    #[error(
        "run {run_id} is as of {as_of}, older than the database's run {current}, as of {current_as_of}: nothing was \
         published there; `graph-recs rollback --to {run_id}` with the same --database-url makes it current all the same"
    )]
    Older {
        /// The run to publish.
        run_id: String,
        /// Its as-of.
        as_of: DateTime<Utc>,
        /// The run that is current.
        current: String,
        /// Its as-of.
        current_as_of: DateTime<Utc>,
    },
    /// Readers' transactions stay on the slot that the run is to be loaded into.
    #[error(
        "the place for the new run could not be cleared for {seconds} s, since transactions that read graph_recs stay open: \
         {holders}. End them (pg_terminate_backend) and give the command again; readers should not keep transactions open"
    )]
    Busy {
        /// How long it was tried.
        seconds: u64,
        /// Who they are, as far as known.
        holders: String,
    },
    /// A publisher that lost its lock found its place taken.
    #[error("another publisher took over while this one was cut off from the database")]
    Superseded,
    /// What was loaded failed a quality check.
    #[error(
        "quality checks of what PostgreSQL has failed for run {run_id}: {failed}. {consequence}"
    )]
    ChecksFailed {
        /// The run.
        run_id: String,
        /// The checks that failed.
        failed: String,
        /// What that means for readers.
        consequence: &'static str,
    },
    /// Nothing was ever published to the database.
    #[error("the database has no run yet: publish one with `graph-recs publish`")]
    NothingPublished,
    /// The server did not answer in time.
    #[error("the database did not answer for {seconds} s")]
    Silent {
        /// How long.
        seconds: u64,
    },
    /// The server sent what cannot be understood, or the warehouse holds what cannot be sent.
    #[error("{0}")]
    Rows(String),
    /// The server, or the way to it.
    #[error("PostgreSQL{}", hint(.0))]
    Server(#[from] sqlx::Error),
    /// The warehouse, from which the rows come.
    #[error("reading the run from the warehouse")]
    Warehouse(#[from] WarehouseError),
    /// Reading the warehouse's rows.
    #[error("reading the run from the warehouse")]
    Read(#[from] Box<datafusion::error::DataFusionError>),
    /// The dictionary cannot be read.
    #[error("models.yml")]
    Models(String),
    /// A task ended before its time.
    #[error("a task of the load was ended")]
    Task(#[from] tokio::task::JoinError),
}

impl From<datafusion::error::DataFusionError> for DatabaseError {
    fn from(error: datafusion::error::DataFusionError) -> Self {
        Self::Read(Box::new(error))
    }
}

impl DatabaseError {
    /// Whether the same may well succeed a little later: the connection was lost or refused, the server restarts or
    /// has no connection to spare, transactions got in each other's way.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Silent { .. } | Self::Superseded => true,
            Self::Server(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => true,
            Self::Server(error) => code(error).is_some_and(|code| {
                code.starts_with("08")
                    || matches!(
                        &*code,
                        "40001"
                            | "40P01"
                            | "53300"
                            | "57P01"
                            | "57P02"
                            | "57P03"
                            | "57P05"
                            | "25P03"
                    )
            }),
            _ => false,
        }
    }

    /// Whether a lock was not to be had in the time that was given.
    pub(super) fn is_lock_timeout(&self) -> bool {
        // 55P03: lock_timeout; 57014: statement_timeout.
        matches!(self, Self::Server(error) if matches!(code(error).as_deref(), Some("55P03" | "57014")))
    }

    /// Whether a table or schema is not there.
    pub(super) fn is_missing_table(&self) -> bool {
        matches!(self, Self::Server(error) if matches!(code(error).as_deref(), Some("42P01" | "3F000" | "42703")))
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// What to do about errors whose own text does not say it.
fn hint(error: &sqlx::Error) -> &'static str {
    match (error, code(error).as_deref()) {
        (_, Some("53100")) => {
            " has no disk space left (readers still have the run they had; free some, or give it more, and give the command again)"
        }
        (_, Some("28P01" | "28000")) => " refuses the user or password of the database's URL",
        (_, Some("3D000")) => " has no such database (make it with createdb)",
        (_, Some("42501")) => {
            " refuses the user a right (who publishes and migrates must own graph_recs and graph_recs_store)"
        }
        (sqlx::Error::Io(_), _) => {
            " cannot be reached, or the connection was cut (is it running, and are host and port right?)"
        }
        _ => "",
    }
}
